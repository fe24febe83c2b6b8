/* SPDX-License-Identifier: GPL-2.0-or-later */
/* HMP sessions, and the tables of commands for people. */
#include "qemu/osdep.h"
#include "monitor-int.h"

#include "qemu/main-loop.h"
#include "qemu/version.h"
#include "readline.h"

#define PROMPT "(qemu) "

typedef struct HmpSession {
    Monitor common;
    ReadLine *readline;      /* NULL: lines come whole */
    GByteArray *input;       /* from input_at on not yet handled */
    guint input_at;
    QEMUBH *bh;              /* a command has ended: go on with the input */
    GString *line;           /* without readline: what came of the line */
    bool is_busy;            /* a command runs */
    bool is_hidden;          /* another user has the terminal */
    unsigned generation;     /* counts connections */
} HmpSession;

static GPtrArray *commands;  /* of const HMPCommand *, sorted by name */
static GPtrArray *infos;

/* ---- tables ---------------------------------------------------------------------------------- */

static int compare_commands(gconstpointer a, gconstpointer b)
{
    return strcmp((*(const HMPCommand *const *)a)->name, (*(const HMPCommand *const *)b)->name);
}

static void add_table(GPtrArray **list, const HMPCommand *table)
{
    if (!*list) {
        *list = g_ptr_array_new();
    }
    for (; table->name; table++) {
        g_ptr_array_add(*list, (gpointer)table);
    }
    g_ptr_array_sort(*list, compare_commands);
}

void hmp_register_commands(const HMPCommand *table)
{
    add_table(&commands, table);
}

void hmp_register_info(const HMPCommand *table)
{
    add_table(&infos, table);
}

/* Whether @names, "a|b|c", has @name. */
static bool is_named(const char *names, const char *name, size_t len)
{
    for (const char *p = names; ; p++) {
        size_t n = strcspn(p, "|");

        if (n == len && !strncmp(p, name, len)) {
            return true;
        }
        p += n;
        if (!*p) {
            return false;
        }
    }
}

static const HMPCommand *find_in(const GPtrArray *list, const char *name, size_t len)
{
    for (guint i = 0; len && i < list->len; i++) {
        const HMPCommand *cmd = list->pdata[i];

        if (is_named(cmd->name, name, len)) {
            return cmd;
        }
    }
    return NULL;
}

const HMPCommand *hmp_find_command(const char *line, const char **args)
{
    size_t len = strcspn(line, " ");
    const HMPCommand *cmd = find_in(commands, line, len);

    if (cmd && !strcmp(cmd->name, "info") && line[len]) {
        line += len + strspn(line + len, " ");
        len = strcspn(line, " ");
        cmd = find_in(infos, line, len);
    }
    *args = line + len;
    return cmd;
}

void hmp_add_command_names(GPtrArray *words, bool is_info, const char *prefix)
{
    const GPtrArray *list = is_info ? infos : commands;

    for (guint i = 0; i < list->len; i++) {
        const char *names = ((const HMPCommand *)list->pdata[i])->name;
        g_autofree char *name = g_strndup(names, strcspn(names, "|"));

        hmp_add_choice(words, name, prefix);
    }
}

/* ---- running --------------------------------------------------------------------------------- */

bool hmp_handle_error(Monitor *mon, Error *err)
{
    if (!err) {
        return false;
    }
    error_reportf_err(err, "Error: ");
    return true;
}

/* What -preconfig offers before there is a machine. */
static bool needs_no_machine(const HMPCommand *cmd)
{
    static const char *const names[] = {
        "help|?", "info", "quit|q", "exit_preconfig", "version", "status",
    };

    for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
        if (!strcmp(cmd->name, names[i])) {
            return true;
        }
    }
    return false;
}

static void run_command(Monitor *mon, const HMPCommand *cmd, const char *text, bool is_info)
{
    g_autoptr(QDict) args = hmp_parse_args(mon, cmd, text);
    bool is_exempt = is_info || cmd->is_exempt;

    if (args && monitor_is_preconfig() && !needs_no_machine(cmd)) {
        monitor_printf(mon, "Command '%.*s' not available with -preconfig until machine "
                       "initialization has completed.\n", (int)strcspn(cmd->name, "|"), cmd->name);
    } else if (args) {
        monitor_enter_command(is_exempt);
        cmd->run(mon, args);
        monitor_leave_command(is_exempt);
    }
}

