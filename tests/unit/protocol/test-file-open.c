/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Files of the host: locks, access, reopening, names; devices. */
#include "qemu/osdep.h"

#include <sys/wait.h>

#include "file-test.h"

#include "qemu/fdset.h"
#include "qemu/hostfile.h"
#include "qobject/opts.h"

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
    g_autofree char *wanted = g_strdup_printf("Could not open '%s': Permission denied", path);
    Error *err = NULL;

    if (geteuid() == 0) {
        g_test_skip("root may write any file");
        return;
    }
    make_file(FILE_BYTES);
    g_assert_cmpint(chmod(path, 0400), ==, 0);
    bs = co_open("'auto-read-only': true", &error_abort);
    g_assert_null(blk_co_new_with_bs(bs, READ_WRITE, BLK_PERM_ALL, &err));
    g_assert_cmpstr(error_get_pretty(err), ==, wanted);
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

    return file_main(argc, argv, cases, ARRAY_SIZE(cases));
}
