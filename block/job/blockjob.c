/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What block jobs have in common: nodes and claims, the gate, speed limit, error policy, events.
 */
#include "qemu/osdep.h"

#include "block/blockjob.h"

#include "block/freeze.h"
#include "qapi/gen/block-core-events.h"
#include "qemu/lockable.h"

/* Copying may run ahead of the limit by what this much time allows. */
#define BURST_NS (100 * SCALE_MS)
/* A job that is woken late, or whose host is busy, makes up for so much. */
#define MADE_UP_NS (500 * SCALE_MS)

static BlockJob *block_job_of_gate(BdrvGate *gate)
{
    return (BlockJob *)((char *)gate - offsetof(BlockJob, gate));
}

/* ---- the gate -------------------------------------------------------------------------------- */

static BdrvOwner job_owner(const BlockJob *job)
{
    return (BdrvOwner) {
        .kind = BDRV_OWNER_JOB,
        .key = job,
        .id = job->job.id,
        .description = job->description,
    };
}

static BdrvOwner gate_owner(BdrvGate *gate)
{
    return job_owner(block_job_of_gate(gate));
}

static void gate_quiesce(BdrvGate *gate)
{
    job_pause(&block_job_of_gate(gate)->job);
}

static void gate_resume(BdrvGate *gate)
{
    job_resume(&block_job_of_gate(gate)->job);
}

static bool gate_busy(BdrvGate *gate)
{
    return job_is_busy(&block_job_of_gate(gate)->job);
}

static const BdrvGateOps gate_ops = {
    .owner = gate_owner,
    .quiesce = gate_quiesce,
    .resume = gate_resume,
    .busy = gate_busy,
};

/* ---- life ------------------------------------------------------------------------------------ */

const char *block_job_choose_id(const BlockJobArgs *args, Error **errp)
{
    const char *id = args->id ? args->id : bdrv_get_device_name(args->device);

    return job_id_is_free(id, errp) ? id : NULL;
}

void *block_job_create(const BlockJobArgs *args, Error **errp)
{
    bool internal = args->flags & JOB_INTERNAL;
    const char *id = internal ? NULL : block_job_choose_id(args, errp);
    BlockJob *job;

    if (!internal && !id) {
        return NULL;
    }
    job = (BlockJob *)job_create(id, args->driver, args->txn, args->flags, errp);
    if (!job) {
        return NULL;
    }
    job->description = g_strdup_printf("%s job '%s'", job_type_str(&job->job), id ? id : "");
    job->reason = g_strdup_printf("block device is in use by block job: %s",
                                  job_type_str(&job->job));
    job->nodes = g_ptr_array_new();
    job->claims = g_ptr_array_new();
    job->frozen = g_ptr_array_new();
    job->paid_ns = job_clock_ns();
    qemu_mutex_init(&job->limit_lock);
    bdrv_gate_init(&job->gate, &gate_ops);
    job->gate.is_job = true;
    /* Clients of stock see the job begin and end. */
    if (!block_job_set_speed(job, args->speed, errp)) {
        job_early_fail(&job->job);
        return NULL;
    }
    return job;
}

void block_job_free(Job *job)
{
    BlockJob *bjob = (BlockJob *)job;

    assert(bjob->nodes->len == 0);
    bdrv_gate_done(&bjob->gate);
    qemu_mutex_destroy(&bjob->limit_lock);
    g_ptr_array_free(bjob->frozen, TRUE);
    g_ptr_array_free(bjob->claims, TRUE);
    g_ptr_array_free(bjob->nodes, TRUE);
    g_free(bjob->reason);
    g_free(bjob->description);
}

BdrvChild *coroutine_fn block_job_co_add_bdrv(BlockJob *job, const char *name, BlockDriverState *bs,
                                              uint64_t perm, uint64_t shared,
                                              BlockRights allowed_ops, Error **errp)
{
    BdrvChildSpec spec = {
        .name = name,
        .gate = &job->gate,
        .perm = perm,
        .shared = shared,
        .stays = true,
    };
    BdrvClaim *claim = bdrv_claim(bs, job_owner(job), 0, BLK_RIGHTS_ALL_OPS & ~allowed_ops,
                                  job->reason, errp);
    BdrvChild *child;

    if (!claim) {
        return NULL;
    }
    child = bdrv_co_attach_child(&spec, bdrv_ref(bs), errp);
    if (!child) {
        bdrv_claim_release(claim);
        return NULL;
    }
    g_ptr_array_add(job->claims, claim);
    g_ptr_array_add(job->nodes, child);
    return child;
}

