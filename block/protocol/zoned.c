/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Zoned block devices of the host: what zones there are, their states, and writing in order.
 *
 * A zone that takes writes at its write pointer only takes one at a time: two on their way to the
 * kernel could overtake each other.  So a write holds its zone's lock, across the I/O.  An append
 * is a write at the write pointer as known here; the kernel has no call for it.
 *
 * Of a zone only that is remembered which is known to be true.  What may have moved its write
 * pointer in another way than by a whole write of ours (a failure, a change of state, other users
 * of the device) has it forgotten, and the next write asks the device.
 */
#include "qemu/osdep.h"

#include "file.h"

#include <linux/blkzoned.h>
#include <sys/ioctl.h>
#include <sys/sysmacros.h>

#include "qemu/co-lock.h"
#include "qemu/hostfile.h"

/* Zones share locks; writes to different zones rarely meet. */
#define ZONE_LOCKS 64
/* Zones asked for with one call. */
#define REPORT_BATCH 1024
/* More would be a device of 4 EiB with zones as small as they come. */
#define MAX_ZONES (16 * MiB)

/* What is known of a zone. */
typedef struct ZoneState {
    int64_t wp;  /* or one of the next two */
    int64_t end; /* of what can be written */
} ZoneState;
#define WP_UNKNOWN (-1)
#define WP_NONE (-2) /* written anywhere */

typedef struct FileZones {
    /* Fixed. */
    BlockZoneLimits limits;
    int64_t total; /* length of the device, bytes */

    CoMutex locks[ZONE_LOCKS];
    ZoneState *state; /* each under its zone's lock; limits.nr_zones of them */
} FileZones;

/* ---- what the device is ---------------------------------------------------------------------- */

/* A line of the device's queue in sysfs, which a partition has from its disk; NULL: none. */
static char *read_queue(const struct stat *st, const char *name)
{
    static const char *const places[] = { "", "../" };
    char text[64];

    for (unsigned i = 0; i < ARRAY_SIZE(places); i++) {
        g_autofree char *path = g_strdup_printf("/sys/dev/block/%u:%u/%squeue/%s",
                                                major(st->st_rdev), minor(st->st_rdev),
                                                places[i], name);
        int fd = open(path, O_RDONLY | O_CLOEXEC);
        ssize_t len = fd < 0 ? -1 : qemu_read_full(fd, text, sizeof(text) - 1);

        if (fd >= 0) {
            close(fd);
        }
        if (len >= 0) {
            text[len] = '\0';
            return g_strdup(g_strchomp(text));
        }
    }
    return NULL;
}

/* Such a number; 0 if there is none. */
static uint64_t read_queue_number(const struct stat *st, const char *name)
{
    g_autofree char *text = read_queue(st, name);

    return text ? g_ascii_strtoull(text, NULL, 10) : 0;
}

static BlockZoneModel read_model(const struct stat *st)
{
    g_autofree char *text = S_ISBLK(st->st_mode) ? read_queue(st, "zoned") : NULL;

    if (text && !strcmp(text, "host-managed")) {
        return BLK_Z_HM;
    }
    return text && !strcmp(text, "host-aware") ? BLK_Z_HA : BLK_Z_NONE;
}

/* What there is besides the zones' size and number. */
static void read_limits(BlockZoneLimits *limits, const struct stat *st)
{
    uint64_t granularity = read_queue_number(st, "zone_write_granularity");
    uint64_t max_append = read_queue_number(st, "zone_append_max_bytes");

    if (!granularity) {
        granularity = read_queue_number(st, "physical_block_size");
    }
    granularity = MIN(granularity, (uint64_t)BDRV_MAX_ALIGNMENT);
    limits->write_granularity = MAX(granularity, (uint64_t)BDRV_SECTOR_SIZE);
    /* Appends are ordinary writes: a device that has none of its own still has a limit. */
    if (!max_append) {
        max_append = read_queue_number(st, "max_sectors_kb") * KiB;
    }
    max_append = MIN(max_append ? max_append : UINT64_MAX, (uint64_t)limits->zone_size);
    limits->max_append = ROUND_DOWN(MIN(max_append, (uint64_t)BDRV_REQUEST_MAX_BYTES),
                                    limits->write_granularity);
    limits->max_open_zones = MIN(read_queue_number(st, "max_open_zones"), (uint64_t)UINT_MAX);
    limits->max_active_zones = MIN(read_queue_number(st, "max_active_zones"), (uint64_t)UINT_MAX);
}

typedef struct Look {
    FileState *s;
    FileZones *zones; /* found, or NULL */
    Error *err;
} Look;

