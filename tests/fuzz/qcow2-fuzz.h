/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What the fuzz entries for qcow2 images share: the bytes are the file "disk" in memory
 * (memfile.h), "file" is the only protocol, and nothing of the host can be reached.  An encrypted
 * one is opened with the password of secret "keeper".
 *
 * An entry defines fuzz_prefix(), the bytes before the image that it reads itself, and calls
 * fuzz_run() with a function that runs in a coroutine holding the control lock.
 */
#ifndef TESTS_FUZZ_QCOW2_FUZZ_H
#define TESTS_FUZZ_QCOW2_FUZZ_H

#include "../../block/format/qcow2/qcow2.h"
#include "../unit/format/qcow2-test.h"
#include "../unit/lab/secrets.h"

#define FUZZ_MAX_IMAGE (1 * MiB)
#define FUZZ_HEADER_BYTES 112

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerInitialize(int *argc, char ***argv);
size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t max_size, unsigned int seed);

static size_t fuzz_prefix(void);

static inline bool fuzz_swallow(const char *text)
{
    return true;
}

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
    qemu_init_main_loop(&error_abort);
    error_set_report_hook(fuzz_swallow, NULL);
    if (crypto_available()) {
        lab_with_secrets();
    }
    return 0;
}

/* A place in an image of @len bytes where a change matters: in the header, or in a table. */
static inline size_t fuzz_place(const uint8_t *image, size_t len, GRand *rand)
{
    size_t at = g_rand_int_range(rand, 0, MIN(len, FUZZ_HEADER_BYTES));

    if (g_rand_int_range(rand, 0, 3) == 0) {
        return at;
    }
    /* Most of an image is zero, or data; words that begin with few bits are entries. */
    at = g_rand_int_range(rand, 0, len) & ~(size_t)7;
    for (size_t tries = 0; tries < len / 8; tries++, at = (at + 8) % (len & ~(size_t)7)) {
        uint64_t word = at + 8 <= len ? ldq_be_p(image + at) : 0;

        if (word && (word & UINT64_C(0x3fffffff00000000)) == 0) {
            break;
        }
    }
    return at;
}

/* One byte, or one entry: another cluster, other flags, or what another entry says. */
size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t max_size, unsigned int seed)
{
    g_autoptr(GRand) rand = g_rand_new_with_seed(seed);
    size_t prefix = MIN(size, fuzz_prefix()), len = size - prefix, at, other;
    uint8_t *image = data + prefix;

    if (prefix && (len < 16 || g_rand_int_range(rand, 0, 4) == 0)) {
        data[g_rand_int_range(rand, 0, prefix)] = g_rand_int(rand);
        return size;
    }
    if (len < 16) {
        return size;
    }
    at = fuzz_place(image, len, rand);
    if (at < FUZZ_HEADER_BYTES || at + 8 > len) {
        image[at] = g_rand_int_range(rand, 0, 3) ? image[at] ^ (1 << g_rand_int_range(rand, 0, 8))
                                                 : (uint8_t)g_rand_int(rand);
        return size;
    }
    switch (g_rand_int_range(rand, 0, 4)) {
    case 0:
        stq_be_p(image + at, ldq_be_p(image + at) ^ UINT64_C(1) << g_rand_int_range(rand, 0, 64));
        break;
    case 1:
        stq_be_p(image + at, (ldq_be_p(image + at) & UINT64_C(0xc000000000000001)) |
                             (uint64_t)g_rand_int_range(rand, 0, len / 256 + 1) * 512);
        break;
    case 2:
        other = fuzz_place(image, len & ~(size_t)7, rand) & ~(size_t)7;
        memcpy(image + at, image + MIN(other, len - 8), 8);
        break;
    default:
        image[at + g_rand_int_range(rand, 0, 8)] = g_rand_int(rand);
    }
    return size;
}

/* A larger L1 table takes the time of a hundred inputs (tests/corpus/test-bounds.py has them). */
#define FUZZ_MAX_L1 (16 * KiB)

/* Run @co_fn on a file of these bytes. */
static inline void fuzz_run(const uint8_t *data, size_t size, void (*co_fn)(void))
{
    if (size > FUZZ_MAX_IMAGE || (size >= 40 && ldl_be_p(data + 36) > FUZZ_MAX_L1)) {
        return;
    }
    mem_set_content("disk", data, size);
    mem_run_case(qcow2_drivers, co_fn);
}

/* Iterations of LUKS that take no time; who makes them a million has a slow image, no more. */
#define FUZZ_MAX_ITERATIONS 4096

/* Is the LUKS header at @luks, of which @len bytes are there, opened in no time? */
static inline bool fuzz_is_quick(const uint8_t *luks, size_t len)
{
    bool is_quick = len >= 592 && ldl_be_p(luks + 164) <= FUZZ_MAX_ITERATIONS;

    for (int slot = 0; slot < 8 && is_quick; slot++) {
        is_quick = ldl_be_p(luks + 208 + slot * 48 + 4) <= FUZZ_MAX_ITERATIONS;
    }
    return is_quick;
}

/* The options that open the image in the file, with a password if it is encrypted. */
static inline QDict *fuzz_options(void)
{
    const GByteArray *file = mem_file("disk")->data;
    uint32_t method = file->len > 36 ? ldl_be_p(file->data + 32) : 0;
    QDict *options = qcow2_test_options("disk");
    bool is_quick = method == QCOW2_CRYPT_AES;

    for (size_t at = 512; method == QCOW2_CRYPT_LUKS && !is_quick && at < file->len; at += 512) {
        is_quick = !memcmp(file->data + at, "LUKS", 4) &&
                   fuzz_is_quick(file->data + at, file->len - at);
    }
    if (is_quick && crypto_available()) {
        qdict_put_str(options, "encrypt.format", method == QCOW2_CRYPT_AES ? "aes" : "luks");
        qdict_put_str(options, "encrypt.key-secret", "keeper");
    }
    return options;
}

/* The image as a user has it, or NULL if it is refused, which has an error. */
static inline MemUser *coroutine_fn fuzz_co_open(int flags)
{
    Error *local_err = NULL;
    MemUser *user = mem_co_use(fuzz_options(), flags, &local_err);

    if (!user == !local_err || (local_err && !*error_get_pretty(local_err))) {
        abort();
    }
    error_free(local_err);
    return user;
}

/* A copy of the file; free with g_bytes_unref(). */
static inline GBytes *fuzz_file(void)
{
    const GByteArray *data = mem_file("disk")->data;

    return g_bytes_new(data->data, data->len);
}

/* Abort if the file is not what it was. */
static inline void fuzz_same_file(GBytes *before)
{
    g_autoptr(GBytes) now = fuzz_file();

    if (!g_bytes_equal(before, now)) {
        abort();
    }
}

/* Check and repair the image; true if what is left is sound. */
static inline bool coroutine_fn fuzz_co_check(MemUser *user, int fix, BdrvCheckResult *res)
{
    *res = (BdrvCheckResult){ 0 };
    return bdrv_co_check(user->bs, res, fix) >= 0 && !res->corruptions && !res->check_errors;
}

#endif
