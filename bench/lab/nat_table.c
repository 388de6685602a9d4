/*
 * Storage of the NAT: hash tables of entries that never move, and the two-level array of external ports. All sized by
 * what is in them.
 */
#include <stdlib.h>
#include <string.h>

#include "bench/lab/nat_state.h"

#define HEADS_LEAST 64u

/* ---- hash tables ----------------------------------------------------------------------------- */

void nat_table_init(struct nat_table *t, size_t entry)
{
    *t = (struct nat_table){.entry = (entry + 7) & ~(size_t)7, .free = NAT_NIL};
}

void nat_table_clear(struct nat_table *t)
{
    for (uint32_t i = 0; i < t->n_chunks; i++)
        free(t->chunks[i]);
    free(t->chunks);
    free(t->heads);
    nat_table_init(t, t->entry);
}

void nat_table_free(struct nat_table *t)
{
    nat_table_clear(t);
}

static struct nat_link *link_of(const struct nat_table *t, uint32_t index)
{
    return nat_table_at(t, index);
}

/* Every chain anew, in a table twice as wide. Without memory the old one goes on, only slower. */
static void widen(struct nat_table *t)
{
    uint32_t n = t->n_heads ? t->n_heads * 2 : HEADS_LEAST;
    uint32_t *heads = malloc(n * sizeof(*heads));
    if (!heads)
        return;
    memset(heads, 0xff, n * sizeof(*heads));
    for (uint32_t h = 0; h < t->n_heads; h++) {
        for (uint32_t i = t->heads[h], next; i != NAT_NIL; i = next) {
            struct nat_link *link = link_of(t, i);
            uint32_t *head = &heads[link->hash & (n - 1)];
            next = link->next;
            link->next = *head;
            *head = i;
        }
    }
    free(t->heads);
    t->heads = heads;
    t->n_heads = n;
}

static bool add_chunk(struct nat_table *t)
{
    /* 16 pointers at a time. */
    if (t->n_chunks % 16 == 0) {
        uint8_t **grown = realloc(t->chunks, (t->n_chunks + 16) * sizeof(*grown));
        if (!grown)
            return false;
        t->chunks = grown;
    }
    uint8_t *chunk = malloc(NAT_CHUNK * t->entry);
    if (!chunk)
        return false;
    t->chunks[t->n_chunks++] = chunk;
    return true;
}

uint32_t nat_table_add(struct nat_table *t, uint32_t hash)
{
    if (t->n >= t->n_heads)
        widen(t);
    if (!t->n_heads)
        return NAT_NIL;
    uint32_t index = t->free;
    if (index != NAT_NIL) {
        t->free = link_of(t, index)->next;
    } else {
        if (t->high == t->n_chunks * NAT_CHUNK && !add_chunk(t))
            return NAT_NIL;
        index = t->high++;
    }
    uint32_t *head = &t->heads[hash & (t->n_heads - 1)];
    memset(nat_table_at(t, index), 0, t->entry);
    *link_of(t, index) = (struct nat_link){.next = *head, .hash = hash};
    *head = index;
    t->n++;
    return index;
}

void nat_table_remove(struct nat_table *t, uint32_t index)
{
    struct nat_link *link = link_of(t, index);
    uint32_t *at = &t->heads[link->hash & (t->n_heads - 1)];
    while (*at != index)
        at = &link_of(t, *at)->next;
    *at = link->next;
    link->next = t->free;
    t->free = index;
    t->n--;
}

size_t nat_table_bytes(const struct nat_table *t)
{
    return t->n_chunks * (NAT_CHUNK * t->entry + sizeof(*t->chunks)) + t->n_heads * sizeof(*t->heads);
}

/* ---- external ports -------------------------------------------------------------------------- */

bool nat_ports_set(struct nat_ports *p, uint16_t port, uint32_t owner)
{
    struct nat_page **page = &p->pages[port / NAT_PAGE];
    if (!*page) {
        if (owner == 0)
            return true;
        *page = calloc(1, sizeof(**page));
        if (!*page)
            return false;
        p->bytes += sizeof(**page);
    }
    uint32_t *slot = &(*page)->owner[port % NAT_PAGE];
    (*page)->used = (uint16_t)((*page)->used + (owner != 0) - (*slot != 0));
    *slot = owner;
    return true;
}

/* The part of [at, hi] that lies in one page, and how much of it is free. */
static uint32_t free_in_page(const struct nat_ports *p, uint32_t at, uint32_t hi, uint32_t *last)
{
    const struct nat_page *page = p->pages[at / NAT_PAGE];
    uint32_t end = at | (NAT_PAGE - 1), n = 0;
    *last = end < hi ? end : hi;
    if (!page)
        return *last - at + 1;
    if (at % NAT_PAGE == 0 && *last == end)
        return NAT_PAGE - page->used;
    for (uint32_t i = at; i <= *last; i++)
        n += page->owner[i % NAT_PAGE] == 0;
    return n;
}

uint32_t nat_ports_count_free(const struct nat_ports *p, uint32_t lo, uint32_t hi)
{
    uint32_t n = 0, last;
    for (uint32_t at = lo; at <= hi; at = last + 1)
        n += free_in_page(p, at, hi, &last);
    return n;
}

uint16_t nat_ports_nth_free(const struct nat_ports *p, uint32_t lo, uint32_t hi, uint32_t k)
{
    uint32_t last;
    for (uint32_t at = lo; at <= hi; at = last + 1) {
        uint32_t n = free_in_page(p, at, hi, &last);
        if (k >= n) {
            k -= n;
            continue;
        }
        for (uint32_t i = at; i <= last; i++)
            if (nat_ports_get(p, (uint16_t)i) == 0 && k-- == 0)
                return (uint16_t)i;
    }
    return 0;
}

void nat_ports_clear_foreign(struct nat_ports *p)
{
    for (uint32_t port = 0; port < 65536; port++) {
        if (!p->pages[port / NAT_PAGE])
            port |= NAT_PAGE - 1;
        else if (nat_ports_get(p, (uint16_t)port) == NAT_FOREIGN)
            nat_ports_set(p, (uint16_t)port, 0);
    }
}

void nat_ports_free(struct nat_ports *p)
{
    for (size_t i = 0; i < BASE_ARRAY_LEN(p->pages); i++)
        free(p->pages[i]);
    *p = (struct nat_ports){0};
}
