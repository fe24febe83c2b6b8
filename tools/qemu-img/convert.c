/* SPDX-License-Identifier: GPL-2.0-or-later */
/* qemu-img convert: copy images into a new one of another format.  The copying itself is copy.c. */
#include "qemu/osdep.h"

#include <getopt.h>

#include "bitmaps.h"
#include "block/dirty-bitmap.h"
#include "block/graph.h"
#include "block/snapshot.h"
#include "copy.h"
#include "create-opts.h"
#include "new-file.h"
#include "qemu-img.h"
#include "qemu/bucket.h"
#include "qemu/cutils.h"
#include "qemu/progress.h"
#include "qobject/opts.h"

#define DEFAULT_SPARSE_BYTES 4096
#define MAX_SPARSE_BYTES (16 * 1024 * 1024)
#define NO_COMPRESSION "Compression and encryption not supported at the same time"

typedef struct ConvertOptions {
    bool quiet, image_opts, force_share, target_image_opts, target_is_zero, compressed, no_create;
    bool progress, out_of_order, offload, salvage, bitmaps, skip_broken_bitmaps, reproducible;
    const char *format, *target_format, *cache, *source_cache, *backing, *backing_format;
    const char *workers, *rate, *sparse, *snapshot;
    char *options;
} ConvertOptions;

#define OPT(field) offsetof(ConvertOptions, field)

static const ImgOption convert_options[] = {
    IMG_OPT_QUIET(ConvertOptions),
    { 'f', "source-format", IMG_STRING, OPT(format), "FMT", "format of SOURCE (default: probed)" },
    { 0, "format", IMG_STRING, OPT(format), "FMT", NULL },
    { 'O', "target-format", IMG_STRING, OPT(target_format), "FMT",
      "format of TARGET (default: raw)" },
    { 'o', "target-format-options", IMG_LIST, OPT(options), "OPTS",
      "options of the new image: NAME=VALUE,...; 'help' lists them" },
    { 0, "options", IMG_LIST, OPT(options), "OPTS", NULL },
    { 'B', "backing", IMG_STRING, OPT(backing), "BACKING",
      "make TARGET an overlay of BACKING, which is what SOURCE's backing file is" },
    { 'b', NULL, IMG_STRING, OPT(backing), "BACKING", NULL },
    { 'F', "backing-format", IMG_STRING, OPT(backing_format), "FMT", "format of BACKING" },
    { 't', "target-cache", IMG_STRING, OPT(cache), "CACHE",
      "cache mode of TARGET (default: unsafe)" },
    { 0, "cache", IMG_STRING, OPT(cache), "CACHE", NULL },
    { 'T', "source-cache", IMG_STRING, OPT(source_cache), "CACHE",
      "cache mode of SOURCE (default: writeback)" },
    { 'c', "compress", IMG_FLAG, OPT(compressed), NULL, "compress TARGET" },
    { 'n', "no-create", IMG_FLAG, OPT(no_create), NULL, "write into TARGET, which exists" },
    { 0, "target-is-zero", IMG_FLAG, OPT(target_is_zero), NULL,
      "with -n: TARGET reads as zeroes already" },
    { 'S', "sparse-size", IMG_STRING, OPT(sparse), "SIZE",
      "zeroes of this length take no space (default: 4k; 0: all do)" },
    { 'm', "parallel", IMG_STRING, OPT(workers), "N",
      "pieces copied at a time (default: 8, less where the host caches)" },
    { 'W', "oob", IMG_FLAG, OPT(out_of_order), NULL, "write pieces as they come, in any order; "
      "with -c they keep theirs" },
    { 'C', "copy-range-offloading", IMG_FLAG, OPT(offload), NULL,
      "let the host copy where it can" },
    { 'r', "rate-limit", IMG_STRING, OPT(rate), "RATE", "copy at most RATE bytes per second" },
    { 0, "salvage", IMG_FLAG, OPT(salvage), NULL, "take what cannot be read for zeroes, go on" },
    { 'l', "snapshot", IMG_STRING, OPT(snapshot), "SNAPSHOT",
      "what SOURCE held in this internal snapshot: its id or name" },
    { 0, "bitmaps", IMG_FLAG, OPT(bitmaps), NULL, "copy the dirty bitmaps that SOURCE keeps, too" },
    { 0, "skip-broken-bitmaps", IMG_FLAG, OPT(skip_broken_bitmaps), NULL,
      "with --bitmaps: leave out those that miss writes" },
    { 0, "reproducible", IMG_FLAG, OPT(reproducible), NULL,
      "refuse what would not give the same bytes each time" },
    IMG_OPT_PROGRESS(ConvertOptions),
    IMG_OPT_FORCE_SHARE(ConvertOptions),
    IMG_OPT_IMAGE_OPTS(ConvertOptions),
    { 0, "target-image-opts", IMG_FLAG, OPT(target_image_opts), NULL,
      "with -n: TARGET is a list of options" },
    IMG_OPT_OBJECT,
    { 0 },
};

