/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The server's handshake against good clients and random ones, and requests as bytes.
 */
#include "qemu/osdep.h"

#include <sys/socket.h>

#include "block/nbd.h"
#include "qemu/bswap.h"
#include "qemu/main-loop.h"
#include "../../lib/testlib.h"

#define EXPORT_SIZE UINT64_C(0x123456789a00)

typedef struct Session {
    QIOChannel *server;
    int client_fd;
    bool entered;
    int result;
    bool structured;
    uint32_t contexts[4], n_contexts; /* selected in the end */
} Session;

static bool find_export(void *opaque, const char *name, bool enter, NbdExportInfo *info)
{
    Session *session = opaque;
    if (strcmp(name, "disk") != 0) {
        return false;
    }
    *info = (NbdExportInfo) {
        .description = "a disk",
        .size = EXPORT_SIZE,
        .flags = NBD_FLAG_HAS_FLAGS,
        .min_block = 512,
    };
    session->entered |= enter;
    return true;
}

static bool list_exports(void *opaque, unsigned n, const char **name, const char **description)
{
    *name = "disk";
    *description = NULL;
    return n == 0;
}

/* Number 1 is not in use. */
static uint32_t count_contexts(void *opaque, const char *name)
{
    g_assert_cmpstr(name, ==, "disk");
    return 4;
}

static char *name_context(void *opaque, const char *name, uint32_t id)
{
    static const char *const names[] = { NBD_META_ALLOCATION, NULL, NBD_META_BITMAP "a",
                                         NBD_META_BITMAP "b:c" };

    return g_strdup(names[id]);
}

static const NbdServerOps ops = {
    .find = find_export,
    .list = list_exports,
    .n_contexts = count_contexts,
    .context = name_context,
};

static void coroutine_fn handshake_entry(void *opaque)
{
    Session *session = opaque;
    NbdSession agreed;
    session->result = nbd_server_co_handshake(session->server, &ops, session, &agreed, NULL);
    session->structured = agreed.structured;
    session->n_contexts = agreed.contexts->len;
    g_assert_cmpint(session->n_contexts, <=, 4);
    for (unsigned i = 0; i < agreed.contexts->len; i++) {
        session->contexts[i] = g_array_index(agreed.contexts, uint32_t, i);
    }
    nbd_session_clear(&agreed);
}

/* What the server answers to a client that sends @data and then no more; *@len bytes. */
static uint8_t *run_session(Session *session, const void *data, size_t size, size_t *len)
{
    int fds[2];
    GByteArray *answer = g_byte_array_new();
    uint8_t buf[4096];
    ssize_t n;
    g_assert_cmpint(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), ==, 0);
    g_assert_cmpint(write(fds[1], data, size), ==, size);
    shutdown(fds[1], SHUT_WR);
    *session = (Session) { .server = qio_channel_socket_new_fd(fds[0]) };
    co_run(handshake_entry, session);
    qio_channel_close(session->server);
    qio_channel_unref(session->server);
    while ((n = read(fds[1], buf, sizeof(buf))) > 0) {
        g_byte_array_append(answer, buf, n);
    }
    close(fds[1]);
    *len = answer->len;
    return g_byte_array_free(answer, FALSE);
}

static void put_option(GByteArray *out, uint32_t option, const void *data, uint32_t len)
{
    uint8_t header[16];
    stq_be_p(header, NBD_OPTS_MAGIC);
    stl_be_p(header + 8, option);
    stl_be_p(header + 12, len);
    g_byte_array_append(out, header, sizeof(header));
    g_byte_array_append(out, data, len);
}

static GByteArray *client_start(void)
{
    static const uint8_t flags[4] = { 0, 0, 0, 3 };
    return g_byte_array_append(g_byte_array_new(), flags, sizeof(flags));
}

static const uint8_t go_disk[] = { 0, 0, 0, 4, 'd', 'i', 's', 'k', 0, 0 };

