/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The inside of a node, and what a driver is.  For the core, drivers, filters and jobs only
 * (scripts/layers.txt); device models and commands use block-backend.h and block.h.
 *
 * A driver is one BlockDriver table.  Callbacks with _co_ run in a coroutine and may yield; the
 * others must not wait.  Rules for drivers:
 *   1. state needed by several requests is behind one CoMutex or CoRwlock of the instance;
 *   2. it is not held across data I/O;
 *   3. per-request state is on the coroutine's stack;
 *   4. background work holds bdrv_activity_begin(bs) and stops in drain_begin;
 *   5. a library with its own event loop is confined to one loop behind that lock.
 */
#ifndef BLOCK_BLOCK_INT_H
#define BLOCK_BLOCK_INT_H

#include "block/aio.h"
#include "block/block.h"
#include "block/claim.h"
#include "block/fast-path.h"
#include "block/graph.h"
#include "block/request.h"
#include "block/zoned.h"
#include "qapi/gen/block-info-types.h"
#include "qemu/bswap.h"
#include "qemu/memalign.h"
#include "qemu/queue.h"
#include "qemu/thread.h"
#include "qobject/opts.h"

/* ---- limits ---------------------------------------------------------------------------------- */

/* All in bytes unless said otherwise; 0: no limit or no preference. */
typedef struct BlockLimits {
    uint32_t request_alignment; /* power of two >= 1: offset and length of every request */
    int64_t max_transfer;
    int64_t opt_transfer;
    int64_t max_pdiscard;
    uint32_t pdiscard_alignment;
    int64_t max_pwrite_zeroes;
    uint32_t pwrite_zeroes_alignment; /* of images with backing files: what is allocated at once */
    size_t min_mem_alignment, opt_mem_alignment;
    int max_iov; /* elements */

    BlockZoneLimits zones;
} BlockLimits;

/* ---- a node ---------------------------------------------------------------------------------- */

#define BDRV_REQUEST_SHARDS 16

typedef QTAILQ_HEAD(BdrvRequestList, BdrvRequest) BdrvRequestList;

struct BlockDriverState {
    /* Fixed after open. */
    BlockDriver *drv; /* NULL: no medium, or closed */
    void *opaque;     /* driver state, drv->instance_size bytes, zeroed before open */
    char node_name[BDRV_NODE_NAME_MAX + 1];

    /* Changed only while frozen or before anybody sees the node; read by any request. */
    BdrvChild *file, *backing; /* shorthands into children */
    QLIST_HEAD(, BdrvChild) children;
    QTAILQ_HEAD(, BdrvChild) parents;
    int rank;
    BlockdevOptions *options; /* typed options in force; NULL for nodes made without any */
    QDict *explicit_options;  /* what the user gave for this node, flattened */
    int open_flags;           /* BdrvOpenFlags in force */
    bool read_only;
    bool becomes_read_only; /* while it is reopened */
    bool encrypted;
    bool sg;
    bool probed; /* format was guessed, not given */
    bool implicit; /* inserted by -drive or a job, not a node to users */
    bool force_share;
    BlockdevDetectZeroesOptions detect_zeroes;
    bool inactive;
    BlockLimits bl;
    unsigned supported_read_flags, supported_write_flags; /* BdrvRequestFlags the driver honours */
    unsigned supported_zero_flags, supported_truncate_flags;

    /* Names written in the image; set by open and change_backing. */
    char *backing_file;        /* as in the header, "" if none */
    char *backing_format;      /* "" if not recorded */
    char *auto_backing_file;   /* what opening without options would find, for exact names */

    /* Main thread only. */
    int refcnt;
    bool opened; /* the driver's open succeeded and its close has not run */
    bool monitor_owned;
    int frozen;  /* freezes in force over this node */
    int drained; /* freezes that called drain_begin */
    const void *owner_key; /* a job's filter: the job (BdrvOwner.key); its edges are the job's */
    QTAILQ_HEAD(, BdrvClaim) claims;
    struct BdrvOpBlockerList *op_blockers[BLOCK_OP_TYPE_MAX];
    bool filename_valid;  /* else the next two are to be made again; so are those above */
    char *filename;       /* for users: bdrv_get_filename() */
    char *exact_filename; /* "" if only json:{} says it all */
    QTAILQ_ENTRY(BlockDriverState) next_node, next_monitor, next_dead;
    int64_t allocated_bytes; /* protocols: host storage as last known, or a negative errno */
    bool asked_for_size;     /* somebody is waiting for that */
    uint64_t number; /* of all nodes there ever were */
    /* Opened by a node above: follows its options where it has none.  That node's number, 0 until
     * it is there. */
    bool inherits;
    uint64_t heir_of;

