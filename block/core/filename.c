/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The name of a node: a plain file name where opening that finds the same content, else json:{...}
 * with the options that decide about content ("strong" ones).  And relative backing names.
 */
#include "qemu/osdep.h"

#include "core-int.h"
#include "qemu/cutils.h"
#include "qobject/flatten.h"
#include "qobject/json-writer.h"
#include "qobject/qlist.h"

/* Longer names are cut, as in stock; no more levels of json:{} fit into that. */
#define MAX_NAME 4095
#define MAX_NAME_LEVELS 200

/* ---- relative names -------------------------------------------------------------------------- */

static bool has_protocol_prefix(const char *filename)
{
    return filename[strcspn(filename, ":/")] == ':';
}

/* "dir/a.qcow2" -> "dir/", "nbd://host/a" -> "nbd://host/", "a" -> "". */
static char *dirname_of(const char *filename)
{
    const char *rest = has_protocol_prefix(filename) ? strchr(filename, ':') + 1 : filename;
    const char *slash = strrchr(rest, '/');
    return g_strndup(filename, slash ? slash + 1 - filename : rest - filename);
}

char *bdrv_resolve_backing_filename(BlockDriverState *bs, const char *backing, Error **errp)
{
    if (has_protocol_prefix(backing) || *backing == '/') {
        return g_strdup(backing);
    }
    /* Names of nodes between may be made up of several: the bottom is where the image lies. */
    BlockDriverState *storage = bs, *below;
    while (!storage->drv->lies_in_many && (below = bdrv_primary_bs(storage))) {
        storage = below;
    }
    const char *own = bdrv_get_filename(storage);
    if (storage->drv->lies_in_many || strstart(own, "json:", NULL)) {
        error_setg(errp, "Cannot generate a base directory for %s nodes",
                   bdrv_get_format_name(storage));
        error_append_hint(errp, "Use an absolute backing file name.\n");
        return NULL;
    }
    g_autofree char *dir = dirname_of(own);
    return g_strconcat(dir, backing, NULL);
}

char *bdrv_get_full_backing_filename(BlockDriverState *bs, Error **errp)
{
    if (!bs->backing_file || !*bs->backing_file) {
        return NULL;
    }
    return bdrv_resolve_backing_filename(bs, bs->backing_file, errp);
}

/* ---- exact names ----------------------------------------------------------------------------- */

static bool is_strong(const BlockDriver *drv, const char *key)
{
    size_t len = strcspn(key, ".");
    for (const char *const *opt = drv->strong_runtime_opts; opt && *opt; opt++) {
        /* "server." stands for all that begins so. */
        size_t opt_len = strlen(*opt);
        bool is_prefix = opt_len > 0 && (*opt)[opt_len - 1] == '.';
        if (is_prefix ? strstart(key, *opt, NULL) : len == opt_len && !strncmp(key, *opt, len)) {
            return true;
        }
        if (strcmp(key, *opt) == 0) { /* "encrypt.key-secret": one member of an option */
            return true;
        }
    }
    return false;
}

/* The strong options the user gave; driver itself left out. */
static QDict *strong_options(const BlockDriverState *bs)
{
    QDict *strong = qdict_new();
    const QDictEntry *entry;
    if (!bs->explicit_options) {
        return strong;
    }
    for (entry = qdict_first(bs->explicit_options); entry;
         entry = qdict_next(bs->explicit_options, entry)) {
        if (is_strong(bs->drv, qdict_entry_key(entry))) {
            qdict_put_obj(strong, qdict_entry_key(entry), qobject_ref(qdict_entry_value(entry)));
        }
    }
    return strong;
}

/* Is there another backing node than the image itself names? */
static bool backing_is_overridden(BlockDriverState *bs)
{
    if (bs->drv->is_filter || !bs->drv->supports_backing || bs->wants_backing ||
        (bs->open_flags & (BDRV_O_NO_IO | BDRV_O_NO_BACKING))) {
        return false;
    }
    const char *expected = bs->auto_backing_file ? bs->auto_backing_file : "";
    if (!bs->backing) {
        return *expected != '\0';
    }
    BlockDriverState *below = bs->backing->bs;
    /* A job's filter goes with the job: no header may name it. */
    while (below->owner_key && below->drv->is_filter) {
        below = bdrv_filter_bs(below);
    }
    const char *actual = below->filename;
    return strcmp(expected, actual ? actual : "") != 0;
}

/*
 * The order in which stock shows options, which names of images recorded elsewhere are compared
 * with; others follow in the order of the schema.
 */
