/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Resolving names and dicts into BlockdevOptions, level by level:
 *
 *   name given, driver a format or unknown:  the name is that of its "file" child
 *   protocol wanted, driver unknown:         the driver follows from the name
 *   format wanted, driver unknown:           the file is opened and its start is looked at
 *
 * A level is a flat dict; options of children have the child's name and a dot in front.
 */
#include "qemu/osdep.h"

#include "core-int.h"
#include "options.h"
#include "qobject/flatten.h"
#include "qobject/json-parser.h"
#include "resolve.h"
#include "qemu/cutils.h"

#define MAX_LEVELS 40

typedef struct Level {
    int flags;                     /* with BDRV_O_PROTOCOL if a protocol is wanted */
    const BlockdevOptions *parent; /* completed, or NULL */
    BdrvChildRole role;
    int depth;
    const char *path; /* keys that lead here from the top, with dots; NULL: the top */
} Level;

void resolved_free(Resolved *res)
{
    if (res) {
        qapi_free_BlockdevOptions(res->options);
        qobject_unref(res->pending_backing);
        g_ptr_array_free(res->held, TRUE);
        g_hash_table_unref(res->guessed);
        g_free(res);
    }
}

static void unref_node(gpointer node)
{
    bdrv_unref(node);
}

static bool coroutine_fn resolve_level(Resolved *res, const char *filename, QDict *flat,
                                       const Level *level, Error **errp);

/* ---- names ----------------------------------------------------------------------------------- */

static bool has_protocol_prefix(const char *filename)
{
    return filename[strcspn(filename, ":/")] == ':';
}

static BlockDriver *find_device_driver(const char *filename)
{
    BlockDriver *best = NULL;
    int best_score = 0;
    for (BlockDriver *const *drv = bdrv_driver_table(); *drv; drv++) {
        int score = (*drv)->bdrv_probe_device ? (*drv)->bdrv_probe_device(filename) : 0;
        if (score > best_score) {
            best_score = score;
            best = *drv;
        }
    }
    return best;
}

BlockDriver *bdrv_find_protocol(const char *filename, bool allow_protocol_prefix, Error **errp)
{
    BlockDriver *device = find_device_driver(filename);
    if (device) {
        return device;
    }
    if (!allow_protocol_prefix || !has_protocol_prefix(filename)) {
        BlockDriver *file = bdrv_find_format("file");
        if (!file) {
            error_setg(errp, "Unknown protocol 'file'");
        }
        return file;
    }
    g_autofree char *protocol = g_strndup(filename, strcspn(filename, ":"));
    for (BlockDriver *const *drv = bdrv_driver_table(); *drv; drv++) {
        if ((*drv)->protocol_name && strcmp((*drv)->protocol_name, protocol) == 0) {
            return *drv;
        }
    }
    error_setg(errp, "Unknown protocol '%s'", protocol);
    return NULL;
}

/* json:{...}: its keys join those given beside it, which win. */
static bool absorb_json_name(const char *filename, QDict *flat, Error **errp)
{
    Error *local_err = NULL;
    g_autoptr(QObject) json = qobject_from_json(filename + strlen("json:"), &local_err);
    if (!json) {
        error_propagate_prepend(errp, local_err, "Could not parse the JSON options: ");
        return false;
    }
    QDict *dict = qobject_to(QDict, json);
    if (!dict) {
        error_setg(errp, "Invalid JSON object given");
        return false;
    }
    qdict_flatten(dict);
    qdict_join(flat, dict, false);
    return true;
}

/* ---- guessing the format --------------------------------------------------------------------- */

BlockDriver *bdrv_probe_all(const uint8_t *buf, size_t len, const char *filename)
{
    BlockDriver *best = bdrv_find_format("raw");
    int best_score = 0;
    for (BlockDriver *const *drv = bdrv_driver_table(); *drv; drv++) {
        int score = (*drv)->bdrv_probe ? (*drv)->bdrv_probe(buf, len, filename) : 0;
        if (score > best_score) {
            best_score = score;
            best = *drv;
        }
    }
    return best;
}

