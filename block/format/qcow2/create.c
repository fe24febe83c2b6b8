/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Making an image: a header, a refcount table of one cluster and one refcount block are
 * written; the result is opened as a qcow2 image of size 0 and grown, so that tables and
 * preallocation are made by the code that always makes them.
 */
#include "qemu/osdep.h"

#include "../creation.h"
#include "../luks-volume.h"
#include "qapi/gen/block-core-visit.h"
#include "qcow2.h"
#include "qemu/cutils.h"

#define DEFAULT_CLUSTER_SIZE 65536
#define DEFAULT_REFCOUNT_BITS 16
#define NB_FIRST_CLUSTERS 3 /* header, refcount table, refcount block */

/* ---- what is wanted ------------------------------------------------------------------------ */

typedef struct CreateParams {
    Qcow2Header header; /* size 0 */
    uint64_t size;
    PreallocMode prealloc;
    const char *backing_file;
    char backing_format[16];
    const QCryptoBlockCreateOptions *encrypt; /* or NULL */
    bool has_data_file;
    BlockDriverState *data_file; /* its node, once that is open */
} CreateParams;

static bool read_data_file(const BlockdevCreateOptionsQcow2 *o, CreateParams *p, Error **errp)
{
    bool is_raw = o->has_data_file_raw && o->data_file_raw;

    if (is_raw && !p->has_data_file) {
        error_setg(errp, "data-file-raw requires data-file");
        return false;
    }
    if (is_raw && o->backing_file) {
        error_setg(errp, "Backing file and data-file-raw cannot be used at the same time");
        return false;
    }
    if (p->has_data_file && p->header.version < 3) {
        error_setg(errp, "External data files are only supported with compatibility level 1.1 and "
                   "above (use version=v3 or greater)");
        return false;
    }
    p->header.incompatible |= p->has_data_file ? QCOW2_INCOMPAT_DATA_FILE : 0;
    p->header.autoclear |= is_raw ? QCOW2_AUTOCLEAR_DATA_FILE_RAW : 0;
    return true;
}

static bool read_cluster_size(const BlockdevCreateOptionsQcow2 *o, uint64_t cluster_size,
                              Qcow2Header *h, Error **errp)
{
    bool is_extended = o->has_extended_l2 && o->extended_l2;

    if (!is_power_of_2(cluster_size) || cluster_size < (1U << QCOW2_MIN_CLUSTER_BITS) ||
        cluster_size > (1U << QCOW2_MAX_CLUSTER_BITS)) {
        error_setg(errp, "Cluster size must be a power of two between %d and %dk",
                   1 << QCOW2_MIN_CLUSTER_BITS, 1 << (QCOW2_MAX_CLUSTER_BITS - 10));
        return false;
    }
    if (is_extended && cluster_size < QCOW2_SUBCLUSTERS * BDRV_SECTOR_SIZE) {
        error_setg(errp, "Extended L2 entries are only supported with cluster sizes of at least %d "
                   "bytes", QCOW2_SUBCLUSTERS * (int)BDRV_SECTOR_SIZE);
        return false;
    }
    if (is_extended && h->version < 3) {
        error_setg(errp, "Extended L2 entries are only supported with compatibility level 1.1 and "
                   "above (use version=v3 or greater)");
        return false;
    }
    h->cluster_bits = ctz64(cluster_size);
    h->incompatible |= is_extended ? QCOW2_INCOMPAT_EXTL2 : 0;
    return true;
}

static bool read_version_features(const BlockdevCreateOptionsQcow2 *o, Qcow2Header *h, Error **errp)
{
    int64_t bits = o->has_refcount_bits ? o->refcount_bits : DEFAULT_REFCOUNT_BITS;

    h->version = o->has_version && o->version == BLOCKDEV_QCOW2_VERSION_V2 ? 2 : 3;
    if (o->has_lazy_refcounts && o->lazy_refcounts) {
        if (h->version < 3) {
            error_setg(errp, "Lazy refcounts only supported with compatibility level 1.1 and above "
                       "(use version=v3 or greater)");
            return false;
        }
        h->compatible |= QCOW2_COMPAT_LAZY_REFCOUNTS;
    }
    if (bits < 1 || bits > 64 || !is_power_of_2(bits)) {
        error_setg(errp, "Refcount width must be a power of two and may not exceed 64 bits");
        return false;
    }
    if (h->version < 3 && bits != DEFAULT_REFCOUNT_BITS) {
        error_setg(errp, "Different refcount widths than 16 bits require compatibility level 1.1 "
                   "or above (use version=v3 or greater)");
        return false;
    }
    h->refcount_order = ctz64(bits);
    if (o->has_compression_type && o->compression_type == QCOW2_COMPRESSION_TYPE_ZSTD) {
        if (h->version < 3) {
            error_setg(errp, "Non-zlib compression type is only supported with compatibility level "
                       "1.1 and above (use version=v3 or greater)");
            return false;
        }
        if (!codec_available(CODEC_ZSTD)) {
            error_setg(errp, "Compression type 'zstd' is not supported by this build");
            return false;
        }
        h->compression_type = QCOW2_COMPRESSION_ZSTD;
        h->incompatible |= QCOW2_INCOMPAT_COMPRESSION;
    }
    return true;
}

