/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Reopen: other options for nodes in use, all of them or none.
 *
 * Everything happens in one freeze.  For each node: check which options change and whether they
 * may; let the driver prepare; put the new state in force with an undo step; then recompute claims
 * over all of them together, and only then commit.  Children that inherit follow their parents.
 */
#include "qemu/osdep.h"

#include "core-int.h"
#include "options.h"
#include "qapi/clone.h"
#include "qapi/gen/block-core-visit.h"
#include "qapi/object-output.h"
#include "qobject/flatten.h"
#include "qobject/qstring.h"

typedef struct Entry {
    BdrvReopenState state;
    QDict *wanted;          /* flat; own options and references to children */
    bool keep_old;
    BlockDriverState *parent; /* that options not given are inherited from, or NULL */
    BdrvChildRole role;
    bool prepared;
    bool names_backing, changes_backing;
    bool other_content;     /* "file" becomes a node that holds something else */
    BlockDriverState *new_backing, *new_file; /* referenced */
    QTAILQ_ENTRY(Entry) next;
} Entry;

struct BdrvReopenQueue {
    QTAILQ_HEAD(, Entry) entries; /* parents before their inheriting children */
};

/* ---- the queue ------------------------------------------------------------------------------- */

static void entry_free(Entry *entry)
{
    qobject_unref(entry->wanted);
    qobject_unref(entry->state.explicit_options);
    qapi_free_BlockdevOptions(entry->state.options);
    bdrv_unref(entry->new_backing);
    bdrv_unref(entry->new_file);
    bdrv_unref(entry->state.bs);
    g_free(entry);
}

void bdrv_reopen_queue_free(BdrvReopenQueue *queue)
{
    Entry *entry, *after;
    if (!queue) {
        return;
    }
    QTAILQ_FOREACH_SAFE(entry, &queue->entries, next, after) {
        entry_free(entry);
    }
    g_free(queue);
}

static Entry *queue_find(BdrvReopenQueue *queue, const BlockDriverState *bs)
{
    Entry *entry;
    QTAILQ_FOREACH(entry, &queue->entries, next) {
        if (entry->state.bs == bs) {
            return entry;
        }
    }
    return NULL;
}

static Entry *queue_add(BdrvReopenQueue *queue, BlockDriverState *bs, QDict *options)
{
    Entry *entry = g_new0(Entry, 1);
    entry->state.bs = bdrv_ref(bs);
    entry->wanted = options ? options : qdict_new();
    qdict_flatten(entry->wanted);
    QTAILQ_INSERT_TAIL(&queue->entries, entry, next);
    return entry;
}

BdrvReopenQueue *bdrv_reopen_queue(BdrvReopenQueue *queue, BlockDriverState *bs, QDict *options,
                                   bool keep_old_options)
{
    GLOBAL_STATE_CODE();
    if (!queue) {
        queue = g_new0(BdrvReopenQueue, 1);
        QTAILQ_INIT(&queue->entries);
    }
    Entry *entry = queue_find(queue, bs);
    if (entry) {
        /* Named twice: the later options win. */
        g_autoptr(QDict) more = options ? options : qdict_new();
        qdict_flatten(more);
        qdict_join(entry->wanted, more, true);
    } else {
        entry = queue_add(queue, bs, options);
    }
    entry->keep_old = keep_old_options;
    return queue;
}

/* Options given for a child within its parent's: they go to the child's own entry. */
static void move_child_options(BdrvReopenQueue *queue, Entry *entry, BdrvChild *child)
{
    g_autofree char *prefix = g_strdup_printf("%s.", child->name);
    QDict *options = NULL;
    qdict_extract_subqdict(entry->wanted, &options, prefix);
    if (qdict_size(options) == 0) {
        qobject_unref(options);
        return;
    }
    bdrv_reopen_queue(queue, child->bs, options, entry->keep_old);
}

/* Was @bs opened for @parent, as a part of its definition?  Others may use it, too. */
static bool is_heir(const BlockDriverState *bs, const BlockDriverState *parent)
{
    return bs->inherits && bs->heir_of == parent->number && bs->options;
}

