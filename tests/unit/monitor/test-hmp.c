/* SPDX-License-Identifier: GPL-2.0-or-later */
/* HMP sessions: line editing, arguments, output. */
#include "qemu/osdep.h"
#include <sys/socket.h>

#include "../../../monitor/readline.h"
#include "../../lib/testlib.h"
#include "../../lib/waituntil.h"
#include "io/sockets.h"
#include "monitor/hmp.h"
#include "monitor/monitor.h"
#include "qemu/main-loop.h"

/* ---- readline -------------------------------------------------------------------------------- */

static void collect(void *opaque, const char *text)
{
    g_string_append(opaque, text);
}

static GPtrArray *complete_colours(void *opaque, const char *text)
{
    static const char *const colours[] = { "black", "blue", "green" };
    GPtrArray *words = g_ptr_array_new_with_free_func(g_free);

    for (size_t i = 0; i < ARRAY_SIZE(colours); i++) {
        if (g_str_has_prefix(colours[i], text)) {
            g_ptr_array_add(words, g_strdup(colours[i]));
        }
    }
    return words;
}

/* The line that comes of typing @keys, which end in a newline. */
static char *type_into(ReadLine *rs, const char *keys)
{
    char *line = NULL;

    readline_start(rs);
    for (; *keys; keys++) {
        g_assert_null(line);
        line = readline_handle_byte(rs, *keys);
    }
    return line;
}

static void assert_typed(ReadLine *rs, const char *keys, const char *expected)
{
    g_autofree char *line = type_into(rs, keys);

    g_assert_cmpstr(line, ==, expected);
}

static void test_editing(void)
{
    g_autoptr(GString) out = g_string_new(NULL);
    g_autoptr(ReadLine) rs = readline_new("> ", collect, NULL, out);

    assert_typed(rs, "plain\r", "plain");
    assert_typed(rs, "abd\033[Dc\n", "abcd");
    assert_typed(rs, "xabc\001\004\n", "abc");
    assert_typed(rs, "abcx\177\n", "abc");
    assert_typed(rs, "one two\027three\n", "one three");
    assert_typed(rs, "gone\025kept\n", "kept");
    assert_typed(rs, "bc\033[Ha\033[Fd\n", "abcd");
    assert_typed(rs, "axb\033[D\033[D\033[3~\n", "ab");
    assert_typed(rs, "ab\001\013c\n", "c");
    assert_typed(rs, "\033[D\033[C\177\004\027\n", "");
    assert_typed(rs, "a\033[99999999999999Xb\n", "ab");
}

static void test_history(void)
{
    g_autoptr(GString) out = g_string_new(NULL);
    g_autoptr(ReadLine) rs = readline_new("> ", collect, NULL, out);

    assert_typed(rs, "\033[A\n", "");
    assert_typed(rs, "first\n", "first");
    assert_typed(rs, "second\n", "second");
    assert_typed(rs, "\033[A\033[A\n", "first");
    assert_typed(rs, "\033[A\033[A\n", "second");
    assert_typed(rs, "half\033[A\033[B more\n", "half more");
}

static void test_completion(void)
{
    g_autoptr(GString) out = g_string_new(NULL);
    g_autoptr(ReadLine) rs = readline_new("> ", collect, complete_colours, out);

    assert_typed(rs, "g\t\n", "green ");
    assert_typed(rs, "b\t\n", "bl");
    g_string_truncate(out, 0);
    assert_typed(rs, "bl\t\n", "bl");
    g_assert_nonnull(strstr(out->str, "black               blue\n"));
    assert_typed(rs, "x\t\n", "x");
}

/* What is on the terminal after each key, for scripts that look at it. */
static void test_echo(void)
{
    g_autoptr(GString) out = g_string_new(NULL);
    g_autoptr(ReadLine) rs = readline_new("> ", collect, NULL, out);

    assert_typed(rs, "ab\n", "ab");
    g_assert_cmpstr(out->str, ==, "> a\033[K\033[Dab\033[K\n");
}

static void test_line_is_bounded(void)
{
    g_autoptr(GString) out = g_string_new(NULL);
    g_autoptr(ReadLine) rs = readline_new("> ", collect, NULL, out);
    g_autofree char *line = NULL;

    readline_start(rs);
    for (int i = 0; i < 5000; i++) {
        g_assert_null(readline_handle_byte(rs, 'x'));
        g_string_truncate(out, 0);
    }
    line = readline_handle_byte(rs, '\n');
    g_assert_cmpuint(strlen(line), ==, 4095);
}

