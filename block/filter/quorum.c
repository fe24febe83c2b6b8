/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * quorum: several copies of one disk.
 *
 * A change goes to all copies and succeeds if vote-threshold of them took it.  A read asks all of
 * them, and what at least vote-threshold copies agree on wins; with read-pattern=fifo it asks them
 * in order until one answers.  Each copy that failed or lost is told by QUORUM_REPORT_BAD, a
 * request without a quorum by QUORUM_FAILURE.
 *
 * With rewrite-corrupted reads are serialising, so that putting a copy right undoes no write.
 */
#include "qemu/osdep.h"

#include "filter-int.h"

#include "block/graph.h"
#include "qapi/gen/block-core-events.h"

typedef struct QuorumState {
    /* Changed only while frozen. */
    BdrvChild **children;
    int n;
    int next_index; /* of the name of a copy to come */
    int threshold;
    bool is_blkverify, rewrite;
    QuorumReadPattern read_pattern;
} QuorumState;

/* ---- telling --------------------------------------------------------------------------------- */

static int64_t sectors_of(int64_t offset, int64_t bytes)
{
    return DIV_ROUND_UP(offset + bytes, BDRV_SECTOR_SIZE) - offset / BDRV_SECTOR_SIZE;
}

/* @ret: 0 for a copy that was outvoted. */
static void report_bad(const BdrvChild *child, QuorumOpType type, int64_t offset, int64_t bytes,
                       int ret)
{
    qapi_event_send_quorum_report_bad(type, ret < 0 ? strerror(-ret) : NULL,
                                      bdrv_get_node_name(child->bs), offset / BDRV_SECTOR_SIZE,
                                      sectors_of(offset, bytes));
}

static void report_failure(BlockDriverState *bs, int64_t offset, int64_t bytes)
{
    qapi_event_send_quorum_failure(bs->node_name, offset / BDRV_SECTOR_SIZE,
                                   sectors_of(offset, bytes));
}

/* ---- one request on all copies --------------------------------------------------------------- */

typedef enum QuorumOp { QUORUM_READ, QUORUM_WRITE, QUORUM_ZERO, QUORUM_DISCARD,
                        QUORUM_FLUSH } QuorumOp;

typedef struct QuorumRequest QuorumRequest;

typedef struct QuorumPart {
    QuorumRequest *request;
    BdrvChild *child;
    QEMUIOVector *qiov;
    size_t qiov_offset;
    uint8_t *buf; /* of a read */
    QEMUIOVector own_qiov;
    int ret;
    int votes; /* of a read: copies that read the same, told at the first of them */
    int same_as;
} QuorumPart;

struct QuorumRequest {
    BlockDriverState *bs;
    QuorumOp op;
    int64_t offset, bytes;
    unsigned flags;
    int running;
    Coroutine *waiter; /* set when the starter sleeps; all parts run in its loop */
    QuorumPart *parts;
};

static void coroutine_fn co_part(void *opaque)
{
    QuorumPart *part = opaque;
    QuorumRequest *r = part->request;

    switch (r->op) {
    case QUORUM_READ:
        part->ret = bdrv_co_preadv_part(part->child, r->offset, r->bytes, part->qiov, 0, 0);
        break;
    case QUORUM_WRITE:
        part->ret = bdrv_co_pwritev_part(part->child, r->offset, r->bytes, part->qiov,
                                         part->qiov_offset, r->flags);
        break;
    case QUORUM_ZERO:
        part->ret = bdrv_co_pwrite_zeroes(part->child, r->offset, r->bytes, r->flags);
        break;
    case QUORUM_DISCARD:
        part->ret = bdrv_co_pdiscard(part->child, r->offset, r->bytes);
        break;
    case QUORUM_FLUSH:
        part->ret = bdrv_co_flush(part->child->bs);
        break;
    }
    if (--r->running == 0 && r->waiter) {
        aio_co_wake(r->waiter);
    }
}

/* Zeroes "quickly or not at all" that @part cannot write so: no copy has gone bad. */
static bool is_refused(const QuorumRequest *r, const QuorumPart *part)
{
    return r->op == QUORUM_ZERO && (r->flags & BDRV_REQ_NO_FALLBACK) && part->ret == -ENOTSUP;
}