/* Whoever inherits from a queued node, or is told about with it, is queued after it. */
static void queue_children(BdrvReopenQueue *queue)
{
    Entry *entry;
    QTAILQ_FOREACH(entry, &queue->entries, next) {
        BdrvChild *child;
        QLIST_FOREACH(child, &entry->state.bs->children, next) {
            BlockDriverState *below = child->bs;
            if (!is_heir(below, entry->state.bs)) {
                continue;
            }
            move_child_options(queue, entry, child);
            Entry *known = queue_find(queue, below);
            /* A backing node was opened read-only and stays so. */
            if (!known && child != entry->state.bs->backing) {
                known = queue_add(queue, below, NULL);
                known->keep_old = true;
            }
            if (known) {
                known->parent = entry->state.bs;
                known->role = child->role;
                /* Whoever asked named it first, perhaps. */
                QTAILQ_REMOVE(&queue->entries, known, next);
                QTAILQ_INSERT_TAIL(&queue->entries, known, next);
            }
        }
    }
}

/* ---- what changes ---------------------------------------------------------------------------- */

static void note_child(const OptionsChild *child, void *opaque)
{
    g_hash_table_add(opaque, (gpointer)child->name);
}

static bool is_child_key(const BlockDriverState *bs, const char *key)
{
    g_autoptr(GHashTable) children = g_hash_table_new(g_str_hash, g_str_equal);
    g_autofree char *first = g_strndup(key, strcspn(key, "."));
    options_foreach_child(bs->options->driver, note_child, children);
    return g_hash_table_contains(children, first);
}

static bool refuse(const char *key, Error **errp)
{
    error_setg(errp, "Cannot change the option '%s'", key);
    return false;
}

static bool refuse_driver(const BlockDriverState *bs, Error **errp)
{
    error_setg(errp, "Block format '%s' used by node '%s' does not support reopening files",
               bs->drv->format_name, bs->node_name);
    return false;
}

/* A filter that nobody asked for, as jobs put in, belongs to its job. */
static bool may_replace(const BlockDriverState *bs, const BdrvChild *child, Error **errp)
{
    if (child && child->bs->implicit) {
        error_setg(errp, "Cannot replace implicit %s child of %s", child->name, bs->node_name);
        return false;
    }
    return true;
}

/*
 * A child named otherwise than now: "backing" may be another node or none; "file" another one, of
 * which the metadata is read then, unless only filters in between come or go.
 */
static bool check_child_option(Entry *entry, const char *key, const QObject *value, Error **errp)
{
    BlockDriverState *bs = entry->state.bs;
    BdrvChild *child = graph_find_child(bs, key);
    const QString *string = qobject_to(QString, value);
    bool is_backing = strcmp(key, "backing") == 0;
    if (qobject_type(value) == QTYPE_QNULL && is_backing) {
        entry->changes_backing = bs->backing != NULL;
        return may_replace(bs, child, errp);
    }
    if (!string || (!is_backing && strcmp(key, "file") != 0)) {
        return refuse(key, errp);
    }
    BlockDriverState *new_bs = bdrv_find_node(qstring_get_str(string));
    if (!new_bs) {
        error_setg(errp, "Cannot find device='' nor node-name='%s'", qstring_get_str(string));
        return false;
    }
    if (child && (child->bs == new_bs || bdrv_skip_implicit_filters(child->bs) == new_bs)) {
        return true;
    }
    if (!may_replace(bs, child, errp)) {
        return false;
    }
    if (is_backing) {
        entry->changes_backing = true;
        entry->new_backing = bdrv_ref(new_bs);
        return true;
    }
    if (!child) {
        return refuse(key, errp);
    }
    bool is_other = bdrv_skip_filters(child->bs) != bdrv_skip_filters(new_bs);
    /* What a filter keeps, it keeps of its image. */
    if (is_other && bs->drv->is_filter && !bs->drv->bdrv_co_reopen_prepare) {
        return refuse_driver(bs, errp);
    }
    if (is_other && bs->inactive) {
        error_setg(errp, "Cannot change the file of node '%s' while it is inactive",
                   bs->node_name);
        return false;
    }
    entry->other_content = is_other;
    entry->state.other_file = is_other && (child->role & BDRV_CHILD_METADATA);
    if (entry->state.other_file && !bs->drv->bdrv_co_reopen_file) {
        return refuse(key, errp);
    }
    entry->new_file = bdrv_ref(new_bs);
    return true;
}