static bool read_backing(const BlockdevCreateOptionsQcow2 *o, CreateParams *p, Error **errp)
{
    if (o->has_backing_fmt && !o->backing_file) {
        error_setg(errp, "Backing format cannot be used without backing file");
        return false;
    }
    if (o->backing_file && p->prealloc != PREALLOC_MODE_OFF &&
        !(p->header.incompatible & QCOW2_INCOMPAT_EXTL2)) {
        error_setg(errp, "Backing file and preallocation can only be used at the same time if "
                   "extended_l2 is on");
        return false;
    }
    if (o->backing_file && strlen(o->backing_file) > QCOW2_MAX_BACKING_NAME) {
        error_setg(errp, "Backing file name is longer than %d bytes", QCOW2_MAX_BACKING_NAME);
        return false;
    }
    p->backing_file = o->backing_file;
    if (o->has_backing_fmt) {
        g_strlcpy(p->backing_format, BlockdevDriver_str(o->backing_fmt),
                  sizeof(p->backing_format));
    }
    return true;
}

static bool read_encrypt(const BlockdevCreateOptionsQcow2 *o, CreateParams *p, Error **errp)
{
    p->encrypt = o->encrypt;
    if (!o->encrypt) {
        return true;
    }
    if (p->header.autoclear & QCOW2_AUTOCLEAR_DATA_FILE_RAW) {
        error_setg(errp, "Encryption and data-file-raw cannot be used at the same time");
        return false;
    }
    return qcow2_crypt_check_create(o->encrypt, errp);
}

static bool read_params(const BlockdevCreateOptionsQcow2 *o, bool has_data_file, CreateParams *p,
                        Error **errp)
{
    uint64_t cluster_size = o->has_cluster_size ? o->cluster_size : DEFAULT_CLUSTER_SIZE;
    uint64_t l1_reach;

    *p = (CreateParams){
        .size = o->size,
        .has_data_file = has_data_file,
        .prealloc = o->has_preallocation ? o->preallocation : PREALLOC_MODE_OFF,
    };
    if (!QEMU_IS_ALIGNED(o->size, BDRV_SECTOR_SIZE)) {
        error_setg(errp, "Image size must be a multiple of %d bytes", (int)BDRV_SECTOR_SIZE);
        return false;
    }
    if (!read_version_features(o, &p->header, errp) || !read_data_file(o, p, errp) ||
        !read_cluster_size(o, cluster_size, &p->header, errp) || !read_backing(o, p, errp) ||
        !read_encrypt(o, p, errp)) {
        return false;
    }
    l1_reach = cluster_size *
               (cluster_size / (p->header.incompatible & QCOW2_INCOMPAT_EXTL2 ? 16 : 8));
    if (o->size > BDRV_MAX_LENGTH ||
        o->size / l1_reach + !!(o->size % l1_reach) > QCOW2_MAX_L1_BYTES / 8) {
        error_setg(errp, "The image size is too large for file format 'qcow2' (try using a larger "
                   "cluster size)");
        return false;
    }
    p->header.reftable_offset = cluster_size;
    p->header.reftable_clusters = 1;
    return true;
}

/* ---- the first clusters -------------------------------------------------------------------- */

/*
 * What was in the file must not shine through; places that cannot be emptied are overwritten.  An
 * image of another format keeps its length, too: it does not grow by being written to.
 */
static void coroutine_fn co_empty_file(BdrvChild *file)
{
    const BlockDriver *drv = file->bs->drv;

    if (drv->is_protocol || drv->has_variable_length || drv->is_filter) {
        bdrv_co_truncate(file, 0, false, PREALLOC_MODE_OFF, 0, NULL);
    }
}

