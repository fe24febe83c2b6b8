/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The NBD server: connections, and the requests of those who have entered an export.
 *
 * Each client has one coroutine that reads its requests, and one more per request that runs.  A
 * client's memory is bounded: at most MAX_REQUESTS run, and their data is at most MAX_BUFFERED.
 * Replies are simple ones.  The handshake and a client's end are in the main loop; its requests run
 * in the loop of the export it entered.
 */
#include "qemu/osdep.h"

#include <sys/socket.h>

#include "block/export.h"
#include "block/graph.h"
#include "block/nbd.h"
#include "io/channel.h"
#include "io/sockets.h"
#include "qapi/clone.h"
#include "qemu/co-lock.h"
#include "qemu/main-loop.h"
#include "qemu/memalign.h"
#include "qemu/timer.h"

#define MAX_REQUESTS 16
#define MAX_BUFFERED (2 * NBD_MAX_BUFFER_SIZE)

typedef struct NbdExport {
    BlockExport common;
    char *name, *description;
} NbdExport;

typedef struct NbdClient {
    QIOChannel *ioc;
    NbdExport *exp;      /* with a reference, once it was entered */
    QEMUTimer *deadline; /* of the handshake */
    CoMutex send_lock;   /* one reply at a time */
    unsigned running;    /* requests */
    uint64_t buffered;   /* bytes of their data */
    Coroutine *reader;   /* waits for requests to end; or NULL */
    QLIST_ENTRY(NbdClient) next;
} NbdClient;

static struct {
    SocketAddress *addr; /* NULL: not running */
    int fd;
    bool accepting;
    uint32_t handshake_max_seconds, max_connections;
    unsigned n_clients;
    QLIST_HEAD(, NbdClient) clients;
} server;

/* ---- exports --------------------------------------------------------------------------------- */

static NbdExport *find_export(const char *name)
{
    for (BlockExport *exp = blk_exp_next(NULL); exp; exp = blk_exp_next(exp)) {
        NbdExport *nbd = (NbdExport *)exp;
        if (exp->drv == &blk_exp_nbd && !exp->shutting_down && strcmp(nbd->name, name) == 0) {
            return nbd;
        }
    }
    return NULL;
}

static bool check_export_args(const BlockExportOptionsNbd *nbd, const char *name, Error **errp)
{
    if (!nbd_server_is_running()) {
        error_setg(errp, "NBD server not running");
    } else if (strlen(name) > NBD_MAX_STRING_SIZE) {
        error_setg(errp, "export name '%s' too long", name);
    } else if (nbd->description && strlen(nbd->description) > NBD_MAX_STRING_SIZE) {
        error_setg(errp, "description '%s' too long", nbd->description);
    } else if (find_export(name)) {
        error_setg(errp, "NBD server already has export named '%s'", name);
    } else if (nbd->bitmaps || nbd->allocation_depth) {
        error_setg(errp, "NBD exports cannot offer bitmaps or the allocation depth");
    } else {
        return true;
    }
    return false;
}

static bool coroutine_fn nbd_co_create(BlockExport *exp, const BlockExportOptions *args,
                                       Error **errp)
{
    NbdExport *nbd = (NbdExport *)exp;
    const BlockExportOptionsNbd *options = &args->u.nbd;
    const char *name = options->name ? options->name : args->node_name;
    if (!check_export_args(options, name, errp)) {
        return false;
    }
    int64_t bytes = blk_co_getlength(exp->blk);
    if (bytes < 0) {
        error_setg_errno(errp, -bytes, "Failed to determine the NBD export's length");
        return false;
    }
    nbd->name = g_strdup(name);
    nbd->description = g_strdup(options->description);
    return true;
}

static void nbd_request_shutdown(BlockExport *exp)
{
    NbdClient *client;
    QLIST_FOREACH(client, &server.clients, next) {
        if (client->exp == (NbdExport *)exp) {
            qio_channel_shutdown(client->ioc, QIO_CHANNEL_SHUTDOWN_BOTH);
        }
    }
}

static void nbd_destroy(BlockExport *exp)
{
    NbdExport *nbd = (NbdExport *)exp;
    g_free(nbd->name);
    g_free(nbd->description);
}

