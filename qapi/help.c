/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Help on command line options whose arguments are of a type of the schema.
 */
#include "qemu/osdep.h"

#include "qapi/help.h"
#include "qobject/opts.h"

/* Options nest (a node in a node): what is deeper is only named. */
#define MAX_DEPTH 3

static void add_members(GPtrArray *lines, const QapiType *type, const char *prefix, int depth);

static char *enum_text(const QEnumLookup *lookup)
{
    GString *text = g_string_new(NULL);

    for (int i = 0; i < lookup->size; i++) {
        if (lookup->names[i]) {
            g_string_append_printf(text, "%s%s", text->len ? "|" : "", lookup->names[i]);
        }
    }
    return g_string_free(text, false);
}

/* What stands behind "=". */
static char *value_text(const QapiType *type)
{
    switch (type->kind) {
    case QAPI_BOOL:
        return g_strdup("on|off");
    case QAPI_SIZE:
        return g_strdup("<size>");
    case QAPI_NUMBER:
        return g_strdup("<number>");
    case QAPI_STR:
        return g_strdup("<str>");
    case QAPI_ENUM:
        return enum_text(type->lookup);
    default:
        return g_strdup(type->kind < QAPI_SIZE ? "<int>" : "...");
    }
}

/* An alternate is told by what a command line can say: a word, else the members. */
static void add_value(GPtrArray *lines, const QapiMember *member, const QapiType *type,
                      const char *key, int depth)
{
    if (type->kind == QAPI_LIST) {
        g_autofree char *element = g_strconcat(key, ".0", NULL);

        add_value(lines, member, type->element, element, depth);
        return;
    }
    if (type->kind == QAPI_ALTERNATE && type->by_qtype[QTYPE_QSTRING]) {
        g_autofree char *word = value_text(type->by_qtype[QTYPE_QSTRING]);

        g_ptr_array_add(lines, g_strdup_printf("  %s=%s%s%s", key, word,
                                               type->by_qtype[QTYPE_QDICT] ? "|..." : "",
                                               member->optional ? "" : "  (required)"));
        return;
    }
    if ((type->kind == QAPI_STRUCT || type->kind == QAPI_UNION) && depth < MAX_DEPTH) {
        g_autofree char *prefix = g_strconcat(key, ".", NULL);

        add_members(lines, type, prefix, depth + 1);
        return;
    }
    g_autofree char *value = value_text(type);

    g_ptr_array_add(lines, g_strdup_printf("  %s=%s%s", key, value,
                                           member->optional ? "" : "  (required)"));
}

/* All but @skipped, a union's tag that is known already. */
static void add_members_but(GPtrArray *lines, const QapiType *type, const char *prefix, int depth,
                            const char *skipped)
{
    if (type->base) {
        add_members_but(lines, type->base, prefix, depth, skipped);
    }
    for (const QapiMember *m = type->members; m && m->name; m++) {
        g_autofree char *key = g_strconcat(prefix, m->name, NULL);

        if (!skipped || strcmp(m->name, skipped)) {
            add_value(lines, m, m->type, key, depth);
        }
    }
}

static void add_own_members(GPtrArray *lines, const QapiType *type, const char *prefix, int depth)
{
    add_members_but(lines, type, prefix, depth, NULL);
}

/* Of a union inside others: all branches. */
static void add_members(GPtrArray *lines, const QapiType *type, const char *prefix, int depth)
{
    add_own_members(lines, type, prefix, depth);
    if (type->kind != QAPI_UNION) {
        return;
    }
    for (int i = 0; i < type->tag->type->lookup->size; i++) {
        g_autoptr(GPtrArray) branch = g_ptr_array_new_with_free_func(g_free);

        if (type->branches[i] && type->tag->type->lookup->names[i]) {
            add_own_members(branch, type->branches[i], prefix, depth);
        }
        for (guint j = 0; j < branch->len; j++) {
            g_ptr_array_add(lines, g_strdup_printf("%s  (%s%s=%s)", (char *)branch->pdata[j],
                                                   prefix, type->tag->name,
                                                   type->tag->type->lookup->names[i]));
        }
    }
}

static int compare_lines(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

static char *sorted_text(const char *caption, GPtrArray *lines)
{
    GString *text = g_string_new(caption);

    g_string_append_c(text, '\n');
    if (lines->len) {
        qsort(lines->pdata, lines->len, sizeof(gpointer), compare_lines);
    }
    for (guint i = 0; i < lines->len; i++) {
        g_string_append_printf(text, "%s\n", (char *)lines->pdata[i]);
    }
    return g_string_free(text, false);
}

/* The branch that @arg names first ("TAG" or "KEY=TAG"); -1: none, *@given: its name or NULL. */
static int named_branch(const QapiType *type, const char *arg, char **given)
{
    const char *key = type->tag->name;
    g_auto(GStrv) items = g_strsplit(arg, ",", 0);

    *given = NULL;
    for (char **item = items; *item && !*given; item++) {
        size_t len = strlen(key);

        if (!strncmp(*item, key, len) && (*item)[len] == '=') {
            *given = g_strdup(*item + len + 1);
        } else if (item == items && !strchr(*item, '=') && !g_str_equal(*item, "help") &&
                   !g_str_equal(*item, "?")) {
            *given = g_strdup(*item);
        }
    }
    return qapi_enum_parse(type->tag->type->lookup, *given, -1, NULL);
}

static char *list_branches(const QapiType *type, const char *caption)
{
    g_autoptr(GPtrArray) lines = g_ptr_array_new_with_free_func(g_free);
    const QEnumLookup *lookup = type->tag->type->lookup;

    for (int i = 0; i < lookup->size; i++) {
        if (lookup->names[i]) {
            g_ptr_array_add(lines, g_strdup_printf("  %s", lookup->names[i]));
        }
    }
    return sorted_text(caption, lines);
}

char *qapi_option_help(const QapiType *type, const char *caption, const char *arg)
{
    g_autoptr(GPtrArray) lines = NULL;
    g_autofree char *given = NULL;
    g_autofree char *title = NULL;
    int branch;

    if (*arg == '{' || !has_help_option(arg)) {
        return NULL;
    }
    lines = g_ptr_array_new_with_free_func(g_free);
    if (type->kind != QAPI_UNION) {
        add_own_members(lines, type, "", 0);
        return sorted_text(caption, lines);
    }
    branch = named_branch(type, arg, &given);
    if (!given) {
        return list_branches(type, caption);
    }
    if (branch < 0) {
        return NULL;
    }
    title = g_strdup_printf("%s options:", given);
    add_members_but(lines, type, "", 0, type->tag->name);
    if (type->branches[branch]) {
        add_own_members(lines, type->branches[branch], "", 0);
    }
    return sorted_text(title, lines);
}
