/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Character devices: the list of them, front ends, input and output. */
#include "qemu/osdep.h"
#include <poll.h>

#include "chardev-int.h"

#include "qapi/clone.h"
#include "qemu/cutils.h"
#include "qemu/lockable.h"
#include "qemu/main-loop.h"

/* How long chardev_cleanup() waits for a slow reader. */
#define CLEANUP_WAIT_MS 500

static QTAILQ_HEAD(, Chardev) chardevs = QTAILQ_HEAD_INITIALIZER(chardevs);

static void chardev_readable(void *opaque);
static void chardev_writable(void *opaque);

/* ---- input ----------------------------------------------------------------------------------- */

static CharFrontend *input_user(const Chardev *chr)
{
    return chr->users[chr->focus];
}

static size_t input_room(const Chardev *chr)
{
    const CharFrontend *fe = input_user(chr);

    if (!fe || !fe->handlers || !fe->handlers->receive || chr->has_met_eof) {
        return 0;
    }
    return fe->handlers->can_receive ? fe->handlers->can_receive(fe->opaque) : SIZE_MAX;
}

/* Watch the channel for what matters now. */
static void update_watch(Chardev *chr)
{
    bool has_output;

    if (!chr->ioc) {
        return;
    }
    WITH_QEMU_LOCK_GUARD(&chr->lock) {
        has_output = chr->out->len > 0;
    }
    qio_channel_set_fd_handler(chr->ioc, qemu_get_aio_context(),
                               input_room(chr) ? chardev_readable : NULL,
                               has_output ? chardev_writable : NULL, chr);
}

static void drop_fds(Chardev *chr)
{
    while (chr->n_fds) {
        close(chr->fds[--chr->n_fds]);
    }
}

static void keep_fds(Chardev *chr, int *fds, size_t nfds)
{
    for (size_t i = 0; i < nfds; i++) {
        if (chr->n_fds < CHARDEV_MAX_FDS) {
            chr->fds[chr->n_fds++] = fds[i];
        } else {
            close(fds[i]);
        }
    }
    g_free(fds);
}

/* Standard output and the outgoing pipe live on when nobody sends any more: a guest without input
 * has a console all the same. */
static bool output_outlives_input(const Chardev *chr)
{
    return chr->opts->backend == CHARDEV_BACKEND_KIND_STDIO
        || chr->opts->backend == CHARDEV_BACKEND_KIND_PIPE;
}

/* Close, unless somebody still has to be told something. */
static void close_when_written(Chardev *chr)
{
    bool is_pending;

    if (output_outlives_input(chr)) {
        update_watch(chr);
        return;
    }
    WITH_QEMU_LOCK_GUARD(&chr->lock) {
        is_pending = chr->out->len > 0 && !chr->is_broken;
    }
    if (is_pending) {
        update_watch(chr);
    } else {
        chardev_disconnected(chr);
    }
}

static void chardev_readable(void *opaque)
{
    Chardev *chr = opaque;
    uint8_t buf[4096];
    /* The users of a shared device differ in how much they take: byte by byte fits all. */
    size_t limit = chardev_is_shared(chr) ? 1 : sizeof(buf);
    size_t room = input_room(chr);
    struct iovec iov = { .iov_base = buf, .iov_len = MIN(room, limit) };
    g_autoptr(Error) err = NULL;
    int *fds;
    size_t nfds;
    ssize_t ret;

    if (!chr->ioc || !iov.iov_len) {
        update_watch(chr);
        return;
    }
    ret = qio_channel_readv(chr->ioc, &iov, 1, &fds, &nfds, &err);
    keep_fds(chr, fds, nfds);
    if (ret == QIO_CHANNEL_ERR_BLOCK) {
        return;
    }
    if (ret <= 0) {
        /* An error here is a peer that went away, or a terminal that hung up. */
        chr->has_met_eof = true;
        close_when_written(chr);
        if (chr->ioc && output_outlives_input(chr)) {
            chardev_send_event(chr, CHR_EVENT_CLOSED);
        }
        return;
    }
    if (chardev_is_shared(chr)) {
        chardev_mux_receive(chr, buf, ret);
    } else {
        CharFrontend *fe = input_user(chr);

        fe->handlers->receive(fe->opaque, buf, ret);
    }
    update_watch(chr);
}

/* ---- output ---------------------------------------------------------------------------------- */