/* A child that has a name was asked for by its user; to leave it out would be to ask for none. */
static bool check_children_left_out(const Entry *entry, Error **errp)
{
    BlockDriverState *bs = entry->state.bs;
    BdrvChild *child;
    if (entry->keep_old) {
        return true;
    }
    QLIST_FOREACH(child, &bs->children, next) {
        if (child != bs->backing && child != bs->file && child->bs->node_name[0] != '#' &&
            !strchr(child->name, '.') && is_child_key(bs, child->name) &&
            !qdict_haskey(entry->wanted, child->name)) {
            error_setg(errp, "Option '%s' cannot be reset to its default value", child->name);
            return false;
        }
    }
    return true;
}

/* Take the options of children out of @wanted, checking them. */
static bool check_child_options(Entry *entry, Error **errp)
{
    if (!check_children_left_out(entry, errp)) {
        return false;
    }
    g_autoptr(QDict) keys = qdict_clone_shallow(entry->wanted);
    const QDictEntry *e;
    for (e = qdict_first(keys); e; e = qdict_next(keys, e)) {
        const char *key = qdict_entry_key(e);
        if (is_child_key(entry->state.bs, key)) {
            BdrvChild *child = graph_find_child(entry->state.bs, key);
            const char *name = qdict_get_try_str(keys, key);
            bool is_same = child && name && strcmp(child->bs->node_name, name) == 0;
            entry->names_backing |= strcmp(key, "backing") == 0;
            if (!is_same && !check_child_option(entry, key, qdict_entry_value(e), errp)) {
                return false;
            }
            qdict_del(entry->wanted, key);
        }
    }
    return true;
}

/* Does nobody rely on what @bs, below or itself the node that changes, holds now? */
static bool check_user(BlockDriverState *bs, Error **errp)
{
    BdrvChild *edge;
    /* Jobs, and overlays of a backing node. */
    if (bdrv_op_is_blocked(bs, BLOCK_OP_TYPE_CHANGE, errp)) {
        return false;
    }
    if (!QLIST_EMPTY(&bs->dirty_bitmaps)) {
        error_setg(errp, "Node '%s' has active dirty bitmaps", bs->node_name);
        return false;
    }
    QTAILQ_FOREACH(edge, &bs->parents, next_parent) {
        if (edge->parent && (edge->role & BDRV_CHILD_METADATA)) {
            error_setg(errp, "Node '%s' keeps its metadata in node '%s'",
                       edge->parent->node_name, bs->node_name);
            return false;
        }
    }
    return true;
}

/* Another file is like a write to all of @bs at once, which nobody above hears of. */
static bool check_users(BlockDriverState *bs, Error **errp)
{
    g_autoptr(GHashTable) seen = g_hash_table_new(NULL, NULL);
    g_autoptr(GPtrArray) above = g_ptr_array_new();
    g_ptr_array_add(above, bs);
    while (above->len) {
        BlockDriverState *node = g_ptr_array_steal_index_fast(above, above->len - 1);
        BdrvChild *edge;
        if (!g_hash_table_add(seen, node)) {
            continue;
        }
        if (!check_user(node, errp)) {
            return false;
        }
        QTAILQ_FOREACH(edge, &node->parents, next_parent) {
            if (edge->parent) {
                g_ptr_array_add(above, edge->parent);
            }
        }
    }
    return true;
}

static const char *const always_mutable[] = {
    "read-only", "auto-read-only", "cache.direct", "cache.no-flush", "discard", "detect-zeroes",
    "force-share", "active", NULL,
};

static bool is_listed(const char *const *list, const char *key)
{
    size_t len = strcspn(key, ".");
    for (; list && *list; list++) {
        if (strcmp(*list, key) == 0 || (strlen(*list) == len && !strncmp(*list, key, len))) {
            return true;
        }
    }
    return false;
}

static bool unchanged(const QDict *all, const char *key, const QObject *value)
{
    QObject *old = qdict_get(all, key);
    return old ? value && qobject_is_equal(old, value) : !value;
}

