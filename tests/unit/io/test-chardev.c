/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Character devices: making, connections, back pressure, sharing. */
#include "qemu/osdep.h"
#include <sys/socket.h>

#include "io/channel.h"
#include "io/chardev.h"
#include "io/sockets.h"
#include "qemu/atomic.h"
#include "qemu/main-loop.h"
#include "../../lib/testlib.h"
#include "../../lib/waituntil.h"

typedef struct User {
    CharFrontend fe;
    GString *input;
    int opened, closed, breaks, in, out;
    bool is_writable;
    bool is_full;
} User;

static size_t user_can_receive(void *opaque)
{
    return ((User *)opaque)->is_full ? 0 : SIZE_MAX;
}

static void user_receive(void *opaque, const uint8_t *buf, size_t size)
{
    g_string_append_len(((User *)opaque)->input, (const char *)buf, size);
}

static void user_event(void *opaque, ChrEvent event)
{
    User *u = opaque;

    u->opened += event == CHR_EVENT_OPENED;
    u->closed += event == CHR_EVENT_CLOSED;
    u->breaks += event == CHR_EVENT_BREAK;
    u->in += event == CHR_EVENT_MUX_IN;
    u->out += event == CHR_EVENT_MUX_OUT;
}

static void user_writable(void *opaque)
{
    ((User *)opaque)->is_writable = true;
}

static const ChrHandlers handlers = {
    user_can_receive, user_receive, user_event, user_writable,
};

static void user_start(User *u, Chardev *chr)
{
    *u = (User){ .input = g_string_new(NULL) };
    g_assert_true(chr_fe_init(&u->fe, chr, &error_abort));
    chr_fe_set_handlers(&u->fe, &handlers, u);
}

static void user_end(User *u)
{
    chr_fe_deinit(&u->fe);
    g_string_free(u->input, TRUE);
}

static Chardev *make(const char *format, const char *name, char **path)
{
    g_autofree char *text = NULL;

    *path = test_tmpfile(name);
    text = g_strdup_printf(format, *path);
    return chardev_new_from_opts(text, &error_abort);
}

static int connect_to(const char *path)
{
    g_autofree char *text = g_strconcat("unix:", path, NULL);
    g_autoptr(SocketAddress) addr = socket_parse(text, &error_abort);

    return socket_connect(addr, &error_abort);
}

static void assert_opts_fail(const char *text, const char *message)
{
    g_autoptr(Error) err = NULL;

    g_assert_null(chardev_new_from_opts(text, &err));
    g_assert_cmpstr(error_get_pretty(err), ==, message);
}

static void test_opts_refused(void)
{
    assert_opts_fail("foo,id=x", "'foo' is not a valid char driver name");
    assert_opts_fail("null,id=x,bogus=1", "Parameter 'bogus' is unexpected");
    assert_opts_fail("socket,id=x", "Exactly one of 'path', 'fd' or 'host' option required");
    assert_opts_fail("socket,id=x,path=a,wait=off",
                     "'wait' option is incompatible with socket in client connect mode");
    assert_opts_fail("socket,id=x,host=h", "chardev: socket: no port given");
    assert_opts_fail("file,id=x", "Parameter 'path' is missing");
    assert_opts_fail("file,id=x,path=/nodir/x",
                     "Could not open '/nodir/x': No such file or directory");
    g_assert_null(chardev_find("x"));
}

static void test_duplicate(void)
{
    Chardev *chr = chardev_new_from_opts("null,id=twice", &error_abort);

    assert_opts_fail("null,id=twice", "Duplicate ID 'twice' for chardev");
    g_assert_true(chardev_find("twice") == chr);
    g_assert_true(chardev_delete(chr, &error_abort));
    g_assert_null(chardev_find("twice"));
}

