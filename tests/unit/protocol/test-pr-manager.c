/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Persistent reservations: the commands of an sg device (devmodel.h) go to a helper, which is a
 * thread of this test that keeps one reservation key, or misbehaves as it is told to.
 */
#include "qemu/osdep.h"

#include "../../lib/devmodel.h"
#include "../../lib/memdisk.h"
#include "../../lib/testlib.h"

#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>

#include "block/block-backend.h"
#include "block/pr-manager.h"
#include "block/scsi.h"
#include "block/throttle-group.h"
#include "qapi/events.h"
#include "qapi/user-object.h"
#include "qemu/bswap.h"
#include "qemu/iothread.h"
#include "qobject/json-parser.h"

#define READ_WRITE (BLK_PERM_CONSISTENT_READ | BLK_PERM_WRITE)
#define MAX_DATA 8192

static char *device_path, *socket_path;
static DevModel model;
static int n_connected, n_lost; /* atomic: events */

/* ---- the helper ------------------------------------------------------------------------------ */

typedef enum HelperMode {
    HELPER_WORKS,
    HELPER_CLOSES_AT_ONCE,
    HELPER_CLOSES_AFTER_COMMAND,
    HELPER_HANGS_AT_ONCE,
    HELPER_HANGS_AFTER_COMMAND,
    HELPER_BREAKS_OFF,
    HELPER_GIVES_TOO_MUCH,
    HELPER_GIVES_TOO_MUCH_BY_FAR,
    HELPER_GIVES_DATA_WITH_SENSE,
    HELPER_HAS_ODD_STATUS,
    HELPER_FILLS_SENSE,
} HelperMode;

typedef struct Helper {
    QemuThread thread;
    int listen_fd;
    HelperMode mode;  /* atomic */
    int n_commands;   /* atomic; of the right device only */
    int n_sessions;   /* atomic: features agreed on */
    bool leaves_once; /* atomic: after the next answer */
    int n_closed;     /* atomic: connections */
    uint64_t key;
} Helper;

static Helper helper;

static bool get_all(int fd, void *buf, size_t bytes)
{
    return recv(fd, buf, bytes, MSG_WAITALL) == (ssize_t)bytes;
}

static void wait_for_end(int fd)
{
    char byte;

    while (recv(fd, &byte, 1, 0) > 0) {
        continue;
    }
}

/* The CDB; the descriptor that came with it must be that of the device. */
static bool get_cdb(int fd, uint8_t *cdb)
{
    union {
        char bytes[CMSG_SPACE(sizeof(int))];
        struct cmsghdr align;
    } control = { 0 };
    struct iovec iov = { cdb, 16 };
    struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1, .msg_control = control.bytes,
                          .msg_controllen = sizeof(control.bytes) };
    struct cmsghdr *cmsg;
    int device;

    if (recvmsg(fd, &msg, MSG_WAITALL) != 16) {
        return false;
    }
    cmsg = CMSG_FIRSTHDR(&msg);
    g_assert_true(cmsg && cmsg->cmsg_type == SCM_RIGHTS);
    memcpy(&device, CMSG_DATA(cmsg), sizeof(device));
    g_assert_true(dev_is_fd(device));
    close(device);
    qatomic_inc(&helper.n_commands);
    return true;
}

static void answer(int fd, uint32_t status, const void *data, uint32_t claimed, uint32_t bytes)
{
    uint8_t reply[104 + MAX_DATA] = { [8] = 0x70, [8 + 2] = 5, [8 + 7] = 10, [8 + 12] = 0x26 };

    stl_be_p(reply, status);
    stl_be_p(reply + 4, claimed);
    if (qatomic_read(&helper.mode) == HELPER_FILLS_SENSE) {
        memset(reply + 8, 0xff, 96);
    }
    if (bytes) {
        memcpy(reply + 104, data, bytes);
    }
    g_assert_cmpint(send(fd, reply, 104 + bytes, MSG_NOSIGNAL), ==, 104 + bytes);
}