/* @new_own: the node's new options; whatever cannot change must be as it was. */
static bool check_immutable(BlockDriverState *bs, const QDict *new_own, Error **errp)
{
    const QDictEntry *e;
    /* A node that was not given a name has one all the same. */
    if (g_strcmp0(qdict_get_try_str(new_own, "node-name"), bs->node_name) != 0 &&
        qdict_haskey(new_own, "node-name")) {
        return refuse("node-name", errp);
    }
    for (e = qdict_first(new_own); e; e = qdict_next(new_own, e)) {
        const char *key = qdict_entry_key(e);
        if (!is_listed(always_mutable, key) && !is_listed(bs->drv->mutable_opts, key) &&
            strcmp(key, "node-name") != 0 &&
            !unchanged(bs->explicit_options, key, qdict_entry_value(e))) {
            return refuse(key, errp);
        }
    }
    for (e = qdict_first(bs->explicit_options); e; e = qdict_next(bs->explicit_options, e)) {
        const char *key = qdict_entry_key(e);
        if (!is_listed(always_mutable, key) && !is_listed(bs->drv->mutable_opts, key) &&
            strcmp(key, "node-name") != 0 && !qdict_haskey(new_own, key)) {
            error_setg(errp, "Option '%s' cannot be reset to its default value", key);
            return false;
        }
    }
    return true;
}

/* References of the children in force, so that the whole can be visited. */
static void put_references(BlockDriverState *bs, QDict *flat)
{
    BdrvChild *child;
    QLIST_FOREACH(child, &bs->children, next) {
        if (is_child_key(bs, child->name)) {
            qdict_put_str(flat, child->name, child->bs->node_name);
        }
    }
}

/* ---- prepare --------------------------------------------------------------------------------- */

/* Whether a node is active is not changed by the way: that takes locks and reads metadata again. */
static bool check_active_option(Entry *entry, Error **errp)
{
    bool active = !entry->state.bs->inactive;
    if (qdict_haskey(entry->wanted, "active") && entry->state.options->active != active) {
        refuse("active", errp);
        error_append_hint(errp, "blockdev-set-active does that.\n");
        return false;
    }
    entry->state.options->active = active;
    return true;
}

static bool new_options(Entry *entry, const BlockdevOptions *parent_options, Error **errp)
{
    BlockDriverState *bs = entry->state.bs;
    g_autoptr(QDict) own = qdict_clone_shallow(entry->wanted);
    if (entry->keep_old) {
        g_autoptr(QDict) old = qdict_clone_shallow(bs->explicit_options);
        qdict_join(own, old, false);
    }
    qdict_put_str(own, "driver", qdict_haskey(own, "driver") ? qdict_get_str(own, "driver")
                                                             : bs->drv->format_name);
    const char *driver = qdict_get_try_str(own, "driver");
    if (!driver || strcmp(driver, bs->drv->format_name) != 0) {
        return refuse("driver", errp);
    }
    options_add_encrypt_format(own, bs->drv);
    options_convert_sizes(own, bs->drv);
    if (!options_check_known(own, bs->drv, errp)) {
        return false;
    }
    g_autoptr(QDict) full = qdict_clone_shallow(own);
    put_references(bs, full);
    entry->state.options = options_from_dict(full, errp);
    if (!entry->state.options) {
        return false;
    }
    entry->state.explicit_options = options_to_own_dict(entry->state.options);
    if (!check_immutable(bs, entry->state.explicit_options, errp)) {
        return false;
    }
    /* What was never given stays as it is, or becomes the default. */
    options_complete(entry->state.options, parent_options, entry->role,
                     entry->keep_old ? bs->open_flags : BDRV_O_RDWR);
    if (!options_check(entry->state.options, errp) ||
        !whitelist_apply(bs->drv, entry->state.options, errp) ||
        !check_active_option(entry, errp)) {
        return false;
    }
    entry->state.flags = options_to_flags(entry->state.options) |
                         (bs->open_flags & (BDRV_O_NO_BACKING | BDRV_O_NO_IO | BDRV_O_CHECK |
                                            BDRV_O_NATIVE_AIO | BDRV_O_IO_URING));
    return true;
}

typedef struct StateUndo {
    Entry *entry;
    bool read_only, force_share;
    int open_flags;
    BlockdevDetectZeroesOptions detect_zeroes;
    BlockdevOptions *options;
} StateUndo;

static void state_commit(void *opaque)
{
    StateUndo *undo = opaque;
    BdrvReopenState *state = &undo->entry->state;
    BlockDriverState *bs = state->bs;
    qapi_free_BlockdevOptions(undo->options);
    qobject_unref(bs->explicit_options);
    bs->explicit_options = g_steal_pointer(&state->explicit_options);
    if (undo->entry->prepared && bs->drv->bdrv_reopen_commit) {
        bs->drv->bdrv_reopen_commit(state);
    }
}

