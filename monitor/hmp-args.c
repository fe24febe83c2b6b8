/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The arguments of HMP commands: words of a line into a dict, by the command's args_type. */
#include "qemu/osdep.h"
#include "monitor-int.h"

#include "qapi/types.h"
#include "qemu/cutils.h"

/* What is left of the line. */
typedef struct Cursor {
    Monitor *mon;
    const HMPCommand *cmd;
    const char *text;
    QDict *args;
} Cursor;

static void skip_blanks(Cursor *c)
{
    while (g_ascii_isspace(*c->text)) {
        c->text++;
    }
}

/* A quoted character behind a backslash; '\0' if there is no such escape. */
static char unescape(char c)
{
    switch (c) {
    case 'n':
        return '\n';
    case 'r':
        return '\r';
    case '\\':
    case '\'':
    case '"':
        return c;
    default:
        return '\0';
    }
}

/* A word, or text in double quotes.  NULL at the end of the line, or after telling an error. */
static char *take_word(Cursor *c)
{
    g_autoptr(GString) word = g_string_new(NULL);

    skip_blanks(c);
    if (!*c->text) {
        return NULL;
    }
    if (*c->text != '"') {
        while (*c->text && !g_ascii_isspace(*c->text)) {
            g_string_append_c(word, *c->text++);
        }
        return g_strdup(word->str);
    }
    for (c->text++; *c->text && *c->text != '"'; c->text++) {
        char ch = *c->text;

        if (ch == '\\') {
            ch = unescape(*++c->text);
            if (!ch) {
                monitor_printf(c->mon, "unsupported escape code: '\\%c'\n", *c->text);
                return NULL;
            }
        }
        g_string_append_c(word, ch);
    }
    if (*c->text != '"') {
        monitor_printf(c->mon, "unterminated string\n");
        return NULL;
    }
    c->text++;
    return g_strdup(word->str);
}

static const char *what_is_expected(char type)
{
    switch (type) {
    case 'F':
        return "filename expected";
    case 'B':
        return "block device name expected";
    default:
        return "string expected";
    }
}

static bool take_string(Cursor *c, const char *name, char type, bool is_optional)
{
    g_autofree char *word = NULL;

    skip_blanks(c);
    if (is_optional && !*c->text) {
        return true;
    }
    word = take_word(c);
    if (!word) {
        monitor_printf(c->mon, "%s: %s\n", c->cmd->name, what_is_expected(type));
        return false;
    }
    qdict_put_str(c->args, name, word);
    return true;
}

static bool take_rest(Cursor *c, const char *name, bool is_optional)
{
    skip_blanks(c);
    if (!*c->text) {
        if (!is_optional) {
            monitor_printf(c->mon, "%s: string expected\n", c->cmd->name);
        }
        return is_optional;
    }
    qdict_put_str(c->args, name, c->text);
    c->text += strlen(c->text);
    return true;
}

static bool take_number(Cursor *c, const char *name, char type, bool is_optional)
{
    const char *end;
    int64_t value;

    skip_blanks(c);
    if (is_optional && !*c->text) {
        return true;
    }
    if (qemu_strtoi64(c->text, &end, 0, &value) < 0 || (*end && !g_ascii_isspace(*end))) {
        monitor_printf(c->mon, "invalid number\n");
        return false;
    }
    if (type == 'i' && (value < INT32_MIN || value > UINT32_MAX)) {
        monitor_printf(c->mon, "'%s' has failed: integer is for 32-bit values\n", c->cmd->name);
        return false;
    }
    c->text = end;
    qdict_put_int(c->args, name, value);
    return true;
}

static bool take_size(Cursor *c, const char *name, bool is_optional)
{
    const char *end;
    uint64_t value;

    skip_blanks(c);
    if (is_optional && !*c->text) {
        return true;
    }
    if (qemu_strtosz_MiB(c->text, &end, &value) < 0 || value > INT64_MAX ||
        (*end && !g_ascii_isspace(*end))) {
        monitor_printf(c->mon, "invalid size\n");
        return false;
    }
    c->text = end;
    qdict_put_int(c->args, name, value);
    return true;
}

static bool take_bool(Cursor *c, const char *name, bool is_optional)
{
    g_autofree char *word = NULL;

    skip_blanks(c);
    if (is_optional && !*c->text) {
        return true;
    }
    word = take_word(c);
    if (!word || (strcmp(word, "on") && strcmp(word, "off"))) {
        monitor_printf(c->mon, "Expected 'on' or 'off'\n");
        return false;
    }
    qdict_put_bool(c->args, name, !strcmp(word, "on"));
    return true;
}

static bool take_flag(Cursor *c, const char *name, char flag)
{
    skip_blanks(c);
    if (c->text[0] != '-') {
        return true;
    }
    if (c->text[1] != flag || (c->text[2] && !g_ascii_isspace(c->text[2]))) {
        /* Perhaps the next flag; whatever is left over is refused behind the last one. */
        return true;
    }
    c->text += 2;
    qdict_put_bool(c->args, name, true);
    return true;
}

/* One "NAME:TYPE" of the list. */
static bool take_argument(Cursor *c, const char *name, const char *type)
{
    bool is_optional = type[strlen(type) - 1] == '?';

    switch (*type) {
    case 's':
    case 'F':
    case 'B':
        return take_string(c, name, *type, is_optional);
    case 'S':
        return take_rest(c, name, is_optional);
    case 'i':
    case 'l':
        return take_number(c, name, *type, is_optional);
    case 'o':
        return take_size(c, name, is_optional);
    case 'b':
        return take_bool(c, name, is_optional);
    case '-':
        return take_flag(c, name, type[1]);
    default:
        g_assert_not_reached();
    }
}

/* Whether a flag stands here that no argument took; then tell so. */
static bool is_unknown_flag(const Cursor *c)
{
    if (c->text[0] != '-' || !g_ascii_isalpha(c->text[1])) {
        return false;
    }
    monitor_printf(c->mon, "%s: unsupported option -%c\n", c->cmd->name, c->text[1]);
    return true;
}

static bool take_all(Cursor *c)
{
    g_auto(GStrv) items = g_strsplit(c->cmd->args_type, ",", -1);
    bool was_flag = false;

    for (char **item = items; *item && **item; item++) {
        char *type = strchr(*item, ':');
        bool is_flag;

        assert(type);
        *type++ = '\0';
        is_flag = *type == '-';
        skip_blanks(c);
        if (was_flag && !is_flag && is_unknown_flag(c)) {
            return false;
        }
        was_flag = is_flag;
        if (!take_argument(c, *item, type)) {
            return false;
        }
    }
    skip_blanks(c);
    if (was_flag && is_unknown_flag(c)) {
        return false;
    }
    if (*c->text) {
        monitor_printf(c->mon, "%s: extraneous characters at the end of line\n", c->cmd->name);
        return false;
    }
    return true;
}

QDict *hmp_parse_args(Monitor *mon, const HMPCommand *cmd, const char *text)
{
    g_autoptr(QDict) args = qdict_new();
    Cursor c = { .mon = mon, .cmd = cmd, .text = text, .args = args };

    if (!take_all(&c)) {
        g_autofree char *first = g_strndup(cmd->name, strcspn(cmd->name, "|"));

        monitor_printf(mon, "Try \"help %s\" for more information\n", first);
        return NULL;
    }
    return g_steal_pointer(&args);
}
