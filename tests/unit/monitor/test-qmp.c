/* SPDX-License-Identifier: GPL-2.0-or-later */
/* QMP sessions over a unix socket, as a client sees them. */
#include "qemu/osdep.h"
#include <sys/socket.h>

#include "../../lib/testlib.h"
#include "../../lib/waituntil.h"
#include "io/channel.h"
#include "io/sockets.h"
#include "monitor/hmp.h"
#include "monitor/monitor.h"
#include "qapi/gen/block-core-events.h"
#include "qapi/gen/control-commands.h"
#include "qapi/gen/introspect-commands.h"
#include "qapi/gen/machine-events.h"
#include "qapi/gen/monitor-commands.h"
#include "qemu/main-loop.h"
#include "qobject/json-parser.h"

#define CAPABILITIES "{\"execute\": \"qmp_capabilities\"}"
#define VERSION "{\"execute\": \"query-version\"}"
#define EMPTY_RETURN "{\"return\": {}}"

/* ---- commands of the test -------------------------------------------------------------------- */

static bool is_quitting;
static QemuCoSleep sleeper;
static int n_entered, n_left;

void coroutine_fn qmp_quit(Error **errp)
{
    is_quitting = true;
}

static void coroutine_fn call_sleep(void *args, void *ret, Error **errp)
{
    g_assert_true(monitor_cur_is_qmp());
    qemu_co_sleep(&sleeper);
    g_assert_true(monitor_cur_is_qmp());
}

static void coroutine_fn call_nothing(void *args, void *ret, Error **errp)
{
    g_assert_cmpint(n_entered, ==, n_left + 1);
}

static void coroutine_fn call_exempt(void *args, void *ret, Error **errp)
{
    g_assert_true(monitor_cur_is_qmp());
}

#define BIG (20 * MiB)

static void coroutine_fn call_big(void *args, void *ret, Error **errp)
{
    *(char **)ret = g_strnfill(BIG, 'x');
}

static const QmpCommand test_commands[] = {
    { "query-big", call_big, NULL, &qapi_type_str, 0 },
    { "query-sleep", call_sleep, NULL, NULL, 0 },
    { "test-nothing", call_nothing, NULL, NULL, 0 },
    { "query-oob", call_exempt, NULL, NULL, QCO_ALLOW_OOB },
    { .name = NULL },
};

static void coroutine_fn hook_enter(void)
{
    n_entered++;
}

static void hook_leave(void)
{
    n_left++;
}

static const MonitorCommandHooks hooks = { hook_enter, hook_leave };

static void coroutine_fn hmp_echo(Monitor *mon, const QDict *args)
{
    g_assert_true(monitor_cur() == mon);
    monitor_printf(mon, "%s\n", qdict_get_str(args, "text"));
    error_report("reported");
}

static const HMPCommand hmp_commands[] = {
    { "echo", "text:S", "text", "say it again", hmp_echo, false },
    { .name = NULL },
};

/* ---- a client -------------------------------------------------------------------------------- */

typedef struct Client {
    char *path;
    int fd;
    GString *in;
} Client;

static void client_connect(Client *c)
{
    g_autofree char *text = g_strconcat("unix:", c->path, NULL);
    g_autoptr(SocketAddress) addr = socket_parse(text, &error_abort);

    c->fd = socket_connect(addr, &error_abort);
    fcntl(c->fd, F_SETFL, O_NONBLOCK);
    g_string_truncate(c->in, 0);
}

/* A session of its own, and a client connected to it. */
static Client client_new(const char *name, bool pretty)
{
    Client c = { .path = test_tmpfile(name), .in = g_string_new(NULL) };
    g_autofree char *text = g_strdup_printf("socket,id=%s,path=%s,server=on,wait=off", name,
                                            c.path);
    Chardev *chr = chardev_new_from_opts(text, &error_abort);

    g_assert_true(monitor_new_qmp(chr, pretty, &error_abort));
    client_connect(&c);
    return c;
}

static void client_done(Client *c)
{
    if (c->fd >= 0) {
        close(c->fd);
    }
    g_string_free(c->in, TRUE);
    g_free(c->path);
}