/* READ KEYS; REGISTER, whose new key is in bytes 8 to 15. */
static void carry_out(int fd, const uint8_t *cdb, const uint8_t *params)
{
    if (cdb[0] == SCSI_PERSISTENT_RESERVE_IN) {
        uint8_t keys[16] = { 0 };
        uint32_t max = lduw_be_p(cdb + 7);

        stl_be_p(keys + 4, helper.key ? 8 : 0);
        stq_be_p(keys + 8, helper.key);
        answer(fd, 0, keys, MIN(max, 16), MIN(max, 16));
    } else if (ldl_be_p(cdb + 5) != 24) {
        answer(fd, 2, NULL, 0, 0);
    } else if (ldq_be_p(params) != helper.key) {
        answer(fd, 0x18, NULL, 0, 0); /* reservation conflict */
    } else {
        helper.key = ldq_be_p(params + 8);
        answer(fd, 0, NULL, 0, 0);
    }
}

/* False: the connection is over. */
static bool serve_command(int fd)
{
    uint8_t cdb[16], params[MAX_DATA], fill[64] = { 0 };
    uint32_t out;
    bool leaves;

    if (!get_cdb(fd, cdb)) {
        return false;
    }
    leaves = qatomic_xchg(&helper.leaves_once, false);
    out = cdb[0] == SCSI_PERSISTENT_RESERVE_OUT ? ldl_be_p(cdb + 5) : 0;
    g_assert_cmpuint(out, <=, MAX_DATA);
    if (out && !get_all(fd, params, out)) {
        return false;
    }
    switch (qatomic_read(&helper.mode)) {
    case HELPER_CLOSES_AFTER_COMMAND:
        return false;
    case HELPER_HANGS_AFTER_COMMAND:
        wait_for_end(fd);
        return false;
    case HELPER_BREAKS_OFF:
        answer(fd, 0, fill, 8, 7);
        return false;
    case HELPER_GIVES_TOO_MUCH:
        answer(fd, 0, fill, lduw_be_p(cdb + 7) + 1, 64);
        break;
    case HELPER_GIVES_TOO_MUCH_BY_FAR:
        answer(fd, 0, fill, UINT32_MAX, 64);
        break;
    case HELPER_GIVES_DATA_WITH_SENSE:
        answer(fd, 2, fill, 8, 8);
        break;
    case HELPER_HAS_ODD_STATUS:
        answer(fd, 256, NULL, 0, 0);
        break;
    case HELPER_FILLS_SENSE:
        answer(fd, 2, NULL, 0, 0);
        break;
    default:
        carry_out(fd, cdb, params);
    }
    return !leaves;
}

static void serve(int fd)
{
    uint8_t features[4] = { 0 };
    HelperMode mode = qatomic_read(&helper.mode);

    if (mode == HELPER_CLOSES_AT_ONCE) {
        return;
    }
    if (mode == HELPER_HANGS_AT_ONCE) {
        wait_for_end(fd);
        return;
    }
    features[3] = 1; /* one of the future, that nobody need use */
    if (send(fd, features, 4, MSG_NOSIGNAL) != 4 || !get_all(fd, features, 4)) {
        return;
    }
    g_assert_cmpint(ldl_be_p(features), ==, 0);
    qatomic_inc(&helper.n_sessions);
    while (serve_command(fd)) {
        continue;
    }
}

static void *helper_thread(void *opaque)
{
    int fd;

    while ((fd = accept4(helper.listen_fd, NULL, NULL, SOCK_CLOEXEC)) >= 0) {
        serve(fd);
        close(fd);
        qatomic_inc(&helper.n_closed);
    }
    return NULL;
}

static int listen_at_path(void)
{
    struct sockaddr_un un = { .sun_family = AF_UNIX };
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

    g_strlcpy(un.sun_path, socket_path, sizeof(un.sun_path));
    g_assert_cmpint(bind(fd, (struct sockaddr *)&un, sizeof(un)), ==, 0);
    g_assert_cmpint(listen(fd, 8), ==, 0);
    return fd;
}

static void helper_start(void)
{
    helper = (Helper) { .listen_fd = listen_at_path() };
    qemu_thread_create(&helper.thread, "helper", helper_thread, NULL, QEMU_THREAD_JOINABLE);
}

/* The connection that is open, if any, ends when its other side does. */
static void helper_stop(void)
{
    shutdown(helper.listen_fd, SHUT_RDWR);
    qemu_thread_join(&helper.thread);
    close(helper.listen_fd);
    unlink(socket_path);
}

/* ---- commands -------------------------------------------------------------------------------- */

typedef struct Command {
    uint8_t cdb[10], sense[32], data[64];
    sg_io_hdr_t header;
} Command;

