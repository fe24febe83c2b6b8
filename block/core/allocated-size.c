/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * How much of the host's storage images take.
 *
 * Asking is I/O, and queries must answer while storage hangs.  So each file is asked by a coroutine
 * of its own, all at once; a query waits for them for a moment and then tells what was last known.
 * Drives are asked for their media on the way.
 */
#include "qemu/osdep.h"

#include "block/freeze.h"
#include "block/qapi.h"
#include "core-int.h"
#include "qemu/atomic.h"

/* A local file answers in microseconds. */
#define MAX_WAIT_NS (100 * INT64_C(1000000))

/* Shared by a query and those who ask for it; the last one frees it. */
typedef struct Inquiry {
    unsigned refs;
    unsigned pending;
    QemuCoSleep sleep; /* of the query */
} Inquiry;

typedef struct Question {
    Inquiry *inquiry;
    BlockDriverState *bs; /* referenced, with an activity: nothing changes below the driver */
} Question;

static void inquiry_unref(Inquiry *inquiry)
{
    if (--inquiry->refs == 0) {
        g_free(inquiry);
    }
}

static void coroutine_fn co_ask(void *opaque)
{
    Question *question = opaque;
    BlockDriverState *bs = question->bs;
    Inquiry *inquiry = question->inquiry;
    int64_t bytes = bs->drv->bdrv_co_get_allocated_file_size(bs);
    g_free(question);
    if (bdrv_has_drive(bs)) {
        bdrv_co_refresh_medium(bs);
        bdrv_tell_length(bs);
    }
    bs->allocated_bytes = bytes;
    bs->asked_for_size = false;
    if (--inquiry->pending == 0) {
        qemu_co_sleep_wake(&inquiry->sleep);
    }
    inquiry_unref(inquiry);
    bdrv_activity_end(bs);
    if (bs->refcnt == 1) {
        /* Everybody else has left: it is closed now, not whenever the next command ends. */
        BDRV_CONTROL_GUARD();
        bdrv_unref(bs);
    } else {
        bdrv_unref(bs);
    }
}

/* One that has not been answered yet is not asked again. */
static bool should_ask(const BlockDriverState *bs)
{
    return bs->drv && bs->opened && bs->drv->is_protocol && !bs->frozen && !bs->asked_for_size &&
           bs->drv->bdrv_co_get_allocated_file_size;
}

void coroutine_fn bdrv_co_refresh_allocated_sizes(void)
{
    GLOBAL_STATE_CODE();
    Inquiry *inquiry = g_new0(Inquiry, 1);
    g_autoptr(GPtrArray) questions = g_ptr_array_new();
    BlockDriverState *bs;
    inquiry->refs = 1;
    QTAILQ_FOREACH(bs, &bdrv_graph()->nodes, next_node) {
        if (should_ask(bs)) {
            Question *question = g_new(Question, 1);
            *question = (Question) { .inquiry = inquiry, .bs = bdrv_ref(bs) };
            bs->asked_for_size = true;
            bdrv_activity_begin(bs);
            inquiry->refs++;
            inquiry->pending++;
            g_ptr_array_add(questions, question);
        }
    }
    for (unsigned i = 0; i < questions->len; i++) {
        qemu_coroutine_enter(qemu_coroutine_create(co_ask, g_ptr_array_index(questions, i)));
    }
    if (inquiry->pending) {
        qemu_co_sleep_ns_wakeable(&inquiry->sleep, QEMU_CLOCK_REALTIME, MAX_WAIT_NS);
    }
    inquiry_unref(inquiry);
}

int64_t bdrv_known_allocated_size(const BlockDriverState *bs)
{
    if (!bs->drv) {
        return -ENOMEDIUM;
    }
    if (bs->drv->is_protocol) {
        return bs->allocated_bytes;
    }
    BlockDriverState *filtered = bdrv_filter_bs(bs);
    if (filtered) {
        return bdrv_known_allocated_size(filtered);
    }
    int64_t sum = 0;
    BdrvChild *child;
    QLIST_FOREACH(child, &bs->children, next) {
        if (child->role & (BDRV_CHILD_IMAGE | BDRV_CHILD_FILTERED)) {
            int64_t bytes = bdrv_known_allocated_size(child->bs);
            if (bytes < 0) {
                return bytes;
            }
            sum += bytes;
        }
    }
    return sum;
}
