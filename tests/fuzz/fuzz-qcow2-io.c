/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Requests on qcow2 images.  The first bytes are the requests, four each: kind, place, length and
 * what is written; the rest is the image.  Whatever the image, the program survives.  Where check
 * finds the image sound it holds what was written, also after it was opened again, and is sound.
 */
#include "qemu/osdep.h"

#include "block/snapshot.h"

#include "qcow2-fuzz.h"

#define MAX_REQUESTS 16
#define MAX_DISK (1 * MiB)

static size_t fuzz_prefix(void)
{
    return MAX_REQUESTS * 4;
}

static struct {
    const uint8_t *requests;
    uint8_t *disk;   /* what it should hold */
    int64_t bytes;   /* of the disk, as far as it is looked at */
    bool is_sound;
} fuzz;

/* A request that failed may have done anything within its range: nothing more is compared. */
static void expect(int ret, int64_t offset, int64_t bytes, uint8_t value)
{
    if (ret < 0) {
        fuzz.is_sound = false;
    } else {
        memset(fuzz.disk + offset, value, bytes);
    }
}

static void coroutine_fn co_compare(MemUser *user)
{
    g_autofree uint8_t *buf = g_malloc(MAX_DISK);
    int ret = fuzz.bytes ? bdrv_co_pread(user->root, 0, fuzz.bytes, buf, 0) : 0;

    if (fuzz.is_sound && (ret < 0 || memcmp(buf, fuzz.disk, fuzz.bytes))) {
        abort();
    }
}

static void coroutine_fn co_snapshot(MemUser *user, uint8_t name)
{
    g_autofree char *text = g_strdup_printf("fuzz-%d", name & 3);
    g_autoptr(SnapshotInfo) info = bdrv_snapshot_find(user->bs, NULL, text);

    if (info) {
        bdrv_co_snapshot_delete(user->bs, info->id, NULL);
    } else {
        bdrv_co_snapshot_create_now(user->bs, text, NULL);
    }
}

static void coroutine_fn co_request(MemUser *user, const uint8_t *r)
{
    int64_t units = fuzz.bytes / 512;
    int64_t offset = r[1] * units / 256 * 512;
    int64_t bytes = MIN((int64_t)(r[2] % 64 + 1) * 512, fuzz.bytes - offset);
    g_autofree uint8_t *buf = g_malloc(MAX(bytes, 1));

    memset(buf, r[3], bytes);
    switch (r[0] % 6) {
    case 0:
    case 1:
        expect(bdrv_co_pwrite(user->root, offset, bytes, buf, 0), offset, bytes, r[3]);
        break;
    case 2:
        expect(bdrv_co_pwrite_zeroes(user->root, offset, bytes, r[3] & 1 ? BDRV_REQ_MAY_UNMAP : 0),
               offset, bytes, 0);
        break;
    case 3:
        bdrv_co_pdiscard(user->root, offset, bytes);
        if (bdrv_co_pread(user->root, offset, bytes, fuzz.disk + offset, 0) < 0) {
            fuzz.is_sound = false;
        }
        break;
    case 4:
        bdrv_co_flush(user->bs);
        break;
    default:
        co_snapshot(user, r[3]);
    }
}

/* Sound, or at least as sound as it was. */
static void coroutine_fn co_finish(void)
{
    MemUser *user = fuzz_co_open(0);
    BdrvCheckResult res;

    if (!user || !fuzz_co_check(user, 0, &res)) {
        abort();
    }
    co_compare(user);
    mem_co_unuse(user);
}

static void coroutine_fn co_requests(void)
{
    MemUser *user = fuzz_co_open(BDRV_O_RDWR | BDRV_O_UNMAP);
    BdrvCheckResult res;
    bool was_sound;

    if (!user) {
        return;
    }
    fuzz.bytes = MIN(bdrv_getlength(user->bs), MAX_DISK);
    was_sound = fuzz_co_check(user, 0, &res) && !user->bs->backing;
    fuzz.is_sound = was_sound &&
                    (!fuzz.bytes ||
                     bdrv_co_pread(user->root, 0, fuzz.bytes, fuzz.disk, 0) >= 0);
    for (int i = 0; i < MAX_REQUESTS && fuzz.bytes; i++) {
        co_request(user, fuzz.requests + i * 4);
    }
    co_compare(user);
    mem_co_unuse(user);
    if (was_sound) {
        co_finish();
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    g_autofree uint8_t *disk = g_malloc0(MAX_DISK);

    if (size > fuzz_prefix()) {
        fuzz.requests = data;
        fuzz.disk = disk;
        fuzz_run(data + fuzz_prefix(), size - fuzz_prefix(), co_requests);
    }
    return 0;
}
