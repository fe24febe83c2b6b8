/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "qemu/osdep.h"
#include "qemu/cutils.h"
#include "qobject/opts.h"
#include "qobject/qbool.h"
#include "qobject/qnum.h"
#include "qobject/qstring.h"
#include "qobject-internal.h"

typedef struct QemuOpt {
    char *name;
    char *value;
    const QemuOptDesc *desc;  /* NULL: any string */
    union {
        bool boolean;
        uint64_t uint;
    } parsed;
} QemuOpt;

struct QemuOpts {
    char *id;
    QemuOptsList *list;
    GPtrArray *opts;  /* of QemuOpt, in the order given */
};

static void opt_free(gpointer opaque)
{
    QemuOpt *opt = opaque;

    g_free(opt->name);
    g_free(opt->value);
    g_free(opt);
}

/* ---- descriptions ---- */

static const QemuOptDesc *find_desc(const QemuOptDesc *desc, const char *name)
{
    for (; desc && desc->name; desc++) {
        if (g_str_equal(desc->name, name)) {
            return desc;
        }
    }
    return NULL;
}

static bool accepts_any(const QemuOptsList *list)
{
    return !list->desc || !list->desc[0].name;
}

static bool parse_number(const char *name, const char *value, uint64_t *number, Error **errp)
{
    int ret = qemu_strtou64(value, NULL, 0, number);

    if (ret == -ERANGE) {
        error_setg(errp, "Value '%s' is too large for parameter '%s'", value, name);
    } else if (ret) {
        error_setg(errp, "Parameter '%s' expects a number", name);
    }
    return ret == 0;
}

static bool parse_size(const char *name, const char *value, uint64_t *size, Error **errp)
{
    int ret = qemu_strtosz(value, NULL, size);

    if (ret == -ERANGE) {
        error_setg(errp, "Value '%s' is out of range for parameter '%s'", value, name);
    } else if (ret) {
        error_setg(errp, "Parameter '%s' expects a non-negative number below 2^64", name);
        error_append_hint(errp, "Optional suffix k, M, G, T, P or E means kilo-, mega-, giga-, "
                          "tera-, peta-\nand exabytes, respectively.\n");
    }
    return ret == 0;
}

/* Parse opt->value as its description says. */
static bool parse_value(QemuOpt *opt, Error **errp)
{
    switch (opt->desc ? opt->desc->type : QEMU_OPT_STRING) {
    case QEMU_OPT_STRING:
        return true;
    case QEMU_OPT_BOOL:
        return qemu_opts_parse_bool(opt->name, opt->value, &opt->parsed.boolean, errp);
    case QEMU_OPT_NUMBER:
        return parse_number(opt->name, opt->value, &opt->parsed.uint, errp);
    case QEMU_OPT_SIZE:
        return parse_size(opt->name, opt->value, &opt->parsed.uint, errp);
    }
    g_assert_not_reached();
}

bool qemu_opts_parse_bool(const char *name, const char *value, bool *result, Error **errp)
{
    static const char *const words[] = { "on", "yes", "true", "y", "off", "no", "false", "n" };

    for (size_t i = 0; i < ARRAY_SIZE(words); i++) {
        if (g_str_equal(value, words[i])) {
            *result = i < ARRAY_SIZE(words) / 2;
            return true;
        }
    }
    error_setg(errp, "Parameter '%s' expects 'on' or 'off'", name);
    return false;
}

/* ---- lists ---- */

static size_t count_desc(const QemuOptDesc *desc)
{
    size_t n = 0;

    while (desc && desc[n].name) {
        n++;
    }
    return n;
}

QemuOptsList *qemu_opts_append(QemuOptsList *dst, const QemuOptsList *list)
{
    size_t n = count_desc(dst ? dst->desc : NULL);
    size_t more = count_desc(list ? list->desc : NULL);
    QemuOptDesc *desc;

    if (!dst) {
        dst = g_new0(QemuOptsList, 1);
        dst->allocated = true;
    }
    if (list && !dst->name) {
        dst->name = list->name;
    }
    assert(dst->allocated && (!dst->opts || !dst->opts->len));
    desc = g_renew(QemuOptDesc, (QemuOptDesc *)dst->desc, n + more + 1);
    for (size_t i = 0; i < more; i++) {
        desc[n].name = NULL;
        if (!find_desc(desc, list->desc[i].name)) {
            desc[n++] = list->desc[i];
        }
    }
    desc[n] = (QemuOptDesc) { .name = NULL };
    dst->desc = desc;
    return dst;
}

