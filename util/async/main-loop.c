/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The main loop: AioContext and GLib in one wait; signals; the machine lock.
 */
#include "qemu/osdep.h"

#include <signal.h>
#include <sys/signalfd.h>

#include "aio-internal.h"
#include "qemu/error.h"
#include "qemu/main-loop.h"

/* GLib hands its descriptors over as GPollFD, which is what poll(2) takes on every Unix. */
G_STATIC_ASSERT(sizeof(GPollFD) == sizeof(struct pollfd));
G_STATIC_ASSERT(offsetof(GPollFD, revents) == offsetof(struct pollfd, revents));

/* Main thread only. */
static struct {
    GPollFD *fds;
    int capacity;
    bool is_busy;
} glib_fds;

/*
 * Does nothing but be posted: unlike a bare aio_notify it is not lost when the loop was just about
 * to look at nothing but its own lists.
 */
static QEMUBH *notify_bh;

/* ---- GLib ------------------------------------------------------------------------------------ */
static void notify_bh_cb(void *opaque)
{
    (void)opaque;
}

bool qemu_init_main_loop(Error **errp)
{
    AioContext *ctx;

    assert(!qemu_get_aio_context());
    ctx = aio_context_new(errp);
    if (!ctx) {
        return false;
    }
    qemu_thread_set_main();
    aio_set_main_context(ctx);
    notify_bh = aio_bh_new(ctx, notify_bh_cb, NULL);
    return true;
}

static int glib_query(GMainContext *glib, int priority, int *timeout_ms)
{
    int n;

    while ((n = g_main_context_query(glib, priority, timeout_ms, glib_fds.fds,
                                     glib_fds.capacity)) > glib_fds.capacity) {
        glib_fds.capacity = n * 2;
        glib_fds.fds = g_renew(GPollFD, glib_fds.fds, glib_fds.capacity);
    }
    return n;
}

void main_loop_wait(bool nonblocking)
{
    GMainContext *glib = g_main_context_default();
    int priority, timeout_ms, n;
    int64_t wait_ns;

    assert(!glib_fds.is_busy);
    glib_fds.is_busy = true;
    if (!g_main_context_acquire(glib)) {
        fprintf(stderr, "another thread runs GLib's main context\n");
        abort();
    }
    g_main_context_prepare(glib, &priority);
    n = glib_query(glib, priority, &timeout_ms);
    wait_ns = nonblocking ? 0 : timeout_ms < 0 ? -1 : (int64_t)timeout_ms * SCALE_MS;

    aio_iterate(qemu_get_aio_context(), wait_ns, (struct pollfd *)glib_fds.fds, n);

    if (g_main_context_check(glib, priority, glib_fds.fds, n)) {
        g_main_context_dispatch(glib);
    }
    g_main_context_release(glib);
    glib_fds.is_busy = false;
}

/* ---- short forms for the main context -------------------------------------------------------- */
void qemu_notify_event(void)
{
    qemu_bh_schedule(notify_bh);
}

void qemu_set_fd_handler(int fd, IOHandler *io_read, IOHandler *io_write, void *opaque)
{
    aio_set_fd_handler(qemu_get_aio_context(), fd, io_read, io_write, opaque);
}

/* ---- signals --------------------------------------------------------------------------------- */
static struct {
    int fd;                      /* 0: none yet */
    sigset_t mask;
    struct {
        QemuSignalHandler *handler;
        void *opaque;
    } by_number[NSIG];
} signals;

static void signal_readable(void *opaque)
{
    struct signalfd_siginfo info;

    (void)opaque;
    while (read(signals.fd, &info, sizeof(info)) == sizeof(info)) {
        QemuSignalInfo told = {
            .signo = info.ssi_signo,
            .pid = info.ssi_pid,
            .uid = info.ssi_uid,
        };

        if (info.ssi_signo < NSIG && signals.by_number[info.ssi_signo].handler) {
            signals.by_number[info.ssi_signo].handler(
                &told, signals.by_number[info.ssi_signo].opaque);
        }
    }
}

void qemu_main_loop_set_signal(int signo, QemuSignalHandler *handler, void *opaque)
{
    sigset_t one;
    int fd;

    GLOBAL_STATE_CODE();
    assert(signo > 0 && signo < NSIG);
    signals.by_number[signo].handler = handler;
    signals.by_number[signo].opaque = opaque;

    sigemptyset(&one);
    sigaddset(&one, signo);
    if (signals.fd == 0) {
        sigemptyset(&signals.mask);
    }
    if (handler) {
        sigaddset(&signals.mask, signo);
        pthread_sigmask(SIG_BLOCK, &one, NULL);
    } else {
        sigdelset(&signals.mask, signo);
    }
    fd = signalfd(signals.fd ? signals.fd : -1, &signals.mask, SFD_CLOEXEC | SFD_NONBLOCK);
    if (fd < 0) {
        perror("signalfd");
        abort();
    }
    if (signals.fd == 0) {
        signals.fd = fd;
        qemu_set_fd_handler(fd, signal_readable, NULL, NULL);
    }
    if (!handler) {
        signal(signo, SIG_DFL);
        pthread_sigmask(SIG_UNBLOCK, &one, NULL);
    }
}

/* ---- the machine lock ------------------------------------------------------------------------ */
static QemuMutex bql = QEMU_MUTEX_INITIALIZER;
static __thread bool bql_is_mine __attribute__((tls_model("initial-exec")));

void bql_lock(void)
{
    assert(!bql_is_mine);
    qemu_mutex_lock(&bql);
    bql_is_mine = true;
}

void bql_unlock(void)
{
    assert(bql_is_mine);
    bql_is_mine = false;
    qemu_mutex_unlock(&bql);
}

bool bql_locked(void)
{
    return bql_is_mine;
}