bool block_job_forbid(BlockJob *job, BlockDriverState *bs, BlockRights rights, const char *reason,
                      Error **errp)
{
    BdrvClaim *claim = bdrv_claim(bs, job_owner(job), 0, rights, reason, errp);

    if (claim) {
        g_ptr_array_add(job->claims, claim);
    }
    return claim != NULL;
}

static void release_claims(GPtrArray *claims)
{
    while (claims->len) {
        bdrv_claim_release(g_ptr_array_steal_index(claims, claims->len - 1));
    }
}

void block_job_freeze_chain(BlockJob *job, BlockDriverState *top, BlockDriverState *bottom)
{
    for (BlockDriverState *bs = top; bs && bs != bottom; bs = bdrv_filter_or_cow_bs(bs)) {
        /* Nobody uses this right for longer than a change takes. */
        g_ptr_array_add(job->frozen, bdrv_claim(bs, job_owner(job), 0, BLK_RIGHT_CHANGE_CHILDREN,
                                                job->reason, &error_abort));
    }
}

void block_job_unfreeze_chain(BlockJob *job)
{
    release_claims(job->frozen);
}

void coroutine_fn block_job_co_remove_all_bdrv(BlockJob *job)
{
    release_claims(job->frozen);
    release_claims(job->claims);
    while (job->nodes->len) {
        bdrv_co_detach_child(g_ptr_array_steal_index(job->nodes, job->nodes->len - 1));
    }
}

bool block_job_change(BlockJob *job, const BlockJobChangeOptions *options, Error **errp)
{
    Error *local_err = NULL;

    if (!job_verb_allowed(&job->job, JOB_VERB_CHANGE, errp)) {
        return false;
    }
    if (!job->ops || !job->ops->change) {
        error_setg(errp, "Job type does not support change");
        return false;
    }
    if (options->type != job->job.driver->job_type) {
        error_setg(errp, "Job '%s' is a %s job", job->job.id, job_type_str(&job->job));
        return false;
    }
    job->ops->change(job, options, &local_err);
    error_propagate(errp, local_err);
    return !local_err;
}

/* ---- speed ----------------------------------------------------------------------------------- */

bool block_job_set_speed(BlockJob *job, int64_t speed, Error **errp)
{
    if (!job_verb_allowed(&job->job, JOB_VERB_SET_SPEED, errp)) {
        return false;
    }
    if (speed < 0) {
        error_setg(errp, "Parameter 'speed' expects a non-negative value");
        return false;
    }
    WITH_QEMU_LOCK_GUARD(&job->limit_lock) {
        job->speed = speed;
        job->paid_ns = job_clock_ns(); /* what was saved up or owed does not count */
    }
    job_enter(&job->job);
    return true;
}

void block_job_ratelimit_account(BlockJob *job, uint64_t bytes)
{
    QEMU_LOCK_GUARD(&job->limit_lock);
    if (job->speed > 0) {
        double ns = (double)bytes / job->speed * NANOSECONDS_PER_SECOND;
        int64_t start = MAX(job->paid_ns, job_clock_ns() - MADE_UP_NS);

        job->paid_ns = ns < INT64_MAX / 2 - start ? start + (int64_t)ns : INT64_MAX / 2;
    }
}

int64_t block_job_ratelimit_delay(BlockJob *job)
{
    QEMU_LOCK_GUARD(&job->limit_lock);
    int64_t ahead = job->speed > 0 ? job->paid_ns - job_clock_ns() : 0;

    return ahead > BURST_NS ? ahead : 0;
}

/* ---- errors ---------------------------------------------------------------------------------- */

