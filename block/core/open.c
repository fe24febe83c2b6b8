/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Opening: from what the user said to a node with everything below it.
 *
 *   resolve.c   name and dict -> BlockdevOptions, guessing what was left out
 *   open_node   BlockdevOptions -> one node with its non-backing children
 *   open_chain  the backing nodes, one after the other, then linked from the bottom up
 */
#include "qemu/osdep.h"

#include "core-int.h"
#include "options.h"
#include "qapi/clone.h"
#include "resolve.h"

/* Inline definitions within definitions; the stack of a coroutine bears that many. */
#define MAX_NESTING 40
#define MAX_CHAIN 10000

typedef struct OpenArgs {
    BlockDriverState *parent; /* above the edge the node is opened for, or NULL */
    const BlockdevOptions *parent_options; /* of a parent still to come, or NULL */
    BdrvChildRole role;
    int flags;     /* BDRV_O_*, for what has no option, and as defaults without @parent */
    bool inherits;
    bool probed;
    GHashTable *guessed; /* as in OpenPlace */
    const char *path;
    QDict *pending_backing;   /* borrowed, or NULL */
} OpenArgs;

/* ---- finding --------------------------------------------------------------------------------- */

BlockDriverState *bdrv_lookup(const char *name, Error **errp)
{
    BlockDriverState *bs;
    QTAILQ_FOREACH(bs, &bdrv_graph()->nodes, next_node) {
        BdrvChild *edge;
        QTAILQ_FOREACH(edge, &bs->parents, next_parent) {
            const char *device = edge->gate && edge->gate->ops->name
                ? edge->gate->ops->name(edge->gate) : NULL;
            if (device && *device && strcmp(device, name) == 0) {
                return bdrv_skip_implicit_filters(bs);
            }
        }
    }
    bs = bdrv_find_node(name);
    if (!bs) {
        error_setg(errp, "Cannot find device='%s' nor node-name='%s'", name, name);
    }
    return bs;
}

/* ---- one node -------------------------------------------------------------------------------- */

/* Flags without an option that hold for what is below, too. */
static int inherited_flags(int flags, BdrvChildRole role)
{
    flags &= BDRV_O_NO_IO | BDRV_O_CHECK | BDRV_O_NATIVE_AIO | BDRV_O_IO_URING;
    if (role & BDRV_CHILD_METADATA) {
        flags &= ~BDRV_O_NO_IO; /* the metadata must be read */
    }
    if (role & BDRV_CHILD_COW) {
        flags &= ~BDRV_O_CHECK;
    }
    return flags;
}

static int nesting_of(const BlockDriverState *bs)
{
    int depth = 0;
    for (; bs; bs = bs->opening ? bs->opening->parent : NULL) {
        depth++;
    }
    return depth;
}

/* A driver that failed to open has freed what it had; one that succeeded is closed as ever. */
static void discard_failed_node(BlockDriverState *bs)
{
    if (!bs->opened) {
        bs->drv = NULL;
    }
    bs->opening = NULL;
    bdrv_unref(bs);
}

/* The length as of now; nobody sees the node yet, so nobody is told. */
static bool coroutine_fn set_first_length(BlockDriverState *bs, Error **errp)
{
    int64_t bytes = bs->total_bytes;
    BlockDriverState *filtered = bdrv_filter_bs(bs);
    if (bs->drv->bdrv_co_getlength) {
        bytes = bs->drv->bdrv_co_getlength(bs);
    } else if (filtered && !bytes) {
        bytes = bdrv_getlength(filtered);
    }
    if (bytes > BDRV_MAX_LENGTH) {
        bytes = -EFBIG;
    }
    if (bytes < 0 && bytes != -ENOMEDIUM) {
        error_setg_errno(errp, -bytes, "Could not refresh total sector count");
        return false;
    }
    bs->total_bytes = bytes < 0 ? 0 : QEMU_ALIGN_UP(bytes, BDRV_SECTOR_SIZE);
    return true;
}

static bool coroutine_fn driver_open(BlockDriverState *bs, Error **errp)
{
    Error *local_err = NULL;
    if (!bs->drv->bdrv_co_open(bs, bs->options, bs->open_flags, &local_err)) {
        if (!local_err) {
            error_setg(&local_err, "Could not open node '%s'", bs->node_name);
        }
        error_propagate(errp, local_err);
        return false;
    }
    bs->opened = true;
    bdrv_refresh_limits(bs);
    if (!set_first_length(bs, errp)) {
        return false;
    }
    bdrv_refresh_limits(bs);
    /* What open found out (read-only, encryption) may change what it needs below. */
    return bdrv_co_refresh_claims(bs, errp);
}

