/* SPDX-License-Identifier: GPL-2.0-or-later */
/* qemu-img info: what an image, or each of its backing chain, is. */
#include "qemu/osdep.h"

#include <getopt.h>

#include "block/graph.h"
#include "block/qapi.h"
#include "qapi/object-output.h"
#include "qemu-img.h"
#include "qobject/json-writer.h"
#include "qobject/qlist.h"

typedef struct InfoOptions {
    bool image_opts, force_share, backing_chain, limits;
    const char *format, *output;
} InfoOptions;

static const ImgOption info_options[] = {
    IMG_OPT_FORMAT(InfoOptions),
    { 'b', "backing-chain", IMG_FLAG, offsetof(InfoOptions, backing_chain), NULL,
      "tell about all images of the backing chain" },
    IMG_OPT_OUTPUT(InfoOptions),
    IMG_OPT_FORCE_SHARE(InfoOptions),
    { 0, "limits", IMG_FLAG, offsetof(InfoOptions, limits), NULL,
      "tell the sizes of requests that the image takes" },
    IMG_OPT_IMAGE_OPTS(InfoOptions),
    IMG_OPT_OBJECT,
    { 0 },
};

static BlockGraphInfo *coroutine_fn co_get_info(const ImgOpen *how, bool limits)
{
    g_autoptr(ImgBackend) image = img_co_open(how);
    Error *local_err = NULL;
    if (!image) {
        return NULL;
    }
    BDRV_CONTROL_GUARD();
    BlockGraphInfo *info = bdrv_co_graph_info(blk_bs(image), &local_err);
    if (!info) {
        error_report_err(local_err);
        return NULL;
    }
    if (limits && !info->limits) {
        info->limits = bdrv_limits_info(blk_bs(image));
    }
    return info;
}

static void free_info(void *opaque)
{
    BlockGraphInfo *info = opaque;
    qapi_free_BlockGraphInfo(info);
}

/* Each image of the chain is opened alone, so that a broken one does not hide those above it. */
static bool coroutine_fn co_collect(const InfoOptions *opts, const char *filename, GPtrArray *infos)
{
    g_autoptr(GHashTable) seen = g_hash_table_new(g_str_hash, g_str_equal);
    ImgOpen how = {
        .filename = filename,
        .format = opts->format,
        .image_opts = opts->image_opts,
        .force_share = opts->force_share,
        .flags = BDRV_O_NO_BACKING | BDRV_O_NO_IO,
    };
    while (how.filename) {
        if (!g_hash_table_add(seen, (char *)how.filename)) {
            error_report("Backing file '%s' creates an infinite loop.", how.filename);
            return false;
        }
        BlockGraphInfo *info = co_get_info(&how, opts->limits);
        if (!info) {
            return false;
        }
        g_ptr_array_add(infos, info);
        if (!opts->backing_chain || !info->backing_filename) {
            break;
        }
        if (!info->full_backing_filename) {
            error_report("Could not determine absolute backing filename, but backing filename '%s' "
                         "present", info->backing_filename);
            return false;
        }
        how.filename = info->full_backing_filename;
        how.format = info->backing_filename_format;
        how.image_opts = false;
    }
    return true;
}

static void print_human(const GPtrArray *infos)
{
    for (guint i = 0; i < infos->len; i++) {
        g_autoptr(GString) text = g_string_new(i ? "\n" : NULL);
        bdrv_graph_info_dump(g_ptr_array_index(infos, i), 0, text);
        fputs(text->str, stdout);
    }
}

static void print_json(const GPtrArray *infos, bool as_list)
{
    g_autoptr(QList) list = qlist_new();
    for (guint i = 0; i < infos->len; i++) {
        BlockGraphInfo *info = g_ptr_array_index(infos, i);
        qlist_append_obj(list, qapi_to_qobject(&info, &qapi_type_BlockGraphInfo));
    }
    QObject *value = as_list ? QOBJECT(list) : qlist_entry_obj(qlist_first(list));
    g_autoptr(GString) text = qobject_to_json_pretty(value, true);
    puts(text->str);
}

static int coroutine_fn co_run_info(int argc, char **argv)
{
    InfoOptions opts = { 0 };
    ImgOutput output;
    int status;
    if (!img_parse(&img_info, &opts, argc, argv, &status)) {
        return status;
    }
    if (optind != argc - 1) {
        return img_usage_error(&img_info, "Expecting one image file name");
    }
    if (!img_parse_output(&img_info, opts.output, &output)) {
        return 1;
    }
    g_autoptr(GPtrArray) infos = g_ptr_array_new_with_free_func(free_info);
    if (!co_collect(&opts, argv[optind], infos)) {
        return 1;
    }
    if (output == IMG_OUTPUT_JSON) {
        print_json(infos, opts.backing_chain);
    } else {
        print_human(infos);
    }
    return 0;
}

const ImgCommand img_info = {
    .name = "info",
    .arguments = "FILE",
    .summary = "Tell what FILE is: its format, sizes, backing file, format-specific facts.",
    .options = info_options,
    .co_run = co_run_info,
};
