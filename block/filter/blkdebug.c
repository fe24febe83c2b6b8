/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * blkdebug: passes requests on to "image", and makes them fail or sleep by rule; for tests.
 *
 * Drivers above announce events on their edge.  At an event, rules for it apply whose state is 0 or
 * the current one (1 at first): inject-error rules become the active ones, in place of those active
 * before; set-state rules change the state; suspend rules (breakpoints, set at run time) make the
 * announcer sleep until it is resumed.  A request fails by the first active rule that matches it.
 * Rules for the event "none" are active from the start.
 *
 * The filter also pretends limits (align, max-transfer ...), so that the core's splitting and
 * padding can be tested.
 */
#include "qemu/osdep.h"

#include "blkdebug.h"
#include "qemu/cutils.h"
#include "qemu/lockable.h"

/* A coroutine asleep at a breakpoint; on its own stack. */
typedef struct SuspendedRequest {
    const char *tag;
    Coroutine *co;
    QLIST_ENTRY(SuspendedRequest) next;
} SuspendedRequest;

typedef struct BlkdebugState {
    /* Fixed after open. */
    uint32_t align;
    int32_t max_transfer, opt_write_zero, max_write_zero, opt_discard, max_discard;
    BlockRights take_perms, unshare_perms;
    char *config;

    QemuMutex lock;
    BlkdebugRuleList rules; /* in order of definition */
    int64_t state;
    QLIST_HEAD(, SuspendedRequest) suspended;
} BlkdebugState;

/* ---- events ---------------------------------------------------------------------------------- */

/*
 * Under the lock: apply what stands for @event.  Returns the tag of a breakpoint to sleep at, or
 * NULL; to be freed.
 */
static char *process_event(BlkdebugState *s, BlkdebugEvent event)
{
    BlkdebugRule *rule, *after;
    int64_t state = s->state;
    bool has_injected = false, has_new_state = false;
    char *tag = NULL;

    QTAILQ_FOREACH(rule, &s->rules, next) {
        if (rule->event == event && (!rule->state || rule->state == state)) {
            has_injected |= rule->action == BLKDEBUG_INJECT_ERROR;
        }
    }
    QTAILQ_FOREACH_SAFE(rule, &s->rules, next, after) {
        bool applies = rule->event == event && (!rule->state || rule->state == state);

        if (rule->action == BLKDEBUG_INJECT_ERROR && has_injected) {
            rule->is_active = applies;
        } else if (applies && rule->action == BLKDEBUG_SET_STATE && !has_new_state) {
            s->state = rule->new_state;
            has_new_state = true;
        } else if (applies && rule->action == BLKDEBUG_SUSPEND && !tag) {
            /* A breakpoint holds one request. */
            tag = g_steal_pointer(&rule->tag);
            QTAILQ_REMOVE(&s->rules, rule, next);
            blkdebug_rule_free(rule);
        }
    }
    return tag;
}

static void coroutine_fn blkdebug_co_debug_event(BlockDriverState *bs, BlkdebugEvent event)
{
    BlkdebugState *s = bs->opaque;
    SuspendedRequest request = { .co = qemu_coroutine_self() };
    g_autofree char *tag = NULL;

    qemu_mutex_lock(&s->lock);
    tag = process_event(s, event);
    if (tag) {
        request.tag = tag;
        QLIST_INSERT_HEAD(&s->suspended, &request, next);
    }
    qemu_mutex_unlock(&s->lock);
    if (tag) {
        printf("blkdebug: Suspended request '%s'\n", tag);
        fflush(stdout);
        qemu_coroutine_yield();
        printf("blkdebug: Resuming request '%s'\n", tag);
        fflush(stdout);
    }
}

/* ---- breakpoints ----------------------------------------------------------------------------- */

static int blkdebug_breakpoint(BlockDriverState *bs, const char *event, const char *tag)
{
    BlkdebugState *s = bs->opaque;
    int value = qapi_enum_parse(&BlkdebugEvent_lookup, event, -1, NULL);
    BlkdebugRule *rule;

    if (value < 0) {
        return -ENOENT;
    }
    rule = g_new0(BlkdebugRule, 1);
    rule->action = BLKDEBUG_SUSPEND;
    rule->event = value;
    rule->tag = g_strdup(tag);
    QEMU_LOCK_GUARD(&s->lock);
    QTAILQ_INSERT_TAIL(&s->rules, rule, next);
    return 0;
}

