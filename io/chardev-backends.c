/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What is at the other end of a character device: how each kind opens, waits and closes. */
#include "qemu/osdep.h"
#include <poll.h>
#include <signal.h>
#include <sys/ioctl.h>

#include "chardev-int.h"

#include "io/sockets.h"
#include "qapi/clone.h"
#include "qemu/cutils.h"
#include "qemu/daemon.h"
#include "qemu/main-loop.h"

/* How often a pseudo-terminal is looked at while nobody has it open. */
#define PTY_POLL_MS 500

/* ---- terminals ------------------------------------------------------------------------------- */

static Chardev *stdio_owner;

static void make_raw(struct termios *tty)
{
    tty->c_iflag &= ~(IGNBRK | BRKINT | PARMRK | ISTRIP | INLCR | IGNCR | ICRNL | IXON);
    tty->c_oflag |= OPOST;
    tty->c_lflag &= ~(ECHO | ECHONL | ICANON | IEXTEN);
    tty->c_cflag &= ~(CSIZE | PARENB);
    tty->c_cflag |= CS8;
    tty->c_cc[VMIN] = 1;
    tty->c_cc[VTIME] = 0;
}

static void stdio_restore(void)
{
    if (stdio_owner && stdio_owner->is_terminal) {
        tcsetattr(STDIN_FILENO, TCSANOW, &stdio_owner->saved_tty);
    }
}

static void stdio_set_mode(Chardev *chr, bool is_raw)
{
    const CharBackendOptionsStdio *opts = &chr->opts->u.stdio;
    struct termios tty = chr->saved_tty;

    if (is_raw) {
        make_raw(&tty);
    }
    if (opts->has_signal && !opts->signal) {
        tty.c_lflag &= ~ISIG;
    }
    tcsetattr(STDIN_FILENO, TCSANOW, &tty);
}

void chr_fe_set_echo(CharFrontend *fe, bool echo)
{
    if (fe->chr && fe->chr == stdio_owner && fe->chr->is_terminal) {
        stdio_set_mode(fe->chr, !echo);
    }
}

/*
 * Our own description of standard input or output, so that making it non-blocking changes nothing
 * for whoever shares it with us.  -1 if there is none to be had.
 */
static int reopen_private(int fd, int flags)
{
    g_autofree char *path = g_strdup_printf("/proc/self/fd/%d", fd);
    struct stat st;

    if (fstat(fd, &st) < 0) {
        return -1;
    }
    if (S_ISFIFO(st.st_mode) || S_ISCHR(st.st_mode)) {
        int own = open(path, flags | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);

        if (own >= 0) {
            return own;
        }
    }
    return fcntl(fd, F_DUPFD_CLOEXEC, 0);
}

static bool open_stdio(Chardev *chr, Error **errp)
{
    static bool is_exit_registered;
    int in, out;

    if (daemon_is_in_background()) {
        error_setg(errp, "cannot use stdio with -daemonize");
        return false;
    }
    if (stdio_owner) {
        error_setg(errp, "cannot use stdio by multiple character devices");
        return false;
    }
    in = reopen_private(STDIN_FILENO, O_RDONLY);
    out = reopen_private(STDOUT_FILENO, O_WRONLY);
    if (in < 0 || out < 0) {
        error_setg(errp, "standard input or output is closed");
        if (in >= 0) {
            close(in);
        }
        return false;
    }
    stdio_owner = chr;
    if (tcgetattr(STDIN_FILENO, &chr->saved_tty) == 0) {
        chr->is_terminal = true;
        stdio_set_mode(chr, true);
        if (!is_exit_registered) {
            is_exit_registered = true;
            atexit(stdio_restore);
        }
    }
    chardev_connected(chr, qio_channel_file_new_fds(in, out));
    return true;
}

/* ---- files, pipes, terminal devices ---------------------------------------------------------- */

static bool open_file(Chardev *chr, Error **errp)
{
    const CharBackendOptionsFile *opts = &chr->opts->u.file;
    bool is_appending = opts->has_append && opts->append;
    int fd = open(opts->path, O_WRONLY | O_CREAT | O_CLOEXEC | (is_appending ? O_APPEND : O_TRUNC),
                  0666);

    if (fd < 0) {
        error_setg_errno(errp, errno, "Could not open '%s'", opts->path);
        return false;
    }
    chardev_connected(chr, qio_channel_file_new_fds(-1, fd));
    return true;
}

