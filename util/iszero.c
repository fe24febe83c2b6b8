/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Zero detection.
 *
 * Most buffers that are not zero show it in their first word, their last word or in the middle,
 * so these are looked at first; only then the whole buffer is scanned, in blocks of several
 * vectors whose bits are ORed together before one test.
 */
#include "qemu/osdep.h"
#include "qemu/iszero.h"

#if defined(__x86_64__)
#include <immintrin.h>
#endif

/* Scans @len >= 256 bytes. */
typedef bool ScanFunc(const unsigned char *buf, size_t len);
/* Counts zero words before any other. */
typedef size_t CountFunc(const unsigned char *p, size_t n);
/* Which of 64 words are not zero. */
typedef uint64_t UsedFunc(const unsigned char *p);

static uint64_t load64(const unsigned char *p)
{
    uint64_t x;

    memcpy(&x, p, sizeof(x));
    return x;
}

static bool scan_short(const unsigned char *buf, size_t len)
{
    uint64_t any = 0;

    if (len < 8) {
        for (size_t i = 0; i < len; i++) {
            any |= buf[i];
        }
        return any == 0;
    }
    for (size_t i = 0; i + 8 <= len; i += 8) {
        any |= load64(buf + i);
    }
    /* The last word may overlap the one before. */
    return (any | load64(buf + len - 8)) == 0;
}

static bool scan_words(const unsigned char *buf, size_t len)
{
    const unsigned char *end = buf + len;

    for (; end - buf >= 64; buf += 64) {
        uint64_t any = load64(buf) | load64(buf + 8) | load64(buf + 16) | load64(buf + 24) |
                       load64(buf + 32) | load64(buf + 40) | load64(buf + 48) | load64(buf + 56);
        if (any) {
            return false;
        }
    }
    return scan_short(buf, end - buf);
}

#if defined(__x86_64__)
static bool scan_sse2(const unsigned char *buf, size_t len)
{
    const unsigned char *end = buf + len;
    const __m128i zero = _mm_setzero_si128();

    for (; end - buf >= 64; buf += 64) {
        const __m128i *v = (const __m128i *)buf;
        __m128i any = _mm_or_si128(_mm_or_si128(_mm_loadu_si128(v), _mm_loadu_si128(v + 1)),
                                   _mm_or_si128(_mm_loadu_si128(v + 2), _mm_loadu_si128(v + 3)));
        if (_mm_movemask_epi8(_mm_cmpeq_epi8(any, zero)) != 0xffff) {
            return false;
        }
    }
    return scan_short(buf, end - buf);
}

__attribute__((target("avx2")))
static bool scan_avx2(const unsigned char *buf, size_t len)
{
    const unsigned char *end = buf + len;
    __m256i any;

    for (; end - buf >= 128; buf += 128) {
        const __m256i *v = (const __m256i *)buf;
        any = _mm256_or_si256(
            _mm256_or_si256(_mm256_loadu_si256(v), _mm256_loadu_si256(v + 1)),
            _mm256_or_si256(_mm256_loadu_si256(v + 2), _mm256_loadu_si256(v + 3)));
        if (!_mm256_testz_si256(any, any)) {
            return false;
        }
    }
    /* @len was at least 256: the last block may overlap bytes already seen. */
    buf = end - 128;
    const __m256i *v = (const __m256i *)buf;
    any = _mm256_or_si256(_mm256_or_si256(_mm256_loadu_si256(v), _mm256_loadu_si256(v + 1)),
                          _mm256_or_si256(_mm256_loadu_si256(v + 2), _mm256_loadu_si256(v + 3)));
    return _mm256_testz_si256(any, any);
}
#endif

/* ---- zero words ---------------------------------------------------------------------------- */

static size_t count_words(const unsigned char *p, size_t n)
{
    size_t done = 0;

    for (; n - done >= 4; done += 4) {
        const unsigned char *at = p + done * 8;

        if (load64(at) | load64(at + 8) | load64(at + 16) | load64(at + 24)) {
            break;
        }
    }
    while (done < n && load64(p + done * 8) == 0) {
        done++;
    }
    return done;
}