/* ---- commands of the test -------------------------------------------------------------------- */

static QDict *got;
static QemuCoSleep sleeper;

static void coroutine_fn hmp_take(Monitor *mon, const QDict *args)
{
    qobject_unref(got);
    got = qdict_clone_shallow(args);
}

static void coroutine_fn hmp_wait(Monitor *mon, const QDict *args)
{
    qemu_co_sleep(&sleeper);
    g_assert_true(monitor_cur() == mon);
    monitor_printf(mon, "waited\n");
}

static void coroutine_fn hmp_fail(Monitor *mon, const QDict *args)
{
    Error *err = NULL;

    error_setg(&err, "it failed");
    error_append_hint(&err, "Try harder\n");
    g_assert_true(hmp_handle_error(mon, err));
    g_assert_false(hmp_handle_error(mon, NULL));
}

static const HMPCommand commands[] = {
    { "resize", "device:B,size:o", "device size", "change a size", hmp_take, true },
    { "flags", "nodes:-n,verbose:-v,name:s?", "[-n] [-v] [name]", "flags", hmp_take, true },
    { "numbers", "a:i,b:l?", "a [b]", "numbers", hmp_take, true },
    { "switch|sw", "name:s,on:b", "name on|off", "a switch", hmp_take, true },
    { "rest", "first:F,rest:S", "file rest", "the rest", hmp_take, true },
    { "only", "all:-a", "[-a]", "a flag alone", hmp_take, true },
    { "wait", "", "", "wait", hmp_wait, true },
    { "fail", "", "", "fail", hmp_fail, true },
    { .name = NULL },
};

/* ---- a client -------------------------------------------------------------------------------- */

static Chardev *chr;
static int client = -1;
static GString *in;

static bool client_read(void)
{
    char buf[4096];
    ssize_t ret = read(client, buf, sizeof(buf));

    if (ret > 0) {
        g_string_append_len(in, buf, ret);
    }
    return true;
}

static void client_connect(void)
{
    g_autofree char *path = test_tmpfile("hmp");
    g_autofree char *text = g_strconcat("unix:", path, NULL);
    g_autoptr(SocketAddress) addr = socket_parse(text, &error_abort);

    client = socket_connect(addr, &error_abort);
    fcntl(client, F_SETFL, O_NONBLOCK);
}

static void client_send(const char *text)
{
    g_assert_cmpint(send(client, text, strlen(text), MSG_NOSIGNAL), ==, strlen(text));
}

/* What the monitor says up to and without the next prompt. */
static char *until_prompt(void)
{
    char *end, *text;

    wait_until((client_read(), strstr(in->str, "(qemu) ")));
    end = strstr(in->str, "(qemu) ");
    text = g_strndup(in->str, end - in->str);
    g_string_erase(in, 0, end - in->str + strlen("(qemu) "));
    return text;
}

static void assert_says(const char *line, const char *expected)
{
    g_autofree char *echo = NULL;
    g_autofree char *text = g_strconcat(line, "\n", NULL);
    g_autofree char *reply = NULL;
    char *after;

    client_send(text);
    reply = until_prompt();
    after = strstr(reply, "\r\n");
    g_assert_nonnull(after);
    g_assert_cmpstr(after + 2, ==, expected);
}

/* ---- sessions -------------------------------------------------------------------------------- */

static void test_arguments(void)
{
    assert_says("resize d0 8M", "");
    g_assert_cmpstr(qdict_get_str(got, "device"), ==, "d0");
    g_assert_cmpint(qdict_get_int(got, "size"), ==, 8 * MiB);
    assert_says("resize d0 8", "");
    g_assert_cmpint(qdict_get_int(got, "size"), ==, 8 * MiB);
    assert_says("flags -v x", "");
    g_assert_false(qdict_haskey(got, "nodes"));
    g_assert_true(qdict_get_bool(got, "verbose"));
    g_assert_cmpstr(qdict_get_str(got, "name"), ==, "x");
    assert_says("flags", "");
    g_assert_cmpuint(qdict_size(got), ==, 0);
    assert_says("numbers 0x10 -5", "");
    g_assert_cmpint(qdict_get_int(got, "a"), ==, 16);
    g_assert_cmpint(qdict_get_int(got, "b"), ==, -5);
    assert_says("sw \\\"a \\\\\" off", "Expected 'on' or 'off'\r\n"
                "Try \"help switch\" for more information\r\n");
    assert_says("sw \"a \\\\ b\" off", "");
    g_assert_cmpstr(qdict_get_str(got, "name"), ==, "a \\ b");
    g_assert_false(qdict_get_bool(got, "on"));
    assert_says("rest f the rest of it", "");
    g_assert_cmpstr(qdict_get_str(got, "rest"), ==, "the rest of it");
}

