/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Persistent reservations of SCSI disks by a helper program, which has the rights for them and
 * knows of the paths of a multipath device.
 *
 * The helper listens on a unix socket.  First it writes the features that it has, 32 bits, and
 * reads those that are to be used; there are none so far.  Then commands follow one after the
 * other.  Numbers are big endian:
 *
 *   to the helper:    16 bytes of CDB with the device's descriptor, then the parameters of
 *                     PERSISTENT RESERVE OUT, as many as the CDB says
 *   from the helper:  SCSI status (32 bits), n (32 bits), sense (96 bytes), n bytes of data,
 *                     which only PERSISTENT RESERVE IN that went well has
 *
 * The helper is asked in the loop of the request; it may be slow, hang, be gone or be restarted.
 * Until a command is sent, connecting is tried anew.  After that nobody knows whether it was
 * carried out, so it fails as a command fails whose device did not answer, and whoever sent it
 * may send it again.  What the helper says is not trusted.
 */
#include "qemu/osdep.h"

#include "file.h"

#include <scsi/sg.h>

#include "block/pr-manager.h"
#include "block/scsi.h"
#include "io/channel.h"
#include "io/sockets.h"
#include "qapi/gen/block-info-events.h"
#include "qapi/gen/qom-types.h"
#include "qapi/user-object.h"
#include "qemu/atomic.h"
#include "qemu/bswap.h"
#include "qemu/co-lock.h"
#include "qemu/iov.h"
#include "qemu/timer.h"
#include "qobject/qstring.h"

#define PR_CDB_SIZE 16
#define PR_SENSE_SIZE 96
#define PR_MAX_DATA 8192 /* the helper takes and gives no more */

#define PR_ATTEMPTS 5                           /* to connect and send */
#define PR_FIRST_PAUSE (100 * 1000 * 1000LL)    /* ns, before the third; then doubled */
#define PR_MAX_TIME (60 * NANOSECONDS_PER_SECOND) /* for a command, if it does not say less */

#define PR_STATUS_CHECK_CONDITION 2
#define PR_DRIVER_SENSE 8 /* driver_status: there is sense */

struct PrManager {
    UserObject obj;
    char *path;

    CoMutex lock;    /* one command at a time; guards the next two */
    QIOChannel *ioc; /* NULL: not connected */
    bool has_agreed; /* on features */

    bool connected;      /* atomic; what users were told */
    unsigned n_failures; /* atomic: commands that got no answer */
};

/* A command on its way.  Its timer runs in the loop of the coroutine that sends it. */
typedef struct PrCommand {
    PrManager *mgr;
    int fd;
    sg_io_hdr_t *header;
    uint8_t cdb[PR_CDB_SIZE];
    uint32_t out_bytes, max_in; /* parameters; room for data */
    struct iovec single;
    const struct iovec *iov;
    int niov;
    QEMUTimer timer;
    int64_t deadline; /* ns */
    bool is_late;
} PrCommand;

/* ---- connections ----------------------------------------------------------------------------- */

static void note_connected(PrManager *mgr, bool connected)
{
    if (qatomic_xchg(&mgr->connected, connected) != connected) {
        qapi_event_send_pr_manager_status_changed(mgr->obj.id, connected);
    }
}

static void disconnect(PrManager *mgr)
{
    g_clear_pointer(&mgr->ioc, qio_channel_unref);
    note_connected(mgr, false);
}

static bool make_connection(PrManager *mgr, Error **errp)
{
    int fd = socket_connect_unix_at_once(mgr->path, errp);

    if (fd < 0) {
        return false;
    }
    mgr->ioc = qio_channel_socket_new_fd(fd);
    mgr->has_agreed = false;
    note_connected(mgr, true);
    return true;
}

/* We want none of the helper's features. */
static bool coroutine_fn co_agree(PrManager *mgr)
{
    uint8_t offered[4];
    static const uint8_t wanted[4];

    mgr->has_agreed = mgr->has_agreed ||
                      (qio_channel_co_read_all(mgr->ioc, offered, sizeof(offered), NULL) == 1 &&
                       qio_channel_co_write_all(mgr->ioc, wanted, sizeof(wanted), NULL) == 0);
    return mgr->has_agreed;
}

/* ---- one command ----------------------------------------------------------------------------- */

/* The device goes along with the first byte. */
static bool coroutine_fn co_send(const PrCommand *c)
{
    g_autofree uint8_t *message = g_malloc(PR_CDB_SIZE + c->out_bytes);
    ssize_t bytes = PR_CDB_SIZE + c->out_bytes, n;
    struct iovec iov = { message, bytes };
    QIOChannel *ioc = c->mgr->ioc;

    memcpy(message, c->cdb, PR_CDB_SIZE);
    iov_to_buf(c->iov, c->niov, 0, message + PR_CDB_SIZE, c->out_bytes);
    for (;;) {
        n = qio_channel_writev(ioc, &iov, 1, &c->fd, 1, NULL);
        if (n != QIO_CHANNEL_ERR_BLOCK) {
            break;
        }
        qio_channel_co_wait_write(ioc);
    }
    return n == bytes || (n >= 0 && qio_channel_co_write_all(ioc, message + n, bytes - n,
                                                             NULL) == 0);
}