#if defined(__x86_64__)
/* Which of 8 words at @p are not zero, so that a zero has no bit; two bits for each. */
static unsigned used_of_8(const unsigned char *p)
{
    const __m128i *v = (const __m128i *)p;
    const __m128i zero = _mm_setzero_si128();
    __m128i a = _mm_packs_epi32(_mm_cmpeq_epi32(_mm_loadu_si128(v), zero),
                                _mm_cmpeq_epi32(_mm_loadu_si128(v + 1), zero));
    __m128i b = _mm_packs_epi32(_mm_cmpeq_epi32(_mm_loadu_si128(v + 2), zero),
                                _mm_cmpeq_epi32(_mm_loadu_si128(v + 3), zero));

    return _mm_movemask_epi8(_mm_packs_epi16(a, b)) ^ 0xffff;
}

static size_t count_sse2(const unsigned char *p, size_t n)
{
    size_t done = 0;

    for (; n - done >= 8; done += 8) {
        unsigned used = used_of_8(p + done * 8);

        if (used) {
            return done + (unsigned)__builtin_ctz(used) / 2;
        }
    }
    return done + count_words(p + done * 8, n - done);
}

__attribute__((target("avx2")))
static size_t count_avx2(const unsigned char *p, size_t n)
{
    const __m256i zero = _mm256_setzero_si256();
    size_t done = 0;

    for (; n - done >= 16; done += 16) {
        const __m256i *v = (const __m256i *)(p + done * 8);
        __m256i any = _mm256_or_si256(
            _mm256_or_si256(_mm256_loadu_si256(v), _mm256_loadu_si256(v + 1)),
            _mm256_or_si256(_mm256_loadu_si256(v + 2), _mm256_loadu_si256(v + 3)));
        if (!_mm256_testz_si256(any, any)) {
            break;
        }
    }
    for (; n - done >= 4; done += 4) {
        __m256i v = _mm256_loadu_si256((const __m256i *)(p + done * 8));
        unsigned zeroes = _mm256_movemask_pd((__m256d)_mm256_cmpeq_epi64(v, zero));

        if (zeroes != 0xf) {
            return done + (unsigned)__builtin_ctz(~zeroes);
        }
    }
    while (done < n && load64(p + done * 8) == 0) {
        done++;
    }
    return done;
}
#endif

/* ---- which words are used ------------------------------------------------------------------- */

static uint64_t used_words(const unsigned char *p)
{
    uint64_t used = 0;

    for (unsigned i = 0; i < 64; i++) {
        used |= (uint64_t)(load64(p + i * 8) != 0) << i;
    }
    return used;
}

/*
 * Comparing yields words of ones for zeroes; packing halves their length without changing that,
 * until each has one byte, and so one bit of the mask.
 */
#if defined(__x86_64__)
/* Of 16 words. */
static inline unsigned zeroes_sse2(const unsigned char *p)
{
    const __m128i zero = _mm_setzero_si128(), ones = _mm_cmpeq_epi8(zero, zero);
    __m128i half[2];

    for (int i = 0; i < 2; i++) {
        const __m128i *v = (const __m128i *)(p + i * 64);
        __m128i a = _mm_packs_epi32(_mm_cmpeq_epi32(_mm_loadu_si128(v), zero),
                                    _mm_cmpeq_epi32(_mm_loadu_si128(v + 1), zero));
        __m128i b = _mm_packs_epi32(_mm_cmpeq_epi32(_mm_loadu_si128(v + 2), zero),
                                    _mm_cmpeq_epi32(_mm_loadu_si128(v + 3), zero));

        /* A byte for each half of a word, of which both must be zero. */
        half[i] = _mm_cmpeq_epi16(_mm_packs_epi16(a, b), ones);
    }
    return _mm_movemask_epi8(_mm_packs_epi16(half[0], half[1]));
}

