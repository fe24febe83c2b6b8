/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * qcow2, versions 2 and 3: the state of an open image, and what the files of this folder offer one
 * another.  README.md has the map of the folder and the ordering rules (R1-R15).
 *
 * Locks, outer first:
 *   wb_lock   one write-back of metadata, or one move of a table (L1, refcount table), at a time;
 *   lock      everything in memory that is marked so below.  Held for look-ups and changes in
 *             memory and for loading a table, never for data I/O nor for a flush.
 * Functions without _co_ that touch guarded fields, and those marked "lock held", need `lock`.
 *
 * Offsets: guest offsets are positions on the virtual disk, host offsets in the image file.
 */
#ifndef BLOCK_FORMAT_QCOW2_H
#define BLOCK_FORMAT_QCOW2_H

#include "block/block_int.h"
#include "codec/codec.h"
#include "crypto/luks.h"
#include "header.h"
#include "qemu/bitmap.h"
#include "qemu/co-lock.h"
#include "qemu/queue.h"
#include "qemu/timer.h"

/* ---- caches (cache.c) ---------------------------------------------------------------------- */

typedef struct Qcow2Cache Qcow2Cache;
typedef struct Qcow2CacheEntry Qcow2CacheEntry;

struct Qcow2CacheEntry {
    Qcow2Cache *cache;
    uint64_t offset;                   /* host offset, multiple of the entry size */
    uint8_t *data;                     /* big endian, as on disk */
    uint32_t dirty_start, dirty_end;   /* bytes; equal: clean */
    unsigned pins;                     /* users, and a write-back under way */
    unsigned used_in;                  /* the period of the cache in which it was used last */
    QTAILQ_ENTRY(Qcow2CacheEntry) lru; /* of the clean or the dirty; recently used at the tail */
};

typedef QTAILQ_HEAD(Qcow2CacheList, Qcow2CacheEntry) Qcow2CacheList;

/* A table that is wholly in memory, in host byte order; written by write-back. */
typedef struct Qcow2Table {
    uint64_t *entries;
    uint32_t size;                    /* entries */
    uint64_t offset;                  /* host offset */
    uint32_t dirty_start, dirty_end;  /* entries; equal: clean */
} Qcow2Table;

/* ---- freed clusters (refcount.c) ----------------------------------------------------------- */

typedef enum Qcow2DiscardType {
    QCOW2_DISCARD_NEVER,
    QCOW2_DISCARD_REQUEST,  /* the guest asked */
    QCOW2_DISCARD_SNAPSHOT, /* freed with a snapshot */
    QCOW2_DISCARD_OTHER,
    QCOW2_DISCARD_DATA_FILE, /* the guest asked; a place in the data file, which has no count */
    QCOW2_DISCARD_KEPT,      /* the guest asked; guest clusters that keep their place */
    QCOW2_DISCARD_MAX,
} Qcow2DiscardType;

/* References that are gone in memory; the refcounts drop later (R4). */
typedef struct Qcow2Free {
    uint64_t cluster, n; /* host clusters (of QCOW2_DISCARD_KEPT: guest clusters) */
    uint64_t serial;     /* requests older than this may still use the old mapping */
    Qcow2DiscardType type;
} Qcow2Free;

/* ---- allocating writes (alloc.c) ----------------------------------------------------------- */

/* A write that will link new clusters; overlapping writers wait. */
typedef struct Qcow2Alloc {
    int64_t guest_offset;     /* of the first cluster */
    uint32_t nb_clusters;
    uint64_t host_offset;
    int64_t data_start, data_end; /* guest range that the request itself writes */
    int64_t cow_start, cow_end;   /* the same with what has to be copied around it */
    bool in_place;            /* zero clusters that have their host clusters already */
    bool is_fresh;            /* the host clusters were never written: they read as zeroes */
    bool is_reserve;          /* no data is written: zero clusters are linked */
    bool head_is_zero, tail_is_zero; /* what must be copied before and after is all zeroes */
    bool can_be_ahead;        /* it reads as zeroes, before and, but for what is written, after */
    bool is_checked;          /* R12 was seen to just now, when the clusters were taken */
    CoQueue *waiters;         /* NULL: nobody waits */
    QLIST_ENTRY(Qcow2Alloc) next;
} Qcow2Alloc;

/* ---- inflated clusters (unpack.c) ---------------------------------------------------------- */

typedef struct Qcow2Unpacked Qcow2Unpacked;

/* ---- snapshots (snapshot.c) ---------------------------------------------------------------- */

typedef struct Qcow2Snapshot {
    uint64_t l1_offset;
    uint32_t l1_size;
    char *id, *name;
    uint32_t date_sec, date_nsec;
    uint64_t vm_clock_nsec;
    uint64_t vm_state_size;
    uint64_t disk_size;
    uint64_t icount; /* all ones: not recorded */
    uint32_t extra_len;     /* in the file */
    GBytes *unknown_extra;  /* what follows the extra data we know, or NULL */
} Qcow2Snapshot;

/* What is too much of a snapshot table; only in images opened to be checked. */
typedef struct Qcow2SnapshotFaults {
    uint32_t nb_overhanging; /* entries more than may be */
    uint32_t nb_too_big;     /* entries past the bytes that a table may take */
    uint32_t nb_extra;       /* entries with too much extra data ... */
    uint32_t first_extra;    /* ... the first of them */
} Qcow2SnapshotFaults;

/* ---- overlap checks (overlap.c) ------------------------------------------------------------ */

#define QCOW2_OVERLAP_FILTER_BITS 15 /* log2 of the bits of the filter: see overlap.c */

