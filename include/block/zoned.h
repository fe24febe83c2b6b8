/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Zoned storage: disks whose zones are written from their start on, in order, and reset as a whole.
 *
 * A node is zoned if BlockLimits.zones says so.  Offsets and lengths are in bytes, as everywhere.
 * Rules of the zones:
 *   - a zone of type SWR takes a write at its write pointer only: elsewhere it is -EIO;
 *   - a request for the state of zones (BlockZoneOp) covers whole zones; the last may be shorter;
 *   - an append names a zone and is told where the data went; it goes there whole, or not at all.
 * Who writes must hold BLK_PERM_WRITE, and so must who changes the state of zones.
 */
#ifndef BLOCK_ZONED_H
#define BLOCK_ZONED_H

#include <stdint.h>

typedef enum BlockZoneModel {
    BLK_Z_NONE, /* not zoned */
    BLK_Z_HM,   /* host-managed: there are zones that only take writes in order */
    BLK_Z_HA,   /* host-aware: better written in order */
} BlockZoneModel;

/* What a node allows; bytes unless said otherwise, 0: no limit. */
typedef struct BlockZoneLimits {
    BlockZoneModel model;       /* BLK_Z_NONE: not zoned, and the rest is 0 */
    uint32_t write_granularity; /* of writes to sequential zones */
    int64_t zone_size;          /* the last zone may be shorter */
    int64_t max_append;         /* one zone append */
    unsigned nr_zones;          /* a number, as the next two are */
    unsigned max_open_zones, max_active_zones;
} BlockZoneLimits;

typedef enum BlockZoneOp { BLK_ZO_OPEN, BLK_ZO_CLOSE, BLK_ZO_FINISH, BLK_ZO_RESET } BlockZoneOp;

/* The numbers of the next two are those of the standards (ZBC, virtio) and are seen by users. */
typedef enum BlockZoneType {
    BLK_ZT_CONV = 1, /* conventional: no write pointer */
    BLK_ZT_SWR = 2,  /* sequential writes required */
    BLK_ZT_SWP = 3,  /* sequential writes preferred */
} BlockZoneType;

typedef enum BlockZoneState {
    BLK_ZS_NOT_WP = 0,
    BLK_ZS_EMPTY = 1,
    BLK_ZS_IOPEN = 2, /* opened by a write */
    BLK_ZS_EOPEN = 3, /* opened by BLK_ZO_OPEN */
    BLK_ZS_CLOSED = 4,
    BLK_ZS_RDONLY = 13,
    BLK_ZS_FULL = 14,
    BLK_ZS_OFFLINE = 15,
} BlockZoneState;

typedef struct BlockZoneDescriptor {
    int64_t start, length;
    int64_t cap; /* how much of it can be written */
    int64_t wp;  /* the offset of the next write; means nothing for conventional zones */
    BlockZoneType type;
    BlockZoneState state;
} BlockZoneDescriptor;

#endif