/* Wake one request asleep with @tag; false if there is none. */
static bool resume_one(BlkdebugState *s, const char *tag)
{
    SuspendedRequest *request;

    qemu_mutex_lock(&s->lock);
    QLIST_FOREACH(request, &s->suspended, next) {
        if (strcmp(request->tag, tag) == 0) {
            QLIST_REMOVE(request, next);
            break;
        }
    }
    qemu_mutex_unlock(&s->lock);
    if (request) {
        aio_co_wake(request->co);
    }
    return request != NULL;
}

static int blkdebug_resume(BlockDriverState *bs, const char *tag)
{
    return resume_one(bs->opaque, tag) ? 0 : -ENOENT;
}

static int blkdebug_remove_breakpoint(BlockDriverState *bs, const char *tag)
{
    BlkdebugState *s = bs->opaque;
    BlkdebugRule *rule, *after;
    bool found = false;

    qemu_mutex_lock(&s->lock);
    QTAILQ_FOREACH_SAFE(rule, &s->rules, next, after) {
        if (rule->action == BLKDEBUG_SUSPEND && strcmp(rule->tag, tag) == 0) {
            QTAILQ_REMOVE(&s->rules, rule, next);
            blkdebug_rule_free(rule);
            found = true;
        }
    }
    qemu_mutex_unlock(&s->lock);
    while (resume_one(s, tag)) {
        found = true;
    }
    return found ? 0 : -ENOENT;
}

static bool blkdebug_is_suspended(BlockDriverState *bs, const char *tag)
{
    BlkdebugState *s = bs->opaque;
    SuspendedRequest *request;

    QEMU_LOCK_GUARD(&s->lock);
    QLIST_FOREACH(request, &s->suspended, next) {
        if (strcmp(request->tag, tag) == 0) {
            return true;
        }
    }
    return false;
}

/* ---- requests -------------------------------------------------------------------------------- */

/* What the active rules say of a request: 0 or a negative errno. */
static int coroutine_fn blkdebug_co_check(BlockDriverState *bs, int64_t offset, int64_t bytes,
                                          BlkdebugIOType type)
{
    BlkdebugState *s = bs->opaque;
    BlkdebugRule *rule;
    bool immediately = false;
    int64_t delay_ns = 0;
    int error = 0;

    qemu_mutex_lock(&s->lock);
    QTAILQ_FOREACH(rule, &s->rules, next) {
        bool hits = rule->offset < 0 ||
                    (bytes && rule->offset >= offset && rule->offset - offset < bytes);

        if (rule->is_active && (rule->iotypes & 1u << type) && hits) {
            break;
        }
    }
    if (rule) {
        error = rule->error;
        delay_ns = rule->delay_ns;
        immediately = rule->immediately;
        if (rule->once && (error || delay_ns)) {
            QTAILQ_REMOVE(&s->rules, rule, next);
            blkdebug_rule_free(rule);
        }
    }
    qemu_mutex_unlock(&s->lock);
    if (delay_ns) {
        qemu_co_sleep_ns(QEMU_CLOCK_REALTIME, delay_ns);
    } else if (error && !immediately) {
        aio_co_schedule(qemu_get_current_aio_context(), qemu_coroutine_self());
        qemu_coroutine_yield();
    }
    return -error;
}

/* The core has promised aligned requests within the limits. */
static void assert_limits(BlockDriverState *bs, int64_t offset, int64_t bytes)
{
    assert(QEMU_IS_ALIGNED(offset | bytes, (int64_t)bs->bl.request_alignment));
    assert(!bs->bl.max_transfer ||
           bytes <= MAX(bs->bl.max_transfer, (int64_t)bs->bl.request_alignment));
}

static int coroutine_fn blkdebug_co_preadv(BlockDriverState *bs, int64_t offset, int64_t bytes,
                                           QEMUIOVector *qiov, size_t qiov_offset, unsigned flags)
{
    int ret = blkdebug_co_check(bs, offset, bytes, BLKDEBUG_IO_TYPE_READ);

    assert_limits(bs, offset, bytes);
    return ret < 0 ? ret : bdrv_co_preadv_part(bs->file, offset, bytes, qiov, qiov_offset, flags);
}

