/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * qcow2 headers: whatever the bytes, parsing survives; what passes can be built again, and reads
 * the same.
 */
#include "qemu/osdep.h"

#include "../../block/format/qcow2/qcow2.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void build_and_compare(const Qcow2Header *h, const Qcow2Extensions *ext)
{
    size_t cluster_size = (size_t)1 << h->cluster_bits;
    g_autofree uint8_t *cluster = g_malloc(cluster_size);
    Qcow2HeaderImage image = { h, ext, NULL, NULL, false };
    Qcow2Header again;

    if (!qcow2_header_build(&image, cluster, cluster_size, NULL)) {
        return; /* does not fit, which has an error of its own */
    }
    if (!qcow2_header_parse(cluster, cluster_size, &again, NULL) || again.size != h->size ||
        again.incompatible != h->incompatible || again.l1_offset != h->l1_offset) {
        abort();
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    Qcow2Header h;
    Qcow2Extensions ext = { 0 };

    if (qcow2_header_parse(data, size, &h, NULL) && h.header_len <= size) {
        size_t end = MIN(qcow2_header_ext_end(&h), size);

        if (end >= h.header_len &&
            qcow2_extensions_parse(data + h.header_len, end - h.header_len, &ext, NULL) &&
            qcow2_header_validate(&h, &ext, false, NULL)) {
            build_and_compare(&h, &ext);
        }
    }
    qcow2_extensions_clear(&ext);
    return 0;
}
