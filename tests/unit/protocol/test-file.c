/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Files of the host: I/O in all modes, holes, sizes, locks, reopening, devices. */
#include "qemu/osdep.h"

#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/vfs.h>
#include <sys/wait.h>

#include "../../lib/memdisk.h"
#include "../../lib/testlib.h"

#include "block/block-backend.h"
#include "block/block_int.h"
#include "qemu/fdset.h"
#include "qemu/hostfile.h"
#include "qemu/iszero.h"
#include "qobject/json-parser.h"
#include "qobject/opts.h"

#define FILE_BYTES (1 * MiB)

static char *path;      /* of the image; made anew for each case */

static BlockDriverState *coroutine_fn co_open_at(const char *name, const char *options, int flags,
                                                 Error **errp)
{
    g_autofree char *json = g_strdup_printf("{'driver': 'file', 'filename': '%s'%s%s}", name,
                                            *options ? ", " : "", options);
    QDict *dict = qobject_to(QDict, qobject_from_json(json, &error_abort));

    return bdrv_co_open(NULL, NULL, dict, flags, errp);
}

static BlockDriverState *coroutine_fn co_open(const char *options, Error **errp)
{
    return co_open_at(path, options, BDRV_O_RDWR | BDRV_O_UNMAP, errp);
}

static void make_file(int64_t bytes)
{
    int fd = open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

    g_assert_cmpint(fd, >=, 0);
    g_assert_cmpint(ftruncate(fd, bytes), ==, 0);
    close(fd);
}

static int64_t file_bytes(void)
{
    struct stat st;

    g_assert_cmpint(stat(path, &st), ==, 0);
    return st.st_size;
}

static BlockBackend *coroutine_fn co_user(BlockDriverState *bs, uint64_t perm, uint64_t shared)
{
    BlockBackend *blk = blk_co_new_with_bs(bs, perm, shared, &error_abort);

    blk_set_allow_write_beyond_eof(blk, perm & BLK_PERM_RESIZE);
    return blk;
}

#define READ_WRITE (BLK_PERM_CONSISTENT_READ | BLK_PERM_WRITE)
#define ALL_RIGHTS (READ_WRITE | BLK_PERM_RESIZE)

/* ---- I/O against a model --------------------------------------------------------------------- */

static void coroutine_fn co_step(BlockBackend *blk, GRand *rand, uint8_t *model, uint8_t *buf)
{
    int64_t offset = test_rand_below(rand, FILE_BYTES);
    int64_t bytes = 1 + test_rand_below(rand, MIN(FILE_BYTES - offset, 300 * KiB));
    uint8_t *memory = buf + test_rand_below(rand, 600); /* of any alignment */

    switch (test_rand_below(rand, 6)) {
    case 0:
        g_assert_cmpint(blk_co_pwrite_zeroes(blk, offset, bytes, 0), ==, 0);
        memset(model + offset, 0, bytes);
        break;
    case 1:
        g_assert_cmpint(blk_co_pwrite_zeroes(blk, offset, bytes, BDRV_REQ_MAY_UNMAP), ==, 0);
        memset(model + offset, 0, bytes);
        break;
    case 2:
        g_assert_cmpint(blk_co_flush(blk), ==, 0);
        break;
    case 3:
        test_rand_fill(rand, memory, bytes);
        memcpy(model + offset, memory, bytes);
        g_assert_cmpint(blk_co_pwrite(blk, offset, bytes, memory,
                                      bytes % 2 ? BDRV_REQ_FUA : 0), ==, 0);
        break;
    default:
        g_assert_cmpint(blk_co_pread(blk, offset, bytes, memory, 0), ==, 0);
        g_assert_cmpmem(memory, bytes, model + offset, bytes);
        break;
    }
}

static void coroutine_fn co_model(const char *options)
{
    g_autoptr(GRand) rand = test_rand_new();
    g_autofree uint8_t *model = g_malloc0(FILE_BYTES), *buf = g_malloc(FILE_BYTES);
    g_autofree char *content = NULL;
    gsize length;
    Error *err = NULL;
    BlockDriverState *bs;
    BlockBackend *blk;

    make_file(FILE_BYTES);
    bs = co_open(options, &err);
    if (!bs) {
        g_test_skip(error_get_pretty(err)); /* this file system or kernel has it not */
        error_free(err);
        return;
    }
    blk = co_user(bs, READ_WRITE, BLK_PERM_ALL);
    for (int i = 0; i < 300; i++) {
        co_step(blk, rand, model, buf);
    }
    blk_co_unref(blk);
    bdrv_unref(bs);
    g_assert_true(g_file_get_contents(path, &content, &length, NULL));
    g_assert_cmpmem(content, length, model, FILE_BYTES);
}

static void coroutine_fn co_threads(void)
{
    co_model("'aio': 'threads'");
}

static void coroutine_fn co_threads_direct(void)
{
    co_model("'cache': {'direct': true}");
}

static void coroutine_fn co_native(void)
{
    co_model("'aio': 'native', 'cache': {'direct': true}");
}

