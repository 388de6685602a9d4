/*
 * Packets into the TUN devices, many at once: what is to be written waits for the end of a round. The order of all
 * packets stays.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "bench/lab/internal.h"

#define OUT_BYTES (4 * LAB_PACKET_MAX)

struct lab_devices {
    struct loop_batch *batch;
    struct loop_io out[LAB_DEVICE_BATCH];
    unsigned n_out;
    size_t out_bytes;
    uint8_t *out_space; /* memory that no packet touches is never there */
};

int lab_devices_create(struct lab_devices **out)
{
    struct lab_devices *d = calloc(1, sizeof(*d));
    if (!d)
        return -ENOMEM;
    d->out_space = malloc(OUT_BYTES);
    if (!d->out_space) {
        lab_devices_destroy(d);
        return -ENOMEM;
    }
    loop_batch_create(&d->batch, LAB_DEVICE_BATCH);
    *out = d;
    return 0;
}

void lab_devices_destroy(struct lab_devices *d)
{
    if (!d)
        return;
    loop_batch_destroy(d->batch);
    free(d->out_space);
    free(d);
}

void lab_devices_flush(struct lab *lab)
{
    struct lab_devices *d = lab->devices;
    loop_batch_write(d->batch, d->out, d->n_out);
    for (unsigned i = 0; i < d->n_out; i++) {
        if (d->out[i].res == (int)d->out[i].len) {
            lab->counters.packets++;
            lab->counters.bytes += d->out[i].len;
        } else {
            lab->counters.overflow++;
        }
    }
    d->n_out = 0;
    d->out_bytes = 0;
}

void lab_devices_write(struct lab *lab, int tun, const uint8_t *data, size_t len)
{
    struct lab_devices *d = lab->devices;
    if (d->n_out == LAB_DEVICE_BATCH || d->out_bytes + len > OUT_BYTES)
        lab_devices_flush(lab);
    uint8_t *place = d->out_space + d->out_bytes;
    memcpy(place, data, len);
    d->out[d->n_out++] = (struct loop_io){.fd = tun, .data = place, .len = len};
    d->out_bytes += len;
}
