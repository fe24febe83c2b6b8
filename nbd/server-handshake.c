/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The server's side of NBD's fixed newstyle handshake.
 *
 * A client sends options until one of them begins transmission, or it leaves.  Each option is read
 * whole before it is looked at, so that a malformed one is answered and the next one is found.
 */
#include "qemu/osdep.h"

#include "handshake-int.h"
#include "qemu/bswap.h"

#define OPTION_HEADER_SIZE 16
#define REPLY_HEADER_SIZE 20
/* Longer data of an option ends the connection unread. */
#define MAX_DROPPED_OPTION (32 * 1024 * 1024)
/* A client that sends more options than this is not about to use an export. */
#define MAX_OPTIONS 1024

/* ---- replies --------------------------------------------------------------------------------- */

Outcome coroutine_fn handshake_co_reply(Handshake *hs, uint32_t type, const void *data, size_t len,
                                        Error **errp)
{
    uint8_t header[REPLY_HEADER_SIZE];
    struct iovec iov[] = {
        { .iov_base = header, .iov_len = sizeof(header) },
        { .iov_base = (void *)data, .iov_len = len },
    };
    stq_be_p(header, NBD_REP_MAGIC);
    stl_be_p(header + 8, hs->option);
    stl_be_p(header + 12, type);
    stl_be_p(header + 16, len);
    return qio_channel_co_writev_all(hs->ioc, iov, len ? 2 : 1, errp) < 0 ? OUTCOME_FAILED
                                                                          : OUTCOME_NEXT;
}

Outcome coroutine_fn handshake_co_reply_error(Handshake *hs, uint32_t type, Error **errp,
                                              const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    g_autofree char *text = g_strdup_vprintf(fmt, ap);
    va_end(ap);
    return handshake_co_reply(hs, type, text, MIN(strlen(text), NBD_MAX_STRING_SIZE), errp);
}

/* A client's string as it may be shown: printable, and not too long. */
static char *shown_name(const char *name)
{
    g_autofree char *text = g_strndup(name, MAX_SHOWN_NAME);
    g_autofree char *valid = g_utf8_make_valid(text, -1);
    char *shown = g_strescape(valid, NULL);
    if (strlen(name) > MAX_SHOWN_NAME) {
        char *longer = g_strconcat(shown, "...", NULL);
        g_free(shown);
        shown = longer;
    }
    return shown;
}

Outcome coroutine_fn handshake_co_unknown_export(Handshake *hs, const char *name, Error **errp)
{
    g_autofree char *shown = shown_name(name);
    return handshake_co_reply_error(hs, NBD_REP_ERR_UNKNOWN, errp, "export '%s' not present",
                                    shown);
}

/* ---- LIST ------------------------------------------------------------------------------------ */

static Outcome coroutine_fn co_list(Handshake *hs, Error **errp)
{
    const char *name, *description;
    if (hs->len) {
        return handshake_co_reply_error(hs, NBD_REP_ERR_INVALID, errp,
                                        "option 'list' has unexpected length");
    }
    for (unsigned n = 0; hs->ops->list(hs->opaque, n, &name, &description); n++) {
        size_t name_len = strlen(name), text_len = description ? strlen(description) : 0;
        g_autofree uint8_t *entry = g_malloc(4 + name_len + text_len);
        stl_be_p(entry, name_len);
        memcpy(entry + 4, name, name_len);
        if (text_len) {
            memcpy(entry + 4 + name_len, description, text_len);
        }
        if (handshake_co_reply(hs, NBD_REP_SERVER, entry, 4 + name_len + text_len, errp) < 0) {
            return OUTCOME_FAILED;
        }
    }
    return handshake_co_reply(hs, NBD_REP_ACK, NULL, 0, errp);
}

/* ---- INFO and GO ----------------------------------------------------------------------------- */

