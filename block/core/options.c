/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Options of a node: what a child inherits, what is the default, what holds between options; and
 * the way from a flat dict of strings and values to BlockdevOptions.
 */
#include "qemu/osdep.h"

#include "core-int.h"
#include "options.h"
#include "qapi/gen/block-core-visit.h"
#include "qapi/object-input.h"
#include "qapi/object-output.h"
#include "qemu/cutils.h"
#include "qobject/flatten.h"
#include "qobject/qnum.h"
#include "qobject/qstring.h"

/* ---- what the schema says of a driver's options ---------------------------------------------- */

static const QapiType *branch_of(BlockdevDriver driver)
{
    return qapi_type_BlockdevOptions.branches[driver];
}

static bool is_child_type(const QapiType *type)
{
    return type == &qapi_type_BlockdevRef || type == &qapi_type_BlockdevRefOrNull;
}

/* A type's members, those of its base first. */
static const QapiMember *find_member(const QapiType *type, const char *name, size_t len)
{
    for (; type; type = type->base) {
        for (const QapiMember *m = type->members; m && m->name; m++) {
            if (strlen(m->name) == len && strncmp(m->name, name, len) == 0) {
                return m;
            }
        }
    }
    return NULL;
}

void options_foreach_child(BlockdevDriver driver, OptionsChildFn *fn, void *opaque)
{
    for (const QapiType *type = branch_of(driver); type; type = type->base) {
        for (const QapiMember *m = type->members; m && m->name; m++) {
            bool is_list = m->type->kind == QAPI_LIST && is_child_type(m->type->element);
            if (is_list || is_child_type(m->type)) {
                OptionsChild child = {
                    .name = m->name,
                    .is_list = is_list,
                    .optional = m->optional,
                };
                fn(&child, opaque);
            }
        }
    }
}

static void note_child_name(const OptionsChild *child, void *opaque)
{
    g_hash_table_add(opaque, (gpointer)child->name);
}

/* "file.locking" and "file" belong to the child "file"; so does "children.0.driver". */
static bool is_child_key(GHashTable *children, const char *key)
{
    g_autofree char *first = g_strndup(key, strcspn(key, "."));
    return g_hash_table_contains(children, first);
}

/* ---- dict to struct -------------------------------------------------------------------------- */

/* The first key of @flat that @drv has no option for, or NULL. */
static const char *find_unknown_key(const QDict *flat, const BlockDriver *drv)
{
    const QDictEntry *entry;
    for (entry = qdict_first(flat); entry; entry = qdict_next(flat, entry)) {
        const char *key = qdict_entry_key(entry);
        size_t len = strcspn(key, ".");
        if (!find_member(&qapi_type_BlockdevOptions, key, len) &&
            !find_member(branch_of(drv->options_type), key, len)) {
            return key;
        }
    }
    return NULL;
}

bool options_check_keys(const QDict *flat, const BlockDriver *drv, Error **errp)
{
    const char *key = find_unknown_key(flat, drv);
    if (key && drv->is_protocol) {
        error_setg(errp, "Block protocol '%s' doesn't support the option '%s'", drv->format_name,
                   key);
    } else if (key) {
        error_setg(errp, "Block format '%s' does not support the option '%s'", drv->format_name,
                   key);
    }
    return !key;
}

bool options_check_known(const QDict *flat, const BlockDriver *drv, Error **errp)
{
    const char *key = find_unknown_key(flat, drv);
    if (key) {
        error_setg(errp, "Cannot change the option '%s'", key);
    }
    return !key;
}

QDict *options_common(const QDict *flat)
{
    QDict *common = qdict_new();
    const QDictEntry *entry;
    for (entry = qdict_first(flat); entry; entry = qdict_next(flat, entry)) {
        const char *key = qdict_entry_key(entry);
        if (find_member(&qapi_type_BlockdevOptions, key, strcspn(key, ".")) &&
            strcmp(key, "driver") != 0 && strcmp(key, "node-name") != 0) {
            qdict_put_obj(common, key, qobject_ref(qdict_entry_value(entry)));
        }
    }
    return common;
}