static bool coroutine_fn co_write_first_clusters(BdrvChild *file, const CreateParams *p,
                                                 Error **errp)
{
    size_t cluster_size = (size_t)1 << p->header.cluster_bits;
    g_autofree uint8_t *buf = g_try_malloc0(NB_FIRST_CLUSTERS * cluster_size);
    Qcow2Extensions ext = { 0 };
    Qcow2HeaderImage image = { &p->header, &ext, NULL, p->backing_file, false };
    int ret;

    if (!buf) {
        error_setg_errno(errp, ENOMEM, "Could not write qcow2 header");
        return false;
    }
    memcpy(ext.backing_format, p->backing_format, sizeof(ext.backing_format));
    ext.data_file = p->data_file ? (char *)bdrv_get_filename(p->data_file) : NULL;
    if (!qcow2_header_build(&image, buf, cluster_size, errp)) {
        return false;
    }
    stq_be_p(buf + cluster_size, 2 * cluster_size);
    for (int i = 0; i < NB_FIRST_CLUSTERS; i++) {
        qcow2_refcount_write(buf + 2 * cluster_size, 1U << p->header.refcount_order, i, 1);
    }
    co_empty_file(file);
    ret = bdrv_co_pwrite(file, 0, NB_FIRST_CLUSTERS * cluster_size, buf, 0);
    if (ret < 0) {
        error_setg_errno(errp, -ret, "Could not write qcow2 header");
        return false;
    }
    return true;
}

/* ---- on the nodes ------------------------------------------------------------------------- */

static bool coroutine_fn co_fill_file(BdrvGate *gate, BlockDriverState *bs, const CreateParams *p,
                                      Error **errp)
{
    BdrvChild *edge = creation_co_use_node(gate, bs, errp);
    bool ok;

    if (!edge) {
        return false;
    }
    ok = co_write_first_clusters(edge, p, errp);
    bdrv_co_detach_child(edge);
    return ok;
}

/* Before there are clusters of data; the tables come first in the file, as stock has them. */
static int coroutine_fn co_encrypt(BlockDriverState *bs, const CreateParams *p, Error **errp)
{
    int ret = qcow2_co_grow_l1(bs, p->size);

    if (ret < 0) {
        error_setg_errno(errp, -ret, "Failed to grow the L1 table");
        return ret;
    }
    return qcow2_crypt_co_set_up(bs, p->encrypt, errp) ? 0 : -EIO;
}

static bool coroutine_fn co_grow_image(BdrvGate *gate, BlockDriverState *file,
                                       const CreateParams *p, Error **errp)
{
    QDict *options = qdict_new();
    g_autoptr(BlockDriverState) bs = NULL;
    BdrvChild *edge;
    int ret;

    qdict_put_str(options, "driver", "qcow2");
    qdict_put_str(options, "file", bdrv_get_node_name(file));
    if (p->data_file) {
        qdict_put_str(options, "data-file", bdrv_get_node_name(p->data_file));
    }
    bs = bdrv_co_open(NULL, NULL, options, BDRV_O_RDWR | BDRV_O_NO_BACKING, errp);
    edge = bs ? creation_co_use_node(gate, bs, errp) : NULL;
    if (!edge) {
        return false;
    }
    ret = p->encrypt ? co_encrypt(bs, p, errp) : 0;
    if (ret >= 0) {
        ret = bdrv_co_truncate(edge, p->size, false, p->prealloc, 0, errp);
        if (ret < 0) {
            error_prepend(errp, "Could not resize image: ");
        }
    }
    if (ret >= 0) {
        ret = bdrv_co_flush(bs);
        if (ret < 0) {
            error_setg_errno(errp, -ret, "Could not flush the new image");
        }
    }
    bdrv_co_detach_child(edge);
    return ret >= 0;
}

static bool coroutine_fn co_create_on(BlockDriverState *file, const CreateParams *p, Error **errp)
{
    BdrvGate gate;
    bool ok;

    creation_gate_init(&gate);
    ok = co_fill_file(&gate, file, p, errp) && co_grow_image(&gate, file, p, errp);
    bdrv_gate_done(&gate);
    return ok;
}