static sg_io_hdr_t *read_keys(Command *c)
{
    memset(c, 0, sizeof(*c));
    c->cdb[0] = SCSI_PERSISTENT_RESERVE_IN;
    stw_be_p(c->cdb + 7, sizeof(c->data));
    c->header = (sg_io_hdr_t){
        .interface_id = 'S', .dxfer_direction = SG_DXFER_FROM_DEV, .cmdp = c->cdb,
        .cmd_len = sizeof(c->cdb), .sbp = c->sense, .mx_sb_len = sizeof(c->sense),
        .dxferp = c->data, .dxfer_len = sizeof(c->data),
    };
    return &c->header;
}

static sg_io_hdr_t *set_key(Command *c, uint64_t old_key, uint64_t new_key)
{
    sg_io_hdr_t *header = read_keys(c);

    c->cdb[0] = SCSI_PERSISTENT_RESERVE_OUT;
    stl_be_p(c->cdb + 5, 24);
    stq_be_p(c->data, old_key);
    stq_be_p(c->data + 8, new_key);
    header->dxfer_direction = SG_DXFER_TO_DEV;
    header->dxfer_len = 24;
    return header;
}

/* No helper: the command was aborted since the device was not reached. */
static void expect_unreached(const Command *c)
{
    g_assert_cmpint(c->header.status, ==, 2);
    g_assert_cmpint(c->header.driver_status, ==, 8);
    g_assert_cmpint(c->header.sb_len_wr, ==, 18);
    g_assert_cmpint(c->sense[0], ==, 0x70);
    g_assert_cmpint(c->sense[2], ==, 0xb);
    g_assert_cmpint(c->sense[12], ==, 8);
    g_assert_cmpint(c->header.resid, ==, c->header.dxfer_len);
}

static bool coroutine_fn co_works(BlockBackend *blk)
{
    Command c;

    g_assert_cmpint(blk_co_ioctl(blk, SG_IO, read_keys(&c)), ==, 0);
    return c.header.status == 0 && c.header.resid == sizeof(c.data) - 16;
}

/* The helper is done with @n connections. */
static void coroutine_fn co_wait_closed(int n)
{
    while (qatomic_read(&helper.n_closed) < n) {
        aio_co_schedule(qemu_get_aio_context(), qemu_coroutine_self());
        qemu_coroutine_yield();
    }
}

/* The helper carries out a command, and closes the connection. */
static void coroutine_fn co_works_and_leaves(BlockBackend *blk)
{
    int n = qatomic_read(&helper.n_closed);

    qatomic_set(&helper.leaves_once, true);
    g_assert_true(co_works(blk));
    co_wait_closed(n + 1);
}

static BlockDriverState *coroutine_fn co_open(const char *driver, int flags, Error **errp)
{
    QDict *options = qobject_to(QDict, qobject_from_json("{}", &error_abort));

    qdict_put_str(options, "driver", driver);
    qdict_put_str(options, "filename", device_path);
    qdict_put_str(options, "pr-manager", "pr0");
    return bdrv_co_open(NULL, NULL, options, flags, errp);
}

static BlockBackend *coroutine_fn co_disk(void)
{
    g_autoptr(BlockDriverState) bs = co_open("host_device", BDRV_O_RDWR, &error_abort);

    return blk_co_new_with_bs(bs, READ_WRITE, BLK_PERM_ALL, &error_abort);
}

static bool add_manager(Error **errp)
{
    g_autofree char *text = g_strdup_printf("pr-manager-helper,id=pr0,path=%s", socket_path);

    return user_object_add_from_str(text, errp);
}

/* A helper, a manager, a device that has it. */
static BlockBackend *coroutine_fn co_set_up(void)
{
    memset(&model, 0, sizeof(model));
    model.kind = 's';
    helper_start();
    n_connected = n_lost = 0;
    add_manager(&error_abort);
    return co_disk();
}

/* Nodes that nobody uses any more are closed when the control lock is given up. */
static void coroutine_fn co_close(BlockBackend *blk)
{
    blk_co_unref(blk);
    bdrv_co_control_unlock();
    bdrv_co_control_lock();
}

static void coroutine_fn co_tear_down(BlockBackend *blk)
{
    co_close(blk);
    user_object_del("pr0", &error_abort);
    helper_stop();
}

/* ---- cases ----------------------------------------------------------------------------------- */