/* False with @errp set if it cannot be read. */
static bool coroutine_fn read_start(BlockDriverState *file, uint8_t *buf, int len, Error **errp)
{
    TemporaryUser *user = temporary_user_co_new(file, "image format probing", 0, errp);
    if (!user) {
        return false;
    }
    int ret = bdrv_co_pread(temporary_user_co_enter(user), 0, len, buf, 0);
    temporary_user_leave(user);
    temporary_user_co_free(user);
    if (ret < 0) {
        error_setg_errno(errp, -ret, "Could not read image for determining its format");
    }
    return ret >= 0;
}

static BlockDriver *coroutine_fn probe_format(BlockDriverState *file, Error **errp)
{
    int len = MIN(bdrv_getlength(file), BDRV_PROBE_BYTES);
    BlockDriver *drv;
    if (file->sg || len <= 0) {
        drv = bdrv_find_format("raw");
    } else {
        uint8_t buf[BDRV_PROBE_BYTES] = { 0 };
        if (!read_start(file, buf, len, errp)) {
            return NULL;
        }
        drv = bdrv_probe_all(buf, len, bdrv_get_filename(file));
    }
    if (!drv) {
        error_setg(errp, "Could not determine image format: No compatible driver found");
    }
    return drv;
}

/* ---- children of a level --------------------------------------------------------------------- */

static bool has_child_options(const QDict *flat, const char *name)
{
    const QDictEntry *entry;
    size_t len = strlen(name);
    for (entry = qdict_first(flat); entry; entry = qdict_next(flat, entry)) {
        const char *key = qdict_entry_key(entry);
        if (strncmp(key, name, len) == 0 && key[len] == '.') {
            return true;
        }
    }
    return false;
}

static void put_back(QDict *flat, const char *name, const QDict *child)
{
    const QDictEntry *entry;
    for (entry = qdict_first(child); entry; entry = qdict_next(child, entry)) {
        g_autofree char *key = g_strdup_printf("%s.%s", name, qdict_entry_key(entry));
        qdict_put_obj(flat, key, qobject_ref(qdict_entry_value(entry)));
    }
}

static QDict *take_out(QDict *flat, const char *name)
{
    g_autofree char *prefix = g_strdup_printf("%s.", name);
    QDict *child = NULL;
    qdict_extract_subqdict(flat, &child, prefix);
    return child;
}

/* The options of every driver at this level, completed: what its children will inherit. */
static BlockdevOptions *level_options(const QDict *flat, const Level *level, Error **errp)
{
    g_autoptr(QDict) common = options_common(flat);
    qdict_put_str(common, "driver", "null-co"); /* needs no options of its own */
    BlockdevOptions *options = options_from_dict(common, errp);
    if (options) {
        options_complete(options, level->parent, level->role, level->flags);
    }
    return options;
}

/* Resolve the options of one child in place.  @filename: its name, if the level was given it. */
static bool coroutine_fn resolve_child(Resolved *res, QDict *flat, const char *name,
                                       const char *filename, const Level *child_level,
                                       Error **errp)
{
    g_autoptr(QDict) child = take_out(flat, name);
    g_autofree char *path = open_path_below(child_level->path, name);
    Level level = *child_level;
    level.path = path;
    if (!resolve_level(res, filename, child, &level, errp)) {
        return false;
    }
    put_back(flat, name, child);
    return true;
}

static void collect_child(const OptionsChild *child, void *opaque)
{
    OptionsChild *copy = g_new(OptionsChild, 1);
    *copy = *child;
    g_ptr_array_add(opaque, copy);
}

typedef struct ChildContext {
    const BlockDriver *drv;
    const BlockdevOptions *own; /* what children inherit */
    const char *filename;       /* for "file" */
    const Level *level;
} ChildContext;

static Level level_below(const ChildContext *ctx, const char *name)
{
    bool is_backing = strcmp(name, "backing") == 0 && !ctx->drv->is_filter;
    Level below = {
        .flags = ctx->level->flags,
        .parent = ctx->own,
        .depth = ctx->level->depth + 1,
        .path = ctx->level->path,
        .role = is_backing ? BDRV_CHILD_COW : BDRV_CHILD_DATA,
    };
    if (is_backing || g_strcmp0(name, ctx->drv->guessed_child) == 0) {
        below.flags &= ~BDRV_O_PROTOCOL;
    } else {
        below.flags |= BDRV_O_PROTOCOL;
    }
    return below;
}