typedef enum Qcow2Overlap {
    QCOW2_OL_HEADER = 1 << 0,
    QCOW2_OL_ACTIVE_L1 = 1 << 1,
    QCOW2_OL_ACTIVE_L2 = 1 << 2,
    QCOW2_OL_REFTABLE = 1 << 3,
    QCOW2_OL_REFBLOCK = 1 << 4,
    QCOW2_OL_SNAPSHOT_TABLE = 1 << 5,
    QCOW2_OL_INACTIVE_L1 = 1 << 6,
    QCOW2_OL_INACTIVE_L2 = 1 << 7,
    QCOW2_OL_BITMAP_DIR = 1 << 8,
    QCOW2_OL_CRYPTO = 1 << 9,
    QCOW2_OL_NONE = 0,
    QCOW2_OL_CONSTANT = QCOW2_OL_HEADER | QCOW2_OL_ACTIVE_L1 | QCOW2_OL_REFTABLE |
                        QCOW2_OL_SNAPSHOT_TABLE | QCOW2_OL_BITMAP_DIR | QCOW2_OL_CRYPTO,
    QCOW2_OL_CACHED = QCOW2_OL_CONSTANT | QCOW2_OL_ACTIVE_L2 | QCOW2_OL_REFBLOCK |
                      QCOW2_OL_INACTIVE_L1,
    QCOW2_OL_ALL = QCOW2_OL_CACHED | QCOW2_OL_INACTIVE_L2,
} Qcow2Overlap;

/* ---- options in force (options.c) ---------------------------------------------------------- */

typedef struct Qcow2Options {
    unsigned overlap_checks; /* Qcow2Overlap */
    bool discard_passthrough[QCOW2_DISCARD_MAX];
    bool discard_no_unref;
    uint64_t l2_cache_bytes, refcount_cache_bytes;
    uint32_t l2_slice_bytes;
    int64_t clean_interval_ms;      /* unused tables are dropped after this; 0: never */
} Qcow2Options;

/* ---- the state of an open image ------------------------------------------------------------ */

typedef struct Qcow2State {
    /* Fixed after open, or changed only while the node is frozen. */
    uint32_t cluster_bits, cluster_size;
    uint32_t subcluster_bits;       /* unit of mapping: cluster_bits without extended L2 entries */
    uint32_t l2_entry_size;         /* bytes: 8, or 16 with extended L2 entries */
    uint32_t l2_bits, l2_size;      /* entries of an L2 table */
    uint32_t slice_entries;         /* entries of an L2 slice */
    uint32_t slice_bytes;
    uint32_t refcount_bits;
    uint64_t refcount_max;
    uint32_t refblock_bits, refblock_size; /* entries of a refcount block */
    bool is_extended_l2;
    QEMUTimer clean_timer;          /* of the main loop */
    bool has_data_file;             /* data_file holds the guest's clusters */
    BdrvChild *data_file;           /* NULL: bs->file does; or opened without I/O */
    BdrvClaim *no_snapshots;        /* forbids what a data file cannot bear */
    bool has_shared_tables;         /* two entries name one table as their own: damage */
    CodecKind codec;
    Qcow2Options opt;
    GBytes *unknown_fields;
    CryptoSectors *sectors;         /* with encryption, but for opening without a key */
    CryptoLuks *luks;               /* the LUKS header, if that is the encryption */
    char *key_secret;

    CoMutex wb_lock;
    CoMutex lock;

    /* Under lock.  Header fields are those on disk, or about to be. */
    Qcow2Header header;
    Qcow2Extensions ext;
    Qcow2Table l1;
    Qcow2Table reftable;
    Qcow2Cache *l2_cache, *refcount_cache;
    bool wants_write_back;          /* a cache is over its size */
    bool wants_cut;                 /* the file is to end with the last cluster that is counted */
    uint64_t free_cluster_index;    /* where the search for free clusters starts */
    uint64_t fresh_from;            /* host clusters from here on were never written */
    uint64_t room_end;              /* the file was made so long in advance; 0: it was not */
    bool has_no_room;               /* that was tried in vain */
    uint64_t ahead_end;             /* host clusters linked before their data end here; 0: none */
    int64_t data_fresh_from;        /* bytes of the data file from here on were never written */
    uint64_t packed_end;            /* host offset where the next stream fits behind the last; 0 */
    uint64_t pack_tickets;          /* given out: compressed writes take room in that order */
    uint64_t pack_turn;             /* the ticket whose holder may take room */
    CoQueue pack_waiters;
    unsigned nb_packing;            /* batches of compressed writes under way ... */
    GPtrArray *pack_spare;          /* ... and memory for more */
    uint64_t reftable_wanted;       /* clusters to cover, when growing is asked for by -EAGAIN */
    GArray *pending_frees;          /* of Qcow2Free: reference perhaps still on disk */
    GArray *gone_frees;             /* reference gone on disk; older requests may still run */
    QLIST_HEAD(, Qcow2Alloc) allocs;
    int64_t allocs_start, allocs_end; /* guest range that has all of them, while there are any */
    GArray *snapshots;              /* of Qcow2Snapshot */
    uint64_t snapshots_bytes;       /* length of the snapshot table */
    Qcow2SnapshotFaults snapshot_faults;
    GArray *bitmaps;                /* of Qcow2Bitmap: the directory; empty if it is not valid */
    GHashTable *metadata;           /* cluster index of each L2 table and refcount block */
    unsigned long metadata_filter[(1 << QCOW2_OVERLAP_FILTER_BITS) / BITS_PER_LONG];
    GHashTable *inactive_l2;        /* of snapshots' L2 tables; NULL: not checked */
    bool needs_autoclear;           /* something to be said in the file before the first change */

    /* With their own lock. */
    Qcow2Unpacked *unpacked;        /* the clusters inflated last */
    CoSemaphore packers;            /* batches that may be compressed now */

    /* Atomic. */
    bool is_corrupt;                /* marked; no more writes */
    bool is_lost;                   /* see qcow2_is_lost() */
} Qcow2State;

