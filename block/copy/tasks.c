/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Who copies what; see copy-int.h. */
#include "qemu/osdep.h"

#include "copy-int.h"

/* ---- tasks ----------------------------------------------------------------------------------- */

CopyTask *copy_task_find(BlockCopyState *state, int64_t offset, int64_t end)
{
    CopyTask *task;

    QLIST_FOREACH(task, &state->tasks, next) {
        if (task->offset < end && offset < task->offset + task->bytes) {
            return task;
        }
    }
    return NULL;
}

/* Under the lock. */
static void task_insert(BlockCopyState *state, CopyTask *task)
{
    QSIMPLEQ_INIT(&task->waiters);
    QLIST_INSERT_HEAD(&state->tasks, task, next);
}

int64_t copy_cluster_end(const BlockCopyState *state, int64_t end)
{
    return MIN(QEMU_ALIGN_UP(end, state->cluster_size), state->bytes);
}

bool copy_task_begin(BlockCopyState *state, CopyTask *task, int64_t offset, int64_t end,
                     int64_t max_chunk, CopyTask **other)
{
    *other = NULL;
    if (!bdrv_dirty_bitmap_next_dirty_area(state->left, offset, end, max_chunk, &task->offset,
                                           &task->bytes)) {
        return false;
    }
    /* The area may begin and end inside clusters; the bits are for whole ones. */
    end = copy_cluster_end(state, task->offset + task->bytes);
    task->offset = QEMU_ALIGN_DOWN(task->offset, state->cluster_size);
    while ((*other = copy_task_find(state, task->offset, end)) && (*other)->offset > task->offset) {
        end = (*other)->offset;
    }
    if (*other) {
        return false;
    }
    task->bytes = end - task->offset;
    task->number = 0;
    task->moved = task->is_lock = false;
    bdrv_reset_dirty_bitmap(state->left, task->offset, task->bytes);
    task_insert(state, task);
    return true;
}

void copy_task_end(BlockCopyState *state, CopyTask *task, int ret)
{
    TaskWaiter *waiter, *next;

    qemu_mutex_lock(&state->lock);
    if (ret < 0) {
        bdrv_set_dirty_bitmap(state->left, task->offset, task->bytes);
    }
    QLIST_REMOVE(task, next);
    qemu_mutex_unlock(&state->lock);
    QSIMPLEQ_FOREACH_SAFE(waiter, &task->waiters, next, next) {
        aio_co_wake(waiter->co);
    }
}

void coroutine_fn copy_task_co_wait(BlockCopyState *state, CopyTask *task)
{
    TaskWaiter waiter = { .co = qemu_coroutine_self() };

    QSIMPLEQ_INSERT_TAIL(&task->waiters, &waiter, next);
    qemu_mutex_unlock(&state->lock);
    qemu_coroutine_yield();
}

/* Under the lock: one that is to be written before @task, or NULL. */
static CopyTask *find_earlier(BlockCopyState *state, const CopyTask *task)
{
    CopyTask *other;

    QLIST_FOREACH(other, &state->tasks, next) {
        if (other->number && other->number < task->number) {
            return other;
        }
    }
    return NULL;
}

void coroutine_fn copy_task_co_wait_turn(BlockCopyState *state, const CopyTask *task)
{
    CopyTask *other;

    if (!task->number) {
        return;
    }
    qemu_mutex_lock(&state->lock);
    while ((other = find_earlier(state, task))) {
        copy_task_co_wait(state, other);
        qemu_mutex_lock(&state->lock);
    }
    qemu_mutex_unlock(&state->lock);
}

/* ---- keeping others out ---------------------------------------------------------------------- */

/* Changes of the length are for the owner to see to: what lies past the end is nobody's. */
BlockCopyLock *coroutine_fn block_copy_co_lock(BlockCopyState *state, int64_t offset, int64_t bytes)
{
    BlockCopyLock *lock = g_new0(BlockCopyLock, 1);
    CopyTask *task = &lock->task, *other;
    int64_t end = offset + bytes;
    int64_t inner = QEMU_ALIGN_UP(offset, state->cluster_size);
    int64_t inner_end = end >= state->bytes ? end : QEMU_ALIGN_DOWN(end, state->cluster_size);

    task->is_lock = true;
    task->offset = QEMU_ALIGN_DOWN(offset, state->cluster_size);
    task->bytes = QEMU_ALIGN_UP(end, state->cluster_size) - task->offset;
    qemu_mutex_lock(&state->lock);
    while ((other = copy_task_find(state, task->offset, task->offset + task->bytes))) {
        copy_task_co_wait(state, other);
        qemu_mutex_lock(&state->lock);
    }
    task_insert(state, task);
    /* Now, not at the end: what others mark meanwhile stays marked. */
    if (inner < inner_end) {
        bdrv_reset_dirty_bitmap(state->left, inner, inner_end - inner);
    }
    qemu_mutex_unlock(&state->lock);
    return lock;
}

void block_copy_unlock(BlockCopyState *state, BlockCopyLock *lock, bool same)
{
    copy_task_end(state, &lock->task, same ? 0 : -EIO);
    g_free(lock);
}

void block_copy_mark_dirty(BlockCopyState *state, int64_t offset, int64_t bytes)
{
    bdrv_set_dirty_bitmap(state->left, offset, bytes);
}