char *open_path_below(const char *path, const char *name)
{
    return path ? g_strconcat(path, ".", name, NULL) : g_strdup(name);
}

/* Was the format of the node that @args are for guessed? */
static bool was_guessed(const OpenArgs *args)
{
    return args->probed ||
           (args->guessed && args->path && g_hash_table_contains(args->guessed, args->path));
}

/* @options: taken, may be incomplete. */
static BlockDriverState *coroutine_fn open_node(BlockdevOptions *options, const OpenArgs *args,
                                                Error **errp)
{
    g_autoptr(BlockdevOptions) opts = options;
    BlockDriver *drv = bdrv_find_format(BlockdevDriver_str(opts->driver));
    if (!drv) {
        error_setg(errp, "Unknown driver '%s'", BlockdevDriver_str(opts->driver));
        return NULL;
    }
    if (nesting_of(args->parent) > MAX_NESTING) {
        error_setg(errp, "Block nodes are nested more than %d levels deep in one definition",
                   MAX_NESTING);
        return NULL;
    }
    g_autoptr(QDict) explicit_options = options_to_own_dict(opts);
    /* A parent made without options (a job's filter) hands down its flags. */
    options_complete(opts, args->parent ? args->parent->options : args->parent_options, args->role,
                     args->parent ? args->parent->open_flags : args->flags);
    if (!options_check(opts, errp) || !whitelist_apply(drv, opts, errp)) {
        return NULL;
    }
    BlockDriverState *bs = bdrv_new_node(opts->node_name, errp);
    if (!bs) {
        return NULL;
    }
    bs->drv = drv;
    bs->opaque = g_malloc0(drv->instance_size);
    bs->explicit_options = g_steal_pointer(&explicit_options);
    bs->options = g_steal_pointer(&opts);
    bs->read_only = bs->options->read_only;
    bs->force_share = bs->options->force_share;
    bs->detect_zeroes = bs->options->detect_zeroes;
    bs->inactive = !bs->options->active;
    bs->inherits = args->inherits;
    bs->probed = was_guessed(args);
    bs->pending_backing_options = qobject_ref(args->pending_backing);
    bs->open_flags = options_to_flags(bs->options) |
                     (args->flags & (BDRV_O_NO_BACKING | BDRV_O_NO_IO | BDRV_O_CHECK |
                                     BDRV_O_NATIVE_AIO | BDRV_O_IO_URING));
    OpenPlace place = { .parent = args->parent, .path = args->path, .guessed = args->guessed };
    bs->opening = &place;
    if (!driver_open(bs, errp)) {
        discard_failed_node(bs);
        return NULL;
    }
    bs->opening = NULL;
    bdrv_refresh_filename(bs);
    bdrv_publish_node(bs);
    return bs;
}

/* ---- the backing chain ----------------------------------------------------------------------- */

bool coroutine_fn bdrv_co_open_backing(BlockDriverState *bs, const BlockdevRefOrNull *ref,
                                       Error **errp)
{
    if (!(bs->open_flags & BDRV_O_NO_BACKING)) {
        bs->wants_backing = true;
        bs->backing_ref = ref ? QAPI_CLONE(BlockdevRefOrNull, ref) : NULL;
    }
    return true;
}

/*
 * A file that was met before on the way down, each time found by the name in an image, is a loop.
 */
static bool check_chain(BlockDriverState *bs, const char *name, GHashTable *names, Error **errp)
{
    if (g_hash_table_size(names) >= MAX_CHAIN) {
        error_setg(errp, "Backing chain has more than %d images", MAX_CHAIN);
        return false;
    }
    if (g_hash_table_contains(names, name)) {
        error_setg(errp, "Backing file '%s' creates an infinite loop.", name);
        return false;
    }
    return true;
}

/*
 * The node that the image header and incomplete backing.* options name; not an error if none does.
 */
