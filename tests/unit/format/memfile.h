/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * For tests of formats: a protocol called "file" whose files are in memory, that remembers
 * every write and flush, so that a test can build what a power cut would leave; and a frame
 * that runs a case in a coroutine that holds the control lock.
 *
 * Single-threaded.  A request yields a few times before it takes effect (mem_rand set), so that
 * requests of several coroutines interleave; a flush takes effect at once.
 */
#ifndef TESTS_UNIT_FORMAT_MEMFILE_H
#define TESTS_UNIT_FORMAT_MEMFILE_H

#include "block/block_int.h"
#include "block/gate.h"
#include "qemu/main-loop.h"
#include "qobject/qdict.h"

#include "../../lib/testlib.h"

/* ---- files --------------------------------------------------------------------------------- */

#define MEM_MAX_BYTES (256 * MiB)

typedef enum MemOpKind { MEM_WRITE, MEM_TRUNCATE, MEM_FLUSH } MemOpKind;

typedef struct MemFile MemFile;

typedef struct MemOp {
    MemFile *file;
    MemOpKind kind;
    int64_t offset; /* of a write; new length of a truncate */
    GBytes *data;
} MemOp;

struct MemFile {
    GByteArray *data;
    GArray *log;    /* of MemOp, several files may share it; NULL: not recorded */
    int fail_after; /* this many writes or flushes go well, the next fails once; < 0: none fails */
    bool may_discard;
    bool is_device; /* its length does not change; it says so only if it must be exact */
};

/* Calls on any file that fail, without effect; counted from 1. */
typedef struct MemFault {
    const char *kinds; /* letters: r, w (and zeroes), d (discard), t (truncate), f (flush) */
    int error;         /* errno */
    guint at;          /* this call; 0: none */
    bool persists;     /* and all later ones */
    guint calls, hits;
} MemFault;

#define MEM_BLOCK 4096 /* what files share is made of these */

static GHashTable *mem_files; /* name -> MemFile */
static bool mem_may_share;    /* files can come to have the same blocks */
static guint mem_nb_shared;   /* ranges that they came to share */
static MemFault mem_fault;
static GRand *mem_rand;       /* borrowed; NULL: requests do not yield */
static bool mem_hold_next;    /* the next write takes its time ... */
static Coroutine *mem_held;   /* ... and is this, until it is woken */

static void mem_op_clear(void *item)
{
    MemOp *op = item;

    if (op->data) {
        g_bytes_unref(op->data);
    }
}

static void mem_file_free(void *ptr)
{
    MemFile *file = ptr;

    g_byte_array_unref(file->data);
    if (file->log) {
        g_array_unref(file->log);
    }
    g_free(file);
}

/* The file called @name, made if there is none. */
static inline MemFile *mem_file(const char *name)
{
    MemFile *file;

    if (!mem_files) {
        mem_files = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, mem_file_free);
    }
    file = g_hash_table_lookup(mem_files, name);
    if (!file) {
        file = g_new0(MemFile, 1);
        file->data = g_byte_array_new();
        file->fail_after = -1;
        g_hash_table_insert(mem_files, g_strdup(name), file);
    }
    return file;
}

static inline void mem_set_content(const char *name, const void *data, size_t len)
{
    MemFile *file = mem_file(name);

    g_byte_array_set_size(file->data, 0);
    g_byte_array_append(file->data, data, len);
}

static inline GArray *mem_journal_new(void)
{
    GArray *log = g_array_new(FALSE, FALSE, sizeof(MemOp));

    g_array_set_clear_func(log, mem_op_clear);
    return log;
}

static inline void mem_record(MemFile *file)
{
    file->log = mem_journal_new();
}

static void mem_log(MemFile *file, MemOpKind kind, int64_t offset, GBytes *data)
{
    MemOp op = { file, kind, offset, data };

    if (file->log) {
        g_array_append_val(file->log, op);
    } else if (data) {
        g_bytes_unref(data);
    }
}

static void mem_resize(GByteArray *data, guint len)
{
    guint old = data->len;

    g_byte_array_set_size(data, len);
    if (len > old) {
        memset(data->data + old, 0, len - old);
    }
}