static uint64_t used_sse2(const unsigned char *p)
{
    uint64_t zeroes = 0;

    for (unsigned i = 0; i < 4; i++) {
        zeroes |= (uint64_t)zeroes_sse2(p + i * 128) << (16 * i);
    }
    return ~zeroes;
}

__attribute__((target("avx2")))
static inline __m256i zeroes_of_8_avx2(const __m256i *v)
{
    const __m256i zero = _mm256_setzero_si256();

    return _mm256_packs_epi32(_mm256_cmpeq_epi64(_mm256_loadu_si256(v), zero),
                              _mm256_cmpeq_epi64(_mm256_loadu_si256(v + 1), zero));
}

/* Of 32 words. */
__attribute__((target("avx2")))
static inline uint32_t zeroes_avx2(const __m256i *v)
{
    __m256i a = _mm256_packs_epi16(zeroes_of_8_avx2(v), zeroes_of_8_avx2(v + 2));
    __m256i b = _mm256_packs_epi16(zeroes_of_8_avx2(v + 4), zeroes_of_8_avx2(v + 6));
    __m256i all = _mm256_packs_epi16(a, b);
    /* Each half was packed for itself: the lower has words 0, 1, 4, 5, ..., the upper the rest. */
    __m128i low = _mm256_castsi256_si128(all), high = _mm256_extracti128_si256(all, 1);

    return (uint32_t)_mm_movemask_epi8(_mm_unpacklo_epi16(low, high)) |
           (uint32_t)_mm_movemask_epi8(_mm_unpackhi_epi16(low, high)) << 16;
}

__attribute__((target("avx2")))
static uint64_t used_avx2(const unsigned char *p)
{
    const __m256i *v = (const __m256i *)p;

    return ~(zeroes_avx2(v) | (uint64_t)zeroes_avx2(v + 8) << 32);
}
#endif

/* ---- the best for this processor ----------------------------------------------------------- */

typedef struct Variant {
    ScanFunc *scan;
    CountFunc *count;
    UsedFunc *used;
} Variant;

/* Best first; the words variant, last, runs everywhere (and compilers vectorize it). */
static int list_variants(Variant variants[3])
{
    int n = 0;

#if defined(__x86_64__)
    __builtin_cpu_init();
    if (__builtin_cpu_supports("avx2")) {
        variants[n++] = (Variant){ scan_avx2, count_avx2, used_avx2 };
    }
    variants[n++] = (Variant){ scan_sse2, count_sse2, used_sse2 };
#endif
    variants[n++] = (Variant){ scan_words, count_words, used_words };
    return n;
}

/* Set before main(), so that readers need no synchronisation. */
static Variant best = { scan_words, count_words, used_words };

__attribute__((constructor))
static void choose_best(void)
{
    Variant variants[3];

    list_variants(variants);
    best = variants[0];
}

static bool is_zero(ScanFunc *scan, const unsigned char *buf, size_t len)
{
    if (len < 256) {
        return scan_short(buf, len);
    }
    if (load64(buf) | load64(buf + len - 8) | load64(buf + len / 2)) {
        return false;
    }
    return scan(buf, len);
}

bool buffer_is_zero(const void *buf, size_t len)
{
    return is_zero(best.scan, buf, len);
}

size_t buffer_count_zero_words(const void *buf, size_t n)
{
    return best.count(buf, n);
}

uint64_t buffer_used_words(const void *buf)
{
    return best.used(buf);
}

int buffer_is_zero_variants(void)
{
    Variant variants[3];

    return list_variants(variants);
}

static Variant get_variant(int i)
{
    Variant variants[3];
    int n = list_variants(variants);

    assert(i >= 0 && i < n);
    return variants[i];
}

bool buffer_is_zero_variant(int variant, const void *buf, size_t len)
{
    return is_zero(get_variant(variant).scan, buf, len);
}

size_t buffer_count_zero_words_variant(int variant, const void *buf, size_t n)
{
    return get_variant(variant).count(buf, n);
}

uint64_t buffer_used_words_variant(int variant, const void *buf)
{
    return get_variant(variant).used(buf);
}