void options_add_encrypt_format(QDict *flat, const BlockDriver *drv)
{
    const char *member = "encrypt";
    if (find_member(branch_of(drv->options_type), member, strlen(member)) &&
        qdict_haskey(flat, "encrypt.key-secret") && !qdict_haskey(flat, "encrypt.format")) {
        qdict_put_str(flat, "encrypt.format", "auto");
    }
}

/* People write sizes with suffixes: where the schema wants an integer, "64k" is one. */
void options_convert_sizes(QDict *flat, const BlockDriver *drv)
{
    const QapiType *branch = branch_of(drv->options_type);
    g_autoptr(QDict) keys = qdict_clone_shallow(flat);
    const QDictEntry *entry;
    for (entry = qdict_first(keys); entry; entry = qdict_next(keys, entry)) {
        const char *key = qdict_entry_key(entry);
        QString *value = qobject_to(QString, qdict_entry_value(entry));
        const QapiMember *m = find_member(branch, key, strlen(key));
        uint64_t number;
        if (!value || !m || m->type->kind > QAPI_SIZE) {
            continue;
        }
        if (qemu_strtosz(qstring_get_str(value), NULL, &number) == 0) {
            qdict_put_uint(flat, key, number);
        }
    }
}

BlockdevOptions *options_from_dict(QDict *flat, Error **errp)
{
    g_autoptr(Visitor) v = qobject_input_visitor_new_flat_confused(flat, errp);
    BlockdevOptions *options = NULL;
    if (!v || !visit_type_BlockdevOptions(v, NULL, &options, errp)) {
        return NULL;
    }
    return options;
}

QDict *options_to_own_dict(const BlockdevOptions *options)
{
    g_autoptr(GHashTable) children = g_hash_table_new(g_str_hash, g_str_equal);
    options_foreach_child(options->driver, note_child_name, children);
    QDict *all = qobject_to(QDict, qapi_to_qobject(&options, &qapi_type_BlockdevOptions));
    qdict_flatten(all);
    g_autoptr(QDict) keys = qdict_clone_shallow(all);
    const QDictEntry *entry;
    for (entry = qdict_first(keys); entry; entry = qdict_next(keys, entry)) {
        if (is_child_key(children, qdict_entry_key(entry))) {
            qdict_del(all, qdict_entry_key(entry));
        }
    }
    return all;
}

/* ---- inheritance and defaults ---------------------------------------------------------------- */

typedef struct Inherited {
    bool direct, no_flush, read_only, auto_read_only, force_share, active;
    BlockdevDiscardOptions discard;
} Inherited;

static Inherited from_flags(int flags)
{
    return (Inherited) {
        .direct = flags & BDRV_O_NOCACHE,
        .no_flush = flags & BDRV_O_NO_FLUSH,
        .read_only = !(flags & BDRV_O_RDWR),
        .auto_read_only = flags & BDRV_O_AUTO_RDONLY,
        .force_share = flags & BDRV_O_FORCE_SHARE,
        .active = !(flags & BDRV_O_INACTIVE),
        .discard = flags & BDRV_O_UNMAP ? BLOCKDEV_DISCARD_OPTIONS_UNMAP
                                        : BLOCKDEV_DISCARD_OPTIONS_IGNORE,
    };
}

/* A parent decides by itself what it flushes and discards, so its children do both when told to. */
static Inherited from_parent(const BlockdevOptions *parent, BdrvChildRole role)
{
    Inherited in = {
        .direct = parent->cache->direct,
        .no_flush = parent->cache->no_flush,
        .read_only = parent->read_only,
        .auto_read_only = parent->auto_read_only,
        .force_share = parent->force_share,
        .active = parent->active,
        .discard = BLOCKDEV_DISCARD_OPTIONS_UNMAP,
    };
    if (role & BDRV_CHILD_COW) {
        in.read_only = true;
        in.auto_read_only = false;
    }
    return in;
}

static void default_bool(bool *has, bool *value, bool default_value)
{
    if (!*has) {
        *has = true;
        *value = default_value;
    }
}