/*
 * Does nobody know which header the file has?  Its tables may be others than those in memory, which
 * may lie over what is in use: neither data nor metadata goes to a new place, no table is written,
 * and flushes fail, until the image is opened again.
 */
static inline bool qcow2_is_lost(const Qcow2State *s)
{
    return unlikely(qatomic_read(&s->is_lost));
}

/* ---- where data is ------------------------------------------------------------------------- */

static inline BdrvChild *qcow2_data(BlockDriverState *bs)
{
    const Qcow2State *s = bs->opaque;

    return s->data_file ? s->data_file : bs->file;
}

/* Is the data file a raw image of the disk? */
static inline bool qcow2_data_is_raw(const Qcow2State *s)
{
    return s->has_data_file && (s->header.autoclear & QCOW2_AUTOCLEAR_DATA_FILE_RAW);
}

/* Has a cluster that is not compressed a place for its data? */
static inline bool qcow2_entry_has_host(const Qcow2State *s, uint64_t entry)
{
    /* In a data file offset 0 is a place like others. */
    return (entry & QCOW2_OFFSET_MASK) || (s->has_data_file && (entry & QCOW2_COPIED));
}

/* ---- arithmetic ---------------------------------------------------------------------------- */

static inline int64_t qcow2_cluster_start(const Qcow2State *s, int64_t offset)
{
    return offset & ~(int64_t)(s->cluster_size - 1);
}

static inline int64_t qcow2_cluster_end(const Qcow2State *s, int64_t offset)
{
    return qcow2_cluster_start(s, offset + s->cluster_size - 1);
}

static inline uint32_t qcow2_offset_in_cluster(const Qcow2State *s, int64_t offset)
{
    return offset & (s->cluster_size - 1);
}

/* May the guest's byte @guest be at @host?  In a data file it is at the same offset. */
static inline bool qcow2_is_in_place(const Qcow2State *s, int64_t guest, uint64_t host)
{
    return s->has_data_file ? host == (uint64_t)guest
                            : qcow2_offset_in_cluster(s, host) == qcow2_offset_in_cluster(s, guest);
}

static inline uint64_t qcow2_nb_clusters(const Qcow2State *s, uint64_t bytes)
{
    return (bytes + s->cluster_size - 1) >> s->cluster_bits;
}

/* Where the state of a machine begins: past all that the L1 entries of the disk reach. */
static inline uint64_t qcow2_vm_state_offset(const Qcow2State *s)
{
    return ROUND_UP(qatomic_read(&s->header.size), UINT64_C(1) << (s->cluster_bits + s->l2_bits));
}

static inline uint64_t qcow2_l1_index(const Qcow2State *s, int64_t offset)
{
    return (uint64_t)offset >> (s->cluster_bits + s->l2_bits);
}

static inline uint32_t qcow2_l2_index(const Qcow2State *s, int64_t offset)
{
    return (offset >> s->cluster_bits) & (s->l2_size - 1);
}

/* ---- cache.c ------------------------------------------------------------------------------- */

/** A cache of tables of @entry_bytes, @max_bytes in all (a soft limit). */
Qcow2Cache *qcow2_cache_new(uint32_t entry_bytes, uint64_t max_bytes);
void qcow2_cache_free(Qcow2Cache *cache);
/** The entry at @offset, pinned, read from the file if need be.  Lock held. */
int coroutine_fn qcow2_cache_co_get(BlockDriverState *bs, Qcow2Cache *cache, uint64_t offset,
                                    Qcow2CacheEntry **entry);
/** The entry at @offset, pinned, all zeroes and dirty, whatever the file holds. */
int qcow2_cache_get_zeroed(BlockDriverState *bs, Qcow2Cache *cache, uint64_t offset,
                           Qcow2CacheEntry **entry);
/** The entry if it is in memory, pinned; else NULL. */
Qcow2CacheEntry *qcow2_cache_peek(Qcow2Cache *cache, uint64_t offset);
void qcow2_cache_put(Qcow2CacheEntry *entry);
/** Drop what was neither changed nor used since the last call but one.  Lock held. */
void qcow2_cache_age(Qcow2Cache *cache);
/** Bytes [@start, @start + @len) of @entry were changed. */
void qcow2_cache_dirty(Qcow2CacheEntry *entry, uint32_t start, uint32_t len);
/** Forget what is cached of [@offset, @offset + @bytes), changed or not. */
void qcow2_cache_drop(Qcow2Cache *cache, uint64_t offset, uint64_t bytes);
/** Does it hold anything that is not in the file yet?  Lock held. */
bool qcow2_cache_is_dirty(const Qcow2Cache *cache);
/* The first entry from @i on that is not zero, in whatever order its bytes are; the size: none. */
uint32_t qcow2_table_next(const Qcow2Table *table, uint32_t i);
void qcow2_table_dirty(Qcow2Table *table, uint32_t index);
/**
 * Write all changed metadata in an order that is safe at every instant, and flush.  Takes both
 * locks. Returns 0 if everything changed before the call is on stable storage.
 */
int coroutine_fn qcow2_co_write_back(BlockDriverState *bs);
/** The same with wb_lock held by the caller. */
int coroutine_fn qcow2_co_write_back_locked(BlockDriverState *bs);
/** Has a cache or the list of freed clusters grown too large?  Lock held. */
bool qcow2_wants_relief(const Qcow2State *s);
/** Write back if a cache or the list of freed clusters has grown too large.  No lock held. */
int coroutine_fn qcow2_co_relieve(BlockDriverState *bs);