static void test_bad_arguments(void)
{
    assert_says("resize", "resize: block device name expected\r\n"
                "Try \"help resize\" for more information\r\n");
    assert_says("resize d0", "invalid size\r\nTry \"help resize\" for more information\r\n");
    assert_says("resize d0 x", "invalid size\r\nTry \"help resize\" for more information\r\n");
    assert_says("resize d0 1M more", "resize: extraneous characters at the end of line\r\n"
                "Try \"help resize\" for more information\r\n");
    assert_says("flags -q", "flags: unsupported option -q\r\n"
                "Try \"help flags\" for more information\r\n");
    assert_says("only -q", "only: unsupported option -q\r\n"
                "Try \"help only\" for more information\r\n");
    assert_says("numbers 5000000000", "'numbers' has failed: integer is for 32-bit values\r\n"
                "Try \"help numbers\" for more information\r\n");
    assert_says("rest \"open", "unterminated string\r\nrest: filename expected\r\n"
                "Try \"help rest\" for more information\r\n");
}

static void test_unknown(void)
{
    assert_says("frob 1 2", "unknown command: 'frob'\r\n");
    assert_says("info frob", "unknown command: 'info frob'\r\n");
    assert_says("", "");
    assert_says("help frob", "unknown command: 'frob'\r\n");
}

static void test_help(void)
{
    assert_says("help resize", "resize device size -- change a size\r\n");
    assert_says("? sw", "switch|sw name on|off -- a switch\r\n");
    assert_says("help info version", "info version  -- show the version\r\n");
}

static void test_error(void)
{
    assert_says("fail", "Error: it failed\r\nTry harder\r\n");
}

static void test_order(void)
{
    g_autofree char *first = NULL;
    g_autofree char *second = NULL;

    /* The second line waits for the first, which waits for us. */
    client_send("wait\nfrob\n");
    wait_until(sleeper.to_wake);
    client_read();
    g_assert_null(strstr(in->str, "frob"));
    qemu_co_sleep_wake(&sleeper);
    first = until_prompt();
    second = until_prompt();
    g_assert_true(g_str_has_suffix(first, "waited\r\n"));
    g_assert_true(g_str_has_suffix(second, "unknown command: 'frob'\r\n"));
}

static void test_reconnect(void)
{
    g_autofree char *banner = NULL;

    client_send("half a li");
    close(client);
    client_connect();
    banner = until_prompt();
    g_assert_cmpstr(banner, ==,
                    "QEMU 10.0.13 monitor - type 'help' for more information\r\n");
    assert_says("frob", "unknown command: 'frob'\r\n");
}

int main(int argc, char **argv)
{
    g_autofree char *path = NULL;
    g_autofree char *text = NULL;
    QmpCommandList *none;
    int ret;

    test_init(&argc, &argv);
    qemu_init_main_loop(&error_abort);
    none = qmp_command_list_new();
    monitor_init(none);
    hmp_register_commands(commands);
    in = g_string_new(NULL);
    path = test_tmpfile("hmp");
    text = g_strdup_printf("socket,id=hmp,path=%s,server,nowait", path);
    chr = chardev_new_from_opts(text, &error_abort);
    monitor_new_hmp(chr, true, &error_abort);
    client_connect();
    g_free(until_prompt());

    g_test_add_func("/readline/keys/edit", test_editing);
    g_test_add_func("/readline/keys/history", test_history);
    g_test_add_func("/readline/keys/completion", test_completion);
    g_test_add_func("/readline/output/redraws-line", test_echo);
    g_test_add_func("/readline/line/is-bounded", test_line_is_bounded);
    g_test_add_func("/hmp/arguments/by-type", test_arguments);
    g_test_add_func("/hmp/arguments/bad-ones-are-explained", test_bad_arguments);
    g_test_add_func("/hmp/command/unknown", test_unknown);
    g_test_add_func("/hmp/command/help", test_help);
    g_test_add_func("/hmp/command/error-and-hint", test_error);
    g_test_add_func("/hmp/command/one-after-another", test_order);
    g_test_add_func("/hmp/session/fresh-after-reconnect", test_reconnect);
    ret = g_test_run();
    monitor_cleanup();
    chardev_cleanup();
    qmp_command_list_free(none);
    qobject_unref(got);
    g_string_free(in, TRUE);
    close(client);
    return ret;
}
