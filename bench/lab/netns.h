/*
 * Unnamed network namespaces: made, entered for a moment and left again by this single-threaded process. A namespace
 * lives as long as a descriptor or a process in it.
 */
#ifndef BENCH_LAB_NETNS_H
#define BENCH_LAB_NETNS_H

#include <stddef.h>
#include <stdint.h>

/* A new namespace with lo up; *fd is its descriptor, the caller's. 0, or -errno. */
int lab_ns_create(int *fd);
/* Enters fd's namespace; *saved leads back. 0, or -errno. Everything that opens a socket, a device or a file of
 * /proc/sys/net between the two belongs to the namespace for ever. */
int lab_ns_enter(int fd, int *saved);
/* Back. It cannot fail in a process that came from there, and going on in the wrong network would be worse than
 * stopping: it aborts. */
void lab_ns_leave(int saved);

/* Writes /proc/sys/PATH of the current namespace. 0, or -errno (-ENOENT: this kernel does not have it). */
int lab_ns_sysctl(const char *path, const char *value);

/* Makes TUN device `name` in the current namespace; *fd reads and writes whole IP packets without a header,
 * non-blocking. 0, or -errno. */
int lab_ns_tun(const char *name, int *fd);

/* A file in memory that has `text` and is read from its beginning; the caller's. Its descriptor, or -errno. */
int lab_ns_memory_file(const char *text);

/* Runs argv in the current namespace with `input` on stdin, and waits. 0; -ENOENT when there is no such program;
 * -EIO when it failed: err then has the first line of its stderr. */
int lab_ns_run(const char *const argv[], const char *input, char *err, size_t err_len);

#endif