static bool coroutine_fn co_connect_and_send(PrCommand *c)
{
    int64_t pause = 0;

    for (int i = 0; i < PR_ATTEMPTS && !c->is_late; i++) {
        /* The first may fail by a connection whose other side is gone. */
        if (i > 1) {
            int64_t left = c->deadline - qemu_clock_get_ns(QEMU_CLOCK_REALTIME);

            pause = pause ? 2 * pause : PR_FIRST_PAUSE;
            qemu_co_sleep_ns(QEMU_CLOCK_REALTIME, MIN(pause, MAX(left, 0)));
        }
        if ((c->mgr->ioc || make_connection(c->mgr, NULL)) && co_agree(c->mgr) && co_send(c)) {
            return true;
        }
        disconnect(c->mgr);
    }
    return false;
}

/* As many bytes of sense as there are, up to the room for them. */
static void put_sense(sg_io_hdr_t *header, const uint8_t *sense)
{
    unsigned bytes = MIN(8 + sense[7], PR_SENSE_SIZE);

    header->status = PR_STATUS_CHECK_CONDITION;
    header->driver_status = PR_DRIVER_SENSE;
    header->sb_len_wr = MIN(bytes, header->mx_sb_len);
    if (header->sb_len_wr) {
        memcpy(header->sbp, sense, header->sb_len_wr);
    }
}

static void put_new_sense(sg_io_hdr_t *header, uint8_t key, uint8_t asc, uint8_t ascq)
{
    const uint8_t sense[18] = { 0x70, [2] = key, [7] = 10, [12] = asc, [13] = ascq };

    put_sense(header, sense);
}

/* False: the helper went away, or does not keep to the protocol. */
static bool coroutine_fn co_receive(const PrCommand *c)
{
    sg_io_hdr_t *header = c->header;
    g_autofree uint8_t *data = NULL;
    uint8_t reply[8 + PR_SENSE_SIZE];
    uint32_t status, bytes;

    if (qio_channel_co_read_all(c->mgr->ioc, reply, sizeof(reply), NULL) != 1) {
        return false;
    }
    status = ldl_be_p(reply);
    bytes = ldl_be_p(reply + 4);
    if (status > UINT8_MAX || bytes > (status ? 0 : c->max_in)) {
        return false;
    }
    if (bytes) {
        data = g_malloc(bytes);
        if (qio_channel_co_read_all(c->mgr->ioc, data, bytes, NULL) != 1) {
            return false;
        }
        bytes = iov_from_buf(c->iov, c->niov, 0, data, MIN(bytes, header->dxfer_len));
    }
    header->status = status;
    if (status == PR_STATUS_CHECK_CONDITION) {
        put_sense(header, reply + 8);
    }
    header->resid = header->dxfer_len - c->out_bytes - bytes;
    return true;
}

static void too_late(void *opaque)
{
    PrCommand *c = opaque;

    c->is_late = true;
    if (c->mgr->ioc) {
        /* Whoever reads or writes sees it end. */
        qio_channel_shutdown(c->mgr->ioc, QIO_CHANNEL_SHUTDOWN_BOTH);
    }
}

static bool coroutine_fn co_execute_locked(PrCommand *c)
{
    int64_t ns = c->header->timeout * (int64_t)SCALE_MS;
    bool ok;

    c->deadline = qemu_clock_get_ns(QEMU_CLOCK_REALTIME) +
                  (ns ? MIN(ns, PR_MAX_TIME) : PR_MAX_TIME);
    aio_timer_init(qemu_get_current_aio_context(), &c->timer, QEMU_CLOCK_REALTIME, SCALE_NS,
                   too_late, c);
    timer_mod(&c->timer, c->deadline);
    ok = co_connect_and_send(c);
    if (ok && !co_receive(c)) {
        disconnect(c->mgr);
        ok = false;
    }
    timer_del(&c->timer);
    return ok;
}

/* ---- for host devices ------------------------------------------------------------------------ */

bool pr_manager_takes(const sg_io_hdr_t *header)
{
    return header->cmdp && header->cmd_len > 0 &&
           (header->cmdp[0] == SCSI_PERSISTENT_RESERVE_IN ||
            header->cmdp[0] == SCSI_PERSISTENT_RESERVE_OUT);
}