static void state_abort(void *opaque)
{
    StateUndo *undo = opaque;
    BdrvReopenState *state = &undo->entry->state;
    BlockDriverState *bs = state->bs;
    /* The new options go back to the entry, which frees them. */
    state->options = bs->options;
    bs->options = undo->options;
    bs->read_only = undo->read_only;
    bs->force_share = undo->force_share;
    bs->open_flags = undo->open_flags;
    bs->detect_zeroes = undo->detect_zeroes;
    if (undo->entry->prepared && bs->drv->bdrv_reopen_abort) {
        bs->drv->bdrv_reopen_abort(state);
    }
}

static void state_clean(void *opaque)
{
    StateUndo *undo = opaque;
    undo->entry->state.bs->becomes_read_only = false;
    g_free(undo);
}

static const TransactionActionDrv state_step = {
    .commit = state_commit,
    .abort = state_abort,
    .clean = state_clean,
};

static bool coroutine_fn check_entry(Entry *entry, Error **errp)
{
    BlockDriverState *bs = entry->state.bs;
    if (!bs->options) {
        error_setg(errp, "Node '%s' has no options that could be changed", bs->node_name);
        return false;
    }
    return check_child_options(entry, errp) &&
           (!entry->other_content || check_users(bs, errp));
}

static bool coroutine_fn prepare_entry(Transaction *tran, Entry *entry, Error **errp)
{
    BlockDriverState *bs = entry->state.bs;
    const BlockdevOptions *parent_options = entry->parent ? entry->parent->options : NULL;
    if (!new_options(entry, parent_options, errp)) {
        return false;
    }
    /* Nobody may write any more: what was written must be safe first. */
    if (entry->state.options->read_only && !bs->read_only && bdrv_co_flush(bs) < 0) {
        error_setg(errp, "Error flushing drive");
        return false;
    }
    if (!bs->drv->bdrv_co_reopen_prepare && !bs->drv->is_filter) {
        return refuse_driver(bs, errp);
    }
    if (bs->drv->bdrv_co_reopen_prepare) {
        if (!bs->drv->bdrv_co_reopen_prepare(&entry->state, errp)) {
            return false;
        }
        entry->prepared = true;
    }
    StateUndo *undo = g_new(StateUndo, 1);
    *undo = (StateUndo) {
        .entry = entry,
        .read_only = bs->read_only,
        .force_share = bs->force_share,
        .open_flags = bs->open_flags,
        .detect_zeroes = bs->detect_zeroes,
        .options = bs->options,
    };
    bs->options = g_steal_pointer(&entry->state.options);
    bs->becomes_read_only = bs->options->read_only && !bs->read_only;
    bs->read_only = bs->options->read_only;
    bs->force_share = bs->options->force_share;
    bs->detect_zeroes = bs->options->detect_zeroes;
    bs->open_flags = entry->state.flags;
    tran_add(tran, &state_step, undo);
    return true;
}

static bool prepare_links(Transaction *tran, Entry *entry, Error **errp)
{
    BlockDriverState *bs = entry->state.bs;
    if (entry->new_file &&
        (!graph_may_change(bs->file, errp) ||
         !graph_repoint(tran, bs->file, entry->new_file, errp))) {
        return false;
    }
    if (!entry->changes_backing) {
        return true;
    }
    if (bs->backing) {
        if (!graph_may_change(bs->backing, errp)) {
            return false;
        }
        graph_unlink(tran, bs->backing);
    }
    BdrvChildSpec spec = { .name = "backing", .role = BDRV_CHILD_COW, .parent = bs };
    return !entry->new_backing || graph_link(tran, &spec, entry->new_backing, errp);
}

/* Nodes whose edges change: those to be reopened, and the children they lose and gain. */
static void collect_touched(const Entry *entry, GPtrArray *nodes)
{
    const BlockDriverState *bs = entry->state.bs;
    g_ptr_array_add(nodes, entry->state.bs);
    if (bs->backing) {
        g_ptr_array_add(nodes, bs->backing->bs);
    }
    if (bs->file) {
        g_ptr_array_add(nodes, bs->file->bs);
    }
    if (entry->new_backing) {
        g_ptr_array_add(nodes, entry->new_backing);
    }
    if (entry->new_file) {
        g_ptr_array_add(nodes, entry->new_file);
    }
}