    /* During open only: where in a definition it is (open.c); what bdrv_co_open_backing() leaves to
     * the core. */
    const struct OpenPlace *opening;
    bool wants_backing;
    BlockdevRefOrNull *backing_ref;
    QDict *pending_backing_options; /* backing.* options of a user who did not give all of them */

    /* Atomics. */
    int64_t total_bytes; /* length as last known */
    bool tells_parents;  /* of the length, soon */
    uint64_t next_serial;
    int n_serialising;
    uint64_t write_gen, flushed_gen;
    int activities;
    uint64_t wr_highest_offset;
    uint64_t write_threshold; /* 0: none */
    bool no_medium; /* a drive that is empty as far as is known: bdrv_note_medium() */
    int n_overlays; /* edges above that pass content on to others: backing and filtered */
    struct BdrvChainMap *chain_map; /* chain-map.c; NULL until needed */
    unsigned visit_bank; /* the lowest bit: which of a shard's two counts new visits are in */
    int n_visit_waiters;

    /* Own locks. */
    struct {
        QemuMutex lock;
        BdrvRequestList requests;
        int visits[2]; /* atomic: requests of the fast path that pass here, two banks */
        /* Atomic: where the last write ended that the fast path had no answer for; how many. */
        int64_t missed_end;
        unsigned n_missed;
    } shard[BDRV_REQUEST_SHARDS];
    /* These two under the lock of shard 0. */
    QSIMPLEQ_HEAD(, BdrvRequestWaiter) visit_waiters;
    uint64_t bank_serial[2]; /* visits in a bank began when next_serial was at least this */
    CoMutex flush_lock; /* one driver flush at a time; later callers reuse its result */
    QemuMutex dirty_bitmap_lock;
    QLIST_HEAD(, BdrvDirtyBitmap) dirty_bitmaps;
    int n_dirty_bitmaps; /* atomic, written under the lock */
};

/* A format is guessed from this many bytes at the start; what was guessed to be raw may not get a
 * format's signature written there. */
#define BDRV_PROBE_BYTES 512

/** The driver whose signature @buf of @len bytes bears best. */
BlockDriver *bdrv_probe_all(const uint8_t *buf, size_t len, const char *filename);

/* ---- a driver -------------------------------------------------------------------------------- */

/* What a node does with one child and allows others to do. */
typedef struct BdrvChildClaims {
    BlockRights uses, shared;
} BdrvChildClaims;

typedef struct BlockDriverInfo {
    int cluster_size;    /* bytes, 0: none */
    int subcluster_size; /* bytes, 0: as cluster_size */
    bool is_dirty;
    int64_t vm_state_offset;
} BlockDriverInfo;

typedef struct BdrvReopenState BdrvReopenState;
struct BdrvReopenState {
    BlockDriverState *bs;
    BlockdevOptions *options; /* new typed options; moved into bs on commit */
    QDict *explicit_options;
    int flags;
    bool other_file; /* "file" is another node already, and bdrv_co_reopen_file follows */
    void *opaque;    /* driver's, between prepare and commit/abort */
};

struct BlockDriver {
    const char *format_name;
    const char *protocol_name; /* prefix without colon, or NULL */
    size_t instance_size;
    BlockdevDriver options_type; /* discriminator in BlockdevOptions; BLOCKDEV_DRIVER__MAX: none */
    bool is_protocol;            /* bottom of the graph: has no "file" child */
    bool is_filter;
    bool filtered_is_backing;    /* the filtered child is "backing", else "file" */
    bool lies_in_many;           /* of its files none says where relative names start */
    bool supports_backing;
    bool new_is_undefined;                  /* a new image does not read as zeroes */
    bool has_variable_length;    /* length may change behind our back: ask each time */
    bool supports_zoned_children; /* passes zone requests on, and writes as they are */
    const char *guessed_child;   /* the child (or list of them) that is an image, whose format may
                                  * be guessed; NULL: none but "backing" */
    const char *const *strong_runtime_opts; /* NULL-terminated: options that change content */
    const char *const *mutable_opts;        /* NULL-terminated: options reopen may change */
    QemuOptsList *create_opts;              /* legacy create; NULL: cannot */
    QemuOptsList *amend_opts;               /* NULL: cannot be amended */

