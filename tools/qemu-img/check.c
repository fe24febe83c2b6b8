/* SPDX-License-Identifier: GPL-2.0-or-later */
/* qemu-img check: look for damage in an image, and repair it. */
#include "qemu/osdep.h"

#include <getopt.h>

#include "block/graph.h"
#include "qemu-img.h"
#include "qobject/json-writer.h"

/* Exit statuses that scripts rely on. */
enum {
    CHECK_CLEAN = 0,
    CHECK_FAILED = 1,
    CHECK_CORRUPT = 2,
    CHECK_LEAKS = 3,
    CHECK_UNSUPPORTED = 63,
};

typedef struct CheckOptions {
    bool quiet, image_opts, force_share;
    const char *format, *cache, *repair, *output;
} CheckOptions;

static const ImgOption check_options[] = {
    IMG_OPT_QUIET(CheckOptions),
    IMG_OPT_FORMAT(CheckOptions),
    { 'T', "source-cache", IMG_STRING, offsetof(CheckOptions, cache), "CACHE",
      "cache mode of FILE (default: writeback)" },
    { 'r', "repair", IMG_STRING, offsetof(CheckOptions, repair), "leaks|all",
      "repair leaked clusters, or all damage that can be repaired" },
    IMG_OPT_OUTPUT(CheckOptions),
    IMG_OPT_FORCE_SHARE(CheckOptions),
    IMG_OPT_IMAGE_OPTS(CheckOptions),
    IMG_OPT_OBJECT,
    { 0 },
};

/* ---- printing -------------------------------------------------------------------------------- */

static void report_finding(void *opaque, const char *line)
{
    error_printf("%s\n", line);
}

static void write_if(JSONWriter *json, const char *name, int64_t value)
{
    if (value) {
        json_writer_int64(json, name, value);
    }
}

static void print_json(const BdrvCheckResult *res, const char *filename, const char *format)
{
    JSONWriter *json = json_writer_new(true);
    json_writer_start_object(json, NULL);
    write_if(json, "image-end-offset", res->image_end_offset);
    write_if(json, "total-clusters", res->bfi.total_clusters);
    json_writer_int64(json, "check-errors", res->check_errors);
    write_if(json, "corruptions", res->corruptions);
    write_if(json, "leaks", res->leaks);
    write_if(json, "corruptions-fixed", res->corruptions_fixed);
    write_if(json, "leaks-fixed", res->leaks_fixed);
    write_if(json, "allocated-clusters", res->bfi.allocated_clusters);
    write_if(json, "fragmented-clusters", res->bfi.fragmented_clusters);
    write_if(json, "compressed-clusters", res->bfi.compressed_clusters);
    json_writer_str(json, "filename", filename);
    json_writer_str(json, "format", format);
    json_writer_end_object(json);
    g_autoptr(GString) text = json_writer_get_and_free(json);
    puts(text->str);
}

static void print_damage(const BdrvCheckResult *res)
{
    if (!res->corruptions && !res->leaks && !res->check_errors) {
        puts("No errors were found on the image.");
        return;
    }
    if (res->corruptions) {
        printf("\n%" PRId64 " errors were found on the image.\nData may be corrupted, or further "
               "writes to the image may corrupt it.\n", res->corruptions);
    }
    if (res->leaks) {
        printf("\n%" PRId64 " leaked clusters were found on the image.\nThis means waste of disk "
               "space, but no harm to data.\n", res->leaks);
    }
    if (res->check_errors) {
        printf("\n%" PRId64 " internal errors have occurred during the check.\n",
               res->check_errors);
    }
}

static void print_human(const BdrvCheckResult *res)
{
    print_damage(res);
    if (res->bfi.total_clusters && res->bfi.allocated_clusters) {
        double allocated = res->bfi.allocated_clusters;
        printf("%" PRId64 "/%" PRId64 " = %0.2f%% allocated, %0.2f%% fragmented, %0.2f%% "
               "compressed clusters\n", res->bfi.allocated_clusters, res->bfi.total_clusters,
               allocated * 100.0 / res->bfi.total_clusters,
               res->bfi.fragmented_clusters * 100.0 / allocated,
               res->bfi.compressed_clusters * 100.0 / allocated);
    }
    if (res->image_end_offset > 0) {
        printf("Image end offset: %" PRId64 "\n", res->image_end_offset);
    }
}

/* ---- checking -------------------------------------------------------------------------------- */