/* Do options of the user's say what the backing file is, so that the image's word for it is not? */
static bool names_storage(const QDict *options)
{
    const char *driver = qdict_get_try_str(options, "driver");
    BlockDriver *drv = driver ? bdrv_find_format(driver) : NULL;
    return (drv && drv->is_protocol) || qdict_haskey(options, "filename") ||
           qdict_haskey(options, "file") || qdict_haskey(options, "file.filename") ||
           qdict_haskey(options, "file.driver");
}

static BlockDriverState *coroutine_fn open_backing_by_name(BlockDriverState *bs, GHashTable *names,
                                                           Error **errp)
{
    g_autoptr(QDict) options = qobject_ref(bs->pending_backing_options);
    g_autofree char *name = NULL;
    bool is_pure = !options;
    if (!options) {
        options = qdict_new();
    }
    if (!names_storage(options) && bs->backing_file && *bs->backing_file) {
        name = bdrv_get_full_backing_filename(bs, errp);
        if (!name || (is_pure && !check_chain(bs, name, names, errp))) {
            return NULL;
        }
        if (bs->backing_format && *bs->backing_format && !qdict_haskey(options, "driver")) {
            qdict_put_str(options, "driver", bs->backing_format);
        }
    }
    if (!name && qdict_size(options) == 0) {
        return NULL;
    }
    int flags = inherited_flags(bs->open_flags, BDRV_CHILD_COW);
    g_autoptr(Resolved) res = resolve_co_options(name, options, flags, bs->options,
                                                 BDRV_CHILD_COW, errp);
    if (!res) {
        return NULL;
    }
    OpenArgs args = {
        .parent = bs,
        .role = BDRV_CHILD_COW,
        .flags = flags,
        .inherits = true,
        .probed = res->probed,
        .guessed = res->guessed,
        .pending_backing = res->pending_backing,
    };
    BlockDriverState *backing = open_node(g_steal_pointer(&res->options), &args, errp);
    if (backing && is_pure) {
        /* What the name in the image leads to need not be called so ("nbd:..." and nbd://...). */
        g_free(bs->auto_backing_file);
        bs->auto_backing_file = g_strdup(bdrv_get_filename(backing));
    }
    return backing;
}

/* The next node down, opened but without its own backing; @is_known: it was there before. */
static bool coroutine_fn open_next(BlockDriverState *bs, const OpenPlace *place, GHashTable *names,
                                   BlockDriverState **next, bool *is_known, Error **errp)
{
    const BlockdevRefOrNull *ref = bs->backing_ref;
    Error *local_err = NULL;
    *next = NULL;
    *is_known = false;
    if (!bs->auto_backing_file) {
        bs->auto_backing_file = bdrv_get_full_backing_filename(bs, NULL);
    }
    if (!bs->wants_backing || (ref && ref->type == QTYPE_QNULL)) {
        return true;
    }
    if (ref && ref->type == QTYPE_QSTRING && !*ref->u.reference) {
        warn_report("Use of \"backing\": \"\" is deprecated; use \"backing\": null instead");
        return true;
    }
    if (ref && ref->type == QTYPE_QSTRING) {
        BlockDriverState *known = bdrv_lookup(ref->u.reference, &local_err);
        *next = known ? bdrv_ref(known) : NULL;
        *is_known = true;
    } else if (ref) {
        OpenArgs args = {
            .parent = bs,
            .role = BDRV_CHILD_COW,
            .flags = inherited_flags(bs->open_flags, BDRV_CHILD_COW),
            .inherits = true,
            .guessed = place->guessed,
            .path = place->path,
        };
        *next = open_node(QAPI_CLONE(BlockdevOptions, &ref->u.definition), &args, &local_err);
    } else {
        *next = open_backing_by_name(bs, names, &local_err);
    }
    if (local_err) {
        /* A node named by the user needs no explanation; one named by an image does. */
        if (*is_known) {
            error_propagate(errp, local_err);
        } else {
            error_propagate_prepend(errp, local_err, "Could not open backing file: ");
        }
        return false;
    }
    return true;
}

static void end_open(BlockDriverState *bs)
{
    bs->wants_backing = false;
    g_clear_pointer(&bs->backing_ref, qapi_free_BlockdevRefOrNull);
    g_clear_pointer(&bs->pending_backing_options, qdict_unref);
}