static void coroutine_fn co_carried_out(void)
{
    BlockBackend *blk = co_set_up();
    sg_io_hdr_t *header;
    sg_iovec_t parts[2];
    Command c;

    g_assert_cmpint(blk_co_ioctl(blk, SG_IO, set_key(&c, 0, 0x1122334455667788)), ==, 0);
    g_assert_cmpint(c.header.status, ==, 0);
    g_assert_cmpint(c.header.resid, ==, 0);
    g_assert_cmpint(c.header.sb_len_wr, ==, 0);
    g_assert_cmpint(blk_co_ioctl(blk, SG_IO, read_keys(&c)), ==, 0);
    g_assert_cmpint(c.header.status, ==, 0);
    g_assert_cmpint(c.header.resid, ==, 64 - 16);
    g_assert_cmpuint(ldq_be_p(c.data + 8), ==, 0x1122334455667788);
    /* Data in pieces, and room for some of it only. */
    header = read_keys(&c);
    parts[0] = (sg_iovec_t) { c.data, 10 };
    parts[1] = (sg_iovec_t) { c.data + 32, 4 };
    header->iovec_count = 2;
    header->dxferp = parts;
    header->dxfer_len = 14;
    g_assert_cmpint(blk_co_ioctl(blk, SG_IO, header), ==, 0);
    g_assert_cmpmem(c.data, 11, "\0\0\0\0\0\0\0\10\x11\x22\0", 11);
    g_assert_cmpmem(c.data + 32, 5, "\x33\x44\x55\x66\0", 5);
    /* Answers that are no success. */
    g_assert_cmpint(blk_co_ioctl(blk, SG_IO, set_key(&c, 5, 6)), ==, 0);
    g_assert_cmpint(c.header.status, ==, 0x18);
    g_assert_cmpint(c.header.masked_status, ==, 0xc);
    g_assert_cmpint(c.header.sb_len_wr, ==, 0);
    header = set_key(&c, 0, 0);
    stl_be_p(c.cdb + 5, 23);
    g_assert_cmpint(blk_co_ioctl(blk, SG_IO, header), ==, 0);
    g_assert_cmpint(c.header.status, ==, 2);
    g_assert_cmpint(c.header.sb_len_wr, ==, 18);
    g_assert_cmpint(c.sense[12], ==, 0x26);
    g_assert_cmpint(qatomic_read(&helper.n_sessions), ==, 1);
    g_assert_cmpint(model.n_commands, ==, 0);
    /* All else goes to the device. */
    header = read_keys(&c);
    c.cdb[0] = SCSI_INQUIRY;
    g_assert_cmpint(blk_co_ioctl(blk, SG_IO, header), ==, 0);
    g_assert_cmpint(model.n_commands, ==, 1);
    g_assert_cmpint(qatomic_read(&helper.n_commands), ==, 5);
    co_tear_down(blk);
}

/* Refused here: the helper never sees it. */
static void coroutine_fn co_malformed(void)
{
    BlockBackend *blk = co_set_up();
    sg_io_hdr_t *header;
    Command c;

    header = read_keys(&c);
    header->cmd_len = 9;
    g_assert_cmpint(blk_co_ioctl(blk, SG_IO, header), ==, -EINVAL);
    header = read_keys(&c);
    header->dxfer_direction = SG_DXFER_TO_DEV;
    g_assert_cmpint(blk_co_ioctl(blk, SG_IO, header), ==, -EINVAL);
    header = set_key(&c, 0, 1);
    header->dxfer_len = 23;
    g_assert_cmpint(blk_co_ioctl(blk, SG_IO, header), ==, -EINVAL);
    header = set_key(&c, 0, 1);
    stl_be_p(c.cdb + 5, UINT32_MAX);
    g_assert_cmpint(blk_co_ioctl(blk, SG_IO, header), ==, -EINVAL);
    /* More than the protocol has room for: as a device that does not do it. */
    header = read_keys(&c);
    stw_be_p(c.cdb + 7, MAX_DATA + 1);
    g_assert_cmpint(blk_co_ioctl(blk, SG_IO, header), ==, 0);
    g_assert_cmpint(header->status, ==, 2);
    g_assert_cmpint(c.sense[2], ==, 5);
    g_assert_cmpint(c.sense[12], ==, 0x24);
    g_assert_cmpint(qatomic_read(&helper.n_commands), ==, 0);
    g_assert_true(co_works(blk));
    co_tear_down(blk);
}

