/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Files of the host: I/O in all modes, sizes, holes, what another host wrote. */
#include "qemu/osdep.h"

#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/vfs.h>

#include "file-test.h"

#include "qemu/iszero.h"

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
    };

    return file_main(argc, argv, cases, ARRAY_SIZE(cases));
}