static void coroutine_fn co_small_batches(void)
{
    co_model("'aio': 'native', 'aio-max-batch': 2, 'cache': {'direct': true}");
}

static void coroutine_fn co_io_uring(void)
{
    co_model("'aio': 'io_uring'");
}

static void coroutine_fn co_io_uring_direct(void)
{
    co_model("'aio': 'io_uring', 'cache': {'direct': true}");
}

/* ---- sizes ----------------------------------------------------------------------------------- */

/* A file that ends in the middle of a block reads as if it went on with zeroes. */
static void coroutine_fn co_odd_tail(const char *options)
{
    uint8_t buf[1024];
    Error *err = NULL;
    BlockDriverState *bs;
    BlockBackend *blk;
    int fd;

    make_file(0);
    fd = open(path, O_RDWR | O_CLOEXEC);
    memset(buf, 0x11, sizeof(buf));
    g_assert_cmpint(pwrite(fd, buf, 700, 4096), ==, 700);
    close(fd);
    bs = co_open(options, &err);
    if (!bs) {
        g_test_skip(error_get_pretty(err));
        error_free(err);
        return;
    }
    g_assert_cmpint(bdrv_getlength(bs), ==, 4096 + 1024);
    blk = co_user(bs, ALL_RIGHTS, BLK_PERM_ALL);
    g_assert_cmpint(blk_co_pread(blk, 4096, 1024, buf, 0), ==, 0);
    g_assert_cmpint(buf[699], ==, 0x11);
    g_assert_cmpint(buf[700], ==, 0);
    g_assert_cmpint(buf[1023], ==, 0);
    blk_co_unref(blk);
    bdrv_unref(bs);
}

static void coroutine_fn co_odd_tail_cached(void)
{
    co_odd_tail("'read-only': false");
}

static void coroutine_fn co_odd_tail_direct(void)
{
    co_odd_tail("'cache': {'direct': true}");
}

static void coroutine_fn co_odd_tail_uring(void)
{
    co_odd_tail("'aio': 'io_uring'");
}

static void coroutine_fn co_truncates(void)
{
    static const struct {
        PreallocMode mode;
        int64_t bytes;
        const char *error; /* NULL: succeeds */
        bool is_allocated;
    } steps[] = {
        { PREALLOC_MODE_OFF, 1 * MiB, NULL, false },
        { PREALLOC_MODE_FALLOC, 2 * MiB, NULL, true },
        { PREALLOC_MODE_FULL, 3 * MiB, NULL, true },
        { PREALLOC_MODE_METADATA, 4 * MiB, "Unsupported preallocation mode: metadata", false },
        { PREALLOC_MODE_FALLOC, 1 * MiB, "Preallocation can't be used for shrinking files", false },
        { PREALLOC_MODE_OFF, 512 * KiB, NULL, false },
    };
    BlockDriverState *bs;
    BlockBackend *blk;
    struct stat st;

    make_file(0);
    bs = co_open("", &error_abort);
    blk = co_user(bs, ALL_RIGHTS, BLK_PERM_ALL);
    for (size_t i = 0; i < ARRAY_SIZE(steps); i++) {
        int64_t old_bytes = file_bytes(), old_blocks;
        Error *err = NULL;
        int ret;

        g_assert_cmpint(stat(path, &st), ==, 0);
        old_blocks = st.st_blocks;
        ret = blk_co_truncate(blk, steps[i].bytes, true, steps[i].mode, 0, &err);
        g_assert_cmpint(stat(path, &st), ==, 0);
        if (steps[i].error) {
            g_assert_cmpint(ret, <, 0);
            g_assert_cmpstr(error_get_pretty(err), ==, steps[i].error);
            error_free(err);
            g_assert_cmpint(st.st_size, ==, old_bytes);
            continue;
        }
        g_assert_cmpint(ret, ==, 0);
        g_assert_cmpint(st.st_size, ==, steps[i].bytes);
        if (steps[i].is_allocated) {
            g_assert_cmpint((st.st_blocks - old_blocks) * 512, >=, 1 * MiB);
        }
        g_assert_cmpint(bdrv_getlength(bs), ==, steps[i].bytes);
    }
    blk_co_unref(blk);
    bdrv_unref(bs);
}

/* Without space, a preallocation leaves the file as it was; writes say so. */
static void coroutine_fn co_no_space(void)
{
    struct rlimit old, limit = { .rlim_cur = 2 * MiB, .rlim_max = RLIM_INFINITY };
    g_autofree uint8_t *buf = g_malloc0(128 * KiB);
    BlockDriverState *bs;
    BlockBackend *blk;
    Error *err = NULL;

    make_file(FILE_BYTES);
    bs = co_open("", &error_abort);
    blk = co_user(bs, ALL_RIGHTS, BLK_PERM_ALL);
    signal(SIGXFSZ, SIG_IGN);
    g_assert_cmpint(getrlimit(RLIMIT_FSIZE, &old), ==, 0);
    limit.rlim_max = old.rlim_max;
    g_assert_cmpint(setrlimit(RLIMIT_FSIZE, &limit), ==, 0);
    g_assert_cmpint(blk_co_truncate(blk, 4 * MiB, true, PREALLOC_MODE_FULL, 0, &err), ==, -EFBIG);
    g_assert_nonnull(err);
    error_free(err);
    g_assert_cmpint(file_bytes(), ==, FILE_BYTES);
    /* The part that fits is written, the rest is an error, not silence. */
    g_assert_cmpint(blk_co_pwrite(blk, 2 * MiB - 64 * KiB, 128 * KiB, buf, 0), ==, -EFBIG);
    g_assert_cmpint(blk_co_pwrite(blk, MiB, 64 * KiB, buf, 0), ==, 0);
    g_assert_cmpint(setrlimit(RLIMIT_FSIZE, &old), ==, 0);
    signal(SIGXFSZ, SIG_DFL);
    blk_co_unref(blk);
    bdrv_unref(bs);
}

