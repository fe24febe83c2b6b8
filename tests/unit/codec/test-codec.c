/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Compression: round trips, foreign streams, damaged input, room that is too small. */
#include "qemu/osdep.h"

#include "codec/codec.h"
#include "../../lib/testlib.h"

#define LEN 65536

static const CodecKind kinds[] = { CODEC_DEFLATE, CODEC_ZSTD };

/* Compressible, but not trivially. */
static uint8_t *make_text(GRand *rand, size_t len)
{
    uint8_t *buf = g_malloc(len);

    for (size_t i = 0; i < len; i++) {
        buf[i] = i % 97 < 60 ? 'a' + (int)(i % 7) : g_rand_int_range(rand, 0, 16);
    }
    return buf;
}

static void test_round_trip(void)
{
    g_autoptr(GRand) rand = test_rand_new();
    g_autofree uint8_t *text = make_text(rand, LEN);
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
    g_test_add_func("/codec/compress/too-little-room-is-enospc", test_too_little_room);
    g_test_add_func("/codec/decompress/short-stream-is-eio", test_short_stream);
    g_test_add_func("/codec/decompress/damage-stays-inside-the-buffers", test_damage);
    return g_test_run();
}