/* Carry out one line. */
static void coroutine_fn run_line(Monitor *mon, const char *line)
{
    const char *name = line + strspn(line, " \t\r\n");
    size_t len = strcspn(name, " \t\r\n");
    const HMPCommand *cmd = find_in(commands, name, len);
    const char *rest = name + len;
    const char *sub;
    size_t sub_len;

    if (!len) {
        return;
    }
    if (!cmd) {
        monitor_printf(mon, "unknown command: '%.*s'\n", (int)len, name);
        return;
    }
    sub = rest + strspn(rest, " \t\r\n");
    sub_len = strcspn(sub, " \t\r\n");
    if (strcmp(cmd->name, "info") || !sub_len) {
        run_command(mon, cmd, rest, false);
        return;
    }
    cmd = find_in(infos, sub, sub_len);
    if (cmd) {
        run_command(mon, cmd, sub + sub_len, true);
    } else {
        monitor_printf(mon, "unknown command: 'info %.*s'\n", (int)sub_len, sub);
    }
}

char *coroutine_fn hmp_run_collecting(const char *line)
{
    Monitor collector = { 0 };
    Monitor *outer;
    char *text;

    monitor_data_init(&collector, false);
    outer = monitor_set_cur(&collector);
    run_line(&collector, line);
    monitor_set_cur(outer);
    text = g_strdup(collector.out->str);
    monitor_data_done(&collector);
    return text;
}

/* ---- sessions -------------------------------------------------------------------------------- */

static void show_prompt(HmpSession *s)
{
    if (!s->is_hidden && !s->common.is_retired) {
        if (s->readline) {
            readline_start(s->readline);
        } else {
            monitor_puts(&s->common, PROMPT);
        }
    }
}

typedef struct LineRun {
    HmpSession *session;
    char *line;
} LineRun;

static void coroutine_fn run_line_co(void *opaque)
{
    LineRun *run = opaque;
    HmpSession *s = run->session;
    unsigned generation = s->generation;

    monitor_set_cur(&s->common);
    run_line(&s->common, run->line);
    monitor_set_cur(NULL);
    g_free(run->line);
    g_free(run);
    s->is_busy = false;
    if (generation == s->generation) {
        show_prompt(s);
    }
    qemu_bh_schedule(s->bh);
}

static void start_line(HmpSession *s, char *line)
{
    LineRun *run = g_new(LineRun, 1);

    *run = (LineRun){ .session = s, .line = line };
    s->is_busy = true;
    qemu_coroutine_enter(qemu_coroutine_create(run_line_co, run));
}

/* A whole line, if @byte ends one; for input that needs no editing. */
static char *plain_line(HmpSession *s, uint8_t byte)
{
    char *line;

    if (byte != '\n' && byte != '\r') {
        if (s->line->len < 4095) {
            g_string_append_c(s->line, byte);
        }
        return NULL;
    }
    line = g_strdup(s->line->str);
    g_string_truncate(s->line, 0);
    return line;
}

static void drop_input(HmpSession *s)
{
    g_byte_array_set_size(s->input, 0);
    s->input_at = 0;
}

static void handle_input(HmpSession *s)
{
    while (s->input_at < s->input->len && !s->is_busy &&
           !monitor_is_deaf(&s->common)) {
        uint8_t byte = s->input->data[s->input_at++];
        char *line = s->readline ? readline_handle_byte(s->readline, byte) : plain_line(s, byte);

        if (line) {
            start_line(s, line);
        }
    }
    if (s->input_at == s->input->len) {
        drop_input(s);
    }
}

static void go_on(void *opaque)
{
    HmpSession *s = opaque;

    handle_input(s);
    monitor_may_end(&s->common);
    chr_fe_accept_input(&s->common.fe);
}

static size_t hmp_can_receive(void *opaque)
{
    HmpSession *s = opaque;

    return monitor_is_deaf(&s->common) || s->is_busy || s->input->len ||
           monitor_pending_output(&s->common) > MONITOR_OUT_SOFT_MAX ? 0 : SIZE_MAX;
}

static void hmp_receive(void *opaque, const uint8_t *buf, size_t size)
{
    HmpSession *s = opaque;

    g_byte_array_append(s->input, buf, size);
    handle_input(s);
}

static void hmp_event(void *opaque, ChrEvent event)
{
    HmpSession *s = opaque;

    switch (event) {
    case CHR_EVENT_OPENED:
        s->generation++;
        monitor_printf(&s->common, "QEMU %s monitor - type 'help' for more information\n",
                       QEMU_VERSION);
        show_prompt(s);
        break;
    case CHR_EVENT_CLOSED:
        s->generation++;
        drop_input(s);
        g_string_truncate(s->line, 0);
        monitor_drop_output(&s->common);
        monitor_may_end(&s->common);
        break;
    case CHR_EVENT_MUX_IN:
        if (s->is_hidden) {
            s->is_hidden = false;
            if (s->readline && !s->is_busy) {
                readline_show_again(s->readline);
            }
        }
        break;
    case CHR_EVENT_MUX_OUT:
        s->is_hidden = true;
        break;
    case CHR_EVENT_BREAK:
        break;
    }
}