/* A helper that does not keep to the protocol is left, and asked anew for the next command. */
static void coroutine_fn co_hostile(void)
{
    static const HelperMode modes[] = {
        HELPER_CLOSES_AFTER_COMMAND, HELPER_BREAKS_OFF, HELPER_GIVES_TOO_MUCH,
        HELPER_GIVES_TOO_MUCH_BY_FAR, HELPER_GIVES_DATA_WITH_SENSE, HELPER_HAS_ODD_STATUS,
        HELPER_HANGS_AFTER_COMMAND,
    };
    BlockBackend *blk = co_set_up();
    sg_io_hdr_t *header;
    Command c;

    for (unsigned i = 0; i < ARRAY_SIZE(modes); i++) {
        int before = qatomic_read(&helper.n_commands);

        qatomic_set(&helper.mode, modes[i]);
        header = read_keys(&c);
        header->timeout = modes[i] == HELPER_HANGS_AFTER_COMMAND ? 20 : 0;
        g_assert_cmpint(blk_co_ioctl(blk, SG_IO, header), ==, 0);
        expect_unreached(&c);
        co_wait_closed(i + 1);
        /* It may have been carried out, so it was not sent again. */
        g_assert_cmpint(qatomic_read(&helper.n_commands), ==, before + 1);
        g_assert_cmpint(qatomic_read(&n_lost), ==, i + 1);
        qatomic_set(&helper.mode, HELPER_WORKS);
        g_assert_true(co_works(blk));
        g_assert_cmpint(qatomic_read(&n_connected), ==, i + 2);
    }
    /* Sense that claims to be longer than it is. */
    qatomic_set(&helper.mode, HELPER_FILLS_SENSE);
    g_assert_cmpint(blk_co_ioctl(blk, SG_IO, read_keys(&c)), ==, 0);
    g_assert_cmpint(c.header.status, ==, 2);
    g_assert_cmpint(c.header.sb_len_wr, ==, sizeof(c.sense));
    header = read_keys(&c);
    header->mx_sb_len = 0;
    g_assert_cmpint(blk_co_ioctl(blk, SG_IO, header), ==, 0);
    g_assert_cmpint(c.header.status, ==, 2);
    g_assert_cmpint(c.sense[0], ==, 0);
    co_tear_down(blk);
}

/* A helper that was restarted is found; one that is gone is looked for in vain, then found. */
static void coroutine_fn co_lost(void)
{
    BlockBackend *blk = co_set_up();
    PRManagerInfoList *infos;
    sg_io_hdr_t *header;
    Command c;

    co_works_and_leaves(blk);
    g_assert_true(co_works(blk));
    g_assert_cmpint(qatomic_read(&helper.n_sessions), ==, 2);
    co_works_and_leaves(blk);
    helper_stop();
    header = read_keys(&c);
    header->timeout = 10;
    g_assert_cmpint(blk_co_ioctl(blk, SG_IO, header), ==, 0);
    expect_unreached(&c);
    infos = pr_manager_query();
    g_assert_cmpstr(infos->value->id, ==, "pr0");
    g_assert_false(infos->value->connected);
    g_assert_null(infos->next);
    qapi_free_PRManagerInfoList(infos);
    helper_start();
    g_assert_true(co_works(blk));
    infos = pr_manager_query();
    g_assert_true(infos->value->connected);
    qapi_free_PRManagerInfoList(infos);
    g_assert_cmpint(qatomic_read(&n_connected), ==, qatomic_read(&n_lost) + 1);
    co_tear_down(blk);
}

/* A helper that goes before it has said anything: the attempts are counted. */
static void coroutine_fn co_no_features(void)
{
    BlockBackend *blk = co_set_up();
    sg_io_hdr_t *header;
    Command c;

    co_works_and_leaves(blk);
    qatomic_set(&helper.mode, HELPER_CLOSES_AT_ONCE);
    g_assert_cmpint(blk_co_ioctl(blk, SG_IO, read_keys(&c)), ==, 0);
    expect_unreached(&c);
    g_assert_cmpint(qatomic_read(&n_lost), ==, 5);
    qatomic_set(&helper.mode, HELPER_HANGS_AT_ONCE);
    header = read_keys(&c);
    header->timeout = 20;
    g_assert_cmpint(blk_co_ioctl(blk, SG_IO, header), ==, 0);
    expect_unreached(&c);
    qatomic_set(&helper.mode, HELPER_WORKS);
    g_assert_true(co_works(blk));
    co_tear_down(blk);
}

