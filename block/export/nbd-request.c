/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The requests of those who have entered an export of the NBD server.
 *
 * Each client has one coroutine that reads its requests, and one more per request that runs.  A
 * client's memory is bounded: at most MAX_REQUESTS run, and their data is at most MAX_BUFFERED.
 */
#include "qemu/osdep.h"

#include "nbd-int.h"
#include "qemu/bswap.h"
#include "qemu/main-loop.h"
#include "qemu/memalign.h"

#define MAX_REQUESTS 16
#define MAX_BUFFERED (2 * NBD_MAX_BUFFER_SIZE)

typedef struct ClientRequest {
    NbdClient *client;
    NbdRequest req;
    uint8_t *data;   /* of a read, write or cache */
    uint32_t data_len;
    char *refusal;   /* why it is not carried out; NULL: it is */
} ClientRequest;

/* ---- the work -------------------------------------------------------------------------------- */

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

/* All but block status, and reads whose replies are structured; 0 or a negative errno. */
static int coroutine_fn co_perform(ClientRequest *request)
{
    BlockBackend *blk = request->client->exp->common.blk;
    const NbdRequest *req = &request->req;
    unsigned flags = req->flags & NBD_CMD_FLAG_FUA ? BDRV_REQ_FUA : 0;
    int ret;
    switch (req->type) {
    case NBD_CMD_READ:
    case NBD_CMD_CACHE:
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

/* ---- replies --------------------------------------------------------------------------------- */

/* A reply that cannot be sent ends the connection. */
static void coroutine_fn co_send(NbdClient *client, struct iovec *iov, size_t n)
{
    qemu_co_mutex_lock(&client->send_lock);
    if (qio_channel_co_writev_all(client->ioc, iov, n, NULL) < 0) {
        qio_channel_shutdown(client->ioc, QIO_CHANNEL_SHUTDOWN_BOTH);
    }
    qemu_co_mutex_unlock(&client->send_lock);
}

static void coroutine_fn co_send_simple(ClientRequest *request, int error)
{
    uint8_t header[NBD_SIMPLE_REPLY_SIZE];
    bool has_data = request->req.type == NBD_CMD_READ && !error && request->data_len;
    struct iovec iov[] = {
        { .iov_base = header, .iov_len = sizeof(header) },
        { .iov_base = request->data, .iov_len = request->data_len },
    };
    nbd_simple_reply_pack(header, nbd_errno_to_wire(error), request->req.cookie);
    co_send(request->client, iov, has_data ? 2 : 1);
}

/* A part of a structured reply: @head and @body are the data of the chunk; @body may be NULL. */
static void coroutine_fn co_send_chunk(ClientRequest *request, NbdChunkType type, bool is_last,
                                       struct iovec head, struct iovec body)
{
    uint8_t header[NBD_CHUNK_SIZE];
    struct iovec iov[] = { { .iov_base = header, .iov_len = sizeof(header) }, head, body };
    nbd_chunk_pack(header, type, is_last, request->req.cookie, head.iov_len + body.iov_len);
    co_send(request->client, iov, body.iov_len ? 3 : head.iov_len ? 2 : 1);
}

static const struct iovec nothing = { .iov_base = NULL };

/* @text: for people. */
static void coroutine_fn co_send_error(ClientRequest *request, int error, const char *text)
{
    uint8_t head[6];
    size_t len = MIN(strlen(text), NBD_MAX_STRING_SIZE);
    if (!request->client->session.structured) {
        co_send_simple(request, error);
        return;
    }
    stl_be_p(head, nbd_errno_to_wire(error));
    stw_be_p(head + 4, len);
    co_send_chunk(request, NBD_CHUNK_ERROR, true,
                  (struct iovec) { .iov_base = head, .iov_len = sizeof(head) },
                  (struct iovec) { .iov_base = (void *)text, .iov_len = len });
}

static void coroutine_fn co_send_errno(ClientRequest *request, int error)
{
    g_autofree char *text = g_strdup(g_strerror(error));
    co_send_error(request, error, text);
}

/* ---- reads in parts -------------------------------------------------------------------------- */

/* How much from @offset on is zeroes (*@zero), or is not; in doubt it is not. */
static int64_t coroutine_fn co_same_kind(BlockBackend *blk, int64_t offset, int64_t bytes,
                                         bool *zero)
{
    int64_t n;
    int ret = blk_co_block_status_above(blk, NULL, offset, bytes, &n, NULL, NULL, NULL);

    *zero = ret >= 0 && n > 0 && (ret & BDRV_BLOCK_ZERO);
    return ret < 0 || n <= 0 ? bytes : MIN(n, bytes);
}

/* Send @bytes from @done bytes into the request on; 0, or a negative errno. */
static int coroutine_fn co_send_part(ClientRequest *request, uint32_t done, uint32_t bytes,
                                     bool is_hole)
{
    const NbdRequest *req = &request->req;
    bool is_last = done + bytes == req->len;
    uint8_t head[12];
    stq_be_p(head, req->from + done);
    if (is_hole) {
        stl_be_p(head + 8, bytes);
        co_send_chunk(request, NBD_CHUNK_OFFSET_HOLE, is_last,
                      (struct iovec) { .iov_base = head, .iov_len = 12 }, nothing);
        return 0;
    }
    int ret = blk_co_pread(request->client->exp->common.blk, req->from + done, bytes,
                           request->data + done, 0);
    if (ret >= 0) {
        co_send_chunk(request, NBD_CHUNK_OFFSET_DATA, is_last,
                      (struct iovec) { .iov_base = head, .iov_len = 8 },
                      (struct iovec) { .iov_base = request->data + done, .iov_len = bytes });
    }
    return ret;
}

/* Zeroes are not sent, unless the client wants all in one part. */
static void coroutine_fn co_read_structured(ClientRequest *request)
{
    BlockBackend *blk = request->client->exp->common.blk;
    const NbdRequest *req = &request->req;
    int ret = req->flags & NBD_CMD_FLAG_FUA ? blk_co_flush(blk) : 0;
    bool is_hole = false;
    if (ret >= 0 && req->len == 0) {
        co_send_chunk(request, NBD_CHUNK_NONE, true, nothing, nothing);
    }
    for (uint32_t done = 0, n; ret >= 0 && done < req->len; done += n) {
        n = req->flags & NBD_CMD_FLAG_DF
            ? req->len : co_same_kind(blk, req->from + done, req->len - done, &is_hole);
        ret = co_send_part(request, done, n, is_hole);
    }
    if (ret < 0) {
        co_send_errno(request, -ret);
    }
}

static void coroutine_fn co_block_status(ClientRequest *request)
{
    NbdClient *client = request->client;
    const GArray *contexts = client->session.contexts;
    for (unsigned i = 0; i < contexts->len; i++) {
        g_autoptr(GByteArray) data = g_byte_array_new();
        int ret = nbd_export_co_status(client->exp, &request->req,
                                       g_array_index(contexts, uint32_t, i), data);
        if (ret < 0) {
            co_send_errno(request, -ret);
            return;
        }
        co_send_chunk(request, NBD_CHUNK_BLOCK_STATUS, i + 1 == contexts->len,
                      (struct iovec) { .iov_base = data->data, .iov_len = data->len }, nothing);
    }
}

/* ---- one request ----------------------------------------------------------------------------- */

static void coroutine_fn co_carry_out(ClientRequest *request)
{
    bool structured = request->client->session.structured;
    if (request->refusal) {
        /* Whatever is wrong: what stock answers. */
        co_send_error(request, EINVAL, request->refusal);
    } else if (request->req.type == NBD_CMD_BLOCK_STATUS) {
        co_block_status(request);
    } else if (request->req.type == NBD_CMD_READ && structured) {
        co_read_structured(request);
    } else {
        int ret = co_perform(request);
        if (ret < 0) {
            co_send_errno(request, -ret);
        } else {
            co_send_simple(request, 0);
        }
    }
}

static void request_free(ClientRequest *request)
{
    qemu_vfree(request->data);
    g_free(request->refusal);
    g_free(request);
}

static void coroutine_fn co_request_entry(void *opaque)
{
    ClientRequest *request = opaque;
    NbdClient *client = request->client;
    co_carry_out(request);
    client->running--;
    client->buffered -= request->data_len;
    request_free(request);
    if (client->reader) {
        Coroutine *reader = client->reader;
        client->reader = NULL;
        aio_co_wake(reader);
    }
}

/* ---- what may be asked for ------------------------------------------------------------------- */

static const struct {
    const char *name;
    uint16_t flags; /* that the command may have */
    bool changes, moves_data;
} commands[] = {
    [NBD_CMD_READ] = { "read", NBD_CMD_FLAG_FUA, false, true }, /* DF: see check_flags() */
    [NBD_CMD_WRITE] = { "write", NBD_CMD_FLAG_FUA, true, true },
    [NBD_CMD_FLUSH] = { "flush", NBD_CMD_FLAG_FUA, false, false },
    [NBD_CMD_TRIM] = { "trim", NBD_CMD_FLAG_FUA, true, false },
    [NBD_CMD_CACHE] = { "cache", NBD_CMD_FLAG_FUA, false, true },
    [NBD_CMD_WRITE_ZEROES] = { "write zeroes", NBD_CMD_FLAG_FUA | NBD_CMD_FLAG_NO_HOLE |
                               NBD_CMD_FLAG_FAST_ZERO, true, false },
    [NBD_CMD_BLOCK_STATUS] = { "block status", NBD_CMD_FLAG_FUA | NBD_CMD_FLAG_REQ_ONE, false,
                               false },
};

static bool is_known(const NbdClient *client, const NbdRequest *req)
{
    return req->type < ARRAY_SIZE(commands) && commands[req->type].name &&
           (req->type != NBD_CMD_BLOCK_STATUS || client->session.contexts->len);
}

static uint16_t allowed_flags(const NbdClient *client, const NbdRequest *req)
{
    bool has_df = req->type == NBD_CMD_READ && client->session.structured;
    return commands[req->type].flags | (has_df ? NBD_CMD_FLAG_DF : 0);
}

/* Why a request is not carried out, for g_free(); or NULL. */
static char *check_request(const NbdClient *client, const NbdRequest *req)
{
    int64_t size = blk_getlength(client->exp->common.blk);
    if (!is_known(client, req)) {
        return g_strdup_printf("invalid request type (%u) received", req->type);
    }
    if (req->flags & ~allowed_flags(client, req)) {
        return g_strdup_printf("unsupported flags for command %s (got 0x%x)",
                               commands[req->type].name, req->flags);
    }
    if (commands[req->type].changes && !client->exp->common.writable) {
        return g_strdup("Export is read-only");
    }
    if (commands[req->type].moves_data && req->len > NBD_MAX_BUFFER_SIZE) {
        return g_strdup_printf("len (%" PRIu32 ") is larger than max len (%u)", req->len,
                               NBD_MAX_BUFFER_SIZE);
    }
    if (req->type == NBD_CMD_FLUSH) {
        return NULL;
    }
    if (req->type == NBD_CMD_BLOCK_STATUS && !req->len) {
        return g_strdup("need non-zero length");
    }
    if (size < 0 || req->from > (uint64_t)size || req->len > size - req->from) {
        return g_strdup_printf("operation past EOF; From: %" PRIu64 ", Len: %" PRIu32
                               ", Size: %" PRId64, req->from, req->len, size);
    }
    return NULL;
}

/* ---- reading them ---------------------------------------------------------------------------- */

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
                        (!request->refusal && commands[req->type].moves_data);
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
    request->refusal = check_request(client, &req);
    if (!co_read_data(request)) {
        request_free(request);
        return false;
    }
    client->running++;
    client->buffered += request->data_len;
    aio_co_schedule(qemu_get_current_aio_context(),
                    qemu_coroutine_create(co_request_entry, request));
    return true;
}

void coroutine_fn nbd_client_co_serve(NbdClient *client)
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
