/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Large cached writes, which take their blocks beforehand and go to the host in several calls. */
#include "qemu/osdep.h"

#include <linux/magic.h>
#include <sys/resource.h>
#include <sys/vfs.h>

#include "../../lib/memdisk.h"
#include "../../lib/testlib.h"

#include "block/block-backend.h"

#define MAX_BYTES (24 * MiB)
#define LARGEST (3 * MiB)
/* Of the host's file system for one file: its own blocks, and the page at either end of a write. */
#define SLACK (128 * KiB)

static char *path;

static BlockBackend *coroutine_fn co_open_empty(void)
{
    QDict *options = qdict_new();
    BlockBackend *blk;

    g_assert_true(g_file_set_contents(path, "", 0, NULL));
    qdict_put_str(options, "driver", "file");
    blk = blk_co_new_open(path, NULL, options, BDRV_O_RDWR, &error_abort);
    blk_set_allow_write_beyond_eof(blk, true);
    return blk;
}

/* [@buf, @buf + @bytes) in elements of all lengths, some of them many. */
static void cut_to_pieces(GRand *rand, QEMUIOVector *qiov, uint8_t *buf, int64_t bytes)
{
    int64_t most = test_rand_below(rand, 2) ? bytes : MAX(bytes / 200, 1);

    qemu_iovec_init(qiov, 8);
    while (bytes > 0) {
        int64_t n = 1 + test_rand_below(rand, most);

        n = qiov->niov >= IOV_MAX / 2 ? bytes : MIN(n, bytes);
        qemu_iovec_add(qiov, buf, n);
        buf += n;
        bytes -= n;
    }
}

/* Each at the end of the file, behind a gap, or over what is there. */
static void coroutine_fn co_grows(void)
{
    g_autoptr(GRand) rand = test_rand_new();
    g_autofree uint8_t *model = g_malloc0(MAX_BYTES);
    g_autofree char *content = NULL;
    BlockBackend *blk = co_open_empty();
    int64_t end = 0, written = 0;
    struct statfs fs;
    struct stat st;
    gsize length;
    int n = 0;

    while (end < MAX_BYTES) {
        int64_t gap = test_rand_below(rand, 4) ? 0 : test_rand_below(rand, 2 * MiB);
        int64_t back = test_rand_below(rand, 4) ? 0 : test_rand_below(rand, MIN(end, MiB) + 1);
        int64_t offset = MIN(end + gap - back, MAX_BYTES - 1);
        int64_t bytes = 1 + test_rand_below(rand, LARGEST);
        QEMUIOVector qiov;

        bytes = MIN(bytes, MAX_BYTES - offset);
        test_rand_fill(rand, model + offset, bytes);
        cut_to_pieces(rand, &qiov, model + offset, bytes);
        g_assert_cmpint(blk_co_pwritev(blk, offset, bytes, &qiov, 0), ==, 0);
        qemu_iovec_destroy(&qiov);
        end = MAX(end, offset + bytes);
        written += bytes;
        n++;
        g_assert_cmpint(stat(path, &st), ==, 0);
        g_assert_cmpint(st.st_size, ==, end);
    }
    g_assert_cmpint(blk_co_flush(blk), ==, 0);
    blk_co_unref(blk);
    g_assert_true(g_file_get_contents(path, &content, &length, NULL));
    g_assert_cmpmem(content, length, model, MAX_BYTES);
    /* No block was taken for anything else: by us, who do so on ext4; XFS has its own ideas. */
    g_assert_cmpint(stat(path, &st), ==, 0);
    g_assert_cmpint(statfs(path, &fs), ==, 0);
    if (fs.f_type == EXT4_SUPER_MAGIC) {
        g_assert_cmpint((int64_t)st.st_blocks * 512, <=, written + n * 8 * KiB + SLACK);
    }
}

/* The host takes a part of it: what was written stays, and the writer learns of the failure. */
static void coroutine_fn co_does_not_fit(void)
{
    struct rlimit old, limit = { .rlim_cur = LARGEST / 2 };
    g_autoptr(GRand) rand = test_rand_new();
    g_autofree uint8_t *buf = g_malloc(LARGEST);
    g_autofree char *content = NULL;
    BlockBackend *blk = co_open_empty();
    gsize length;

    test_rand_fill(rand, buf, LARGEST);
    signal(SIGXFSZ, SIG_IGN);
    g_assert_cmpint(getrlimit(RLIMIT_FSIZE, &old), ==, 0);
    limit.rlim_max = old.rlim_max;
    g_assert_cmpint(setrlimit(RLIMIT_FSIZE, &limit), ==, 0);
    g_assert_cmpint(blk_co_pwrite(blk, 0, LARGEST, buf, 0), ==, -EFBIG);
    g_assert_cmpint(setrlimit(RLIMIT_FSIZE, &old), ==, 0);
    signal(SIGXFSZ, SIG_DFL);
    blk_co_unref(blk);
    g_assert_true(g_file_get_contents(path, &content, &length, NULL));
    g_assert_cmpmem(content, length, buf, LARGEST / 2);
}

int main(int argc, char **argv)
{
    static const MemCase cases[] = {
        { "/file/write/large-ones-take-no-more-than-they-need", co_grows },
        { "/file/write/large-one-that-does-not-fit", co_does_not_fit },
    };

    test_init(&argc, &argv);
    qemu_init_main_loop(&error_abort);
    path = test_tmpfile("image");
    mem_drivers = bdrv_drivers;
    mem_add_cases(cases, ARRAY_SIZE(cases));
    return g_test_run();
}
