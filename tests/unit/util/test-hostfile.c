/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "qemu/osdep.h"

#include "qemu/hostfile.h"
#include "qemu/iov.h"
#include "../../lib/testlib.h"

static int new_file(const char *name)
{
    g_autofree char *path = test_tmpfile(name);

    return qemu_create(path, O_RDWR | O_TRUNC, 0644, &error_abort);
}

static void test_open_says_why_not(void)
{
    g_autofree char *path = test_tmpfile("missing");
    g_autofree char *expected = g_strdup_printf("Could not open '%s': No such file or directory",
                                                path);
    Error *err = NULL;

    g_assert_cmpint(qemu_open(path, O_RDONLY, &err), ==, -1);
    g_assert_cmpint(errno, ==, ENOENT);
    g_assert_cmpstr(error_get_pretty(err), ==, expected);
    error_free_or_abort(&err);
    g_assert_cmpint(qemu_create("/nonexistent/dir", O_RDWR, 0644, &err), ==, -1);
    g_assert_true(g_str_has_prefix(error_get_pretty(err), "Could not create '"));
    error_free_or_abort(&err);
}

static void test_open_is_cloexec(void)
{
    int fd = new_file("cloexec");
    int copy = qemu_dup(fd);
    int pipefd[2];

    g_assert_cmpint(qemu_pipe(pipefd), ==, 0);
    g_assert_true(fcntl(fd, F_GETFD) & FD_CLOEXEC);
    g_assert_true(fcntl(copy, F_GETFD) & FD_CLOEXEC);
    g_assert_true(fcntl(pipefd[1], F_GETFD) & FD_CLOEXEC);
    g_assert_true(qemu_set_blocking(pipefd[0], false, &error_abort));
    g_assert_true(fcntl(pipefd[0], F_GETFL) & O_NONBLOCK);
    qemu_close(pipefd[0]);
    qemu_close(pipefd[1]);
    qemu_close(copy);
    g_assert_cmpint(qemu_close(fd), ==, 0);
    g_assert_cmpint(qemu_close(fd), ==, -EBADF);
    Error *err = NULL;
    g_assert_false(qemu_set_blocking(fd, true, &err));
    error_free_or_abort(&err);
}

static void test_vector_longer_than_kernel_takes(void)
{
    enum { PIECES = 5000 };
    g_autoptr(GRand) rand = test_rand_new();
    g_autofree uint8_t *out = g_malloc(PIECES * 7);
    g_autofree uint8_t *in = g_malloc0(PIECES * 7);
    QEMUIOVector qiov, back;
    int fd = new_file("long");

    test_rand_fill(rand, out, PIECES * 7);
    qemu_iovec_init(&qiov, PIECES);
    qemu_iovec_init(&back, PIECES);
    for (int i = 0; i < PIECES; i++) {
        qemu_iovec_add(&qiov, out + i * 7, i % 3 ? 7 : 0);
        qemu_iovec_add(&back, in + i * 7, i % 3 ? 7 : 0);
    }
    g_assert_cmpint(qemu_pwritev_full(fd, qiov.iov, qiov.niov, 100), ==, qiov.size);
    g_assert_cmpint(qemu_preadv_full(fd, back.iov, back.niov, 100), ==, qiov.size);
    g_assert_cmpint(qemu_iovec_compare(&qiov, &back), ==, -1);
    /* Short at the end of the file. */
    g_assert_cmpint(qemu_preadv_full(fd, back.iov, back.niov, 110), ==, qiov.size - 10);
    g_assert_cmpint(qemu_preadv_full(fd, back.iov, back.niov, 1 << 20), ==, 0);
    qemu_iovec_destroy(&qiov);
    qemu_iovec_destroy(&back);
    qemu_close(fd);
}

static void test_plain_read_write(void)
{
    int fd = new_file("plain");
    char buf[10];

    g_assert_cmpint(qemu_write_full(fd, "hello", 5), ==, 5);
    g_assert_cmpint(qemu_pwrite_full(fd, "J", 1, 0), ==, 1);
    g_assert_cmpint(lseek(fd, 0, SEEK_SET), ==, 0);
    g_assert_cmpint(qemu_read_full(fd, buf, sizeof(buf)), ==, 5);
    g_assert_cmpmem(buf, 5, "Jello", 5);
    g_assert_cmpint(qemu_pread_full(fd, buf, 3, 2), ==, 3);
    g_assert_cmpmem(buf, 3, "llo", 3);
    qemu_close(fd);
    g_assert_cmpint(qemu_pread_full(fd, buf, 3, 2), ==, -EBADF);
}

