/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The NBD server and its clients.  The handshake and a client's end are in the main loop; its
 * requests run in the loop of the export it entered.
 */
#include "qemu/osdep.h"

#include <sys/socket.h>

#include "block/graph.h"
#include "io/sockets.h"
#include "nbd-int.h"
#include "qapi/clone.h"
#include "qemu/main-loop.h"

static struct {
    SocketAddress *addr; /* NULL: not running */
    int fd;
    bool accepting;
    uint32_t handshake_max_seconds, max_connections;
    unsigned n_clients;
    QLIST_HEAD(, NbdClient) clients;
} server;

/* ---- exports ------------------------------------------------------------------------------- */

static void nbd_request_shutdown(BlockExport *exp)
{
    NbdClient *client;
    QLIST_FOREACH(client, &server.clients, next) {
        if (client->exp == (NbdExport *)exp) {
            qio_channel_shutdown(client->ioc, QIO_CHANNEL_SHUTDOWN_BOTH);
        }
    }
}

const BlockExportDriver blk_exp_nbd = {
    .type = BLOCK_EXPORT_TYPE_NBD,
    .instance_size = sizeof(NbdExport),
    .co_create = nbd_export_co_create,
    .request_shutdown = nbd_request_shutdown,
    .destroy = nbd_export_destroy,
};

/* ---- what the handshake asks ----------------------------------------------------------------- */

static uint16_t export_flags(const NbdExport *exp)
{
    uint16_t flags = NBD_FLAG_HAS_FLAGS | NBD_FLAG_SEND_FLUSH | NBD_FLAG_SEND_FUA |
                     NBD_FLAG_SEND_CACHE;
    if (exp->common.writable) {
        flags |= NBD_FLAG_SEND_TRIM | NBD_FLAG_SEND_WRITE_ZEROES | NBD_FLAG_SEND_FAST_ZERO;
    } else {
        flags |= NBD_FLAG_READ_ONLY;
    }
    /* All connections share one backend, so a flush of one covers all. */
    return server.max_connections == 1 ? flags : flags | NBD_FLAG_CAN_MULTI_CONN;
}

static bool client_find(void *opaque, const char *name, bool enter, NbdExportInfo *info)
{
    NbdClient *client = opaque;
    NbdExport *exp = nbd_export_find(name);
    int64_t bytes = exp ? blk_getlength(exp->common.blk) : -ENOENT;
    if (bytes < 0) {
        return false;
    }
    *info = (NbdExportInfo) {
        .description = exp->description,
        .size = bytes,
        .flags = export_flags(exp),
        .min_block = blk_get_request_alignment(exp->common.blk),
    };
    if (enter) {
        blk_exp_ref(&exp->common);
        client->exp = exp;
    }
    return true;
}

static bool client_list(void *opaque, unsigned n, const char **name, const char **description)
{
    for (BlockExport *exp = blk_exp_next(NULL); exp; exp = blk_exp_next(exp)) {
        if (exp->drv == &blk_exp_nbd && !exp->shutting_down && n-- == 0) {
            *name = ((NbdExport *)exp)->name;
            *description = ((NbdExport *)exp)->description;
            return true;
        }
    }
    return false;
}

static uint32_t client_n_contexts(void *opaque, const char *name)
{
    NbdExport *exp = nbd_export_find(name);
    return exp ? nbd_export_n_contexts(exp) : 0;
}

static char *client_context(void *opaque, const char *name, uint32_t id)
{
    NbdExport *exp = nbd_export_find(name);
    return exp ? nbd_export_context(exp, id) : NULL;
}

static const NbdServerOps client_ops = {
    .find = client_find,
    .list = client_list,
    .n_contexts = client_n_contexts,
    .context = client_context,
};

/* ---- clients --------------------------------------------------------------------------------- */

static void update_accepting(void);

static void handshake_too_slow(void *opaque)
{
    NbdClient *client = opaque;
    qio_channel_shutdown(client->ioc, QIO_CHANNEL_SHUTDOWN_BOTH);
}

