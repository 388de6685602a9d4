/*
 * What passed an interface, as a pcap file: nanosecond timestamps, raw IP packets (draft-ietf-opsawg-pcap; any tool
 * that reads pcap reads it). A file that cannot be written, or that has grown to its limit, ends there with one line on
 * stderr: a capture never stops a measurement.
 */
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "bench/lab/internal.h"

#define MAGIC_NS     0xa1b23c4du
#define LINKTYPE_RAW 101u
#define SNAPLEN      65536u
/* A write for every thousand packets of a spray. */
#define BUFFER_BYTES 65536

struct file_header {
    uint32_t magic;
    uint16_t major, minor;
    int32_t zone;
    uint32_t sigfigs, snaplen, linktype;
};

struct packet_header {
    uint32_t s, ns, captured, len;
};

struct lab_pcap {
    FILE *file; /* NULL: it has ended */
    char path[PATH_MAX];
    uint64_t bytes, limit;
    uint64_t epoch_ns; /* what the realtime clock is ahead of the monotonic one */
};

static uint64_t epoch_ns(void)
{
    struct timespec ts;
    clock_gettime(CLOCK_REALTIME, &ts);
    return (uint64_t)ts.tv_sec * BASE_NS_PER_S + (uint64_t)ts.tv_nsec - base_now_ns();
}

int lab_pcap_open(struct lab_pcap **out, const char *path, uint64_t limit)
{
    const struct file_header header = {
        .magic = MAGIC_NS, .major = 2, .minor = 4, .snaplen = SNAPLEN, .linktype = LINKTYPE_RAW};
    struct lab_pcap *p = calloc(1, sizeof(*p));
    if (!p)
        return -ENOMEM;
    p->limit = limit;
    p->epoch_ns = epoch_ns();
    p->bytes = sizeof(header);
    snprintf(p->path, sizeof(p->path), "%s", path);
    p->file = fopen(path, "we");
    if (!p->file) {
        int res = -errno;
        free(p);
        return res;
    }
    setvbuf(p->file, NULL, _IOFBF, BUFFER_BYTES);
    fwrite(&header, sizeof(header), 1, p->file);
    *out = p;
    return 0;
}

static void give_up(struct lab_pcap *p)
{
    base_warn("%s cannot be written: %s; it ends there", p->path, strerror(errno));
    fclose(p->file);
    p->file = NULL;
}

void lab_pcap_packet(struct lab_pcap *p, const uint8_t *data, size_t len)
{
    uint64_t now = base_now_ns() + p->epoch_ns;
    const struct packet_header header = {(uint32_t)(now / BASE_NS_PER_S), (uint32_t)(now % BASE_NS_PER_S),
                                         (uint32_t)len, (uint32_t)len};
    if (!p->file)
        return;
    if (p->bytes + sizeof(header) + len > p->limit) {
        base_warn("%s has grown to its limit of %llu bytes and ends there (--pcap-limit)", p->path,
                  (unsigned long long)p->limit);
        lab_pcap_flush(p);
        if (p->file)
            fclose(p->file);
        p->file = NULL;
        return;
    }
    p->bytes += sizeof(header) + len;
    if (fwrite(&header, sizeof(header), 1, p->file) != 1 || fwrite(data, 1, len, p->file) != len)
        give_up(p);
}

void lab_pcap_flush(struct lab_pcap *p)
{
    if (p->file && fflush(p->file) != 0)
        give_up(p);
}

void lab_pcap_close(struct lab_pcap *p)
{
    if (!p)
        return;
    lab_pcap_flush(p);
    if (p->file)
        fclose(p->file);
    free(p);
}

/* ---- a host's interfaces --------------------------------------------------------------------- */

/* The inside of a shared NAT is NAME-in.pcap. A host's own is NAME.pcap, what is outside of its NAT NAME-out.pcap, of
 * the NAT that this one is under NAME-out2.pcap. Between a host and its netfilter router or program nothing passes
 * here: its outside is all there is. */
static void file_name(const struct lab_host *host, unsigned boundary, char out[96])
{
    char which[16] = "";
    if (boundary > 1)
        snprintf(which, sizeof(which), "-out%u", boundary);
    else if (boundary == (host->lan >= 0) && host->shared)
        snprintf(which, sizeof(which), "-in");
    else if (boundary == 1 || host->router.netns >= 0 || host->userspace.netns >= 0)
        snprintf(which, sizeof(which), "-out");
    snprintf(out, 96, "%s%s.pcap", host->name, which);
}

static int capture_host(struct lab_host *host, const char *dir, uint64_t limit, char err[LAB_ERROR_LEN])
{
    char path[PATH_MAX], name[96];
    for (unsigned i = 0; i <= host->box.n + (host->lan >= 0); i++) {
        if (host->box.taps[i])
            continue;
        file_name(host, i, name);
        int res = (size_t)snprintf(path, sizeof(path), "%s/%s", dir, name) < sizeof(path) ? 0 : -ENAMETOOLONG;
        if (res == 0)
            res = lab_pcap_open(&host->box.taps[i], path, limit);
        if (res < 0) {
            snprintf(err, LAB_ERROR_LEN, "%.100s/%.80s cannot be written: %.40s", dir, name, strerror(-res));
            return res;
        }
    }
    return 0;
}

int lab_capture(struct lab *lab, const char *dir, uint64_t limit, char err[LAB_ERROR_LEN])
{
    int res = 0;
    for (size_t i = 0; i < lab->n_hosts && res == 0; i++)
        res = capture_host(lab->hosts[i], dir, limit, err);
    return res;
}

void lab_capture_flush(struct lab_host *host)
{
    for (unsigned i = 0; i <= LAB_BOX_MAX; i++)
        if (host->box.taps[i])
            lab_pcap_flush(host->box.taps[i]);
}

void lab_capture_close(struct lab_host *host)
{
    for (unsigned i = 0; i <= LAB_BOX_MAX; i++) {
        lab_pcap_close(host->box.taps[i]);
        host->box.taps[i] = NULL;
    }
}