static const char *const key_order[] = {
    "read-pattern", "children", "throttle-group", "offset", "read-zeroes", "data-file", "log",
    "log-sector-size", "backing", "encrypt.key-secret", "test", "opt-write-zero", "max-write-zero",
    "image", "max-transfer", "driver", "config", "blkverify", "rewrite-corrupted", "log-append",
    "size", "raw", "vote-threshold", "file", "filename", "key-secret", "opt-discard", "max-discard",
    "align",
};

static QDict *in_usual_order(QDict *options)
{
    QDict *sorted = qdict_new();
    for (unsigned i = 0; i < G_N_ELEMENTS(key_order); i++) {
        QObject *value = qdict_get(options, key_order[i]);
        if (value) {
            qdict_put_obj(sorted, key_order[i], qobject_ref(value));
        }
    }
    qdict_join(sorted, options, false);
    qobject_unref(options);
    return sorted;
}

/* "children.1" belongs to the list "children". */
static void put_child(QDict *full, const char *name, QDict *child)
{
    const char *dot = strchr(name, '.');
    if (!dot) {
        qdict_put(full, name, child);
        return;
    }
    g_autofree char *list_name = g_strndup(name, dot - name);
    QList *list = qdict_get_qlist(full, list_name);
    if (!list) {
        list = qlist_new();
        qdict_put(full, list_name, list);
    }
    qlist_append(list, child);
}

/*
 * All that is needed to open the same again, down to @levels below: each takes some text, and names
 * are cut at MAX_NAME bytes.
 */
static QDict *full_options(BlockDriverState *bs, unsigned levels)
{
    QDict *full = strong_options(bs);
    g_autoptr(GPtrArray) children = g_ptr_array_new();
    BdrvChild *child;
    qdict_put_str(full, "driver", bs->drv->format_name);
    QLIST_FOREACH(child, &bs->children, next) {
        g_ptr_array_add(children, child);
    }
    /* The last one attached is the first. */
    for (unsigned i = levels > 0 ? children->len : 0; i > 0; i--) {
        child = g_ptr_array_index(children, i - 1);
        bool is_backing = child == bs->backing && !bs->drv->is_filter;
        if (!is_backing || backing_is_overridden(bs)) {
            put_child(full, child->name, full_options(child->bs, levels - 1));
        }
    }
    if (!bs->backing && backing_is_overridden(bs)) {
        qdict_put_null(full, "backing");
    }
    return in_usual_order(full);
}

/*
 * The plain name, or NULL: what a driver says, or the name of the one file below, if guessing what
 * is in that file may lead to this node: not to a filter, nor to what is above another format.
 */
static char *plain_name(BlockDriverState *bs)
{
    if (bs->drv->bdrv_refresh_filename) {
        bs->drv->bdrv_refresh_filename(bs);
        return bs->exact_filename && *bs->exact_filename ? g_strdup(bs->exact_filename) : NULL;
    }
    if (bs->drv->is_protocol || bs->drv->is_filter || backing_is_overridden(bs)) {
        return NULL;
    }
    g_autoptr(QDict) strong = strong_options(bs);
    BlockDriverState *primary = bdrv_primary_bs(bs);
    BdrvChild *child;
    QLIST_FOREACH(child, &bs->children, next) {
        /* Further files that no name of the image leads to. */
        if (child->bs != primary && child != bs->backing && !bs->drv->supports_backing) {
            return NULL;
        }
    }
    if (qdict_size(strong) || !primary || !primary->drv->protocol_name ||
        !primary->exact_filename || !*primary->exact_filename) {
        return NULL;
    }
    return g_strdup(primary->exact_filename);
}

static char *json_name(BlockDriverState *bs)
{
    g_autoptr(QDict) full = full_options(bs, MAX_NAME_LEVELS);
    GString *json = qobject_to_json(QOBJECT(full));
    g_string_prepend(json, "json:");
    if (json->len > MAX_NAME) {
        g_string_truncate(json, MAX_NAME - 3);
        g_string_append(json, "...");
    }
    return g_string_free(json, FALSE);
}

/* A filter that was put in for a job, or by an option of a drive, goes by the name below it. */
static bool name_is_of_below(BlockDriverState *bs)
{
    return (bs->implicit || bs->owner_key) && bdrv_filter_bs(bs);
}

/* The names of the nodes below are right. */
static void make_name(BlockDriverState *bs)
{
    if (bs->drv && name_is_of_below(bs)) {
        BlockDriverState *below = bdrv_filter_bs(bs);
        g_free(bs->exact_filename);
        g_free(bs->filename);
        bs->exact_filename = g_strdup(below->exact_filename);
        bs->filename = g_strdup(below->filename);
        bs->filename_valid = true;
        return;
    }
    char *plain = bs->drv ? plain_name(bs) : g_strdup("");
    g_free(bs->exact_filename);
    g_free(bs->filename);
    bs->exact_filename = plain ? plain : g_strdup("");
    bs->filename = plain ? g_strdup(plain) : json_name(bs);
    bs->filename_valid = true;
}

