/* SPDX-License-Identifier: GPL-2.0-or-later */
/* qemu-img map: which file of a backing chain holds what, and where. */
#include "qemu/osdep.h"

#include <getopt.h>

#include "qemu-img.h"

typedef struct MapOptions {
    bool image_opts, force_share;
    const char *format, *output, *start, *length;
} MapOptions;

static const ImgOption map_options[] = {
    IMG_OPT_FORMAT(MapOptions),
    { 's', "start-offset", IMG_STRING, offsetof(MapOptions, start), "OFFSET",
      "begin here (default: 0)" },
    { 'l', "max-length", IMG_STRING, offsetof(MapOptions, length), "LENGTH",
      "end after so many bytes (default: at the end)" },
    IMG_OPT_OUTPUT(MapOptions),
    IMG_OPT_FORCE_SHARE(MapOptions),
    IMG_OPT_IMAGE_OPTS(MapOptions),
    IMG_OPT_OBJECT,
    { 0 },
};

/* A range of the image that is alike. */
typedef struct MapEntry {
    int64_t start, length;
    int flags;              /* BDRV_BLOCK_* that count */
    int depth;              /* 0: the image itself, 1: its backing file ... */
    int64_t offset;         /* in file, if flags say so */
    BlockDriverState *file;
} MapEntry;

#define MAP_FLAGS (BDRV_BLOCK_DATA | BDRV_BLOCK_ZERO | BDRV_BLOCK_OFFSET_VALID | \
                   BDRV_BLOCK_ALLOCATED | BDRV_BLOCK_COMPRESSED)

static int coroutine_fn co_get_entry(ImgBackend *image, int64_t start, int64_t length,
                                     MapEntry *entry)
{
    *entry = (MapEntry){ .start = start };
    int flags = blk_co_block_status_above(image, NULL, start, length, &entry->length,
                                          &entry->offset, &entry->file, &entry->depth);
    if (flags >= 0 && entry->length == 0) {
        return -EIO;
    }
    entry->flags = flags & MAP_FLAGS;
    return MIN(flags, 0);
}

static bool continues(const MapEntry *entry, const MapEntry *next)
{
    if (entry->flags != next->flags || entry->depth != next->depth) {
        return false;
    }
    return !(entry->flags & BDRV_BLOCK_OFFSET_VALID) ||
           (entry->file == next->file && entry->offset + entry->length == next->offset);
}

static const char *json_bool(int value)
{
    return value ? "true" : "false";
}

/* printf() would take most of the time that a large map takes. */
static char *put_number(char *to, int64_t value)
{
    char digits[20];
    int n = 0;

    do {
        digits[n++] = '0' + value % 10;
        value /= 10;
    } while (value);
    while (n > 0) {
        *to++ = digits[--n];
    }
    return to;
}

static void print_json(const MapEntry *entry, bool is_first)
{
    char row[256], *to = stpcpy(row, is_first ? "" : ",\n");

    to = put_number(stpcpy(to, "{ \"start\": "), entry->start);
    to = put_number(stpcpy(to, ", \"length\": "), entry->length);
    to = put_number(stpcpy(to, ", \"depth\": "), entry->depth);
    to = stpcpy(stpcpy(to, ", \"present\": "), json_bool(entry->flags & BDRV_BLOCK_ALLOCATED));
    to = stpcpy(stpcpy(to, ", \"zero\": "), json_bool(entry->flags & BDRV_BLOCK_ZERO));
    to = stpcpy(stpcpy(to, ", \"data\": "), json_bool(entry->flags & BDRV_BLOCK_DATA));
    to = stpcpy(stpcpy(to, ", \"compressed\": "),
                  json_bool(entry->flags & BDRV_BLOCK_COMPRESSED));
    if (entry->flags & BDRV_BLOCK_OFFSET_VALID) {
        to = put_number(stpcpy(to, ", \"offset\": "), entry->offset);
    }
    *to++ = '}';
    fwrite(row, 1, to - row, stdout);
}

/* Only what can be read from a file at that place. */
static bool print_human(const MapEntry *entry)
{
    if (!(entry->flags & BDRV_BLOCK_DATA) || (entry->flags & BDRV_BLOCK_ZERO)) {
        return true;
    }
    if (!(entry->flags & BDRV_BLOCK_OFFSET_VALID)) {
        error_report("File contains external, encrypted or compressed clusters.");
        return false;
    }
    printf("%#-16" PRIx64 "%#-16" PRIx64 "%#-16" PRIx64 "%s\n", entry->start, entry->length,
           entry->offset, entry->file ? bdrv_get_filename(entry->file) : "");
    return true;
}

static bool print_entry(const MapEntry *entry, ImgOutput output, bool is_first)
{
    if (output == IMG_OUTPUT_HUMAN) {
        return print_human(entry);
    }
    print_json(entry, is_first);
    return true;
}

static int coroutine_fn co_map(ImgBackend *image, int64_t start, int64_t end, ImgOutput output)
{
    MapEntry entry = { 0 };
    bool is_first = true;
    if (output == IMG_OUTPUT_HUMAN) {
        printf("%-16s%-16s%-16s%s\n", "Offset", "Length", "Mapped to", "File");
    } else {
        putchar('[');
    }
    for (int64_t at = start; at < end;) {
        MapEntry next;
        int ret = co_get_entry(image, at, end - at, &next);
        if (ret < 0) {
            error_report("Failed to read image metadata: %s", g_strerror(-ret));
            return 1;
        }
        at += next.length;
        if (entry.length && continues(&entry, &next)) {
            entry.length += next.length;
            continue;
        }
        if (entry.length) {
            if (!print_entry(&entry, output, is_first)) {
                return 1;
            }
            is_first = false;
        }
        entry = next;
    }
    if (entry.length && !print_entry(&entry, output, is_first)) {
        return 1;
    }
    if (output == IMG_OUTPUT_JSON) {
        puts("]");
    }
    return 0;
}

static int coroutine_fn co_run_map(int argc, char **argv)
{
    MapOptions opts = { 0 };
    ImgOutput output;
    int64_t start = 0, length = INT64_MAX;
    int status;
    if (!img_parse(&img_map, &opts, argc, argv, &status)) {
        return status;
    }
    if (opts.start && !img_parse_size("start offset", opts.start, 0, INT64_MAX, &start)) {
        return 1;
    }
    if (opts.length && !img_parse_size("max length", opts.length, 0, INT64_MAX, &length)) {
        return 1;
    }
    if (optind != argc - 1) {
        return img_usage_error(&img_map, "Expecting one image file name");
    }
    if (!img_parse_output(&img_map, opts.output, &output)) {
        return 1;
    }
    ImgOpen how = {
        .filename = argv[optind],
        .format = opts.format,
        .image_opts = opts.image_opts,
        .force_share = opts.force_share,
    };
    g_autoptr(ImgBackend) image = img_co_open(&how);
    if (!image) {
        return 1;
    }
    int64_t bytes = blk_co_getlength(image);
    if (bytes < 0) {
        error_report("Failed to get size for '%s'", how.filename);
        return 1;
    }
    return co_map(image, start, length > bytes - start ? bytes : start + length, output);
}

const ImgCommand img_map = {
    .name = "map",
    .arguments = "FILE",
    .summary = "Tell where the data of FILE lies: in which file of its backing chain, at which "
               "offset.",
    .options = map_options,
    .co_run = co_run_map,
};