/* Fill in what the command moves.  The data must be there, and go the right way. */
static bool take_header(PrCommand *c)
{
    sg_io_hdr_t *header = c->header;
    bool is_out = header->cmdp[0] == SCSI_PERSISTENT_RESERVE_OUT;
    int direction = is_out ? SG_DXFER_TO_DEV : SG_DXFER_FROM_DEV;

    if (header->interface_id != 'S' || header->cmd_len < 10 || header->cmd_len > PR_CDB_SIZE ||
        (header->dxfer_len && header->dxfer_direction != direction)) {
        return false;
    }
    memcpy(c->cdb, header->cmdp, header->cmd_len);
    c->out_bytes = is_out ? ldl_be_p(c->cdb + 5) : 0;
    c->max_in = is_out ? 0 : lduw_be_p(c->cdb + 7);
    c->single = (struct iovec) { header->dxferp, header->dxfer_len };
    /* sg_iovec is iovec by another name. */
    c->iov = header->iovec_count ? header->dxferp : &c->single;
    c->niov = header->iovec_count ?: 1;
    return c->out_bytes <= header->dxfer_len && header->dxfer_len <= iov_size(c->iov, c->niov);
}

int coroutine_fn pr_manager_co_execute(PrManager *mgr, int fd, sg_io_hdr_t *header)
{
    PrCommand c = { .mgr = mgr, .fd = fd, .header = header };
    unsigned n_failures = qatomic_read(&mgr->n_failures);
    int64_t start = qemu_clock_get_ns(QEMU_CLOCK_REALTIME);
    bool ok = false;

    if (!take_header(&c)) {
        return -EINVAL;
    }
    header->status = header->host_status = header->driver_status = header->msg_status = 0;
    header->sb_len_wr = 0;
    header->resid = header->dxfer_len;
    if (c.out_bytes > PR_MAX_DATA || c.max_in > PR_MAX_DATA) {
        put_new_sense(header, 5, 0x24, 0); /* illegal request: invalid field in CDB */
    } else {
        qemu_co_mutex_lock(&mgr->lock);
        /* Who waited behind a command that got no answer does not wait for the same again. */
        if (mgr->n_failures == n_failures) {
            ok = co_execute_locked(&c);
            qatomic_set(&mgr->n_failures, mgr->n_failures + !ok);
        }
        qemu_co_mutex_unlock(&mgr->lock);
        if (!ok) {
            put_new_sense(header, 0xb, 8, 0); /* aborted: communication with the unit failed */
        }
    }
    header->masked_status = header->status >> 1 & 0x1f;
    header->duration = (qemu_clock_get_ns(QEMU_CLOCK_REALTIME) - start) / SCALE_MS;
    header->info = header->status ? SG_INFO_CHECK : SG_INFO_OK;
    return 0;
}

/* ---- the object ------------------------------------------------------------------------------ */

static bool pr_manager_create(UserObject *obj, const ObjectOptions *options, Error **errp)
{
    PrManager *mgr = container_of(obj, PrManager, obj);

    mgr->path = g_strdup(options->u.pr_manager_helper.path);
    qemu_co_mutex_init(&mgr->lock);
    if (!make_connection(mgr, errp)) {
        g_free(mgr->path);
        return false;
    }
    return true;
}

static void pr_manager_destroy(UserObject *obj)
{
    PrManager *mgr = container_of(obj, PrManager, obj);

    qio_channel_unref(mgr->ioc);
    g_free(mgr->path);
}

static const UserObjectProperty pr_manager_properties[] = {
    { "path", "string" },
    { NULL, NULL },
};

static QObject *pr_manager_get(UserObject *obj, const char *property, Error **errp)
{
    if (strcmp(property, "path") != 0) {
        error_setg(errp, "Property 'pr-manager-helper.%s' not found", property);
        return NULL;
    }
    return QOBJECT(qstring_from_str(container_of(obj, PrManager, obj)->path));
}

static const UserObjectType pr_manager_type = {
    .name = "pr-manager-helper",
    .size = sizeof(PrManager),
    .create = pr_manager_create,
    .destroy = pr_manager_destroy,
    .properties = pr_manager_properties,
    .get = pr_manager_get,
};

void pr_manager_register_type(void)
{
    user_object_register_type(&pr_manager_type);
}

PrManager *pr_manager_use(const char *id, Error **errp)
{
    UserObject *obj;

    if (!user_object_find(id)) {
        error_setg(errp, "No persistent reservation manager with id '%s'", id);
        return NULL;
    }
    obj = user_object_use(id, pr_manager_type.name, errp);
    return obj ? container_of(obj, PrManager, obj) : NULL;
}

void pr_manager_release(PrManager *mgr)
{
    if (mgr) {
        user_object_release(&mgr->obj);
    }
}

static void add_info(UserObject *obj, void *opaque)
{
    PRManagerInfoList ***tail = opaque;

    if (obj->type == &pr_manager_type) {
        PRManagerInfo *info = g_new0(PRManagerInfo, 1);

        info->id = g_strdup(obj->id);
        info->connected = qatomic_read(&container_of(obj, PrManager, obj)->connected);
        QAPI_LIST_APPEND(*tail, info);
    }
}

PRManagerInfoList *pr_manager_query(void)
{
    PRManagerInfoList *list = NULL, **tail = &list;

    user_object_foreach(add_info, &tail);
    return list;
}
