/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Nodes of the block graph, as everybody above the core sees them: opening, finding, asking, and
 * the op-blocker API of 2014.
 *
 * Rules of use
 *  - A BlockDriverState ("node", "bs") is opaque here; drivers see inside it through block_int.h.
 *  - Nodes are reference counted.  bdrv_unref() never does I/O: a node nobody refers to any more is
 *    closed when the control lock is released (graph.h), before the command that did it replies.
 *  - Functions with _co_ run in a coroutine and may yield; the control-plane ones among them need
 *    the control lock.  The others never wait and, unless said otherwise, belong to the main
 *    thread.
 *  - Offsets and lengths are bytes in int64_t.  Data-path functions return 0 or a negative errno;
 *    control-path functions set an Error.
 *  - I/O goes through an edge (BdrvChild, request path in block_int.h) or a backend
 *    (block-backend.h), never to a bare node.
 */
#ifndef BLOCK_BLOCK_H
#define BLOCK_BLOCK_H

#include <stdbool.h>
#include <stdint.h>

#include "qapi/gen/block-core-types.h"
#include "qapi/gen/block-info-types.h"
#include "qemu/error.h"
#include "qemu/iov.h"
#include "qobject/qdict.h"

typedef struct BlockDriver BlockDriver;
typedef struct BlockDriverState BlockDriverState;
typedef struct BdrvChild BdrvChild;
typedef struct BdrvGate BdrvGate;
typedef struct BdrvClaim BdrvClaim;

/* ---- limits and constants -------------------------------------------------------------------- */

#define BDRV_SECTOR_BITS 9
#define BDRV_SECTOR_SIZE (INT64_C(1) << BDRV_SECTOR_BITS)

/* No request, node size or alignment reaches beyond these. */
#define BDRV_MAX_ALIGNMENT (INT64_C(1) << 30)
#define BDRV_MAX_LENGTH (INT64_MAX / BDRV_MAX_ALIGNMENT * BDRV_MAX_ALIGNMENT)
#define BDRV_REQUEST_MAX_BYTES ((int64_t)(INT32_MAX >> BDRV_SECTOR_BITS) << BDRV_SECTOR_BITS)

#define BDRV_NODE_NAME_MAX 31

/* How a node is opened.  The typed options win over flags; flags carry what has no option. */
typedef enum BdrvOpenFlags {
    BDRV_O_RDWR = 1 << 0,
    BDRV_O_NOCACHE = 1 << 1,     /* cache.direct=on */
    BDRV_O_NO_FLUSH = 1 << 2,    /* cache.no-flush=on */
    BDRV_O_UNMAP = 1 << 3,       /* discard=unmap */
    BDRV_O_AUTO_RDONLY = 1 << 4, /* fall back to read-only when writing is not possible */
    BDRV_O_FORCE_SHARE = 1 << 5, /* share every right; read-only nodes only */
    BDRV_O_NO_BACKING = 1 << 6,  /* do not open the backing chain */
    BDRV_O_SNAPSHOT = 1 << 7,    /* put a temporary overlay on top */
    BDRV_O_CHECK = 1 << 8,       /* opened to be checked: tolerate damage that check can report */
    BDRV_O_NO_IO = 1 << 9,       /* metadata only ("info"): no data is read, no secret needed */
    BDRV_O_PROTOCOL = 1 << 10,   /* wanted: a protocol node; do not probe a format */
    BDRV_O_INACTIVE = 1 << 11,   /* another process owns the image for now (migration) */
    BDRV_O_COPY_ON_READ = 1 << 12,
    BDRV_O_NATIVE_AIO = 1 << 13, /* default for aio=, from the tools' -i/-n */
    BDRV_O_IO_URING = 1 << 14,
} BdrvOpenFlags;