/* What was agreed upon before has a part in it. */
static void finish_info(Handshake *hs, const char *name, bool enter, NbdExportInfo *info)
{
    if (hs->session->structured) {
        info->flags |= NBD_FLAG_SEND_DF;
    }
    if (enter && g_strcmp0(hs->context_export, name) != 0) {
        handshake_forget_contexts(hs);
    }
}

typedef struct InfoRequest {
    char *name;
    bool wants_name, wants_block_size;
} InfoRequest;

/* False if the data is malformed. */
static bool parse_info_request(const Handshake *hs, InfoRequest *request)
{
    if (hs->len < 6) {
        return false;
    }
    uint32_t name_len = ldl_be_p(hs->data);
    if (name_len > NBD_MAX_STRING_SIZE || name_len > hs->len - 6 ||
        memchr(hs->data + 4, 0, name_len)) {
        return false;
    }
    const uint8_t *p = hs->data + 4 + name_len;
    uint16_t count = lduw_be_p(p);
    if (hs->len != 6 + name_len + 2 * (uint32_t)count) {
        return false;
    }
    for (p += 2; count; count--, p += 2) {
        uint16_t type = lduw_be_p(p);
        request->wants_name |= type == NBD_INFO_NAME;
        request->wants_block_size |= type == NBD_INFO_BLOCK_SIZE;
    }
    request->name = g_strndup((const char *)hs->data + 4, name_len);
    return true;
}

/* Send an info reply: its type, then @len bytes. */
static bool coroutine_fn co_send_info(Handshake *hs, uint16_t type, const void *data, size_t len,
                                      Error **errp)
{
    g_autofree uint8_t *buf = g_malloc(2 + len);
    stw_be_p(buf, type);
    memcpy(buf + 2, data, len);
    return handshake_co_reply(hs, NBD_REP_INFO, buf, 2 + len, errp) == OUTCOME_NEXT;
}

static bool coroutine_fn co_send_infos(Handshake *hs, const InfoRequest *request,
                                       const NbdExportInfo *info, Error **errp)
{
    uint8_t block[12], export[10];
    bool is_strict = hs->option == NBD_OPT_INFO || request->wants_block_size;
    uint32_t min_block = is_strict ? info->min_block : 1;
    g_autofree char *description = g_strdup(info->description);
    stl_be_p(block, min_block);
    stl_be_p(block + 4, MAX(4096, min_block));
    stl_be_p(block + 8, NBD_MAX_BUFFER_SIZE);
    stq_be_p(export, info->size);
    stw_be_p(export + 8, info->flags);
    return (!request->wants_name ||
            co_send_info(hs, NBD_INFO_NAME, request->name, strlen(request->name), errp)) &&
           (!description ||
            co_send_info(hs, NBD_INFO_DESCRIPTION, description, strlen(description), errp)) &&
           co_send_info(hs, NBD_INFO_BLOCK_SIZE, block, sizeof(block), errp) &&
           co_send_info(hs, NBD_INFO_EXPORT, export, sizeof(export), errp);
}

static Outcome coroutine_fn co_info_or_go(Handshake *hs, Error **errp)
{
    bool is_go = hs->option == NBD_OPT_GO;
    InfoRequest request = { 0 };
    NbdExportInfo info;
    if (!parse_info_request(hs, &request)) {
        return handshake_co_reply_error(hs, NBD_REP_ERR_INVALID, errp,
                                        "malformed data of option '%s'", is_go ? "go" : "info");
    }
    g_autofree char *name = request.name;
    if (!hs->ops->find(hs->opaque, name, is_go, &info)) {
        return handshake_co_unknown_export(hs, name, errp);
    }
    finish_info(hs, name, is_go, &info);
    if (!co_send_infos(hs, &request, &info, errp)) {
        return OUTCOME_FAILED;
    }
    if (!is_go && !request.wants_block_size && info.min_block > 1) {
        return handshake_co_reply_error(hs, NBD_REP_ERR_BLOCK_SIZE_REQD, errp,
                                        "request NBD_INFO_BLOCK_SIZE to use this export");
    }
    if (handshake_co_reply(hs, NBD_REP_ACK, NULL, 0, errp) < 0) {
        return OUTCOME_FAILED;
    }
    return is_go ? OUTCOME_ENTERED : OUTCOME_NEXT;
}