    /* ---- life (control path) ---- */
    /* Score 0-100: does the start of an image look like this format? @buf has @len bytes. Pure. */
    int (*bdrv_probe)(const uint8_t *buf, size_t len, const char *filename);
    /* Protocols: score for a path on this host (device files). */
    int (*bdrv_probe_device)(const char *filename);
    /* Protocols: turn PROTO:rest into options (file.* without prefix). */
    bool (*bdrv_parse_filename)(const char *filename, QDict *options, Error **errp);
    /*
     * Open.  bs->opaque is zeroed, bs->options, open_flags, read_only are set; children are opened
     * here by bdrv_co_open_child() / bdrv_co_open_backing().  Sets bs->total_bytes (or offers
     * bdrv_co_getlength) and supported_*_flags.  On failure frees what it made in opaque; attached
     * children are detached by the core.  @options is bs->options, NULL for optionless nodes.
     */
    bool coroutine_fn (*bdrv_co_open)(BlockDriverState *bs, const BlockdevOptions *options,
                                      int flags, Error **errp);
    /* Write back what is cached (a failure: bdrv_note_failed_close()), free opaque's content. */
    void coroutine_fn (*bdrv_co_close)(BlockDriverState *bs);
    bool coroutine_fn (*bdrv_co_reopen_prepare)(BdrvReopenState *state, Error **errp);
    void (*bdrv_reopen_commit)(BdrvReopenState *state);
    void (*bdrv_reopen_abort)(BdrvReopenState *state);
    /*
     * Active, frozen, claims as they will be: "file", which holds metadata, is another now.  Read
     * again what is kept of it in memory; bdrv_reopen_commit or _abort follow.  What was cached has
     * been written to the old file by bdrv_co_inactivate.  NULL: the file cannot be another one.
     */
    bool coroutine_fn (*bdrv_co_reopen_file)(BdrvReopenState *state, Error **errp);
    /*
     * Frozen.  Another process owned the image and may have changed it: read again what is kept of
     * it in memory, or set @errp and keep the old (the node stays inactive).  And the opposite:
     * write back everything, also what a flush may leave for later; 0 or negative errno.
     */
    bool coroutine_fn (*bdrv_co_activate)(BlockDriverState *bs, Error **errp);
    int coroutine_fn (*bdrv_co_inactivate)(BlockDriverState *bs);
    /*
     * What this node uses and shares at @child (may be NULL: about to be attached) with role @role,
     * given what its own parents use and share in sum.  NULL: bdrv_default_child_claims().
     */
    BdrvChildClaims (*bdrv_child_claims)(BlockDriverState *bs, const BdrvChild *child,
                                         BdrvChildRole role, BlockRights parent_uses,
                                         BlockRights parent_shared);
    /*
     * Claims on this node will sum up to @uses, and what it claims of its children follows: do with
     * what is claimed of them now what will not be allowed then.
     */
    void coroutine_fn (*bdrv_co_before_claims)(BlockDriverState *bs, BlockRights uses);
    /*
     * Protocols: claims on this node will sum up to @uses/@shared; get host locks and a descriptor
     * for it (may yield), then commit or abort (neither).
     */
    bool coroutine_fn (*bdrv_co_check_perm)(BlockDriverState *bs, BlockRights uses,
                                            BlockRights shared, Error **errp);
    void (*bdrv_set_perm)(BlockDriverState *bs, BlockRights uses, BlockRights shared);
    void (*bdrv_abort_perm_update)(BlockDriverState *bs);
    void (*bdrv_refresh_limits)(BlockDriverState *bs);
    /*
     * Drivers that write on reads: the unit, in bytes, over whose multiples each read is
     * serialising, so that the driver may read and write there undisturbed.  NULL or 0: reads
     * are ordinary requests.
     */
    int64_t (*bdrv_serialise_reads)(BlockDriverState *bs);
    /* Options and exact name: set bs->exact_filename if a plain name says it all. */
    void (*bdrv_refresh_filename)(BlockDriverState *bs);

    /*
     * A driver whose children come and go while it is open (quorum).  Frozen.  @child_bs is
     * borrowed and has no parent.
     */
    bool coroutine_fn (*bdrv_co_add_child)(BlockDriverState *bs, BlockDriverState *child_bs,
                                           Error **errp);
    bool coroutine_fn (*bdrv_co_del_child)(BlockDriverState *bs, BdrvChild *child, Error **errp);

