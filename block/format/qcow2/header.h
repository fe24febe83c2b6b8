/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The header of an image and its extensions: read and checked (header.c), built and changed in the
 * file (header-write.c).
 */
#ifndef BLOCK_FORMAT_QCOW2_HEADER_H
#define BLOCK_FORMAT_QCOW2_HEADER_H

#include "block/block_int.h"
#include "layout.h"

typedef struct Qcow2Header {
    uint32_t version;
    uint64_t backing_offset;
    uint32_t backing_len;
    uint32_t cluster_bits;
    uint64_t size;
    uint32_t crypt_method;
    uint32_t l1_size;
    uint64_t l1_offset;
    uint64_t reftable_offset;
    uint32_t reftable_clusters;
    uint32_t nb_snapshots;
    uint64_t snapshots_offset;
    uint64_t incompatible, compatible, autoclear;
    uint32_t refcount_order;
    uint32_t header_len;
    uint8_t compression_type;
} Qcow2Header;

/* An extension we do not know: kept and written back. */
typedef struct Qcow2UnknownExt {
    uint32_t type;
    GBytes *data;
} Qcow2UnknownExt;

typedef struct Qcow2Extensions {
    char backing_format[16];      /* "" if absent */
    GBytes *features;             /* feature name table, or NULL */
    bool has_bitmaps;
    uint32_t nb_bitmaps;
    uint64_t bitmap_dir_size, bitmap_dir_offset;
    bool has_crypto;
    uint64_t crypto_offset, crypto_len;
    char *data_file;              /* or NULL */
    GArray *unknown;              /* of Qcow2UnknownExt */
} Qcow2Extensions;

/* ---- reading: header.c ----------------------------------------------------------------------- */

/** Parse and check the fixed fields in the @len bytes at @buf (as much as there is).  Pure. */
bool qcow2_header_parse(const uint8_t *buf, size_t len, Qcow2Header *header, Error **errp);
/** Check what needs the length of the tables and the features.  Pure. */
bool qcow2_header_validate(const Qcow2Header *header, const Qcow2Extensions *ext, bool for_check,
                           Error **errp);
/** Where extensions end. */
uint64_t qcow2_header_ext_end(const Qcow2Header *header);
/** Parse extensions in [@buf, @buf + @len), which begins at header_len.  Pure. */
bool qcow2_extensions_parse(const uint8_t *buf, size_t len, Qcow2Extensions *ext, Error **errp);
/** Free what @ext points to; it is empty then. */
void qcow2_extensions_clear(Qcow2Extensions *ext);
/** Feature names for the message about @unknown incompatible bits; free with g_free. */
char *qcow2_unknown_features_text(uint64_t unknown, const Qcow2Extensions *ext);

/* ---- building and changing: header-write.c --------------------------------------------------- */

/* What a new header is made from. */
typedef struct Qcow2HeaderImage {
    const Qcow2Header *header;      /* backing_offset and backing_len are computed */
    const Qcow2Extensions *ext;
    GBytes *unknown_fields;         /* bytes of the header past QCOW2_HEADER_LEN, or NULL */
    const char *backing_file;       /* or NULL */
    bool without_feature_names;
} Qcow2HeaderImage;

/** Put all fields of its version into the QCOW2_HEADER_LEN bytes at @buf.  Pure. */
void qcow2_header_put_fields(const Qcow2Header *h, uint8_t *buf);
/** Serialize into the @cluster_size bytes at @buf.  Sets header fields of the backing name. */
bool qcow2_header_build(const Qcow2HeaderImage *image, uint8_t *buf, size_t cluster_size,
                        Error **errp);

/** Write @len bytes at @offset within the first 512 bytes of the file, and flush (R5). */
int coroutine_fn qcow2_header_co_patch(BlockDriverState *bs, uint32_t offset, const void *buf,
                                       size_t len);
/**
 * The fields in [@start, @end) of the header in the file become those of @new; s->header, which
 * says what they are, is the caller's to change.  0, or a negative errno: then the file has the
 * old ones, or, if not even that is sure, the image takes no more writes.  Lock held.
 */
int coroutine_fn qcow2_header_co_switch(BlockDriverState *bs, const Qcow2Header *new,
                                        uint32_t start, uint32_t end);
/** Set or clear incompatible feature bits in the file.  Lock held. */
int coroutine_fn qcow2_header_co_set_incompatible(BlockDriverState *bs, uint64_t set,
                                                  uint64_t clear);
/**
 * Write the header cluster anew, so that it is old or new at every instant.  @header and @ext
 * become those in force; what @ext points to is taken over.  @backing_file: its name or NULL.
 * After an error the file has the old header, as qcow2_header_co_switch().  Lock held.
 */
int coroutine_fn qcow2_header_co_rewrite(BlockDriverState *bs, const Qcow2Header *header,
                                         const Qcow2Extensions *ext, const char *backing_file,
                                         Error **errp);
/**
 * Before the first change of anything: clear autoclear bits of what we do not maintain, and say in
 * the directory of bitmaps that they are in use (R10).
 */
int coroutine_fn qcow2_co_prepare_change(BlockDriverState *bs);
/** Write the backing file's name and format (NULL: none).  Lock held. */
int coroutine_fn qcow2_header_co_set_backing(BlockDriverState *bs, const char *name,
                                             const char *format, Error **errp);

#endif
