/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The object "secret": its forms, and what is refused. */
#include "qemu/osdep.h"

#include "crypto/primitives.h"
#include "crypto/secret.h"
#include "qapi/user-object.h"
#include "../../lib/testlib.h"

static void refused(const char *text, const char *message)
{
    Error *err = NULL;

    g_test_message("%s", text);
    g_assert_false(user_object_add_from_str(text, &err));
    g_assert_cmpstr(error_get_pretty(err), ==, message);
    error_free(err);
}

static void expect(const char *text, const char *id, const void *data, size_t len)
{
    g_autoptr(CryptoBytes) bytes = NULL;

    g_assert_true(user_object_add_from_str(text, &error_abort));
    bytes = crypto_secret_lookup(id, &error_abort);
    g_assert_cmpmem(bytes->data, bytes->len, data, len);
    g_assert_cmpint(bytes->data[bytes->len], ==, 0);
}

static void test_forms(void)
{
    expect("secret,id=a,data=pass word", "a", "pass word", 9);
    expect("secret,id=b,data=AAECAw==,format=base64", "b", "\0\1\2\3", 4);
    expect("secret,id=e,data=", "e", "", 0);
    user_object_del_all();
}

static void test_file(void)
{
    g_autofree char *name = NULL, *text = NULL;
    int fd = g_file_open_tmp("secret-XXXXXX", &name, NULL);

    g_assert_cmpint(write(fd, "x\0y\n", 4), ==, 4);
    close(fd);
    text = g_strdup_printf("secret,id=f,file=%s", name);
    expect(text, "f", "x\0y\n", 4);
    unlink(name);
    user_object_del_all();
}

static void test_refusals(void)
{
    refused("secret,id=a", "Either 'file' or 'data' must be provided");
    refused("secret,id=a,data=x,file=y", "'file' and 'data' are mutually exclusive");
    refused("secret,id=a,data=x=y,format=base64", "Base64 data of the secret is not valid");
    refused("secret,id=a,data=AAA,format=base64", "Base64 data of the secret is not valid");
    refused("secret,id=a,data=x,bogus=1", "Parameter 'bogus' is unexpected");
    refused("secret,id=a,data=x,keyid=none", "No secret with id 'none'");
    user_object_del_all();
}

static void test_lookup_refusals(void)
{
    Error *err = NULL;

    g_assert_null(crypto_secret_lookup("none", &err));
    g_assert_cmpstr(error_get_pretty(err), ==, "No secret with id 'none'");
    g_clear_pointer(&err, error_free);
    g_assert_true(user_object_add_from_str("secret,id=b,data=/w==,format=base64", &error_abort));
    g_assert_null(crypto_secret_lookup_utf8("b", &err));
    g_assert_cmpstr(error_get_pretty(err), ==, "Data from secret b is not valid UTF-8");
    error_free(err);
    user_object_del_all();
}

/* A key of 00 01 .. 1f and an IV of 00 .. 0f. */
#define KEY "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="
#define IV "AAECAwQFBgcICQoLDA0ODw=="

static char *encrypt(const char *text, size_t len, uint8_t padding)
{
    uint8_t key[32], iv[16], buf[32];
    g_autoptr(CryptoCipher) cipher = NULL;

    for (int i = 0; i < 32; i++) {
        key[i] = i;
        iv[i % 16] = i % 16;
    }
    memset(buf, padding, sizeof(buf));
    memcpy(buf, text, len);
    cipher = crypto_cipher_new(QCRYPTO_CIPHER_ALGO_AES_256, QCRYPTO_CIPHER_MODE_CBC, key, 32,
                               &error_abort);
    g_assert_cmpint(crypto_cipher_encrypt(cipher, iv, buf, 16), ==, 0);
    return g_base64_encode(buf, 16);
}

static void test_encrypted(void)
{
    g_autofree char *good = encrypt("letmein", 7, 9);
    g_autofree char *bad = encrypt("letmein", 7, 10);
    g_autofree char *text = NULL, *no_iv = NULL, *broken = NULL;

    if (!crypto_available()) {
        g_test_skip("built without libgcrypt");
        return;
    }
    g_assert_true(user_object_add_from_str("secret,id=k,format=base64,data=" KEY, &error_abort));
    text = g_strdup_printf("secret,id=s,format=base64,keyid=k,iv=" IV ",data=%s", good);
    expect(text, "s", "letmein", 7);
    no_iv = g_strdup_printf("secret,id=t,format=base64,keyid=k,data=%s", good);
    refused(no_iv, "IV is required to decrypt secret");
    broken = g_strdup_printf("secret,id=t,format=base64,keyid=k,iv=" IV ",data=%s", bad);
    refused(broken, "The padding of the decrypted secret is not valid");
    refused("secret,id=t,format=base64,keyid=s,iv=" IV ",data=" IV,
            "The key in secret 's' should be 32 bytes long, not 7");
    user_object_del_all();
}

int main(int argc, char **argv)
{
    test_init(&argc, &argv);
    crypto_secret_register_type();
    g_test_add_func("/secret/create/forms", test_forms);
    g_test_add_func("/secret/create/from-a-file", test_file);
    g_test_add_func("/secret/create/refusals", test_refusals);
    g_test_add_func("/secret/create/encrypted-by-another", test_encrypted);
    g_test_add_func("/secret/lookup/refusals", test_lookup_refusals);
    return g_test_run();
}
