/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Random operations on any stack of nodes, against an array.  Groups of requests of any alignment
 * run at once, by coroutine and by callback, while gates freeze; between groups the disk is
 * resized, closed and opened again.  Every read, and every statement of status, must be true.
 *
 * Each attempt is a child process, so that a crash or a hang is a result, too.  When one fails, the
 * list of operations is shortened as long as it fails, and printed in a form that
 * LAB_REPLAY=FILE -p /path/of/the/case repeats.  TEST_SEED=n repeats a whole run.  Every case runs
 * with the fast path of the core and without it.  With LAB_STATES=n there are n
 * operations instead of some hundred.
 *
 * A stack is one ModelCase; tests/unit/lab/test-model-*.c are tables of them.
 */
#ifndef TESTS_UNIT_LAB_MODEL_LAB_H
#define TESTS_UNIT_LAB_MODEL_LAB_H

#include <sys/wait.h>

#include "lab.h"

#include "block/block-backend.h"
#include "block/fast-path.h"
#include "block/freeze.h"
#include "block/throttle-group.h"
#include "qapi/user-object.h"

#define MODEL_FILES 4
#define MODEL_MAX_GROUP 6
#define MODEL_SECONDS 120     /* for one attempt */
#define MODEL_SHRINKS 200     /* attempts to shorten a failing list */

/* What a stack cannot do, or does in its own way. */
typedef enum ModelFlags {
    MODEL_FIXED_SIZE = 1,     /* no resize */
    MODEL_READ_ONLY = 2,
    MODEL_REAL_FILES = 4,     /* below lab_folder ('@'), by the real driver */
    MODEL_BASE = 8,           /* file "base", raw, of disk_bytes, is there; seen where unwritten */
    MODEL_NO_CHECK = 16,      /* the format has no check */
    MODEL_STAYS_OPEN = 32,    /* closing loses the content (null, memory) */
} ModelFlags;

typedef struct ModelCase {
    const char *path;
    const char *create[3];    /* JSON for blockdev-create; file 'f' is node 'file-f' */
    const char *files[MODEL_FILES]; /* made with disk_bytes zeroes beforehand */
    const char *object;       /* made beforehand, as by --object; or NULL */
    const char *open;         /* JSON of the stack; '@' before names of files */
    const char *snapshot;     /* JSON of a node that reads as the stack did when opened; or NULL */
    int64_t disk_bytes;
    int64_t file_bytes;       /* of @files, if they are longer than the disk */
    ModelFlags flags;
} ModelCase;

typedef enum ModelOpKind {
    MODEL_READ, MODEL_WRITE, MODEL_WRITE_FUA, MODEL_ZERO, MODEL_ZERO_UNMAP, MODEL_ZERO_STRICT,
    MODEL_DISCARD, MODEL_FLUSH, MODEL_STATUS, MODEL_COMPRESSED, MODEL_COPY, MODEL_RESIZE,
    MODEL_REOPEN, MODEL_SNAPSHOT, MODEL_KINDS,
} ModelOpKind;

static const char *const model_op_names[MODEL_KINDS] = {
    "read", "write", "write-fua", "zero", "zero-unmap", "zero-strict", "discard", "flush",
    "status", "compressed", "copy", "resize", "reopen", "snapshot",
};

typedef struct ModelOp {
    ModelOpKind kind;
    int group;       /* operations of one group run at once */
    int64_t offset;  /* resize: new size */
    int64_t bytes;
    int64_t value;   /* first byte of the pattern; copy: offset of the source */
    bool by_callback;
} ModelOp;

typedef struct ModelRun {
    const ModelCase *k;
    BlockBackend *blk, *snapshot;
    uint8_t *model, *moment; /* the latter is what @snapshot has */
    int64_t bytes;        /* of the disk */
    int64_t capacity;     /* of the model */
    MemCrew crew;
    GString *complaint;   /* empty: all is well */
} ModelRun;