static int coroutine_fn blkdebug_co_pwritev(BlockDriverState *bs, int64_t offset, int64_t bytes,
                                            QEMUIOVector *qiov, size_t qiov_offset, unsigned flags)
{
    int ret = blkdebug_co_check(bs, offset, bytes, BLKDEBUG_IO_TYPE_WRITE);

    assert_limits(bs, offset, bytes);
    return ret < 0 ? ret : bdrv_co_pwritev_part(bs->file, offset, bytes, qiov, qiov_offset, flags);
}

/* What is smaller than the unit pretended is refused, so that fallbacks are tested. */
static int coroutine_fn blkdebug_co_pwrite_zeroes(BlockDriverState *bs, int64_t offset,
                                                  int64_t bytes, unsigned flags)
{
    int64_t unit = MAX(bs->bl.request_alignment, bs->bl.pwrite_zeroes_alignment);
    int ret;

    if (bytes < unit) {
        return -ENOTSUP;
    }
    assert(QEMU_IS_ALIGNED(offset | bytes, unit));
    assert(!bs->bl.max_pwrite_zeroes || bytes <= MAX(bs->bl.max_pwrite_zeroes, unit));
    ret = blkdebug_co_check(bs, offset, bytes, BLKDEBUG_IO_TYPE_WRITE_ZEROES);
    return ret < 0 ? ret : bdrv_co_pwrite_zeroes(bs->file, offset, bytes, flags);
}

static int coroutine_fn blkdebug_co_pdiscard(BlockDriverState *bs, int64_t offset, int64_t bytes)
{
    int64_t unit = MAX(bs->bl.request_alignment, bs->bl.pdiscard_alignment);
    int ret;

    if (bytes < unit) {
        return -ENOTSUP;
    }
    assert(QEMU_IS_ALIGNED(offset | bytes, unit));
    assert(!bs->bl.max_pdiscard || bytes <= MAX(bs->bl.max_pdiscard, unit));
    ret = blkdebug_co_check(bs, offset, bytes, BLKDEBUG_IO_TYPE_DISCARD);
    return ret < 0 ? ret : bdrv_co_pdiscard(bs->file, offset, bytes);
}

static int coroutine_fn blkdebug_co_flush(BlockDriverState *bs)
{
    return blkdebug_co_check(bs, 0, 0, BLKDEBUG_IO_TYPE_FLUSH);
}

static int coroutine_fn blkdebug_co_block_status(BlockDriverState *bs, bool want_zero,
                                                 int64_t offset, int64_t bytes, int64_t *pnum,
                                                 int64_t *map, BlockDriverState **file)
{
    int ret = blkdebug_co_check(bs, offset, bytes, BLKDEBUG_IO_TYPE_BLOCK_STATUS);

    if (ret < 0) {
        return ret;
    }
    *pnum = bytes;
    *map = offset;
    *file = bs->file->bs;
    return BDRV_BLOCK_RAW | BDRV_BLOCK_OFFSET_VALID;
}

/* ---- limits ---------------------------------------------------------------------------------- */

static void blkdebug_refresh_limits(BlockDriverState *bs)
{
    const BlkdebugState *s = bs->opaque;
    const BlockDriverState *file = bs->file->bs;
    const unsigned zero_flags = BDRV_REQ_FUA | BDRV_REQ_MAY_UNMAP | BDRV_REQ_NO_FALLBACK;

    bs->bl.request_alignment = MAX(bs->bl.request_alignment, s->align);
    if (s->max_transfer) {
        bs->bl.max_transfer = s->max_transfer;
    }
    bs->bl.pwrite_zeroes_alignment = s->opt_write_zero;
    bs->bl.max_pwrite_zeroes = s->max_write_zero;
    bs->bl.pdiscard_alignment = s->opt_discard;
    bs->bl.max_pdiscard = s->max_discard;
    bs->supported_write_flags = BDRV_REQ_WRITE_UNCHANGED |
                                (BDRV_REQ_FUA & file->supported_write_flags);
    bs->supported_zero_flags = BDRV_REQ_WRITE_UNCHANGED |
                               (zero_flags & file->supported_zero_flags);
}

/* @value must be a multiple of @unit. */
static bool take_limit(const char *name, bool has_value, int64_t value, int64_t unit,
                       int32_t *limit, Error **errp)
{
    *limit = has_value ? value : 0;
    if (has_value && (value < 0 || value >= INT_MAX || !QEMU_IS_ALIGNED(value, unit))) {
        error_setg(errp, "Cannot meet constraints with %s %" PRId64, name, value);
        return false;
    }
    return true;
}