static bool client_read(Client *c)
{
    char buf[65536];
    ssize_t ret = read(c->fd, buf, sizeof(buf));

    if (ret > 0) {
        g_string_append_len(c->in, buf, ret);
    }
    return ret != 0;
}

static void client_send(Client *c, const char *text)
{
    size_t len = strlen(text);

    while (len) {
        ssize_t ret = send(c->fd, text, len, MSG_NOSIGNAL);

        if (ret < 0) {
            g_assert_cmpint(errno, ==, EAGAIN);
            client_read(c);
            aio_poll(qemu_get_aio_context(), false);
            continue;
        }
        text += ret;
        len -= ret;
    }
}

/* The next line, without its end. */
static char *client_line(Client *c)
{
    char *end, *line;

    wait_until((client_read(c), strstr(c->in->str, "\r\n")));
    end = strstr(c->in->str, "\r\n");
    line = g_strndup(c->in->str, end - c->in->str);
    g_string_erase(c->in, 0, end - c->in->str + 2);
    return line;
}

static void assert_line(Client *c, const char *expected)
{
    g_autofree char *line = client_line(c);

    g_assert_cmpstr(line, ==, expected);
}

static void assert_reply(Client *c, const char *request, const char *expected)
{
    client_send(c, request);
    client_send(c, "\n");
    assert_line(c, expected);
}

static void assert_error(Client *c, const char *request, const char *class, const char *desc)
{
    g_autofree char *expected =
        g_strdup_printf("{\"error\": {\"class\": \"%s\", \"desc\": \"%s\"}}", class, desc);

    assert_reply(c, request, expected);
}

static void client_negotiate(Client *c)
{
    g_autofree char *greeting = client_line(c);

    g_assert_true(g_str_has_prefix(greeting, "{\"QMP\": {\"version\": {\"qemu\": {"));
    g_assert_true(g_str_has_suffix(greeting, "\"capabilities\": [\"oob\"]}}"));
    assert_reply(c, CAPABILITIES, EMPTY_RETURN);
}

/* ---- negotiation ----------------------------------------------------------------------------- */

static void test_negotiation(void)
{
    Client c = client_new("negotiation", false);
    g_autofree char *greeting = client_line(&c);

    assert_error(&c, VERSION, "CommandNotFound",
                 "Expecting capabilities negotiation with 'qmp_capabilities'");
    assert_error(&c, "{\"execute\": \"qmp_capabilities\", \"arguments\": {\"enable\": [\"x\"]}}",
                 "GenericError", "Parameter 'null' does not accept value 'x'");
    assert_reply(&c, CAPABILITIES, EMPTY_RETURN);
    assert_error(&c, CAPABILITIES, "CommandNotFound",
                 "Capabilities negotiation is already complete, command ignored");
    assert_error(&c, "{\"exec-oob\": \"query-version\"}", "GenericError",
                 "QMP input member 'exec-oob' is unexpected");
    client_done(&c);
}

static void test_reconnect_negotiates_again(void)
{
    Client c = client_new("again", false);

    client_negotiate(&c);
    /* Half a command must not be glued to what the next client sends. */
    client_send(&c, "{\"execute\": ");
    close(c.fd);
    client_connect(&c);
    client_negotiate(&c);
    assert_error(&c, "{\"execute\": \"nosuch\"}", "CommandNotFound",
                 "The command nosuch has not been found");
    client_done(&c);
}

/* ---- commands -------------------------------------------------------------------------------- */

static void test_bad_requests(void)
{
    Client c = client_new("bad", false);

    client_negotiate(&c);
    assert_error(&c, "[]", "GenericError", "QMP input must be a JSON object");
    assert_error(&c, "{\"foo\": 1}", "GenericError", "QMP input member 'foo' is unexpected");
    assert_error(&c, "{\"execute\": 17}", "GenericError",
                 "QMP input member 'execute' must be a string");
    assert_error(&c, "{\"execute\":}", "GenericError", "JSON parse error, expecting value");
    assert_error(&c, "}", "GenericError", "JSON parse error, expecting value");
    assert_error(&c, "{\"execute\": \"getfd\", \"arguments\": {}}", "GenericError",
                 "Parameter 'fdname' is missing");
    assert_error(&c, "{\"execute\": \"query-version\", \"arguments\": {\"x\": 1}}", "GenericError",
                 "Parameter 'x' is unexpected");
    client_send(&c, VERSION "\n");
    g_free(client_line(&c));
    client_done(&c);
}