/* ---- refcount.c, grow.c; lock held ----------------------------------------------------------- */

uint64_t qcow2_refcount_read(const uint8_t *block, uint32_t bits, uint64_t index);
void qcow2_refcount_write(uint8_t *block, uint32_t bits, uint64_t index, uint64_t value);

/** Does what @file gets by growing read as zeroes?  In a LUKS volume it does not. */
bool qcow2_grows_by_zeroes(const BlockDriverState *file);
int coroutine_fn qcow2_refcount_co_get(BlockDriverState *bs, uint64_t cluster, uint64_t *refcount);
/**
 * Allocate @n adjacent host clusters.  @is_fresh (may be NULL): they read as zeroes.
 * Returns the host offset, or a negative errno; -EAGAIN: release the lock, call
 * qcow2_refcount_co_grow(), try again.
 */
int64_t coroutine_fn qcow2_co_alloc_clusters(BlockDriverState *bs, uint64_t n, bool *is_fresh);
/** The same without the lock, and growing the refcount table where that is needed. */
int64_t coroutine_fn qcow2_co_alloc_unlocked(BlockDriverState *bs, uint64_t n);
/** The same for a run of at most *@n clusters, at least one; *@n becomes its length. */
int64_t coroutine_fn qcow2_co_alloc_run(BlockDriverState *bs, uint64_t *n, bool *is_fresh);
/**
 * The same for @n clusters, in one piece and fresh, if that takes no more than what is in memory;
 * else nothing is done.
 */
bool qcow2_take_fresh(BlockDriverState *bs, uint64_t n, uint64_t *host_offset);
/** Room for @size bytes (less than a cluster), behind the last such if possible; else the same. */
int64_t coroutine_fn qcow2_co_alloc_bytes(BlockDriverState *bs, uint32_t size);
/** Count @times more references to the cluster at @host_offset, which has one already. */
int coroutine_fn qcow2_co_share_cluster(BlockDriverState *bs, uint64_t host_offset, uint64_t times);
/** Make the refcount table cover what the last -EAGAIN wanted.  No lock held. */
int coroutine_fn qcow2_refcount_co_grow(BlockDriverState *bs);
/** Give back clusters that nothing on disk ever referred to: at once. */
int coroutine_fn qcow2_co_free_unused(BlockDriverState *bs, uint64_t host_offset, uint64_t n);
/** Clusters lost a reference in memory: the refcounts drop when that is so on disk, too (R4). */
void qcow2_free_clusters(BlockDriverState *bs, uint64_t host_offset, uint64_t bytes,
                         Qcow2DiscardType type);
/** What the L2 entry @entry refers to lost this reference. */
void qcow2_free_l2_entry(BlockDriverState *bs, uint64_t entry, Qcow2DiscardType type);
/**
 * The file is about to be written to up to @end: past the cache of the host, it is made longer in
 * advance, if that can be.  Lock held.
 */
void coroutine_fn qcow2_co_make_room(BlockDriverState *bs, uint64_t end);
/**
 * Cut the file where host cluster @end begins, behind which nothing is in use.  False: it is as
 * long as it was.  Lock held.
 */
bool coroutine_fn qcow2_co_cut_at(BlockDriverState *bs, uint64_t end);
/**
 * After a shrink: cut off what no cluster that is counted needs.  It is only space, so errors do
 * not matter.  Nothing is written back meanwhile; lock not held.
 */
void coroutine_fn qcow2_refcount_co_cut_file(BlockDriverState *bs);
/** Drop refcounts of clusters whose reference is gone for good.  wb_lock held, lock not. */
int coroutine_fn qcow2_co_reap_frees(BlockDriverState *bs);

/* ---- overlap.c; lock held ------------------------------------------------------------------ */

/** Remember or forget that @host_offset is a table. */
void qcow2_overlap_add(Qcow2State *s, uint64_t host_offset);
void qcow2_overlap_remove(Qcow2State *s, uint64_t host_offset);
/** Fill s->metadata and s->inactive_l2 after open. */
int coroutine_fn qcow2_overlap_co_load(BlockDriverState *bs, Error **errp);
/** The same when tables have changed; what cannot be read is not protected. */
void coroutine_fn qcow2_overlap_co_reload(BlockDriverState *bs);
/** R12: 0 if data may be written to the range, else the image is marked corrupt: -EIO. */
int coroutine_fn qcow2_overlap_co_check(BlockDriverState *bs, uint64_t host_offset, uint64_t bytes);
/** R12: may data be written to the range?  Nothing is done if not. */
bool qcow2_overlap_is_clear(const Qcow2State *s, uint64_t host_offset, uint64_t bytes);
/** Is nothing but an L2 table known to be in the cluster at @host_offset? */
bool qcow2_overlap_is_l2_only(const Qcow2State *s, uint64_t host_offset);
/** Damage was found: mark the image once, tell the world; writes are refused from now on. */
void coroutine_fn qcow2_co_mark_corrupt(BlockDriverState *bs, uint64_t offset, uint64_t bytes,
                                        const char *fmt, ...) QEMU_PRINTF(4, 5);

/* ---- map.c --------------------------------------------------------------------------------- */

typedef enum Qcow2Kind {
    QCOW2_UNALLOCATED, /* the backing file's content, or zeroes */
    QCOW2_UNALLOCATED_RESERVED, /* the same, with host space (extended L2) */
    QCOW2_ZERO_PLAIN,
    QCOW2_ZERO_ALLOC,  /* zeroes; a host cluster is reserved */
    QCOW2_DATA,
    QCOW2_DEFLATED,    /* compressed, of either kind */
    QCOW2_INVALID,     /* impossible bits */
} Qcow2Kind;

