/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What a qcow2 image is made of on disk: numbers, limits, bits.  Everything is big endian.
 */
#ifndef BLOCK_FORMAT_QCOW2_LAYOUT_H
#define BLOCK_FORMAT_QCOW2_LAYOUT_H

#define QCOW2_MAGIC 0x514649fbU
#define QCOW2_V2_HEADER_LEN 72
#define QCOW2_V3_HEADER_MIN 104
#define QCOW2_HEADER_LEN 112 /* what we know and write */

#define QCOW2_MIN_CLUSTER_BITS 9
#define QCOW2_MAX_CLUSTER_BITS 21
#define QCOW2_MAX_REFTABLE_BYTES (8 * MiB)
#define QCOW2_MAX_L1_BYTES (32 * MiB)
#define QCOW2_MAX_SNAPSHOTS 65536
#define QCOW2_MAX_SNAPSHOT_EXTRA 1024
#define QCOW2_MAX_SNAPSHOT_TABLE_BYTES (64 * MiB)
#define QCOW2_MAX_BITMAPS 65535
#define QCOW2_MAX_BITMAP_DIR_BYTES (1024 * QCOW2_MAX_BITMAPS)
#define QCOW2_MAX_BITMAP_NAME 1023
#define QCOW2_MAX_BITMAP_BYTES (512 * MiB) /* stored bits of one */
#define QCOW2_MIN_BITMAP_GRANULARITY_BITS 9
#define QCOW2_MAX_BITMAP_GRANULARITY_BITS 31
#define QCOW2_MAX_BACKING_NAME 1023
#define QCOW2_MAX_HOST_OFFSET (INT64_C(1) << 56)
#define QCOW2_MAX_GAP (INT64_C(1) << 40) /* of clusters in use past the end of the file */

/* Offsets of fields that are changed on their own. */
#define QCOW2_HDR_SIZE 24         /* u64 */
#define QCOW2_HDR_L1 36           /* u32 entries, u64 offset */
#define QCOW2_HDR_REFTABLE 48     /* u64 offset, u32 clusters */
#define QCOW2_HDR_INCOMPAT 72
#define QCOW2_HDR_AUTOCLEAR 88
#define QCOW2_HDR_REFCOUNT_ORDER 96

#define QCOW2_INCOMPAT_DIRTY (UINT64_C(1) << 0)
#define QCOW2_INCOMPAT_CORRUPT (UINT64_C(1) << 1)
#define QCOW2_INCOMPAT_DATA_FILE (UINT64_C(1) << 2)
#define QCOW2_INCOMPAT_COMPRESSION (UINT64_C(1) << 3)
#define QCOW2_INCOMPAT_EXTL2 (UINT64_C(1) << 4)
#define QCOW2_INCOMPAT_KNOWN UINT64_C(0x1f)
#define QCOW2_COMPAT_LAZY_REFCOUNTS (UINT64_C(1) << 0)
#define QCOW2_AUTOCLEAR_BITMAPS (UINT64_C(1) << 0)
#define QCOW2_AUTOCLEAR_DATA_FILE_RAW (UINT64_C(1) << 1)

#define QCOW2_EXT_END 0x00000000U
#define QCOW2_EXT_BACKING_FORMAT 0xe2792acaU
#define QCOW2_EXT_FEATURES 0x6803f857U
#define QCOW2_EXT_BITMAPS 0x23852875U
#define QCOW2_EXT_CRYPTO 0x0537be77U
#define QCOW2_EXT_DATA_FILE 0x44415441U
#define QCOW2_FEATURE_ENTRY_LEN 48 /* of QCOW2_EXT_FEATURES */

#define QCOW2_CRYPT_AES 1
#define QCOW2_CRYPT_LUKS 2
#define QCOW2_MAX_CRYPTO_BYTES (64 * MiB) /* of LUKS header and key slots */

#define QCOW2_COMPRESSION_DEFLATE 0
#define QCOW2_COMPRESSION_ZSTD 1

/* L1 and L2 entries. */
#define QCOW2_COPIED (UINT64_C(1) << 63)     /* refcount is exactly 1 */
#define QCOW2_COMPRESSED (UINT64_C(1) << 62)
#define QCOW2_ZERO (UINT64_C(1) << 0)
#define QCOW2_OFFSET_MASK UINT64_C(0x00fffffffffffe00)
#define QCOW2_REFTABLE_MASK UINT64_C(0xfffffffffffffe00)

#define QCOW2_SUBCLUSTERS 32
/* The second word of an extended L2 entry: which subclusters have data, which read as zeroes. */
#define QCOW2_SUB_DATA UINT64_C(0x00000000ffffffff)
#define QCOW2_SUB_ZEROES UINT64_C(0xffffffff00000000)

#endif