/* Write what can be written of chr->out.  Called with the lock held. */
static void flush_locked(Chardev *chr)
{
    size_t done = 0;

    while (chr->ioc && !chr->is_broken && done < chr->out->len) {
        struct iovec iov = {
            .iov_base = chr->out->data + done,
            .iov_len = chr->out->len - done,
        };
        ssize_t ret = qio_channel_writev(chr->ioc, &iov, 1, NULL, 0, NULL);

        if (ret == QIO_CHANNEL_ERR_BLOCK) {
            break;
        }
        if (ret < 0) {
            chr->is_broken = true;
            break;
        }
        done += ret;
    }
    if (chr->is_broken || !chr->ioc) {
        g_byte_array_set_size(chr->out, 0);
    } else if (done) {
        g_byte_array_remove_range(chr->out, 0, done);
    }
}

static void write_log_bytes(Chardev *chr, const char *data, size_t size)
{
    while (chr->log_fd >= 0 && size) {
        ssize_t ret = write(chr->log_fd, data, size);

        if (ret < 0 && errno == EINTR) {
            continue;
        }
        if (ret <= 0) {
            return;
        }
        data += ret;
        size -= ret;
    }
}

/* The log, with the time before each line if that is wanted. */
static void write_log(Chardev *chr, const void *buf, size_t size)
{
    const char *data = buf, *end = data + size;

    if (chr->log_fd < 0 || !chr->opts->has_logtimestamp || !chr->opts->logtimestamp) {
        write_log_bytes(chr, data, size);
        return;
    }
    while (data < end) {
        const char *newline = memchr(data, '\n', end - data);
        const char *next = newline ? newline + 1 : end;

        if (!chr->is_log_in_line) {
            g_autoptr(GDateTime) now = g_date_time_new_now_utc();
            g_autofree char *stamp = g_date_time_format(now, "%FT%T.%fZ ");

            write_log_bytes(chr, stamp, strlen(stamp));
        }
        write_log_bytes(chr, data, next - data);
        chr->is_log_in_line = !newline;
        data = next;
    }
}

size_t chardev_write(Chardev *chr, const void *buf, size_t size)
{
    size_t taken = size;
    bool must_kick;

    QEMU_LOCK_GUARD(&chr->lock);

    if (chr->ioc && !chr->is_broken) {
        if (!chr->out->len) {
            /* The common case needs no copy and no turn of the loop. */
            struct iovec iov = { .iov_base = (void *)buf, .iov_len = size };
            ssize_t ret = qio_channel_writev(chr->ioc, &iov, 1, NULL, 0, NULL);

            chr->is_broken = ret < 0 && ret != QIO_CHANNEL_ERR_BLOCK;
            taken = MAX(ret, 0);
        } else {
            taken = 0;
        }
        if (chr->is_broken) {
            taken = size;
        } else if (taken < size) {
            size_t more = MIN(size - taken, CHARDEV_OUT_MAX - MIN(chr->out->len,
                                                                  CHARDEV_OUT_MAX));

            g_byte_array_append(chr->out, (const guint8 *)buf + taken, more);
            taken += more;
        }
        chr->is_writer_waiting |= taken < size;
        must_kick = chr->is_broken || chr->out->len;
        if (must_kick) {
            qemu_bh_schedule(chr->kick_bh);
        }
    }
    write_log(chr, buf, taken);
    return taken;
}

static void wake_writer(Chardev *chr)
{
    bool is_waiting;

    WITH_QEMU_LOCK_GUARD(&chr->lock) {
        is_waiting = chr->is_writer_waiting &&
                     (!chr->ioc || chr->is_broken || chr->out->len < CHARDEV_OUT_MAX);
        if (is_waiting) {
            chr->is_writer_waiting = false;
        }
    }
    for (int i = 0; is_waiting && i < CHARDEV_MAX_USERS; i++) {
        CharFrontend *fe = chr->users[i];

        if (fe && fe->handlers && fe->handlers->writable) {
            fe->handlers->writable(fe->opaque);
        }
    }
}

/* The state changed: write, tell, close, watch. */
static void chardev_kick(void *opaque)
{
    Chardev *chr = opaque;
    bool is_broken;

    WITH_QEMU_LOCK_GUARD(&chr->lock) {
        flush_locked(chr);
        is_broken = chr->is_broken;
    }
    if (chr->ioc && is_broken) {
        chardev_disconnected(chr);
        return;
    }
    wake_writer(chr);
    if (chr->ioc && chr->has_met_eof) {
        close_when_written(chr);
    } else {
        update_watch(chr);
    }
}

static void chardev_writable(void *opaque)
{
    chardev_kick(opaque);
}

/* ---- connections ----------------------------------------------------------------------------- */