/* ---- EXPORT_NAME ----------------------------------------------------------------------------- */

static Outcome coroutine_fn co_export_name(Handshake *hs, Error **errp)
{
    uint8_t buf[10 + 124] = { 0 };
    NbdExportInfo info;
    if (hs->len > NBD_MAX_STRING_SIZE || memchr(hs->data, 0, hs->len) ||
        !hs->ops->find(hs->opaque, (const char *)hs->data, true, &info)) {
        error_setg(errp, "the client wants an export that does not exist");
        return OUTCOME_FAILED;
    }
    finish_info(hs, (const char *)hs->data, true, &info);
    stq_be_p(buf, info.size);
    stw_be_p(buf + 8, info.flags);
    if (qio_channel_co_write_all(hs->ioc, buf, hs->no_zeroes ? 10 : sizeof(buf), errp) < 0) {
        return OUTCOME_FAILED;
    }
    return OUTCOME_ENTERED;
}

/* ---- STRUCTURED_REPLY ------------------------------------------------------------------------ */

static Outcome coroutine_fn co_structured_reply(Handshake *hs, Error **errp)
{
    if (hs->len) {
        return handshake_co_reply_error(hs, NBD_REP_ERR_INVALID, errp,
                                        "option 'structured reply' has unexpected length");
    }
    if (hs->session->structured) {
        return handshake_co_reply_error(hs, NBD_REP_ERR_INVALID, errp,
                                        "structured reply already negotiated");
    }
    hs->session->structured = true;
    return handshake_co_reply(hs, NBD_REP_ACK, NULL, 0, errp);
}

/* ---- options --------------------------------------------------------------------------------- */

static Outcome coroutine_fn co_answer(Handshake *hs, Error **errp)
{
    switch (hs->option) {
    case NBD_OPT_EXPORT_NAME:
        return co_export_name(hs, errp);
    case NBD_OPT_ABORT:
        /* It may have left already. */
        handshake_co_reply(hs, NBD_REP_ACK, NULL, 0, NULL);
        return OUTCOME_CLOSE;
    case NBD_OPT_LIST:
        return co_list(hs, errp);
    case NBD_OPT_INFO:
    case NBD_OPT_GO:
        return co_info_or_go(hs, errp);
    case NBD_OPT_STRUCTURED_REPLY:
        return co_structured_reply(hs, errp);
    case NBD_OPT_LIST_META_CONTEXT:
    case NBD_OPT_SET_META_CONTEXT:
        return handshake_co_meta_context(hs, errp);
    case NBD_OPT_STARTTLS:
        return handshake_co_reply_error(hs, NBD_REP_ERR_POLICY, errp, "TLS not configured");
    default:
        return handshake_co_reply_error(hs, NBD_REP_ERR_UNSUP, errp,
                                        "Unsupported option %" PRIu32 " (%s)", hs->option,
                                        hs->option == NBD_OPT_EXTENDED_HEADERS
                                        ? "extended headers" : "<unknown>");
    }
}

static bool coroutine_fn co_drop(QIOChannel *ioc, uint32_t len, Error **errp)
{
    uint8_t buf[4096];
    while (len) {
        uint32_t n = MIN(len, sizeof(buf));
        if (qio_channel_co_read_all(ioc, buf, n, errp) <= 0) {
            return false;
        }
        len -= n;
    }
    return true;
}