static bool take_size(FileZones *z, int64_t total, const struct stat *st, Error **errp)
{
    uint64_t sectors = read_queue_number(st, "chunk_sectors");
    int64_t n_zones;

    if (!sectors || sectors > (uint64_t)BDRV_MAX_LENGTH / BDRV_SECTOR_SIZE) {
        error_setg(errp, "The zoned device does not say how large its zones are");
        return false;
    }
    z->limits.zone_size = sectors * BDRV_SECTOR_SIZE;
    z->total = total;
    n_zones = DIV_ROUND_UP(total, z->limits.zone_size);
    if (total <= 0 || n_zones > MAX_ZONES) {
        error_setg(errp, "The zoned device has no zones, or more than %" PRId64,
                   (int64_t)MAX_ZONES);
        return false;
    }
    z->limits.nr_zones = n_zones;
    return true;
}

/* Worker. */
static int look_for_zones(void *opaque)
{
    Look *look = opaque;
    FileState *s = look->s;
    g_autofree FileZones *z = NULL;
    struct stat st;

    if (fstat(s->fd, &st) < 0) {
        error_setg_errno(&look->err, errno, "Could not stat file");
        return -EIO;
    }
    if (read_model(&st) == BLK_Z_NONE) {
        return 0;
    }
    z = g_new0(FileZones, 1);
    z->limits.model = read_model(&st);
    if (!take_size(z, s->kind->length(s->fd), &st, &look->err)) {
        return -EINVAL;
    }
    read_limits(&z->limits, &st);
    if (z->limits.zone_size % MAX(z->limits.write_granularity, s->request_align) ||
        !z->limits.max_append) {
        error_setg(&look->err, "The zones of the device are no multiple of its blocks");
        return -EINVAL;
    }
    look->zones = g_steal_pointer(&z);
    return 0;
}

bool coroutine_fn file_zones_co_open(FileState *s, Error **errp)
{
    Look look = { .s = s };
    FileZones *z;

    if (thread_pool_submit_co(look_for_zones, &look) < 0) {
        error_propagate(errp, look.err);
        return false;
    }
    z = s->zones = look.zones;
    if (z) {
        z->state = g_try_new(ZoneState, z->limits.nr_zones);
        if (!z->state) {
            error_setg(errp, "Not enough memory for the state of %u zones", z->limits.nr_zones);
            g_clear_pointer(&s->zones, g_free);
            return false;
        }
        for (unsigned i = 0; i < ZONE_LOCKS; i++) {
            qemu_co_mutex_init(&z->locks[i]);
        }
        file_zones_forget(s);
    }
    return true;
}

void file_zones_free(FileState *s)
{
    if (s->zones) {
        g_free(s->zones->state);
        g_clear_pointer(&s->zones, g_free);
    }
}

void file_zones_refresh_limits(const FileState *s, BlockLimits *bl)
{
    if (s->zones) {
        bl->zones = s->zones->limits;
    }
}

bool file_zones_check_writes(const FileState *s, bool direct, Error **errp)
{
    if (s->zones && s->zones->limits.model == BLK_Z_HM && !direct) {
        error_setg(errp, "A host-managed zoned device can only be written with cache.direct=on");
        return false;
    }
    return true;
}

static void forget_zones(FileZones *z, unsigned from, unsigned n)
{
    for (unsigned i = 0; i < n; i++) {
        z->state[from + i].wp = WP_UNKNOWN;
    }
}

void file_zones_forget(FileState *s)
{
    if (s->zones) {
        forget_zones(s->zones, 0, s->zones->limits.nr_zones);
    }
}

/* ---- asking the device ----------------------------------------------------------------------- */

typedef struct Report {
    int fd;
    int64_t total;
    int64_t offset;
    unsigned max, n; /* zones wanted, found */
    BlockZoneDescriptor *zones;
} Report;

/* What the kernel says of a zone; false if that cannot be. */
static bool take_zone(const Report *report, const struct blk_zone *from, bool has_cap,
                      BlockZoneDescriptor *to)
{
    const uint64_t max = report->total / BDRV_SECTOR_SIZE;
    uint64_t cap = has_cap ? from->capacity : from->len;

    if (from->start >= max || !from->len || from->len > max - from->start || cap > from->len) {
        return false;
    }
    *to = (BlockZoneDescriptor){
        .start = from->start * BDRV_SECTOR_SIZE,
        .length = from->len * BDRV_SECTOR_SIZE,
        .cap = cap * BDRV_SECTOR_SIZE,
        .type = from->type,
        .state = from->cond,
    };
    /* It may be anything where it means nothing; so it is where users expect it. */
    to->wp = from->wp >= from->start && from->wp - from->start <= from->len
                 ? (int64_t)from->wp * BDRV_SECTOR_SIZE : to->start + to->length;
    return true;
}