static void negotiate_oob(Client *c)
{
    g_free(client_line(c));
    assert_reply(c, "{\"execute\": \"qmp_capabilities\", \"arguments\": {\"enable\": [\"oob\"]}}",
                 EMPTY_RETURN);
}

static void test_oob_overtakes(void)
{
    Client c = client_new("oob", false);

    negotiate_oob(&c);
    client_send(&c, "{\"execute\": \"query-sleep\"}{\"execute\": \"test-nothing\", \"id\": 1}");
    wait_until(sleeper.to_wake);
    for (int i = 0; i < 3; i++) {
        assert_reply(&c, "{\"exec-oob\": \"query-oob\", \"id\": 2}", "{\"return\": {}, \"id\": 2}");
    }
    assert_error(&c, "{\"exec-oob\": \"test-nothing\"}", "GenericError",
                 "The command test-nothing does not support OOB");
    assert_error(&c, "{\"exec-oob\": \"nosuch\"}", "CommandNotFound",
                 "The command nosuch has not been found");
    qemu_co_sleep_wake(&sleeper);
    assert_line(&c, EMPTY_RETURN);
    assert_line(&c, "{\"return\": {}, \"id\": 1}");
    client_done(&c);
}

/* What is sent ahead is bounded, nothing is lost, and order is kept in band. */
static void test_oob_floods(void)
{
    Client c = client_new("oobflood", false);
    g_autoptr(GString) all = g_string_new(NULL);
    int n_oob = 0, n_in_band = 0;

    negotiate_oob(&c);
    for (int i = 0; i < 2000; i++) {
        g_string_append_printf(all, "{\"execute\": \"test-nothing\", \"id\": %d}"
                               "{\"exec-oob\": \"query-oob\", \"id\": \"o\"}", i);
    }
    client_send(&c, all->str);
    while (n_oob + n_in_band < 4000) {
        g_autofree char *line = client_line(&c);
        g_autofree char *in_band = g_strdup_printf("{\"return\": {}, \"id\": %d}", n_in_band);

        if (strcmp(line, "{\"return\": {}, \"id\": \"o\"}") == 0) {
            n_oob++;
        } else {
            g_assert_cmpstr(line, ==, in_band);
            n_in_band++;
        }
    }
    g_assert_cmpint(n_oob, ==, 2000);
    client_done(&c);
}

/* The next client starts without it. */
static void test_oob_ends_with_the_connection(void)
{
    Client c = client_new("oobend", false);

    negotiate_oob(&c);
    client_send(&c, "{\"execute\": \"query-sleep\"}");
    wait_until(sleeper.to_wake);
    client_send(&c, "{\"exec-oob\": \"query-oob\"}");
    close(c.fd);
    client_connect(&c);
    qemu_co_sleep_wake(&sleeper);
    client_negotiate(&c);
    assert_error(&c, "{\"exec-oob\": \"query-oob\"}", "GenericError",
                 "QMP input member 'exec-oob' is unexpected");
    client_done(&c);
}

static void test_id(void)
{
    Client c = client_new("id", false);

    client_negotiate(&c);
    assert_reply(&c, "{\"execute\": \"test-nothing\", \"id\": {\"x\": [1]}}",
                 "{\"return\": {}, \"id\": {\"x\": [1]}}");
    client_done(&c);
}

static void test_pretty(void)
{
    Client c = client_new("pretty", true);
    g_autofree char *first = client_line(&c);

    g_assert_cmpstr(first, ==, "{");
    client_done(&c);
}

static void test_pipelined(void)
{
    Client c = client_new("pipelined", false);
    g_autoptr(GString) all = g_string_new(NULL);

    client_negotiate(&c);
    for (int i = 0; i < 5000; i++) {
        g_string_append_printf(all, "{\"execute\": \"test-nothing\", \"id\": %d}", i);
    }
    client_send(&c, all->str);
    for (int i = 0; i < 5000; i++) {
        g_autofree char *expected = g_strdup_printf("{\"return\": {}, \"id\": %d}", i);

        assert_line(&c, expected);
    }
    client_done(&c);
}