/* An L2 entry; @bitmap is 0 without extended ones. */
typedef struct Qcow2L2Entry {
    uint64_t entry, bitmap;
} Qcow2L2Entry;

/* Where a guest range is. */
typedef struct Qcow2Mapping {
    Qcow2Kind kind;
    int64_t bytes;        /* length of the range of this kind and, for data, adjacent on the host */
    uint64_t host_offset; /* of the first byte: DATA, ZERO_ALLOC; of the stream: DEFLATED */
    uint32_t packed_len;  /* DEFLATED: bytes to read */
} Qcow2Mapping;

/** Kind of a standard L2 entry.  Pure. */
Qcow2Kind qcow2_entry_kind(const Qcow2State *s, uint64_t entry);
/** Kind of subcluster @index of an extended entry.  Pure. */
Qcow2Kind qcow2_subcluster_kind(const Qcow2State *s, uint64_t entry, uint64_t bitmap,
                                unsigned index);
/** Where a compressed cluster is.  Pure. */
void qcow2_parse_compressed(const Qcow2State *s, uint64_t entry, uint64_t *host_offset,
                            uint32_t *len);

/** The entry for a stream of @len bytes at @host_offset.  Pure. */
uint64_t qcow2_packed_entry(const Qcow2State *s, uint64_t host_offset, uint32_t len);
/** Clusters that hold streams begin below this host offset.  Pure. */
uint64_t qcow2_packed_limit(const Qcow2State *s);

/** Host offset of the slice that has @offset's entry, in the L2 table at @l2_offset. */
uint64_t qcow2_slice_offset(const Qcow2State *s, uint64_t l2_offset, int64_t offset);
/** Map a prefix of [@offset, @offset + @bytes), as far as @slice tells; @index is @offset's. */
void qcow2_map_run(const Qcow2State *s, const Qcow2CacheEntry *slice, uint32_t index,
                   int64_t offset, int64_t bytes, Qcow2Mapping *map);
/** Map a prefix of [@offset, @offset + @bytes).  Lock held. */
int coroutine_fn qcow2_co_map(BlockDriverState *bs, int64_t offset, int64_t bytes,
                              Qcow2Mapping *map);
/** The same by the L2 table at @l2_offset (0: there is none), a snapshot's for example. */
int coroutine_fn qcow2_co_map_by_table(BlockDriverState *bs, uint64_t l2_offset, int64_t offset,
                                       int64_t bytes, Qcow2Mapping *map);
/**
 * The slice that holds @offset's entry, pinned, and the entry's index in it.  *@slice is NULL
 * if there is no L2 table.  Lock held.
 */
int coroutine_fn qcow2_co_get_slice(BlockDriverState *bs, int64_t offset, Qcow2CacheEntry **slice,
                                    uint32_t *index);
/** The same, for changing: an L2 table is made, or copied if it is shared. */
int coroutine_fn qcow2_co_get_slice_for_write(BlockDriverState *bs, int64_t offset,
                                              Qcow2CacheEntry **slice, uint32_t *index);
uint64_t qcow2_slice_get(const Qcow2State *s, const Qcow2CacheEntry *slice, uint32_t index);
/** The second word of an extended entry; 0 for others. */
uint64_t qcow2_slice_get_bitmap(const Qcow2State *s, const Qcow2CacheEntry *slice, uint32_t index);
/** Both words of the entry at @index. */
static inline Qcow2L2Entry qcow2_slice_get_entry(const Qcow2State *s, const Qcow2CacheEntry *slice,
                                                 uint32_t index)
{
    return (Qcow2L2Entry){ qcow2_slice_get(s, slice, index),
                           qcow2_slice_get_bitmap(s, slice, index) };
}
/** The subclusters of the cluster at @cluster that [@start, @end) touches, one bit each.  Pure. */
uint64_t qcow2_sub_mask(const Qcow2State *s, int64_t cluster, int64_t start, int64_t end);
void qcow2_slice_set_bitmap(const Qcow2State *s, Qcow2CacheEntry *slice, uint32_t index,
                            uint64_t bitmap);
/** Change a standard entry, or the first word of an extended one. */
void qcow2_slice_set(const Qcow2State *s, Qcow2CacheEntry *slice, uint32_t index, uint64_t entry);
/** Does an unallocated range read as zeroes here?  (no backing, or it ends before) */
bool qcow2_backing_is_zero(BlockDriverState *bs, int64_t offset);

/** As BlockDriver's member. */
int coroutine_fn qcow2_co_block_extents(BlockDriverState *bs, int64_t offset, int64_t bytes,
                                        BdrvExtent *extents, int max);
int coroutine_fn qcow2_co_block_status(BlockDriverState *bs, bool want_zero, int64_t offset,
                                       int64_t bytes, int64_t *pnum, int64_t *map,
                                       BlockDriverState **file);

/* How much of a disk is data; begin with zeroes but for ->unit and ->most. */
typedef struct Qcow2DataCount {
    int64_t unit;             /* what counts is units of so many bytes (a power of two) */
    int64_t end;              /* everything before is counted */
    int64_t counted;          /* so are units up to here */
    int64_t required;         /* bytes of units with data in them */
    int64_t allocated, most;  /* bytes that this layer decides; it stops at more than this */
    uint64_t lowest, highest; /* places in the file of the clusters of data */
} Qcow2DataCount;