/* One run of the command. */
typedef struct Convert {
    const ConvertOptions *opts;
    const char *target_name;
    ImgOpen target;
    ImgCopy copy;
    int64_t bytes;         /* of all sources */
    ImgNewFile file;       /* what the target is on the host */
    char *key_secret;      /* of a new, encrypted target */
} Convert;

/* ---- options --------------------------------------------------------------------------------- */

static bool check_combinations(const ConvertOptions *opts)
{
    const char *problem = NULL;
    if (opts->skip_broken_bitmaps && !opts->bitmaps) {
        problem = "Use of --skip-broken-bitmaps requires --bitmaps";
    } else if (opts->target_is_zero && !opts->no_create) {
        problem = "--target-is-zero requires use of -n flag";
    } else if (opts->target_is_zero && opts->backing) {
        problem = "Cannot use --target-is-zero when the destination image has a backing file";
    } else if (opts->target_image_opts && !opts->no_create) {
        problem = "--target-image-opts requires use of -n flag";
    } else if (opts->no_create && opts->options) {
        problem = "-o has no effect when skipping image creation";
    } else if (opts->offload && opts->sparse) {
        problem = "Cannot enable copy offloading when -S is used";
    } else if (opts->offload && opts->compressed) {
        problem = "Cannot enable copy offloading when -c is used";
    } else if (opts->offload && opts->salvage) {
        problem = "Cannot use copy offloading in salvaging mode";
    } else if (opts->out_of_order && opts->reproducible) {
        problem = "Out of order write and --reproducible are mutually exclusive";
    } else if (opts->backing_format && opts->no_create) {
        problem = "Option -F (--backing-format) has no effect when skipping image creation";
    }
    if (problem) {
        error_report("%s", problem);
    }
    return !problem;
}

static bool parse_numbers(const ConvertOptions *opts, ImgCopy *copy)
{
    int64_t rate = 0;
    uint64_t sparse = DEFAULT_SPARSE_BYTES;
    copy->n_workers = IMG_COPY_WORKERS;
    if (opts->sparse && (qemu_strtosz(opts->sparse, NULL, &sparse) < 0 ||
                         sparse % BDRV_SECTOR_SIZE || sparse > MAX_SPARSE_BYTES)) {
        error_report("Invalid buffer size for sparse output specified. Valid sizes are multiples "
                     "of %d up to %d. Select 0 to disable sparse detection (fully allocates "
                     "output).", (int)BDRV_SECTOR_SIZE, MAX_SPARSE_BYTES);
        return false;
    }
    copy->sparse_bytes = sparse;
    if (opts->workers && (qemu_strtoi(opts->workers, NULL, 0, &copy->n_workers) < 0 ||
                          copy->n_workers < 1 || copy->n_workers > IMG_COPY_MAX_WORKERS)) {
        error_report("Invalid number of coroutines specified. Must be between 1 and %d.",
                     IMG_COPY_MAX_WORKERS);
        return false;
    }
    if (opts->rate && !img_parse_size("rate limit", opts->rate, 0, THROTTLE_VALUE_MAX, &rate)) {
        return false;
    }
    copy->rate = rate;
    return true;
}