typedef struct ModelJob {
    ModelRun *r;
    ModelOp *op;
    uint8_t *buf;
    int ret;
} ModelJob;

/* ---- the list of operations ------------------------------------------------------------------ */

static inline bool model_changes(ModelOpKind kind)
{
    return kind != MODEL_READ && kind != MODEL_FLUSH && kind != MODEL_STATUS &&
           kind != MODEL_SNAPSHOT;
}

static inline bool model_is_alone(ModelOpKind kind)
{
    return kind == MODEL_RESIZE || kind == MODEL_REOPEN || kind == MODEL_COPY;
}

/* A place of any alignment, mostly short; sometimes on round borders, sometimes long. */
static inline void model_pick_range(GRand *rand, ModelOp *op, int64_t bytes)
{
    static const int64_t grains[] = { 1, 1, 512, 4096, 65536 };
    static const int64_t sizes[] = { 600, 5000, 70000, 200000 };
    int64_t grain = grains[test_rand_below(rand, ARRAY_SIZE(grains))];
    int64_t most = sizes[test_rand_below(rand, ARRAY_SIZE(sizes))];

    op->offset = QEMU_ALIGN_DOWN(test_rand_below(rand, bytes), grain);
    op->bytes = QEMU_ALIGN_UP(1 + test_rand_below(rand, most), grain);
    if (op->kind == MODEL_COMPRESSED) {
        op->offset = QEMU_ALIGN_DOWN(op->offset, 65536);
        op->bytes = 65536;
    }
    op->bytes = MIN(op->bytes, bytes - op->offset);
}

static inline bool model_overlap(const ModelOp *a, const ModelOp *b)
{
    return a->offset < b->offset + b->bytes && b->offset < a->offset + a->bytes;
}

/* May @op run at once with the last operations of @ops that are of its group? */
static inline bool model_fits(const GArray *ops, const ModelOp *op)
{
    for (guint i = ops->len; i-- > 0;) {
        const ModelOp *other = &g_array_index(ops, ModelOp, i);

        if (other->group != op->group) {
            return true;
        }
        if (op->kind != MODEL_SNAPSHOT && other->kind != MODEL_SNAPSHOT &&
            model_overlap(op, other) && (model_changes(op->kind) || model_changes(other->kind))) {
            return false;
        }
    }
    return true;
}

static inline ModelOpKind model_pick_kind(GRand *rand, const ModelCase *k)
{
    static const int shares[MODEL_KINDS] = { 8, 10, 2, 3, 3, 1, 3, 2, 3, 1, 1, 1, 1, 12 };
    ModelOpKind kind;

    do {
        int dice = test_rand_below(rand, 51);

        for (kind = 0; dice >= shares[kind]; kind++) {
            dice -= shares[kind];
        }
    } while ((kind == MODEL_SNAPSHOT && !k->snapshot) ||
             (k->flags & MODEL_READ_ONLY && model_changes(kind)) ||
             (k->flags & MODEL_FIXED_SIZE && kind == MODEL_RESIZE) ||
             (k->flags & MODEL_STAYS_OPEN && kind == MODEL_REOPEN));
    return kind;
}

static inline GArray *model_make_ops(GRand *rand, const ModelCase *k, guint n)
{
    GArray *ops = g_array_new(FALSE, TRUE, sizeof(ModelOp));
    int64_t bytes = k->disk_bytes;
    int group = 0, room = 0;

    while (ops->len < n) {
        ModelOp op = {
            .kind = model_pick_kind(rand, k), .value = 1 + test_rand_below(rand, 250),
            .by_callback = test_rand_below(rand, 2),
        };

        if (room-- <= 0 || model_is_alone(op.kind)) {
            group++;
            room = model_is_alone(op.kind) ? 0 : (int)test_rand_below(rand, MODEL_MAX_GROUP);
        }
        op.group = group;
        model_pick_range(rand, &op, bytes);
        if (op.kind == MODEL_COPY) {
            op.value = test_rand_below(rand, bytes - op.bytes + 1);
        } else if (op.kind == MODEL_RESIZE) {
            bytes = QEMU_ALIGN_UP(1 + test_rand_below(rand, 2 * k->disk_bytes - 1), 512);
            op.offset = bytes;
        }
        if (model_fits(ops, &op)) {
            g_array_append_val(ops, op);
        }
    }
    return ops;
}