    /* ---- I/O.  Within limits, aligned to bl.request_alignment; qiov from qiov_offset on. ---- */
    int coroutine_fn (*bdrv_co_preadv)(BlockDriverState *bs, int64_t offset, int64_t bytes,
                                       QEMUIOVector *qiov, size_t qiov_offset, unsigned flags);
    int coroutine_fn (*bdrv_co_pwritev)(BlockDriverState *bs, int64_t offset, int64_t bytes,
                                        QEMUIOVector *qiov, size_t qiov_offset, unsigned flags);
    int coroutine_fn (*bdrv_co_pwritev_compressed)(BlockDriverState *bs, int64_t offset,
                                                   int64_t bytes, QEMUIOVector *qiov,
                                                   size_t qiov_offset);
    int coroutine_fn (*bdrv_co_pwrite_zeroes)(BlockDriverState *bs, int64_t offset, int64_t bytes,
                                              unsigned flags);
    int coroutine_fn (*bdrv_co_pdiscard)(BlockDriverState *bs, int64_t offset, int64_t bytes);
    /*
     * The fast path (fast-path.h): where is the range?  One answer for all of it, from memory only:
     * it may try locks, and never yields.  It may be called outside coroutines.  It gets what
     * bdrv_co_preadv and bdrv_co_pwritev get, and what is inside the node's length.  NULL: never,
     * but for filters without a callback for the request, which the core passes by.
     */
    BdrvMapKind (*bdrv_map)(BlockDriverState *bs, bool is_write, int64_t offset, int64_t bytes,
                            BdrvMapping *map);
    /* Protocols that answer BDRV_MAP_HERE: start @io.  Returns as bdrv_fast_start(), never REST. */
    int (*bdrv_submit)(BlockDriverState *bs, BdrvDirectIO *io);
    /*
     * Offloaded copy.  _from of the source maps down to its protocol node and then calls
     * bdrv_co_copy_range_to(); _to maps the target down and ends in a protocol that can do it.
     */
    int coroutine_fn (*bdrv_co_copy_range_from)(BlockDriverState *bs, BdrvChild *src,
                                                int64_t src_offset, BdrvChild *dst,
                                                int64_t dst_offset, int64_t bytes, unsigned flags);
    int coroutine_fn (*bdrv_co_copy_range_to)(BlockDriverState *bs, BdrvChild *src,
                                              int64_t src_offset, BdrvChild *dst,
                                              int64_t dst_offset, int64_t bytes, unsigned flags);
    /* Caches of the driver to the host; then the host's to the medium (protocols). */
    int coroutine_fn (*bdrv_co_flush_to_os)(BlockDriverState *bs);
    int coroutine_fn (*bdrv_co_flush_to_disk)(BlockDriverState *bs);
    /* Instead of both and of the children's flushes: for a driver that can do without some. */
    int coroutine_fn (*bdrv_co_flush)(BlockDriverState *bs);
    /* @bytes aligned; answers for a prefix *pnum > 0.  @want_zero false: allocation only. */
    int coroutine_fn (*bdrv_co_block_status)(BlockDriverState *bs, bool want_zero, int64_t offset,
                                             int64_t bytes, int64_t *pnum, int64_t *map,
                                             BlockDriverState **file);
    /*
     * The same for adjacent ranges from @offset on, each as long as it is alike; together they may
     * be shorter than @bytes.  Returns how many of @max there are, at least 1, or a negative errno.
     */
    int coroutine_fn (*bdrv_co_block_extents)(BlockDriverState *bs, int64_t offset, int64_t bytes,
                                              BdrvExtent *extents, int max);

    /* ---- drives and devices of the host ---- */
    /* Is there a medium now?  Drives only: what they have may be taken out. */
    bool coroutine_fn (*bdrv_co_is_inserted)(BlockDriverState *bs);
    int coroutine_fn (*bdrv_co_eject)(BlockDriverState *bs, bool eject); /* else close the tray */
    int coroutine_fn (*bdrv_co_lock_medium)(BlockDriverState *bs, bool locked);
    /* A request of <scsi/sg.h> with its argument; what it may do was checked. */
    int coroutine_fn (*bdrv_co_ioctl)(BlockDriverState *bs, unsigned long request, void *arg);

    /* ---- zones (zoned.h); checked and aligned.  Of nodes that say in their limits to be zoned. */
    /* Up to *@nr_zones zones from that at @offset on; sets how many there are. */
    int coroutine_fn (*bdrv_co_zone_report)(BlockDriverState *bs, int64_t offset,
                                            unsigned *nr_zones, BlockZoneDescriptor *zones);
    int coroutine_fn (*bdrv_co_zone_mgmt)(BlockDriverState *bs, BlockZoneOp op, int64_t offset,
                                          int64_t bytes);
    /* *@offset: the start of the zone; becomes where the data is. */
    int coroutine_fn (*bdrv_co_zone_append)(BlockDriverState *bs, int64_t *offset,
                                            QEMUIOVector *qiov);

    /*
     * ---- a point in time that the driver keeps (copy-before-write; read by snapshot-access) ----
     * -EACCES: that part is not kept, or no longer.  Status and discard as above.
     */
    int coroutine_fn (*bdrv_co_preadv_snapshot)(BlockDriverState *bs, int64_t offset,
                                                int64_t bytes, QEMUIOVector *qiov,
                                                size_t qiov_offset);
    int coroutine_fn (*bdrv_co_snapshot_block_status)(BlockDriverState *bs, bool want_zero,
                                                      int64_t offset, int64_t bytes,
                                                      int64_t *pnum);
    int coroutine_fn (*bdrv_co_pdiscard_snapshot)(BlockDriverState *bs, int64_t offset,
                                                  int64_t bytes);