static bool take_limits(BlkdebugState *s, const BlockdevOptionsBlkdebug *opts, uint32_t file_align,
                        Error **errp)
{
    int64_t align = opts->has_align ? opts->align : 0;

    if (align < 0 || align > BDRV_MAX_ALIGNMENT || (align && !is_power_of_2(align))) {
        error_setg(errp, "Cannot meet constraints with align %" PRId64, align);
        return false;
    }
    s->align = align;
    align = MAX(align, file_align);
    return take_limit("max-transfer", opts->has_max_transfer, opts->max_transfer, align,
                      &s->max_transfer, errp) &&
           take_limit("opt-write-zero", opts->has_opt_write_zero, opts->opt_write_zero, align,
                      &s->opt_write_zero, errp) &&
           take_limit("max-write-zero", opts->has_max_write_zero, opts->max_write_zero,
                      MAX(s->opt_write_zero, align), &s->max_write_zero, errp) &&
           take_limit("opt-discard", opts->has_opt_discard, opts->opt_discard, align,
                      &s->opt_discard, errp) &&
           take_limit("max-discard", opts->has_max_discard, opts->max_discard,
                      MAX(s->opt_discard, align), &s->max_discard, errp);
}

/* ---- open, close ----------------------------------------------------------------------------- */

static BlockRights permission_bits(const BlockPermissionList *list)
{
    static const BlockRights bits[] = {
        [BLOCK_PERMISSION_CONSISTENT_READ] = BLK_PERM_CONSISTENT_READ,
        [BLOCK_PERMISSION_WRITE] = BLK_PERM_WRITE,
        [BLOCK_PERMISSION_WRITE_UNCHANGED] = BLK_PERM_WRITE_UNCHANGED,
        [BLOCK_PERMISSION_RESIZE] = BLK_PERM_RESIZE,
    };
    BlockRights rights = 0;

    for (; list; list = list->next) {
        rights |= bits[list->value];
    }
    return rights;
}

static bool take_rules(BlkdebugState *s, const BlockdevOptionsBlkdebug *opts, Error **errp)
{
    const BlkdebugInjectErrorOptionsList *inject;
    const BlkdebugSetStateOptionsList *set;

    if (opts->config && *opts->config && !blkdebug_rules_read(&s->rules, opts->config, errp)) {
        return false;
    }
    for (inject = opts->inject_error; inject; inject = inject->next) {
        if (!blkdebug_rule_add_inject(&s->rules, inject->value, errp)) {
            return false;
        }
    }
    for (set = opts->set_state; set; set = set->next) {
        if (!blkdebug_rule_add_set_state(&s->rules, set->value, errp)) {
            return false;
        }
    }
    return true;
}

static void blkdebug_free_state(BlkdebugState *s)
{
    BlkdebugRule *rule, *after;

    assert(QLIST_EMPTY(&s->suspended));
    QTAILQ_FOREACH_SAFE(rule, &s->rules, next, after) {
        blkdebug_rule_free(rule);
    }
    g_free(s->config);
    qemu_mutex_destroy(&s->lock);
}

static bool coroutine_fn blkdebug_co_open(BlockDriverState *bs, const BlockdevOptions *options,
                                          int flags, Error **errp)
{
    const BlockdevOptionsBlkdebug *opts = &options->u.blkdebug;
    BlkdebugState *s = bs->opaque;

    qemu_mutex_init(&s->lock);
    QTAILQ_INIT(&s->rules);
    QLIST_INIT(&s->suspended);
    s->state = 1;
    s->config = g_strdup(opts->config ? opts->config : "");
    s->take_perms = permission_bits(opts->take_child_perms);
    s->unshare_perms = permission_bits(opts->unshare_child_perms);
    if (!take_rules(s, opts, errp) ||
        !bdrv_co_open_child(bs, "image", BDRV_CHILD_FILTERED | BDRV_CHILD_PRIMARY, opts->image,
                            false, errp) ||
        !take_limits(s, opts, bs->file->bs->bl.request_alignment, errp)) {
        blkdebug_free_state(s);
        return false;
    }
    blkdebug_co_debug_event(bs, BLKDBG_NONE);
    return true;
}

static void coroutine_fn blkdebug_co_close(BlockDriverState *bs)
{
    blkdebug_free_state(bs->opaque);
}

