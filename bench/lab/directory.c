#include <errno.h>
#include <stdlib.h>

#include "bench/lab/internal.h"

#define FIRST_SIZE 64

static size_t slot_of(const struct lab_directory *dir, struct lab_addr addr)
{
    /* Fibonacci hashing over both words; addresses here differ in their last bytes. */
    uint64_t h = (addr.hi ^ (addr.lo * 0x9e3779b97f4a7c15u)) * 0x9e3779b97f4a7c15u;
    size_t i = (size_t)(h >> 32) & (dir->size - 1);
    while (dir->slots[i].host && !lab_addr_equal(dir->slots[i].addr, addr))
        i = (i + 1) & (dir->size - 1);
    return i;
}

static int grow(struct lab_directory *dir)
{
    struct lab_directory bigger = {.size = dir->size ? dir->size * 2 : FIRST_SIZE, .n = dir->n};
    bigger.slots = calloc(bigger.size, sizeof(*bigger.slots));
    if (!bigger.slots)
        return -ENOMEM;
    for (size_t i = 0; i < dir->size; i++)
        if (dir->slots[i].host)
            bigger.slots[slot_of(&bigger, dir->slots[i].addr)] = dir->slots[i];
    free(dir->slots);
    *dir = bigger;
    return 0;
}

int lab_directory_add(struct lab_directory *dir, struct lab_addr addr, struct lab_host *host)
{
    if (dir->n * 2 >= dir->size && grow(dir) < 0)
        return -ENOMEM;
    size_t i = slot_of(dir, addr);
    if (dir->slots[i].host)
        return -EEXIST;
    dir->slots[i].addr = addr;
    dir->slots[i].host = host;
    dir->n++;
    return 0;
}

struct lab_host *lab_directory_find(const struct lab_directory *dir, struct lab_addr addr)
{
    return dir->size ? dir->slots[slot_of(dir, addr)].host : NULL;
}

void lab_directory_free(struct lab_directory *dir)
{
    free(dir->slots);
    *dir = (struct lab_directory){0};
}