/* ---- carrying out ---------------------------------------------------------------------------- */

static inline void model_complain(ModelRun *r, const ModelOp *op, const char *format, ...)
{
    va_list args;

    if (r->complaint->len) {
        return;
    }
    if (op) {
        g_string_append_printf(r->complaint, "%s %" PRIi64 "+%" PRIi64 " in group %d: ",
                               model_op_names[op->kind], op->offset, op->bytes, op->group);
    }
    va_start(args, format);
    g_string_append_vprintf(r->complaint, format, args);
    va_end(args);
}

static inline const uint8_t *model_content(const ModelRun *r, const ModelOp *op)
{
    return op && op->kind == MODEL_SNAPSHOT ? r->moment : r->model;
}

static inline void model_compare(ModelRun *r, const ModelOp *op, const uint8_t *buf,
                                 int64_t offset, int64_t bytes)
{
    const uint8_t *content = model_content(r, op) + offset;

    for (int64_t i = 0; i < bytes; i++) {
        if (buf[i] != content[i]) {
            model_complain(r, op, "byte %" PRIi64 " is %d, not %d", offset + i, buf[i],
                           content[i]);
            return;
        }
    }
}

static inline void model_wake(void *opaque, int ret)
{
    ModelJob *job = opaque;

    job->ret = ret;
    mem_crew_leave(&job->r->crew);
}

/* What is said to be zero is; the answers cover the range. */
static inline int coroutine_fn model_co_status(ModelJob *job)
{
    const ModelOp *op = job->op;
    const uint8_t *content = model_content(job->r, op);
    BlockBackend *blk = op->kind == MODEL_SNAPSHOT ? job->r->snapshot : job->r->blk;
    int64_t offset = op->offset, end = op->offset + op->bytes;

    while (offset < end) {
        int64_t pnum = 0, map;
        BlockDriverState *file;
        int ret = blk_co_block_status_above(blk, NULL, offset, end - offset, &pnum, &map,
                                            &file, NULL);

        if (ret < 0) {
            return ret;
        }
        if (pnum <= 0 || pnum > end - offset) {
            model_complain(job->r, op, "status says %" PRIi64 " bytes at %" PRIi64, pnum, offset);
            return 0;
        }
        for (int64_t i = offset; ret & BDRV_BLOCK_ZERO && i < offset + pnum; i++) {
            if (content[i]) {
                model_complain(job->r, op, "byte %" PRIi64 " is said to be zero, is %d", i,
                               content[i]);
                return 0;
            }
        }
        offset += pnum;
    }
    return 0;
}