static BdrvChildClaims blkdebug_child_claims(BlockDriverState *bs, const BdrvChild *child,
                                             BdrvChildRole role, BlockRights parent_uses,
                                             BlockRights parent_shared)
{
    const BlkdebugState *s = bs->opaque;
    BdrvChildClaims claims = bdrv_default_child_claims(bs, child, role, parent_uses,
                                                       parent_shared);

    claims.uses |= s->take_perms;
    claims.shared &= ~s->unshare_perms;
    return claims;
}

/* ---- names ----------------------------------------------------------------------------------- */

/* blkdebug:CONFIG:IMAGE; CONFIG may be empty. */
static bool blkdebug_parse_filename(const char *filename, QDict *options, Error **errp)
{
    const char *colon, *image;
    BlockDriver *drv;

    if (!strstart(filename, "blkdebug:", &filename)) {
        /* A name without prefix is that of the image. */
        image = filename;
    } else {
        colon = strchr(filename, ':');
        if (!colon) {
            error_setg(errp, "blkdebug requires both config file and image path");
            return false;
        }
        if (colon != filename) {
            g_autofree char *config = g_strndup(filename, colon - filename);

            qdict_put_str(options, "config", config);
        }
        image = colon + 1;
    }
    drv = bdrv_find_protocol(image, true, errp);
    if (!drv) {
        return false;
    }
    qdict_put_str(options, "image.driver", drv->format_name);
    if (drv->bdrv_parse_filename) {
        g_autoptr(QDict) below = qdict_new();
        const QDictEntry *entry;

        if (!drv->bdrv_parse_filename(image, below, errp)) {
            return false;
        }
        for (entry = qdict_first(below); entry; entry = qdict_next(below, entry)) {
            g_autofree char *key = g_strconcat("image.", qdict_entry_key(entry), NULL);

            qdict_put_obj(options, key, qobject_ref(qdict_entry_value(entry)));
        }
    } else {
        qdict_put_str(options, "image.filename", image);
    }
    return true;
}

static void blkdebug_refresh_filename(BlockDriverState *bs)
{
    const BlkdebugState *s = bs->opaque;
    const char *image = bs->file->bs->exact_filename;
    const QDictEntry *entry;

    g_clear_pointer(&bs->exact_filename, g_free);
    if (!image || !*image) {
        return;
    }
    for (entry = qdict_first(bs->explicit_options); entry;
         entry = qdict_next(bs->explicit_options, entry)) {
        if (strcmp(qdict_entry_key(entry), "config") != 0 &&
            strcmp(qdict_entry_key(entry), "driver") != 0 &&
            strcmp(qdict_entry_key(entry), "node-name") != 0) {
            return; /* no plain name says this */
        }
    }
    bs->exact_filename = g_strdup_printf("blkdebug:%s:%s", s->config, image);
}

/* ---- the driver ------------------------------------------------------------------------------ */

static const char *const blkdebug_strong_opts[] = {
    "config", "inject-error.", "set-state.", "align", "max-transfer", "opt-write-zero",
    "max-write-zero", "opt-discard", "max-discard", NULL
};

BlockDriver bdrv_blkdebug = {
    .format_name = "blkdebug",
    .protocol_name = "blkdebug",
    .instance_size = sizeof(BlkdebugState),
    .options_type = BLOCKDEV_DRIVER_BLKDEBUG,
    .is_filter = true,
    .strong_runtime_opts = blkdebug_strong_opts,
    .bdrv_parse_filename = blkdebug_parse_filename,
    .bdrv_co_open = blkdebug_co_open,
    .bdrv_co_close = blkdebug_co_close,
    .bdrv_child_claims = blkdebug_child_claims,
    .bdrv_refresh_limits = blkdebug_refresh_limits,
    .bdrv_refresh_filename = blkdebug_refresh_filename,
    .bdrv_co_preadv = blkdebug_co_preadv,
    .bdrv_co_pwritev = blkdebug_co_pwritev,
    .bdrv_co_pwrite_zeroes = blkdebug_co_pwrite_zeroes,
    .bdrv_co_pdiscard = blkdebug_co_pdiscard,
    .bdrv_co_flush_to_disk = blkdebug_co_flush,
    .bdrv_co_block_status = blkdebug_co_block_status,
    .bdrv_co_debug_event = blkdebug_co_debug_event,
    .bdrv_debug_breakpoint = blkdebug_breakpoint,
    .bdrv_debug_remove_breakpoint = blkdebug_remove_breakpoint,
    .bdrv_debug_resume = blkdebug_resume,
    .bdrv_debug_is_suspended = blkdebug_is_suspended,
};
