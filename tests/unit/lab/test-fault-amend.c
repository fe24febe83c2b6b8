/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Failing calls while an image is amended. */
#include "qemu/osdep.h"

#include "fault-lab.h"

#define OPEN "{'driver': 'qcow2', 'file': {'driver': 'file', 'filename': 'disk'}}"
#define MAKE "{'driver': 'qcow2', 'file': 'file-disk', 'size': 262144, 'cluster-size': 512}"
#define SIZE (256 * KiB)

/* Data, and zero clusters with and without a host cluster. */
static void coroutine_fn co_prepare(FaultRun *r)
{
    g_autofree uint8_t *buf = g_malloc(SIZE / 2);

    memset(buf, 0x5a, SIZE / 2);
    g_assert_cmpint(bdrv_co_pwrite(r->user->root, 0, SIZE / 2, buf, 0), ==, 0);
    g_assert_cmpint(bdrv_co_pwrite_zeroes(r->user->root, 0, 8192, 0), ==, 0);
    g_assert_cmpint(bdrv_co_pwrite_zeroes(r->user->root, 16384, 8192, BDRV_REQ_MAY_UNMAP), ==, 0);
}

static bool coroutine_fn co_amend(FaultRun *r, const char *text, Error **errp)
{
    return lab_co_amend(r->user->bs, text, false, errp);
}

static bool coroutine_fn co_width(FaultRun *r, Error **errp)
{
    return co_amend(r, "refcount_bits=64", errp);
}

static bool coroutine_fn co_version(FaultRun *r, Error **errp)
{
    return co_amend(r, "compat=0.10", errp);
}

static void coroutine_fn co_judge(FaultRun *r, bool done)
{
    g_autofree uint8_t *buf = g_malloc(SIZE);

    g_assert_cmpint(bdrv_co_pread(r->user->root, 0, SIZE, buf, 0), ==, 0);
    for (int64_t i = 0; i < SIZE; i++) {
        bool is_zero = i < 8192 || (i >= 16384 && i < 24576) || i >= SIZE / 2;

        g_assert_cmphex(buf[i], ==, is_zero ? 0 : 0x5a);
    }
}

static const FaultCase cases[] = {
    { .path = "/qcow2/fault/amend/refcount-width", .create = { MAKE }, .open = OPEN,
      .co_prepare = co_prepare, .co_operate = co_width, .co_judge = co_judge },
    { .path = "/qcow2/fault/amend/version", .create = { MAKE }, .open = OPEN,
      .co_prepare = co_prepare, .co_operate = co_version, .co_judge = co_judge },
};

int main(int argc, char **argv)
{
    return fault_lab_main(argc, argv, cases, ARRAY_SIZE(cases));
}