static bool parse_target(const ConvertOptions *opts, const ImgCopy *copy, const char *name,
                         ImgOpen *target)
{
    *target = (ImgOpen){
        .filename = name,
        .format = opts->target_format,
        .image_opts = opts->target_image_opts,
        .flags = BDRV_O_RDWR | (copy->sparse_bytes ? BDRV_O_UNMAP : 0),
    };
    if (!target->format && !target->image_opts) {
        target->format = "raw";
    }
    return img_parse_cache(target, "cache", opts->cache ? opts->cache : "unsafe");
}

/* ---- sources --------------------------------------------------------------------------------- */

static bool coroutine_fn co_load_snapshot(ImgBackend *source, const char *snapshot)
{
    Error *local_err = NULL;
    BDRV_CONTROL_GUARD();
    if (!bdrv_co_snapshot_load_tmp_by_text(blk_bs(source), snapshot, &local_err)) {
        error_reportf_err(local_err, "Failed to load snapshot: ");
        return false;
    }
    return true;
}

static bool coroutine_fn co_open_sources(Convert *c, char **names)
{
    const ConvertOptions *opts = c->opts;
    ImgOpen how = {
        .format = opts->format,
        .image_opts = opts->image_opts,
        .force_share = opts->force_share,
        .exclusive = true,
    };
    if (!img_parse_cache(&how, "source cache", opts->source_cache ? opts->source_cache
                                                                  : "writeback")) {
        return false;
    }
    bool is_direct = (how.flags | c->target.flags) & BDRV_O_NOCACHE;
    if (!is_direct && !opts->workers) {
        c->copy.max_in_flight = opts->compressed ? IMG_COPY_COMPRESSED_BYTES
                                                 : IMG_COPY_CACHED_BYTES;
    }
    if (opts->snapshot && c->copy.n_sources > 1) {
        error_report("No support for concatenating multiple snapshot");
        return false;
    }
    for (int i = 0; i < c->copy.n_sources; i++) {
        how.filename = names[i];
        c->copy.sources[i] = img_co_open(&how);
        if (!c->copy.sources[i]) {
            return false;
        }
    }
    if (opts->bitmaps && c->copy.n_sources > 1) {
        error_report("Copying bitmaps only possible with single source");
        return false;
    }
    if (opts->bitmaps && !img_check_bitmaps(c->copy.sources[0], opts->skip_broken_bitmaps)) {
        return false;
    }
    if (opts->snapshot && !co_load_snapshot(c->copy.sources[0], opts->snapshot)) {
        return false;
    }
    c->bytes = img_co_copy_length(&c->copy);
    if (c->bytes < 0) {
        error_report("Could not get the size of the source: %s", g_strerror(-c->bytes));
        return false;
    }
    return true;
}

/* ---- making the target ----------------------------------------------------------------------- */

/* -o, -B and -F, and the size, as options of the new image. */
static bool set_create_options(Convert *c, QemuOpts *opts)
{
    const ConvertOptions *from = c->opts;
    Error *local_err = NULL;
    if (from->options && !qemu_opts_do_parse(opts, from->options, NULL, &local_err)) {
        error_report_err(local_err);
        return false;
    }
    if (!qemu_opt_is_set(opts, "size")) {
        qemu_opt_set_number(opts, "size", c->bytes, &error_abort);
    } else if (qemu_opt_get_size(opts, "size", 0) < (uint64_t)c->bytes) {
        error_report("output file is smaller than input file");
        return false;
    }
    if (from->backing && !qemu_opt_set(opts, "backing_file", from->backing, NULL)) {
        error_report("Backing file not supported for file format '%s'", c->target.format);
        return false;
    }
    if (from->backing_format && !qemu_opt_set(opts, "backing_fmt", from->backing_format, NULL)) {
        error_report("Backing format not supported for file format '%s'", c->target.format);
        return false;
    }
    const char *backing = qemu_opt_get(opts, "backing_file");
    if (backing && !*backing) {
        error_report("Expected backing file name, got empty string");
        return false;
    }
    if (backing) {
        c->copy.target_has_backing = true;
        if (!qemu_opt_get(opts, "backing_fmt")) {
            error_report("Use of backing file requires explicit backing format");
            return false;
        }
    }
    return true;
}