    /* ---- size ---- */
    int coroutine_fn (*bdrv_co_truncate)(BlockDriverState *bs, int64_t offset, bool exact,
                                         PreallocMode prealloc, unsigned flags, Error **errp);
    int64_t coroutine_fn (*bdrv_co_getlength)(BlockDriverState *bs);
    int64_t coroutine_fn (*bdrv_co_get_allocated_file_size)(BlockDriverState *bs);

    /* ---- image ---- */
    bool coroutine_fn (*bdrv_co_create)(const BlockdevCreateOptions *options, Error **errp);
    bool coroutine_fn (*bdrv_co_create_opts)(BlockDriver *drv, const char *filename, QemuOpts *opts,
                                             Error **errp);
    bool coroutine_fn (*bdrv_co_delete_file)(BlockDriverState *bs, Error **errp);
    /* One step; the node is frozen.  Bytes by which the file got shorter; 0: it was the last. */
    int64_t coroutine_fn (*bdrv_co_compact)(BlockDriverState *bs, int64_t max_bytes, int64_t *left,
                                            Error **errp);
    int coroutine_fn (*bdrv_co_check)(BlockDriverState *bs, BdrvCheckResult *res, int fix);
    /* Frozen.  What @opts, of amend_opts, do not mention stays as it is. */
    bool coroutine_fn (*bdrv_co_amend_options)(BlockDriverState *bs, QemuOpts *opts, bool force,
                                               const BdrvAmendProgress *progress, Error **errp);
    /* The typed form, of what can be changed while the image is in use: x-blockdev-amend. */
    bool coroutine_fn (*bdrv_co_amend)(BlockDriverState *bs, const BlockdevAmendOptions *options,
                                       bool force, Error **errp);
    BlockMeasureInfo *coroutine_fn (*bdrv_co_measure)(QemuOpts *opts, BlockDriverState *in_bs,
                                                      Error **errp);
    /* Nothing is allocated any more, on disk too; frozen.  A crash may leave part of it. */
    int coroutine_fn (*bdrv_co_make_empty)(BlockDriverState *bs);
    int coroutine_fn (*bdrv_co_change_backing_file)(BlockDriverState *bs, const char *backing_file,
                                                    const char *backing_fmt);
    /* Fill cluster_size, is_dirty, compressed …; format-specific part returned typed. */
    int (*bdrv_get_info)(BlockDriverState *bs, BlockDriverInfo *info);
    ImageInfoSpecific *(*bdrv_get_specific_info)(BlockDriverState *bs, Error **errp);
    BlockStatsSpecific *(*bdrv_get_specific_stats)(BlockDriverState *bs);
    /* The internal snapshots, oldest first; NULL: there are none. */
    SnapshotInfoList *(*bdrv_get_snapshots)(BlockDriverState *bs);

    /* ---- internal snapshots; through block/snapshot.h, with the node frozen ---- */
    /* A snapshot of the content as @info says; its id is chosen by the driver. */
    bool coroutine_fn (*bdrv_co_snapshot_create)(BlockDriverState *bs, const SnapshotInfo *info,
                                                 Error **errp);
    /* Content and size become those of snapshot @id. */
    bool coroutine_fn (*bdrv_co_snapshot_goto)(BlockDriverState *bs, const char *id, Error **errp);
    bool coroutine_fn (*bdrv_co_snapshot_delete)(BlockDriverState *bs, const char *id,
                                                 Error **errp);
    /* This read-only node shows snapshot @id until it is closed. */
    bool coroutine_fn (*bdrv_co_snapshot_load_tmp)(BlockDriverState *bs, const char *id,
                                                   Error **errp);
    /* State of a machine beside the disk, at @pos of its own address space; part of snapshots. */
    int coroutine_fn (*bdrv_co_save_vmstate)(BlockDriverState *bs, QEMUIOVector *qiov, int64_t pos);
    int coroutine_fn (*bdrv_co_load_vmstate)(BlockDriverState *bs, QEMUIOVector *qiov, int64_t pos);
    /* That of snapshot @id, which must stay; whole sectors. */
    int coroutine_fn (*bdrv_co_snapshot_load_vmstate)(BlockDriverState *bs, const char *id,
                                                      QEMUIOVector *qiov, int64_t pos);
    /* Free what was saved and is in no snapshot. */
    int coroutine_fn (*bdrv_co_drop_vmstate)(BlockDriverState *bs);