static void test_holes_are_found(void)
{
    int fd = new_file("holes");
    int64_t data = -1, hole = -1;
    int ret;

    g_assert_cmpint(ftruncate(fd, 4 * MiB), ==, 0);
    g_assert_cmpint(qemu_pwrite_full(fd, "x", 1, MiB), ==, 1);
    ret = qemu_find_allocation(fd, 0, &data, &hole);
    g_assert_cmpint(ret, ==, 0);
    if (data == 0) {
        g_test_skip("the file system does not report holes");
    } else {
        g_assert_cmpint(hole, ==, 0);
        g_assert_cmpint(data, ==, MiB);
        g_assert_cmpint(qemu_find_allocation(fd, MiB, &data, &hole), ==, 0);
        g_assert_cmpint(data, ==, MiB);
        g_assert_cmpint(hole, >, MiB);
        g_assert_cmpint(qemu_find_allocation(fd, 3 * MiB, &data, &hole), ==, -ENXIO);
    }
    g_assert_cmpint(qemu_find_allocation(fd, 5 * MiB, &data, &hole), ==, -ENXIO);
    qemu_close(fd);
}

static void test_punched_range_reads_zero(void)
{
    int fd = new_file("punch");
    char buf[4] = "abc";
    int ret;

    g_assert_cmpint(qemu_pwrite_full(fd, buf, 4, 4096), ==, 4);
    ret = qemu_punch_hole(fd, 4096, 4096);
    if (ret == -ENOTSUP) {
        g_test_skip("the file system cannot punch holes");
    } else {
        g_assert_cmpint(ret, ==, 0);
        g_assert_cmpint(qemu_pread_full(fd, buf, 4, 4096), ==, 4);
        g_assert_cmpmem(buf, 4, "\0\0\0\0", 4);
    }
    g_assert_cmpint(qemu_fallocate(fd, 0, -1, 1), ==, -EINVAL);
    qemu_close(fd);
}

static void test_locks_of_two_open_files_conflict(void)
{
    g_autofree char *path = test_tmpfile("locks");
    int a, b;

    if (!qemu_has_ofd_lock()) {
        g_test_skip("no OFD locks");
        return;
    }
    a = new_file("locks");
    b = qemu_open(path, O_RDWR, &error_abort);
    g_assert_cmpint(qemu_lock_fd(a, 100, 1, false), ==, 0);
    g_assert_cmpint(qemu_lock_fd(b, 100, 1, false), ==, 0);
    g_assert_cmpint(qemu_lock_fd_test(b, 100, 1, true), ==, -EAGAIN);
    g_assert_cmpint(qemu_lock_fd(b, 100, 1, true), ==, -EAGAIN);
    g_assert_cmpint(qemu_lock_fd_test(b, 101, 1, true), ==, 0);
    g_assert_cmpint(qemu_unlock_fd(a, 100, 1), ==, 0);
    g_assert_cmpint(qemu_lock_fd_test(b, 100, 1, true), ==, 0);
    g_assert_cmpint(qemu_lock_fd(b, 100, 1, true), ==, 0);
    g_assert_cmpint(qemu_lock_fd_test(a, 100, 1, false), ==, -EAGAIN);
    qemu_close(b);
    g_assert_cmpint(qemu_lock_fd_test(a, 100, 1, false), ==, 0);
    qemu_close(a);
}

int main(int argc, char **argv)
{
    test_init(&argc, &argv);
    g_test_add_func("/hostfile/open/says-why-not", test_open_says_why_not);
    g_test_add_func("/hostfile/open/is-close-on-exec", test_open_is_cloexec);
    g_test_add_func("/hostfile/vector/longer-than-kernel-takes",
                    test_vector_longer_than_kernel_takes);
    g_test_add_func("/hostfile/plain/read-write", test_plain_read_write);
    g_test_add_func("/hostfile/find-allocation/holes-are-found", test_holes_are_found);
    g_test_add_func("/hostfile/punch-hole/reads-zero", test_punched_range_reads_zero);
    g_test_add_func("/hostfile/lock/two-open-files-conflict",
                    test_locks_of_two_open_files_conflict);
    return g_test_run();
}