/* What is made encrypted is opened with the same secret. */
static void note_key_secret(Convert *c, const QemuOpts *opts)
{
    static const char *const names[] = { "key-secret", "encrypt.key-secret" };
    for (size_t i = 0; i < ARRAY_SIZE(names) && !c->key_secret; i++) {
        c->key_secret = g_strdup(qemu_opt_get(opts, names[i]));
        c->target.key_option = names[i];
    }
    c->target.key_secret = c->key_secret;
}

static bool coroutine_fn co_create_with(Convert *c, BlockDriver *drv, BlockDriver *proto,
                                        QemuOptsList *list)
{
    Error *local_err = NULL;
    g_autoptr(QemuOpts) opts = qemu_opts_create(list, NULL, false, &error_abort);
    if (!set_create_options(c, opts)) {
        return false;
    }
    if (c->copy.target_has_backing && c->copy.n_sources > 1) {
        error_report("Having a backing file for the target makes no sense when concatenating "
                     "multiple input images");
        return false;
    }
    bool is_encrypted = img_create_is_encrypted(c->target.format, opts);
    if (is_encrypted && (c->opts->compressed || c->opts->reproducible)) {
        error_report("%s", c->opts->compressed ? NO_COMPRESSION : IMG_NOT_REPRODUCIBLE);
        return false;
    }
    c->copy.target_is_zero = img_create_makes_place(proto, opts) && !c->copy.target_has_backing &&
                             !bdrv_driver_new_is_undefined(drv);
    /* Who wants space set aside gets space of its own. */
    const char *space = qemu_opt_get(opts, "preallocation");
    c->copy.share = c->copy.sparse_bytes > 0 && g_strcmp0(space, "falloc") != 0 &&
                    g_strcmp0(space, "full") != 0;
    note_key_secret(c, opts);

    BDRV_CONTROL_GUARD();
    img_new_file_note(&c->file, c->target_name, proto);
    if (!bdrv_co_create_opts(drv, c->target_name, opts, &local_err)) {
        img_new_file_forget(&c->file); /* the driver has cleaned up after itself */
        error_reportf_err(local_err, "%s: error while converting %s: ", c->target_name,
                          c->target.format);
        return false;
    }
    return true;
}

static bool coroutine_fn co_create_target(Convert *c)
{
    Error *local_err = NULL;
    BlockDriver *drv = bdrv_find_format(c->target.format);
    if (!drv) {
        error_report("Unknown file format '%s'", c->target.format);
        return false;
    }
    BlockDriver *proto = bdrv_find_protocol(c->target_name, true, &local_err);
    if (!proto) {
        error_report_err(local_err);
        return false;
    }
    if (!bdrv_create_opts(drv)) {
        error_report("Format driver '%s' does not support image creation", c->target.format);
        return false;
    }
    if (c->opts->compressed && !bdrv_driver_can_compress(drv)) {
        error_report("Compression not supported for this file format");
        return false;
    }
    QemuOptsList *list = img_create_options_list(drv, proto);
    bool ok = co_create_with(c, drv, proto, list);
    qemu_opts_free(list);
    return ok;
}

static bool coroutine_fn co_check_target(Convert *c)
{
    int64_t bytes = blk_co_getlength(c->copy.target);
    BlockDriverState *bs = blk_bs(c->copy.target);
    if (bytes < 0) {
        error_report("Could not get the size of '%s': %s", c->target_name, g_strerror(-bytes));
        return false;
    }
    if (bytes < c->bytes) {
        error_report("output file is smaller than input file");
        return false;
    }
    if (c->opts->bitmaps && !img_co_check_target_of_bitmaps(c->copy.sources[0], c->copy.target,
                                                            c->opts->skip_broken_bitmaps)) {
        return false;
    }
    if (c->opts->compressed && bdrv_is_encrypted(bs)) {
        error_report(NO_COMPRESSION);
        return false;
    }
    if (c->opts->compressed &&
        (!bdrv_supports_compressed_writes(bs) || bdrv_get_cluster_size(bs) <= 0)) {
        error_report("Compression not supported for this file format");
        return false;
    }
    return true;
}