/* Ask for up to @n zones from @offset on.  Their number, or negative errno. */
static int report_batch(Report *report, struct blk_zone_report *buf, unsigned n)
{
    int ret;

    buf->sector = report->offset / BDRV_SECTOR_SIZE;
    buf->nr_zones = n;
    buf->flags = 0;
    do {
        ret = ioctl(report->fd, BLKREPORTZONE, buf);
    } while (ret < 0 && errno == EINTR);
    if (ret < 0) {
        return errno == ENOTTY ? -ENOTSUP : -errno;
    }
    for (unsigned i = 0; i < MIN(buf->nr_zones, n); i++) {
        BlockZoneDescriptor *zone = &report->zones[report->n];

        if (!take_zone(report, &buf->zones[i], buf->flags & BLK_ZONE_REP_CAPACITY, zone)) {
            return -EIO;
        }
        report->n++;
        report->offset = zone->start + zone->length;
    }
    return MIN(buf->nr_zones, n);
}

/* Worker. */
static int report_worker(void *opaque)
{
    Report *report = opaque;
    unsigned batch = MIN(report->max, REPORT_BATCH);
    g_autofree struct blk_zone_report *buf =
        g_try_malloc0(sizeof(*buf) + batch * sizeof(buf->zones[0]));
    int ret = 1;

    if (!buf) {
        return -ENOMEM;
    }
    while (ret > 0 && report->n < report->max && report->offset < report->total) {
        ret = report_batch(report, buf, MIN(batch, report->max - report->n));
    }
    return MIN(ret, 0);
}

static int coroutine_fn co_report(FileState *s, int64_t offset, unsigned *nr_zones,
                                  BlockZoneDescriptor *zones)
{
    Report report = { .fd = s->fd, .total = s->zones->total, .offset = offset, .max = *nr_zones,
                      .zones = zones };
    int ret = thread_pool_submit_co(report_worker, &report);

    *nr_zones = report.n;
    return ret;
}

int coroutine_fn file_zones_co_report(BlockDriverState *bs, int64_t offset, unsigned *nr_zones,
                                      BlockZoneDescriptor *zones)
{
    return co_report(bs->opaque, offset, nr_zones, zones);
}

/* The zone that @offset lies in. */
static unsigned zone_index(const FileZones *z, int64_t offset)
{
    return offset / z->limits.zone_size;
}

/*
 * The state of the zone at @offset, whose lock is held; NULL with *@ret set if the device does not
 * tell.
 */
static ZoneState *coroutine_fn co_zone_state(FileState *s, int64_t offset, int *ret)
{
    ZoneState *state = &s->zones->state[zone_index(s->zones, offset)];
    int64_t start = ROUND_DOWN(offset, s->zones->limits.zone_size);
    BlockZoneDescriptor zone;
    unsigned n = 1;
    bool is_full;

    if (state->wp != WP_UNKNOWN) {
        return state;
    }
    *ret = co_report(s, start, &n, &zone);
    if (*ret < 0 || n != 1 || zone.start != start) {
        *ret = *ret < 0 ? *ret : -EIO;
        return NULL;
    }
    is_full = zone.state == BLK_ZS_FULL || zone.state == BLK_ZS_RDONLY ||
              zone.state == BLK_ZS_OFFLINE;
    state->end = zone.start + zone.cap;
    state->wp = zone.type == BLK_ZT_CONV ? WP_NONE
                : is_full                ? state->end : MIN(zone.wp, state->end);
    return state;
}

/* ---- writing in order ------------------------------------------------------------------------ */

/* Write at *@offset to a zone with a write pointer, whose lock is held. */
static int coroutine_fn co_write_zone(BlockDriverState *bs, ZoneState *state, int64_t offset,
                                      int64_t bytes, QEMUIOVector *qiov, size_t qiov_offset)
{
    int ret = file_co_pwritev(bs, offset, bytes, qiov, qiov_offset, 0);

    state->wp = ret >= 0 && state->wp == offset ? offset + bytes : WP_UNKNOWN;
    return ret;
}

/* Whether the device would take it; it need not be asked to know that it would not. */
static bool is_in_order(const FileZones *z, const ZoneState *state, int64_t offset, int64_t bytes)
{
    return z->limits.model == BLK_Z_HA ||
           (offset == state->wp && bytes <= state->end - offset &&
            bytes % z->limits.write_granularity == 0);
}

