/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Jobs in the crash lab and the fault lab: a chain of images n0 <- n1 <- n2 in memory, beside it
 * an image "target", and a job that runs to its end.
 */
#ifndef TESTS_UNIT_LAB_JOB_LAB_H
#define TESTS_UNIT_LAB_JOB_LAB_H

#include "lab.h"

#include "block/blockjob.h"

#define JOB_LAB_BYTES (256 * KiB)
#define JOB_LAB_LAYERS 3

#define JOB_LAB_MAKE(name, more) \
    "{'driver': 'qcow2', 'file': 'file-" name "', 'size': 262144, 'cluster-size': 4096" more "}"
#define JOB_LAB_CREATE { \
    JOB_LAB_MAKE("n0", ""), \
    JOB_LAB_MAKE("n1", ", 'backing-file': 'n0', 'backing-fmt': 'qcow2'"), \
    JOB_LAB_MAKE("n2", ", 'backing-file': 'n1', 'backing-fmt': 'qcow2'"), \
    JOB_LAB_MAKE("target", "") }
#define JOB_LAB_OPEN(name) \
    "{'driver': 'qcow2', 'discard': 'unmap', 'file': {'driver': 'file', 'filename': '" name "'}}"

/* Layer @i of the chain whose active layer is @top. */
static inline BlockDriverState *job_lab_layer(BlockDriverState *top, int i)
{
    BlockDriverState *bs = top;

    for (int at = JOB_LAB_LAYERS - 1; at > i; at--) {
        bs = bdrv_filter_or_cow_bs(bs);
    }
    return bs;
}

/* Write @value to sectors of layer @layer, which nobody has open. */
static inline void coroutine_fn job_lab_co_put(int layer, int64_t sector, int64_t n, uint32_t value)
{
    g_autofree char *json = g_strdup_printf(JOB_LAB_OPEN("n%d"), layer);
    MemUser *user = lab_co_use(json, BDRV_O_RDWR);
    g_autofree uint32_t *buf = g_new(uint32_t, n * 128);

    for (int64_t i = 0; i < n * 128; i++) {
        buf[i] = value;
    }
    g_assert_cmpint(bdrv_co_pwrite(user->root, sector * 512, n * 512, buf, 0), ==, 0);
    g_assert_cmpint(bdrv_co_flush(user->bs), ==, 0);
    mem_co_unuse(user);
}

/* A node for the file "target", which the job will hold. */
static inline BlockDriverState *coroutine_fn job_lab_co_open_target(Error **errp)
{
    return bdrv_co_open(NULL, NULL, lab_parse(JOB_LAB_OPEN("target")), BDRV_O_RDWR | BDRV_O_UNMAP,
                        errp);
}

/*
 * Start @job and see it to its end, completing it when it is ready; others have their turns.
 * False with @errp set if it failed.  Context: the caller holds the control lock, which it gives up
 * meanwhile.
 */
static inline bool coroutine_fn job_lab_co_run(BlockJob *block_job, Error **errp)
{
    g_autoptr(Job) job = job_ref(&block_job->job);
    bool asked = false;

    job_start(job);
    bdrv_co_control_unlock();
    while (!job_has_ended(job)) {
        if (job->status == JOB_STATUS_READY && !asked) {
            asked = true;
            job_complete(job, &error_abort);
        }
        aio_co_schedule(qemu_get_current_aio_context(), qemu_coroutine_self());
        qemu_coroutine_yield();
    }
    bdrv_co_control_lock();
    if (job->ret < 0) {
        error_propagate(errp, error_copy(job->err));
    }
    return job->ret >= 0;
}

#endif