static bool open_pipe(Chardev *chr, Error **errp)
{
    const char *path = chr->opts->u.pipe.path;
    g_autofree char *in_path = g_strconcat(path, ".in", NULL);
    g_autofree char *out_path = g_strconcat(path, ".out", NULL);
    /* Opening for both directions keeps a FIFO from waiting for the other side. */
    int in = open(in_path, O_RDWR | O_NONBLOCK | O_CLOEXEC);
    int out = open(out_path, O_RDWR | O_NONBLOCK | O_CLOEXEC);

    if (in < 0 || out < 0) {
        if (in >= 0) {
            close(in);
        }
        if (out >= 0) {
            close(out);
        }
        in = out = open(path, O_RDWR | O_NONBLOCK | O_CLOEXEC);
    }
    if (in < 0) {
        error_setg_errno(errp, errno, "Could not open '%s'", path);
        return false;
    }
    chardev_connected(chr, qio_channel_file_new_fds(in, out));
    return true;
}

static bool open_serial(Chardev *chr, Error **errp)
{
    const char *path = chr->opts->u.serial.path;
    int fd = open(path, O_RDWR | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
    struct termios tty;

    if (fd < 0) {
        error_setg_errno(errp, errno, "Could not open '%s'", path);
        return false;
    }
    if (tcgetattr(fd, &tty) < 0) {
        error_setg(errp, "'%s' is not a terminal device", path);
        close(fd);
        return false;
    }
    make_raw(&tty);
    tty.c_oflag &= ~OPOST;
    tcsetattr(fd, TCSANOW, &tty);
    chardev_connected(chr, qio_channel_file_new_fds(fd, fd));
    return true;
}

/* ---- pseudo-terminals ------------------------------------------------------------------------ */

/* A master hangs up while nobody has the slave open: look now and then. */
static void pty_poll(void *opaque)
{
    Chardev *chr = opaque;
    struct pollfd pfd = { .fd = chr->pty_fd, .events = POLLOUT };

    if (poll(&pfd, 1, 0) > 0 && !(pfd.revents & POLLHUP)) {
        int fd = fcntl(chr->pty_fd, F_DUPFD_CLOEXEC, 0);

        if (fd >= 0) {
            chardev_connected(chr, qio_channel_file_new_fds(fd, fd));
            return;
        }
    }
    timer_mod(chr->pty_timer, qemu_clock_get_ms(QEMU_CLOCK_REALTIME) + PTY_POLL_MS);
}

static bool open_pty(Chardev *chr, Error **errp)
{
    int fd = posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC);
    char name[128];
    struct termios tty;

    if (fd < 0 || grantpt(fd) < 0 || unlockpt(fd) < 0 || ptsname_r(fd, name, sizeof(name))) {
        error_setg_errno(errp, errno, "Failed to create PTY");
        if (fd >= 0) {
            close(fd);
        }
        return false;
    }
    /* The slave's modes are kept by the master; opening and closing it also makes poll() tell
     * a hangup until somebody opens it. */
    int slave = open(name, O_RDWR | O_NOCTTY | O_CLOEXEC);

    if (slave >= 0) {
        if (tcgetattr(slave, &tty) == 0) {
            cfmakeraw(&tty);
            tcsetattr(slave, TCSANOW, &tty);
        }
        close(slave);
    }
    chr->pty_fd = fd;
    chr->pty_timer = timer_new_ms(QEMU_CLOCK_REALTIME, pty_poll, chr);
    chr->description = g_strdup_printf("pty:%s", name);
    printf("char device redirected to %s (label %s)\n", name, chr->id);
    fflush(stdout);
    pty_poll(chr);
    return true;
}

/* ---- sockets --------------------------------------------------------------------------------- */

static bool socket_address(Chardev *chr, Error **errp)
{
    const CharBackendOptionsSocket *opts = &chr->opts->u.socket;
    SocketAddress *addr;

    if (!!opts->path + !!opts->host + !!opts->fd != 1) {
        error_setg(errp, "Exactly one of 'path', 'fd' or 'host' option required");
        return false;
    }
    if (opts->host && !opts->port) {
        error_setg(errp, "chardev: socket: no port given");
        return false;
    }
    addr = chr->addr = g_new0(SocketAddress, 1);
    if (opts->path) {
        addr->type = SOCKET_ADDRESS_TYPE_UNIX;
        addr->u.q_unix = (UnixSocketAddress){
            .path = g_strdup(opts->path),
            .has_abstract = opts->has_abstract, .abstract = opts->abstract,
            .has_tight = opts->has_tight, .tight = opts->tight,
        };
    } else if (opts->fd) {
        addr->type = SOCKET_ADDRESS_TYPE_FD;
        addr->u.fd.str = g_strdup(opts->fd);
    } else {
        addr->type = SOCKET_ADDRESS_TYPE_INET;
        addr->u.inet = (InetSocketAddress){
            .host = g_strdup(opts->host), .port = g_strdup(opts->port),
            .has_to = opts->has_to, .to = opts->to,
            .has_ipv4 = opts->has_ipv4, .ipv4 = opts->ipv4,
            .has_ipv6 = opts->has_ipv6, .ipv6 = opts->ipv6,
        };
    }
    return true;
}