typedef struct Neighbour {
    QEMUIOVector qiov;
    int ret;
    int *left;
    Coroutine *waiter;
} Neighbour;

static void neighbour_done(void *opaque, int ret)
{
    Neighbour *n = opaque;

    n->ret = ret;
    if (--*n->left == 0) {
        aio_co_wake(n->waiter);
    }
}

/* Writes that follow one another are one call; when it fails, each learns of its own end. */
static void coroutine_fn co_joined_writes(void)
{
    const int n = 40, fit = 24, size = 4096;
    struct rlimit old, limit = { .rlim_cur = fit * size };
    g_autofree uint8_t *buf = g_malloc(n * size);
    g_autofree Neighbour *neighbours = g_new0(Neighbour, n);
    g_autoptr(GRand) rand = test_rand_new();
    g_autofree char *content = NULL;
    BlockDriverState *bs;
    BlockBackend *blk;
    gsize length;
    int left = n;

    make_file(0);
    test_rand_fill(rand, buf, n * size);
    bs = co_open("", &error_abort);
    blk = co_user(bs, ALL_RIGHTS, BLK_PERM_ALL);
    signal(SIGXFSZ, SIG_IGN);
    g_assert_cmpint(getrlimit(RLIMIT_FSIZE, &old), ==, 0);
    limit.rlim_max = old.rlim_max;
    g_assert_cmpint(setrlimit(RLIMIT_FSIZE, &limit), ==, 0);
    for (int i = 0; i < n; i++) {
        neighbours[i].left = &left;
        neighbours[i].waiter = qemu_coroutine_self();
        qemu_iovec_init_buf(&neighbours[i].qiov, buf + i * size, size);
        blk_aio_pwritev(blk, i * size, &neighbours[i].qiov, 0, neighbour_done, &neighbours[i]);
    }
    qemu_coroutine_yield();
    g_assert_cmpint(setrlimit(RLIMIT_FSIZE, &old), ==, 0);
    signal(SIGXFSZ, SIG_DFL);
    for (int i = 0; i < n; i++) {
        g_assert_cmpint(neighbours[i].ret, ==, i < fit ? 0 : -EFBIG);
    }
    blk_co_unref(blk);
    bdrv_unref(bs);
    g_assert_true(g_file_get_contents(path, &content, &length, NULL));
    g_assert_cmpmem(content, length, buf, fit * size);
}

/* ---- holes ----------------------------------------------------------------------------------- */

static bool coroutine_fn co_is_hole(BlockDriverState *bs, int64_t offset, int64_t bytes)
{
    int64_t pnum;
    int ret = bdrv_co_block_status(bs, offset, bytes, &pnum, NULL, NULL);

    g_assert_cmpint(ret, >=, 0);
    g_assert_cmpint(pnum, ==, bytes);
    return ret & BDRV_BLOCK_ZERO;
}

static void coroutine_fn co_holes(void)
{
    g_autofree uint8_t *buf = g_malloc0(256 * KiB);
    BlockStatsSpecific *stats;
    BlockDriverState *bs;
    BlockBackend *blk;

    make_file(FILE_BYTES);
    bs = co_open("", &error_abort);
    blk = co_user(bs, READ_WRITE, BLK_PERM_ALL);
    g_assert_true(co_is_hole(bs, 0, FILE_BYTES));
    g_assert_cmpint(blk_co_pwrite(blk, 256 * KiB, 256 * KiB, buf, 0), ==, 0);
    g_assert_true(co_is_hole(bs, 0, 256 * KiB));
    g_assert_false(co_is_hole(bs, 256 * KiB, 256 * KiB));
    g_assert_true(co_is_hole(bs, 512 * KiB, 512 * KiB));
    g_assert_cmpint(blk_co_pdiscard(blk, 256 * KiB, 64 * KiB), ==, 0);
    g_assert_true(co_is_hole(bs, 256 * KiB, 64 * KiB));
    g_assert_cmpint(blk_co_pwrite_zeroes(blk, 320 * KiB, 64 * KiB, BDRV_REQ_MAY_UNMAP), ==, 0);
    g_assert_true(co_is_hole(bs, 256 * KiB, 128 * KiB));
    g_assert_false(co_is_hole(bs, 384 * KiB, 128 * KiB));
    stats = bs->drv->bdrv_get_specific_stats(bs);
    g_assert_cmpuint(stats->u.file.discard_nb_ok, ==, 1);
    g_assert_cmpuint(stats->u.file.discard_bytes_ok, ==, 64 * KiB);
    qapi_free_BlockStatsSpecific(stats);
    blk_co_unref(blk);
    bdrv_unref(bs);
}