/** [@start, @end), not before what was counted last, has data. */
static inline void qcow2_count_range(Qcow2DataCount *c, int64_t start, int64_t end)
{
    if (end > c->counted) {
        start = QEMU_ALIGN_DOWN(MAX(start, c->counted), c->unit);
        c->counted = QEMU_ALIGN_UP(end, c->unit);
        c->required += c->counted - start;
    }
}
/**
 * Count from ->end on to @end, both at a cluster's start, or up to an L2 table that has other than
 * plain clusters.  For an image without backing file, data file, encryption and subclusters; holes
 * in its file count as data.  Returns 0 or a negative errno.
 */
int coroutine_fn qcow2_co_count_data(BlockDriverState *bs, int64_t end, Qcow2DataCount *count);

/* ---- alloc.c; lock held -------------------------------------------------------------------- */

/**
 * Find room for a write to a prefix of [@offset, @offset + *@bytes), which is shortened to it.
 * Returns 1: write to *@host_offset in place; 0: *@alloc was begun and must be ended by one of the
 * three functions that follow; -EAGAIN as qcow2_co_alloc_clusters().
 */
int coroutine_fn qcow2_alloc_co_begin(BlockDriverState *bs, int64_t offset, int64_t *bytes,
                                      uint64_t *host_offset, Qcow2Alloc **alloc);
/**
 * End it: link the new clusters if the data was written (@ret >= 0), else give them back.  Returns
 * what came of it.
 */
int coroutine_fn qcow2_alloc_co_end(BlockDriverState *bs, Qcow2Alloc *alloc, int ret);
/**
 * The same; takes the lock.  1: that is well, and qcow2_co_relieve() has something to do.
 */
int coroutine_fn qcow2_alloc_co_finish(BlockDriverState *bs, Qcow2Alloc *alloc, int ret);
/** End what can be ahead by linking it before the data is written, which is then done in place. */
int coroutine_fn qcow2_alloc_co_link_ahead(BlockDriverState *bs, Qcow2Alloc *alloc);
/**
 * If that takes no more than what is in memory: new clusters for all of the range, whose entries
 * @slice has, linked ahead of the data.  It goes to *@host_offset.  False: nothing was done.
 */
bool qcow2_alloc_ahead(BlockDriverState *bs, Qcow2CacheEntry *slice, int64_t offset, int64_t bytes,
                       uint64_t *host_offset);
/** Reserve the range for a writer of its own kind: others that overlap it wait for the end. */
void coroutine_fn qcow2_alloc_co_reserve(BlockDriverState *bs, int64_t offset,
                                         uint32_t nb_clusters, Qcow2Alloc *alloc);
/** The end of what qcow2_alloc_co_reserve() began. */
void qcow2_alloc_release(Qcow2Alloc *alloc);
/** Does an allocating write overlap the clusters of the range? */
bool qcow2_alloc_overlaps(const Qcow2State *s, int64_t offset, int64_t bytes);
/** Wait until no allocating write overlaps the clusters of the range; true if it had to wait. */
bool coroutine_fn qcow2_alloc_co_wait(BlockDriverState *bs, int64_t offset, int64_t bytes);

/* ---- unpack.c ------------------------------------------------------------------------------ */

Qcow2Unpacked *qcow2_unpacked_new(uint32_t cluster_size);
void qcow2_unpacked_free(Qcow2Unpacked *cache);
/** The streams in [@host_offset, + @bytes) are to be overwritten. */
void qcow2_unpacked_drop(Qcow2Unpacked *cache, uint64_t host_offset, uint64_t bytes);
/** Read [@in_cluster, + @bytes) of the compressed cluster @map. */
int coroutine_fn qcow2_co_read_compressed(BlockDriverState *bs, const Qcow2Mapping *map,
                                          uint32_t in_cluster, int64_t bytes, QEMUIOVector *qiov,
                                          size_t qiov_offset);
/** Where in memory @bytes at @qiov_offset are, if they are in one piece, else NULL.  Pure. */
uint8_t *qcow2_piece_of(const QEMUIOVector *qiov, size_t qiov_offset, size_t bytes);

/* ---- unpack-run.c -------------------------------------------------------------------------- */

/**
 * Read as many whole compressed clusters from @offset on as lie together, by all processors.
 * Returns: bytes read, 0 if that is nothing for here, or a negative errno.  No lock held.
 */
int64_t coroutine_fn qcow2_co_read_compressed_run(BlockDriverState *bs, int64_t offset,
                                                  int64_t bytes, QEMUIOVector *qiov,
                                                  size_t qiov_offset);

/* ---- pack.c -------------------------------------------------------------------------------- */

/** Write whole clusters (or up to the end of the disk) compressed. */
int coroutine_fn qcow2_co_pwritev_compressed(BlockDriverState *bs, int64_t offset, int64_t bytes,
                                             QEMUIOVector *qiov, size_t qiov_offset);

/* ---- io.c, zero.c -------------------------------------------------------------- */

/** Read what @map, a result of qcow2_co_map(), says of @offset. */
int coroutine_fn qcow2_co_read_mapped(BlockDriverState *bs, const Qcow2Mapping *map, int64_t offset,
                                      QEMUIOVector *qiov, size_t qiov_offset);
int coroutine_fn qcow2_co_preadv(BlockDriverState *bs, int64_t offset, int64_t bytes,
                                 QEMUIOVector *qiov, size_t qiov_offset, unsigned flags);
int coroutine_fn qcow2_co_pwritev(BlockDriverState *bs, int64_t offset, int64_t bytes,
                                  QEMUIOVector *qiov, size_t qiov_offset, unsigned flags);
int coroutine_fn qcow2_co_copy_range_from(BlockDriverState *bs, BdrvChild *src, int64_t src_offset,
                                          BdrvChild *dst, int64_t dst_offset, int64_t bytes,
                                          unsigned flags);