typedef struct Asker {
    BlockBackend *blk;
    Command c;
    int n, timeout;
    bool is_done; /* atomic */
} Asker;

static void coroutine_fn co_ask(void *opaque)
{
    Asker *asker = opaque;

    for (int i = 0; i < asker->n; i++) {
        sg_io_hdr_t *header = read_keys(&asker->c);

        header->timeout = asker->timeout;
        g_assert_cmpint(blk_co_ioctl(asker->blk, SG_IO, header), ==, 0);
    }
    qatomic_store_release(&asker->is_done, true);
}

static void coroutine_fn co_wait(const Asker *asker)
{
    while (!qatomic_load_acquire(&asker->is_done)) {
        aio_co_schedule(qemu_get_aio_context(), qemu_coroutine_self());
        qemu_coroutine_yield();
    }
}

/* Behind a command that hangs: no second wait, though they have an hour; the loop goes on. */
static void coroutine_fn co_hang_together(void)
{
    BlockBackend *blk = co_set_up();
    Asker askers[4];

    g_assert_true(co_works(blk));
    qatomic_set(&helper.mode, HELPER_HANGS_AFTER_COMMAND);
    for (int i = 0; i < 4; i++) {
        askers[i] = (Asker) { .blk = blk, .n = 1, .timeout = i ? 3600 * 1000 : 50 };
        qemu_coroutine_enter(qemu_coroutine_create(co_ask, &askers[i]));
    }
    for (int i = 0; i < 4; i++) {
        co_wait(&askers[i]);
        expect_unreached(&askers[i].c);
    }
    co_wait_closed(1);
    g_assert_cmpint(qatomic_read(&helper.n_commands), ==, 2);
    co_tear_down(blk);
}

static void coroutine_fn co_loops(void)
{
    BlockBackend *blk = co_set_up();
    IOThread *threads[3];
    Asker askers[3];

    for (int i = 0; i < 3; i++) {
        g_autofree char *id = g_strdup_printf("loop%d", i);

        threads[i] = iothread_create(id, &error_abort);
        askers[i] = (Asker) { .blk = blk, .n = 50 };
        aio_co_schedule(iothread_get_aio_context(threads[i]),
                        qemu_coroutine_create(co_ask, &askers[i]));
    }
    for (int i = 0; i < 3; i++) {
        co_wait(&askers[i]);
        g_assert_cmpint(askers[i].c.header.status, ==, 0);
        g_assert_cmpint(askers[i].c.header.resid, ==, 48);
    }
    g_assert_cmpint(qatomic_read(&helper.n_commands), ==, 150);
    g_assert_cmpint(qatomic_read(&helper.n_sessions), ==, 1);
    bdrv_co_drain(blk_bs(blk));
    for (int i = 0; i < 3; i++) {
        iothread_unref(threads[i]);
    }
    co_tear_down(blk);
}

static void expect_error(bool ok, Error **err, const char *start)
{
    g_assert_false(ok);
    g_assert_true(g_str_has_prefix(error_get_pretty(*err), start));
    error_free(*err);
    *err = NULL;
}

static void coroutine_fn co_objects(void)
{
    Error *err = NULL;
    BlockBackend *blk;

    expect_error(add_manager(&err), &err, "Failed to connect to '");
    expect_error(co_open("host_device", BDRV_O_RDWR, &err), &err,
                 "No persistent reservation manager with id 'pr0'");
    user_object_add_from_str("throttle-group,id=pr0", &error_abort);
    expect_error(co_open("host_device", BDRV_O_RDWR, &err), &err,
                 "Object 'pr0' is not of type 'pr-manager-helper' but 'throttle-group'");
    user_object_del("pr0", &error_abort);
    blk = co_set_up();
    g_assert_cmpint(n_connected, ==, 1);
    /* A node, a drive's node and a plain file that has no use for it keep it. */
    for (int i = 0; i < 3; i++) {
        static const char *const drivers[] = { "host_device", "host_cdrom", "file" };
        BlockDriverState *bs;

        co_close(blk);
        model.kind = i == 1 ? 'c' : i == 2 ? 'f' : 's';
        dev_match = i == 2 ? NULL : "/device.img";
        bs = co_open(drivers[i], 0, &error_abort);
        blk = blk_co_new_with_bs(bs, BLK_PERM_CONSISTENT_READ, BLK_PERM_ALL, &error_abort);
        bdrv_unref(bs);
        expect_error(user_object_del("pr0", &err), &err,
                     "object 'pr0' is in use, can not be deleted");
    }
    dev_match = "/device.img";
    co_tear_down(blk);
}