static void test_half_close(void)
{
    Client c = client_new("half", false);
    int n = 0;

    client_negotiate(&c);
    client_send(&c, "{\"execute\": \"query-sleep\"}");
    for (int i = 0; i < 100; i++) {
        client_send(&c, VERSION);
    }
    shutdown(c.fd, SHUT_WR);
    wait_until(sleeper.to_wake);
    qemu_co_sleep_wake(&sleeper);
    wait_until(!client_read(&c));
    for (const char *p = c.in->str; (p = strstr(p, "\"return\"")); p++) {
        n++;
    }
    g_assert_cmpint(n, ==, 101);
    client_done(&c);
}

static void test_sessions_are_independent(void)
{
    Client a = client_new("slow", false);
    Client b = client_new("quick", false);

    client_negotiate(&a);
    client_negotiate(&b);
    client_send(&a, "{\"execute\": \"query-sleep\"}{\"execute\": \"test-nothing\", \"id\": 2}");
    wait_until(sleeper.to_wake);
    assert_reply(&b, "{\"execute\": \"test-nothing\", \"id\": 1}", "{\"return\": {}, \"id\": 1}");
    g_assert_cmpuint(a.in->len, ==, 0);
    qemu_co_sleep_wake(&sleeper);
    assert_line(&a, EMPTY_RETURN);
    assert_line(&a, "{\"return\": {}, \"id\": 2}");
    client_done(&a);
    client_done(&b);
}

static void test_client_gone(void)
{
    Client c = client_new("gone", false);

    client_negotiate(&c);
    client_send(&c, "{\"execute\": \"query-sleep\", \"id\": \"old\"}");
    wait_until(sleeper.to_wake);
    /* Gone while its command runs, and noticed because an event cannot be delivered. */
    close(c.fd);
    qapi_event_send_stop();
    client_connect(&c);
    wait_until((client_read(&c), strstr(c.in->str, "QMP")));
    qemu_co_sleep_wake(&sleeper);
    /* The new client gets its own replies, never that of the old one. */
    client_negotiate(&c);
    assert_reply(&c, "{\"execute\": \"test-nothing\", \"id\": \"new\"}",
                 "{\"return\": {}, \"id\": \"new\"}");
    client_done(&c);
}

static void test_unread_replies_are_bounded(void)
{
    Client c = client_new("unread", false);
    int n = 0;

    client_negotiate(&c);
    /* Far more than is kept for a client that does not read. */
    for (int i = 0; i < 1000; i++) {
        client_send(&c, "{\"execute\":\"query-qmp-schema\"}");
    }
    for (int i = 0; i < 1000; i++) {
        g_free(client_line(&c));
        n++;
    }
    g_assert_cmpint(n, ==, 1000);
    client_done(&c);
}

static void test_big_reply(void)
{
    Client c = client_new("big", false);

    client_negotiate(&c);
    client_send(&c, "{\"execute\":\"query-big\"}");
    /* An event behind a reply that is still on its way is no reason to hang up. */
    wait_until((client_read(&c), c.in->len));
    qapi_event_send_resume();
    wait_until((client_read(&c), g_str_has_suffix(c.in->str, "\"RESUME\"}\r\n")));
    g_assert_cmpuint(c.in->len, >, BIG);
    client_done(&c);
}

static void test_hooks(void)
{
    Client c = client_new("hooks", false);

    client_negotiate(&c);
    n_entered = n_left = 0;
    assert_reply(&c, "{\"execute\": \"test-nothing\"}", EMPTY_RETURN);
    g_assert_cmpint(n_entered, ==, 1);
    g_assert_cmpint(n_left, ==, 1);
    client_send(&c, VERSION);
    g_free(client_line(&c));
    g_assert_cmpint(n_entered, ==, 1);
    client_done(&c);
}

static void test_quit(void)
{
    Client c = client_new("quit", false);

    client_negotiate(&c);
    assert_reply(&c, "{\"execute\": \"quit\"}", EMPTY_RETURN);
    g_assert_true(is_quitting);
    client_done(&c);
}

/* ---- events ---------------------------------------------------------------------------------- */

static void *send_events(void *opaque)
{
    for (int i = 0; i < 100; i++) {
        qapi_event_send_resume();
    }
    return NULL;
}