/* Flags of one request. */
typedef enum BdrvRequestFlags {
    BDRV_REQ_FUA = 1 << 0,             /* on stable storage when it returns */
    BDRV_REQ_ZERO_WRITE = 1 << 1,      /* set by the core: a write of zeroes without data */
    BDRV_REQ_MAY_UNMAP = 1 << 2,       /* with zeroes: the range may become unallocated */
    BDRV_REQ_NO_FALLBACK = 1 << 3,     /* -ENOTSUP rather than: zeroes as data, copy not sharing */
    BDRV_REQ_WRITE_COMPRESSED = 1 << 4,
    BDRV_REQ_WRITE_UNCHANGED = 1 << 5, /* the guest-visible content stays the same */
    BDRV_REQ_SERIALISING = 1 << 6,     /* overlaps with no other request */
    BDRV_REQ_NO_WAIT = 1 << 7,         /* with SERIALISING: -EBUSY instead of waiting */
    /* Reading copy-on-read nodes: copy up, nobody wants the data; an empty vector; aligned. */
    BDRV_REQ_PREFETCH = 1 << 8,
} BdrvRequestFlags;

/* What bdrv_co_block_status() says of a range. */
typedef enum BdrvBlockStatus {
    BDRV_BLOCK_DATA = 1 << 0,         /* this layer or one below holds data */
    BDRV_BLOCK_ZERO = 1 << 1,         /* reads as zeroes */
    BDRV_BLOCK_OFFSET_VALID = 1 << 2, /* *map and *file tell where the bytes are */
    BDRV_BLOCK_RAW = 1 << 3,          /* from a driver: ask *file at *map instead */
    BDRV_BLOCK_ALLOCATED = 1 << 4,    /* this layer decides the content */
    BDRV_BLOCK_EOF = 1 << 5,          /* the range ends at the end of the node */
    BDRV_BLOCK_RECURSE = 1 << 6,      /* from a driver: data may be zero below, worth asking */
    BDRV_BLOCK_COMPRESSED = 1 << 7,
} BdrvBlockStatus;

/* One of several adjacent ranges, each alike in itself: the answers of bdrv_co_block_status(). */
typedef struct BdrvExtent {
    int64_t bytes;
    int64_t map;            /* where in @file, if flags have OFFSET_VALID */
    BlockDriverState *file;
    int flags;              /* BdrvBlockStatus */
    int depth;              /* of the layer in the chain that answered */
} BdrvExtent;

/* ---- operation types: what an op blocker blocks ---------------------------------------------- */

/* Order and names as in the 2014 API and its later additions; BLOCK_OP_NAMES in claim.c follows. */
typedef enum BlockOpType {
    BLOCK_OP_TYPE_BACKUP_SOURCE,
    BLOCK_OP_TYPE_BACKUP_TARGET,
    BLOCK_OP_TYPE_CHANGE,
    BLOCK_OP_TYPE_COMMIT_SOURCE,
    BLOCK_OP_TYPE_COMMIT_TARGET,
    BLOCK_OP_TYPE_DRIVE_DEL,
    BLOCK_OP_TYPE_EJECT,
    BLOCK_OP_TYPE_EXTERNAL_SNAPSHOT,
    BLOCK_OP_TYPE_INTERNAL_SNAPSHOT,
    BLOCK_OP_TYPE_INTERNAL_SNAPSHOT_DELETE,
    BLOCK_OP_TYPE_MIRROR_SOURCE,
    BLOCK_OP_TYPE_MIRROR_TARGET,
    BLOCK_OP_TYPE_RESIZE,
    BLOCK_OP_TYPE_STREAM,
    BLOCK_OP_TYPE_REPLACE,
    BLOCK_OP_TYPE_MAX,
} BlockOpType;

/*
 * The op-blocker API of 2014.  A user of a node tells others what they may not do meanwhile, in
 * four steps:
 *   1. make an Error that completes the sentence "Node 'x' is busy: ";
 *   2. bdrv_op_block(bs, op, reason) for each operation, or bdrv_op_block_all() and then
 *      bdrv_op_unblock() for what is harmless;
 *   3. do the work; whoever starts one of these operations asks bdrv_op_is_blocked() and is
 *   refused;
 *   4. bdrv_op_unblock_all(bs, reason), then free the Error.
 *
 * The Error stays the caller's and must outlive the blocker; its address is the blocker's identity.
 * The same reason may block an operation twice: one unblock removes both.  The latest blocker is
 * the one reported.  Blocking never fails and ends nothing that runs: it binds whoever asks next.
 * A node must not be closed with blockers on it.  Main thread; nothing here yields.
 *
 * Blockers stay with their node when the graph changes above it.  Each set of blockers with one
 * reason is one claim (claim.h), so query-block-blockers shows it.
 */