#define N_EXTENTS 256
#define EXTENT_BYTES (64 * KiB) /* of data, then as much of nothing */

static int n_lseeks;

/* Stands before libc's, and counts. */
off64_t lseek64(int fd, off64_t offset, int whence)
{
    n_lseeks++;
    return syscall(SYS_lseek, fd, offset, whence);
}

/* Every other 64 KiB holds data.  False if the file system fills holes. */
static bool make_fragmented_file(void)
{
    g_autofree uint8_t *buf = g_malloc(EXTENT_BYTES);
    struct stat st;
    int fd;

    make_file(2 * (int64_t)N_EXTENTS * EXTENT_BYTES);
    memset(buf, 7, EXTENT_BYTES);
    fd = open(path, O_RDWR | O_CLOEXEC);
    for (int64_t i = 0; i < N_EXTENTS; i++) {
        g_assert_cmpint(pwrite(fd, buf, EXTENT_BYTES, 2 * i * EXTENT_BYTES), ==, EXTENT_BYTES);
    }
    g_assert_cmpint(fstat(fd, &st), ==, 0);
    close(fd);
    return st.st_blocks * 512 < 2 * (int64_t)N_EXTENTS * EXTENT_BYTES;
}

/* However scattered the questions, what costs is the number of extents that the host has. */
static void coroutine_fn co_scattered_status(void)
{
    g_autoptr(GRand) rand = test_rand_new();
    BlockDriverState *bs;
    int64_t pnum;
    int ret;

    if (!make_fragmented_file()) {
        g_test_skip("the file system has no holes");
        return;
    }
    bs = co_open("", &error_abort);
    n_lseeks = 0;
    for (int i = 0; i < 20 * N_EXTENTS; i++) {
        int64_t block = test_rand_below(rand, 16 * N_EXTENTS);
        int64_t offset = 2 * block * 4 * KiB + (block % 2) * 4 * KiB;

        offset = offset / (2 * EXTENT_BYTES) * (2 * EXTENT_BYTES) + offset % EXTENT_BYTES;
        ret = bdrv_co_block_status(bs, offset, 4 * KiB, &pnum, NULL, NULL);
        g_assert_cmpint(ret & BDRV_BLOCK_DATA, ==, BDRV_BLOCK_DATA);
    }
    g_assert_cmpint(n_lseeks, <, 6 * N_EXTENTS);
    for (int64_t offset = 2 * (int64_t)N_EXTENTS * EXTENT_BYTES; (offset -= 4 * KiB) >= 0; ) {
        ret = bdrv_co_block_status(bs, offset, 4 * KiB, &pnum, NULL, NULL);
        g_assert_cmpint(!(ret & BDRV_BLOCK_ZERO), ==, offset / EXTENT_BYTES % 2 == 0);
    }
    bdrv_unref(bs);
}

/* Whatever is remembered, nothing is called zeroes that is not; and what we discard is known. */
static void coroutine_fn co_status_is_never_stale(void)
{
    g_autoptr(GRand) rand = test_rand_new();
    g_autofree uint8_t *model = g_malloc0(FILE_BYTES);
    g_autofree uint8_t *buf = g_malloc(128 * KiB);
    BlockDriverState *bs;
    BlockBackend *blk;
    int fd;

    make_file(FILE_BYTES);
    fd = open(path, O_RDWR | O_CLOEXEC);
    bs = co_open("", &error_abort);
    blk = co_user(bs, READ_WRITE, BLK_PERM_ALL);
    memset(buf, 9, 128 * KiB);
    for (int i = 0; i < 2000; i++) {
        int64_t offset = test_rand_below(rand, FILE_BYTES / 4096) * 4096;
        int64_t longest = 4096 << test_rand_below(rand, 6), pnum;
        int64_t bytes = MIN(FILE_BYTES - offset, longest);
        int ret;

        switch (test_rand_below(rand, 4)) {
        case 0: /* by somebody else */
            g_assert_cmpint(pwrite(fd, buf, bytes, offset), ==, bytes);
            memset(model + offset, 9, bytes);
            break;
        case 1:
            g_assert_cmpint(blk_co_pdiscard(blk, offset, bytes), ==, 0);
            memset(model + offset, 0, bytes);
            ret = bdrv_co_block_status(bs, offset, bytes, &pnum, NULL, NULL);
            g_assert_true(ret & BDRV_BLOCK_ZERO);
            break;
        default:
            ret = bdrv_co_block_status(bs, offset, bytes, &pnum, NULL, NULL);
            g_assert_true(!(ret & BDRV_BLOCK_ZERO) || buffer_is_zero(model + offset, pnum));
        }
    }
    close(fd);
    blk_co_unref(blk);
    bdrv_unref(bs);
}

