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
#define MAX_ROW_BYTES 512

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

/* Numbers are written by four digits at a time. */
#define GROUP 10000u
#define GROUP_ZEROES 0x30303030u

/* The digits of each number below GROUP as the bytes of a little-endian word. */
static uint32_t digits_of[GROUP];

static void make_digits(void)
{
    for (uint32_t i = 0; i < GROUP; i++) {
        digits_of[i] = i / 1000 | i / 100 % 10 << 8 | i / 10 % 10 << 16 | i % 10 << 24;
    }
}

/* @value < GROUP, with the zeroes before it. */
static char *put_group(char *to, uint32_t value)
{
    stl_le_p(to, digits_of[value] | GROUP_ZEROES);
    return to + 4;
}

/* @value < GROUP * GROUP.  There must be room for three bytes more. */
static inline char *put_short(char *to, uint32_t value)
{
    uint32_t high = value / GROUP, first = high ? high : value;
    unsigned skip = first ? ctz32(digits_of[first]) / 8 : 3;

    stl_le_p(to, (digits_of[first] | GROUP_ZEROES) >> (skip * 8));
    to += 4 - skip;
    return high ? put_group(to, value % GROUP) : to;
}

/* The same for any. */
static char *put_number(char *to, uint64_t value)
{
    const uint32_t unit = GROUP * GROUP;
    uint64_t high = value / unit;
    uint32_t low = value % unit;

    if (high == 0) {
        return put_short(to, low);
    }
    to = high < unit ? put_short(to, high) : put_number(to, high);
    return put_group(put_group(to, low / GROUP), low % GROUP);
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

/* What a row says between its length and its offset, which most rows say alike. */
typedef struct RowMiddle {
    int flags, depth;
    int len;        /* 0: not made yet */
    char text[128]; /* copied whole, which is faster */
} RowMiddle;

static void make_middle(RowMiddle *middle, int flags, int depth)
{
    char *to = put_number(PUT(middle->text, ", \"depth\": "), depth);

    to = put_bool(PUT(to, ", \"present\": "), flags & BDRV_BLOCK_ALLOCATED);
    to = put_bool(PUT(to, ", \"zero\": "), flags & BDRV_BLOCK_ZERO);
    to = put_bool(PUT(to, ", \"data\": "), flags & BDRV_BLOCK_DATA);
    to = put_bool(PUT(to, ", \"compressed\": "), flags & BDRV_BLOCK_COMPRESSED);
    to = flags & BDRV_BLOCK_OFFSET_VALID ? PUT(to, ", \"offset\": ") : PUT(to, "}");
    middle->flags = flags;
    middle->depth = depth;
    middle->len = to - middle->text;
}

/* @middles: one for rows with an offset, one for others. */
static void print_json(GString *rows, RowMiddle middles[2], const MapEntry *entry, bool is_first)
{
    bool has_offset = entry->flags & BDRV_BLOCK_OFFSET_VALID;
    RowMiddle *middle = &middles[has_offset];

    if (rows->len > OUTPUT_BYTES - MAX_ROW_BYTES) {
        flush_rows(rows);
    }
    if (middle->len == 0 || middle->flags != entry->flags || middle->depth != entry->depth) {
        make_middle(middle, entry->flags, entry->depth);
    }
    char *to = rows->str + rows->len;
    to = is_first ? PUT(to, "[") : PUT(to, ",\n");
    to = put_number(PUT(to, "{ \"start\": "), entry->start);
    to = put_number(PUT(to, ", \"length\": "), entry->length);
    memcpy(to, middle->text, sizeof(middle->text));
    to += middle->len;
    if (has_offset) {
        to = PUT(put_number(to, entry->offset), "}");
    }
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
    GArray *lengths; /* int64_t: of each image of the chain, the first being the image itself */
    GString *rows;   /* of JSON; NULL: for people */
    RowMiddle middles[2];
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
    print_json(map->rows, map->middles, &map->entry, map->is_first);
    map->is_first = false;
    return true;
}

/*
 * Past the end of a backing file there are zeroes, which copying takes for something that the
 * backing file has.  People are told that the image above it has nothing there.
 */
static void tell_short_file(const Map *map, MapEntry *entry)
{
    if (entry->depth > 0 && (guint)entry->depth < map->lengths->len &&
        (entry->flags & (BDRV_BLOCK_ZERO | BDRV_BLOCK_OFFSET_VALID)) == BDRV_BLOCK_ZERO &&
        entry->start >= g_array_index(map->lengths, int64_t, entry->depth)) {
        entry->flags &= ~BDRV_BLOCK_ALLOCATED;
        entry->depth--;
    }
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
    tell_short_file(map, &next);
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

static GArray *coroutine_fn co_lengths_of_chain(ImgBackend *image)
{
    GArray *lengths = g_array_new(false, false, sizeof(int64_t));

    for (BlockDriverState *bs = blk_bs(image); bs; bs = bdrv_backing_chain_next(bs)) {
        int64_t length = bdrv_getlength(bs);

        g_array_append_val(lengths, length);
    }
    return lengths;
}

static int coroutine_fn co_map(ImgBackend *image, int64_t start, int64_t end, ImgOutput output)
{
    g_autoptr(GArray) lengths = co_lengths_of_chain(image);
    Map map = { .lengths = lengths, .is_first = true };

    if (output == IMG_OUTPUT_HUMAN) {
        printf("%-16s%-16s%-16s%s\n", "Offset", "Length", "Mapped to", "File");
    } else {
        map.rows = g_string_sized_new(OUTPUT_BYTES);
        make_digits();
    }
    bool ok = co_add_all(&map, image, start, end);
    if (ok && map.rows && map.is_first) {
        /* Readers of the list may count on a row. */
        print_json(map.rows, map.middles, &(MapEntry){ .start = start }, true);
    }
    if (map.rows) {
        flush_rows(map.rows);
        g_string_free(map.rows, true);
        fputs(ok ? "]\n" : "", stdout);
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
