/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Options of subcommands: parsed and described from the same table. */
#include "qemu/osdep.h"

#include <getopt.h>

#include "qapi/user-object.h"
#include "qemu-img.h"
#include "qemu/cutils.h"

/* What getopt_long() returns for the option at place i of a table. */
#define OPTION_BASE 1000

static int count_options(const ImgOption *options)
{
    int n = 0;
    while (options[n].letter || options[n].name) {
        n++;
    }
    return n;
}

/* ---- parsing --------------------------------------------------------------------------------- */

static const ImgOption *find_option(const ImgCommand *cmd, int value)
{
    if (value >= OPTION_BASE) {
        return &cmd->options[value - OPTION_BASE];
    }
    for (const ImgOption *opt = cmd->options; opt->letter || opt->name; opt++) {
        if (opt->letter == value) {
            return opt;
        }
    }
    g_assert_not_reached();
}

/* False: the command ends with *@status. */
static bool store_option(const ImgOption *opt, void *values, const char *arg, int *status)
{
    void *place = (char *)values + opt->offset;
    Error *local_err = NULL;
    switch (opt->kind) {
    case IMG_FLAG:
        *(bool *)place = true;
        break;
    case IMG_STRING:
        *(const char **)place = arg;
        break;
    case IMG_LIST: {
        char **list = place;
        char *longer = *list ? g_strdup_printf("%s,%s", *list, arg) : g_strdup(arg);
        g_free(*list);
        *list = longer;
        break;
    }
    case IMG_STEP: {
        GArray **steps = place;
        ImgStep step = { opt, arg };
        if (!*steps) {
            *steps = g_array_new(FALSE, FALSE, sizeof(ImgStep));
        }
        g_array_append_val(*steps, step);
        break;
    }
    case IMG_OBJECT: {
        g_autofree char *help = user_object_help(arg);
        if (help) {
            fputs(help, stdout);
            *status = 0;
            return false;
        }
        if (!user_object_add_from_str(arg, &local_err)) {
            error_report_err(local_err);
            return false;
        }
        break;
    }
    }
    return true;
}

bool img_parse(const ImgCommand *cmd, void *values, int argc, char **argv, int *status)
{
    int n = count_options(cmd->options);
    g_autofree struct option *longs = g_new0(struct option, n + 2);
    g_autoptr(GString) shorts = g_string_new("h");
    int n_longs = 0, value;

    longs[n_longs++] = (struct option){ "help", no_argument, NULL, 'h' };
    for (int i = 0; i < n; i++) {
        const ImgOption *opt = &cmd->options[i];
        bool has_arg = opt->kind == IMG_STEP ? opt->arg != NULL : opt->kind != IMG_FLAG;
        if (opt->letter) {
            g_string_append_printf(shorts, "%c%s", opt->letter, has_arg ? ":" : "");
        }
        if (opt->name) {
            longs[n_longs++] = (struct option){ opt->name, has_arg, NULL, OPTION_BASE + i };
        }
    }
    optind = 0;
    while ((value = getopt_long(argc, argv, shorts->str, longs, NULL)) != -1) {
        if (value == 'h') {
            img_print_help(cmd);
            *status = 0;
            return false;
        }
        if (value == '?') { /* getopt said what is wrong */
            error_printf("Try 'qemu-img %s --help' for more info\n", cmd->name);
            *status = 1;
            return false;
        }
        *status = 1;
        if (!store_option(find_option(cmd, value), values, optarg, status)) {
            return false;
        }
    }
    return true;
}

int img_usage_error(const ImgCommand *cmd, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    error_vreport(fmt, ap);
    va_end(ap);
    error_printf("Try 'qemu-img %s --help' for more info\n", cmd->name);
    return 1;
}

/* ---- help ------------------------------------------------------------------------------------ */

/* "-f FMT", or "--output=human|json" if there is no letter. */
static void append_short_form(const ImgOption *opt, GString *out)
{
    if (opt->letter) {
        g_string_append_printf(out, "-%c%s%s", opt->letter, opt->arg ? " " : "",
                               opt->arg ? opt->arg : "");
    } else {
        g_string_append_printf(out, "--%s%s%s", opt->name, opt->arg ? "=" : "",
                               opt->arg ? opt->arg : "");
    }
}

void img_append_synopsis(const ImgCommand *cmd, GString *out)
{
    g_string_append(out, cmd->name);
    for (const ImgOption *opt = cmd->options; opt->letter || opt->name; opt++) {
        if (opt->help) {
            g_string_append(out, " [");
            append_short_form(opt, out);
            g_string_append_c(out, ']');
        }
    }
    g_string_append_printf(out, " %s", cmd->arguments);
}

void img_print_help(const ImgCommand *cmd)
{
    printf("Usage: qemu-img %s [OPTION]... %s\n%s\n\nOptions:\n", cmd->name, cmd->arguments,
           cmd->summary);
    for (const ImgOption *opt = cmd->options; opt->letter || opt->name; opt++) {
        g_autoptr(GString) form = g_string_new(NULL);
        if (!opt->help) {
            continue;
        }
        if (opt->letter) {
            g_string_append_printf(form, "-%c%s", opt->letter, opt->name ? ", " : "");
        } else {
            g_string_append(form, "    ");
        }
        if (opt->name) {
            g_string_append_printf(form, "--%s", opt->name);
        }
        if (opt->arg) {
            g_string_append_printf(form, " %s", opt->arg);
        }
        printf("  %-32s %s\n", form->str, opt->help);
    }
    printf("  %-32s %s\n", "-h, --help", "print this and exit");
}

/* ---- values ---------------------------------------------------------------------------------- */

bool img_parse_size(const char *what, const char *value, int64_t min, int64_t max, int64_t *result)
{
    uint64_t number;
    int ret = qemu_strtosz(value, NULL, &number);

    if (ret == -ERANGE || (ret == 0 && (number > (uint64_t)max || number < (uint64_t)min))) {
        error_report("Invalid %s specified. Must be between %" PRId64 " and %" PRId64 ".", what,
                     min, max);
        return false;
    }
    if (ret < 0) {
        error_report("Invalid %s specified: '%s'.", what, value);
        return false;
    }
    *result = number;
    return true;
}

bool img_parse_output(const ImgCommand *cmd, const char *value, ImgOutput *output)
{
    if (!value || !strcmp(value, "human")) {
        *output = IMG_OUTPUT_HUMAN;
    } else if (!strcmp(value, "json")) {
        *output = IMG_OUTPUT_JSON;
    } else {
        img_usage_error(cmd, "--output expects 'human' or 'json' not '%s'", value);
        return false;
    }
    return true;
}
