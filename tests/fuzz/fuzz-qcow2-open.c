/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * qcow2 images that are only read: whatever the bytes, each is refused with an error or can be
 * looked at from all sides; status advances; reading the same twice gives the same; and nothing is
 * written to the file.
 */
#include "qemu/osdep.h"

#include "block/snapshot.h"
#include "qcow2-fuzz.h"

static size_t fuzz_prefix(void)
{
    return 0;
}

#define MAX_STEPS 200
#define PIECE_BYTES (64 * KiB)

static void coroutine_fn co_look_at(MemUser *user, int64_t offset, int64_t size)
{
    int64_t bytes = MIN(size - offset, PIECE_BYTES);
    g_autofree uint8_t *first = g_malloc(PIECE_BYTES), *second = g_malloc(PIECE_BYTES);

    if (bytes <= 0 || bdrv_co_pread(user->root, offset, bytes, first, 0) < 0) {
        return;
    }
    if (bdrv_co_pread(user->root, offset, bytes, second, 0) < 0 || memcmp(first, second, bytes)) {
        abort();
    }
}

static void coroutine_fn co_map(MemUser *user, int64_t size)
{
    int64_t offset = 0, pnum, map;
    BlockDriverState *file;

    for (int i = 0; i < MAX_STEPS && offset < size; i++) {
        if (bdrv_co_block_status(user->bs, offset, size - offset, &pnum, &map, &file) < 0) {
            return;
        }
        if (pnum <= 0 || pnum > size - offset) {
            abort();
        }
        co_look_at(user, offset, size);
        offset += pnum;
    }
}

static void coroutine_fn co_snapshots(MemUser *user)
{
    g_autoptr(SnapshotInfoList) list = bdrv_snapshot_list(user->bs);
    int left = 10;

    for (SnapshotInfoList *entry = list; entry && left > 0; entry = entry->next, left--) {
        if (bdrv_co_snapshot_load_tmp(user->bs, entry->value->id, NULL, NULL)) {
            co_map(user, bdrv_getlength(user->bs));
        }
    }
}

static void coroutine_fn co_read_all(void)
{
    g_autoptr(GBytes) before = fuzz_file();
    MemUser *user = fuzz_co_open(0);

    if (user) {
        BlockDriverInfo info = { 0 };

        if (bdrv_getlength(user->bs) < 0) {
            abort();
        }
        bdrv_get_info(user->bs, &info);
        qapi_free_ImageInfoSpecific(user->bs->drv->bdrv_get_specific_info(user->bs, NULL));
        co_map(user, bdrv_getlength(user->bs));
        co_snapshots(user);
        mem_co_unuse(user);
    }
    fuzz_same_file(before);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    fuzz_run(data, size, co_read_all);
    return 0;
}
