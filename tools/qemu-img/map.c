/* SPDX-License-Identifier: GPL-2.0-or-later */
/* qemu-img map: which file of a backing chain holds what, and where. */
#include "qemu/osdep.h"

#include <getopt.h>

#include "qemu-img.h"
#include "qemu/bits.h"
#include "qemu/bswap.h"

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

/* Asked for, and written to the output, at a time. */
#define EXTENTS_AT_ONCE 8192
#define OUTPUT_BYTES (256 * 1024)
#define MAX_ROW_BYTES 256

#define MAP_FLAGS (BDRV_BLOCK_DATA | BDRV_BLOCK_ZERO | BDRV_BLOCK_OFFSET_VALID | \
                   BDRV_BLOCK_ALLOCATED | BDRV_BLOCK_COMPRESSED)

static bool continues(const MapEntry *entry, const MapEntry *next)
{
    if (entry->flags != next->flags || entry->depth != next->depth) {
        return false;
    }
    return !(entry->flags & BDRV_BLOCK_OFFSET_VALID) ||
           (entry->file == next->file && entry->offset + entry->length == next->offset);
}

/* ---- JSON: printf() would take most of the time that a large map takes ----------------------- */

static char *put_text(char *to, const char *text, size_t len)
{
    memcpy(to, text, len);
    return to + len;
}

/* The length is known when this is compiled. */
#define PUT(to, text) put_text(to, text, sizeof(text) - 1)

/* The eight digits of @value < 100,000,000 as the bytes of a little-endian word. */
static uint64_t eight_digits(uint32_t value)
{
    /* Halves of four digits, then of two, then of one, all at once by multiplication. */
    uint64_t parts = value / 10000 | (uint64_t)(value % 10000) << 32;
    uint64_t high = (parts * 10486) >> 20 & UINT64_C(0x7f0000007f);

    parts = high | (parts - high * 100) << 16;
    high = (parts * 103) >> 10 & UINT64_C(0x000f000f000f000f);
    return high | (parts - high * 10) << 8;
}

/* There must be room for seven bytes more. */
static char *put_number(char *to, uint64_t value)
{
    const uint64_t zeroes = UINT64_C(0x3030303030303030), unit = 100000000;
    uint64_t digits;
    unsigned skip;

    if (value < 10) {
        *to = '0' + value;
        return to + 1;
    }
    if (value >= unit) {
        to = put_number(to, value / unit);
        stq_le_p(to, eight_digits(value % unit) | zeroes);
        return to + 8;
    }
    digits = eight_digits(value);
    skip = ctz64(digits) / 8;
    stq_le_p(to, (digits | zeroes) >> (skip * 8));
    return to + 8 - skip;
}

static char *put_bool(char *to, int value)
{
    return value ? PUT(to, "true") : PUT(to, "false");
}

static void flush_rows(GString *rows)
{
    fwrite(rows->str, 1, rows->len, stdout);
    rows->len = 0;
}

static void print_json(GString *rows, const MapEntry *entry, bool is_first)
{
    if (rows->len > OUTPUT_BYTES - MAX_ROW_BYTES) {
        flush_rows(rows);
    }
    char *to = rows->str + rows->len;
    to = is_first ? PUT(to, "[") : PUT(to, ",\n");
    to = put_number(PUT(to, "{ \"start\": "), entry->start);
    to = put_number(PUT(to, ", \"length\": "), entry->length);
    to = put_number(PUT(to, ", \"depth\": "), entry->depth);
    to = put_bool(PUT(to, ", \"present\": "), entry->flags & BDRV_BLOCK_ALLOCATED);
    to = put_bool(PUT(to, ", \"zero\": "), entry->flags & BDRV_BLOCK_ZERO);
    to = put_bool(PUT(to, ", \"data\": "), entry->flags & BDRV_BLOCK_DATA);
    to = put_bool(PUT(to, ", \"compressed\": "), entry->flags & BDRV_BLOCK_COMPRESSED);
    if (entry->flags & BDRV_BLOCK_OFFSET_VALID) {
        to = put_number(PUT(to, ", \"offset\": "), entry->offset);
    }
    to = PUT(to, "}");
    rows->len = to - rows->str;
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

/* ---- all of it ------------------------------------------------------------------------------- */

/* What is being printed. */
typedef struct Map {
    GString *rows;  /* of JSON; NULL: for people */
    MapEntry entry; /* not printed yet: it may go on; length 0: none */
    bool is_first;
} Map;

static bool print_last(Map *map)
{
    if (map->entry.length == 0) {
        return true;
    }
    if (!map->rows) {
        return print_human(&map->entry);
    }
    print_json(map->rows, &map->entry, map->is_first);
    map->is_first = false;
    return true;
}

static bool add_extent(Map *map, int64_t start, const BdrvExtent *extent)
{
    MapEntry next = {
        .start = start,
        .length = extent->bytes,
        .flags = extent->flags & MAP_FLAGS,
        .depth = extent->depth,
        .offset = extent->map,
        .file = extent->file,
    };
    if (map->entry.length && continues(&map->entry, &next)) {
        map->entry.length += next.length;
        return true;
    }
    bool ok = print_last(map);
    map->entry = next;
    return ok;
}

/* False, reported, if a part cannot be told. */
static bool coroutine_fn co_add_all(Map *map, ImgBackend *image, int64_t start, int64_t end)
{
    g_autofree BdrvExtent *extents = g_new(BdrvExtent, EXTENTS_AT_ONCE);
    bool ok = true;
    while (ok && start < end) {
        int n = blk_co_block_extents_above(image, NULL, start, end - start, extents,
                                           EXTENTS_AT_ONCE);
        if (n <= 0) {
            error_report("Failed to read image metadata: %s", g_strerror(n ? -n : EIO));
            ok = false;
        }
        for (int i = 0; ok && i < n; i++) {
            ok = add_extent(map, start, &extents[i]);
            start += extents[i].bytes;
        }
    }
    return ok && print_last(map);
}

static int coroutine_fn co_map(ImgBackend *image, int64_t start, int64_t end, ImgOutput output)
{
    Map map = { .is_first = true };
    if (output == IMG_OUTPUT_HUMAN) {
        printf("%-16s%-16s%-16s%s\n", "Offset", "Length", "Mapped to", "File");
    } else {
        map.rows = g_string_sized_new(OUTPUT_BYTES);
    }
    bool ok = co_add_all(&map, image, start, end);
    if (map.rows) {
        flush_rows(map.rows);
        g_string_free(map.rows, true);
        fputs(!ok ? "" : map.is_first ? "[]\n" : "]\n", stdout);
    }
    return ok ? 0 : 1;
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