/* ---- taking over from another host ----------------------------------------------------------- */

/* A page that somebody has mapped stays in the cache; x-check-cache-dropped=on finds it. */
static void coroutine_fn co_dropped_cache(void)
{
    g_autofree uint8_t *buf = g_malloc0(64 * KiB);
    BlockDriverState *bs;
    struct statfs where;
    Error *err = NULL;
    char *page;
    int fd;

    make_file(FILE_BYTES);
    fd = open(path, O_RDWR | O_CLOEXEC);
    g_assert_cmpint(pwrite(fd, buf, 64 * KiB, 0), ==, 64 * KiB);
    g_assert_cmpint(fstatfs(fd, &where), ==, 0);
    if (where.f_type == 0x01021994) {
        close(fd);
        g_test_skip("tmpfs is its own page cache");
        return;
    }
    page = mmap(NULL, 64 * KiB, PROT_READ, MAP_SHARED, fd, 0);
    g_assert_cmpint(*(volatile char *)page, ==, 0);
    bs = co_open("'active': false, 'x-check-cache-dropped': true", &error_abort);
    g_assert_false(bdrv_co_activate(bs, &err));
    g_assert_true(g_str_has_suffix(error_get_pretty(err), ": The page cache is still in use"));
    error_free(err);
    munmap(page, 64 * KiB);
    g_assert_true(bdrv_co_activate(bs, &error_abort));
    g_assert_true(bdrv_co_inactivate(bs, &error_abort));
    /* Nothing is dropped, so nothing is checked. */
    g_assert_cmpint(pread(fd, buf, 64 * KiB, 0), ==, 64 * KiB);
    page = mmap(NULL, 64 * KiB, PROT_READ, MAP_SHARED, fd, 0);
    g_assert_cmpint(*(volatile char *)page, ==, 0);
    g_assert_true(bdrv_co_reopen(bs, qdict_from_jsonf_nofail("{'drop-cache': false}"), true,
                                 &error_abort));
    g_assert_true(bdrv_co_activate(bs, &error_abort));
    munmap(page, 64 * KiB);
    close(fd);
    bdrv_unref(bs);
}

/* ---- locks ----------------------------------------------------------------------------------- */

/* Locked bytes of the file, as another open file sees them, e.g. "100 101 203". */
static char *locked_bytes(void)
{
    GString *text = g_string_new(NULL);
    int fd = open(path, O_RDONLY | O_CLOEXEC);

    for (int byte = 100; byte <= 203; byte++) {
        if (qemu_lock_fd_test(fd, byte, 1, true) == -EAGAIN) {
            g_string_append_printf(text, "%s%d", text->len ? " " : "", byte);
        }
    }
    close(fd);
    return g_string_free(text, FALSE);
}

static void assert_locked(const char *expected)
{
    g_autofree char *actual = locked_bytes();

    g_assert_cmpstr(actual, ==, expected);
}

static void coroutine_fn co_locks_follow_claims(void)
{
    BlockDriverState *bs;
    BlockBackend *blk;

    make_file(FILE_BYTES);
    bs = co_open("", &error_abort);
    assert_locked("");
    blk = co_user(bs, ALL_RIGHTS, BLK_PERM_ALL & ~(BLK_PERM_WRITE | BLK_PERM_RESIZE));
    assert_locked("100 101 103 201 203");
    g_assert_true(blk_co_set_perm(blk, BLK_PERM_CONSISTENT_READ, BLK_PERM_ALL, &error_abort));
    assert_locked("100");
    blk_co_unref(blk);
    assert_locked("");
    bdrv_unref(bs);
    bs = co_open("'locking': 'off'", &error_abort);
    blk = co_user(bs, ALL_RIGHTS, 0);
    assert_locked("");
    blk_co_unref(blk);
    bdrv_unref(bs);
}

/* A child process locks @byte until it is killed; returns its id. */
static pid_t lock_elsewhere(int byte)
{
    int ready[2];
    char c;
    pid_t pid;

    g_assert_cmpint(pipe(ready), ==, 0);
    pid = fork();
    if (pid == 0) {
        int fd = open(path, O_RDWR);

        if (fd < 0 || qemu_lock_fd(fd, byte, 1, false) < 0 || write(ready[1], "x", 1) != 1) {
            _exit(1);
        }
        pause();
        _exit(0);
    }
    g_assert_cmpint(read(ready[0], &c, 1), ==, 1);
    close(ready[0]);
    close(ready[1]);
    return pid;
}

static void unlock_elsewhere(pid_t pid)
{
    kill(pid, SIGKILL);
    g_assert_cmpint(waitpid(pid, NULL, 0), ==, pid);
}