static void test_go(void)
{
    g_autoptr(GByteArray) client = client_start();
    Session session;
    size_t len;
    put_option(client, NBD_OPT_GO, go_disk, sizeof(go_disk));
    g_autofree uint8_t *answer = run_session(&session, client->data, client->len, &len);
    g_assert_cmpint(session.result, ==, 1);
    g_assert_true(session.entered);
    g_assert_cmpint(len, ==, 18 + (20 + 2 + 6) + (20 + 14) + (20 + 12) + 20);
    g_assert_cmphex(ldq_be_p(answer), ==, NBD_INIT_MAGIC);
    const uint8_t *info = answer + 18 + 28 + 34 + 20;
    g_assert_cmpint(lduw_be_p(info), ==, NBD_INFO_EXPORT);
    g_assert_cmphex(ldq_be_p(info + 2), ==, EXPORT_SIZE);
}

static void test_info_does_not_enter(void)
{
    g_autoptr(GByteArray) client = client_start();
    Session session;
    size_t len;
    put_option(client, NBD_OPT_INFO, go_disk, sizeof(go_disk));
    g_free(run_session(&session, client->data, client->len, &len));
    g_assert_cmpint(session.result, ==, 0);
    g_assert_false(session.entered);
}

/* LIST or SET for the disk, @n queries. */
static void put_meta_option(GByteArray *out, uint32_t option, unsigned n,
                            const char *const *queries)
{
    g_autoptr(GByteArray) data = g_byte_array_new();
    uint8_t word[4];
    g_byte_array_append(data, go_disk, 8);
    stl_be_p(word, n);
    g_byte_array_append(data, word, 4);
    for (unsigned i = 0; i < n; i++) {
        stl_be_p(word, strlen(queries[i]));
        g_byte_array_append(data, word, 4);
        g_byte_array_append(data, (const uint8_t *)queries[i], strlen(queries[i]));
    }
    put_option(out, option, data->data, data->len);
}

/* Of each reply after the greeting: "TYPE" or, of contexts, "ID=NAME"; separated by spaces. */
static char *replies_text(const uint8_t *answer, size_t len)
{
    GString *text = g_string_new("");
    for (size_t at = 18; at < len; ) {
        uint32_t type = ldl_be_p(answer + at + 12), size = ldl_be_p(answer + at + 16);
        if (type == NBD_REP_META_CONTEXT) {
            g_string_append_printf(text, "%u=%.*s ", (unsigned)ldl_be_p(answer + at + 20), size - 4,
                                   (const char *)answer + at + 24);
        } else {
            g_string_append_printf(text, "%x ", type);
        }
        at += 20 + size;
    }
    return g_string_free(text, FALSE);
}

static void check_contexts(uint32_t option, unsigned n, const char *const *queries,
                           const char *expected)
{
    g_autoptr(GByteArray) client = client_start();
    Session session;
    size_t len;
    put_option(client, NBD_OPT_STRUCTURED_REPLY, "", 0);
    put_meta_option(client, option, n, queries);
    g_autofree uint8_t *answer = run_session(&session, client->data, client->len, &len);
    g_autofree char *text = replies_text(answer, len);
    g_assert_true(session.structured);
    g_assert_cmpstr(text, ==, expected);
}

#define BOTH_BITMAPS "0=qemu:dirty-bitmap:a 0=qemu:dirty-bitmap:b:c "

