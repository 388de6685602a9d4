/* Where captures go. */
#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "bench/campaign/hosts.h"
#include "bench/campaign/places.h"

int campaign_pcap_prepare(const struct campaign_pcap *pcap)
{
    if (!pcap->dir)
        return 0;
    int res = campaign_make_dirs(pcap->dir);
    if (res == 0 && access(pcap->dir, W_OK | X_OK) < 0)
        res = -errno;
    if (res < 0)
        base_error("--pcap %s cannot be written: %s", pcap->dir, strerror(-res));
    return res;
}

int campaign_pcap_dir(const struct campaign_pcap *pcap, const char *cell, uint64_t first_trial, char out[PATH_MAX])
{
    char from[32] = "";
    if (first_trial > 0)
        snprintf(from, sizeof(from), "+from%llu", (unsigned long long)first_trial);
    if ((size_t)snprintf(out, PATH_MAX, "%s/%s%s", pcap->dir, cell, from) >= PATH_MAX)
        return -ENAMETOOLONG;
    for (char *c = out + strlen(pcap->dir) + 1; *c; c++)
        if (*c == '/')
            *c = '+';
    return 0;
}

int campaign_pcap_start(struct lab *lab, const char *dir, uint64_t limit, char err[LAB_ERROR_LEN])
{
    int res = campaign_make_dirs(dir);
    if (res < 0) {
        snprintf(err, LAB_ERROR_LEN, "%.180s cannot be made: %s", dir, strerror(-res));
        return res;
    }
    return lab_capture(lab, dir, limit, err);
}