static inline int coroutine_fn model_co_do(ModelJob *job)
{
    const ModelOp *op = job->op;
    BlockBackend *blk = job->r->blk;

    switch (op->kind) {
    case MODEL_READ:
        return blk_co_pread(blk, op->offset, op->bytes, job->buf, 0);
    case MODEL_WRITE:
        return blk_co_pwrite(blk, op->offset, op->bytes, job->buf, 0);
    case MODEL_WRITE_FUA:
        return blk_co_pwrite(blk, op->offset, op->bytes, job->buf, BDRV_REQ_FUA);
    case MODEL_COMPRESSED:
        return blk_co_pwrite(blk, op->offset, op->bytes, job->buf, BDRV_REQ_WRITE_COMPRESSED);
    case MODEL_ZERO:
        return blk_co_pwrite_zeroes(blk, op->offset, op->bytes, 0);
    case MODEL_ZERO_UNMAP:
        return blk_co_pwrite_zeroes(blk, op->offset, op->bytes, BDRV_REQ_MAY_UNMAP);
    case MODEL_ZERO_STRICT:
        return blk_co_pwrite_zeroes(blk, op->offset, op->bytes, BDRV_REQ_NO_FALLBACK);
    case MODEL_DISCARD:
        return blk_co_pdiscard(blk, op->offset, op->bytes);
    case MODEL_FLUSH:
        return blk_co_flush(blk);
    case MODEL_STATUS:
        return model_co_status(job);
    case MODEL_SNAPSHOT:
        return blk_co_pread(job->r->snapshot, op->offset, op->bytes, job->buf, 0) ?:
               model_co_status(job);
    case MODEL_COPY:
        return blk_co_copy_range(blk, op->value, blk, op->offset, op->bytes, 0);
    default:
        g_assert_not_reached();
    }
}

static inline void coroutine_fn model_co_job(void *opaque)
{
    ModelJob *job = opaque;

    job->ret = model_co_do(job);
    mem_crew_leave(&job->r->crew);
}

/* As a device does it: no coroutine of the caller. */
static inline void model_start_aio(ModelJob *job)
{
    const ModelOp *op = job->op;
    BlockBackend *blk = job->r->blk;
    QEMUIOVector *qiov = g_new(QEMUIOVector, 1); /* freed with the process */

    qemu_iovec_init(qiov, 2);
    qemu_iovec_add(qiov, job->buf, op->bytes / 2);
    qemu_iovec_add(qiov, job->buf + op->bytes / 2, op->bytes - op->bytes / 2);
    job->r->crew.running++;
    switch (op->kind) {
    case MODEL_READ:
        blk_aio_preadv(blk, op->offset, qiov, 0, model_wake, job);
        break;
    case MODEL_WRITE:
        blk_aio_pwritev(blk, op->offset, qiov, 0, model_wake, job);
        break;
    case MODEL_DISCARD:
        blk_aio_pdiscard(blk, op->offset, op->bytes, model_wake, job);
        break;
    default:
        blk_aio_flush(blk, model_wake, job);
        break;
    }
}

static inline void model_fill(uint8_t *buf, const ModelOp *op)
{
    for (int64_t i = 0; i < op->bytes; i++) {
        buf[i] = op->value + (op->offset + i) / 512 % 5;
    }
}

/*
 * Of what was discarded, or done in part, a byte may be as before, zero, what lies below, or as in
 * @other; from now on it is what it is.
 */
static inline void coroutine_fn model_co_settle(ModelRun *r, ModelJob *job, const uint8_t *other)
{
    int64_t offset = job->op->offset;
    int ret = blk_co_pread(r->blk, offset, job->op->bytes, job->buf, 0);

    if (ret < 0) {
        model_complain(r, job->op, "reading it back: %s", strerror(-ret));
    }
    for (int64_t i = 0; i < job->op->bytes; i++) {
        uint8_t below = r->k->flags & MODEL_BASE && offset + i < r->k->disk_bytes ? 0xba : 0;
        uint8_t now = job->buf[i];

        if (now && now != r->model[offset + i] && now != below && !(other && now == other[i])) {
            model_complain(r, job->op, "byte %" PRIi64 " became %d", offset + i, now);
        }
    }
    memcpy(r->model + offset, job->buf, job->op->bytes);
}