/* What is cached belongs to the old file. */
static bool coroutine_fn write_back_files(BdrvReopenQueue *queue, Error **errp)
{
    Entry *entry;
    QTAILQ_FOREACH(entry, &queue->entries, next) {
        BlockDriverState *bs = entry->state.bs;
        if (!entry->new_file || bs->inactive) {
            continue;
        }
        int ret = bs->drv->bdrv_co_inactivate ? bs->drv->bdrv_co_inactivate(bs) : 0;
        if (ret >= 0) {
            ret = bdrv_co_flush(bs);
        }
        if (ret < 0) {
            error_setg_errno(errp, -ret, "Could not write back what node '%s' holds of its file",
                             bs->node_name);
            return false;
        }
    }
    return true;
}

/* Without the backing node that its header names, an image would show zeroes for its content. */
static bool check_backing(const Entry *entry, Error **errp)
{
    const BlockDriverState *bs = entry->state.bs;
    if (bs->backing_file && *bs->backing_file && !bs->backing && !entry->names_backing) {
        error_setg(errp, "backing is missing for '%s'", bs->node_name);
        return false;
    }
    return true;
}

/* Last of all: the locks on the new files are held, so nobody changes what is read. */
static bool coroutine_fn read_new_files(BdrvReopenQueue *queue, Error **errp)
{
    Entry *entry;
    QTAILQ_FOREACH(entry, &queue->entries, next) {
        BlockDriverState *bs = entry->state.bs;
        if (!entry->state.other_file) {
            continue;
        }
        if (!bs->drv->bdrv_co_reopen_file(&entry->state, errp)) {
            error_prepend(errp, "Could not change the file of node '%s': ", bs->node_name);
            return false;
        }
        if (!check_backing(entry, errp)) {
            return false;
        }
    }
    return true;
}

static bool coroutine_fn prepare_all(BdrvReopenQueue *queue, Transaction *tran, GPtrArray *nodes,
                                     Error **errp)
{
    Entry *entry;
    QTAILQ_FOREACH(entry, &queue->entries, next) {
        collect_touched(entry, nodes);
        if (!prepare_links(tran, entry, errp) || !prepare_entry(tran, entry, errp)) {
            return false;
        }
    }
    return claims_co_refresh(tran, (BlockDriverState *const *)nodes->pdata, nodes->len, errp) &&
           read_new_files(queue, errp);
}

static bool coroutine_fn check_all(BdrvReopenQueue *queue, Error **errp)
{
    Entry *entry;
    queue_children(queue);
    QTAILQ_FOREACH(entry, &queue->entries, next) {
        if (!check_entry(entry, errp)) {
            return false;
        }
    }
    return true;
}

static bool coroutine_fn change_all(BdrvReopenQueue *queue, Error **errp)
{
    g_autoptr(GPtrArray) nodes = g_ptr_array_new();
    g_autoptr(GPtrArray) touched = g_ptr_array_new();
    Entry *entry;
    QTAILQ_FOREACH(entry, &queue->entries, next) {
        g_ptr_array_add(nodes, entry->state.bs);
    }
    g_autoptr(BdrvFreeze) freeze =
        bdrv_co_freeze((BlockDriverState *const *)nodes->pdata, nodes->len);
    if (!write_back_files(queue, errp)) {
        return false;
    }
    Transaction *tran = tran_new();
    if (!graph_finish(tran, prepare_all(queue, tran, touched, errp))) {
        return false;
    }
    QTAILQ_FOREACH(entry, &queue->entries, next) {
        bdrv_refresh_limits(entry->state.bs);
        bdrv_co_refresh_length(entry->state.bs);
        bdrv_refresh_filename(entry->state.bs);
    }
    return true;
}

bool coroutine_fn bdrv_co_reopen_multiple(BdrvReopenQueue *queue, Error **errp)
{
    CONTROL_PATH();
    bool ok = check_all(queue, errp) && change_all(queue, errp);
    bdrv_reopen_queue_free(queue);
    return ok;
}

bool coroutine_fn bdrv_co_reopen(BlockDriverState *bs, QDict *options, bool keep_old_options,
                                 Error **errp)
{
    BdrvReopenQueue *queue = bdrv_reopen_queue(NULL, bs, options, keep_old_options);
    return bdrv_co_reopen_multiple(queue, errp);
}

bool coroutine_fn bdrv_co_reopen_set_read_only(BlockDriverState *bs, bool read_only, Error **errp)
{
    QDict *options = qdict_new();
    qdict_put_bool(options, "read-only", read_only);
    return bdrv_co_reopen(bs, options, true, errp);
}