static bool coroutine_fn resolve_one(Resolved *res, QDict *flat, const OptionsChild *child,
                                     const ChildContext *ctx, Error **errp)
{
    Level below = level_below(ctx, child->name);
    bool is_file = strcmp(child->name, "file") == 0;
    if (child->is_list) {
        for (int i = 0; ; i++) {
            g_autofree char *name = g_strdup_printf("%s.%d", child->name, i);
            if (!has_child_options(flat, name)) {
                return true;
            }
            if (!resolve_child(res, flat, name, NULL, &below, errp)) {
                return false;
            }
        }
    }
    const char *filename = is_file ? ctx->filename : NULL;
    if (filename && qdict_haskey(flat, child->name)) {
        error_setg(errp, "Can't specify 'file' and 'filename' options at the same time");
        return false;
    }
    if (!filename && !has_child_options(flat, child->name)) {
        if (!child->optional && !qdict_haskey(flat, child->name)) {
            error_setg(errp, "A block device must be specified for \"%s\"", child->name);
            return false;
        }
        return true;
    }
    if (below.role == BDRV_CHILD_COW && ctx->level->depth == 0) {
        /* Joined with what the image says, once that is known. */
        qobject_unref(res->pending_backing);
        res->pending_backing = take_out(flat, child->name);
        return true;
    }
    return resolve_child(res, flat, child->name, filename, &below, errp);
}

static bool has_child_named(const GPtrArray *children, const char *name)
{
    for (unsigned i = 0; i < children->len; i++) {
        if (strcmp(((OptionsChild *)g_ptr_array_index(children, i))->name, name) == 0) {
            return true;
        }
    }
    return false;
}

static bool coroutine_fn resolve_children(Resolved *res, QDict *flat, const BlockDriver *drv,
                                          const char *filename, const Level *level, Error **errp)
{
    g_autoptr(GPtrArray) children = g_ptr_array_new_with_free_func(g_free);
    g_autoptr(BlockdevOptions) own = level_options(flat, level, errp);
    if (!own) {
        return false;
    }
    ChildContext ctx = { .drv = drv, .own = own, .filename = filename, .level = level };
    options_foreach_child(drv->options_type, collect_child, children);
    if (filename && !has_child_named(children, "file")) {
        error_setg(errp, "Driver '%s' does not take a file name; name its children by options",
                   drv->format_name);
        return false;
    }
    for (unsigned i = 0; i < children->len; i++) {
        if (!resolve_one(res, flat, g_ptr_array_index(children, i), &ctx, errp)) {
            return false;
        }
    }
    return true;
}

/* ---- the driver of a level ------------------------------------------------------------------- */

/* Open the file of a level whose format is unknown; its place in @flat takes a reference to it. */
static BlockDriverState *coroutine_fn open_file_to_probe(Resolved *res, const char *filename,
                                                         QDict *flat, const Level *level,
                                                         Error **errp)
{
    const char *reference = qdict_get_try_str(flat, "file");
    if (reference && !filename) {
        return bdrv_lookup(reference, errp);
    }
    g_autoptr(BlockdevOptions) own = level_options(flat, level, errp);
    g_autoptr(QDict) child = take_out(flat, "file");
    if (!own) {
        return NULL;
    }
    if (!filename && qdict_size(child) == 0) {
        error_setg(errp, "Must specify either driver or file");
        return NULL;
    }
    g_autofree char *path = open_path_below(level->path, "file");
    Level below = {
        .flags = level->flags | BDRV_O_PROTOCOL,
        .parent = own,
        .role = BDRV_CHILD_IMAGE | BDRV_CHILD_PRIMARY,
        .depth = level->depth + 1,
        .path = path,
    };
    if (!resolve_level(res, filename, child, &below, errp)) {
        return NULL;
    }
    BlockdevOptions *options = options_from_dict(child, errp);
    if (!options) {
        return NULL;
    }
    OpenPlace place = { .path = path, .guessed = res->guessed };
    BlockDriverState *file = open_co_future_child(options, own, below.role, level->flags, &place,
                                                  errp);
    if (file) {
        g_ptr_array_add(res->held, file);
        qdict_put_str(flat, "file", file->node_name);
    }
    return file;
}