/* Judge a finished job and bring the model up to date. */
static inline void coroutine_fn model_co_finish(ModelRun *r, ModelJob *job)
{
    const ModelOp *op = job->op;
    uint8_t *place = r->model + op->offset;

    if (job->ret == -EINVAL && op->kind == MODEL_COMPRESSED) {
        model_co_settle(r, job, NULL); /* not a whole cluster of this image */
        return;
    }
    if (job->ret == -ENOTSUP && (op->kind == MODEL_COMPRESSED || op->kind == MODEL_COPY ||
                                 op->kind == MODEL_ZERO_STRICT)) {
        model_co_settle(r, job, op->kind == MODEL_COPY ? r->model + op->value : NULL);
        return;
    }
    if (job->ret < 0) {
        model_complain(r, op, "%s", strerror(-job->ret));
        return;
    }
    switch (op->kind) {
    case MODEL_READ:
    case MODEL_SNAPSHOT:
        model_compare(r, op, job->buf, op->offset, op->bytes);
        break;
    case MODEL_WRITE:
    case MODEL_WRITE_FUA:
    case MODEL_COMPRESSED:
        memcpy(place, job->buf, op->bytes);
        break;
    case MODEL_ZERO:
    case MODEL_ZERO_UNMAP:
    case MODEL_ZERO_STRICT:
        memset(place, 0, op->bytes);
        break;
    case MODEL_DISCARD:
        model_co_settle(r, job, NULL);
        break;
    case MODEL_COPY:
        memmove(place, r->model + op->value, op->bytes);
        break;
    default:
        break;
    }
}

static inline bool model_has_aio(const ModelOp *op)
{
    return op->by_callback && (op->kind == MODEL_READ || op->kind == MODEL_WRITE ||
                               op->kind == MODEL_DISCARD || op->kind == MODEL_FLUSH);
}

/* Operations [from, to) of @ops at once. */
static inline void coroutine_fn model_co_group(ModelRun *r, GArray *ops, guint from, guint to)
{
    ModelJob jobs[MODEL_MAX_GROUP + 1];
    int n = 0;

    for (guint i = from; i < to; i++) {
        ModelJob *job = &jobs[n++];

        *job = (ModelJob) { .r = r, .op = &g_array_index(ops, ModelOp, i) };
        job->buf = g_malloc(job->op->bytes + 1);
        model_fill(job->buf, job->op);
        if (model_has_aio(job->op)) {
            model_start_aio(job);
        } else {
            mem_crew_start(&r->crew, model_co_job, job);
        }
    }
    if (n > 2 && blk_bs(r->blk)) {
        bdrv_thaw(bdrv_co_freeze_node(blk_bs(r->blk)));
    }
    mem_crew_wait(&r->crew);
    for (int i = 0; i < n; i++) {
        model_co_finish(r, &jobs[i]);
        g_free(jobs[i].buf);
    }
}

/* From now on it reads as the disk is. */
static inline void coroutine_fn model_co_open_snapshot(ModelRun *r)
{
    g_autoptr(BlockDriverState) bs = bdrv_co_open(NULL, NULL, lab_parse(r->k->snapshot), 0,
                                                  &error_abort);

    r->snapshot = blk_co_new_with_bs(bs, BLK_PERM_CONSISTENT_READ, BLK_PERM_ALL, &error_abort);
    r->moment = memcpy(r->moment ?: g_malloc(r->capacity), r->model, r->bytes);
}

static inline void coroutine_fn model_co_open(ModelRun *r)
{
    bool is_read_only = r->k->flags & MODEL_READ_ONLY;
    BlockDriverState *bs = bdrv_co_open(NULL, NULL, lab_parse(r->k->open),
                                        is_read_only ? 0 : BDRV_O_RDWR | BDRV_O_UNMAP,
                                        &error_abort);
    uint64_t perm = BLK_PERM_CONSISTENT_READ | (is_read_only ? 0 : BLK_PERM_WRITE) |
                    (r->k->flags & (MODEL_FIXED_SIZE | MODEL_READ_ONLY) ? 0 : BLK_PERM_RESIZE);

    r->blk = blk_co_new_with_bs(bs, perm, BLK_PERM_ALL, &error_abort);
    bdrv_unref(bs);
    if (blk_co_getlength(r->blk) != r->bytes) {
        model_complain(r, NULL, "it has %" PRIi64 " bytes, not %" PRIi64,
                       blk_co_getlength(r->blk), r->bytes);
    }
    if (r->k->snapshot) {
        model_co_open_snapshot(r);
    }
}