    /* ---- persistent bitmaps ---- */
    bool coroutine_fn (*bdrv_co_can_store_new_dirty_bitmap)(BlockDriverState *bs, const char *name,
                                                            uint32_t granularity, Error **errp);
    int coroutine_fn (*bdrv_co_remove_persistent_dirty_bitmap)(BlockDriverState *bs,
                                                               const char *name, Error **errp);
    /* Bitmaps that persist will change: what is stored of them is out of date from now on. */
    int coroutine_fn (*bdrv_co_before_bitmap_change)(BlockDriverState *bs);

    /* ---- quiesce: stop background work, let go of held-back requests.  No waiting. ---- */
    void (*bdrv_drain_begin)(BlockDriverState *bs);
    void (*bdrv_drain_end)(BlockDriverState *bs);
    /* Fail what is stuck on a network now. */
    void (*bdrv_cancel_in_flight)(BlockDriverState *bs);

    /* ---- debug (blkdebug) ---- */
    void coroutine_fn (*bdrv_co_debug_event)(BlockDriverState *bs, BlkdebugEvent event);
    int (*bdrv_debug_breakpoint)(BlockDriverState *bs, const char *event, const char *tag);
    int (*bdrv_debug_remove_breakpoint)(BlockDriverState *bs, const char *tag);
    int (*bdrv_debug_resume)(BlockDriverState *bs, const char *tag);
    bool (*bdrv_debug_is_suspended)(BlockDriverState *bs, const char *tag);
};

/** Every driver, in probe order, NULL at the end.  The one list (block/drivers.c). */
extern BlockDriver *const bdrv_drivers[];
/* Set by bdrv_init() from above, so that the core archive links without the drivers. */
void bdrv_register_drivers(BlockDriver *const *drivers);

/* Names of the drivers that may be used for writing and reading, and for reading only; both
 * NULL-terminated and static, or NULL.  If both are empty, all drivers may be used. */
void bdrv_set_whitelist(const char *const *rw, const char *const *ro);
/* Is this a system emulator, which is to use safe formats only?  (bdrv_init_with_whitelist()) */
void bdrv_use_whitelist(void);
/** Whether bdrv_use_whitelist() was called. */
bool bdrv_uses_whitelist(void);

/* ---- for open of a driver -------------------------------------------------------------------- */

/**
 * Open or look up the child that @ref describes and attach it to @bs as @name.  It inherits from
 * @bs what the user did not say (cache, read-only, discard ...).  @ref NULL: sets "A block device
 * must be specified for "NAME"" unless @allow_none, then returns NULL without an error.
 */
BdrvChild *coroutine_fn bdrv_co_open_child(BlockDriverState *bs, const char *name,
                                           BdrvChildRole role, const BlockdevRef *ref,
                                           bool allow_none, Error **errp);

/** The usual "file" child of a format or filter: open, attach, set bs->file.  */
bool coroutine_fn bdrv_co_open_file_child(BlockDriverState *bs, const BlockdevRef *ref,
                                          Error **errp);

/**
 * An implicit filter of driver @drv, without options, over @below; nobody uses it yet.  Context:
 * control lock.
 */
BlockDriverState *coroutine_fn bdrv_co_open_implicit_filter(BlockDriver *drv,
                                                            BlockDriverState *below, Error **errp);

/**
 * The backing chain: what @ref (may be NULL; copied) and bs->backing_file/backing_format say.  The
 * core opens it after the driver's open returned, so that a long chain takes a loop and not a deep
 * stack. Does nothing under BDRV_O_NO_BACKING.
 */
bool coroutine_fn bdrv_co_open_backing(BlockDriverState *bs, const BlockdevRefOrNull *ref,
                                       Error **errp);

/** Default of BlockDriver.bdrv_child_claims: what filters, formats and COW children do. */
BdrvChildClaims bdrv_default_child_claims(BlockDriverState *bs, const BdrvChild *child,
                                          BdrvChildRole role, BlockRights parent_uses,
                                          BlockRights parent_shared);

/* ---- the request path: I/O on an edge.  Any thread, coroutine. ------------------------------- */

/**
 * Read into, or write from, [@qiov_offset, @qiov_offset + @bytes) of the vector, which is borrowed.
 * Bytes; what is not aligned is padded.  0 or a negative errno; -EPERM without the right.
 */
int coroutine_fn bdrv_co_preadv_part(BdrvChild *child, int64_t offset, int64_t bytes,
                                     QEMUIOVector *qiov, size_t qiov_offset, unsigned flags);
int coroutine_fn bdrv_co_pwritev_part(BdrvChild *child, int64_t offset, int64_t bytes,
                                      QEMUIOVector *qiov, size_t qiov_offset, unsigned flags);