void chardev_send_event(Chardev *chr, ChrEvent event)
{
    for (int i = 0; i < CHARDEV_MAX_USERS; i++) {
        CharFrontend *fe = chr->users[i];

        if (fe && fe->handlers && fe->handlers->event) {
            fe->handlers->event(fe->opaque, event);
        }
    }
}

void chardev_connected(Chardev *chr, QIOChannel *ioc)
{
    assert(!chr->ioc);
    chr->has_met_eof = false;
    WITH_QEMU_LOCK_GUARD(&chr->lock) {
        chr->ioc = ioc;
        chr->is_broken = false;
    }
    chardev_send_event(chr, CHR_EVENT_OPENED);
    update_watch(chr);
}

void chardev_disconnected(Chardev *chr)
{
    QIOChannel *ioc;

    WITH_QEMU_LOCK_GUARD(&chr->lock) {
        ioc = g_steal_pointer(&chr->ioc);
        g_byte_array_set_size(chr->out, 0);
    }
    if (!ioc) {
        return;
    }
    qio_channel_close(ioc);
    qio_channel_unref(ioc);
    drop_fds(chr);
    chardev_send_event(chr, CHR_EVENT_CLOSED);
    wake_writer(chr);
    chardev_backend_closed(chr);
}

/* ---- life ------------------------------------------------------------------------------------ */

static void chardev_free(Chardev *chr)
{
    QIOChannel *ioc = g_steal_pointer(&chr->ioc);

    if (ioc) {
        qio_channel_close(ioc);
        qio_channel_unref(ioc);
    }
    chardev_backend_release(chr);
    qemu_bh_delete(chr->kick_bh);
    drop_fds(chr);
    if (chr->log_fd >= 0) {
        close(chr->log_fd);
    }
    qapi_free_SocketAddress(chr->addr);
    qapi_free_ChardevOptions(chr->opts);
    g_byte_array_unref(chr->out);
    qemu_mutex_destroy(&chr->lock);
    g_free(chr->description);
    g_free(chr->id);
    g_free(chr);
}

static bool open_log(Chardev *chr, Error **errp)
{
    const ChardevOptions *opts = chr->opts;
    bool is_appending = opts->has_logappend && opts->logappend;

    if (!opts->logfile) {
        return true;
    }
    chr->log_fd = open(opts->logfile, O_WRONLY | O_CREAT | O_CLOEXEC |
                                      (is_appending ? O_APPEND : O_TRUNC), 0666);
    if (chr->log_fd < 0) {
        error_setg_errno(errp, errno, "Unable to open logfile %s", opts->logfile);
        return false;
    }
    return true;
}

Chardev *chardev_new(const ChardevOptions *opts, Error **errp)
{
    Chardev *chr;

    if (!id_wellformed(opts->id)) {
        error_setg(errp, "Parameter 'id' expects an identifier");
        error_append_hint(errp, "Identifiers consist of letters, digits, '-', '.', '_', starting "
                          "with a letter.\n");
        return NULL;
    }
    if (chardev_find(opts->id)) {
        error_setg(errp, "Duplicate ID '%s' for chardev", opts->id);
        return NULL;
    }
    chr = g_new0(Chardev, 1);
    chr->id = g_strdup(opts->id);
    chr->opts = QAPI_CLONE(ChardevOptions, opts);
    chr->out = g_byte_array_new();
    chr->listen_fd = -1;
    chr->pty_fd = -1;
    chr->log_fd = -1;
    qemu_mutex_init(&chr->lock);
    chr->kick_bh = qemu_bh_new(chardev_kick, chr);
    if (!open_log(chr, errp) || !chardev_open_backend(chr, errp)) {
        chardev_free(chr);
        return NULL;
    }
    QTAILQ_INSERT_TAIL(&chardevs, chr, next);
    return chr;
}

Chardev *chardev_find(const char *id)
{
    Chardev *chr;

    QTAILQ_FOREACH(chr, &chardevs, next) {
        if (!strcmp(chr->id, id)) {
            return chr;
        }
    }
    return NULL;
}

const char *chardev_id(const Chardev *chr)
{
    return chr->id;
}

char *chardev_describe(Chardev *chr)
{
    const char *kind = ChardevBackendKind_str(chr->opts->backend);

    if (chr->listen_fd >= 0 && !chr->ioc) {
        return g_strconcat("disconnected:", chr->description, NULL);
    }
    return g_strdup(chr->description ? chr->description : kind);
}

void chardev_foreach(void (*fn)(Chardev *chr, void *opaque), void *opaque)
{
    Chardev *chr, *next;

    QTAILQ_FOREACH_SAFE(chr, &chardevs, next, next) {
        fn(chr, opaque);
    }
}