static void coroutine_fn co_expect_lock_error(int byte, uint64_t perm, uint64_t shared,
                                              const char *text)
{
    g_autofree char *holder = NULL, *file = NULL;
    BlockDriverState *bs;
    Error *err = NULL;
    pid_t pid;

    make_file(FILE_BYTES);
    pid = lock_elsewhere(byte);
    bs = co_open("", &error_abort);
    g_assert_null(blk_co_new_with_bs(bs, perm, shared, &err));
    g_assert_cmpstr(error_get_pretty(err), ==, text);
    holder = g_strdup_printf("process %d (", (int)pid);
    file = g_strdup_printf("Is another process using the image [%s]?\n", path);
    g_assert_nonnull(strstr(error_get_hint(err), file));
    g_assert_nonnull(strstr(error_get_hint(err), holder));
    error_free(err);
    /* Nothing is left of the attempt but the other's lock. */
    unlock_elsewhere(pid);
    assert_locked("");
    blk_co_unref(co_user(bs, perm, shared));
    bdrv_unref(bs);
}

static void coroutine_fn co_locks_of_others(void)
{
    co_expect_lock_error(201, READ_WRITE, BLK_PERM_ALL, "Failed to get \"write\" lock");
    co_expect_lock_error(101, BLK_PERM_CONSISTENT_READ, BLK_PERM_ALL & ~BLK_PERM_WRITE,
                         "Failed to get shared \"write\" lock");
    co_expect_lock_error(203, ALL_RIGHTS, BLK_PERM_ALL, "Failed to get \"resize\" lock");
}

static void coroutine_fn co_create_respects_locks(void)
{
    QemuOpts *opts;
    Error *err = NULL;
    pid_t pid;

    make_file(FILE_BYTES);
    pid = lock_elsewhere(201);
    opts = qemu_opts_create(bdrv_create_opts(bdrv_find_format("file")), NULL, false, &error_abort);
    qemu_opt_set_number(opts, "size", 4096, &error_abort);
    g_assert_false(bdrv_co_create_file(path, opts, &err));
    g_assert_cmpstr(error_get_pretty(err), ==, "Failed to get \"write\" lock");
    error_free(err);
    g_assert_cmpint(file_bytes(), ==, FILE_BYTES);
    unlock_elsewhere(pid);
    g_assert_true(bdrv_co_create_file(path, opts, &error_abort));
    g_assert_cmpint(file_bytes(), ==, 4096);
    qemu_opts_del(opts);
}

/* ---- access ---------------------------------------------------------------------------------- */

static bool is_of_file(int fd)
{
    struct stat st, mine;

    g_assert_cmpint(stat(path, &st), ==, 0);
    return fstat(fd, &mine) == 0 && mine.st_ino == st.st_ino && mine.st_dev == st.st_dev;
}

/* A bit for each descriptor that this process has of the file. */
static uint64_t descriptors(void)
{
    uint64_t bits = 0;

    for (int fd = 3; fd < 64; fd++) {
        bits |= (uint64_t)is_of_file(fd) << fd;
    }
    return bits;
}

/* Access mode of the descriptors that this process has of the file: "r", "w", "rw" … sorted. */
static char *access_modes(void)
{
    bool has_ro = false, has_rw = false;

    for (int fd = 3; fd < 100; fd++) {
        if (is_of_file(fd)) {
            bool is_rw = (fcntl(fd, F_GETFL) & O_ACCMODE) == O_RDWR;

            has_rw |= is_rw;
            has_ro |= !is_rw;
        }
    }
    return g_strdup(has_rw ? has_ro ? "ro+rw" : "rw" : has_ro ? "ro" : "none");
}

static void assert_access(const char *expected)
{
    g_autofree char *actual = access_modes();

    g_assert_cmpstr(actual, ==, expected);
}

static void coroutine_fn co_dynamic_auto_read_only(void)
{
    uint8_t buf[512] = { 1 };
    BlockDriverState *bs;
    BlockBackend *blk;
    uint64_t before;

    make_file(FILE_BYTES);
    bs = co_open("'auto-read-only': true", &error_abort);
    assert_access("ro");
    blk = co_user(bs, BLK_PERM_CONSISTENT_READ, BLK_PERM_ALL);
    assert_access("ro");
    g_assert_true(blk_co_set_perm(blk, READ_WRITE, BLK_PERM_ALL & ~BLK_PERM_WRITE, &error_abort));
    assert_access("ro+rw"); /* locks stay with the first one */
    assert_locked("100 101 201");
    g_assert_cmpint(blk_co_pwrite(blk, 0, 512, buf, 0), ==, 0);
    g_assert_cmpint(blk_co_flush(blk), ==, 0);
    /* Reads of others may be on their way to a worker with the number. */
    before = descriptors();
    g_assert_true(blk_co_set_perm(blk, BLK_PERM_CONSISTENT_READ, BLK_PERM_ALL, &error_abort));
    assert_access("ro");
    g_assert_cmphex(descriptors(), ==, before);
    assert_locked("100");
    g_assert_cmpint(blk_co_pread(blk, 0, 512, buf, 0), ==, 0);
    g_assert_cmpint(buf[0], ==, 1);
    blk_co_unref(blk);
    bdrv_unref(bs);
}

