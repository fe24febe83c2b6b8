/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Meta contexts: what a client may ask the status of blocks about, and what it selected.
 */
#include "qemu/osdep.h"

#include "handshake-int.h"
#include "qemu/bswap.h"

/* What an option asks for. */
typedef struct Queries {
    char *export;
    GHashTable *names; /* set of char * */
    uint32_t count;
} Queries;

static void queries_clear(Queries *queries)
{
    g_free(queries->export);
    if (queries->names) {
        g_hash_table_unref(queries->names);
    }
}
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(Queries, queries_clear)

/* Take a string with its length before it from *@p; NULL if it is none. */
static char *take_string(const uint8_t **p, const uint8_t *end)
{
    uint32_t len;
    char *text;

    if (end - *p < 4) {
        return NULL;
    }
    len = ldl_be_p(*p);
    if (len > NBD_MAX_STRING_SIZE || len > end - *p - 4 || memchr(*p + 4, 0, len)) {
        return NULL;
    }
    text = g_strndup((const char *)*p + 4, len);
    *p += 4 + len;
    return text;
}

/* False if the data is malformed. */
static bool parse_queries(const Handshake *hs, Queries *queries)
{
    const uint8_t *p = hs->data, *end = p + hs->len;

    queries->names = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);
    queries->export = take_string(&p, end);
    if (!queries->export || end - p < 4) {
        return false;
    }
    queries->count = ldl_be_p(p);
    p += 4;
    for (uint32_t i = 0; i < queries->count; i++) {
        char *name = take_string(&p, end);

        if (!name) {
            return false;
        }
        g_hash_table_add(queries->names, name);
    }
    return p == end;
}

/* Only lists know wildcards: no query at all, or a prefix that ends with a colon. */
static bool is_wanted(const Queries *queries, const char *name, bool is_list)
{
    static const char *const wildcards[] = { "base:", "qemu:", NBD_META_BITMAP };

    if (g_hash_table_contains(queries->names, name) || (is_list && !queries->count)) {
        return true;
    }
    if (!is_list) {
        return false;
    }
    for (size_t i = 0; i < ARRAY_SIZE(wildcards); i++) {
        if (g_str_has_prefix(name, wildcards[i]) &&
            g_hash_table_contains(queries->names, wildcards[i])) {
            return true;
        }
    }
    return false;
}

void handshake_forget_contexts(Handshake *hs)
{
    g_free(g_steal_pointer(&hs->context_export));
    if (hs->session->contexts) {
        g_array_set_size(hs->session->contexts, 0);
    }
}

static bool coroutine_fn co_tell_context(Handshake *hs, uint32_t id, const char *name,
                                         Error **errp)
{
    size_t len = strlen(name);
    g_autofree uint8_t *buf = g_malloc(4 + len);

    stl_be_p(buf, id);
    memcpy(buf + 4, name, len);
    return handshake_co_reply(hs, NBD_REP_META_CONTEXT, buf, 4 + len, errp) == OUTCOME_NEXT;
}

Outcome coroutine_fn handshake_co_meta_context(Handshake *hs, Error **errp)
{
    bool is_list = hs->option == NBD_OPT_LIST_META_CONTEXT;
    g_auto(Queries) queries = { 0 };
    NbdExportInfo info;

    if (!is_list) {
        handshake_forget_contexts(hs);
    }
    if (!is_list && !hs->session->structured) {
        return handshake_co_reply_error(hs, NBD_REP_ERR_INVALID, errp, "request option 'set meta "
                                        "context' when structured reply is not negotiated");
    }
    if (!parse_queries(hs, &queries)) {
        return handshake_co_reply_error(hs, NBD_REP_ERR_INVALID, errp,
                                        "malformed data of option '%s meta context'",
                                        is_list ? "list" : "set");
    }
    if (!hs->ops->find(hs->opaque, queries.export, false, &info)) {
        return handshake_co_unknown_export(hs, queries.export, errp);
    }
    for (uint32_t id = 0; id < hs->ops->n_contexts(hs->opaque, queries.export); id++) {
        g_autofree char *name = hs->ops->context(hs->opaque, queries.export, id);

        if (!name || !is_wanted(&queries, name, is_list)) {
            continue;
        }
        if (!is_list) {
            g_array_append_val(hs->session->contexts, id);
        }
        if (!co_tell_context(hs, is_list ? 0 : id, name, errp)) {
            return OUTCOME_FAILED;
        }
    }
    if (!is_list) {
        hs->context_export = g_strdup(queries.export);
    }
    return handshake_co_reply(hs, NBD_REP_ACK, NULL, 0, errp);
}