static void test_legacy(void)
{
    g_autofree char *path = test_tmpfile("legacy,sock");
    g_autofree char *text = g_strdup_printf("unix:%s/legacy,,sock,server,nowait", test_tmpdir());
    g_autofree char *shown = NULL;
    g_autoptr(Error) err = NULL;
    bool is_shared;
    Chardev *chr = chardev_new_from_legacy("serial0", text, &is_shared, &error_abort);

    g_assert_false(is_shared);
    g_assert_true(g_file_test(path, G_FILE_TEST_EXISTS));
    shown = chardev_describe(chr);
    g_assert_true(g_str_has_prefix(shown, "disconnected:unix:"));
    g_assert_true(g_str_has_suffix(shown, ",server=on"));
    g_assert_true(chardev_new_from_legacy("q", "chardev:serial0", NULL, &error_abort) == chr);
    chardev_delete(chr, &error_abort);
    g_assert_false(g_file_test(path, G_FILE_TEST_EXISTS));

    g_assert_null(chardev_new_from_legacy("s", "none", NULL, &err));
    g_assert_null(err);
    g_assert_null(chardev_new_from_legacy("s", "junk", NULL, &err));
    g_assert_cmpstr(error_get_pretty(err), ==, "'junk' is not a valid char driver");
}

static void test_server(void)
{
    g_autofree char *path = NULL;
    Chardev *chr = make("socket,id=m,path=%s,server=on,wait=off", "server", &path);
    User u;
    char buf[16];
    int fd;

    user_start(&u, chr);
    g_assert_cmpint(u.opened, ==, 0);
    g_assert_false(chr_fe_is_open(&u.fe));
    g_assert_cmpint(chr_fe_write(&u.fe, "lost", 4), ==, 4);
    for (int round = 1; round <= 2; round++) {
        fd = connect_to(path);
        wait_until(u.opened == round);
        g_assert_cmpint(chr_fe_write(&u.fe, "hello", 5), ==, 5);
        g_assert_cmpint(read(fd, buf, sizeof(buf)), ==, 5);
        g_assert_cmpint(write(fd, "abc", 3), ==, 3);
        close(fd);
        wait_until(u.closed == round);
        g_assert_cmpstr(u.input->str, ==, "abc");
        g_string_truncate(u.input, 0);
    }
    user_end(&u);
    chardev_delete(chr, &error_abort);
}

static void test_input_waits(void)
{
    g_autofree char *path = NULL;
    Chardev *chr = make("socket,id=m,path=%s,server=on,wait=off", "waits", &path);
    User u;
    int fd;

    user_start(&u, chr);
    u.is_full = true;
    fd = connect_to(path);
    wait_until(u.opened);
    g_assert_cmpint(write(fd, "abc", 3), ==, 3);
    close(fd);
    for (int i = 0; i < 20; i++) {
        aio_poll(qemu_get_aio_context(), false);
    }
    /* Neither the bytes nor the end behind them may overtake a user who is not ready. */
    g_assert_cmpstr(u.input->str, ==, "");
    g_assert_cmpint(u.closed, ==, 0);
    u.is_full = false;
    chr_fe_accept_input(&u.fe);
    wait_until(u.closed);
    g_assert_cmpstr(u.input->str, ==, "abc");
    user_end(&u);
    chardev_delete(chr, &error_abort);
}

/* Write @total numbered bytes from a thread, as a vCPU does. */
typedef struct Writer {
    User *user;
    size_t total;
    bool is_held_back;   /* atomic */
} Writer;

static void *writer_thread(void *opaque)
{
    Writer *w = opaque;
    size_t done = 0;

    while (done < w->total) {
        uint8_t byte = done % 251;

        if (chr_fe_write(&w->user->fe, &byte, 1) == 1) {
            done++;
        } else {
            qatomic_set(&w->is_held_back, true);
            g_thread_yield();
        }
    }
    return NULL;
}

static void test_back_pressure(void)
{
    g_autofree char *path = NULL;
    Chardev *chr = make("socket,id=m,path=%s,server=on,wait=off", "slow", &path);
    Writer w = { .total = 2 * MiB };
    g_autofree uint8_t *in = g_malloc(w.total);
    size_t got = 0;
    QemuThread thread;
    User u;
    int fd;

    user_start(&u, chr);
    w.user = &u;
    fd = connect_to(path);
    wait_until(u.opened);
    fcntl(fd, F_SETFL, O_NONBLOCK);
    qemu_thread_create(&thread, "writer", writer_thread, &w, QEMU_THREAD_JOINABLE);
    wait_until(qatomic_read(&w.is_held_back));
    g_assert_false(u.is_writable);
    while (got < w.total) {
        ssize_t ret = read(fd, in + got, w.total - got);

        got += MAX(ret, 0);
        aio_poll(qemu_get_aio_context(), false);
    }
    qemu_thread_join(&thread);
    for (size_t i = 0; i < got; i++) {
        g_assert_cmpint(in[i], ==, i % 251);
    }
    g_assert_true(u.is_writable);
    close(fd);
    user_end(&u);
    chardev_delete(chr, &error_abort);
}