/* Nobody may write the file: who wants to is told so, and reading goes on. */
static void coroutine_fn co_not_writable(void)
{
    BlockDriverState *bs;
    BlockBackend *blk;
    Error *err = NULL;

    if (geteuid() == 0) {
        g_test_skip("root may write any file");
        return;
    }
    make_file(FILE_BYTES);
    g_assert_cmpint(chmod(path, 0400), ==, 0);
    bs = co_open("'auto-read-only': true", &error_abort);
    g_assert_null(blk_co_new_with_bs(bs, READ_WRITE, BLK_PERM_ALL, &err));
    g_assert_cmpstr(error_get_pretty(err), ==, "Could not reopen file: Permission denied");
    error_free(err);
    assert_locked("");
    blk = co_user(bs, BLK_PERM_CONSISTENT_READ, BLK_PERM_ALL);
    blk_co_unref(blk);
    bdrv_unref(bs);
    g_assert_cmpint(unlink(path), ==, 0);
}

static void coroutine_fn co_reopen(void)
{
    uint8_t buf[512] = { 2 };
    BlockDriverState *bs;
    BlockBackend *blk;
    QDict *options;

    make_file(FILE_BYTES);
    bs = co_open("'read-only': true", &error_abort);
    blk = co_user(bs, BLK_PERM_CONSISTENT_READ, BLK_PERM_ALL);
    assert_access("ro");
    /* The name may go meanwhile. */
    g_assert_cmpint(unlink(path), ==, 0);
    g_assert_true(bdrv_co_reopen_set_read_only(bs, false, &error_abort));
    g_assert_true(blk_co_set_perm(blk, READ_WRITE, BLK_PERM_ALL, &error_abort));
    g_assert_cmpint(blk_co_pwrite(blk, 0, 512, buf, 0), ==, 0);
    options = qdict_new();
    qdict_put_bool(options, "cache.direct", true);
    if (bdrv_co_reopen(bs, options, true, NULL)) {
        g_assert_cmpint(bs->bl.request_alignment, >=, 512);
    }
    buf[0] = 0;
    g_assert_cmpint(blk_co_pread(blk, 0, 512, buf, 0), ==, 0);
    g_assert_cmpint(buf[0], ==, 2);
    blk_co_unref(blk);
    bdrv_unref(bs);
}

static void coroutine_fn co_fdset(void)
{
    g_autofree char *name = NULL;
    int64_t id;
    BlockDriverState *bs;
    BlockBackend *blk;

    make_file(FILE_BYTES);
    id = fdset_add_fd(open(path, O_RDONLY | O_CLOEXEC), NULL, NULL, &error_abort);
    g_assert_cmpint(fdset_add_fd(open(path, O_RDWR | O_CLOEXEC), &id, NULL, &error_abort), ==, id);
    name = g_strdup_printf("/dev/fdset/%d", (int)id);
    g_assert_cmpint(unlink(path), ==, 0);
    bs = co_open_at(name, "'auto-read-only': true", BDRV_O_RDWR, &error_abort);
    blk = co_user(bs, BLK_PERM_CONSISTENT_READ, BLK_PERM_ALL);
    g_assert_true(blk_co_set_perm(blk, READ_WRITE, BLK_PERM_ALL, &error_abort));
    g_assert_cmpint(blk_co_pwrite_zeroes(blk, 0, 4096, 0), ==, 0);
    blk_co_unref(blk);
    bdrv_unref(bs);
    bdrv_co_control_unlock(); /* closes it */
    bdrv_co_control_lock();
    g_assert_true(fdset_remove_fd(id, -1, &error_abort));
}

/* ---- opening --------------------------------------------------------------------------------- */

static void coroutine_fn co_expect_open_error(const char *name, const char *options,
                                              const char *text)
{
    Error *err = NULL;

    g_assert_null(co_open_at(name, options, BDRV_O_RDWR, &err));
    g_assert_cmpstr(error_get_pretty(err), ==, text);
    error_free(err);
}

static void coroutine_fn co_open_errors(void)
{
    g_autofree char *dir_text = g_strdup_printf("'file' driver requires '%s' to be a regular file",
                                                test_tmpdir());
    g_autofree char *fifo = test_tmpfile("fifo");
    g_autofree char *fifo_text = g_strdup_printf("'file' driver requires '%s' to be a regular file",
                                                 fifo);

    make_file(FILE_BYTES);
    g_assert_cmpint(mkfifo(fifo, 0600), ==, 0);
    co_expect_open_error("/nonexistent/x", "'read-only': true",
                         "Could not open '/nonexistent/x': No such file or directory");
    co_expect_open_error(test_tmpdir(), "'read-only': true", dir_text);
    co_expect_open_error(fifo, "", fifo_text);
    co_expect_open_error("/dev/null", "",
                         "'file' driver requires '/dev/null' to be a regular file");
    co_expect_open_error(path, "'aio': 'native'", "aio=native was specified, but it requires "
                         "cache.direct=on, which was not specified.");
    co_expect_open_error(path, "'aio-max-batch': -1", "aio-max-batch must not be negative");
    g_assert_cmpint(unlink(fifo), ==, 0);
}