const BlockExportDriver blk_exp_nbd = {
    .type = BLOCK_EXPORT_TYPE_NBD,
    .instance_size = sizeof(NbdExport),
    .co_create = nbd_co_create,
    .request_shutdown = nbd_request_shutdown,
    .destroy = nbd_destroy,
};

/* ---- what the handshake asks ----------------------------------------------------------------- */

static uint16_t export_flags(const NbdExport *exp)
{
    uint16_t flags = NBD_FLAG_HAS_FLAGS | NBD_FLAG_SEND_FLUSH | NBD_FLAG_SEND_FUA;
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
    NbdExport *exp = find_export(name);
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

static const NbdServerOps client_ops = { .find = client_find, .list = client_list };

/* ---- requests -------------------------------------------------------------------------------- */

typedef struct ClientRequest {
    NbdClient *client;
    NbdRequest req;
    uint8_t *data;   /* of a read or write */
    uint32_t data_len;
    int error;       /* errno: refused before it began */
} ClientRequest;

static int coroutine_fn co_write_zeroes(BlockBackend *blk, const NbdRequest *req, unsigned flags)
{
    if (!(req->flags & NBD_CMD_FLAG_NO_HOLE)) {
        flags |= BDRV_REQ_MAY_UNMAP;
    }
    if (req->flags & NBD_CMD_FLAG_FAST_ZERO) {
        flags |= BDRV_REQ_NO_FALLBACK;
    }
    return blk_co_pwrite_zeroes(blk, req->from, req->len, flags);
}

/* 0 or negative errno. */
static int coroutine_fn co_perform(ClientRequest *request)
{
    BlockBackend *blk = request->client->exp->common.blk;
    const NbdRequest *req = &request->req;
    unsigned flags = req->flags & NBD_CMD_FLAG_FUA ? BDRV_REQ_FUA : 0;
    int ret;
    switch (req->type) {
    case NBD_CMD_READ:
        ret = flags ? blk_co_flush(blk) : 0;
        return ret < 0 ? ret : blk_co_pread(blk, req->from, req->len, request->data, 0);
    case NBD_CMD_WRITE:
        return blk_co_pwrite(blk, req->from, req->len, request->data, flags);
    case NBD_CMD_WRITE_ZEROES:
        return co_write_zeroes(blk, req, flags);
    case NBD_CMD_TRIM:
        ret = blk_co_pdiscard(blk, req->from, req->len);
        return ret >= 0 && flags ? blk_co_flush(blk) : ret;
    default:
        return blk_co_flush(blk);
    }
}

/* A reply that cannot be sent ends the connection. */
static void coroutine_fn co_send_reply(ClientRequest *request, int error)
{
    NbdClient *client = request->client;
    uint8_t header[NBD_SIMPLE_REPLY_SIZE];
    bool has_data = request->req.type == NBD_CMD_READ && !error && request->data_len;
    struct iovec iov[] = {
        { .iov_base = header, .iov_len = sizeof(header) },
        { .iov_base = request->data, .iov_len = request->data_len },
    };
    nbd_simple_reply_pack(header, nbd_errno_to_wire(error), request->req.cookie);
    qemu_co_mutex_lock(&client->send_lock);
    if (qio_channel_co_writev_all(client->ioc, iov, has_data ? 2 : 1, NULL) < 0) {
        qio_channel_shutdown(client->ioc, QIO_CHANNEL_SHUTDOWN_BOTH);
    }
    qemu_co_mutex_unlock(&client->send_lock);
}

static void coroutine_fn co_request_entry(void *opaque)
{
    ClientRequest *request = opaque;
    NbdClient *client = request->client;
    int ret = request->error ? -request->error : co_perform(request);
    co_send_reply(request, ret < 0 ? -ret : 0);
    client->running--;
    client->buffered -= request->data_len;
    qemu_vfree(request->data);
    g_free(request);
    if (client->reader) {
        Coroutine *reader = client->reader;
        client->reader = NULL;
        aio_co_wake(reader);
    }
}

/* Why a request cannot be done: EINVAL, which stock answers to all of these, or 0. */
static int check_request(const NbdClient *client, const NbdRequest *req)
{
    static const uint16_t known_flags[] = {
        [NBD_CMD_READ] = NBD_CMD_FLAG_FUA,
        [NBD_CMD_WRITE] = NBD_CMD_FLAG_FUA,
        [NBD_CMD_FLUSH] = NBD_CMD_FLAG_FUA,
        [NBD_CMD_TRIM] = NBD_CMD_FLAG_FUA,
        [NBD_CMD_WRITE_ZEROES] = NBD_CMD_FLAG_FUA | NBD_CMD_FLAG_NO_HOLE | NBD_CMD_FLAG_FAST_ZERO,
    };
    int64_t size = blk_getlength(client->exp->common.blk);
    bool moves_data = req->type == NBD_CMD_READ || req->type == NBD_CMD_WRITE;
    bool changes = req->type == NBD_CMD_WRITE || req->type == NBD_CMD_TRIM ||
                   req->type == NBD_CMD_WRITE_ZEROES;
    bool is_known = moves_data || changes || req->type == NBD_CMD_FLUSH;
    if (!is_known || (req->flags & ~known_flags[req->type])) {
        return EINVAL;
    }
    if (changes && !client->exp->common.writable) {
        return EINVAL;
    }
    if (moves_data && req->len > NBD_MAX_BUFFER_SIZE) {
        return EINVAL;
    }
    if (req->type == NBD_CMD_FLUSH) {
        return 0;
    }
    return size < 0 || req->from > (uint64_t)size || req->len > size - req->from ? EINVAL : 0;
}

static void coroutine_fn co_wait_for_room(NbdClient *client, uint32_t bytes)
{
    while (client->running >= MAX_REQUESTS ||
           (client->running && client->buffered + bytes > MAX_BUFFERED)) {
        client->reader = qemu_coroutine_self();
        qemu_coroutine_yield();
    }
}

/* The data of a write is read also when it will be refused: what follows is the next request. */
static bool coroutine_fn co_read_data(ClientRequest *request)
{
    NbdClient *client = request->client;
    const NbdRequest *req = &request->req;
    bool needs_buffer = req->type == NBD_CMD_WRITE ||
                        (req->type == NBD_CMD_READ && !request->error);
    if (!needs_buffer || !req->len) {
        return true;
    }
    if (req->len > NBD_MAX_BUFFER_SIZE) {
        return false;
    }
    co_wait_for_room(client, req->len);
    request->data = blk_try_blockalign(client->exp->common.blk, req->len);
    if (!request->data) {
        return false;
    }
    request->data_len = req->len;
    return req->type != NBD_CMD_WRITE ||
           qio_channel_co_read_all(client->ioc, request->data, req->len, NULL) > 0;
}

/* False when the client is to be left: it went, or does not keep to the protocol. */
static bool coroutine_fn co_take_request(NbdClient *client)
{
    uint8_t header[NBD_REQUEST_SIZE];
    NbdRequest req;
    co_wait_for_room(client, 0);
    if (qio_channel_co_read_all(client->ioc, header, sizeof(header), NULL) <= 0 ||
        !nbd_request_unpack(header, &req) || req.type == NBD_CMD_DISC) {
        return false;
    }
    ClientRequest *request = g_new0(ClientRequest, 1);
    request->client = client;
    request->req = req;
    request->error = check_request(client, &req);
    if (!co_read_data(request)) {
        qemu_vfree(request->data);
        g_free(request);
        return false;
    }
    client->running++;
    client->buffered += request->data_len;
    aio_co_schedule(qemu_get_current_aio_context(),
                    qemu_coroutine_create(co_request_entry, request));
    return true;
}

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
    qio_channel_close(client->ioc);
    qio_channel_unref(client->ioc);
    g_free(client);
    update_accepting();
}

/* In the export's loop, until the client has left and its last request has ended. */
static void coroutine_fn co_serve(NbdClient *client)
{
    while (co_take_request(client)) {
        /* It runs in a coroutine of its own. */
    }
    qio_channel_shutdown(client->ioc, QIO_CHANNEL_SHUTDOWN_READ);
    while (client->running) {
        client->reader = qemu_coroutine_self();
        qemu_coroutine_yield();
    }
}

static void coroutine_fn client_co_entry(void *opaque)
{
    NbdClient *client = opaque;
    int ret = nbd_server_co_handshake(client->ioc, &client_ops, client, NULL);
    end_deadline(client);
    if (ret > 0) {
        aio_co_reschedule_self(blk_exp_aio_context(&client->exp->common));
        co_serve(client);
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
