/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The command table: finding, checking and running a command; help.
 */
#include "qemu/osdep.h"

#include "qemu-io.h"

#include <getopt.h>

#include "block/graph.h"

#define MAX_WORDS 1024

static int coroutine_fn co_help(QemuIo *io, int argc, char **argv);

static const IoCommand help_commands[] = {
    { "help", "?", 0, 1, "[command]", "help for one or all commands", NULL, true, 0, co_help },
    { .name = NULL },
};

static const IoCommand *const tables[] = { io_rw_commands, io_aio_commands, io_node_commands,
                                           io_debug_commands, io_zone_commands, help_commands };

static const IoCommand *find_in(const IoCommand *table, const char *name)
{
    for (const IoCommand *c = table; c->name; c++) {
        if (!strcmp(c->name, name) || (c->alt_name && !strcmp(c->alt_name, name))) {
            return c;
        }
    }
    return NULL;
}

static const IoCommand *find_command(const char *name)
{
    const IoCommand *found = NULL;

    for (unsigned i = 0; i < ARRAY_SIZE(tables) && !found; i++) {
        found = find_in(tables[i], name);
    }
    return found;
}

static void print_oneline(const IoCommand *c)
{
    printf("%s %s%s-- %s\n", c->name, c->args, *c->args ? " " : "", c->oneline);
}

int qemuio_usage(const IoCommand *table, const char *name)
{
    print_oneline(find_in(table, name));
    return -EINVAL;
}

static int compare_names(const void *a, const void *b)
{
    return strcmp((*(const IoCommand *const *)a)->name, (*(const IoCommand *const *)b)->name);
}

static void list_commands(void)
{
    g_autoptr(GPtrArray) all = g_ptr_array_new();

    for (unsigned i = 0; i < ARRAY_SIZE(tables); i++) {
        for (const IoCommand *c = tables[i]; c->name; c++) {
            g_ptr_array_add(all, (void *)c);
        }
    }
    qsort(all->pdata, all->len, sizeof(void *), compare_names);
    for (unsigned i = 0; i < all->len; i++) {
        print_oneline(all->pdata[i]);
    }
    printf("\nUse 'help commandname' for extended help.\n");
}

static int coroutine_fn co_help(QemuIo *io, int argc, char **argv)
{
    const IoCommand *c;

    if (argc == 1) {
        list_commands();
        return 0;
    }
    c = find_command(argv[1]);
    if (!c) {
        printf("command %s not found\n", argv[1]);
        return -EINVAL;
    }
    print_oneline(c);
    if (c->help) {
        printf("%s\n", c->help);
    }
    return 0;
}

static bool check_count(const IoCommand *c, int n)
{
    if (n >= c->min_args && (c->max_args < 0 || n <= c->max_args)) {
        return true;
    }
    fprintf(stderr, "bad argument count %d to %s, expected ", n, c->name);
    if (c->max_args < 0) {
        fprintf(stderr, "at least %d arguments\n", c->min_args);
    } else if (c->min_args == c->max_args) {
        fprintf(stderr, "%d arguments\n", c->min_args);
    } else {
        fprintf(stderr, "between %d and %d arguments\n", c->min_args, c->max_args);
    }
    return false;
}

/* Get what the command needs at the root, beside what is there. */
static bool coroutine_fn co_ensure_perm(QemuIo *io, uint64_t wanted)
{
    uint64_t perm, shared;
    Error *err = NULL;
    bool ok = true;

    blk_get_perm(io->blk, &perm, &shared);
    if (wanted & ~perm) {
        bdrv_co_control_lock();
        ok = blk_co_set_perm(io->blk, perm | wanted, shared, &err);
        bdrv_co_control_unlock();
    }
    if (!ok) {
        error_report_err(err);
    }
    return ok;
}

/* Whether it is about which file is open, or about the program itself. */
static bool is_of_program(const IoCommand *c)
{
    return !strcmp(c->name, "open") || !strcmp(c->name, "close") || !strcmp(c->name, "quit");
}

static bool coroutine_fn co_run_words(QemuIo *io, int argc, char **argv)
{
    const IoCommand *c = find_command(argv[0]);

    if (!c || (io->is_guest && is_of_program(c))) {
        fprintf(stderr, "command \"%s\" not found\n", argv[0]);
        return false;
    }
    if (!c->works_without_file && !io->blk) {
        fprintf(stderr, "no file open, try 'help open'\n");
        return false;
    }
    if (!check_count(c, argc - 1)) {
        return false;
    }
    if (c->perm && !co_ensure_perm(io, c->perm)) {
        return false;
    }
    optind = 0;
    return c->co_run(io, argc, argv) >= 0;
}

bool coroutine_fn qemuio_co_command(QemuIo *io, const char *line)
{
    g_autofree char *copy = g_strdup(line);
    g_autofree char **words = g_new0(char *, MAX_WORDS + 1);
    int n = 0;

    for (char *rest = copy, *w = strtok_r(copy, " ", &rest); w && n < MAX_WORDS;
         w = strtok_r(NULL, " ", &rest)) {
        words[n++] = w;
    }
    return n == 0 || co_run_words(io, n, words);
}
