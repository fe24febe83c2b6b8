/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * secret: from a property or a file, in raw or in base64, perhaps encrypted by another secret.  It
 * is read and decrypted once, when it is made.
 */
#include "qemu/osdep.h"

#include "crypto/primitives.h"
#include "crypto/secret.h"
#include "qapi/gen/qom-types.h"
#include "qapi/user-object.h"
#include "qobject/qstring.h"

#define KEY_LEN 32 /* of a secret that others are encrypted with: AES-256 */
#define IV_LEN 16
#define MAX_FILE_BYTES (1 * 1024 * 1024)

typedef struct Secret {
    UserObject parent;
    QCryptoSecretFormat format;
    char *file, *keyid, *iv;
    CryptoBytes *bytes;
} Secret;

static const UserObjectType secret_type;

/* ---- bytes --------------------------------------------------------------------------------- */

CryptoBytes *crypto_bytes_new(const void *data, size_t len)
{
    CryptoBytes *bytes = g_malloc(sizeof(*bytes) + len + 1);

    bytes->len = len;
    if (len) {
        memcpy(bytes->data, data, len);
    }
    bytes->data[len] = 0;
    return bytes;
}

void crypto_bytes_free(CryptoBytes *bytes)
{
    if (bytes) {
        crypto_free(bytes, sizeof(*bytes) + bytes->len);
    }
}

/* ---- where it comes from ------------------------------------------------------------------- */

static CryptoBytes *read_open_file(FILE *f, const char *name, Error **errp)
{
    size_t room = MAX_FILE_BYTES + 1;
    uint8_t *buf = g_malloc(room);
    size_t len = fread(buf, 1, room, f);
    CryptoBytes *bytes = NULL;

    if (ferror(f)) {
        error_setg_errno(errp, errno, "Unable to read %s", name);
    } else if (len == room) {
        error_setg(errp, "%s is longer than %d bytes", name, MAX_FILE_BYTES);
    } else {
        bytes = crypto_bytes_new(buf, len);
    }
    crypto_free(buf, room);
    return bytes;
}

static CryptoBytes *read_file(const char *name, Error **errp)
{
    FILE *f = fopen(name, "re");
    CryptoBytes *bytes;

    if (!f) {
        error_setg_errno(errp, errno, "Unable to read %s", name);
        return NULL;
    }
    setvbuf(f, NULL, _IONBF, 0); /* no copy of it stays in a buffer */
    bytes = read_open_file(f, name, errp);
    fclose(f);
    return bytes;
}

static CryptoBytes *load(const SecretProperties *p, Error **errp)
{
    if (p->file && p->data) {
        error_setg(errp, "'file' and 'data' are mutually exclusive");
        return NULL;
    }
    if (!p->file && !p->data) {
        error_setg(errp, "Either 'file' or 'data' must be provided");
        return NULL;
    }
    return p->file ? read_file(p->file, errp) : crypto_bytes_new(p->data, strlen(p->data));
}

/* ---- base64 -------------------------------------------------------------------------------- */

static bool is_base64(const char *text, size_t len)
{
    size_t digits = 0, padding = 0;

    for (size_t i = 0; i < len; i++) {
        if (text[i] == '\n' || text[i] == '\r') {
            continue;
        }
        if (text[i] == '=') {
            padding++;
        } else if ((!g_ascii_isalnum(text[i]) && text[i] != '+' && text[i] != '/') || padding) {
            return false;
        }
        digits++;
    }
    return padding <= 2 && digits % 4 == 0;
}

static CryptoBytes *decode_base64(const char *text, size_t len, const char *what, Error **errp)
{
    CryptoBytes *bytes;
    guchar *raw;
    gsize raw_len;

    if (!is_base64(text, len)) {
        error_setg(errp, "Base64 data of the %s is not valid", what);
        return NULL;
    }
    raw = g_base64_decode(text, &raw_len);
    bytes = crypto_bytes_new(raw, raw_len);
    crypto_free(raw, raw_len);
    return bytes;
}

/* ---- decryption ---------------------------------------------------------------------------- */

/* What PKCS#7 put behind the text is taken off. */
static bool strip_padding(CryptoBytes *bytes, Error **errp)
{
    uint8_t padding = bytes->len ? bytes->data[bytes->len - 1] : 0;
    bool ok = padding >= 1 && padding <= IV_LEN && padding <= bytes->len;

    for (size_t i = 1; ok && i <= padding; i++) {
        ok = bytes->data[bytes->len - i] == padding;
    }
    if (!ok) {
        error_setg(errp, "The padding of the decrypted secret is not valid");
        return false;
    }
    crypto_wipe(bytes->data + bytes->len - padding, padding);
    bytes->len -= padding;
    return true;
}