int coroutine_fn qcow2_co_copy_range_to(BlockDriverState *bs, BdrvChild *src, int64_t src_offset,
                                        BdrvChild *dst, int64_t dst_offset, int64_t bytes,
                                        unsigned flags);
int coroutine_fn qcow2_co_pwrite_zeroes(BlockDriverState *bs, int64_t offset, int64_t bytes,
                                        unsigned flags);
int coroutine_fn qcow2_co_pdiscard(BlockDriverState *bs, int64_t offset, int64_t bytes);
/**
 * Whole clusters from @offset on whose place, adjacent from *@host on, holds nothing that is needed
 * after a power cut either.  In bytes, 0 also after an error; -EAGAIN: that cannot be told now.
 * wb_lock and lock held.
 */
typedef int64_t coroutine_fn Qcow2UnneededFunc(BlockDriverState *bs, int64_t offset, int64_t bytes,
                                               uint64_t *host);
/** Give back on the host those places of @item's guest clusters that @co_unneeded finds. */
void coroutine_fn qcow2_co_discard_unneeded(BlockDriverState *bs, const Qcow2Free *item,
                                            Qcow2UnneededFunc *co_unneeded);
/** Give back on the host what @item's clusters keep but do not need.  wb_lock held. */
void coroutine_fn qcow2_co_discard_kept(BlockDriverState *bs, const Qcow2Free *item);
/** Drop the clusters of an aligned range wholly: unallocated afterwards. */
int coroutine_fn qcow2_co_unmap(BlockDriverState *bs, int64_t offset, int64_t bytes);
/** Write zeroes as data, where zero clusters do not serve. */
int coroutine_fn qcow2_co_write_zero_data(BlockDriverState *bs, int64_t offset, int64_t bytes);
/** Common end of a step: write back or grow if that was asked for; -EAGAIN becomes 0 (go on). */
int coroutine_fn qcow2_co_after_step(BlockDriverState *bs, int ret);
/** 0 if the image may be changed now, else a negative errno; clears autoclear bits. */
int coroutine_fn qcow2_co_before_change(BlockDriverState *bs);

/* ---- crypt.c ------------------------------------------------------------------------------- */

/** Read the LUKS header if there is one, and unlock with the secret that @o names. */
bool coroutine_fn qcow2_crypt_co_open(BlockDriverState *bs, const BlockdevQcow2Encryption *o,
                                      int flags, Error **errp);
void qcow2_crypt_free(Qcow2State *s);
/**
 * Data of the disk at @offset, which is stored at @host, adjacent; decrypted and encrypted if the
 * image is, which then needs whole sectors.  No lock held.  Returns 0 or a negative errno.
 */
int coroutine_fn qcow2_co_read_data(BlockDriverState *bs, int64_t offset, uint64_t host,
                                    int64_t bytes, QEMUIOVector *qiov, size_t qiov_offset);
int coroutine_fn qcow2_co_write_data(BlockDriverState *bs, int64_t offset, uint64_t host,
                                     int64_t bytes, QEMUIOVector *qiov, size_t qiov_offset);
/** Let the cluster at @host read as zeroes wherever it is named; -ENOTSUP with AES. */
int coroutine_fn qcow2_co_write_zero_cluster(BlockDriverState *bs, uint64_t host);
typedef struct Qcow2Place Qcow2Place;
/**
 * @n whole clusters were read from places @from and go to places @to, with the same buffers: if
 * encryption binds data to its place, that in the buffers is encrypted anew.  0 or negative errno.
 */
int coroutine_fn qcow2_crypt_co_move(BlockDriverState *bs, const Qcow2Place *from,
                                     const Qcow2Place *to, size_t n);
/** NULL without encryption. */
ImageInfoSpecificQCow2Encryption *qcow2_crypt_info(const Qcow2State *s);
/** Has the image key slots? */
bool qcow2_crypt_can_amend(BlockDriverState *bs, Error **errp);
bool coroutine_fn qcow2_crypt_co_amend(BlockDriverState *bs,
                                       const QCryptoBlockAmendOptionsLUKS *o, bool force,
                                       Error **errp);
/** All about @o that can be refused before anything is made. */
bool qcow2_crypt_check_create(const QCryptoBlockCreateOptions *o, Error **errp);
/** Encrypt an image that is plain and empty. */
bool coroutine_fn qcow2_crypt_co_set_up(BlockDriverState *bs, const QCryptoBlockCreateOptions *o,
                                        Error **errp);

/* ---- fast.c; no lock held ------------------------------------------------------------------ */

/** See BlockDriver.bdrv_map. */
BdrvMapKind qcow2_map(BlockDriverState *bs, bool is_write, int64_t offset, int64_t bytes,
                      BdrvMapping *map);

/* ---- data-file.c --------------------------------------------------------------------------- */

/** Open the data file, by @ref or else by its name in the image, if the image has one. */
bool coroutine_fn qcow2_data_file_co_open(BlockDriverState *bs, const BlockdevRef *ref,
                                          const Qcow2State *old, int flags, Error **errp);
/** A range of whole (sub)clusters is about to read as zeroes: what that means for the data file. */
int coroutine_fn qcow2_data_file_co_zero(BlockDriverState *bs, int64_t offset, int64_t bytes,
                                         unsigned flags);
/** Clusters that the guest discarded: give back those that still have no data.  No lock held. */
void coroutine_fn qcow2_data_file_co_discard(BlockDriverState *bs, int64_t offset, int64_t bytes);
/** The disk is about to become @size bytes long. */
int coroutine_fn qcow2_data_file_co_resize(BlockDriverState *bs, int64_t size, bool exact,
                                           PreallocMode prealloc, Error **errp);

/* ---- the rest ------------------------------------------------------------------------------ */