static CoMutex *zone_lock(FileZones *z, int64_t offset)
{
    return &z->locks[zone_index(z, offset) % ZONE_LOCKS];
}

static int coroutine_fn co_write_sequential(BlockDriverState *bs, int64_t offset, int64_t bytes,
                                            QEMUIOVector *qiov, size_t qiov_offset, bool *is_conv)
{
    FileState *s = bs->opaque;
    FileZones *z = s->zones;
    int ret = 0;
    ZoneState *state = co_zone_state(s, offset, &ret);

    *is_conv = state && state->wp == WP_NONE;
    if (!state || *is_conv) {
        return ret;
    }
    if (state->wp != offset) {
        /* Another user of the device may have moved it. */
        state->wp = WP_UNKNOWN;
        state = co_zone_state(s, offset, &ret);
        if (!state) {
            return ret;
        }
    }
    return is_in_order(z, state, offset, bytes)
               ? co_write_zone(bs, state, offset, bytes, qiov, qiov_offset) : -EIO;
}

int coroutine_fn file_zones_co_pwritev(BlockDriverState *bs, int64_t offset, int64_t bytes,
                                       QEMUIOVector *qiov, size_t qiov_offset, unsigned flags)
{
    FileState *s = bs->opaque;
    bool is_conv = true;
    int ret;

    if (s->zones && offset >= s->zones->total) {
        return -EIO; /* the device has grown; its new zones are there when it is opened anew */
    }
    if (s->zones) {
        qemu_co_mutex_lock(zone_lock(s->zones, offset));
        ret = co_write_sequential(bs, offset, bytes, qiov, qiov_offset, &is_conv);
        qemu_co_mutex_unlock(zone_lock(s->zones, offset));
    }
    return is_conv ? file_co_pwritev(bs, offset, bytes, qiov, qiov_offset, flags) : ret;
}

int coroutine_fn file_zones_co_append(BlockDriverState *bs, int64_t *offset, QEMUIOVector *qiov)
{
    FileState *s = bs->opaque;
    CoMutex *lock = zone_lock(s->zones, *offset);
    ZoneState *state;
    int ret = 0;

    if (*offset >= s->zones->total) {
        return -EIO;
    }
    qemu_co_mutex_lock(lock);
    state = co_zone_state(s, *offset, &ret);
    if (state && (state->wp == WP_NONE || (int64_t)qiov->size > state->end - state->wp)) {
        ret = -EIO;
    } else if (state) {
        *offset = state->wp;
        ret = co_write_zone(bs, state, *offset, qiov->size, qiov, 0);
    }
    qemu_co_mutex_unlock(lock);
    return ret;
}

/* ---- states ---------------------------------------------------------------------------------- */

typedef struct Mgmt {
    int fd;
    unsigned long request;
    struct blk_zone_range range;
} Mgmt;

/* Worker. */
static int mgmt_worker(void *opaque)
{
    Mgmt *mgmt = opaque;
    int ret;

    do {
        ret = ioctl(mgmt->fd, mgmt->request, &mgmt->range);
    } while (ret < 0 && errno == EINTR);
    if (ret < 0) {
        return errno == ENOTTY ? -ENOTSUP : -errno;
    }
    return 0;
}

int coroutine_fn file_zones_co_mgmt(BlockDriverState *bs, BlockZoneOp op, int64_t offset,
                                    int64_t bytes)
{
    static const unsigned long requests[] = {
        [BLK_ZO_OPEN] = BLKOPENZONE, [BLK_ZO_CLOSE] = BLKCLOSEZONE,
        [BLK_ZO_FINISH] = BLKFINISHZONE, [BLK_ZO_RESET] = BLKRESETZONE,
    };
    FileState *s = bs->opaque;
    const BlockZoneLimits *limits = &s->zones->limits;
    unsigned first = zone_index(s->zones, offset);
    Mgmt mgmt = { .fd = s->fd, .request = requests[op],
                  .range = { .sector = offset / BDRV_SECTOR_SIZE,
                             .nr_sectors = bytes / BDRV_SECTOR_SIZE } };
    int ret;

    if (offset >= s->zones->total) {
        return -EIO;
    }
    ret = thread_pool_submit_co(mgmt_worker, &mgmt);
    /* Nobody writes to these zones now: the core holds such requests back. */
    forget_zones(s->zones, first,
                 MIN(DIV_ROUND_UP(bytes, limits->zone_size), limits->nr_zones - first));
    return ret;
}
