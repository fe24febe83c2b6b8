/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What a QMP client sends: from bytes through the parser and the schema to the handlers.  Whatever
 * comes, each request gets one answer with its id, and a node that others use is still there.
 *
 * Commands that would touch the host (files, sockets, threads) are switched off.
 */
#include "qemu/osdep.h"

#include "block/block-backend.h"
#include "block/blockdev.h"
#include "block/graph.h"
#include "qapi/dispatch.h"
#include "qapi/gen/control-commands.h"
#include "qapi/gen/introspect-commands.h"
#include "qemu/main-loop.h"
#include "qobject/json-parser.h"
#include "qobject/json-writer.h"
#include "qobject/qdict.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerInitialize(int *argc, char ***argv);

static QmpCommandList *commands;

void coroutine_fn qmp_quit(Error **errp)
{
    error_setg(errp, "Not while fuzzing");
}

/* ---- which commands -------------------------------------------------------------------------- */

static bool is_harmless(const char *name)
{
    static const char *const prefixes[] = {
        "query-", "block-dirty-bitmap-", "job-", "block-job-", "qom-list", "qom-get",
        "block-set-write-threshold", "x-blockdev-set-iothread", "x-debug-",
    };

    for (size_t i = 0; i < ARRAY_SIZE(prefixes); i++) {
        if (g_str_has_prefix(name, prefixes[i])) {
            /* As large as everything else together, and without arguments. */
            return strcmp(name, "query-qmp-schema") != 0;
        }
    }
    return false;
}

static void switch_off(const QmpCommand *cmd, void *opaque)
{
    if (!is_harmless(cmd->name)) {
        qmp_disable_command(commands, cmd->name, NULL);
    }
}

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
    qemu_init_main_loop(&error_abort);
    bdrv_init();
    commands = qmp_command_list_new();
    qmp_init_control_commands(commands);
    qmp_init_introspect_commands(commands);
    blockdev_register_commands(commands, false);
    qmp_for_each_command(commands, switch_off, NULL);
    return 0;
}

/* ---- requests -------------------------------------------------------------------------------- */

static void check_answer(const QObject *request, QDict *answer)
{
    const QDict *dict = qobject_to(QDict, request);
    const QObject *id = dict ? qdict_get(dict, "id") : NULL;
    g_autofree char *text = g_string_free(qobject_to_json(QOBJECT(answer)), false);
    g_autoptr(QObject) back = qobject_from_json(text, &error_abort);

    if (!answer || qdict_haskey(answer, "return") == qdict_haskey(answer, "error") ||
        !!id != qdict_haskey(answer, "id") || (id && qdict_get(answer, "id") != id)) {
        abort();
    }
}

static void coroutine_fn on_request(void *opaque, QObject *request, Error *err)
{
    g_autoptr(QDict) answer = NULL;

    if (err) {
        answer = qmp_error_response(err);
        error_free(err);
    } else {
        bdrv_co_control_lock();
        answer = qmp_dispatch(commands, request, true, false);
        bdrv_co_control_unlock();
    }
    check_answer(request, answer);
    qobject_unref(request);
}

typedef struct Input {
    const uint8_t *data;
    size_t size;
} Input;

static void coroutine_fn co_feed(void *opaque)
{
    Input *input = opaque;
    g_autoptr(JSONMessageParser) parser = json_message_parser_new(on_request, NULL);
    QDict *options = qdict_from_jsonf_nofail("{'driver': 'null-co', 'node-name': 'n'}");
    BlockDriverState *bs;
    size_t half = input->size / 2;

    bdrv_co_control_lock();
    bs = bdrv_co_open(NULL, NULL, options, BDRV_O_RDWR, &error_abort);
    bdrv_co_control_unlock();
    json_message_parser_feed(parser, (const char *)input->data, half);
    json_message_parser_feed(parser, (const char *)input->data + half, input->size - half);
    json_message_parser_flush(parser);
    if (bdrv_find_node("n") != bs) {
        abort();
    }
    bdrv_co_control_lock();
    bdrv_unref(bs);
    bdrv_co_control_unlock();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    Input input = { data, size };

    co_run(co_feed, &input);
    return 0;
}