/** Forget all cached tables, which are clean and not in use.  Lock held. */
void qcow2_caches_renew(Qcow2State *s);

/** What @options, or else @flags (BDRV_O_*) and the image, say; @flags may be those to come. */
bool qcow2_options_read(BlockDriverState *bs, const BlockdevOptionsQcow2 *options, int flags,
                        Qcow2Options *opt, Error **errp);

int coroutine_fn qcow2_co_make_empty(BlockDriverState *bs);
int coroutine_fn qcow2_co_truncate(BlockDriverState *bs, int64_t offset, bool exact,
                                   PreallocMode prealloc, unsigned flags, Error **errp);

/**
 * Read the snapshot table into s->snapshots.  @for_check: what is too much of it is left out and
 * noted in s->snapshot_faults; else that is an error.
 */
bool coroutine_fn qcow2_snapshots_co_read(BlockDriverState *bs, bool for_check, Error **errp);
void qcow2_snapshots_clear(Qcow2State *s);
/** A copy of @snapshots; free with g_array_unref(). */
GArray *qcow2_snapshots_copy(const GArray *snapshots);
/** Bytes of extra data that the entry of @sn has when it is written. */
uint32_t qcow2_snapshot_extra_len(const Qcow2Snapshot *sn);
/** What the table in the file would be; NULL with @errp set if that is too long. */
GByteArray *qcow2_snapshots_build(const GArray *snapshots, Error **errp);
/** Length of a snapshot's L1 in the file, and whether place and length are allowed. */
bool qcow2_snapshot_l1_is_sane(const Qcow2State *s, const Qcow2Snapshot *sn);

/** Let the L1 table reach @end. */
int coroutine_fn qcow2_co_grow_l1(BlockDriverState *bs, uint64_t end);

/* vmstate.c */
int coroutine_fn qcow2_co_save_vmstate(BlockDriverState *bs, QEMUIOVector *qiov, int64_t pos);
int coroutine_fn qcow2_co_load_vmstate(BlockDriverState *bs, QEMUIOVector *qiov, int64_t pos);
int coroutine_fn qcow2_co_snapshot_load_vmstate(BlockDriverState *bs, const char *id,
                                                QEMUIOVector *qiov, int64_t pos);
/** Free the active image's; snapshots keep theirs (resize.c). */
int coroutine_fn qcow2_co_drop_vmstate(BlockDriverState *bs);

/* snapshot-ops.c; the driver's callbacks */
bool coroutine_fn qcow2_co_snapshot_create(BlockDriverState *bs, const SnapshotInfo *info,
                                           Error **errp);
bool coroutine_fn qcow2_co_snapshot_goto(BlockDriverState *bs, const char *id, Error **errp);
bool coroutine_fn qcow2_co_snapshot_delete(BlockDriverState *bs, const char *id, Error **errp);
bool coroutine_fn qcow2_co_snapshot_load_tmp(BlockDriverState *bs, const char *id, Error **errp);

int coroutine_fn qcow2_co_check(BlockDriverState *bs, BdrvCheckResult *res, int fix);
/** The same while the node is being opened, or with the lock held and nothing cached changed. */
int coroutine_fn qcow2_co_check_repair(BlockDriverState *bs, BdrvCheckResult *res, int fix);

int qcow2_get_info(BlockDriverState *bs, BlockDriverInfo *info);
SnapshotInfoList *qcow2_get_snapshots(BlockDriverState *bs);
ImageInfoSpecific *qcow2_get_specific_info(BlockDriverState *bs, Error **errp);

/* What can be said when an image is made as well as when it is amended. */
#define QCOW2_COMMON_OPTIONS(lazy_default, bits_default) \
    { "size", QEMU_OPT_SIZE, "Virtual disk size", NULL }, \
    { "compat", QEMU_OPT_STRING, "Compatibility level (v2 [0.10] or v3 [1.1])", NULL }, \
    { "backing_file", QEMU_OPT_STRING, "File name of a base image", NULL }, \
    { "backing_fmt", QEMU_OPT_STRING, "Image format of the base image", NULL }, \
    { "data_file", QEMU_OPT_STRING, "File name of an external data file", NULL }, \
    { "data_file_raw", QEMU_OPT_BOOL, \
      "The external data file must stay valid as a raw image", NULL }, \
    { "lazy_refcounts", QEMU_OPT_BOOL, "Postpone refcount updates", lazy_default }, \
    { "refcount_bits", QEMU_OPT_NUMBER, "Width of a reference count entry in bits", bits_default }

extern QemuOptsList qcow2_create_opts;
bool coroutine_fn qcow2_co_create(const BlockdevCreateOptions *options, Error **errp);
bool coroutine_fn qcow2_co_create_opts(BlockDriver *drv, const char *filename, QemuOpts *opts,
                                       Error **errp);

/** Move clusters from the end of the file to its free clusters; see bdrv_co_compact(). */
int64_t coroutine_fn qcow2_co_compact(BlockDriverState *bs, int64_t max_bytes, int64_t *left,
                                      Error **errp);

/** How large a new image with @opts would be; see bdrv_co_measure(). */
BlockMeasureInfo *coroutine_fn qcow2_co_measure(QemuOpts *opts, BlockDriverState *in_bs,
                                                Error **errp);

/* amend.c */
extern QemuOptsList qcow2_amend_opts;
bool coroutine_fn qcow2_co_amend(BlockDriverState *bs, const BlockdevAmendOptions *options,
                                 bool force, Error **errp);
bool coroutine_fn qcow2_co_amend_options(BlockDriverState *bs, QemuOpts *opts, bool force,
                                         const BdrvAmendProgress *progress, Error **errp);

extern BlockDriver bdrv_qcow2;

#endif