/**
 * Say whether @op is blocked on @bs; if so set @errp to "Node 'x' is busy: REASON" and return
 * true.
 */
bool bdrv_op_is_blocked(BlockDriverState *bs, BlockOpType op, Error **errp);

/** Block @op on @bs for @reason, which the caller keeps alive until it unblocks. */
void bdrv_op_block(BlockDriverState *bs, BlockOpType op, Error *reason);

/** Take back every blocking of @op on @bs made with this very @reason; none is fine. */
void bdrv_op_unblock(BlockDriverState *bs, BlockOpType op, Error *reason);

/** Block every operation type. */
void bdrv_op_block_all(BlockDriverState *bs, Error *reason);

/** Take back every blocking made with this very @reason. */
void bdrv_op_unblock_all(BlockDriverState *bs, Error *reason);

/** Say whether nothing at all is blocked on @bs. */
bool bdrv_op_blocker_is_empty(BlockDriverState *bs);

/** The schema's word for @op, e.g. "backup-source". */
const char *bdrv_op_name(BlockOpType op);

/* ---- hanging storage (main thread) ----------------------------------------------------------- */

/** A number that changes when any node gets a request, completes a flush, comes or goes. */
uint64_t bdrv_requests_progress(void);

/**
 * The protocol nodes with requests in flight: ": node 'f' (disk.img), node ...", or "" if there is
 * none, as while a file is opened.  Caller frees.
 */
char *bdrv_storage_waited_for(void);

/* ---- start ----------------------------------------------------------------------------------- */

/** Make the graph ready for use.  Once per process (or after bdrv_graph_reset() in tests). */
void bdrv_init(void);

/** As bdrv_init(), for programs in which only the drivers chosen at configure time may be used. */
void bdrv_init_with_whitelist(void);

/** May @drv be used, for writing unless @read_only? */
bool bdrv_is_whitelisted(const BlockDriver *drv, bool read_only);

/** Find a driver by its format name, or NULL.  Includes drivers that are not allowed to be used. */
BlockDriver *bdrv_find_format(const char *format_name);

/** Call @it with the name of each driver (sorted, once each). */
void bdrv_iterate_format(void (*it)(void *opaque, const char *name), void *opaque, bool read_only);

/** The driver that serves @filename by its prefix or type on the host; sets @errp if unknown. */
BlockDriver *bdrv_find_protocol(const char *filename, bool allow_protocol_prefix, Error **errp);

/** The driver's format name. */
const char *bdrv_driver_name(const BlockDriver *drv);

/* ---- opening --------------------------------------------------------------------------------- */

/**
 * Open a node, with all nodes below it that do not exist yet.
 *
 * @filename: a path, PROTO:rest, or json:{...}; NULL if @options say it all.
 * @reference: a node to use instead of opening one (then @filename and @options are NULL).
 * @options: flat or nested option dictionary; taken.
 * @flags: BDRV_O_*.
 * Context: main thread, control lock held.
 * Returns: a node with a reference for the caller, or NULL with @errp set; then nothing is left
 * open.
 */
BlockDriverState *coroutine_fn bdrv_co_open(const char *filename, const char *reference,
                                            QDict *options, int flags, Error **errp);

/** Open a node from typed options (blockdev-add).  @options: borrowed. Else as bdrv_co_open(). */
BlockDriverState *coroutine_fn bdrv_co_open_blockdev(const BlockdevOptions *options, int flags,
                                                     Error **errp);

/** Make a node of driver @drv named @node_name with no options (job filters); not yet attached. */
BlockDriverState *coroutine_fn bdrv_co_open_driver(BlockDriver *drv, const char *node_name,
                                                   int flags, Error **errp);

/** Take a reference. */
BlockDriverState *bdrv_ref(BlockDriverState *bs);

/** Drop a reference; NULL is fine.  Main thread.  Does not wait. */
void bdrv_unref(BlockDriverState *bs);

G_DEFINE_AUTOPTR_CLEANUP_FUNC(BlockDriverState, bdrv_unref)

