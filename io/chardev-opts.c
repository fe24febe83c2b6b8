/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Character devices from the command line: -chardev, and the short forms of -serial and -qmp. */
#include "qemu/osdep.h"
#include "io/chardev.h"

#include "qapi/gen/char-visit.h"
#include "qapi/object-input.h"
#include "qemu/cutils.h"

/* Split "a,b,,c" at single commas; ",," stays.  The items together are the text again. */
static GPtrArray *split_items(const char *text)
{
    GPtrArray *items = g_ptr_array_new_with_free_func(g_free);
    const char *start = text;

    for (const char *p = text; ; p++) {
        if (p[0] == ',' && p[1] == ',') {
            p++;
            continue;
        }
        if (*p == ',' || !*p) {
            g_ptr_array_add(items, g_strndup(start, p - start));
            start = p + 1;
            if (!*p) {
                return items;
            }
        }
    }
}

/*
 * Spell out what may be abbreviated: "server" is server=on, "nowait" is wait=off, and "delay" is
 * the opposite of nodelay.
 */
static char *spell_out(const char *item)
{
    if (!strcmp(item, "delay=on") || !strcmp(item, "delay")) {
        return g_strdup("nodelay=off");
    }
    if (!strcmp(item, "delay=off") || !strcmp(item, "nodelay")) {
        return g_strdup("nodelay=on");
    }
    if (strchr(item, '=')) {
        return g_strdup(item);
    }
    if (g_str_has_prefix(item, "no")) {
        return g_strconcat(item + 2, "=off", NULL);
    }
    return g_strconcat(item, "=on", NULL);
}

static char *spell_out_all(const char *text)
{
    g_autoptr(GPtrArray) items = split_items(text);
    GString *out = g_string_new(items->pdata[0]);

    for (guint i = 1; i < items->len; i++) {
        g_autofree char *item = spell_out(items->pdata[i]);

        g_string_append_printf(out, ",%s", item);
    }
    return g_string_free(out, FALSE);
}

/* Clients know the sentence by heart that an unknown kind gets. */
static bool check_kind(const char *text, Error **errp)
{
    const char *rest = NULL;
    g_autofree char *kind = NULL;

    if (!strstart(text, "backend=", &rest)) {
        rest = text;
    }
    kind = g_strndup(rest, strcspn(rest, ","));
    if (strchr(kind, '=')) {
        return true;
    }
    if (qapi_enum_parse(&ChardevBackendKind_lookup, kind, -1, NULL) < 0) {
        error_setg(errp, "'%s' is not a valid char driver name", kind);
        return false;
    }
    return true;
}

Chardev *chardev_new_from_opts(const char *optarg, Error **errp)
{
    g_autofree char *text = NULL;
    g_autoptr(ChardevOptions) opts = NULL;
    Visitor *v;

    if (*optarg == '{') {
        text = g_strdup(optarg);
    } else if (!check_kind(optarg, errp)) {
        return NULL;
    } else {
        text = spell_out_all(optarg);
    }
    v = qobject_input_visitor_new_str(text, "backend", errp);
    if (!v) {
        return NULL;
    }
    visit_type_ChardevOptions(v, NULL, &opts, errp);
    visit_free(v);
    return opts ? chardev_new(opts, errp) : NULL;
}

/* ---- short forms ----------------------------------------------------------------------------- */

/* "HOST:PORT[,...]" as "host=HOST,port=PORT[,...]". */
static char *spell_inet(const char *text, Error **errp)
{
    const char *end = text + strcspn(text, ",");
    const char *colon;
    g_autofree char *host = NULL;
    g_autofree char *port = NULL;

    if (*text == '[') {
        const char *bracket = memchr(text, ']', end - text);

        if (!bracket || bracket[1] != ':') {
            error_setg(errp, "error parsing IPv6 address '%s'", text);
            return NULL;
        }
        host = g_strndup(text + 1, bracket - text - 1);
        colon = bracket + 1;
    } else {
        colon = memchr(text, ':', end - text);
        if (!colon) {
            error_setg(errp, "error parsing address '%s'", text);
            return NULL;
        }
        host = g_strndup(text, colon - text);
    }
    port = g_strndup(colon + 1, end - colon - 1);
    return g_strdup_printf("host=%s,port=%s%s", host, port, end);
}

/* The argument of -chardev that says the same, without the id. */
static char *spell_legacy(const char *text, Error **errp)
{
    const char *rest;

    if (!strcmp(text, "null") || !strcmp(text, "stdio") || !strcmp(text, "pty")) {
        return g_strdup(text);
    }
    if (g_str_has_prefix(text, "stdio,")) {
        return g_strdup(text);
    }
    if (strstart(text, "file:", &rest)) {
        return g_strconcat("file,path=", rest, NULL);
    }
    if (strstart(text, "pipe:", &rest)) {
        return g_strconcat("pipe,path=", rest, NULL);
    }
    if (strstart(text, "unix:", &rest)) {
        return g_strconcat("socket,path=", rest, NULL);
    }
    if (strstart(text, "tcp:", &rest)) {
        g_autofree char *inet = spell_inet(rest, errp);

        return inet ? g_strconcat("socket,", inet, NULL) : NULL;
    }
    if (g_str_has_prefix(text, "/dev/")) {
        return g_strconcat("serial,path=", text, NULL);
    }
    error_setg(errp, "'%s' is not a valid char driver", text);
    return NULL;
}

Chardev *chardev_new_from_legacy(const char *label, const char *text, bool *is_shared,
                                 Error **errp)
{
    g_autofree char *spelled = NULL;
    g_autofree char *optarg = NULL;
    bool has_mon = g_str_has_prefix(text, "mon:");
    const char *rest;

    if (is_shared) {
        *is_shared = has_mon;
    }
    if (has_mon && !is_shared) {
        error_setg(errp, "mon: isn't supported in this context");
        return NULL;
    }
    if (has_mon) {
        text += strlen("mon:");
    }
    if (strstart(text, "chardev:", &rest)) {
        Chardev *chr = chardev_find(rest);

        if (!chr) {
            error_setg(errp, "chardev \"%s\" not found", rest);
        }
        return chr;
    }
    if (!strcmp(text, "none")) {
        return NULL;
    }
    spelled = spell_legacy(text, errp);
    if (!spelled) {
        return NULL;
    }
    /* Shared with a monitor, control-c belongs to the guest. */
    optarg = g_strdup_printf("%s,id=%s%s%s", spelled, label, has_mon ? ",mux=on" : "",
                             has_mon && !strcmp(text, "stdio") ? ",signal=off" : "");
    return chardev_new_from_opts(optarg, errp);
}