static bool coroutine_fn link_chain(GPtrArray *chain, Error **errp)
{
    for (unsigned i = chain->len - 1; i > 0; i--) {
        BlockDriverState *upper = g_ptr_array_index(chain, i - 1);
        BlockDriverState *lower = g_ptr_array_index(chain, i);
        BdrvChildSpec spec = { .name = "backing", .role = BDRV_CHILD_COW, .parent = upper };
        if (upper->drv->is_filter) {
            spec.role = BDRV_CHILD_FILTERED | BDRV_CHILD_PRIMARY;
        }
        if (!bdrv_co_attach_child(&spec, bdrv_ref(lower), errp)) {
            return false;
        }
    }
    return true;
}

static void unref_node(gpointer node)
{
    bdrv_unref(node);
}

/* Open and link all backing nodes below @top, which is at @args' place. */
static bool coroutine_fn open_chain(BlockDriverState *top, const OpenArgs *args, Error **errp)
{
    g_autofree char *path = g_strdup(args->path);
    g_autoptr(GPtrArray) chain = g_ptr_array_new_with_free_func(unref_node);
    g_autoptr(GHashTable) names = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);
    BlockDriverState *bs = top, *next;
    bool is_known = false, ok = true;
    g_ptr_array_add(chain, bdrv_ref(top));
    while (ok && !is_known) {
        g_hash_table_add(names, g_strdup(bdrv_get_filename(bs)));
        if (bs->backing_ref) {
            char *below = open_path_below(path, "backing");
            g_free(path);
            path = below;
        }
        OpenPlace place = { .path = path, .guessed = args->guessed };
        ok = open_next(bs, &place, names, &next, &is_known, errp);
        end_open(bs);
        if (!next) {
            break;
        }
        g_ptr_array_add(chain, next);
        bs = next;
    }
    if (!ok || !link_chain(chain, errp)) {
        return false;
    }
    /* From the bottom up: an upper name depends on whether the lower one is as expected. */
    for (unsigned i = chain->len; i > 0; i--) {
        bdrv_refresh_filename(g_ptr_array_index(chain, i - 1));
    }
    return true;
}

static BlockDriverState *coroutine_fn open_tree(BlockdevOptions *options, const OpenArgs *args,
                                                Error **errp)
{
    BlockDriverState *bs = open_node(options, args, errp);
    if (bs && !open_chain(bs, args, errp)) {
        bdrv_unref(bs);
        return NULL;
    }
    return bs;
}

/* ---- for drivers ----------------------------------------------------------------------------- */

BdrvChild *coroutine_fn bdrv_co_open_child(BlockDriverState *bs, const char *name,
                                           BdrvChildRole role, const BlockdevRef *ref,
                                           bool allow_none, Error **errp)
{
    BlockDriverState *child;
    if (!ref) {
        if (!allow_none) {
            error_setg(errp, "A block device must be specified for \"%s\"", name);
        }
        return NULL;
    }
    if (ref->type == QTYPE_QSTRING) {
        child = bdrv_lookup(ref->u.reference, errp);
        if (child) {
            bdrv_ref(child);
        }
    } else {
        g_autofree char *path = open_path_below(bs->opening ? bs->opening->path : NULL, name);
        OpenArgs args = {
            .parent = bs,
            .role = role,
            .flags = inherited_flags(bs->open_flags, role),
            .inherits = true,
            .guessed = bs->opening ? bs->opening->guessed : NULL,
            .path = path,
        };
        child = open_tree(QAPI_CLONE(BlockdevOptions, &ref->u.definition), &args, errp);
    }
    if (!child) {
        return NULL;
    }
    BdrvChildSpec spec = { .name = name, .role = role, .parent = bs };
    return bdrv_co_attach_child(&spec, child, errp);
}

bool coroutine_fn bdrv_co_open_file_child(BlockDriverState *bs, const BlockdevRef *ref,
                                          Error **errp)
{
    BdrvChildRole role = BDRV_CHILD_PRIMARY |
                         (bs->drv->is_filter ? BDRV_CHILD_FILTERED : BDRV_CHILD_IMAGE);
    return bdrv_co_open_child(bs, "file", role, ref, false, errp) != NULL;
}

BlockDriverState *coroutine_fn open_co_future_child(BlockdevOptions *options,
                                                    const BlockdevOptions *parent_options,
                                                    BdrvChildRole role, int flags,
                                                    const OpenPlace *place, Error **errp)
{
    OpenArgs args = {
        .parent_options = parent_options,
        .role = role,
        .flags = inherited_flags(flags, role),
        .inherits = true,
        .guessed = place->guessed,
        .path = place->path,
    };
    return open_tree(options, &args, errp);
}

