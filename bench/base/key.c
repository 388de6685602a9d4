/* Key files. */
#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#include "bench/base/base.h"

int base_read_key(const char *path, uint8_t *key, size_t cap, size_t *len)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return -errno;
    ssize_t n = read(fd, key, cap);
    int err = n < 0 ? -errno : 0;
    close(fd);
    while (n > 0 && (key[n - 1] == '\n' || key[n - 1] == '\r'))
        n--;
    *len = n > 0 ? (size_t)n : 0;
    return err < 0 ? err : *len ? 0 : -ENODATA;
}