static inline void coroutine_fn model_co_close(ModelRun *r)
{
    blk_co_unref(g_steal_pointer(&r->snapshot));
    lab_co_settle();
    blk_co_unref(g_steal_pointer(&r->blk));
    lab_co_settle();
}

static inline void coroutine_fn model_co_resize(ModelRun *r, const ModelOp *op)
{
    Error *err = NULL;

    if (blk_co_truncate(r->blk, op->offset, true, PREALLOC_MODE_OFF, 0, &err) < 0) {
        model_complain(r, op, "%s", error_get_pretty(err));
        return;
    }
    if (op->offset > r->bytes) {
        memset(r->model + r->bytes, 0, op->offset - r->bytes);
    }
    r->bytes = op->offset;
}

static inline void coroutine_fn model_co_read_all(ModelRun *r)
{
    g_autofree uint8_t *buf = g_malloc(r->bytes);
    int ret = blk_co_pread(r->blk, 0, r->bytes, buf, 0);

    if (ret < 0) {
        model_complain(r, NULL, "reading all: %s", strerror(-ret));
        return;
    }
    model_compare(r, NULL, buf, 0, r->bytes);
}

/* An attempt that was shortened may have lost a resize: requests past the end are left out. */
static inline bool model_is_possible(const ModelRun *r, const ModelOp *op)
{
    if (op->kind == MODEL_RESIZE || op->kind == MODEL_REOPEN) {
        return true;
    }
    return op->offset + op->bytes <= r->bytes &&
           (op->kind != MODEL_COPY || op->value + op->bytes <= r->bytes);
}

static inline void coroutine_fn model_co_ops(ModelRun *r, GArray *ops)
{
    for (guint i = 0; i < ops->len && !r->complaint->len;) {
        const ModelOp *op = &g_array_index(ops, ModelOp, i);
        guint end = i + 1;

        while (end < ops->len && g_array_index(ops, ModelOp, end).group == op->group) {
            end++;
        }
        if (op->kind == MODEL_RESIZE) {
            model_co_resize(r, op);
        } else if (op->kind == MODEL_REOPEN) {
            model_co_close(r);
            model_co_open(r);
        } else {
            g_autoptr(GArray) possible = g_array_new(FALSE, FALSE, sizeof(ModelOp));

            for (guint k = i; k < end; k++) {
                if (model_is_possible(r, &g_array_index(ops, ModelOp, k))) {
                    g_array_append_val(possible, g_array_index(ops, ModelOp, k));
                }
            }
            model_co_group(r, possible, 0, possible->len);
        }
        i = end;
    }
}

/* ---- one attempt, in a child process --------------------------------------------------------- */

static inline void model_make_file(const char *name, int64_t bytes, uint8_t value)
{
    g_autofree char *path = g_strconcat(lab_folder, name, NULL);
    g_autofree char *data = g_malloc(bytes);

    memset(data, value, bytes);
    if (*lab_folder) {
        g_assert_true(g_file_set_contents(path, data, bytes, NULL));
    } else {
        mem_set_content(name, data, bytes);
    }
}

static inline void coroutine_fn model_co_set_up(ModelRun *r)
{
    const ModelCase *k = r->k;

    r->bytes = k->disk_bytes;
    r->capacity = 2 * k->disk_bytes + 512;
    r->model = g_malloc0(r->capacity);
    r->complaint = g_string_new(NULL);
    for (int i = 0; i < MODEL_FILES && k->files[i]; i++) {
        model_make_file(k->files[i], k->file_bytes ? k->file_bytes : k->disk_bytes, 0);
    }
    if (k->flags & MODEL_BASE) {
        model_make_file("base", k->disk_bytes, 0xba);
        memset(r->model, 0xba, k->disk_bytes);
    }
    for (size_t i = 0; i < ARRAY_SIZE(k->create) && k->create[i]; i++) {
        lab_co_create(k->create[i]);
    }
}