static int coroutine_fn co_check_once(ImgBackend *image, BdrvCheckResult *res, int fix)
{
    *res = (BdrvCheckResult){ .report = report_finding };
    BDRV_CONTROL_GUARD();
    return bdrv_co_check(blk_bs(image), res, fix);
}

/* After a repair the image is looked at again; what was repaired stays known. */
static int coroutine_fn co_check_again(ImgBackend *image, BdrvCheckResult *res, bool print)
{
    int64_t corruptions_fixed = res->corruptions_fixed, leaks_fixed = res->leaks_fixed;
    if (print) {
        printf("The following inconsistencies were found and repaired:\n\n"
               "    %" PRId64 " leaked clusters\n    %" PRId64 " corruptions\n\n"
               "Double checking the fixed image now...\n", leaks_fixed, corruptions_fixed);
        fflush(stdout);
    }
    int ret = co_check_once(image, res, 0);
    res->corruptions_fixed = corruptions_fixed;
    res->leaks_fixed = leaks_fixed;
    return ret;
}

static int report_failure(int ret)
{
    if (ret == -ENOTSUP) {
        error_report("This image format does not support checks");
        return CHECK_UNSUPPORTED;
    }
    error_report("Check failed: %s", g_strerror(-ret));
    return CHECK_FAILED;
}

static int coroutine_fn co_check(const CheckOptions *opts, ImgBackend *image, int fix,
                                 ImgOutput output, const char *filename)
{
    bool is_human = output == IMG_OUTPUT_HUMAN;
    BdrvCheckResult res;
    int ret = co_check_once(image, &res, fix);
    bool cannot_repair = fix && ret == -ENOTSUP;
    if (cannot_repair) {
        ret = co_check_once(image, &res, 0);
    }
    if (ret >= 0 && (res.corruptions_fixed || res.leaks_fixed)) {
        ret = co_check_again(image, &res, is_human && !opts->quiet);
    }
    if (ret == -ENOTSUP || (ret < 0 && !res.check_errors)) {
        return report_failure(ret);
    }
    if (!is_human) {
        print_json(&res, filename, bdrv_get_format_name(blk_bs(image)));
    } else if (!opts->quiet) {
        print_human(&res);
    }
    if (cannot_repair && (res.corruptions || res.leaks)) {
        error_report("Repairing images of format '%s' is not available in this version",
                     bdrv_get_format_name(blk_bs(image)));
    }
    if (ret < 0 || res.check_errors) {
        return CHECK_FAILED;
    }
    return res.corruptions ? CHECK_CORRUPT : res.leaks ? CHECK_LEAKS : CHECK_CLEAN;
}

static int coroutine_fn co_run_check(int argc, char **argv)
{
    CheckOptions opts = { .cache = "writeback" };
    /* The chain is no part of what is checked, and may be anything that the image names. */
    ImgOpen how = { .flags = BDRV_O_CHECK | BDRV_O_NO_BACKING };
    ImgOutput output;
    int status, fix = 0;
    if (!img_parse(&img_check, &opts, argc, argv, &status)) {
        return status;
    }
    if (opts.repair) {
        how.flags |= BDRV_O_RDWR;
        if (!strcmp(opts.repair, "leaks")) {
            fix = BDRV_FIX_LEAKS;
        } else if (!strcmp(opts.repair, "all")) {
            fix = BDRV_FIX_LEAKS | BDRV_FIX_ERRORS;
        } else {
            return img_usage_error(&img_check, "--repair (-r) expects 'leaks' or 'all' not '%s'",
                                   opts.repair);
        }
    }
    if (optind != argc - 1) {
        return img_usage_error(&img_check, "Expecting one image file name");
    }
    if (!img_parse_output(&img_check, opts.output, &output)) {
        return CHECK_FAILED;
    }
    if (!img_parse_cache(&how, "source cache", opts.cache)) {
        return CHECK_FAILED;
    }
    how.filename = argv[optind];
    how.format = opts.format;
    how.image_opts = opts.image_opts;
    how.force_share = opts.force_share;
    g_autoptr(ImgBackend) image = img_co_open(&how);
    return image ? co_check(&opts, image, fix, output, how.filename) : CHECK_FAILED;
}

const ImgCommand img_check = {
    .name = "check",
    .arguments = "FILE",
    .summary = "Look for damage.  Exit status: 0 clean, 1 not completed, 2 corrupt, 3 leaks only,\n"
               "63 the format has no check.",
    .options = check_options,
    .co_run = co_run_check,
};