bool coroutine_fn qcow2_co_create(const BlockdevCreateOptions *options, Error **errp)
{
    const BlockdevCreateOptionsQcow2 *o = &options->u.qcow2;
    g_autoptr(BlockDriverState) file = NULL;
    g_autoptr(BlockDriverState) data_file = NULL;
    CreateParams p;

    if (!read_params(o, o->data_file, &p, errp)) {
        return false;
    }
    file = creation_co_open_ref(o->file, errp);
    if (file && o->data_file) {
        data_file = creation_co_open_ref(o->data_file, errp);
    }
    if (!file || (o->data_file && !data_file)) {
        return false;
    }
    p.data_file = data_file;
    return co_create_on(file, &p, errp);
}

/* ---- the legacy form ----------------------------------------------------------------------- */

QemuOptsList qcow2_create_opts = {
    .name = "qcow2-create-opts",
    .desc = (const QemuOptDesc[]){
        { "encryption", QEMU_OPT_BOOL, "Encrypt the image with format 'aes'. (Deprecated in favor "
          "of encrypt.format=aes)", NULL },
        { "encrypt.format", QEMU_OPT_STRING, "Encrypt the image, format choices: 'aes', 'luks'",
          NULL },
        LUKS_CREATE_OPTIONS("encrypt.", "ID of secret providing qcow AES key or LUKS passphrase"),
        { "cluster_size", QEMU_OPT_SIZE, "qcow2 cluster size", "65536" },
        { "extended_l2", QEMU_OPT_BOOL, "Extended L2 tables", "off" },
        { "preallocation", QEMU_OPT_STRING,
          "Preallocation mode (allowed values: off, metadata, falloc, full)", NULL },
        { "compression_type", QEMU_OPT_STRING,
          "Compression method used for image cluster compression", "zlib" },
        QCOW2_COMMON_OPTIONS("off", "16"),
        { NULL, QEMU_OPT_STRING, NULL, NULL },
    },
};

/* The value of enumeration option @name as its number in @lookup, or -1 with @errp set. */
static int read_enum(const QemuOpts *opts, const char *name, const char *member,
                     const QEnumLookup *lookup, int def, Error **errp)
{
    const char *value = qemu_opt_get(opts, name);

    if (!value) {
        return def;
    }
    for (int i = 0; i < lookup->size; i++) {
        if (g_strcmp0(lookup->names[i], value) == 0) {
            return i;
        }
    }
    error_setg(errp, "Parameter '%s' does not accept value '%s'", member, value);
    return -1;
}

static int read_compat(const QemuOpts *opts, Error **errp)
{
    const char *value = qemu_opt_get(opts, "compat");

    if (!value || strcmp(value, "1.1") == 0 || strcmp(value, "v3") == 0) {
        return BLOCKDEV_QCOW2_VERSION_V3;
    }
    if (strcmp(value, "0.10") == 0 || strcmp(value, "v2") == 0) {
        return BLOCKDEV_QCOW2_VERSION_V2;
    }
    error_setg(errp, "Parameter 'version' does not accept value '%s'", value);
    return -1;
}

/* What "encrypt.format", or its old form "encryption", asks for; *@o is pointed to by *@encrypt. */
static bool read_encryption(const QemuOpts *opts, QCryptoBlockCreateOptions *o,
                            QCryptoBlockCreateOptions **encrypt, Error **errp)
{
    static const char *const luks_only[] = {
        "encrypt.cipher-alg", "encrypt.cipher-mode", "encrypt.ivgen-alg", "encrypt.ivgen-hash-alg",
        "encrypt.hash-alg", "encrypt.iter-time",
    };
    const char *format = qemu_opt_get(opts, "encrypt.format");
    bool is_legacy = qemu_opt_get_bool(opts, "encryption", false);
    const char *detail = qemu_opt_get(opts, "encrypt.key-secret");

    for (size_t i = 0; i < ARRAY_SIZE(luks_only) && !detail; i++) {
        detail = qemu_opt_get(opts, luks_only[i]);
    }
    if (format && is_legacy) {
        error_setg(errp, "'encrypt.format' and its alias 'encryption' can't be used at the same "
                   "time");
        return false;
    }
    if (!format && !is_legacy) {
        if (detail) {
            error_setg(errp, "Parameter 'encrypt.format' is missing");
        }
        return !detail;
    }
    *encrypt = o;
    if (format && strcmp(format, "luks") == 0) {
        o->format = QCRYPTO_BLOCK_FORMAT_LUKS;
        return luks_create_options_read(opts, "encrypt.", &o->u.luks, errp);
    }
    if (format && strcmp(format, "aes") != 0 && strcmp(format, "qcow") != 0) {
        error_setg(errp, "Parameter 'format' does not accept value '%s'", format);
        return false;
    }
    for (size_t i = 0; i < ARRAY_SIZE(luks_only); i++) {
        if (qemu_opt_is_set(opts, luks_only[i])) {
            error_setg(errp, "Parameter '%s' is unexpected", luks_only[i]);
            return false;
        }
    }
    o->format = QCRYPTO_BLOCK_FORMAT_QCOW;
    o->u.qcow.key_secret = (char *)qemu_opt_get(opts, "encrypt.key-secret");
    return true;
}