static inline void coroutine_fn model_co_check(ModelRun *r)
{
    BlockDriverState *bs = blk_bs(r->blk);
    BdrvCheckResult res = { .report = lab_report };

    while (bs && bs->drv->is_filter) {
        bs = bdrv_primary_bs(bs);
    }
    if (bs && !(r->k->flags & MODEL_NO_CHECK) && bs->drv->bdrv_co_check &&
        (bdrv_co_check(bs, &res, 0) < 0 || res.corruptions || res.check_errors)) {
        model_complain(r, NULL, "%d corruptions", (int)res.corruptions);
    }
}

typedef struct ModelAttempt {
    const ModelCase *k;
    GArray *ops;
    int fd; /* takes the complaint */
} ModelAttempt;

static inline void coroutine_fn model_co_attempt(void *opaque)
{
    const ModelAttempt *a = opaque;
    ModelRun r = { .k = a->k };

    bdrv_co_control_lock();
    if (a->k->object) {
        throttle_group_register_type();
        g_assert_true(user_object_add_from_str(a->k->object, &error_abort));
    }
    model_co_set_up(&r);
    model_co_open(&r);
    model_co_ops(&r, a->ops);
    if (!r.complaint->len) {
        model_co_read_all(&r);
        if (!(a->k->flags & MODEL_STAYS_OPEN)) {
            model_co_close(&r);
            model_co_open(&r);
            model_co_read_all(&r);
        }
        model_co_check(&r);
        model_co_close(&r);
    }
    bdrv_co_control_unlock();
    if (r.complaint->len && write(a->fd, r.complaint->str, r.complaint->len) < 0) {
        _exit(2);
    }
}

static inline void G_GNUC_NORETURN model_child(ModelAttempt *a, bool fast)
{
    alarm(MODEL_SECONDS);
    bdrv_fast_path_enable(fast);
    qemu_init_main_loop(&error_abort);
    bdrv_register_drivers(*lab_folder ? bdrv_drivers : lab_drivers());
    mem_rand = g_rand_new_with_seed(a->ops->len);
    if (!mem_files) {
        mem_file("disk");
    }
    co_run(model_co_attempt, a);
    _exit(0);
}

/* NULL: all went well; else what was wrong.  Caller frees. */
static inline char *model_try(const ModelCase *k, GArray *ops, bool fast)
{
    ModelAttempt a = { .k = k, .ops = ops };
    int pipe_fds[2], status;
    char text[500];
    ssize_t len;
    pid_t pid;

    g_assert_cmpint(pipe(pipe_fds), ==, 0);
    a.fd = pipe_fds[1];
    fflush(stdout);
    pid = fork();
    g_assert_cmpint(pid, >=, 0);
    if (pid == 0) {
        model_child(&a, fast);
    }
    close(pipe_fds[1]);
    len = read(pipe_fds[0], text, sizeof(text));
    close(pipe_fds[0]);
    g_assert_cmpint(waitpid(pid, &status, 0), ==, pid);
    if (len > 0) {
        return g_strndup(text, len);
    }
    if (WIFSIGNALED(status) || WEXITSTATUS(status)) {
        return g_strdup_printf("the process ended with status 0x%x", status);
    }
    return NULL;
}

/* ---- shortening ------------------------------------------------------------------------------ */

/* @ops without [from, from + n). */
static inline GArray *model_without(const GArray *ops, guint from, guint n)
{
    GArray *rest = g_array_new(FALSE, FALSE, sizeof(ModelOp));

    g_array_append_vals(rest, ops->data, from);
    if (from + n < ops->len) {
        g_array_append_vals(rest, &g_array_index(ops, ModelOp, from + n), ops->len - from - n);
    }
    return rest;
}