static inline int coroutine_fn bdrv_co_preadv(BdrvChild *child, int64_t offset, int64_t bytes,
                                              QEMUIOVector *qiov, unsigned flags)
{
    return bdrv_co_preadv_part(child, offset, bytes, qiov, 0, flags);
}

static inline int coroutine_fn bdrv_co_pwritev(BdrvChild *child, int64_t offset, int64_t bytes,
                                               QEMUIOVector *qiov, unsigned flags)
{
    return bdrv_co_pwritev_part(child, offset, bytes, qiov, 0, flags);
}

/** One buffer.  0 or negative errno. */
int coroutine_fn bdrv_co_pread(BdrvChild *child, int64_t offset, int64_t bytes, void *buf,
                               unsigned flags);
int coroutine_fn bdrv_co_pwrite(BdrvChild *child, int64_t offset, int64_t bytes, const void *buf,
                                unsigned flags);
/** Write and flush: on stable storage when it returns. */
int coroutine_fn bdrv_co_pwrite_sync(BdrvChild *child, int64_t offset, int64_t bytes,
                                     const void *buf, unsigned flags);
/**
 * Make a range read as zeroes, by whatever is cheapest; @flags as in QEMU (BDRV_REQ_MAY_UNMAP ...).
 */
int coroutine_fn bdrv_co_pwrite_zeroes(BdrvChild *child, int64_t offset, int64_t bytes,
                                       unsigned flags);
/**
 * The content of a range is not needed any more: a hint, which a driver that cannot use it takes
 * for done.
 */
int coroutine_fn bdrv_co_pdiscard(BdrvChild *child, int64_t offset, int64_t bytes);
/* Copy without the data passing through us; -ENOTSUP: read and write instead. */
int coroutine_fn bdrv_co_copy_range(BdrvChild *src, int64_t src_offset, BdrvChild *dst,
                                    int64_t dst_offset, int64_t bytes, unsigned flags);
/* For drivers' _from and _to: the next step down. */
int coroutine_fn bdrv_co_copy_range_from(BdrvChild *src, int64_t src_offset, BdrvChild *dst,
                                         int64_t dst_offset, int64_t bytes, unsigned flags);
int coroutine_fn bdrv_co_copy_range_to(BdrvChild *src, int64_t src_offset, BdrvChild *dst,
                                       int64_t dst_offset, int64_t bytes, unsigned flags);
/**
 * Pass a command to the device: one of the SG_* requests of <scsi/sg.h>, and what it points to,
 * which lives until this returns.  A SCSI command that may change data needs BLK_PERM_WRITE (else
 * -EPERM).  Returns 0 or negative errno; -ENOTSUP: not such a device, or another request.
 */
int coroutine_fn bdrv_co_ioctl(BdrvChild *child, unsigned long request, void *arg);
/**
 * The zones from that at @offset on: up to *@nr_zones, becomes how many there are.  -ENOTSUP: not
 * zoned; -EINVAL: beyond the end.
 */
int coroutine_fn bdrv_co_zone_report(BdrvChild *child, int64_t offset, unsigned *nr_zones,
                                     BlockZoneDescriptor *zones);
/** Change the state of whole zones.  -EINVAL: not whole ones; -EIO: the device refuses. */
int coroutine_fn bdrv_co_zone_mgmt(BdrvChild *child, BlockZoneOp op, int64_t offset, int64_t bytes);
/**
 * Write @qiov at the write pointer of the zone that starts at *@offset, which becomes where it is.
 * -EINVAL: no start of a zone, not a multiple of the granularity, or longer than max_append;
 * -EIO: it does not fit, or is no sequential zone.
 */
int coroutine_fn bdrv_co_zone_append(BdrvChild *child, int64_t *offset, QEMUIOVector *qiov,
                                     unsigned flags);
/**
 * Change the length to @offset bytes.  @exact: or fail; else it may be longer, where that is all
 * there is; @prealloc: how new space is taken.  0, or a negative errno with @errp set.
 */
int coroutine_fn bdrv_co_truncate(BdrvChild *child, int64_t offset, bool exact,
                                  PreallocMode prealloc, unsigned flags, Error **errp);
/** Everything written before is on stable storage; elided if nothing was written since the last. */
int coroutine_fn bdrv_co_flush(BlockDriverState *bs);

/**
 * Status of a prefix of the range at @bs alone, following filters (map, *file: where bytes are).
 */
int coroutine_fn bdrv_co_block_status(BlockDriverState *bs, int64_t offset, int64_t bytes,
                                      int64_t *pnum, int64_t *map, BlockDriverState **file);
/**
 * Through the backing chain down to, not including, @base (NULL: all); depth of the layer found.
 */