static void test_events(void)
{
    Client c = client_new("events", false);
    Client late = client_new("late", false);
    QemuThread thread;

    client_negotiate(&c);
    g_free(client_line(&late));
    qemu_thread_create(&thread, "events", send_events, NULL, QEMU_THREAD_JOINABLE);
    for (int i = 0; i < 100; i++) {
        g_autofree char *line = client_line(&c);
        g_autoptr(QObject) obj = qobject_from_json(line, &error_abort);
        QDict *event = qobject_to(QDict, obj);

        g_assert_cmpstr(qdict_get_str(event, "event"), ==, "RESUME");
        g_assert_cmpint(qdict_get_int(qdict_get_qdict(event, "timestamp"), "seconds"), >, 0);
    }
    qemu_thread_join(&thread);
    /* Nothing for a client that has not negotiated. */
    assert_reply(&late, CAPABILITIES, EMPTY_RETURN);
    client_done(&c);
    client_done(&late);
}

static void send_io_error(const char *path, const char *device)
{
    qapi_event_send_block_io_error(path, device, NULL, IO_OPERATION_TYPE_WRITE,
                                   BLOCK_ERROR_ACTION_REPORT, true, false, "Input/output error");
}

static void assert_io_error(Client *c, const char *device)
{
    g_autofree char *line = client_line(c);
    g_autoptr(QObject) obj = qobject_from_json(line, &error_abort);
    QDict *event = qobject_to(QDict, obj);

    g_assert_cmpstr(qdict_get_str(event, "event"), ==, "BLOCK_IO_ERROR");
    g_assert_cmpstr(qdict_get_str(qdict_get_qdict(event, "data"), "device"), ==, device);
}

static void test_io_errors_are_thinned_out(void)
{
    Client c = client_new("errors", false);

    client_negotiate(&c);
    send_io_error("/one", "first");
    for (int i = 0; i < 1000; i++) {
        send_io_error("/one", "between");
    }
    send_io_error("/one", "last");
    send_io_error("/two", "other");
    assert_io_error(&c, "first");
    assert_io_error(&c, "other");
    assert_io_error(&c, "last");
    client_done(&c);
}

static void test_flood_disconnects(void)
{
    Client c = client_new("flood", false);

    client_negotiate(&c);
    for (int i = 0; i < 400000; i++) {
        qapi_event_send_resume();
    }
    wait_until(!client_read(&c));
    client_connect(&c);
    client_negotiate(&c);
    client_done(&c);
}

/* ---- descriptors ----------------------------------------------------------------------------- */

static void test_descriptors(void)
{
    Client c = client_new("fds", false);
    char first[] = VERSION;
    char second[] = "{\"execute\": \"getfd\", \"arguments\": {\"fdname\": \"a\"}}";
    struct iovec iov[2] = { { first, strlen(first) }, { second, strlen(second) } };
    g_autoptr(QIOChannel) ioc = NULL;
    int fd = open("/dev/null", O_RDONLY);

    client_negotiate(&c);
    ioc = qio_channel_socket_new_fd(dup(c.fd));
    assert_error(&c, second, "GenericError", "No file descriptor supplied via SCM_RIGHTS");
    /* One descriptor with each of two commands sent ahead: the second must get its own. */
    qio_channel_writev(ioc, &iov[0], 1, &fd, 1, &error_abort);
    qio_channel_writev(ioc, &iov[1], 1, &fd, 1, &error_abort);
    g_free(client_line(&c));
    assert_line(&c, EMPTY_RETURN);
    assert_error(&c, second, "GenericError", "No file descriptor supplied via SCM_RIGHTS");
    assert_reply(&c, "{\"execute\": \"closefd\", \"arguments\": {\"fdname\": \"a\"}}",
                 EMPTY_RETURN);
    close(fd);
    client_done(&c);
}

/* ---- the human monitor inside ---------------------------------------------------------------- */

#define HMP(line) "{\"execute\": \"human-monitor-command\", " \
                  "\"arguments\": {\"command-line\": \"" line "\"}}"