static void test_contexts_listed(void)
{
    static const char *const wild[] = { "qemu:dirty-bitmap:" }, *const base[] = { "base:" };
    static const char *const some[] = { "x", "qemu:dirty-bitmap:b:c", "base:allocation", "" };
    static const char *const no[] = { "qemu:dirty-bitmap:b:", "base:allocation:", "qemu" };
    check_contexts(NBD_OPT_LIST_META_CONTEXT, 0, NULL, "1 0=base:allocation " BOTH_BITMAPS "1 ");
    check_contexts(NBD_OPT_LIST_META_CONTEXT, 1, wild, "1 " BOTH_BITMAPS "1 ");
    check_contexts(NBD_OPT_LIST_META_CONTEXT, 1, base, "1 0=base:allocation 1 ");
    check_contexts(NBD_OPT_LIST_META_CONTEXT, 4, some,
                   "1 0=base:allocation 0=qemu:dirty-bitmap:b:c 1 ");
    check_contexts(NBD_OPT_LIST_META_CONTEXT, 3, no, "1 1 ");
    /* No wildcards here. */
    check_contexts(NBD_OPT_SET_META_CONTEXT, 0, NULL, "1 1 ");
    check_contexts(NBD_OPT_SET_META_CONTEXT, 1, wild, "1 1 ");
    check_contexts(NBD_OPT_SET_META_CONTEXT, 4, some,
                   "1 0=base:allocation 3=qemu:dirty-bitmap:b:c 1 ");
}

static void test_contexts_selected(void)
{
    static const char *const bitmap[] = { "qemu:dirty-bitmap:b:c", "base:allocation" };
    Session session;
    size_t len;
    /* The last selection counts, also a bad one; one that comes too early does not. */
    for (int variant = 0; variant < 4; variant++) {
        g_autoptr(GByteArray) client = client_start();
        if (variant == 1) {
            put_meta_option(client, NBD_OPT_SET_META_CONTEXT, 2, bitmap);
        }
        put_option(client, NBD_OPT_STRUCTURED_REPLY, "", 0);
        if (variant != 1) {
            put_meta_option(client, NBD_OPT_SET_META_CONTEXT, 2, bitmap);
        }
        if (variant == 2) {
            put_option(client, NBD_OPT_SET_META_CONTEXT, "nonsense", 8);
        }
        if (variant == 3) {
            put_meta_option(client, NBD_OPT_SET_META_CONTEXT, 1, bitmap);
        }
        put_option(client, NBD_OPT_GO, go_disk, sizeof(go_disk));
        g_free(run_session(&session, client->data, client->len, &len));
        g_assert_true(session.entered);
        g_assert_cmpint(session.n_contexts, ==, variant == 0 ? 2 : variant == 3 ? 1 : 0);
        g_assert_cmpint(session.contexts[0], ==, variant == 0 ? 0 : session.contexts[0]);
    }
    g_assert_cmpint(session.contexts[0], ==, 3);
}

static void test_structured_once(void)
{
    g_autoptr(GByteArray) client = client_start();
    Session session;
    size_t len;
    put_option(client, NBD_OPT_STRUCTURED_REPLY, "x", 1);
    put_option(client, NBD_OPT_STRUCTURED_REPLY, "", 0);
    put_option(client, NBD_OPT_STRUCTURED_REPLY, "", 0);
    g_autofree uint8_t *answer = run_session(&session, client->data, client->len, &len);
    g_autofree char *text = replies_text(answer, len);
    g_assert_cmpstr(text, ==, "80000003 1 80000003 ");
}

static void test_cut_anywhere(void)
{
    static const char *const query[] = { "base:allocation" };
    g_autoptr(GByteArray) client = client_start();
    put_option(client, NBD_OPT_LIST, "", 0);
    put_option(client, NBD_OPT_STRUCTURED_REPLY, "", 0);
    put_meta_option(client, NBD_OPT_SET_META_CONTEXT, 1, query);
    put_option(client, NBD_OPT_GO, go_disk, sizeof(go_disk));
    for (size_t cut = 0; cut < client->len; cut++) {
        Session session;
        size_t len;
        g_free(run_session(&session, client->data, cut, &len));
        g_assert_cmpint(session.result, <=, 0);
        g_assert_false(session.entered);
    }
}

/* After the greeting there are whole replies to options, and nothing else. */
static void check_replies(const uint8_t *p, size_t len)
{
    while (len) {
        g_assert_cmpint(len, >=, 20);
        g_assert_cmphex(ldq_be_p(p), ==, NBD_REP_MAGIC);
        uint32_t size = ldl_be_p(p + 16);
        g_assert_cmpint(size, <=, NBD_MAX_STRING_SIZE + 16);
        g_assert_cmpint(len, >=, 20 + size);
        p += 20 + size;
        len -= 20 + size;
    }
}