/* ---- QEMU's own helper ----------------------------------------------------------------------- */

/* In the child: descriptor 3 is the listening socket. */
static void pass_listener(gpointer fd)
{
    if (GPOINTER_TO_INT(fd) == 3) {
        fcntl(3, F_SETFD, 0);
    } else {
        dup2(GPOINTER_TO_INT(fd), 3);
    }
}

/* It has a file instead of a disk, and says so by sense that we do not make. */
static void coroutine_fn co_stock_helper(void)
{
    char *argv[] = { (char *)"sh", (char *)"-c",
                     (char *)"LISTEN_PID=$$ LISTEN_FDS=1 exec qemu-pr-helper", NULL };
    g_autofree char *program = g_find_program_in_path("qemu-pr-helper");
    BlockBackend *blk;
    int listen_fd;
    Command c;
    GPid pid;

    if (!program) {
        g_test_skip("there is no qemu-pr-helper");
        return;
    }
    if (geteuid() != 0) {
        g_test_skip("qemu-pr-helper gives up the rights of root, or does not start");
        return;
    }
    memset(&model, 0, sizeof(model));
    model.kind = 's';
    listen_fd = listen_at_path();
    g_assert_true(g_spawn_async(NULL, argv, NULL,
                                G_SPAWN_SEARCH_PATH | G_SPAWN_LEAVE_DESCRIPTORS_OPEN |
                                G_SPAWN_DO_NOT_REAP_CHILD, pass_listener,
                                GINT_TO_POINTER(listen_fd), &pid, NULL));
    close(listen_fd);
    add_manager(&error_abort);
    blk = co_disk();
    for (int i = 0; i < 3; i++) {
        g_assert_cmpint(blk_co_ioctl(blk, SG_IO, i == 1 ? set_key(&c, 0, 1) : read_keys(&c)),
                        ==, 0);
        g_assert_cmpint(c.header.status, ==, 2);
        g_assert_cmpint(c.header.sb_len_wr, ==, 18);
        g_assert_cmpint(c.sense[12], !=, 8);
    }
    co_close(blk);
    user_object_del("pr0", &error_abort);
    kill(pid, SIGTERM);
    g_assert_cmpint(waitpid(pid, NULL, 0), ==, pid);
    unlink(socket_path);
}

static void count_event(int event, QDict *message)
{
    QDict *data = qdict_get_qdict(message, "data");

    if (strcmp(qdict_get_str(message, "event"), "PR_MANAGER_STATUS_CHANGED") == 0) {
        g_assert_cmpstr(qdict_get_str(data, "id"), ==, "pr0");
        qatomic_inc(qdict_get_bool(data, "connected") ? &n_connected : &n_lost);
    }
}

int main(int argc, char **argv)
{
    static const MemCase cases[] = {
        { "/pr-manager/commands/carried-out", co_carried_out },
        { "/pr-manager/commands/malformed", co_malformed },
        { "/pr-manager/commands/from-loops", co_loops },
        { "/pr-manager/helper/hostile", co_hostile },
        { "/pr-manager/helper/lost-and-found", co_lost },
        { "/pr-manager/helper/gone-before-features", co_no_features },
        { "/pr-manager/helper/hangs", co_hang_together },
        { "/pr-manager/helper/of-qemu", co_stock_helper },
        { "/pr-manager/object/use", co_objects },
    };

    test_init(&argc, &argv);
    device_path = test_tmpfile("device.img");
    socket_path = test_tmpfile("helper");
    g_assert_true(g_file_set_contents(device_path, "", 0, NULL));
    dev = &model;
    dev_match = "/device.img";
    qapi_event_set_emitter(count_event);
    qemu_init_main_loop(&error_abort);
    pr_manager_register_type();
    throttle_group_register_type();
    mem_drivers = bdrv_drivers;
    mem_add_cases(cases, ARRAY_SIZE(cases));
    return g_test_run();
}