static Outcome coroutine_fn co_next_option(Handshake *hs, Error **errp)
{
    uint8_t header[OPTION_HEADER_SIZE];
    int ret = qio_channel_co_read_all(hs->ioc, header, sizeof(header), errp);
    if (ret <= 0) {
        return ret < 0 ? OUTCOME_FAILED : OUTCOME_CLOSE;
    }
    hs->option = ldl_be_p(header + 8);
    hs->len = ldl_be_p(header + 12);
    if (ldq_be_p(header) != NBD_OPTS_MAGIC || hs->len > MAX_DROPPED_OPTION ||
        (!hs->is_fixed && hs->option != NBD_OPT_EXPORT_NAME)) {
        error_setg(errp, "the client sent no valid option");
        return OUTCOME_FAILED;
    }
    if (hs->len > NBD_MAX_OPTION_SIZE) {
        if (hs->option == NBD_OPT_EXPORT_NAME) {
            error_setg(errp, "the client sent an export name that is too long");
            return OUTCOME_FAILED;
        }
        if (!co_drop(hs->ioc, hs->len, errp)) {
            return OUTCOME_CLOSE;
        }
        return handshake_co_reply_error(hs, NBD_REP_ERR_TOO_BIG, errp, "option is too long");
    }
    g_autofree uint8_t *data = g_malloc0(hs->len + 1);
    if (hs->len && qio_channel_co_read_all(hs->ioc, data, hs->len, errp) <= 0) {
        return OUTCOME_CLOSE;
    }
    hs->data = data;
    return co_answer(hs, errp);
}

static bool coroutine_fn co_greet(Handshake *hs, Error **errp)
{
    uint8_t greeting[18], answer[4];
    stq_be_p(greeting, NBD_INIT_MAGIC);
    stq_be_p(greeting + 8, NBD_OPTS_MAGIC);
    stw_be_p(greeting + 16, NBD_FLAG_FIXED_NEWSTYLE | NBD_FLAG_NO_ZEROES);
    if (qio_channel_co_write_all(hs->ioc, greeting, sizeof(greeting), errp) < 0) {
        return false;
    }
    if (qio_channel_co_read_all(hs->ioc, answer, sizeof(answer), errp) <= 0) {
        return false;
    }
    uint32_t flags = ldl_be_p(answer);
    if (flags & ~(NBD_FLAG_FIXED_NEWSTYLE | NBD_FLAG_NO_ZEROES)) {
        error_setg(errp, "the client asked for flags that are unknown: 0x%" PRIx32, flags);
        return false;
    }
    hs->is_fixed = flags & NBD_FLAG_FIXED_NEWSTYLE;
    hs->no_zeroes = flags & NBD_FLAG_NO_ZEROES;
    return true;
}

static int coroutine_fn co_shake_hands(Handshake *hs, Error **errp)
{
    Error *local_err = NULL;
    Outcome outcome = OUTCOME_NEXT;
    if (!co_greet(hs, &local_err)) {
        int ret = local_err ? -1 : 0;
        error_propagate(errp, local_err);
        return ret;
    }
    for (int n = 0; n < MAX_OPTIONS && outcome == OUTCOME_NEXT; n++) {
        outcome = co_next_option(hs, &local_err);
    }
    if (outcome == OUTCOME_NEXT) {
        error_setg(&local_err, "the client sends options without end");
    }
    if (local_err) {
        error_propagate(errp, local_err);
        return -1;
    }
    return outcome == OUTCOME_ENTERED ? 1 : 0;
}

int coroutine_fn nbd_server_co_handshake(QIOChannel *ioc, const NbdServerOps *ops, void *opaque,
                                         NbdSession *session, Error **errp)
{
    Handshake hs = { .ioc = ioc, .ops = ops, .opaque = opaque, .session = session };
    int ret;

    *session = (NbdSession) { .contexts = g_array_new(FALSE, FALSE, sizeof(uint32_t)) };
    ret = co_shake_hands(&hs, errp);
    g_free(hs.context_export);
    return ret;
}

void nbd_session_clear(NbdSession *session)
{
    if (session->contexts) {
        g_array_unref(g_steal_pointer(&session->contexts));
    }
}
