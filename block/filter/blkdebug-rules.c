/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * blkdebug's rules: from options and from a file.
 */
#include "qemu/osdep.h"

#include "blkdebug.h"
#include "qobject/opts.h"

#define MAX_CONFIG_BYTES (1 * MiB)
#define DEFAULT_IOTYPES \
    (1u << BLKDEBUG_IO_TYPE_READ | 1u << BLKDEBUG_IO_TYPE_WRITE | \
     1u << BLKDEBUG_IO_TYPE_WRITE_ZEROES | 1u << BLKDEBUG_IO_TYPE_DISCARD | \
     1u << BLKDEBUG_IO_TYPE_FLUSH)

void blkdebug_rule_free(BlkdebugRule *rule)
{
    if (rule) {
        g_free(rule->tag);
        g_free(rule);
    }
}

/* ---- typed ----------------------------------------------------------------------------------- */

bool blkdebug_rule_add_inject(BlkdebugRuleList *rules, const BlkdebugInjectErrorOptions *opts,
                              Error **errp)
{
    int64_t error = opts->has_q_errno ? opts->q_errno : EIO;
    int64_t sector = opts->has_sector ? opts->sector : -1;
    BlkdebugRule *rule;

    if (error < 0 || error > 4095) {
        error_setg(errp, "Parameter 'errno' must be between 0 and 4095");
        return false;
    }
    if (opts->has_delay_ns && opts->delay_ns < 0) {
        error_setg(errp, "Parameter 'delay-ns' must not be negative");
        return false;
    }
    if (sector < -1 || sector > BDRV_MAX_LENGTH / BDRV_SECTOR_SIZE) {
        error_setg(errp, "Parameter 'sector' is out of range");
        return false;
    }
    rule = g_new0(BlkdebugRule, 1);
    rule->action = BLKDEBUG_INJECT_ERROR;
    rule->event = opts->event;
    rule->state = opts->has_state ? opts->state : 0;
    rule->iotypes = opts->has_iotype ? 1u << opts->iotype : DEFAULT_IOTYPES;
    rule->error = error;
    rule->offset = sector < 0 ? -1 : sector * BDRV_SECTOR_SIZE;
    rule->delay_ns = opts->has_delay_ns ? opts->delay_ns : 0;
    rule->once = opts->has_once && opts->once;
    rule->immediately = opts->has_immediately && opts->immediately;
    QTAILQ_INSERT_TAIL(rules, rule, next);
    return true;
}

bool blkdebug_rule_add_set_state(BlkdebugRuleList *rules, const BlkdebugSetStateOptions *opts,
                                 Error **errp)
{
    BlkdebugRule *rule = g_new0(BlkdebugRule, 1);

    rule->action = BLKDEBUG_SET_STATE;
    rule->event = opts->event;
    rule->state = opts->has_state ? opts->state : 0;
    rule->new_state = opts->new_state;
    QTAILQ_INSERT_TAIL(rules, rule, next);
    return true;
}

/* ---- sections of a file ---------------------------------------------------------------------- */

static const QemuOptDesc inject_error_desc[] = {
    { .name = "event" },
    { .name = "state", .type = QEMU_OPT_NUMBER },
    { .name = "iotype" },
    { .name = "errno", .type = QEMU_OPT_NUMBER },
    { .name = "delay-ns", .type = QEMU_OPT_NUMBER },
    { .name = "sector", .type = QEMU_OPT_NUMBER },
    { .name = "once", .type = QEMU_OPT_BOOL },
    { .name = "immediately", .type = QEMU_OPT_BOOL },
    { .name = NULL }
};

static const QemuOptDesc set_state_desc[] = {
    { .name = "event" },
    { .name = "state", .type = QEMU_OPT_NUMBER },
    { .name = "new_state", .type = QEMU_OPT_NUMBER },
    { .name = NULL }
};

static bool parse_event(const QemuOpts *opts, BlkdebugEvent *event, Error **errp)
{
    const char *name = qemu_opt_get(opts, "event");
    int value;

    if (!name) {
        error_setg(errp, "Missing event name for rule");
        return false;
    }
    value = qapi_enum_parse(&BlkdebugEvent_lookup, name, -1, errp);
    *event = value;
    return value >= 0;
}

static bool add_inject_section(BlkdebugRuleList *rules, const QemuOpts *opts, Error **errp)
{
    const char *iotype = qemu_opt_get(opts, "iotype");
    BlkdebugInjectErrorOptions typed = {
        .has_state = true,
        .state = qemu_opt_get_number(opts, "state", 0),
        .has_q_errno = true,
        .q_errno = qemu_opt_get_number(opts, "errno", EIO),
        .has_delay_ns = true,
        .delay_ns = qemu_opt_get_number(opts, "delay-ns", 0),
        .has_sector = true,
        .sector = qemu_opt_get_number(opts, "sector", -1),
        .has_once = true,
        .once = qemu_opt_get_bool(opts, "once", false),
        .has_immediately = true,
        .immediately = qemu_opt_get_bool(opts, "immediately", false),
    };

    if (!parse_event(opts, &typed.event, errp)) {
        return false;
    }
    if (iotype) {
        int value = qapi_enum_parse(&BlkdebugIOType_lookup, iotype, -1, errp);

        if (value < 0) {
            return false;
        }
        typed.has_iotype = true;
        typed.iotype = value;
    }
    return blkdebug_rule_add_inject(rules, &typed, errp);
}