static void hmp_writable(void *opaque)
{
    HmpSession *s = opaque;

    monitor_flush(&s->common);
    monitor_may_end(&s->common);
    chr_fe_accept_input(&s->common.fe);
}

static const ChrHandlers hmp_handlers = {
    .can_receive = hmp_can_receive,
    .receive = hmp_receive,
    .event = hmp_event,
    .writable = hmp_writable,
};

static void print_edited(void *opaque, const char *text)
{
    monitor_puts(opaque, text);
}

static GPtrArray *complete_line(void *opaque, const char *text)
{
    return hmp_complete(text);
}

Monitor *monitor_new_hmp(Chardev *chr, bool use_readline, Error **errp)
{
    HmpSession *s = g_new0(HmpSession, 1);

    monitor_data_init(&s->common, false);
    s->input = g_byte_array_new();
    s->line = g_string_new(NULL);
    s->bh = qemu_bh_new(go_on, s);
    if (use_readline) {
        s->readline = readline_new(PROMPT, print_edited, complete_line, &s->common);
    }
    if (!monitor_attach(&s->common, chr, errp)) {
        hmp_session_free(&s->common);
        return NULL;
    }
    chr_fe_set_handlers(&s->common.fe, &hmp_handlers, s);
    return &s->common;
}

void hmp_session_free(Monitor *mon)
{
    HmpSession *s = container_of(mon, HmpSession, common);

    qemu_bh_delete(s->bh);
    readline_free(s->readline);
    g_byte_array_unref(s->input);
    g_string_free(s->line, TRUE);
    monitor_data_done(mon);
    g_free(s);
}

bool hmp_session_is_busy(const Monitor *mon)
{
    return container_of(mon, HmpSession, common)->is_busy;
}

/* ---- commands of this layer ------------------------------------------------------------------ */

static void print_help(Monitor *mon, const HMPCommand *cmd, const char *prefix)
{
    monitor_printf(mon, "%s%s %s -- %s\n", prefix, cmd->name, cmd->params, cmd->help);
}

static void print_help_all(Monitor *mon, const GPtrArray *list, const char *prefix)
{
    for (guint i = 0; i < list->len; i++) {
        print_help(mon, list->pdata[i], prefix);
    }
}

static void coroutine_fn hmp_help(Monitor *mon, const QDict *args)
{
    const char *name = qdict_get_try_str(args, "name");
    const char *sub = name ? strchr(name, ' ') : NULL;
    const HMPCommand *cmd;

    if (!name) {
        print_help_all(mon, commands, "");
        return;
    }
    cmd = find_in(commands, name, strcspn(name, " "));
    if (cmd && !strcmp(cmd->name, "info")) {
        const HMPCommand *info = sub ? find_in(infos, sub + 1, strlen(sub + 1)) : NULL;

        if (info) {
            print_help(mon, info, "info ");
        } else {
            print_help_all(mon, infos, "info ");
        }
    } else if (cmd && !sub) {
        print_help(mon, cmd, "");
    } else {
        monitor_printf(mon, "unknown command: '%s'\n", name);
    }
}

static void coroutine_fn hmp_info_help(Monitor *mon, const QDict *args)
{
    print_help_all(mon, infos, "info ");
}

static void coroutine_fn hmp_info_version(Monitor *mon, const QDict *args)
{
    monitor_printf(mon, "%s %s\n", QEMU_VERSION, QEMU_PACKAGE);
}

static void print_chardev(Chardev *chr, void *opaque)
{
    g_autofree char *text = chardev_describe(chr);

    monitor_printf(opaque, "%s: filename=%s\n", chardev_id(chr), text);
}

static void coroutine_fn hmp_info_chardev(Monitor *mon, const QDict *args)
{
    chardev_foreach(print_chardev, mon);
}

static void complete_command(GPtrArray *words, const GPtrArray *before, const char *prefix)
{
    hmp_add_command_names(words, false, prefix);
}

static const HMPCommand builtin_commands[] = {
    { "help|?", "name:S?", "[cmd]", "show the help", hmp_help, true },
    { "info", "", "[subcommand]", "show various information about the system state",
      hmp_info_help, true },
    { .name = NULL },
};

static const HMPCommand builtin_infos[] = {
    { "chardev", "", "", "show the character devices", hmp_info_chardev, true },
    { "version", "", "", "show the version", hmp_info_version, true },
    { .name = NULL },
};

void hmp_register_builtin(void)
{
    hmp_set_completer("help", 0, complete_command);
    hmp_register_commands(builtin_commands);
    hmp_register_info(builtin_infos);
}