int coroutine_fn bdrv_co_block_status_above(BlockDriverState *bs, BlockDriverState *base,
                                            int64_t offset, int64_t bytes, int64_t *pnum,
                                            int64_t *map, BlockDriverState **file, int *depth);
/**
 * The same for adjacent ranges from @offset on: much cheaper than asking one by one.  Neighbours
 * may be alike.  Returns how many of @max there are (0: at the end of @bs), or a negative errno;
 * there may be more, also where room is left.
 */
int coroutine_fn bdrv_co_block_extents_above(BlockDriverState *bs, BlockDriverState *base,
                                             int64_t offset, int64_t bytes, BdrvExtent *extents,
                                             int max);
/** 1: allocated in @top..@base (base included if @include_base), 0: not, <0: error. */
int coroutine_fn bdrv_co_is_allocated_above(BlockDriverState *top, BlockDriverState *base,
                                            bool include_base, int64_t offset, int64_t bytes,
                                            int64_t *pnum);
/** The same in @bs alone. */
int coroutine_fn bdrv_co_is_allocated(BlockDriverState *bs, int64_t offset, int64_t bytes,
                                      int64_t *pnum);
/** 1: the range reads as zeroes for sure, as what is past the end does; 0, or a negative errno. */
int coroutine_fn bdrv_co_is_zero(BlockDriverState *bs, int64_t offset, int64_t bytes);

/** Tell a debugging filter above or at @bs that a named point was passed. */
void coroutine_fn bdrv_co_debug_event(BlockDriverState *bs, BlkdebugEvent event);
#define BLKDBG_CO_EVENT(child, event) \
    do { \
        if (child) { \
            bdrv_co_debug_event((child)->bs, BLKDBG_##event); \
        } \
    } while (0)

/* ---- helpers --------------------------------------------------------------------------------- */

/** Memory aligned for direct I/O on @bs; NULL if it can't be had.  Free with qemu_vfree(). */
void *bdrv_try_blockalign(BlockDriverState *bs, size_t size);
/** The alignment of memory that suits direct I/O on @bs best; bytes, a power of two. */
size_t bdrv_opt_mem_align(BlockDriverState *bs);

/** Offset and bytes are sane (>= 0, no overflow, <= BDRV_MAX_LENGTH); 0 or -EIO. */
int bdrv_check_request(int64_t offset, int64_t bytes, Error **errp);

/** Recompute bs->bl from children and driver, here and upward. */
void bdrv_refresh_limits(BlockDriverState *bs);
/**
 * Ask the driver for the length, round it up to whole sectors (as stock does), and tell parents if
 * it changed.  Returns it or a negative errno.  Any thread, coroutine.
 */
int64_t coroutine_fn bdrv_co_refresh_length(BlockDriverState *bs);
/** Drivers: is there a medium?  At open, close, and whenever it is found out.  Any thread. */
void bdrv_note_medium(BlockDriverState *bs, bool is_there);
/** Can the medium of @bs be taken out? */
bool bdrv_has_drive(BlockDriverState *bs);
/** Ask the drive whether it has a medium; the length of @bs follows.  Any thread, coroutine. */
bool coroutine_fn bdrv_co_refresh_medium(BlockDriverState *bs);
/**
 * Move the tray of the drive at or below @bs; lock its door.  0 or negative errno; -ENOTSUP: there
 * is no drive.
 */
int coroutine_fn bdrv_co_eject(BlockDriverState *bs, bool eject);
int coroutine_fn bdrv_co_lock_medium(BlockDriverState *bs, bool locked);
/** Length changed: tell parents in the main thread, adapt bitmaps.  Any thread. */
void bdrv_size_changed(BlockDriverState *bs, int64_t new_bytes);
/** The same of a file after a write that ended at @end, which may be past its end.  Any thread. */
void bdrv_grew(BlockDriverState *bs, int64_t end);
/** Request path: a write reached @end; raises BLOCK_WRITE_THRESHOLD once (write-threshold.c). */
void bdrv_write_threshold_check(BlockDriverState *bs, int64_t end);
/** What @bs's name is made of has changed: it and those above are made again when asked for. */
void bdrv_refresh_filename(BlockDriverState *bs);
/** Resolve @backing_file relative to @bs's own file. */
char *bdrv_get_full_backing_filename(BlockDriverState *bs, Error **errp);
/** Facts about the image, of the first filtered node that knows; 0 or a negative errno. */
int bdrv_get_info(BlockDriverState *bs, BlockDriverInfo *info);

/* Drivers that claim their own node (an image that cannot bear something). */
BdrvOwner bdrv_owner_driver(BlockDriverState *bs);

#endif