/* ---- public entrances ------------------------------------------------------------------------ */

static BlockDriverState *open_reference(const char *reference, const char *filename,
                                        const QDict *options, Error **errp)
{
    if (filename || (options && qdict_size(options))) {
        error_setg(errp, "Cannot reference an existing block device with additional options or a "
                   "new filename");
        return NULL;
    }
    BlockDriverState *bs = bdrv_lookup(reference, errp);
    return bs ? bdrv_ref(bs) : NULL;
}

static BlockDriverState *coroutine_fn open_with_copy_on_read(const char *filename, QDict *options,
                                                             int flags, Error **errp)
{
    BlockDriver *drv = bdrv_find_format("copy-on-read");
    if (!(flags & BDRV_O_RDWR)) {
        error_setg(errp, "Can't use copy-on-read on read-only device");
        qobject_unref(options);
        return NULL;
    }
    g_autoptr(BlockDriverState) below = bdrv_co_open(filename, NULL, options, flags, errp);
    return below ? bdrv_co_open_implicit_filter(drv, below, errp) : NULL;
}

BlockDriverState *coroutine_fn bdrv_co_open(const char *filename, const char *reference,
                                            QDict *options, int flags, Error **errp)
{
    CONTROL_PATH();
    g_autoptr(QDict) opts = options ? options : qdict_new();
    if (reference) {
        return open_reference(reference, filename, opts, errp);
    }
    if (flags & BDRV_O_COPY_ON_READ) {
        return open_with_copy_on_read(filename, g_steal_pointer(&opts),
                                      flags & ~BDRV_O_COPY_ON_READ, errp);
    }
    if (flags & BDRV_O_SNAPSHOT) {
        return open_co_temporary_overlay(filename, g_steal_pointer(&opts), flags, errp);
    }
    g_autoptr(Resolved) res = resolve_co_options(filename, opts, flags, NULL, 0, errp);
    if (!res) {
        return NULL;
    }
    OpenArgs args = {
        .flags = flags,
        .probed = res->probed,
        .guessed = res->guessed,
        .pending_backing = res->pending_backing,
    };
    return open_tree(g_steal_pointer(&res->options), &args, errp);
}

BlockDriverState *coroutine_fn bdrv_co_open_blockdev(const BlockdevOptions *options, int flags,
                                                     Error **errp)
{
    CONTROL_PATH();
    OpenArgs args = { .flags = flags | BDRV_O_RDWR };
    return open_tree(QAPI_CLONE(BlockdevOptions, options), &args, errp);
}

BlockDriverState *coroutine_fn bdrv_co_open_driver(BlockDriver *drv, const char *node_name,
                                                   int flags, Error **errp)
{
    CONTROL_PATH();
    BlockDriverState *bs = bdrv_new_node(node_name, errp);
    if (!bs) {
        return NULL;
    }
    bs->drv = drv;
    bs->opaque = g_malloc0(drv->instance_size);
    bs->explicit_options = qdict_new();
    bs->open_flags = flags;
    bs->read_only = !(flags & BDRV_O_RDWR);
    if (drv->bdrv_co_open && !driver_open(bs, errp)) {
        discard_failed_node(bs);
        return NULL;
    }
    bs->opened = true;
    bdrv_publish_node(bs);
    return bs;
}

BlockDriverState *coroutine_fn bdrv_co_open_implicit_filter(BlockDriver *drv,
                                                            BlockDriverState *below, Error **errp)
{
    CONTROL_PATH();
    int flags = below->open_flags & (BDRV_O_RDWR | BDRV_O_UNMAP | BDRV_O_NOCACHE |
                                     BDRV_O_NO_FLUSH);
    g_autoptr(BlockDriverState) bs = bdrv_co_open_driver(drv, NULL, flags, errp);
    BdrvChildSpec spec = {
        .name = "file",
        .role = BDRV_CHILD_FILTERED | BDRV_CHILD_PRIMARY,
        .parent = bs,
    };
    if (!bs) {
        return NULL;
    }
    bs->implicit = true;
    bs->read_only = below->read_only;
    if (!bdrv_co_attach_child(&spec, bdrv_ref(below), errp)) {
        return NULL;
    }
    bdrv_refresh_limits(bs);
    bdrv_co_refresh_length(bs);
    return g_steal_pointer(&bs);
}