/* Run @r on every copy and wait for all.  Returns how many succeeded. */
static int coroutine_fn co_on_all(QuorumRequest *r)
{
    const QuorumState *s = r->bs->opaque;
    int succeeded = 0;

    r->running = s->n;
    for (int i = 0; i < s->n; i++) {
        r->parts[i].request = r;
        r->parts[i].child = s->children[i];
        qemu_coroutine_enter(qemu_coroutine_create(co_part, &r->parts[i]));
    }
    if (r->running) {
        r->waiter = qemu_coroutine_self();
        qemu_coroutine_yield();
    }
    for (int i = 0; i < s->n; i++) {
        static const QuorumOpType types[] = {
            [QUORUM_READ] = QUORUM_OP_TYPE_READ,
            [QUORUM_WRITE] = QUORUM_OP_TYPE_WRITE,
            [QUORUM_ZERO] = QUORUM_OP_TYPE_WRITE,
            [QUORUM_DISCARD] = QUORUM_OP_TYPE_WRITE,
            [QUORUM_FLUSH] = QUORUM_OP_TYPE_FLUSH,
        };

        if (r->parts[i].ret >= 0) {
            succeeded++;
        } else if (!is_refused(r, &r->parts[i])) {
            report_bad(s->children[i], types[r->op], r->offset, r->bytes, r->parts[i].ret);
        }
    }
    return succeeded;
}

/* The error that most copies had. */
static int common_error(const QuorumRequest *r)
{
    const QuorumState *s = r->bs->opaque;
    int best = -EIO, best_votes = 0;

    for (int i = 0; i < s->n; i++) {
        int votes = 0;

        for (int j = 0; j < s->n; j++) {
            votes += r->parts[j].ret == r->parts[i].ret;
        }
        if (r->parts[i].ret < 0 && votes > best_votes) {
            best = r->parts[i].ret;
            best_votes = votes;
        }
    }
    return best;
}

static int coroutine_fn co_change(QuorumRequest *r, QEMUIOVector *qiov, size_t qiov_offset)
{
    const QuorumState *s = r->bs->opaque;
    g_autofree QuorumPart *parts = g_new0(QuorumPart, s->n);
    int succeeded;

    r->parts = parts;
    for (int i = 0; i < s->n; i++) {
        parts[i].qiov = qiov;
        parts[i].qiov_offset = qiov_offset;
    }
    succeeded = co_on_all(r);
    for (int i = 0; i < s->n; i++) {
        if (is_refused(r, &parts[i])) {
            return -ENOTSUP; /* the caller writes data then, to all of them */
        }
    }
    if (succeeded >= s->threshold) {
        return 0;
    }
    report_failure(r->bs, r->offset, r->bytes);
    return common_error(r);
}

static int coroutine_fn quorum_co_pwritev(BlockDriverState *bs, int64_t offset, int64_t bytes,
                                          QEMUIOVector *qiov, size_t qiov_offset, unsigned flags)
{
    QuorumRequest r = { bs, QUORUM_WRITE, offset, bytes, flags, 0, NULL, NULL };

    return co_change(&r, qiov, qiov_offset);
}

static int coroutine_fn quorum_co_pwrite_zeroes(BlockDriverState *bs, int64_t offset,
                                                int64_t bytes, unsigned flags)
{
    QuorumRequest r = { bs, QUORUM_ZERO, offset, bytes, flags, 0, NULL, NULL };

    return co_change(&r, NULL, 0);
}

static int coroutine_fn quorum_co_pdiscard(BlockDriverState *bs, int64_t offset, int64_t bytes)
{
    QuorumRequest r = { bs, QUORUM_DISCARD, offset, bytes, 0, 0, NULL, NULL };

    return co_change(&r, NULL, 0);
}

static int coroutine_fn quorum_co_flush(BlockDriverState *bs)
{
    QuorumRequest r = { bs, QUORUM_FLUSH, 0, 0, 0, 0, NULL, NULL };

    return co_change(&r, NULL, 0);
}

/* ---- reading --------------------------------------------------------------------------------- */

/* Group what was read; returns the index of the first copy of the largest group. */
static int count_votes(QuorumRequest *r)
{
    const QuorumState *s = r->bs->opaque;
    int winner = -1;

    for (int i = 0; i < s->n; i++) {
        QuorumPart *part = &r->parts[i];

        if (part->ret < 0) {
            continue;
        }
        part->same_as = i;
        for (int j = 0; j < i; j++) {
            if (r->parts[j].ret >= 0 && r->parts[j].same_as == j &&
                memcmp(r->parts[j].buf, part->buf, r->bytes) == 0) {
                part->same_as = j;
                break;
            }
        }
        r->parts[part->same_as].votes++;
    }
    for (int i = 0; i < s->n; i++) {
        if (r->parts[i].votes > (winner < 0 ? 0 : r->parts[winner].votes)) {
            winner = i;
        }
    }
    return winner;
}

