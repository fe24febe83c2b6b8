/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Compression: round trips, foreign streams, damaged input, room that is too small. */
#include "qemu/osdep.h"

#include <zlib.h>

#include "codec/codec.h"
#include "qemu/crc32c.h"
#include "../../lib/testlib.h"

#define LEN 65536

static const CodecKind kinds[] = { CODEC_DEFLATE, CODEC_ZSTD };

/* Compressible, but not trivially; @least: of the bytes. */
static uint8_t *make_bytes(GRand *rand, size_t len, int least)
{
    uint8_t *buf = g_malloc(len);

    for (size_t i = 0; i < len; i++) {
        buf[i] = i % 97 < 60 ? 'a' + (int)(i % 7) : g_rand_int_range(rand, least, 16);
    }
    return buf;
}

static uint8_t *make_text(GRand *rand, size_t len)
{
    return make_bytes(rand, len, 0);
}

static void round_trip(GRand *rand, int least)
{
    g_autofree uint8_t *text = make_bytes(rand, LEN, least);
    g_autofree uint8_t *packed = g_malloc(LEN);
    g_autofree uint8_t *out = g_malloc(LEN);

    for (size_t i = 0; i < ARRAY_SIZE(kinds); i++) {
        ssize_t n;

        if (!codec_available(kinds[i])) {
            g_test_message("%s is not built in", codec_name(kinds[i]));
            continue;
        }
        n = codec_compress(kinds[i], packed, LEN, text, LEN);
        g_assert_cmpint(n, >, 0);
        g_assert_cmpint(n, <, LEN);
        memset(out, 0xee, LEN);
        /* What follows the stream is ignored. */
        g_assert_cmpint(codec_decompress(kinds[i], out, LEN, packed, LEN), ==, 0);
        g_assert_cmpmem(out, LEN, text, LEN);
        g_assert_cmpint(codec_decompress(kinds[i], out, LEN, packed, n), ==, 0);
    }
}

static void test_round_trip(void)
{
    g_autoptr(GRand) rand = test_rand_new();

    round_trip(rand, 0);
    round_trip(rand, 1);
}

/* Bytes by which zlib's default makes @buf with the window that readers have. */
static size_t zlib_len(const uint8_t *buf, size_t len)
{
    g_autofree uint8_t *out = g_malloc(2 * len + 16);
    z_stream strm = { .next_in = (Bytef *)buf, .avail_in = len, .next_out = out,
                      .avail_out = 2 * len + 16 };

    g_assert_cmpint(deflateInit2(&strm, Z_DEFAULT_COMPRESSION, Z_DEFLATED, -12, 9,
                                 Z_DEFAULT_STRATEGY), ==, Z_OK);
    g_assert_cmpint(deflate(&strm, Z_FINISH), ==, Z_STREAM_END);
    deflateEnd(&strm);
    return 2 * len + 16 - strm.avail_out;
}

/* As programs do: other bytes are frequent every few KiB. */
static void test_changing_statistics(void)
{
    g_autoptr(GRand) rand = test_rand_new();
    g_autofree uint8_t *bytes = g_malloc(LEN);
    g_autofree uint8_t *packed = g_malloc(LEN);
    ssize_t n;

    for (size_t i = 0; i < LEN; i++) {
        bytes[i] = i / 8192 * 16 + g_rand_int_range(rand, 0, 16);
    }
    n = codec_compress(CODEC_DEFLATE, packed, LEN, bytes, LEN);
    g_assert_cmpint(n, >, 0);
    g_assert_cmpint(n, <=, zlib_len(bytes, LEN) * 108 / 100);
}

static void test_too_little_room(void)
{
    g_autoptr(GRand) rand = test_rand_new();
    g_autofree uint8_t *noise = g_malloc(LEN);
    g_autofree uint8_t *packed = g_malloc(LEN);

    test_rand_fill(rand, noise, LEN);
    for (size_t i = 0; i < ARRAY_SIZE(kinds); i++) {
        if (codec_available(kinds[i])) {
            g_assert_cmpint(codec_compress(kinds[i], packed, LEN - 1, noise, LEN), ==, -ENOSPC);
        }
    }
}