/* Carry out @op on @data; of a write only the 512-byte sectors for which @pick is true. */
static inline void mem_apply(GByteArray *data, const MemOp *op, bool (*pick)(void *opaque),
                             void *opaque)
{
    size_t len, done = 0;
    const uint8_t *bytes;

    if (op->kind == MEM_TRUNCATE) {
        mem_resize(data, op->offset);
    }
    if (op->kind != MEM_WRITE) {
        return;
    }
    bytes = g_bytes_get_data(op->data, &len);
    while (done < len) {
        int64_t at = op->offset + done;
        size_t n = MIN(len - done, (size_t)(512 - at % 512));

        if (!pick || pick(opaque)) {
            if (at + n > data->len) {
                mem_resize(data, at + n);
            }
            memcpy(data->data + at, bytes + done, n);
        }
        done += n;
    }
}

/* ---- the driver ---------------------------------------------------------------------------- */

static MemFile *mem_of(BlockDriverState *bs)
{
    return *(MemFile **)bs->opaque;
}

static void coroutine_fn mem_co_dawdle(void)
{
    for (int n = mem_rand ? g_rand_int_range(mem_rand, 0, 3) : 0; n > 0; n--) {
        aio_co_schedule(qemu_get_current_aio_context(), qemu_coroutine_self());
        qemu_coroutine_yield();
    }
}

static void coroutine_fn mem_co_hold(void)
{
    if (mem_hold_next) {
        mem_hold_next = false;
        mem_held = qemu_coroutine_self();
        qemu_coroutine_yield();
        mem_held = NULL;
    }
}

/* 0, or the error that mem_fault has for a call of this kind. */
static int mem_may_call(char kind)
{
    MemFault *f = &mem_fault;

    if (!f->at || !strchr(f->kinds, kind)) {
        return 0;
    }
    f->calls++;
    if (f->calls != f->at && !(f->persists && f->calls > f->at)) {
        return 0;
    }
    f->hits++;
    return -f->error;
}

/* 0, or the error of a write or a flush; @end: of the write. */
static int mem_may_write(MemFile *file, int64_t end, char kind)
{
    if (file->fail_after >= 0 && file->fail_after-- == 0) {
        return -EIO;
    }
    return end > MEM_MAX_BYTES ? -EFBIG : mem_may_call(kind);
}

static bool coroutine_fn mem_co_open(BlockDriverState *bs, const BlockdevOptions *options,
                                     int flags, Error **errp)
{
    *(MemFile **)bs->opaque = mem_file(options->u.file.filename);
    bs->supported_zero_flags = BDRV_REQ_MAY_UNMAP | BDRV_REQ_NO_FALLBACK;
    return true;
}

static int coroutine_fn mem_co_preadv(BlockDriverState *bs, int64_t offset, int64_t bytes,
                                      QEMUIOVector *qiov, size_t qiov_offset, unsigned flags)
{
    MemFile *file = mem_of(bs);
    int64_t have;
    int ret;

    mem_co_dawdle();
    ret = mem_may_call('r');
    if (ret < 0) {
        return ret;
    }
    have = MIN(MAX((int64_t)file->data->len - offset, 0), bytes);
    if (have) {
        qemu_iovec_from_buf(qiov, qiov_offset, file->data->data + offset, have);
    }
    qemu_iovec_memset(qiov, qiov_offset + have, 0, bytes - have);
    return 0;
}

static void mem_write(MemFile *file, int64_t offset, void *buf, int64_t bytes)
{
    MemOp op = { file, MEM_WRITE, offset, g_bytes_new_take(buf, bytes) };

    mem_apply(file->data, &op, NULL, NULL);
    mem_log(file, MEM_WRITE, offset, op.data);
}

static int coroutine_fn mem_co_pwritev(BlockDriverState *bs, int64_t offset, int64_t bytes,
                                       QEMUIOVector *qiov, size_t qiov_offset, unsigned flags)
{
    uint8_t *buf;
    int ret;

    mem_co_dawdle();
    mem_co_hold();
    ret = mem_may_write(mem_of(bs), offset + bytes, 'w');
    if (ret < 0) {
        return ret;
    }
    buf = g_malloc(bytes);
    qemu_iovec_to_buf(qiov, qiov_offset, buf, bytes);
    mem_write(mem_of(bs), offset, buf, bytes);
    return 0;
}