void qemu_opts_reset(QemuOptsList *list)
{
    while (list->opts && list->opts->len) {
        qemu_opts_del(g_ptr_array_index(list->opts, list->opts->len - 1));
    }
    g_clear_pointer(&list->opts, g_ptr_array_unref);
}

void qemu_opts_free(QemuOptsList *list)
{
    if (!list) {
        return;
    }
    qemu_opts_reset(list);
    if (list->allocated) {
        g_free((QemuOptDesc *)list->desc);
        g_free(list);
    }
}

static int compare_strings(gconstpointer a, gconstpointer b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

static char *help_line(const QemuOptDesc *desc)
{
    static const char *const types[] = {
        [QEMU_OPT_STRING] = "str",
        [QEMU_OPT_BOOL] = "bool (on/off)",
        [QEMU_OPT_NUMBER] = "num",
        [QEMU_OPT_SIZE] = "size",
    };
    GString *line = g_string_new(NULL);

    g_string_printf(line, "  %s=<%s>", desc->name, types[desc->type]);
    if (desc->help) {
        while (line->len < 24) {
            g_string_append_c(line, ' ');
        }
        g_string_append_printf(line, " - %s", desc->help);
    }
    if (desc->def_value_str) {
        g_string_append_printf(line, " (default: %s)", desc->def_value_str);
    }
    g_string_append_c(line, '\n');
    return g_string_free(line, FALSE);
}

void qemu_opts_print_help(const QemuOptsList *list, const char *caption, GString *out)
{
    g_autoptr(GPtrArray) lines = g_ptr_array_new_with_free_func(g_free);

    for (const QemuOptDesc *desc = list->desc; desc && desc->name; desc++) {
        g_ptr_array_add(lines, help_line(desc));
    }
    g_ptr_array_sort(lines, compare_strings);
    if (lines->len) {
        g_string_append_printf(out, "Supported %s%soptions:\n", caption ? caption : "",
                               caption ? " " : "");
    } else {
        g_string_append_printf(out, "There are no %s%soptions.\n", caption ? caption : "",
                               caption ? " " : "");
    }
    for (guint i = 0; i < lines->len; i++) {
        g_string_append(out, g_ptr_array_index(lines, i));
    }
}

/* ---- QemuOpts ---- */

QemuOpts *qemu_opts_find(const QemuOptsList *list, const char *id)
{
    for (guint i = 0; list->opts && i < list->opts->len; i++) {
        QemuOpts *opts = g_ptr_array_index(list->opts, i);

        if (g_strcmp0(opts->id, id) == 0) {
            return opts;
        }
    }
    return NULL;
}

QemuOpts *qemu_opts_create(QemuOptsList *list, const char *id, bool fail_if_exists, Error **errp)
{
    QemuOpts *opts = NULL;

    if (id) {
        if (!id_wellformed(id)) {
            error_setg(errp, "Parameter 'id' expects an identifier");
            error_append_hint(errp, "Identifiers consist of letters, digits, '-', '.', '_', "
                              "starting with a letter.\n");
            return NULL;
        }
        opts = qemu_opts_find(list, id);
        if (opts && fail_if_exists && !list->merge_lists) {
            error_setg(errp, "Duplicate ID '%s' for %s", id, list->name);
            return NULL;
        }
    } else if (list->merge_lists) {
        opts = qemu_opts_find(list, NULL);
    }
    if (opts) {
        return opts;
    }
    opts = g_new0(QemuOpts, 1);
    opts->id = g_strdup(id);
    opts->list = list;
    opts->opts = g_ptr_array_new_with_free_func(opt_free);
    if (!list->opts) {
        list->opts = g_ptr_array_new();
    }
    g_ptr_array_add(list->opts, opts);
    return opts;
}

void qemu_opts_del(QemuOpts *opts)
{
    if (!opts) {
        return;
    }
    g_ptr_array_remove(opts->list->opts, opts);
    if (!opts->list->opts->len) {
        g_clear_pointer(&opts->list->opts, g_ptr_array_unref);
    }
    g_ptr_array_free(opts->opts, TRUE);
    g_free(opts->id);
    g_free(opts);
}

const char *qemu_opts_id(const QemuOpts *opts)
{
    return opts->id;
}

QemuOptsList *qemu_opts_list(const QemuOpts *opts)
{
    return opts->list;
}

/* The last occurrence of @name, or NULL. */
static QemuOpt *find(const QemuOpts *opts, const char *name)
{
    for (guint i = opts->opts->len; i > 0; i--) {
        QemuOpt *opt = g_ptr_array_index(opts->opts, i - 1);

        if (g_str_equal(opt->name, name)) {
            return opt;
        }
    }
    return NULL;
}

/* ---- setting ---- */

bool qemu_opt_set(QemuOpts *opts, const char *name, const char *value, Error **errp)
{
    const QemuOptDesc *desc = find_desc(opts->list->desc, name);
    QemuOpt *opt;

    if (!desc && !accepts_any(opts->list)) {
        error_setg(errp, "Invalid parameter '%s'", name);
        return false;
    }
    opt = g_new0(QemuOpt, 1);
    opt->name = g_strdup(name);
    opt->value = g_strdup(value);
    opt->desc = desc;
    if (!parse_value(opt, errp)) {
        opt_free(opt);
        return false;
    }
    g_ptr_array_add(opts->opts, opt);
    return true;
}

bool qemu_opt_set_number(QemuOpts *opts, const char *name, int64_t value, Error **errp)
{
    g_autofree char *text = g_strdup_printf("%" PRId64, value);

    return qemu_opt_set(opts, name, text, errp);
}

bool qemu_opt_unset(QemuOpts *opts, const char *name)
{
    bool found = false;

    for (guint i = opts->opts->len; i > 0; i--) {
        QemuOpt *opt = g_ptr_array_index(opts->opts, i - 1);

        if (g_str_equal(opt->name, name)) {
            g_ptr_array_remove_index(opts->opts, i - 1);
            found = true;
        }
    }
    return found;
}

/* ---- parsing ---- */

char *option_value_read(const char **p)
{
    GString *value = g_string_new(NULL);
    const char *s = *p;

    for (; *s; s++) {
        if (*s == ',' && *++s != ',') {
            break;
        }
        g_string_append_c(value, *s);
    }
    *p = s;
    return g_string_free(value, FALSE);
}

/* Read the option at *@p.  @implied_name: of a value that stands alone. */
static void read_option(const char **p, const char *implied_name, char **name, char **value)
{
    size_t len = strcspn(*p, "=,");

    if ((*p)[len] == '=') {
        *name = g_strndup(*p, len);
        *p += len + 1;
        *value = option_value_read(p);
        return;
    }
    if (implied_name) {
        *name = g_strdup(implied_name);
        *value = option_value_read(p);
        return;
    }
    *name = g_strndup(*p, len);
    *p += len + ((*p)[len] == ',');
    *value = NULL;
}

/* A lone word: "on" to that option, or "off" to the one that follows "no". */
static void complete_flag(const QemuOpts *opts, bool warns, char **name, char **value)
{
    bool off = strstart(*name, "no", NULL)
        && !find_desc(opts->list->desc, *name)
        && find_desc(opts->list->desc, *name + 2);

    if (off) {
        char *rest = g_strdup(*name + 2);

        g_free(*name);
        *name = rest;
    }
    *value = g_strdup(off ? "off" : "on");
    if (warns && !g_str_equal(*name, "help") && !g_str_equal(*name, "?")) {
        warn_report("short-form boolean option '%s%s' deprecated", off ? "no" : "", *name);
        error_printf("Please use %s=%s instead\n", *name, *value);
    }
}

static bool do_parse(QemuOpts *opts, const char *params, const char *implied_name, bool warns,
                     Error **errp)
{
    const char *p = params;

    while (*p) {
        g_autofree char *name = NULL;
        g_autofree char *value = NULL;

        read_option(&p, p == params ? implied_name : NULL, &name, &value);
        if (!value) {
            complete_flag(opts, warns, &name, &value);
        }
        if (g_str_equal(name, "id")) {
            continue;  /* qemu_opts_parse() has used it */
        }
        if (!qemu_opt_set(opts, name, value, errp)) {
            return false;
        }
    }
    return true;
}

bool qemu_opts_do_parse(QemuOpts *opts, const char *params, const char *implied_name,
                        Error **errp)
{
    return do_parse(opts, params, implied_name, false, errp);
}

/* The value of "id=" in @params, or NULL. */
static char *find_id(const char *params, const char *implied_name)
{
    const char *p = params;

    while (*p) {
        g_autofree char *name = NULL;
        g_autofree char *value = NULL;

        read_option(&p, p == params ? implied_name : NULL, &name, &value);
        if (g_str_equal(name, "id") && value) {
            return g_steal_pointer(&value);
        }
    }
    return NULL;
}

QemuOpts *qemu_opts_parse(QemuOptsList *list, const char *params, bool permit_abbrev,
                          Error **errp)
{
    const char *implied_name = permit_abbrev ? list->implied_opt_name : NULL;
    g_autofree char *id = find_id(params, implied_name);
    QemuOpts *opts = qemu_opts_create(list, id, true, errp);

    if (opts && !do_parse(opts, params, implied_name, true, errp)) {
        qemu_opts_del(opts);
        return NULL;
    }
    return opts;
}

bool has_help_option(const char *params)
{
    const char *p = params;

    while (*p) {
        g_autofree char *item = option_value_read(&p);

        if (g_str_equal(item, "help") || g_str_equal(item, "?")) {
            return true;
        }
    }
    return false;
}

bool is_valid_option_list(const char *params)
{
    const char *p = params;

    if (*p == ',' || !*p) {
        return false;
    }
    while (*p) {
        g_autofree char *item = option_value_read(&p);

        if (!*item || (!*p && p[-1] == ',' && (p - params < 2 || p[-2] != ','))) {
            return false;
        }
    }
    return true;
}

/* ---- getting ---- */

static const char *default_of(const QemuOpts *opts, const char *name)
{
    const QemuOptDesc *desc = find_desc(opts->list->desc, name);

    return desc ? desc->def_value_str : NULL;
}

const char *qemu_opt_get(const QemuOpts *opts, const char *name)
{
    QemuOpt *opt;

    if (!opts) {
        return NULL;
    }
    opt = find(opts, name);
    return opt ? opt->value : default_of(opts, name);
}

bool qemu_opt_is_set(const QemuOpts *opts, const char *name)
{
    return opts && find(opts, name);
}

bool qemu_opt_get_bool(const QemuOpts *opts, const char *name, bool def)
{
    QemuOpt *opt = opts ? find(opts, name) : NULL;
    const char *text;

    if (opt) {
        assert(opt->desc && opt->desc->type == QEMU_OPT_BOOL);
        return opt->parsed.boolean;
    }
    text = opts ? default_of(opts, name) : NULL;
    if (text) {
        qemu_opts_parse_bool(name, text, &def, &error_abort);
    }
    return def;
}

/* @type: NUMBER or SIZE. */
static uint64_t get_uint(const QemuOpts *opts, const char *name, QemuOptType type, uint64_t def)
{
    QemuOpt *opt = opts ? find(opts, name) : NULL;
    const char *text;

    if (opt) {
        assert(opt->desc && opt->desc->type == type);
        return opt->parsed.uint;
    }
    text = opts ? default_of(opts, name) : NULL;
    if (text) {
        (type == QEMU_OPT_SIZE ? parse_size : parse_number)(name, text, &def, &error_abort);
    }
    return def;
}

uint64_t qemu_opt_get_number(const QemuOpts *opts, const char *name, uint64_t def)
{
    return get_uint(opts, name, QEMU_OPT_NUMBER, def);
}

uint64_t qemu_opt_get_size(const QemuOpts *opts, const char *name, uint64_t def)
{
    return get_uint(opts, name, QEMU_OPT_SIZE, def);
}

char *qemu_opt_get_del(QemuOpts *opts, const char *name)
{
    char *value = g_strdup(qemu_opt_get(opts, name));

    if (opts) {
        qemu_opt_unset(opts, name);
    }
    return value;
}

bool qemu_opt_get_bool_del(QemuOpts *opts, const char *name, bool def)
{
    bool value = qemu_opt_get_bool(opts, name, def);

    if (opts) {
        qemu_opt_unset(opts, name);
    }
    return value;
}

uint64_t qemu_opt_get_number_del(QemuOpts *opts, const char *name, uint64_t def)
{
    uint64_t value = qemu_opt_get_number(opts, name, def);

    if (opts) {
        qemu_opt_unset(opts, name);
    }
    return value;
}

uint64_t qemu_opt_get_size_del(QemuOpts *opts, const char *name, uint64_t def)
{
    uint64_t value = qemu_opt_get_size(opts, name, def);

    if (opts) {
        qemu_opt_unset(opts, name);
    }
    return value;
}

bool qemu_opt_foreach(const QemuOpts *opts, QemuOptFn *fn, void *opaque, Error **errp)
{
    for (guint i = 0; i < opts->opts->len; i++) {
        QemuOpt *opt = g_ptr_array_index(opts->opts, i);

        if (!fn(opaque, opt->name, opt->value, errp)) {
            return false;
        }
    }
    return true;
}

/* ---- dicts ---- */

QDict *qemu_opts_to_qdict(const QemuOpts *opts, QDict *dict)
{
    return qemu_opts_to_qdict_filtered((QemuOpts *)opts, dict, NULL, false);
}

QDict *qemu_opts_to_qdict_filtered(QemuOpts *opts, QDict *dict, const QemuOptsList *list,
                                   bool del)
{
    dict = dict ? dict : qdict_new();
    if (opts->id) {
        qdict_put_str(dict, "id", opts->id);
    }
    for (guint i = 0; i < opts->opts->len;) {
        QemuOpt *opt = g_ptr_array_index(opts->opts, i);

        if (list && !accepts_any(list) && !find_desc(list->desc, opt->name)) {
            i++;
            continue;
        }
        qdict_put_str(dict, opt->name, opt->value);
        if (del) {
            g_ptr_array_remove_index(opts->opts, i);
        } else {
            i++;
        }
    }
    return dict;
}

/* A scalar as the text of an option, or NULL. */
static char *scalar_text(const QObject *obj)
{
    switch (qobject_type(obj)) {
    case QTYPE_QSTRING:
        return g_strdup(qstring_get_str(qobject_to(QString, obj)));
    case QTYPE_QNUM:
        return qnum_to_string(qobject_to(QNum, obj));
    case QTYPE_QBOOL:
        return g_strdup(qbool_get_bool(qobject_to(QBool, obj)) ? "on" : "off");
    default:
        return NULL;
    }
}

QemuOpts *qemu_opts_from_qdict(QemuOptsList *list, const QDict *dict, Error **errp)
{
    QemuOpts *opts = qemu_opts_create(list, qdict_get_try_str(dict, "id"), true, errp);

    if (!opts) {
        return NULL;
    }
    for (const QDictEntry *e = qdict_first(dict); e; e = qdict_next(dict, e)) {
        g_autofree char *text = scalar_text(qdict_entry_value(e));

        if (!text || g_str_equal(qdict_entry_key(e), "id")) {
            continue;
        }
        if (!qemu_opt_set(opts, qdict_entry_key(e), text, errp)) {
            qemu_opts_del(opts);
            return NULL;
        }
    }
    return opts;
}

bool qemu_opts_absorb_qdict(QemuOpts *opts, QDict *dict, Error **errp)
{
    const QDictEntry *next;

    for (const QDictEntry *e = qdict_first(dict); e; e = next) {
        g_autofree char *text = scalar_text(qdict_entry_value(e));

        next = qdict_next(dict, e);
        if (!text || (!accepts_any(opts->list)
                      && !find_desc(opts->list->desc, qdict_entry_key(e)))) {
            continue;
        }
        if (!qemu_opt_set(opts, qdict_entry_key(e), text, errp)) {
            return false;
        }
        qdict_del(dict, qdict_entry_key(e));
    }
    return true;
}

bool qemu_opts_validate(QemuOpts *opts, const QemuOptDesc *desc, Error **errp)
{
    for (guint i = 0; i < opts->opts->len; i++) {
        QemuOpt *opt = g_ptr_array_index(opts->opts, i);

        opt->desc = find_desc(desc, opt->name);
        if (!opt->desc) {
            error_setg(errp, "Invalid parameter '%s'", opt->name);
            return false;
        }
        if (!parse_value(opt, errp)) {
            return false;
        }
    }
    return true;
}
