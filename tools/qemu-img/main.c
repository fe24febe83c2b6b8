/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * qemu-img: create, examine, copy and compare disk images.
 *
 * This file finds the subcommand and runs it in a coroutine; each subcommand is a file of its own.
 */
#include "qemu/osdep.h"

#include <getopt.h>
#include <signal.h>

#include "block/blockdev.h"
#include "block/coroutine.h"
#include "block/graph.h"
#include "block/lock-wait.h"
#include "qapi/user-object.h"
#include "qemu-img.h"
#include "qemu/daemon.h"
#include "qemu/log.h"
#include "qemu/main-loop.h"
#include "qemu/version.h"

static const ImgCommand *const commands[] = {
    &img_amend, &img_bench, &img_bitmap, &img_check, &img_commit, &img_compact, &img_compare,
    &img_convert, &img_create, &img_dd, &img_info, &img_map, &img_measure, &img_rebase,
    &img_resize, &img_snapshot,
};

typedef struct Run {
    const ImgCommand *cmd;
    int argc;
    char **argv;
    int status;
} Run;

static void coroutine_fn co_run_command(void *opaque)
{
    Run *run = opaque;
    run->status = run->cmd->co_run(run->argc, run->argv);
    bdrv_co_close_all();
    if (run->status == 0 && bdrv_failed_closes()) {
        run->status = 1; /* what was written is not all there */
    }
}

/* What scripts read has to be whole. */
static bool finish_stdout(void)
{
    if (fflush(stdout) != 0) {
        error_report("Could not write to standard output: %s", g_strerror(errno));
        return false;
    }
    if (ferror(stdout)) { /* an earlier flush failed: why, nobody kept */
        error_report("Could not write to standard output");
        return false;
    }
    return true;
}

static int run_command(const ImgCommand *cmd, int argc, char **argv)
{
    g_autofree char *name = g_strdup_printf("qemu-img %s", cmd->name);
    Run run = { .cmd = cmd, .argc = argc, .argv = argv };

    argv[0] = name; /* getopt's messages begin with it */
    qemu_init_main_loop(&error_fatal);
    bdrv_init();
    block_objects_register();
    co_run(co_run_command, &run);
    user_object_del_all();
    if (!finish_stdout() && run.status == 0) {
        run.status = 1;
    }
    return run.status;
}

static void print_format(void *opaque, const char *name)
{
    printf(" %s", name);
}

static void print_help(void)
{
    printf("qemu-img version %s\n%s\n"
           "Usage: qemu-img [-h|--help] [-V|--version] [-T|--trace PATTERN] COMMAND [OPTION]...\n\n"
           "  --wait-lock=SECONDS  with any command: wait up to SECONDS for each image that\n"
           "                       another process has locked, instead of failing at once\n\n"
           "Commands ('qemu-img COMMAND --help' explains one):\n",
           QEMU_FULL_VERSION, QEMU_COPYRIGHT);
    for (size_t i = 0; i < G_N_ELEMENTS(commands); i++) {
        g_autoptr(GString) synopsis = g_string_new(NULL);
        img_append_synopsis(commands[i], synopsis);
        printf("  %s\n", synopsis->str);
    }
    bdrv_init();
    printf("\nSupported formats:");
    bdrv_iterate_format(print_format, NULL, false);
    putchar('\n');
}

static int usage_error(const char *message)
{
    if (message) {
        error_report("%s", message);
    }
    error_printf("Try 'qemu-img --help' for more info\n");
    return 1;
}

static int find_and_run(int argc, char **argv)
{
    for (size_t i = 0; i < G_N_ELEMENTS(commands); i++) {
        if (!strcmp(argv[0], commands[i]->name)) {
            return run_command(commands[i], argc, argv);
        }
    }
    g_autofree char *message = g_strdup_printf("Command not found: %s", argv[0]);
    return usage_error(message);
}

int main(int argc, char **argv)
{
    static const struct option long_options[] = {
        { "help", no_argument, NULL, 'h' },
        { "version", no_argument, NULL, 'V' },
        { "trace", required_argument, NULL, 'T' },
        { NULL, 0, NULL, 0 },
    };
    static char program[] = "qemu-img";
    Error *err = NULL;
    int opt;

    daemon_prepare_process();
    error_init(program);
    argv[0] = program;
    signal(SIGPIPE, SIG_IGN);
    if (!bdrv_take_lock_wait_option(&argc, argv, &err)) {
        error_report_err(err);
        return 1;
    }
    while ((opt = getopt_long(argc, argv, "+hVT:", long_options, NULL)) != -1) {
        switch (opt) {
        case 'h':
            print_help();
            return 0;
        case 'V':
            printf("qemu-img version %s\n%s\n", QEMU_FULL_VERSION, QEMU_COPYRIGHT);
            return 0;
        case 'T':
            trace_enable_events(optarg);
            break;
        default:
            return usage_error(NULL);
        }
    }
    if (optind >= argc) {
        return usage_error("Not enough arguments");
    }
    return find_and_run(argc - optind, argv + optind);
}