static void coroutine_fn co_names(void)
{
    g_autofree char *odd = test_tmpfile("a:b");
    g_autofree char *prefixed = g_strconcat("file:", odd, NULL);
    BlockDriverState *bs;
    QDict *options = qdict_new();
    char *old_dir = g_get_current_dir();
    static const char content[512];

    g_assert_true(g_file_set_contents(odd, content, sizeof(content), NULL));
    g_assert_cmpint(chdir(test_tmpdir()), ==, 0);
    qdict_put_str(options, "driver", "raw");
    bs = bdrv_co_open("file:a:b", NULL, options, 0, &error_abort);
    g_assert_cmpstr(bdrv_get_filename(bs), ==, "./a:b");
    bdrv_unref(bs);
    options = qdict_new();
    qdict_put_str(options, "driver", "raw");
    bs = bdrv_co_open(prefixed, NULL, options, 0, &error_abort);
    g_assert_cmpstr(bdrv_get_filename(bs), ==, odd);
    bdrv_unref(bs);
    g_assert_cmpint(chdir(old_dir), ==, 0);
    g_free(old_dir);
    g_assert_cmpint(unlink(odd), ==, 0);
}

/* ---- devices --------------------------------------------------------------------------------- */

static void coroutine_fn co_character_device(void)
{
    uint8_t buf[512] = { 1 };
    QDict *options = qdict_new();
    BlockDriverState *bs;
    BlockBackend *blk;
    Error *err = NULL;

    qdict_put_str(options, "driver", "raw");
    bs = bdrv_co_open("/dev/zero", NULL, options, 0, &error_abort);
    g_assert_cmpstr(bdrv_get_format_name(bs->file->bs), ==, "host_device");
    g_assert_cmpint(bdrv_getlength(bs), ==, 0);
    bdrv_unref(bs);
    bs = bdrv_co_open(NULL, NULL, qobject_to(QDict, qobject_from_json(
        "{'driver': 'host_device', 'filename': '/dev/null', 'locking': 'off'}", &error_abort)),
        BDRV_O_RDWR, &error_abort);
    blk = co_user(bs, ALL_RIGHTS, BLK_PERM_ALL);
    g_assert_cmpint(blk_co_truncate(blk, 512, false, PREALLOC_MODE_OFF, 0, &err), ==, -EINVAL);
    g_assert_cmpstr(error_get_pretty(err), ==, "Cannot grow device files");
    error_free(err);
    g_assert_cmpint(blk_co_pwrite(blk, 0, 512, buf, 0), ==, 0);
    blk_co_unref(blk);
    bdrv_unref(bs);
}

static void coroutine_fn co_device_is_no_file(void)
{
    g_autofree char *text = g_strdup_printf("'host_device' driver requires '%s' to be either a "
                                            "character or block device", path);
    QDict *options = qdict_new();
    Error *err = NULL;

    make_file(FILE_BYTES);
    qdict_put_str(options, "driver", "host_device");
    qdict_put_str(options, "filename", path);
    g_assert_null(bdrv_co_open(NULL, NULL, options, 0, &err));
    g_assert_cmpstr(error_get_pretty(err), ==, text);
    error_free(err);
}

int main(int argc, char **argv)
{
    static const MemCase cases[] = {
        { "/file/io/threads", co_threads },
        { "/file/io/threads-direct", co_threads_direct },
        { "/file/io/native", co_native },
        { "/file/io/small-batches", co_small_batches },
        { "/file/io/io_uring", co_io_uring },
        { "/file/io/io_uring-direct", co_io_uring_direct },
        { "/file/size/odd-tail-reads-as-zeroes", co_odd_tail_cached },
        { "/file/size/odd-tail-direct", co_odd_tail_direct },
        { "/file/size/odd-tail-io_uring", co_odd_tail_uring },
        { "/file/truncate/all-modes", co_truncates },
        { "/file/truncate/without-space-changes-nothing", co_no_space },
        { "/file/write/joined-ones-fail-each-on-its-own", co_joined_writes },
        { "/file/status/holes", co_holes },
        { "/file/status/costs-what-the-host-has", co_scattered_status },
        { "/file/status/is-never-stale", co_status_is_never_stale },
        { "/file/activate/drops-the-page-cache", co_dropped_cache },
        { "/file/locks/follow-claims", co_locks_follow_claims },
        { "/file/locks/of-others-are-respected", co_locks_of_others },
        { "/file/create/respects-locks", co_create_respects_locks },
        { "/file/access/follows-writers", co_dynamic_auto_read_only },
        { "/file/access/unwritable-is-told", co_not_writable },
        { "/file/reopen/changes-access-and-cache", co_reopen },
        { "/file/open/fdset", co_fdset },
        { "/file/open/errors", co_open_errors },
        { "/file/names/colons", co_names },
        { "/host-device/character-devices", co_character_device },
        { "/host-device/refuses-files", co_device_is_no_file },
    };

    test_init(&argc, &argv);
    qemu_init_main_loop(&error_abort);
    path = test_tmpfile("image");
    mem_drivers = bdrv_drivers;
    mem_add_cases(cases, ARRAY_SIZE(cases));
    return g_test_run();
}