/* Read @packed as one does who remembers 4 KiB only and takes the output in small pieces. */
static void check_small_window(const uint8_t *packed, size_t packed_len, const uint8_t *text,
                               size_t text_len)
{
    z_stream strm = { .next_in = (Bytef *)packed, .avail_in = packed_len };
    uint8_t piece[256];
    size_t len = 0;
    int ret;

    g_assert_cmpint(inflateInit2(&strm, -12), ==, Z_OK);
    do {
        strm.next_out = piece;
        strm.avail_out = sizeof(piece);
        ret = inflate(&strm, Z_NO_FLUSH);
        g_assert_true(ret == Z_OK || ret == Z_STREAM_END);
        g_assert_cmpmem(piece, sizeof(piece) - strm.avail_out, text + len,
                        sizeof(piece) - strm.avail_out);
        len += sizeof(piece) - strm.avail_out;
    } while (ret == Z_OK);
    inflateEnd(&strm);
    g_assert_cmpuint(strm.avail_in, ==, 0);
    g_assert_cmpuint(len, ==, text_len);
}

static void test_small_window(void)
{
    g_autoptr(GRand) rand = test_rand_new();
    g_autofree uint8_t *text = g_malloc(LEN);
    g_autofree uint8_t *packed = g_malloc(LEN);

    for (int least = 0; least < 2; least++) {
        ssize_t n;

        /* Repeats itself at a distance that a large window would use. */
        for (size_t i = 0; i < 6000; i++) {
            text[i] = g_rand_int_range(rand, least, 64);
        }
        for (size_t i = 6000; i < LEN; i++) {
            text[i] = i % 3 ? text[i - 6000] : text[i - 50];
        }
        n = codec_compress(CODEC_DEFLATE, packed, LEN, text, LEN);
        g_assert_cmpint(n, >, 0);
        check_small_window(packed, n, text, LEN);
    }
}

/* Pieces of runs, repetitions, noise and narrow alphabets, without zeroes: all that text may be. */
static void fill_mixed(GRand *rand, uint8_t *buf, size_t len)
{
    size_t at = 0;

    while (at < len) {
        size_t longest = 1 + test_rand_below(rand, 3000), n = MIN(len - at, longest);
        unsigned kind = test_rand_below(rand, 4), span = 1 + test_rand_below(rand, 255);
        size_t back = 1 + test_rand_below(rand, 5000);

        for (size_t i = 0; i < n; i++, at++) {
            buf[at] = kind == 0 && at >= back ? buf[at - back]
                      : kind == 1             ? span
                                              : 1 + test_rand_below(rand, kind == 2 ? span : 255);
        }
    }
}

static void test_mixed(void)
{
    g_autoptr(GRand) rand = test_rand_new();
    const size_t max = 300000;
    size_t ours = 0, theirs = 0;
    g_autofree uint8_t *text = g_malloc(max);
    g_autofree uint8_t *packed = g_malloc(max + 100);

    for (int round = 0; round < 200; round++) {
        size_t longest = round % 10 ? 20000 : max;
        size_t len = round < 20 ? (size_t)round : 1 + test_rand_below(rand, longest);
        ssize_t n;

        fill_mixed(rand, text, len);
        n = codec_compress(CODEC_DEFLATE, packed, len + 100, text, len);
        g_assert_cmpint(n, >, 0);
        check_small_window(packed, n, text, len);
        ours += n;
        theirs += zlib_len(text, len);
    }
    g_assert_cmpuint(ours, <=, theirs * 108 / 100);
}