/* Tell of those that lost, and put them right if that is wanted. */
static void coroutine_fn co_deal_with_losers(QuorumRequest *r, int winner)
{
    const QuorumState *s = r->bs->opaque;

    for (int i = 0; i < s->n; i++) {
        const QuorumPart *part = &r->parts[i];

        if (part->ret < 0 || part->same_as == winner) {
            continue;
        }
        report_bad(part->child, QUORUM_OP_TYPE_READ, r->offset, r->bytes, 0);
        if (s->rewrite) {
            int ret = bdrv_co_pwritev(part->child, r->offset, r->bytes, r->parts[winner].qiov, 0);

            if (ret < 0) {
                report_bad(part->child, QUORUM_OP_TYPE_WRITE, r->offset, r->bytes, ret);
            }
        }
    }
}

static int coroutine_fn co_vote(QuorumRequest *r, QEMUIOVector *qiov, size_t qiov_offset)
{
    const QuorumState *s = r->bs->opaque;
    int winner;

    if (co_on_all(r) < s->threshold) {
        report_failure(r->bs, r->offset, r->bytes);
        return common_error(r);
    }
    winner = count_votes(r);
    if (s->is_blkverify && r->parts[winner].votes < s->n) {
        fprintf(stderr, "quorum: offset=%" PRId64 " bytes=%" PRId64 " contents mismatch\n",
                r->offset, r->bytes);
        exit(1);
    }
    if (r->parts[winner].votes < s->threshold) {
        report_failure(r->bs, r->offset, r->bytes);
        return -EIO;
    }
    co_deal_with_losers(r, winner);
    qemu_iovec_from_buf(qiov, qiov_offset, r->parts[winner].buf, r->bytes);
    return 0;
}

static int coroutine_fn co_read_quorum(BlockDriverState *bs, int64_t offset, int64_t bytes,
                                       QEMUIOVector *qiov, size_t qiov_offset)
{
    const QuorumState *s = bs->opaque;
    g_autofree QuorumPart *parts = g_new0(QuorumPart, s->n);
    QuorumRequest r = { bs, QUORUM_READ, offset, bytes, 0, 0, NULL, parts };
    int ret = 0;

    for (int i = 0; i < s->n && ret == 0; i++) {
        parts[i].buf = bdrv_try_blockalign(s->children[i]->bs, bytes);
        if (!parts[i].buf) {
            ret = -ENOMEM;
        }
        qemu_iovec_init_buf(&parts[i].own_qiov, parts[i].buf, bytes);
        parts[i].qiov = &parts[i].own_qiov;
    }
    ret = ret < 0 ? ret : co_vote(&r, qiov, qiov_offset);
    for (int i = 0; i < s->n; i++) {
        qemu_vfree(parts[i].buf);
    }
    return ret;
}

static int coroutine_fn co_read_fifo(BlockDriverState *bs, int64_t offset, int64_t bytes,
                                     QEMUIOVector *qiov, size_t qiov_offset)
{
    const QuorumState *s = bs->opaque;
    int ret = -EIO;

    for (int i = 0; i < s->n; i++) {
        ret = bdrv_co_preadv_part(s->children[i], offset, bytes, qiov, qiov_offset, 0);
        if (ret >= 0) {
            return 0;
        }
        report_bad(s->children[i], QUORUM_OP_TYPE_READ, offset, bytes, ret);
    }
    return ret;
}

static int coroutine_fn quorum_co_preadv(BlockDriverState *bs, int64_t offset, int64_t bytes,
                                         QEMUIOVector *qiov, size_t qiov_offset, unsigned flags)
{
    const QuorumState *s = bs->opaque;

    return s->read_pattern == QUORUM_READ_PATTERN_FIFO
        ? co_read_fifo(bs, offset, bytes, qiov, qiov_offset)
        : co_read_quorum(bs, offset, bytes, qiov, qiov_offset);
}

static int64_t quorum_serialise_reads(BlockDriverState *bs)
{
    const QuorumState *s = bs->opaque;

    return s->rewrite ? bs->bl.request_alignment : 0;
}

/* ---- questions ------------------------------------------------------------------------------- */

static int64_t coroutine_fn quorum_co_getlength(BlockDriverState *bs)
{
    const QuorumState *s = bs->opaque;
    int64_t bytes = bdrv_co_getlength(s->children[0]->bs);

    for (int i = 1; i < s->n && bytes >= 0; i++) {
        int64_t other = bdrv_co_getlength(s->children[i]->bs);

        if (other != bytes) {
            return other < 0 ? other : -EIO;
        }
    }
    return bytes;
}