/* Several option changes, all or nothing (reopen.c).  @options of each entry: full or keep_old. */
typedef struct BdrvReopenQueue BdrvReopenQueue;
/** Add to @queue (NULL: make one) what @bs is to have; takes @options.  Returns the queue. */
BdrvReopenQueue *bdrv_reopen_queue(BdrvReopenQueue *queue, BlockDriverState *bs, QDict *options,
                                   bool keep_old_options);
bool coroutine_fn bdrv_co_reopen_multiple(BdrvReopenQueue *queue, Error **errp); /* takes queue */
/** Forget a queue instead; NULL is fine. */
void bdrv_reopen_queue_free(BdrvReopenQueue *queue);
/**
 * The same of one node, at once.  Takes @options.  False with @errp set, and nothing changed.
 * Context: control lock.
 */
bool coroutine_fn bdrv_co_reopen(BlockDriverState *bs, QDict *options, bool keep_old_options,
                                 Error **errp);
/** The same of that option alone. */
bool coroutine_fn bdrv_co_reopen_set_read_only(BlockDriverState *bs, bool read_only, Error **errp);

/**
 * Take back from another process @bs and all that is below it: get its locks, read its metadata
 * again.  All of them or none.  Context: control lock.
 */
bool coroutine_fn bdrv_co_activate(BlockDriverState *bs, Error **errp);
/**
 * Hand over @bs, and what is below it unless others use that: write back, give up the locks.
 * Refused while somebody writes to it.  Context: control lock.
 */
bool coroutine_fn bdrv_co_inactivate(BlockDriverState *bs, Error **errp);
/** The same for all nodes. */
bool coroutine_fn bdrv_co_activate_all(Error **errp);
bool coroutine_fn bdrv_co_inactivate_all(Error **errp);

/**
 * Write another backing file name (NULL or "": none) and format into @bs's header; no node changes.
 * @require: refuse a name without a format.  0 or negative errno.
 */
int coroutine_fn bdrv_co_change_backing_file(BlockDriverState *bs, const char *backing_file,
                                             const char *backing_fmt, bool require);

/** Where @backing is, if the header of @bs named it; relative names start beside @bs's own file. */
char *bdrv_resolve_backing_filename(BlockDriverState *bs, const char *backing, Error **errp);

/** Parse a cache mode name into BDRV_O_* bits of @flags and @writethrough; false if unknown. */
bool bdrv_parse_cache_mode(const char *mode, int *flags, bool *writethrough);
/** Parse "ignore"/"off"/"unmap"/"on" into BDRV_O_UNMAP of @flags; false if unknown. */
bool bdrv_parse_discard_flags(const char *mode, int *flags);
/** Parse "threads"/"native"/"io_uring" into flags; false if unknown or not built. */
bool bdrv_parse_aio(const char *mode, int *flags);

/* ---- creating images ------------------------------------------------------------------------- */

struct QemuOpts;
struct QemuOptsList;

/** blockdev-create: make an image from typed options.  Context: control lock held. */
bool coroutine_fn bdrv_co_create(const BlockdevCreateOptions *options, Error **errp);

/** The legacy form of qemu-img create: driver @drv, @opts of its create_opts list. */
bool coroutine_fn bdrv_co_create_opts(BlockDriver *drv, const char *filename, struct QemuOpts *opts,
                                      Error **errp);

/** Make the protocol-level file at @filename (used by formats' create). */
bool coroutine_fn bdrv_co_create_file(const char *filename, struct QemuOpts *opts, Error **errp);

/** The option list of a driver's create, or NULL if it cannot create. */
struct QemuOptsList *bdrv_create_opts(const BlockDriver *drv);

/* Arguments of bdrv_co_img_create(), all of "qemu-img create" and QMP's drive-* targets. */
typedef struct BdrvImgCreate {
    const char *filename;
    const char *format;
    const char *backing_filename; /* NULL: none */
    const char *backing_format;   /* NULL: must be given if backing_filename is */
    const char *options;          /* "k=v,..." or NULL */
    int64_t size;                 /* bytes, or -1: take it from the backing file */
    int flags;                    /* BDRV_O_* for the backing file; NO_BACKING: do not open */
    bool quiet;                   /* do not print the "Formatting ..." line on stdout */
} BdrvImgCreate;