static void test_half_closed_client_gets_output(void)
{
    g_autofree char *path = NULL;
    Chardev *chr = make("socket,id=m,path=%s,server=on,wait=off", "half", &path);
    g_autofree char *big = g_strnfill(300000, 'x');
    size_t sent = 0, got = 0;
    char buf[4096];
    User u;
    int fd;

    user_start(&u, chr);
    fd = connect_to(path);
    wait_until(u.opened);
    sent = chr_fe_write(&u.fe, big, 300000);
    shutdown(fd, SHUT_WR);
    fcntl(fd, F_SETFL, O_NONBLOCK);
    while (!u.closed) {
        ssize_t ret = read(fd, buf, sizeof(buf));

        got += MAX(ret, 0);
        aio_poll(qemu_get_aio_context(), false);
    }
    for (ssize_t ret; (ret = read(fd, buf, sizeof(buf))) > 0; ) {
        got += ret;
    }
    g_assert_cmpint(got, ==, sent);
    close(fd);
    user_end(&u);
    chardev_delete(chr, &error_abort);
}

static void test_descriptors(void)
{
    g_autofree char *path = NULL;
    Chardev *chr = make("socket,id=m,path=%s,server=on,wait=off", "fds", &path);
    char byte = 'x';
    struct iovec iov = { &byte, 1 };
    g_autoptr(QIOChannel) client = NULL;
    int fd = open("/dev/null", O_RDONLY);
    User u;
    int taken;

    user_start(&u, chr);
    client = qio_channel_socket_new_fd(connect_to(path));
    wait_until(u.opened);
    qio_channel_writev(client, &iov, 1, &fd, 1, &error_abort);
    wait_until(u.input->len);
    taken = chr_fe_take_fd(&u.fe);
    g_assert_cmpint(taken, >=, 0);
    g_assert_cmpint(chr_fe_take_fd(&u.fe), ==, -1);
    close(taken);
    close(fd);
    user_end(&u);
    chardev_delete(chr, &error_abort);
}

static void test_file_and_log(void)
{
    g_autofree char *path = NULL;
    g_autofree char *log = test_tmpfile("log");
    g_autofree char *text = NULL;
    g_autofree char *format = g_strdup_printf("file,id=f,path=%%s,logfile=%s", log);
    Chardev *chr = make(format, "out", &path);
    User u;

    user_start(&u, chr);
    g_assert_true(chr_fe_is_open(&u.fe));
    g_assert_cmpint(u.opened, ==, 1);
    chr_fe_write(&u.fe, "line\n", 5);
    user_end(&u);
    chardev_delete(chr, &error_abort);
    g_assert_true(g_file_get_contents(path, &text, NULL, NULL));
    g_assert_cmpstr(text, ==, "line\n");
    g_clear_pointer(&text, g_free);
    g_assert_true(g_file_get_contents(log, &text, NULL, NULL));
    g_assert_cmpstr(text, ==, "line\n");
}

/* Each line has one time before it, however it was written. */
static void test_log_with_times(void)
{
    g_autofree char *log = test_tmpfile("log");
    g_autofree char *text = NULL;
    g_autofree char *options = g_strdup_printf("null,id=n,logtimestamp=on,logfile=%s", log);
    Chardev *chr = chardev_new_from_opts(options, &error_abort);
    User u;

    user_start(&u, chr);
    chr_fe_write(&u.fe, "one\ntw", 6);
    chr_fe_write(&u.fe, "o\n\n", 3);
    user_end(&u);
    chardev_delete(chr, &error_abort);
    g_assert_true(g_file_get_contents(log, &text, NULL, NULL));
#define TIME "[0-9-]{10}T[0-9:]{8}\\.[0-9]+Z "
    if (!g_regex_match_simple("^" TIME "one\n" TIME "two\n" TIME "\n$", text, 0, 0)) {
        g_error("the log is: %s", text);
    }
}