/* Zero is only what all copies say is zero. */
static int coroutine_fn quorum_co_block_status(BlockDriverState *bs, bool want_zero, int64_t offset,
                                               int64_t bytes, int64_t *pnum, int64_t *map,
                                               BlockDriverState **file)
{
    const QuorumState *s = bs->opaque;
    int64_t zeroes = bytes, data = 0;

    for (int i = 0; i < s->n; i++) {
        BlockDriverState *unused;
        int64_t n, unused_map;
        int depth;
        int ret = bdrv_co_block_status_above(s->children[i]->bs, NULL, offset, bytes, &n,
                                             &unused_map, &unused, &depth);

        if (ret < 0) {
            data = bytes;
        } else if (ret & BDRV_BLOCK_ZERO) {
            zeroes = MIN(zeroes, n);
        } else {
            data = MAX(data, n);
        }
    }
    *pnum = data ? data : zeroes;
    return data ? BDRV_BLOCK_DATA : BDRV_BLOCK_ZERO;
}

/* A limit holds for all copies. */
static void quorum_refresh_limits(BlockDriverState *bs)
{
    const QuorumState *s = bs->opaque;

    bs->supported_zero_flags = BDRV_REQ_FUA | BDRV_REQ_MAY_UNMAP | BDRV_REQ_NO_FALLBACK;
    bs->supported_write_flags = BDRV_REQ_WRITE_UNCHANGED;
    for (int i = 0; i < s->n; i++) {
        const BlockDriverState *child = s->children[i] ? s->children[i]->bs : NULL;

        if (child) {
            bs->bl.request_alignment = MAX(bs->bl.request_alignment, child->bl.request_alignment);
            bs->supported_zero_flags &= child->supported_zero_flags;
        }
    }
    bs->supported_zero_flags |= BDRV_REQ_WRITE_UNCHANGED;
}

/* Whatever is written past the quorum makes copies differ. */
static BdrvChildClaims quorum_child_claims(BlockDriverState *bs, const BdrvChild *child,
                                           BdrvChildRole role, BlockRights parent_uses,
                                           BlockRights parent_shared)
{
    const QuorumState *s = bs->opaque;
    BdrvChildClaims claims = {
        .uses = parent_uses & BLK_PERM_ALL,
        .shared = (parent_shared & ~(BLK_PERM_WRITE | BLK_PERM_RESIZE)) | BLK_PERM_CONSISTENT_READ |
                  BLK_PERM_WRITE_UNCHANGED,
    };

    if (s->rewrite) {
        claims.uses |= BLK_PERM_WRITE;
    }
    return claims;
}

/* ---- life ------------------------------------------------------------------------------------ */

static bool check_options(const BlockdevOptionsQuorum *opts, int n, Error **errp)
{
    bool is_fifo = opts->has_read_pattern && opts->read_pattern == QUORUM_READ_PATTERN_FIFO;
    bool is_blkverify = opts->has_blkverify && opts->blkverify;
    bool rewrite = opts->has_rewrite_corrupted && opts->rewrite_corrupted;

    if (n == 0) {
        error_setg(errp, "Number of provided children must be 1 or more");
    } else if (opts->vote_threshold < 1) {
        error_setg(errp, "Parameter 'vote-threshold' expects a value >= 1");
    } else if (opts->vote_threshold > n) {
        error_setg(errp, "threshold may not exceed children count");
    } else if (is_blkverify && (n != 2 || opts->vote_threshold != 2)) {
        error_setg(errp, "blkverify=on can only be set if there are exactly two files and "
                   "vote-threshold is 2");
    } else if (is_blkverify && rewrite) {
        error_setg(errp, "rewrite-corrupted=on cannot be used with blkverify=on");
    } else if (is_fifo && (is_blkverify || rewrite)) {
        error_setg(errp, "blkverify=on and rewrite-corrupted=on need read-pattern=quorum");
    } else {
        return true;
    }
    return false;
}