static void socket_connected(Chardev *chr, QIOChannel *ioc)
{
    const CharBackendOptionsSocket *opts = &chr->opts->u.socket;

    if (chr->addr->type == SOCKET_ADDRESS_TYPE_INET && opts->has_nodelay && opts->nodelay) {
        socket_set_nodelay(qio_channel_socket_fd(ioc));
    }
    chardev_connected(chr, ioc);
}

static void socket_accept(void *opaque)
{
    Chardev *chr = opaque;
    QIOChannel *ioc = qio_channel_socket_accept(chr->listen_fd, NULL);

    if (ioc) {
        /* One client at a time; the next ones wait until this one leaves. */
        aio_set_fd_handler(qemu_get_aio_context(), chr->listen_fd, NULL, NULL, NULL);
        socket_connected(chr, ioc);
    }
}

static void socket_wait_for_client(Chardev *chr)
{
    aio_set_fd_handler(qemu_get_aio_context(), chr->listen_fd, socket_accept, NULL, chr);
}

static bool open_socket(Chardev *chr, Error **errp)
{
    const CharBackendOptionsSocket *opts = &chr->opts->u.socket;
    bool is_server = opts->has_server && opts->server;
    bool must_wait = !opts->has_wait || opts->wait;
    g_autoptr(SocketAddress) local = NULL;
    g_autofree char *uri = NULL;

    if (!is_server && opts->has_wait) {
        error_setg(errp, "'wait' option is incompatible with socket in client connect mode");
        return false;
    }
    if (!socket_address(chr, errp)) {
        return false;
    }
    if (!is_server) {
        int fd = socket_connect(chr->addr, errp);

        if (fd < 0) {
            return false;
        }
        chr->description = socket_uri(chr->addr);
        socket_connected(chr, qio_channel_socket_new_fd(fd));
        return true;
    }
    chr->listen_fd = socket_listen(chr->addr, 1, errp);
    if (chr->listen_fd < 0) {
        return false;
    }
    /* The port may have been chosen just now. */
    local = socket_local_address(chr->listen_fd, NULL);
    uri = socket_uri(local && local->type == SOCKET_ADDRESS_TYPE_INET ? local : chr->addr);
    chr->description = g_strconcat(uri, ",server=on", NULL);
    if (must_wait) {
        struct pollfd pfd = { .fd = chr->listen_fd, .events = POLLIN };
        sigset_t none;

        /* There is no loop yet that would handle blocked signals: let them end the program. */
        sigemptyset(&none);
        info_report("QEMU waiting for connection on: disconnected:%s", chr->description);
        while (!chr->ioc) {
            ppoll(&pfd, 1, NULL, &none);
            socket_accept(chr);
        }
    } else {
        socket_wait_for_client(chr);
    }
    return true;
}

/* ---- any ------------------------------------------------------------------------------------- */

bool chardev_open_backend(Chardev *chr, Error **errp)
{
    switch (chr->opts->backend) {
    case CHARDEV_BACKEND_KIND_NULL:
        return true;
    case CHARDEV_BACKEND_KIND_STDIO:
        return open_stdio(chr, errp);
    case CHARDEV_BACKEND_KIND_FILE:
        return open_file(chr, errp);
    case CHARDEV_BACKEND_KIND_PIPE:
        return open_pipe(chr, errp);
    case CHARDEV_BACKEND_KIND_SERIAL:
        return open_serial(chr, errp);
    case CHARDEV_BACKEND_KIND_PTY:
        return open_pty(chr, errp);
    case CHARDEV_BACKEND_KIND_SOCKET:
        return open_socket(chr, errp);
    default:
        g_assert_not_reached();
    }
}

void chardev_backend_closed(Chardev *chr)
{
    if (chr->listen_fd >= 0) {
        socket_wait_for_client(chr);
    }
    if (chr->pty_timer) {
        timer_mod(chr->pty_timer, qemu_clock_get_ms(QEMU_CLOCK_REALTIME) + PTY_POLL_MS);
    }
}

void chardev_backend_release(Chardev *chr)
{
    if (chr->listen_fd >= 0) {
        aio_set_fd_handler(qemu_get_aio_context(), chr->listen_fd, NULL, NULL, NULL);
        close(chr->listen_fd);
        socket_listen_cleanup(chr->addr);
    }
    if (chr->pty_fd >= 0) {
        close(chr->pty_fd);
    }
    timer_free(chr->pty_timer);
    if (stdio_owner == chr) {
        stdio_restore();
        stdio_owner = NULL;
    }
}
