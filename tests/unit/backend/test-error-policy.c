/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What a failed request of a device sets off, and in which order. */
#include "qemu/osdep.h"

#include "block/block-backend.h"
#include "qapi/events.h"
#include "qapi/gen/emit-events.h"
#include "qemu/main-loop.h"
#include "qobject/qdict.h"

static GString *said;
static BlockBackend *blk;

static void say(const char *word)
{
    g_string_append_printf(said, "%s%s", said->len ? " " : "", word);
}

static void announce(void)
{
    say("announced");
    g_assert_cmpint(blk_iostatus(blk), ==, BLOCK_DEVICE_IO_STATUS_FAILED);
}

static void stop(void)
{
    say("asked");
}

static void emit(int event, QDict *message)
{
    g_assert_cmpint(event, ==, QAPI_EVENT_BLOCK_IO_ERROR);
    say(qdict_get_str(qdict_get_qdict(message, "data"), "action"));
}

static void expect(BlockErrorAction action, const char *wanted)
{
    g_string_truncate(said, 0);
    blk_error_action(blk, action, true, EIO);
    g_assert_cmpstr(said->str, ==, wanted);
}

/* Else a client could hear of a machine that stopped for no reason. */
static void test_stop(void)
{
    expect(BLOCK_ERROR_ACTION_STOP, "announced stop asked");
}

static void test_others(void)
{
    expect(BLOCK_ERROR_ACTION_REPORT, "report");
    expect(BLOCK_ERROR_ACTION_IGNORE, "ignore");
}

int main(int argc, char **argv)
{
    int failed;

    g_test_init(&argc, &argv, NULL);
    qemu_init_main_loop(&error_abort);
    said = g_string_new("");
    blk = blk_new(0, BLK_PERM_ALL);
    blk_iostatus_enable(blk);
    blk_set_stop_hooks(announce, stop);
    qapi_event_set_emitter(emit);
    g_test_add_func("/error-policy/stop/is-told-before-it-is-asked-for", test_stop);
    g_test_add_func("/error-policy/report-and-ignore/stop-nothing", test_others);
    failed = g_test_run();
    qapi_event_set_emitter(NULL);
    blk_unref(blk);
    g_string_free(said, TRUE);
    return failed;
}