static bool coroutine_fn quorum_co_open(BlockDriverState *bs, const BlockdevOptions *options,
                                        int flags, Error **errp)
{
    const BlockdevOptionsQuorum *opts = &options->u.quorum;
    QuorumState *s = bs->opaque;
    const BlockdevRefList *ref;
    int n = 0;

    for (ref = opts->children; ref; ref = ref->next) {
        n++;
    }
    if (!check_options(opts, n, errp)) {
        return false;
    }
    s->threshold = opts->vote_threshold;
    s->is_blkverify = opts->has_blkverify && opts->blkverify;
    s->rewrite = opts->has_rewrite_corrupted && opts->rewrite_corrupted;
    s->read_pattern = opts->has_read_pattern ? opts->read_pattern : QUORUM_READ_PATTERN_QUORUM;
    s->children = g_new0(BdrvChild *, n);
    for (ref = opts->children; ref; ref = ref->next) {
        g_autofree char *name = g_strdup_printf("children.%d", s->n);

        s->children[s->n] = bdrv_co_open_child(bs, name, BDRV_CHILD_DATA, ref->value, false, errp);
        if (!s->children[s->n]) {
            g_clear_pointer(&s->children, g_free);
            s->n = 0;
            return false;
        }
        s->n++;
    }
    s->next_index = s->n;
    return true;
}

static bool coroutine_fn quorum_co_add_child(BlockDriverState *bs, BlockDriverState *child_bs,
                                             Error **errp)
{
    QuorumState *s = bs->opaque;
    g_autofree char *name = g_strdup_printf("children.%d", s->next_index);
    BdrvChildSpec spec = { .name = name, .parent = bs, .role = BDRV_CHILD_DATA };
    BdrvChild *child;

    if (s->is_blkverify) {
        error_setg(errp, "Cannot add a child to a quorum in blkverify mode");
        return false;
    }
    if (s->next_index == INT_MAX) {
        error_setg(errp, "Too many children");
        return false;
    }
    if (bdrv_getlength(child_bs) != bdrv_getlength(bs)) {
        error_setg(errp, "Node '%s' has %" PRId64 " bytes, the quorum has %" PRId64,
                   bdrv_get_node_name(child_bs), bdrv_getlength(child_bs), bdrv_getlength(bs));
        return false;
    }
    child = bdrv_co_attach_child(&spec, bdrv_ref(child_bs), errp);
    if (!child) {
        return false;
    }
    s->children = g_renew(BdrvChild *, s->children, s->n + 1);
    s->children[s->n++] = child;
    s->next_index++;
    bdrv_refresh_limits(bs);
    return true;
}

static bool coroutine_fn quorum_co_del_child(BlockDriverState *bs, BdrvChild *child, Error **errp)
{
    QuorumState *s = bs->opaque;
    g_autofree char *last = g_strdup_printf("children.%d", s->next_index - 1);
    int i = 0;

    if (s->n <= s->threshold) {
        error_setg(errp, "The number of children cannot be lower than the vote threshold %d",
                   s->threshold);
        return false;
    }
    while (s->children[i] != child) {
        i++;
    }
    if (strcmp(child->name, last) == 0) {
        s->next_index--;
    }
    s->n--;
    memmove(&s->children[i], &s->children[i + 1], (s->n - i) * sizeof(s->children[0]));
    bdrv_co_detach_child(child);
    bdrv_refresh_limits(bs);
    return true;
}

static void coroutine_fn quorum_co_close(BlockDriverState *bs)
{
    QuorumState *s = bs->opaque;

    g_free(s->children);
}

static const char *const quorum_strong_opts[] = {
    "vote-threshold", "blkverify", "rewrite-corrupted", "read-pattern", NULL
};

BlockDriver bdrv_quorum = {
    .format_name = "quorum",
    .instance_size = sizeof(QuorumState),
    .options_type = BLOCKDEV_DRIVER_QUORUM,
    .lies_in_many = true,
    .guessed_child = "children",
    .strong_runtime_opts = quorum_strong_opts,
    .bdrv_co_open = quorum_co_open,
    .bdrv_co_close = quorum_co_close,
    .bdrv_co_add_child = quorum_co_add_child,
    .bdrv_co_del_child = quorum_co_del_child,
    .bdrv_child_claims = quorum_child_claims,
    .bdrv_refresh_limits = quorum_refresh_limits,
    .bdrv_serialise_reads = quorum_serialise_reads,
    .bdrv_co_preadv = quorum_co_preadv,
    .bdrv_co_pwritev = quorum_co_pwritev,
    .bdrv_co_pwrite_zeroes = quorum_co_pwrite_zeroes,
    .bdrv_co_pdiscard = quorum_co_pdiscard,
    .bdrv_co_flush = quorum_co_flush,
    .bdrv_co_block_status = quorum_co_block_status,
    .bdrv_co_getlength = quorum_co_getlength,
};