void options_complete(BlockdevOptions *options, const BlockdevOptions *parent, BdrvChildRole role,
                      int flags)
{
    Inherited in = parent ? from_parent(parent, role) : from_flags(flags);
    if (!options->cache) {
        options->cache = g_new0(BlockdevCacheOptions, 1);
    }
    default_bool(&options->cache->has_direct, &options->cache->direct, in.direct);
    default_bool(&options->cache->has_no_flush, &options->cache->no_flush, in.no_flush);
    default_bool(&options->has_read_only, &options->read_only, in.read_only);
    default_bool(&options->has_auto_read_only, &options->auto_read_only, in.auto_read_only);
    default_bool(&options->has_force_share, &options->force_share, in.force_share);
    default_bool(&options->has_active, &options->active, in.active);
    if (!options->has_discard) {
        options->has_discard = true;
        options->discard = in.discard;
    }
    if (!options->has_detect_zeroes) {
        options->has_detect_zeroes = true;
        options->detect_zeroes = BLOCKDEV_DETECT_ZEROES_OPTIONS_OFF;
    }
}

bool options_check(const BlockdevOptions *options, Error **errp)
{
    if (options->force_share && !options->read_only) {
        error_setg(errp, "force-share=on can only be used with read-only images");
        return false;
    }
    if (options->detect_zeroes == BLOCKDEV_DETECT_ZEROES_OPTIONS_UNMAP &&
        options->discard != BLOCKDEV_DISCARD_OPTIONS_UNMAP) {
        error_setg(errp, "setting detect-zeroes to unmap is not allowed without setting discard "
                   "operation to unmap");
        return false;
    }
    return true;
}

int options_to_flags(const BlockdevOptions *options)
{
    return (options->read_only ? 0 : BDRV_O_RDWR) |
           (options->cache->direct ? BDRV_O_NOCACHE : 0) |
           (options->cache->no_flush ? BDRV_O_NO_FLUSH : 0) |
           (options->discard == BLOCKDEV_DISCARD_OPTIONS_UNMAP ? BDRV_O_UNMAP : 0) |
           (options->auto_read_only ? BDRV_O_AUTO_RDONLY : 0) |
           (options->force_share ? BDRV_O_FORCE_SHARE : 0) |
           (options->active ? 0 : BDRV_O_INACTIVE);
}

/* ---- words of the command line --------------------------------------------------------------- */

bool bdrv_parse_cache_mode(const char *mode, int *flags, bool *writethrough)
{
    static const struct {
        const char *name;
        int flags;
        bool writethrough;
    } modes[] = {
        { "off", BDRV_O_NOCACHE, false },      { "none", BDRV_O_NOCACHE, false },
        { "writeback", 0, false },             { "writethrough", 0, true },
        { "directsync", BDRV_O_NOCACHE, true }, { "unsafe", BDRV_O_NO_FLUSH, false },
    };
    for (size_t i = 0; i < ARRAY_SIZE(modes); i++) {
        if (strcmp(mode, modes[i].name) == 0) {
            *flags = (*flags & ~(BDRV_O_NOCACHE | BDRV_O_NO_FLUSH)) | modes[i].flags;
            *writethrough = modes[i].writethrough;
            return true;
        }
    }
    return false;
}

bool bdrv_parse_discard_flags(const char *mode, int *flags)
{
    if (strcmp(mode, "off") == 0 || strcmp(mode, "ignore") == 0) {
        *flags &= ~BDRV_O_UNMAP;
    } else if (strcmp(mode, "on") == 0 || strcmp(mode, "unmap") == 0) {
        *flags |= BDRV_O_UNMAP;
    } else {
        return false;
    }
    return true;
}

bool bdrv_parse_aio(const char *mode, int *flags)
{
    *flags &= ~(BDRV_O_NATIVE_AIO | BDRV_O_IO_URING);
    if (strcmp(mode, "native") == 0) {
        *flags |= BDRV_O_NATIVE_AIO;
    } else if (strcmp(mode, "io_uring") == 0 && luring_is_built_in()) {
        *flags |= BDRV_O_IO_URING;
    } else {
        return strcmp(mode, "threads") == 0;
    }
    return true;
}