/* @bytes in place. */
static bool decrypt(const SecretProperties *p, CryptoBytes *bytes, Error **errp)
{
    g_autoptr(CryptoBytes) key = crypto_secret_lookup(p->keyid, errp);
    g_autoptr(CryptoBytes) iv = NULL;
    g_autoptr(CryptoCipher) cipher = NULL;

    if (!key) {
        return false;
    }
    if (!p->iv) {
        error_setg(errp, "IV is required to decrypt secret");
        return false;
    }
    iv = decode_base64(p->iv, strlen(p->iv), "IV", errp);
    if (!iv) {
        return false;
    }
    if (key->len != KEY_LEN) {
        error_setg(errp, "The key in secret '%s' should be %d bytes long, not %zu", p->keyid,
                   KEY_LEN, key->len);
        return false;
    }
    if (iv->len != IV_LEN) {
        error_setg(errp, "IV should be %d bytes in length not %zu", IV_LEN, iv->len);
        return false;
    }
    if (bytes->len % IV_LEN) {
        error_setg(errp, "The length of the encrypted secret is not a multiple of %d", IV_LEN);
        return false;
    }
    cipher = crypto_cipher_new(QCRYPTO_CIPHER_ALGO_AES_256, QCRYPTO_CIPHER_MODE_CBC, key->data,
                               key->len, errp);
    if (!cipher) {
        return false;
    }
    if (crypto_cipher_decrypt(cipher, iv->data, bytes->data, bytes->len) < 0) {
        error_setg(errp, "The secret could not be decrypted");
        return false;
    }
    return strip_padding(bytes, errp);
}

/* ---- the object ---------------------------------------------------------------------------- */

static bool secret_create(UserObject *obj, const ObjectOptions *options, Error **errp)
{
    Secret *self = (Secret *)obj;
    const SecretProperties *p = &options->u.secret;
    QCryptoSecretFormat format = p->has_format ? p->format : QCRYPTO_SECRET_FORMAT_RAW;
    g_autoptr(CryptoBytes) bytes = load(p, errp);

    if (bytes && format == QCRYPTO_SECRET_FORMAT_BASE64) {
        CryptoBytes *text = bytes;

        bytes = decode_base64((const char *)text->data, text->len, "secret", errp);
        crypto_bytes_free(text);
    }
    if (!bytes || (p->keyid && !decrypt(p, bytes, errp))) {
        return false;
    }
    self->format = format;
    self->file = g_strdup(p->file);
    self->keyid = g_strdup(p->keyid);
    self->iv = g_strdup(p->iv);
    self->bytes = g_steal_pointer(&bytes);
    return true;
}

static void secret_destroy(UserObject *obj)
{
    Secret *self = (Secret *)obj;

    crypto_bytes_free(self->bytes);
    g_free(self->file);
    g_free(self->keyid);
    g_free(self->iv);
}

/* What is said of a secret; never the secret. */
static QObject *secret_get(UserObject *obj, const char *property, Error **errp)
{
    const Secret *self = (Secret *)obj;
    const struct {
        const char *name, *value;
    } values[] = {
        { "format", QCryptoSecretFormat_str(self->format) },
        { "file", self->file },
        { "keyid", self->keyid },
        { "iv", self->iv },
    };

    for (size_t i = 0; i < ARRAY_SIZE(values); i++) {
        if (strcmp(property, values[i].name) == 0) {
            return QOBJECT(qstring_from_str(values[i].value ? values[i].value : ""));
        }
    }
    error_setg(errp, "Property 'secret.%s' not found", property);
    return NULL;
}

static const UserObjectProperty secret_properties[] = {
    { "format", "QCryptoSecretFormat" },
    { "file", "string" },
    { "keyid", "string" },
    { "iv", "string" },
    { NULL, NULL },
};

static const UserObjectType secret_type = {
    .name = "secret",
    .size = sizeof(Secret),
    .create = secret_create,
    .destroy = secret_destroy,
    .properties = secret_properties,
    .get = secret_get,
};

void crypto_secret_register_type(void)
{
    user_object_register_type(&secret_type);
}

/* ---- who needs one ------------------------------------------------------------------------- */

CryptoBytes *crypto_secret_lookup(const char *id, Error **errp)
{
    UserObject *obj = user_object_find(id);

    if (!obj) {
        error_setg(errp, "No secret with id '%s'", id);
        return NULL;
    }
    if (obj->type != &secret_type) {
        error_setg(errp, "Object with id '%s' is not a secret", id);
        return NULL;
    }
    return crypto_bytes_new(((Secret *)obj)->bytes->data, ((Secret *)obj)->bytes->len);
}

CryptoBytes *crypto_secret_lookup_utf8(const char *id, Error **errp)
{
    g_autoptr(CryptoBytes) bytes = crypto_secret_lookup(id, errp);

    if (bytes && !g_utf8_validate((const char *)bytes->data, bytes->len, NULL)) {
        error_setg(errp, "Data from secret %s is not valid UTF-8", id);
        return NULL;
    }
    return g_steal_pointer(&bytes);
}