static void test_human_monitor_command(void)
{
    Client c = client_new("human", false);

    client_negotiate(&c);
    assert_reply(&c, HMP("echo a b"), "{\"return\": \"a b\\r\\nreported\\r\\n\"}");
    assert_reply(&c, HMP("frob"), "{\"return\": \"unknown command: 'frob'\\r\\n\"}");
    assert_reply(&c, HMP("info frob"), "{\"return\": \"unknown command: 'info frob'\\r\\n\"}");
    assert_reply(&c, HMP(""), "{\"return\": \"\"}");
    client_done(&c);
}

static void test_options(void)
{
    g_autoptr(Error) err = NULL;
    g_autofree char *path = test_tmpfile("opt");
    g_autofree char *text = g_strdup_printf("socket,id=opt,path=%s,server,nowait", path);

    g_assert_false(monitor_parse_mon("nope", false, &err));
    g_assert_cmpstr(error_get_pretty(err), ==, "chardev \"nope\" not found");
    error_free_or_abort(&err);
    chardev_new_from_opts(text, &error_abort);
    g_assert_false(monitor_parse_mon("opt,mode=readline", false, &err));
    g_assert_cmpstr(error_get_pretty(err), ==, "Only QMP is supported");
    error_free_or_abort(&err);
    g_assert_false(monitor_parse_mon("opt,mode=readline,pretty=on", true, &err));
    g_assert_cmpstr(error_get_pretty(err), ==, "'pretty' is not compatible with HMP monitors");
    error_free_or_abort(&err);
    g_assert_true(monitor_parse_mon("chardev=opt,mode=control", true, &error_abort));
    g_assert_false(monitor_parse_mon("opt", false, &err));
    g_assert_cmpstr(error_get_pretty(err), ==, "Device 'opt' is in use");
}

int main(int argc, char **argv)
{
    QmpCommandList *commands;
    int ret;

    test_init(&argc, &argv);
    qemu_init_main_loop(&error_abort);
    commands = qmp_command_list_new();
    qmp_init_control_commands(commands);
    qmp_init_introspect_commands(commands);
    qmp_init_monitor_commands(commands);
    for (const QmpCommand *cmd = test_commands; cmd->name; cmd++) {
        qmp_register_command(commands, cmd);
    }
    monitor_init(commands);
    monitor_set_command_hooks(&hooks);
    hmp_register_commands(hmp_commands);

    g_test_add_func("/qmp/negotiation/comes-first", test_negotiation);
    g_test_add_func("/qmp/negotiation/again-after-reconnect", test_reconnect_negotiates_again);
    g_test_add_func("/qmp/request/bad-ones-get-an-error", test_bad_requests);
    g_test_add_func("/qmp/request/id-comes-back", test_id);
    g_test_add_func("/qmp/oob/overtakes-what-runs", test_oob_overtakes);
    g_test_add_func("/qmp/oob/a-flood-keeps-its-order", test_oob_floods);
    g_test_add_func("/qmp/oob/ends-with-the-connection", test_oob_ends_with_the_connection);
    g_test_add_func("/qmp/request/pipelined", test_pipelined);
    g_test_add_func("/qmp/request/half-closed-client-gets-replies", test_half_close);
    g_test_add_func("/qmp/request/sessions-are-independent", test_sessions_are_independent);
    g_test_add_func("/qmp/request/client-gone-meanwhile", test_client_gone);
    g_test_add_func("/qmp/request/unread-replies-wait", test_unread_replies_are_bounded);
    g_test_add_func("/qmp/request/hooks-surround-commands", test_hooks);
    g_test_add_func("/qmp/request/quit-replies", test_quit);
    g_test_add_func("/qmp/reply/pretty", test_pretty);
    g_test_add_func("/qmp/reply/big", test_big_reply);
    g_test_add_func("/qmp/event/from-another-thread", test_events);
    g_test_add_func("/qmp/event/io-errors-are-thinned-out", test_io_errors_are_thinned_out);
    g_test_add_func("/qmp/event/flood-disconnects", test_flood_disconnects);
    g_test_add_func("/qmp/descriptor/belongs-to-its-command", test_descriptors);
    g_test_add_func("/qmp/human-monitor-command/returns-output", test_human_monitor_command);
    g_test_add_func("/qmp/options/mon", test_options);
    ret = g_test_run();
    monitor_cleanup();
    chardev_cleanup();
    qmp_command_list_free(commands);
    return ret;
}