/* It fits, or it is -ENOSPC and nothing is written behind the room. */
static void test_exact_room(void)
{
    g_autoptr(GRand) rand = test_rand_new();
    g_autofree uint8_t *text = g_malloc(LEN);
    g_autofree uint8_t *packed = g_malloc(LEN + 64);
    ssize_t n;

    fill_mixed(rand, text, LEN);
    n = codec_compress(CODEC_DEFLATE, packed, LEN, text, LEN);
    g_assert_cmpint(n, >, 0);
    for (ssize_t room = n + 32; room > n - 20; room--) {
        ssize_t ret;

        packed[room] = 0xa5;
        ret = codec_compress(CODEC_DEFLATE, packed, room, text, LEN);
        g_assert_cmpint(ret, ==, room < n ? -ENOSPC : n);
        g_assert_cmpint(packed[room], ==, 0xa5);
    }
}

/* Words by chance, as in a log: what is text is within eight percent of zlib. */
static void test_text(void)
{
    static const char *const words[] = {
        "request", "node", "answered", "timeout", "GET", "/index.html", "user", "warning",
        "disk", "of", "the", "connection", "closed", "retry", "in", "seconds", "10.0.0.",
    };
    g_autoptr(GRand) rand = test_rand_new();
    g_autoptr(GString) text = g_string_new(NULL);
    g_autofree uint8_t *packed = g_malloc(LEN);
    ssize_t n;

    while (text->len < LEN) {
        g_string_append_printf(text, "%u.%06u %s %s %s %u\n", g_rand_int_range(rand, 0, 99999),
                               g_rand_int_range(rand, 0, 999999),
                               words[test_rand_below(rand, ARRAY_SIZE(words))],
                               words[test_rand_below(rand, ARRAY_SIZE(words))],
                               words[test_rand_below(rand, ARRAY_SIZE(words))],
                               g_rand_int_range(rand, 0, 256));
    }
    n = codec_compress(CODEC_DEFLATE, packed, LEN, text->str, LEN);
    g_assert_cmpint(n, >, 0);
    check_small_window(packed, n, (uint8_t *)text->str, LEN);
    g_assert_cmpint(n, <=, zlib_len((uint8_t *)text->str, LEN) * 108 / 100);
}

/* The bytes depend on the content alone: not on the processor, nor on what was written before. */
static void test_same_bytes(void)
{
    g_autofree uint8_t *text = g_malloc(3 * LEN);
    g_autofree uint8_t *packed = g_malloc(3 * LEN);
    uint32_t x = 1;
    ssize_t n;

    for (size_t i = 0; i < 3 * LEN; i++) {
        x = x * 1664525 + 1013904223;
        text[i] = i / 5000 % 3 == 0   ? x >> 27
                  : i / 5000 % 3 == 1 ? x >> 24
                                      : text[i - 777] ^ (x < 1 << 24);
    }
    for (int round = 0; round < 3; round++) {
        n = codec_compress(CODEC_DEFLATE, packed, 3 * LEN, text, 3 * LEN);
        g_assert_cmpint(n, ==, 124464);
        g_assert_cmphex(crc32c(0, packed, n), ==, 0xbd5511cb);
        codec_compress(CODEC_DEFLATE, packed, 3 * LEN, text + round + 1, LEN / (round + 1));
    }
}

/* Content behind noise is found again. */
static void test_text_after_noise(void)
{
    g_autoptr(GRand) rand = test_rand_new();
    g_autofree uint8_t *bytes = g_malloc(2 * LEN);
    g_autofree uint8_t *packed = g_malloc(2 * LEN);
    ssize_t n;

    test_rand_fill(rand, bytes, LEN);
    for (size_t i = LEN; i < 2 * LEN; i++) {
        bytes[i] = i % 100 < 2 ? (uint8_t)g_rand_int(rand) : bytes[i - 300];
    }
    n = codec_compress(CODEC_DEFLATE, packed, 2 * LEN, bytes, 2 * LEN);
    g_assert_cmpint(n, >, 0);
    check_small_window(packed, n, bytes, 2 * LEN);
    g_assert_cmpint(n, <=, zlib_len(bytes, 2 * LEN) * 108 / 100);
}