static BlockDriver *coroutine_fn guess_format(Resolved *res, const char *filename, QDict *flat,
                                              const Level *level, Error **errp)
{
    BlockDriverState *file = open_file_to_probe(res, filename, flat, level, errp);
    BlockDriver *drv = file ? probe_format(file, errp) : NULL;
    if (drv && !level->path) {
        res->probed = true;
    } else if (drv) {
        g_hash_table_add(res->guessed, g_strdup(level->path));
    }
    return drv;
}

/* The name of a protocol level goes into its options. */
static BlockDriver *resolve_protocol(const char *filename, QDict *flat, BlockDriver *drv,
                                     Error **errp)
{
    if (filename && qdict_haskey(flat, "filename")) {
        error_setg(errp, "Can't specify 'file' and 'filename' options at the same time");
        return NULL;
    }
    if (!drv) {
        const char *name = filename ? filename : qdict_get_try_str(flat, "filename");
        if (!name) {
            error_setg(errp, "Must specify either driver or file");
            return NULL;
        }
        drv = bdrv_find_protocol(name, filename != NULL, errp);
    }
    if (!drv || !filename) {
        return drv;
    }
    if (!drv->bdrv_parse_filename) {
        qdict_put_str(flat, "filename", filename);
        return drv;
    }
    return drv->bdrv_parse_filename(filename, flat, errp) ? drv : NULL;
}

static bool coroutine_fn resolve_level(Resolved *res, const char *filename, QDict *flat,
                                       const Level *level, Error **errp)
{
    BlockDriver *drv = NULL;
    if (level->depth > MAX_LEVELS) {
        error_setg(errp, "Block options are nested more than %d levels deep", MAX_LEVELS);
        return false;
    }
    if (filename && strstart(filename, "json:", NULL)) {
        if (!absorb_json_name(filename, flat, errp)) {
            return false;
        }
        filename = NULL;
    }
    if (qdict_haskey(flat, "driver")) {
        const char *name = qdict_get_try_str(flat, "driver");
        drv = name ? bdrv_find_format(name) : NULL;
        if (!drv) {
            error_setg(errp, "Unknown driver '%s'", name ? name : "");
            return false;
        }
    }
    bool is_protocol = drv ? drv->is_protocol || drv->protocol_name
                           : (level->flags & BDRV_O_PROTOCOL) != 0;
    g_autofree char *name_option = NULL;
    if (is_protocol) {
        drv = resolve_protocol(filename, flat, drv, errp);
        filename = NULL;
    } else if (!drv) {
        if (!filename && !has_child_options(flat, "file") && qdict_haskey(flat, "filename")) {
            name_option = g_strdup(qdict_get_try_str(flat, "filename"));
            qdict_del(flat, "filename");
            qdict_put_str(flat, "file.filename", name_option ? name_option : "");
        }
        drv = guess_format(res, filename, flat, level, errp);
        filename = NULL;
    }
    if (!drv) {
        return false;
    }
    qdict_put_str(flat, "driver", drv->format_name);
    if (!options_check_keys(flat, drv, errp)) {
        return false;
    }
    options_add_encrypt_format(flat, drv);
    options_convert_sizes(flat, drv);
    return resolve_children(res, flat, drv, filename, level, errp);
}

Resolved *coroutine_fn resolve_co_options(const char *filename, const QDict *dict, int flags,
                                          const BlockdevOptions *parent, BdrvChildRole role,
                                          Error **errp)
{
    g_autoptr(Resolved) res = g_new0(Resolved, 1);
    g_autoptr(QDict) flat = qdict_clone_shallow(dict);
    Level level = { .flags = flags, .parent = parent, .role = role };
    res->held = g_ptr_array_new_with_free_func(unref_node);
    res->guessed = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);
    qdict_flatten(flat);
    if (!resolve_level(res, filename, flat, &level, errp)) {
        return NULL;
    }
    res->options = options_from_dict(flat, errp);
    return res->options ? g_steal_pointer(&res) : NULL;
}