static BlockErrorAction choose_action(BlockdevOnError on_err, int error)
{
    switch (on_err) {
    case BLOCKDEV_ON_ERROR_IGNORE:
        return BLOCK_ERROR_ACTION_IGNORE;
    case BLOCKDEV_ON_ERROR_STOP:
        return BLOCK_ERROR_ACTION_STOP;
    case BLOCKDEV_ON_ERROR_ENOSPC:
        return error == ENOSPC ? BLOCK_ERROR_ACTION_STOP : BLOCK_ERROR_ACTION_REPORT;
    default:
        return BLOCK_ERROR_ACTION_REPORT;
    }
}

BlockErrorAction block_job_error_action(BlockJob *job, BlockdevOnError on_err, bool is_read,
                                        int error)
{
    BlockErrorAction action = choose_action(on_err, error);

    if (job->job.id) {
        qapi_event_send_block_job_error(job->job.id, is_read ? IO_OPERATION_TYPE_READ
                                                             : IO_OPERATION_TYPE_WRITE, action);
    }
    if (action == BLOCK_ERROR_ACTION_STOP) {
        g_autofree char *cause = g_strdup_printf("since %s failed: %s",
                                                 is_read ? "reading" : "writing",
                                                 g_strerror(error));

        job_pause_for_user(&job->job, cause);
        if (job->iostatus == BLOCK_DEVICE_IO_STATUS_OK) {
            job->iostatus = error == ENOSPC ? BLOCK_DEVICE_IO_STATUS_NOSPACE
                                            : BLOCK_DEVICE_IO_STATUS_FAILED;
        }
    }
    return action;
}

void block_job_user_resume(Job *job)
{
    ((BlockJob *)job)->iostatus = BLOCK_DEVICE_IO_STATUS_OK;
}

/* ---- finding, asking, events ----------------------------------------------------------------- */

bool job_is_block_job(const Job *job)
{
    return job->driver->event == block_job_event;
}

BlockJob *block_job_get(const char *id, Error **errp)
{
    Job *job = job_get(id);

    if (!job || !job_is_block_job(job)) {
        error_set(errp, ERROR_CLASS_DEVICE_NOT_ACTIVE, "Block job '%s' not found", id);
        return NULL;
    }
    return (BlockJob *)job;
}

BlockJobInfo *block_job_query(BlockJob *bjob)
{
    const Job *job = &bjob->job;
    BlockJobInfo *info = g_new0(BlockJobInfo, 1);
    uint64_t current, total;

    progress_get_snapshot(&job->progress, &current, &total);
    info->type = job->driver->job_type;
    info->device = g_strdup(job->id);
    info->len = total;
    info->offset = current;
    info->busy = job->busy;
    info->paused = job->pause_count > 0;
    info->speed = bjob->speed;
    info->io_status = bjob->iostatus;
    info->ready = job_is_ready(job);
    info->status = job->status;
    info->auto_finalize = job->auto_finalize;
    info->auto_dismiss = job->auto_dismiss;
    info->error = job->err ? g_strdup(error_get_pretty(job->err)) : NULL;
    info->waits_for = job_waits_for(job);
    if (bjob->ops && bjob->ops->query) {
        bjob->ops->query(bjob, info);
    }
    return info;
}

void block_job_event(Job *job, JobEvent event)
{
    const BlockJob *bjob = (BlockJob *)job;
    JobType type = job->driver->job_type;
    uint64_t offset, len;

    progress_get_snapshot(&job->progress, &offset, &len);
    switch (event) {
    case JOB_EVENT_READY:
        qapi_event_send_block_job_ready(type, job->id, len, offset, bjob->speed);
        break;
    case JOB_EVENT_PENDING:
        qapi_event_send_block_job_pending(type, job->id);
        break;
    case JOB_EVENT_COMPLETED:
        qapi_event_send_block_job_completed(type, job->id, len, offset, bjob->speed,
                                            job->ret < 0 ? error_get_pretty(job->err) : NULL);
        break;
    case JOB_EVENT_CANCELLED:
        qapi_event_send_block_job_cancelled(type, job->id, len, offset, bjob->speed);
        break;
    }
}