/* Streams of others: the largest window; and one that lacks its end. */
static void test_foreign_stream(void)
{
    g_autoptr(GRand) rand = test_rand_new();
    g_autofree uint8_t *text = g_malloc(LEN);
    g_autofree uint8_t *packed = g_malloc(LEN);
    g_autofree uint8_t *out = g_malloc(LEN);
    z_stream strm = { .next_in = text, .avail_in = LEN, .next_out = packed, .avail_out = LEN };

    test_rand_fill(rand, text, 20000);
    for (size_t i = 20000; i < LEN; i++) {
        text[i] = text[i - 20000];
    }
    g_assert_cmpint(deflateInit2(&strm, 9, Z_DEFLATED, -15, 9, Z_DEFAULT_STRATEGY), ==, Z_OK);
    g_assert_cmpint(deflate(&strm, Z_SYNC_FLUSH), ==, Z_OK);
    g_assert_cmpuint(strm.avail_in, ==, 0);
    g_assert_cmpint(codec_decompress(CODEC_DEFLATE, out, LEN, packed, strm.total_out), ==, 0);
    g_assert_cmpmem(out, LEN, text, LEN);
    deflateEnd(&strm);
}

static void test_short_stream(void)
{
    g_autoptr(GRand) rand = test_rand_new();
    g_autofree uint8_t *text = make_text(rand, LEN);
    g_autofree uint8_t *packed = g_malloc(LEN);
    g_autofree uint8_t *out = g_malloc(2 * LEN);

    for (size_t i = 0; i < ARRAY_SIZE(kinds); i++) {
        ssize_t n;

        if (!codec_available(kinds[i])) {
            continue;
        }
        n = codec_compress(kinds[i], packed, LEN, text, LEN);
        g_assert_cmpint(codec_decompress(kinds[i], out, LEN, packed, n / 2), ==, -EIO);
        g_assert_cmpint(codec_decompress(kinds[i], out, 2 * LEN, packed, n), ==, -EIO);
        g_assert_cmpint(codec_decompress(kinds[i], out, LEN, packed, 0), ==, -EIO);
    }
}

static void test_damage(void)
{
    g_autoptr(GRand) rand = test_rand_new();
    g_autofree uint8_t *text = make_text(rand, 4096);
    uint8_t packed[4096], bad[4096], out[4096];

    for (size_t i = 0; i < ARRAY_SIZE(kinds); i++) {
        ssize_t n;

        if (!codec_available(kinds[i])) {
            continue;
        }
        n = codec_compress(kinds[i], packed, sizeof(packed), text, 4096);
        g_assert_cmpint(n, >, 0);
        for (int round = 0; round < 2000; round++) {
            int ret;

            memcpy(bad, packed, n);
            bad[test_rand_below(rand, n)] ^= 1 << g_rand_int_range(rand, 0, 8);
            ret = codec_decompress(kinds[i], out, sizeof(out), bad, n);
            g_assert_true(ret == 0 || ret == -EIO);
        }
    }
}

int main(int argc, char **argv)
{
    test_init(&argc, &argv);
    g_test_add_func("/codec/round-trip/gives-the-same-bytes", test_round_trip);
    g_test_add_func("/codec/compress/changing-statistics-are-followed", test_changing_statistics);
    g_test_add_func("/codec/compress/too-little-room-is-enospc", test_too_little_room);
    g_test_add_func("/codec/compress/needs-a-window-of-4-KiB-only", test_small_window);
    g_test_add_func("/codec/compress/mixed-content-of-any-length", test_mixed);
    g_test_add_func("/codec/compress/writes-nothing-behind-the-room", test_exact_room);
    g_test_add_func("/codec/compress/text-is-nearly-as-short-as-by-zlib", test_text);
    g_test_add_func("/codec/compress/same-bytes-everywhere", test_same_bytes);
    g_test_add_func("/codec/compress/text-after-noise-is-found", test_text_after_noise);
    g_test_add_func("/codec/decompress/streams-of-others", test_foreign_stream);
    g_test_add_func("/codec/decompress/short-stream-is-eio", test_short_stream);
    g_test_add_func("/codec/decompress/damage-stays-inside-the-buffers", test_damage);
    return g_test_run();
}
