/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What the subcommands of qemu-img share: one table each that says what they take, and opening.
 *
 * - A subcommand is one file with one ImgCommand.  Its option table is both what is parsed and what
 *   --help prints; nothing is parsed that the table does not show.
 * - co_run runs in a coroutine of the main thread, without the control lock, and returns the exit
 *   status.  Errors are reported where they are found; a subcommand prints nothing twice.
 * - An image is an ImgBackend: closed with img_co_close(), best by g_autoptr.
 */
#ifndef QEMU_IMG_H
#define QEMU_IMG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "block/block-backend.h"

/* ---- commands and their options -------------------------------------------------------------- */

typedef enum ImgOptionKind {
    IMG_FLAG,   /* bool */
    IMG_STRING, /* const char *; the last one counts */
    IMG_LIST,   /* char *, owned: all, joined by commas */
    IMG_STEP,   /* GArray * of ImgStep, owned: the options of this kind in order */
    IMG_OBJECT, /* nothing kept: the object is made at once */
} ImgOptionKind;

typedef struct ImgOption {
    char letter;        /* 0: none */
    const char *name;   /* long name; NULL: none */
    ImgOptionKind kind;
    size_t offset;      /* of the value in the command's struct of options */
    const char *arg;    /* what the value is called in the help */
    const char *help;   /* NULL: another name of an option, not shown */
} ImgOption;

/* An IMG_STEP as it was given. */
typedef struct ImgStep {
    const ImgOption *option;
    const char *arg; /* NULL: takes none */
} ImgStep;

/* Options of many tables; @type has a member of the option's name. */
#define IMG_OPT_QUIET(type) \
    { 'q', "quiet", IMG_FLAG, offsetof(type, quiet), NULL, "print nothing but errors" }
#define IMG_OPT_OBJECT \
    { 0, "object", IMG_OBJECT, 0, "OBJECT", "make an object, such as a secret" }
#define IMG_OPT_IMAGE_OPTS(type) \
    { 0, "image-opts", IMG_FLAG, offsetof(type, image_opts), NULL, \
      "FILE is a list of options: driver=...,file.filename=..." }
#define IMG_OPT_FORMAT(type) \
    { 'f', "format", IMG_STRING, offsetof(type, format), "FMT", "format of FILE (default: probed)" }
#define IMG_OPT_FORCE_SHARE(type) \
    { 'U', "force-share", IMG_FLAG, offsetof(type, force_share), NULL, \
      "open FILE even if it is in use, as it is right now" }
#define IMG_OPT_CACHE(type) \
    { 't', "cache", IMG_STRING, offsetof(type, cache), "MODE", \
      "cache mode of FILE (default: writeback)" }
#define IMG_OPT_PROGRESS(type) \
    { 'p', "progress", IMG_FLAG, offsetof(type, progress), NULL, "show how far it is" }
#define IMG_OPT_OUTPUT(type) \
    { 0, "output", IMG_STRING, offsetof(type, output), "human|json", "how to print" }

typedef struct ImgCommand {
    const char *name;
    const char *arguments;    /* "FILE [SIZE]" */
    const char *summary;      /* one sentence */
    const ImgOption *options; /* ends with a zeroed one */
    int coroutine_fn (*co_run)(int argc, char **argv);
} ImgCommand;

extern const ImgCommand img_amend, img_bench, img_bitmap, img_check, img_commit, img_compare;
extern const ImgCommand img_convert, img_create, img_dd, img_info, img_map, img_measure, img_resize;
extern const ImgCommand img_compact, img_rebase, img_snapshot;

/**
 * Parse argv[1..] into @values, the command's zeroed struct of options.  getopt's optind is then
 * the first argument that is no option.
 * Returns: whether the command goes on; if not, *@status is its exit status.
 */
bool img_parse(const ImgCommand *cmd, void *values, int argc, char **argv, int *status);

/** Report an error of usage, and where help is.  Returns 1, the exit status. */
int img_usage_error(const ImgCommand *cmd, const char *fmt, ...) QEMU_PRINTF(2, 3);

/** Print the help of @cmd on stdout. */
void img_print_help(const ImgCommand *cmd);

/** Append "name [-q] [-f FMT] FILE" to @out. */
void img_append_synopsis(const ImgCommand *cmd, GString *out);

/* ---- values of options ----------------------------------------------------------------------- */

/**
 * Parse a size or number within @min..@max; @what names it in the report.
 * Returns: false, reported, if it is none.
 */
bool img_parse_size(const char *what, const char *value, int64_t min, int64_t max, int64_t *result);

typedef enum ImgOutput { IMG_OUTPUT_HUMAN, IMG_OUTPUT_JSON } ImgOutput;

/** Parse the value of --output; NULL: human.  False, reported, if it is unknown. */
bool img_parse_output(const ImgCommand *cmd, const char *value, ImgOutput *output);

/* ---- images ---------------------------------------------------------------------------------- */

typedef BlockBackend ImgBackend;

/* How to open.  filename is an option string if image_opts. */
typedef struct ImgOpen {
    const char *filename;
    const char *format; /* NULL: probe */
    bool image_opts;
    bool force_share;
    bool writethrough;
    bool exclusive;     /* nobody else may write to it meanwhile, unless force_share */
    int flags;          /* BDRV_O_* */
    const char *key_option; /* the option that names the secret which opens the image ... */
    const char *key_secret; /* ... and the secret's id; or NULL */
} ImgOpen;

/**
 * Set how to cache, from the value of an option; @what names it in the report ("cache").
 * Returns: false, reported, if there is no such mode.
 */
bool img_parse_cache(ImgOpen *how, const char *what, const char *mode);

/** Open an image.  NULL if that fails, which is reported. */
ImgBackend *coroutine_fn img_co_open(const ImgOpen *how);

/** Close it; NULL is fine.  Takes the control lock. */
void coroutine_fn img_co_close(ImgBackend *image);

G_DEFINE_AUTOPTR_CLEANUP_FUNC(ImgBackend, img_co_close)

#endif