static void test_one_user(void)
{
    Chardev *chr = chardev_new_from_opts("null,id=n", &error_abort);
    g_autoptr(Error) err = NULL;
    CharFrontend other;
    User u;

    user_start(&u, chr);
    g_assert_false(chr_fe_init(&other, chr, &err));
    g_assert_cmpstr(error_get_pretty(err), ==, "Device 'n' is in use");
    error_free_or_abort(&err);
    g_assert_false(chardev_delete(chr, &err));
    g_assert_cmpstr(error_get_pretty(err), ==, "Chardev 'n' is busy");
    user_end(&u);
    chardev_delete(chr, &error_abort);
}

static void test_shared(void)
{
    g_autofree char *path = NULL;
    Chardev *chr = make("socket,id=m,path=%s,server=on,wait=off,mux=on", "shared", &path);
    User a, b;
    int fd;

    user_start(&a, chr);
    user_start(&b, chr);
    fd = connect_to(path);
    wait_until(a.opened && b.opened);
    g_assert_cmpint(write(fd, "to-b\001cto-a\001\001\001b", 14), ==, 14);
    wait_until(a.breaks);
    g_assert_cmpstr(b.input->str, ==, "to-b");
    g_assert_cmpstr(a.input->str, ==, "to-a\001");
    g_assert_cmpint(b.out, ==, 1);
    g_assert_cmpint(b.breaks, ==, 0);
    close(fd);
    wait_until(a.closed && b.closed);
    user_end(&a);
    user_end(&b);
    chardev_delete(chr, &error_abort);
}

/* A guest without input has a console all the same. */
static void test_output_outlives_input(void)
{
    int saved[2] = { dup(STDIN_FILENO), dup(STDOUT_FILENO) };
    int nothing = open("/dev/null", O_RDONLY);
    char text[5] = "";
    User u;
    int fds[2];

    g_assert_cmpint(pipe(fds), ==, 0);
    dup2(nothing, STDIN_FILENO);
    dup2(fds[1], STDOUT_FILENO);
    Chardev *chr = chardev_new_from_opts("stdio,id=c0", &error_abort);
    dup2(saved[0], STDIN_FILENO);
    dup2(saved[1], STDOUT_FILENO);

    user_start(&u, chr);
    wait_until(u.closed);
    g_assert_cmpint(u.closed, ==, 1);
    g_assert_cmpint(chr_fe_write(&u.fe, "still", 5), ==, 5);
    g_assert_cmpint(read(fds[0], text, 5), ==, 5);
    g_assert_cmpmem(text, 5, "still", 5);
    user_end(&u);
    g_assert_true(chardev_delete(chr, &error_abort));
    close(nothing);
    close(fds[0]);
    close(fds[1]);
    close(saved[0]);
    close(saved[1]);
}

int main(int argc, char **argv)
{
    test_init(&argc, &argv);
    qemu_init_main_loop(&error_abort);
    g_test_add_func("/chardev/opts/refuses-nonsense", test_opts_refused);
    g_test_add_func("/chardev/opts/id-is-unique", test_duplicate);
    g_test_add_func("/chardev/legacy/short-forms", test_legacy);
    g_test_add_func("/chardev/socket/serves-one-client-after-another", test_server);
    g_test_add_func("/chardev/socket/input-waits-for-user", test_input_waits);
    g_test_add_func("/chardev/socket/output-waits-for-client", test_back_pressure);
    g_test_add_func("/chardev/socket/half-closed-client-gets-output",
                    test_half_closed_client_gets_output);
    g_test_add_func("/chardev/socket/receives-descriptors", test_descriptors);
    g_test_add_func("/chardev/file/writes-and-logs", test_file_and_log);
    g_test_add_func("/chardev/log/times-of-lines", test_log_with_times);
    g_test_add_func("/chardev/stdio/output-outlives-input", test_output_outlives_input);
    g_test_add_func("/chardev/front-end/only-one", test_one_user);
    g_test_add_func("/chardev/mux/escapes-choose-user", test_shared);
    return g_test_run();
}