static int coroutine_fn mem_co_pwrite_zeroes(BlockDriverState *bs, int64_t offset, int64_t bytes,
                                             unsigned flags)
{
    int ret;

    mem_co_dawdle();
    ret = mem_may_write(mem_of(bs), offset + bytes, 'w');
    if (ret >= 0) {
        mem_write(mem_of(bs), offset, g_malloc0(bytes), bytes);
    }
    return ret;
}

/* What was discarded reads as garbage, so that nobody can rely on it. */
static int coroutine_fn mem_co_pdiscard(BlockDriverState *bs, int64_t offset, int64_t bytes)
{
    MemFile *file = mem_of(bs);
    uint8_t *buf;
    int ret = mem_may_call('d');

    if (ret < 0) {
        return ret;
    }
    bytes = MIN(bytes, (int64_t)file->data->len - offset);
    if (!file->may_discard || bytes <= 0) {
        return 0;
    }
    buf = g_malloc(bytes);
    memset(buf, 0xdd, bytes);
    mem_write(file, offset, buf, bytes);
    return 0;
}

static int coroutine_fn mem_co_copy_range_from(BlockDriverState *bs, BdrvChild *src,
                                               int64_t src_offset, BdrvChild *dst,
                                               int64_t dst_offset, int64_t bytes, unsigned flags)
{
    return bdrv_co_copy_range_to(src, src_offset, dst, dst_offset, bytes, flags);
}

/* As with FICLONERANGE the source's blocks are on disk then; that they are the target's, too, is so
 * when that is flushed.  So a cut leaves of it what it leaves of a write. */
static int coroutine_fn mem_co_copy_range_to(BlockDriverState *bs, BdrvChild *src,
                                             int64_t src_offset, BdrvChild *dst,
                                             int64_t dst_offset, int64_t bytes, unsigned flags)
{
    const GByteArray *from;
    int ret;

    if (!(flags & BDRV_REQ_NO_FALLBACK)) {
        return -ENOTSUP;
    }
    if (!mem_may_share || src->bs->drv != bs->drv) {
        return -EXDEV;
    }
    mem_co_dawdle();
    from = mem_of(src->bs)->data;
    if ((src_offset | dst_offset | bytes) % MEM_BLOCK || src_offset + bytes > from->len) {
        return -ENOTSUP;
    }
    ret = bytes ? mem_may_write(mem_of(bs), dst_offset + bytes, 'w') : 0;
    if (ret >= 0 && bytes) {
        mem_write(mem_of(bs), dst_offset, g_memdup2(from->data + src_offset, bytes), bytes);
        mem_nb_shared++;
    }
    return ret;
}

static int coroutine_fn mem_co_flush_to_disk(BlockDriverState *bs)
{
    int ret = mem_may_write(mem_of(bs), 0, 'f');

    if (ret >= 0) {
        mem_log(mem_of(bs), MEM_FLUSH, 0, NULL);
    }
    return ret;
}

static int coroutine_fn mem_co_truncate(BlockDriverState *bs, int64_t offset, bool exact,
                                        PreallocMode prealloc, unsigned flags, Error **errp)
{
    MemFile *file = mem_of(bs);
    int ret = offset > MEM_MAX_BYTES ? -ENOSPC : mem_may_call('t');

    if (ret >= 0 && file->is_device) {
        if (offset <= file->data->len && !exact) {
            return 0;
        }
        ret = -ENOTSUP;
    }
    if (ret < 0) {
        error_setg_errno(errp, -ret, "Could not resize file");
        return ret;
    }
    mem_resize(file->data, offset);
    mem_log(file, MEM_TRUNCATE, offset, NULL);
    return 0;
}

/* There is nothing that depends on how it is open. */
static bool coroutine_fn mem_co_reopen_prepare(BdrvReopenState *state, Error **errp)
{
    return true;
}

static int64_t coroutine_fn mem_co_getlength(BlockDriverState *bs)
{
    return mem_of(bs)->data->len;
}

static void mem_refresh_filename(BlockDriverState *bs)
{
    g_free(bs->exact_filename);
    bs->exact_filename = g_strdup(bs->options->u.file.filename);
}

