/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Option strings of every notation: key=value lists, QemuOpts, dotted keys.  Whatever the text,
 * the parsers survive; and a dict made by keyval, flattened, crumples to itself.
 */
#include "qemu/osdep.h"
#include "qobject/flatten.h"
#include "qobject/json-parser.h"
#include "qobject/keyval.h"
#include "qobject/opts.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void try_opts(const char *text)
{
    static const QemuOptDesc desc[] = {
        { .name = "size", .type = QEMU_OPT_SIZE },
        { .name = "n", .type = QEMU_OPT_NUMBER },
        { .name = "on", .type = QEMU_OPT_BOOL },
        { .name = "s", .type = QEMU_OPT_STRING },
        { .name = NULL },
    };
    QemuOptsList any = { .name = "any", .implied_opt_name = "file" };
    QemuOptsList typed = { .name = "typed", .desc = desc };

    qemu_opts_parse(&any, text, true, NULL);
    qemu_opts_parse(&typed, text, false, NULL);
    qemu_opts_reset(&any);
    qemu_opts_reset(&typed);
    has_help_option(text);
    is_valid_option_list(text);
}

static void try_keyval(const char *text)
{
    bool help;
    g_autoptr(QDict) dict = keyval_parse(text, "driver", &help, NULL);
    g_autoptr(QDict) flat = NULL;
    g_autoptr(QObject) back = NULL;

    if (!dict || !qdict_size(dict) || strstr(text, "__")) {
        return;  /* a vendor's name may hold dots, which flat keys cannot tell from their own */
    }
    flat = qdict_clone_shallow(dict);
    qdict_flatten(flat);
    back = qdict_crumple(flat, &error_abort);
    if (!qobject_is_equal(QOBJECT(dict), back)) {
        abort();
    }
}

static void try_crumple(const char *text)
{
    g_autoptr(QObject) obj = qobject_from_json(text, NULL);
    QDict *dict = qobject_to(QDict, obj);
    g_autoptr(QObject) nested = NULL;

    if (dict) {
        nested = qdict_crumple(dict, NULL);
        qdict_flatten(dict);
    }
}

/* Warnings about flags would only be noise. */
static bool swallow(const char *text)
{
    return true;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    g_autofree char *text = g_strndup((const char *)data, size);

    error_set_report_hook(swallow, NULL);
    try_opts(text);
    try_keyval(text);
    try_crumple(text);
    return 0;
}