/** Create an image as qemu-img create does, printing its "Formatting" line on stdout. */
bool coroutine_fn bdrv_co_img_create(const BdrvImgCreate *args, Error **errp);

/**
 * How large an image of format @drv with @opts (of its create_opts) would be, holding what @in_bs
 * holds (NULL: nothing; its size is in @opts).  Reads metadata only.
 */
BlockMeasureInfo *coroutine_fn bdrv_co_measure(BlockDriver *drv, struct QemuOpts *opts,
                                               BlockDriverState *in_bs, Error **errp);

/* ---- changing properties of images ----------------------------------------------------------- */

/* Told how far it is; may be called with a lower share when the next step begins. */
typedef struct BdrvAmendProgress {
    void (*update)(void *opaque, uint64_t done, uint64_t total);
    void *opaque;
} BdrvAmendProgress;

/** The option list of a driver's amend, or NULL if it cannot. */
struct QemuOptsList *bdrv_amend_opts(const BlockDriver *drv);
/**
 * Change what @opts (of that list) say of the image of @bs; what they do not mention stays.
 * @force: also where something is lost.  Context: control lock.
 */
bool coroutine_fn bdrv_co_amend_options(BlockDriverState *bs, struct QemuOpts *opts, bool force,
                                        const BdrvAmendProgress *progress, Error **errp);
/** Can the node's driver change what @options are about at all? */
bool bdrv_check_amend(const BlockDriverState *bs, const BlockdevAmendOptions *options,
                      Error **errp);
/** The same, typed, for images in use: keys.  Context: control lock. */
bool coroutine_fn bdrv_co_amend(BlockDriverState *bs, const BlockdevAmendOptions *options,
                                bool force, Error **errp);
/** For drivers: say how far it is; @progress NULL: nobody listens. */
void bdrv_amend_progress(const BdrvAmendProgress *progress, uint64_t done, uint64_t total);

/**
 * Make the image of @bs hold nothing, so that all of its backing image shows.  The caller's backend
 * claims writing.  0, or a negative errno with @errp set: -ENOTSUP if the format cannot.  Context:
 * control lock.
 */
int coroutine_fn bdrv_co_make_empty(BlockDriverState *bs, Error **errp);

/* ---- finding and asking ---------------------------------------------------------------------- */

/** The node named @node_name, or NULL. */
BlockDriverState *bdrv_find_node(const char *node_name);

/** Next node of the graph in order of creation; NULL starts, NULL ends. */
BlockDriverState *bdrv_next_node(BlockDriverState *bs);

/** Every node the monitor owns (blockdev-add), in order. */
BlockDriverState *bdrv_next_monitor_node(BlockDriverState *bs);
/** Mark or unmark @bs as owned by the monitor (which then holds a reference). */
void bdrv_set_monitor_owned(BlockDriverState *bs, bool owned);
bool bdrv_is_monitor_owned(const BlockDriverState *bs);

/** Names: the node's. */
const char *bdrv_get_node_name(const BlockDriverState *bs);
/** Name of the backend whose root is @bs, or "". */
const char *bdrv_get_device_name(const BlockDriverState *bs);
/** The device name, else the node name: what "is busy" sentences use. */
const char *bdrv_get_device_or_node_name(const BlockDriverState *bs);
/** Name of the driver, or NULL without one; static. */
const char *bdrv_get_format_name(const BlockDriverState *bs);
/** The name users see: a plain file name where one says it all, else json:{...}. */
const char *bdrv_get_filename(BlockDriverState *bs);
/** BDRV_O_* that it was opened, or reopened, with. */
int bdrv_get_open_flags(const BlockDriverState *bs);