static void start_deadline(NbdClient *client)
{
    if (!server.handshake_max_seconds) {
        return;
    }
    client->deadline = timer_new_ns(QEMU_CLOCK_REALTIME, handshake_too_slow, client);
    timer_mod_ns(client->deadline, qemu_clock_get_ns(QEMU_CLOCK_REALTIME) +
                 server.handshake_max_seconds * NANOSECONDS_PER_SECOND);
}

static void end_deadline(NbdClient *client)
{
    if (client->deadline) {
        timer_del(client->deadline);
        timer_free(client->deadline);
        client->deadline = NULL;
    }
}

static void coroutine_fn client_co_free(NbdClient *client)
{
    QLIST_REMOVE(client, next);
    server.n_clients--;
    if (client->exp) {
        BDRV_CONTROL_GUARD();
        blk_exp_co_unref(&client->exp->common);
    }
    end_deadline(client);
    nbd_session_clear(&client->session);
    qio_channel_close(client->ioc);
    qio_channel_unref(client->ioc);
    g_free(client);
    update_accepting();
}

static void coroutine_fn client_co_entry(void *opaque)
{
    NbdClient *client = opaque;
    int ret = nbd_server_co_handshake(client->ioc, &client_ops, client, &client->session,
                                      NULL);
    end_deadline(client);
    if (ret > 0) {
        aio_co_reschedule_self(blk_exp_next_aio_context(&client->exp->common));
        nbd_client_co_serve(client);
        aio_co_reschedule_self(qemu_get_aio_context());
    }
    client_co_free(client);
}

static void client_new(QIOChannel *ioc)
{
    NbdClient *client = g_new0(NbdClient, 1);
    client->ioc = ioc;
    qemu_co_mutex_init(&client->send_lock);
    socket_set_nodelay(qio_channel_socket_fd(ioc));
    QLIST_INSERT_HEAD(&server.clients, client, next);
    server.n_clients++;
    start_deadline(client);
    qemu_coroutine_enter(qemu_coroutine_create(client_co_entry, client));
}

/* ---- the server ------------------------------------------------------------------------------ */

static void accept_client(void *opaque)
{
    QIOChannel *ioc = qio_channel_socket_accept(server.fd, NULL);
    if (ioc) {
        client_new(ioc);
        update_accepting();
    }
}

/* While there are as many clients as allowed, further ones wait in the socket's queue. */
static void update_accepting(void)
{
    bool wanted = server.addr &&
                  (!server.max_connections || server.n_clients < server.max_connections);
    if (wanted != server.accepting) {
        server.accepting = wanted;
        qemu_set_fd_handler(server.fd, wanted ? accept_client : NULL, NULL, NULL);
    }
}

bool nbd_server_is_running(void)
{
    return server.addr != NULL;
}

bool nbd_server_start(const SocketAddress *addr, uint32_t handshake_max_seconds,
                      uint32_t max_connections, Error **errp)
{
    if (server.addr) {
        error_setg(errp, "NBD server already running");
        return false;
    }
    int fd = socket_listen(addr, max_connections ? MIN(max_connections, SOMAXCONN) : SOMAXCONN,
                           errp);
    if (fd < 0) {
        return false;
    }
    server.fd = fd;
    server.addr = QAPI_CLONE(SocketAddress, addr);
    server.handshake_max_seconds = handshake_max_seconds;
    server.max_connections = max_connections;
    update_accepting();
    return true;
}

void nbd_server_stop(void)
{
    NbdClient *client;
    if (!server.addr) {
        return;
    }
    QLIST_FOREACH(client, &server.clients, next) {
        qio_channel_shutdown(client->ioc, QIO_CHANNEL_SHUTDOWN_BOTH);
    }
    socket_listen_cleanup(server.addr);
    g_clear_pointer(&server.addr, qapi_free_SocketAddress);
    update_accepting();
    close(server.fd);
}