/* A shorter list that fails, too; takes @ops.  @why: replaced by its complaint. */
static inline GArray *model_shrink(const ModelCase *k, GArray *ops, bool fast, char **why)
{
    int budget = MODEL_SHRINKS;

    for (guint n = ops->len / 2; n > 0; n /= 2) {
        for (guint from = 0; from < ops->len && budget-- > 0;) {
            GArray *rest = model_without(ops, from, MIN(n, ops->len - from));
            char *now = model_try(k, rest, fast);

            if (now) {
                g_free(*why);
                *why = now;
                g_array_unref(ops);
                ops = rest;
            } else {
                g_array_unref(rest);
                from += n;
            }
        }
    }
    return ops;
}

static inline void model_print(const GArray *ops)
{
    for (guint i = 0; i < ops->len; i++) {
        const ModelOp *op = &g_array_index(ops, ModelOp, i);

        printf("# %s %d %" PRIi64 " %" PRIi64 " %" PRIi64 " %d\n", model_op_names[op->kind],
               op->group, op->offset, op->bytes, op->value, op->by_callback);
    }
}

/* Lines as model_print() makes them, with or without the '#'. */
static inline GArray *model_load(const char *path)
{
    GArray *ops = g_array_new(FALSE, FALSE, sizeof(ModelOp));
    g_autofree char *text = NULL;

    g_assert_true(g_file_get_contents(path, &text, NULL, NULL));
    g_auto(GStrv) lines = g_strsplit(text, "\n", -1);
    for (int i = 0; lines[i] && *lines[i]; i++) {
        ModelOp op = { 0 };
        char name[32];
        int callback;

        g_assert_cmpint(sscanf(lines[i] + strspn(lines[i], "# "), "%31s %d %" SCNi64 " %" SCNi64
                               " %" SCNi64 " %d", name, &op.group, &op.offset, &op.bytes,
                               &op.value, &callback), ==, 6);
        while (op.kind < MODEL_KINDS && strcmp(model_op_names[op.kind], name)) {
            op.kind++;
        }
        g_assert_cmpint(op.kind, <, MODEL_KINDS);
        op.by_callback = callback;
        g_array_append_val(ops, op);
    }
    return ops;
}

/* ---- main ------------------------------------------------------------------------------------ */

static inline void model_test_case(gconstpointer data)
{
    const ModelCase *k = data;
    g_autoptr(GRand) rand = test_rand_new();
    g_autofree char *folder = g_strconcat(test_tmpdir(), "/", NULL);
    guint wanted = test_states_wanted() ? test_states_wanted() : 400, done = 0;
    guint batch = CLAMP(wanted / 2, 1, 200); /* so that both paths are tried */
    const char *replay = g_getenv("LAB_REPLAY");

    lab_folder = k->flags & MODEL_REAL_FILES ? folder : "";
    for (bool fast = true; done < wanted; fast = !fast) {
        GArray *ops = replay ? model_load(replay) : model_make_ops(rand, k, batch);
        char *why = model_try(k, ops, fast);

        done += batch;
        if (why) {
            ops = model_shrink(k, ops, fast, &why);
            printf("# %s, fast path %s\n", why, fast ? "on" : "off");
            model_print(ops);
            g_free(why);
            g_test_fail();
            done = wanted;
        }
        g_array_unref(ops);
    }
    lab_folder = "";
}

/* The main() of a program with these cases. */
static inline int model_lab_main(int argc, char **argv, const ModelCase *cases, guint n)
{
    test_init(&argc, &argv);
    error_set_report_hook(lab_swallow, NULL);
    for (guint i = 0; i < n; i++) {
        g_test_add_data_func(cases[i].path, &cases[i], model_test_case);
    }
    return g_test_run();
}

#endif