/* Everything but the file; *@encrypt is room for what *@o points to. */
static bool options_from_opts(const QemuOpts *opts, BlockdevCreateOptionsQcow2 *o,
                              QCryptoBlockCreateOptions *encrypt, Error **errp)
{
    int version = read_compat(opts, errp);
    int prealloc, compression, format;

    if (version < 0) {
        return false;
    }
    prealloc = read_enum(opts, "preallocation", "preallocation", &PreallocMode_lookup,
                         PREALLOC_MODE_OFF, errp);
    if (prealloc < 0) {
        return false;
    }
    compression = read_enum(opts, "compression_type", "compression-type",
                            &Qcow2CompressionType_lookup, QCOW2_COMPRESSION_TYPE_ZLIB, errp);
    if (compression < 0) {
        return false;
    }
    format = read_enum(opts, "backing_fmt", "backing-fmt", &BlockdevDriver_lookup,
                       BLOCKDEV_DRIVER__MAX, errp);
    if (format < 0) {
        return false;
    }
    *o = (BlockdevCreateOptionsQcow2){
        .has_data_file_raw = true,
        .data_file_raw = qemu_opt_get_bool(opts, "data_file_raw", false),
        .has_extended_l2 = true,
        .extended_l2 = qemu_opt_get_bool(opts, "extended_l2", false),
        .size = QEMU_ALIGN_UP(qemu_opt_get_size(opts, "size", 0), BDRV_SECTOR_SIZE),
        .has_version = true,
        .version = version,
        .backing_file = (char *)qemu_opt_get(opts, "backing_file"),
        .has_backing_fmt = format != BLOCKDEV_DRIVER__MAX,
        .backing_fmt = format,
        .has_cluster_size = true,
        .cluster_size = qemu_opt_get_size(opts, "cluster_size", DEFAULT_CLUSTER_SIZE),
        .has_preallocation = true,
        .preallocation = prealloc,
        .has_lazy_refcounts = true,
        .lazy_refcounts = qemu_opt_get_bool(opts, "lazy_refcounts", false),
        .has_refcount_bits = true,
        .refcount_bits = qemu_opt_get_number(opts, "refcount_bits", DEFAULT_REFCOUNT_BITS),
        .has_compression_type = true,
        .compression_type = compression,
    };
    if (o->backing_file && !*o->backing_file) {
        o->backing_file = NULL;
    }
    return read_encryption(opts, encrypt, &o->encrypt, errp);
}

bool coroutine_fn qcow2_co_create_opts(BlockDriver *drv, const char *filename, QemuOpts *opts,
                                       Error **errp)
{
    const char *data_name = qemu_opt_get(opts, "data_file");
    BlockdevCreateOptionsQcow2 o;
    QCryptoBlockCreateOptions encrypt = { 0 };
    g_autoptr(BlockDriverState) file = NULL;
    g_autoptr(BlockDriverState) data_file = NULL;
    CreateParams p;
    bool is_new, is_data_new = false;

    /* All that can be refused is refused before there is a file. */
    if (!options_from_opts(opts, &o, &encrypt, errp) || !read_params(&o, data_name, &p, errp)) {
        return false;
    }
    /* These mean the disk, not the file. */
    qemu_opt_unset(opts, "size");
    qemu_opt_unset(opts, "preallocation");
    file = creation_co_make_file(filename, opts, &is_new, errp);
    if (file && data_name) {
        data_file = creation_co_make_file(data_name, opts, &is_data_new, errp);
    }
    p.data_file = data_file;
    if (!file || (data_name && !data_file) || !co_create_on(file, &p, errp)) {
        creation_co_take_back(file, is_new);
        creation_co_take_back(data_file, is_data_new);
        return false;
    }
    return true;
}