bool chardev_delete(Chardev *chr, Error **errp)
{
    for (int i = 0; i < CHARDEV_MAX_USERS; i++) {
        if (chr->users[i]) {
            error_setg(errp, "Chardev '%s' is busy", chr->id);
            return false;
        }
    }
    QTAILQ_REMOVE(&chardevs, chr, next);
    chardev_free(chr);
    return true;
}

/* Write what is left, waiting for the reader until @deadline_ms at most. */
static void drain_output(Chardev *chr, int64_t deadline_ms)
{
    for (;;) {
        int64_t left = deadline_ms - qemu_clock_get_ms(QEMU_CLOCK_REALTIME);

        WITH_QEMU_LOCK_GUARD(&chr->lock) {
            flush_locked(chr);
            if (!chr->out->len || left <= 0) {
                return;
            }
        }
        g_usleep(MIN(left, 5) * 1000);
    }
}

void chardev_cleanup(void)
{
    int64_t deadline_ms = qemu_clock_get_ms(QEMU_CLOCK_REALTIME) + CLEANUP_WAIT_MS;
    Chardev *chr;

    while ((chr = QTAILQ_FIRST(&chardevs))) {
        drain_output(chr, deadline_ms);
        for (int i = 0; i < CHARDEV_MAX_USERS; i++) {
            if (chr->users[i]) {
                chr->users[i]->chr = NULL;
            }
        }
        QTAILQ_REMOVE(&chardevs, chr, next);
        chardev_free(chr);
    }
}

/* ---- front ends ------------------------------------------------------------------------------ */

bool chr_fe_init(CharFrontend *fe, Chardev *chr, Error **errp)
{
    int n = chardev_is_shared(chr) ? CHARDEV_MAX_USERS : 1;

    for (int i = 0; i < n; i++) {
        if (!chr->users[i]) {
            *fe = (CharFrontend){ .chr = chr, .mux_index = i };
            chr->users[i] = fe;
            return true;
        }
    }
    if (n > 1) {
        error_setg(errp, "too many uses of multiplexed chardev '%s' (maximum is %d)", chr->id, n);
    } else {
        error_setg(errp, "Device '%s' is in use", chr->id);
    }
    return false;
}

void chr_fe_deinit(CharFrontend *fe)
{
    Chardev *chr = fe->chr;

    if (!chr) {
        return;
    }
    chr->users[fe->mux_index] = NULL;
    fe->chr = NULL;
    fe->handlers = NULL;
    update_watch(chr);
}

bool chr_fe_is_open(const CharFrontend *fe)
{
    Chardev *chr = fe->chr;

    if (!chr) {
        return false;
    }
    QEMU_LOCK_GUARD(&chr->lock);
    return chr->ioc || chr->opts->backend == CHARDEV_BACKEND_KIND_NULL;
}

void chr_fe_set_handlers(CharFrontend *fe, const ChrHandlers *handlers, void *opaque)
{
    Chardev *chr = fe->chr;

    if (!chr) {
        return;
    }
    fe->handlers = handlers;
    fe->opaque = opaque;
    if (handlers && handlers->event && chr_fe_is_open(fe)) {
        handlers->event(opaque, CHR_EVENT_OPENED);
    }
    if (handlers && chardev_is_shared(chr)) {
        chardev_mux_set_focus(chr, fe->mux_index);
    }
    update_watch(chr);
}

size_t chr_fe_write(CharFrontend *fe, const void *buf, size_t size)
{
    return fe->chr ? chardev_write(fe->chr, buf, size) : size;
}

void chr_fe_accept_input(CharFrontend *fe)
{
    if (fe->chr) {
        qemu_bh_schedule(fe->chr->kick_bh);
    }
}

void chr_fe_disconnect(CharFrontend *fe)
{
    if (fe->chr) {
        chardev_disconnected(fe->chr);
    }
}

void chr_fe_hang_up(CharFrontend *fe)
{
    Chardev *chr = fe->chr;
    int index = fe->mux_index;

    chr_fe_deinit(fe);
    if (chr && chardev_is_shared(chr)) {
        chardev_mux_leave(chr, index);
        update_watch(chr);
    } else if (chr && chr->ioc && chr->opts->backend == CHARDEV_BACKEND_KIND_SOCKET) {
        chr->has_met_eof = true;
        close_when_written(chr);
    }
}

int chr_fe_take_fd(CharFrontend *fe)
{
    Chardev *chr = fe->chr;
    int fd;

    if (!chr || !chr->n_fds) {
        return -1;
    }
    fd = chr->fds[0];
    memmove(chr->fds, chr->fds + 1, --chr->n_fds * sizeof(int));
    return fd;
}