static void put_random_option(GByteArray *client)
{
    static const uint32_t options[] = { 0, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 0xffffffff };
    uint8_t data[40];
    uint32_t len = g_test_rand_int_range(0, sizeof(data));
    for (uint32_t i = 0; i < len; i++) {
        data[i] = g_test_rand_int_range(0, 4) ? 0 : g_test_rand_int();
    }
    if (g_test_rand_bit()) {
        memcpy(data, go_disk, sizeof(go_disk));
        data[g_test_rand_int_range(0, sizeof(go_disk))] ^= g_test_rand_int_range(0, 3);
        len = MAX(len, sizeof(go_disk));
    }
    put_option(client, options[g_test_rand_int_range(0, ARRAY_SIZE(options))], data, len);
}

static void test_random(void)
{
    for (int round = 0; round < 1000; round++) {
        g_autoptr(GByteArray) client = client_start();
        Session session;
        size_t len;
        for (int n = g_test_rand_int_range(1, 10); n; n--) {
            put_random_option(client);
        }
        if (g_test_rand_int_range(0, 4) == 0) {
            client->data[g_test_rand_int_range(0, client->len)] = g_test_rand_int();
        }
        g_autofree uint8_t *answer = run_session(&session, client->data, client->len, &len);
        g_assert_cmpint(len, >=, 18);
        if (session.result >= 0) {
            check_replies(answer + 18, len - 18);
        }
    }
}

static void test_request(void)
{
    uint8_t buf[NBD_REQUEST_SIZE] = {
        0x25, 0x60, 0x95, 0x13, 0, 1, 0, 4, 1, 2, 3, 4, 5, 6, 7, 8,
        0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x80, 0, 0, 1,
    };
    NbdRequest req;
    g_assert_true(nbd_request_unpack(buf, &req));
    g_assert_cmpint(req.flags, ==, NBD_CMD_FLAG_FUA);
    g_assert_cmpint(req.type, ==, NBD_CMD_TRIM);
    g_assert_cmphex(req.cookie, ==, UINT64_C(0x0102030405060708));
    g_assert_cmphex(req.from, ==, UINT64_MAX);
    g_assert_cmphex(req.len, ==, UINT32_C(0x80000001));
    buf[0] = 0;
    g_assert_false(nbd_request_unpack(buf, &req));
}

static void test_errno(void)
{
    static const int pairs[][2] = {
        { 0, 0 }, { EPERM, 1 }, { EROFS, 1 }, { EIO, 5 }, { ENOMEM, 12 }, { ENOSPC, 28 },
        { EFBIG, 28 }, { EINVAL, 22 }, { ENOMEDIUM, 22 }, { ENOTSUP, 95 }, { ESHUTDOWN, 108 },
    };
    for (size_t i = 0; i < ARRAY_SIZE(pairs); i++) {
        g_assert_cmpint(nbd_errno_to_wire(pairs[i][0]), ==, pairs[i][1]);
    }
}

int main(int argc, char **argv)
{
    test_init(&argc, &argv);
    qemu_init_main_loop(&error_abort);
    g_test_add_func("/nbd/handshake/go-enters", test_go);
    g_test_add_func("/nbd/handshake/info-does-not-enter", test_info_does_not_enter);
    g_test_add_func("/nbd/handshake/client-leaves-anywhere", test_cut_anywhere);
    g_test_add_func("/nbd/handshake/random-options-get-whole-replies", test_random);
    g_test_add_func("/nbd/handshake/contexts-are-listed", test_contexts_listed);
    g_test_add_func("/nbd/handshake/contexts-are-selected", test_contexts_selected);
    g_test_add_func("/nbd/handshake/structured-replies-once", test_structured_once);
    g_test_add_func("/nbd/wire/request-is-unpacked", test_request);
    g_test_add_func("/nbd/wire/errno-is-mapped", test_errno);
    return g_test_run();
}