static int compare_rank(gconstpointer a, gconstpointer b)
{
    const BlockDriverState *x = *(BlockDriverState *const *)a;
    const BlockDriverState *y = *(BlockDriverState *const *)b;
    return x->rank - y->rank;
}

const char *bdrv_get_filename(BlockDriverState *bs)
{
    GLOBAL_STATE_CODE();
    if (bs->filename_valid) {
        return bs->filename;
    }
    g_autoptr(GPtrArray) outdated = g_ptr_array_new();
    g_autoptr(GHashTable) seen = g_hash_table_new(NULL, NULL);
    g_hash_table_add(seen, bs);
    g_ptr_array_add(outdated, bs);
    for (unsigned i = 0; i < outdated->len; i++) {
        BlockDriverState *node = g_ptr_array_index(outdated, i);
        BdrvChild *child;
        QLIST_FOREACH(child, &node->children, next) {
            if (!child->bs->filename_valid && g_hash_table_add(seen, child->bs)) {
                g_ptr_array_add(outdated, child->bs);
            }
        }
    }
    g_ptr_array_sort(outdated, compare_rank);
    for (unsigned i = 0; i < outdated->len; i++) {
        make_name(g_ptr_array_index(outdated, i));
    }
    return bs->filename;
}

void bdrv_refresh_filename(BlockDriverState *bs)
{
    GLOBAL_STATE_CODE();
    g_autoptr(GPtrArray) stack = g_ptr_array_new();
    bs->filename_valid = true; /* so that it is not taken for one that was seen */
    g_ptr_array_add(stack, bs);
    while (stack->len) {
        BlockDriverState *node = g_ptr_array_steal_index_fast(stack, stack->len - 1);
        BdrvChild *edge;
        if (!node->filename_valid) {
            continue; /* then nothing above it is valid either */
        }
        node->filename_valid = false;
        QTAILQ_FOREACH(edge, &node->parents, next_parent) {
            if (edge->parent) {
                g_ptr_array_add(stack, edge->parent);
            }
        }
    }
}

BlockDriverState *coroutine_fn bdrv_co_find_backing_image(BlockDriverState *bs,
                                                          const char *filename)
{
    for (bs = bdrv_skip_filters(bs); bs; bs = bdrv_backing_chain_next(bs)) {
        BlockDriverState *below = bdrv_backing_chain_next(bs);
        if (!below) {
            return NULL;
        }
        g_autofree char *full = bdrv_get_full_backing_filename(bs, NULL);
        g_autofree char *wanted = has_protocol_prefix(filename) ? NULL : realpath(filename, NULL);
        const char *actual = bdrv_get_filename(below);
        g_autofree char *actual_path = has_protocol_prefix(actual) ? NULL : realpath(actual, NULL);
        if (strcmp(actual, filename) == 0 ||
            (bs->backing_file && strcmp(bs->backing_file, filename) == 0) ||
            (full && strcmp(full, filename) == 0) ||
            (wanted && actual_path && strcmp(wanted, actual_path) == 0)) {
            return below;
        }
    }
    return NULL;
}

int coroutine_fn bdrv_co_change_backing_file(BlockDriverState *bs, const char *backing_file,
                                             const char *backing_fmt, bool require)
{
    if (!bs->drv) {
        return -ENOMEDIUM;
    }
    if (require && backing_file && !(backing_fmt && *backing_fmt)) {
        return -EINVAL;
    }
    /* A node that cannot be written keeps what its header says. */
    if (backing_file && !*backing_file) {
        backing_file = NULL;
    }
    if (!bs->drv->bdrv_co_change_backing_file) {
        return -ENOTSUP;
    }
    int ret = bs->drv->bdrv_co_change_backing_file(bs, backing_file, backing_fmt);
    if (ret == 0) {
        g_free(bs->backing_file);
        g_free(bs->backing_format);
        g_clear_pointer(&bs->auto_backing_file, g_free); /* looked at on the way to the new one */
        bs->backing_file = g_strdup(backing_file ? backing_file : "");
        bs->backing_format = g_strdup(backing_file && backing_fmt ? backing_fmt : "");
        bs->auto_backing_file = bdrv_get_full_backing_filename(bs, NULL);
        bdrv_refresh_filename(bs);
    }
    return ret;
}