/* ---- running --------------------------------------------------------------------------------- */

static bool coroutine_fn co_fill_target(Convert *c)
{
    c->copy.target = img_co_open(&c->target);
    if (!c->copy.target || !co_check_target(c)) {
        return false;
    }
    if (img_co_copy(&c->copy) < 0) {
        return false;
    }
    if (c->opts->bitmaps &&
        (!img_co_copy_bitmaps(c->copy.sources[0], c->copy.target, c->opts->skip_broken_bitmaps) ||
         !img_co_store_bitmaps(c->copy.target, c->target_name))) {
        return false;
    }
    /* With cache mode unsafe this reaches the host's cache only, as the user chose. */
    int ret = blk_co_flush(c->copy.target);
    if (ret < 0) {
        error_report("error while flushing '%s': %s", c->target_name, g_strerror(-ret));
    }
    return ret >= 0;
}

static bool coroutine_fn co_convert(Convert *c, char **sources)
{
    if (!co_open_sources(c, sources)) {
        return false;
    }
    img_catch_interrupts();
    if (!c->opts->no_create && !co_create_target(c)) {
        return false;
    }
    if (c->opts->no_create) {
        c->copy.target_has_backing = c->opts->backing != NULL;
        c->copy.target_is_zero = c->opts->target_is_zero;
    }
    bool ok = co_fill_target(c);
    /* A file that was there and could not be opened may be somebody else's by now. */
    bool is_ours = c->copy.target || !c->file.existed;
    img_co_close(c->copy.target);
    if (!ok && is_ours) {
        img_new_file_discard(&c->file);
    }
    return ok;
}

static int coroutine_fn co_run_with(const ConvertOptions *opts, char **names, int n_names)
{
    Convert c = { .opts = opts };
    if (n_names < 2) {
        error_report("Must specify image file name");
        return 1;
    }
    c.target_name = names[n_names - 1];
    c.copy = (ImgCopy){
        .n_sources = n_names - 1,
        .out_of_order = opts->out_of_order && !opts->compressed,
        .compressed = opts->compressed,
        .offload = opts->offload,
        .salvage = opts->salvage,
        .quiet = opts->quiet,
        .is_interrupted = img_is_interrupted,
    };
    if (!check_combinations(opts) || !parse_numbers(opts, &c.copy) ||
        !parse_target(opts, &c.copy, c.target_name, &c.target)) {
        return 1;
    }
    c.copy.sources = g_new0(ImgBackend *, c.copy.n_sources);
    qemu_progress_init(opts->progress && !opts->quiet, 1.0);
    qemu_progress_print(0, 100);
    bool ok = co_convert(&c, names);
    if (ok) {
        qemu_progress_print(100, 0);
    }
    qemu_progress_end();
    for (int i = 0; i < c.copy.n_sources; i++) {
        img_co_close(c.copy.sources[i]);
    }
    g_free(c.key_secret);
    g_free(c.copy.sources);
    img_new_file_forget(&c.file);
    return ok ? 0 : 1;
}

static int coroutine_fn co_run_convert(int argc, char **argv)
{
    ConvertOptions opts = { 0 };
    int status;
    bool go_on = img_parse(&img_convert, &opts, argc, argv, &status);
    g_autofree char *owned_options = opts.options;
    if (!go_on) {
        return status;
    }
    if (opts.options && has_help_option(opts.options)) {
        return img_print_create_options(opts.target_format ? opts.target_format : "raw",
                                        optind < argc ? argv[argc - 1] : NULL);
    }
    if (opts.options && !is_valid_option_list(opts.options)) {
        error_report("Invalid option list: %s", opts.options);
        return 1;
    }
    return co_run_with(&opts, argv + optind, argc - optind);
}

const ImgCommand img_convert = {
    .name = "convert",
    .arguments = "SOURCE... TARGET",
    .summary = "Copy SOURCE (several: one after the other) into the new image TARGET.\n"
               "If that fails, TARGET is removed; a file that was there before is left empty.",
    .options = convert_options,
    .co_run = co_run_convert,
};