static bool add_set_state_section(BlkdebugRuleList *rules, const QemuOpts *opts, Error **errp)
{
    BlkdebugSetStateOptions typed = {
        .has_state = true,
        .state = qemu_opt_get_number(opts, "state", 0),
        .new_state = qemu_opt_get_number(opts, "new_state", 0),
    };

    return parse_event(opts, &typed.event, errp) &&
           blkdebug_rule_add_set_state(rules, &typed, errp);
}

/* A section with its lines, in order: key, value, key, value ... */
typedef struct Section {
    char *name;
    GPtrArray *words;
} Section;

static void section_free(Section *section)
{
    if (section) {
        g_free(section->name);
        g_ptr_array_free(section->words, TRUE);
        g_free(section);
    }
}
G_DEFINE_AUTOPTR_CLEANUP_FUNC(Section, section_free)

static Section *section_new(char *name)
{
    Section *section = g_new(Section, 1);

    section->name = name;
    section->words = g_ptr_array_new_with_free_func(g_free);
    return section;
}

static bool section_add_rule(BlkdebugRuleList *rules, const Section *section, Error **errp)
{
    bool is_inject = strcmp(section->name, "inject-error") == 0;
    QemuOptsList list = {
        .name = section->name,
        .desc = is_inject ? inject_error_desc : set_state_desc,
    };
    QemuOpts *opts;
    bool ok = true;

    if (!is_inject && strcmp(section->name, "set-state") != 0) {
        error_setg(errp, "There is no option group '%s'", section->name);
        return false;
    }
    opts = qemu_opts_create(&list, NULL, false, errp);
    for (unsigned i = section->words->len; ok && i > 0; i -= 2) {
        ok = qemu_opt_set(opts, g_ptr_array_index(section->words, i - 2),
                          g_ptr_array_index(section->words, i - 1), errp);
    }
    if (ok) {
        ok = is_inject ? add_inject_section(rules, opts, errp)
                       : add_set_state_section(rules, opts, errp);
    }
    qemu_opts_del(opts);
    qemu_opts_free(&list);
    return ok;
}

/* ---- lines of a file ------------------------------------------------------------------------- */

/* KEY = "VALUE"; without the spaces, all of it is the key, as stock has it. */
static bool parse_assignment(const char *line, Section *section)
{
    size_t key_len = strcspn(line, " \t");
    const char *rest = line + key_len + strspn(line + key_len, " \t");
    const char *value = "";
    size_t value_len = 0;

    if (*rest) {
        if (*rest++ != '=') {
            return false;
        }
        rest += strspn(rest, " \t");
        if (*rest++ != '"') {
            return false;
        }
        value = rest;
        value_len = strcspn(value, "\"");
        if (value[value_len] != '"') {
            return false;
        }
    }
    g_ptr_array_add(section->words, g_strndup(line, key_len));
    g_ptr_array_add(section->words, g_strndup(value, value_len));
    return true;
}

static bool parse_line(BlkdebugRuleList *rules, char *line, Section **section, const char *where,
                       Error **errp)
{
    size_t len;

    g_strstrip(line);
    len = strlen(line);
    if (len == 0 || line[0] == '#') {
        return true;
    }
    if (line[0] == '[' && line[len - 1] == ']') {
        if (*section && !section_add_rule(rules, *section, errp)) {
            return false;
        }
        section_free(*section);
        *section = section_new(g_strndup(line + 1, len - 2));
        return true;
    }
    if (!*section) {
        error_setg(errp, "%s: no group defined", where);
        return false;
    }
    if (!parse_assignment(line, *section)) {
        error_setg(errp, "%s: parse error", where);
        return false;
    }
    return true;
}

static bool parse_text(BlkdebugRuleList *rules, const char *text, const char *filename,
                       Error **errp)
{
    g_auto(GStrv) lines = g_strsplit(text, "\n", -1);
    g_autoptr(Section) section = NULL;

    for (unsigned i = 0; lines[i]; i++) {
        g_autofree char *where = g_strdup_printf("%s:%u", filename, i + 1);

        if (!parse_line(rules, lines[i], &section, where, errp)) {
            return false;
        }
    }
    return !section || section_add_rule(rules, section, errp);
}

bool blkdebug_rules_read(BlkdebugRuleList *rules, const char *filename, Error **errp)
{
    g_autofree char *text = g_malloc0(MAX_CONFIG_BYTES + 1);
    FILE *file = fopen(filename, "re");
    size_t len;
    bool failed;

    if (!file) {
        error_setg_errno(errp, errno, "Could not read blkdebug config file");
        return false;
    }
    len = fread(text, 1, MAX_CONFIG_BYTES + 1, file);
    failed = ferror(file);
    fclose(file);
    if (failed) {
        error_setg(errp, "Could not read blkdebug config file: %s: input error", filename);
        return false;
    }
    if (len > MAX_CONFIG_BYTES) {
        error_setg(errp, "Could not read blkdebug config file: it has more than %d bytes",
                   (int)MAX_CONFIG_BYTES);
        return false;
    }
    return parse_text(rules, text, filename, errp);
}