static BlockDriver mem_driver = {
    .format_name = "file",
    .protocol_name = "file",
    .options_type = BLOCKDEV_DRIVER_FILE,
    .instance_size = sizeof(MemFile *),
    .is_protocol = true,
    .bdrv_co_open = mem_co_open,
    .bdrv_co_reopen_prepare = mem_co_reopen_prepare,
    .bdrv_co_preadv = mem_co_preadv,
    .bdrv_co_pwritev = mem_co_pwritev,
    .bdrv_co_pwrite_zeroes = mem_co_pwrite_zeroes,
    .bdrv_co_pdiscard = mem_co_pdiscard,
    .bdrv_co_copy_range_from = mem_co_copy_range_from,
    .bdrv_co_copy_range_to = mem_co_copy_range_to,
    .bdrv_co_flush_to_disk = mem_co_flush_to_disk,
    .bdrv_co_truncate = mem_co_truncate,
    .bdrv_co_getlength = mem_co_getlength,
    .bdrv_refresh_filename = mem_refresh_filename,
};

/* ---- a user of a node ---------------------------------------------------------------------- */

typedef struct MemUser {
    BdrvGate gate;
    BlockDriverState *bs;
    BdrvChild *root;
} MemUser;

static BdrvOwner mem_user_owner(BdrvGate *gate)
{
    return (BdrvOwner){ BDRV_OWNER_USER, gate, NULL, "a test" };
}

static const BdrvGateOps mem_user_ops = { .owner = mem_user_owner };

/* Open what @options (taken) say and use it; NULL with @errp set if that fails. */
static inline MemUser *coroutine_fn mem_co_use(QDict *options, int flags, Error **errp)
{
    MemUser *user = g_new0(MemUser, 1);
    BdrvChildSpec spec = {
        .name = "root",
        .role = BDRV_CHILD_IMAGE | BDRV_CHILD_PRIMARY,
        .gate = &user->gate,
        .perm = BLK_PERM_CONSISTENT_READ |
                (flags & BDRV_O_RDWR ? BLK_PERM_WRITE | BLK_PERM_RESIZE : 0),
        .shared = BLK_PERM_ALL,
    };

    user->bs = bdrv_co_open(NULL, NULL, options, flags, errp);
    if (!user->bs) {
        g_free(user);
        return NULL;
    }
    bdrv_gate_init(&user->gate, &mem_user_ops);
    user->root = bdrv_co_attach_child(&spec, bdrv_ref(user->bs), errp);
    g_assert_nonnull(user->root);
    return user;
}

/* Close; what nobody refers to any more is closed before this returns. */
static inline void coroutine_fn mem_co_unuse(MemUser *user)
{
    bdrv_co_detach_child(user->root);
    bdrv_unref(user->bs);
    bdrv_gate_done(&user->gate);
    g_free(user);
    bdrv_co_control_unlock();
    bdrv_co_control_lock();
}

/* ---- coroutines beside the case ------------------------------------------------------------ */

typedef struct MemCrew {
    int running;
    Coroutine *waiter;
} MemCrew;

static inline void mem_crew_leave(MemCrew *crew)
{
    if (--crew->running == 0 && crew->waiter) {
        aio_co_wake(crew->waiter);
    }
}

static inline void coroutine_fn mem_crew_start(MemCrew *crew, CoroutineEntry *entry, void *opaque)
{
    crew->running++;
    aio_co_schedule(qemu_get_current_aio_context(), qemu_coroutine_create(entry, opaque));
}

static inline void coroutine_fn mem_crew_wait(MemCrew *crew)
{
    if (crew->running) {
        crew->waiter = qemu_coroutine_self();
        qemu_coroutine_yield();
        crew->waiter = NULL;
    }
}

/* ---- frame --------------------------------------------------------------------------------- */

static inline void coroutine_fn mem_co_case(void *opaque)
{
    void (*co_fn)(void) = opaque;

    bdrv_co_control_lock();
    co_fn();
    bdrv_co_control_unlock();
}

/* Run @co_fn as a test; @drivers: NULL-terminated, "file" being &mem_driver. */
static inline void mem_run_case(BlockDriver *const *drivers, void (*co_fn)(void))
{
    bdrv_register_drivers(drivers);
    co_run(mem_co_case, co_fn);
    /* Messages to the main thread may be left. */
    while (aio_poll(qemu_get_aio_context(), false)) {
    }
    g_assert_null(bdrv_next_node(NULL));
    bdrv_graph_reset();
    g_clear_pointer(&mem_files, g_hash_table_destroy);
    mem_rand = NULL;
}

#endif