/** State, as fixed by open or reopen. */
bool bdrv_is_read_only(const BlockDriverState *bs);
bool bdrv_is_writable(const BlockDriverState *bs);
/** There is a node, and a medium if it is in a drive; as last known. */
bool bdrv_is_inserted(const BlockDriverState *bs);
bool bdrv_is_encrypted(const BlockDriverState *bs);
bool bdrv_is_filter(const BlockDriverState *bs);
/** Can images of this format have a backing image? */
bool bdrv_supports_backing(const BlockDriverState *bs);
/** Raise BLOCK_WRITE_THRESHOLD once when a write ends beyond @threshold bytes; 0: never. */
void bdrv_write_threshold_set(BlockDriverState *bs, uint64_t threshold);
uint64_t bdrv_write_threshold_get(const BlockDriverState *bs);
/** Length in bytes as last known, without I/O; -ENOMEDIUM if there is no medium. */
int64_t bdrv_getlength(const BlockDriverState *bs);
/** The same, asking the driver again (files may grow). */
int64_t coroutine_fn bdrv_co_getlength(BlockDriverState *bs);
/** Bytes on the host, all files of the image; negative errno if unknown. */
int64_t coroutine_fn bdrv_co_get_allocated_file_size(BlockDriverState *bs);
bool bdrv_supports_compressed_writes(const BlockDriverState *bs);
/** Whether images of @drv can be written compressed; known before one exists. */
bool bdrv_driver_can_compress(const BlockDriver *drv);
/** Whether what is read from a new image, before it is written, is not zeroes. */
bool bdrv_driver_new_is_undefined(const BlockDriver *drv);
int64_t bdrv_get_cluster_size(const BlockDriverState *bs); /* 0: none */

/* The chain: a filter's filtered child, an overlay's backing node. */
BlockDriverState *bdrv_filter_bs(const BlockDriverState *bs);
/**
 * Each is NULL where there is none.  Filter: the filtered child.  Cow: the backing node.  Primary:
 * the one whose data is that of the node (bs->file of a format).
 */
BlockDriverState *bdrv_cow_bs(const BlockDriverState *bs);
BlockDriverState *bdrv_filter_or_cow_bs(const BlockDriverState *bs);
BlockDriverState *bdrv_primary_bs(const BlockDriverState *bs);
/**
 * The first node from @bs (may be NULL) down that is no filter; or none that was made implicitly.
 */
BlockDriverState *bdrv_skip_filters(BlockDriverState *bs);
BlockDriverState *bdrv_skip_implicit_filters(BlockDriverState *bs);
/** The next image of the chain, filters skipped before and behind; NULL: @bs is the last. */
BlockDriverState *bdrv_backing_chain_next(BlockDriverState *bs);
/** Is @base met from @top (itself included) down, filters too? */
bool bdrv_chain_contains(BlockDriverState *top, BlockDriverState *base);
/** The image of @active's chain right over @bs, or NULL. */
BlockDriverState *bdrv_find_overlay(BlockDriverState *active, BlockDriverState *bs);
/** The node of @bs's backing chain whose file is @filename, or NULL. */
BlockDriverState *coroutine_fn bdrv_co_find_backing_image(BlockDriverState *bs,
                                                          const char *filename);

/* ---- checking -------------------------------------------------------------------------------- */

typedef enum BdrvCheckMode { BDRV_FIX_LEAKS = 1, BDRV_FIX_ERRORS = 2 } BdrvCheckMode;

typedef struct BdrvCheckResult {
    int64_t corruptions, leaks, check_errors;
    int64_t corruptions_fixed, leaks_fixed;
    int64_t image_end_offset;
    struct {
        int64_t allocated_clusters, total_clusters, compressed_clusters, fragmented_clusters;
    } bfi;
    /* Called with each finding, one line without newline, for a human; may be NULL. */
    void (*report)(void *opaque, const char *line);
    void *opaque;
} BdrvCheckResult;

/** Check @bs; @fix: BdrvCheckMode bits.  -ENOTSUP: the format has no check. */
int coroutine_fn bdrv_co_check(BlockDriverState *bs, BdrvCheckResult *res, int fix);

/* ---- compacting ------------------------------------------------------------------------------ */

/**
 * One step of making the file of @bs shorter: data of at most about @max_bytes at its end moves to
 * where the file has free space.  @bs is frozen meanwhile; a crash leaves the old image or the new.
 * Main thread, control lock held.  Returns the bytes by which the file got shorter, 0: there is
 * nothing left to gain; negative errno with @errp set.  *@left: bytes that later steps may gain,
 * nearly.
 */
int64_t coroutine_fn bdrv_co_compact(BlockDriverState *bs, int64_t max_bytes, int64_t *left,
                                     Error **errp);

#endif
