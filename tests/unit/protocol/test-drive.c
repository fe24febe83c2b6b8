/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Drives of the host and devices that take SCSI commands, by models behind the calls of the file
 * driver.
 */
#include "qemu/osdep.h"

#include "../../lib/devmodel.h"
#include "../../lib/memdisk.h"
#include "../../lib/testlib.h"

#include "block/block-backend.h"
#include "block/dirty-bitmap.h"
#include "block/freeze.h"
#include "block/scsi.h"
#include "block/throttle-group.h"
#include "qemu/atomic.h"
#include "qobject/json-parser.h"

#define READ_WRITE (BLK_PERM_CONSISTENT_READ | BLK_PERM_WRITE)

static char *path;
static DevModel model;

static void make_device(char kind, int64_t bytes)
{
    int fd = open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

    g_assert_cmpint(fd, >=, 0);
    g_assert_cmpint(ftruncate(fd, bytes), ==, 0);
    close(fd);
    memset(&model, 0, sizeof(model));
    model.kind = kind;
}

static BlockDriverState *coroutine_fn co_open_json(const char *text, int flags, Error **errp)
{
    GString *json = g_string_new(text);
    QDict *dict;

    g_string_replace(json, "PATH", path, 0);
    dict = qobject_to(QDict, qobject_from_json(json->str, &error_abort));
    g_string_free(json, TRUE);
    return bdrv_co_open(NULL, NULL, dict, flags, errp);
}

static BlockBackend *coroutine_fn co_user_of(const char *json, int flags, uint64_t perm)
{
    g_autoptr(BlockDriverState) bs = co_open_json(json, flags, &error_abort);

    return blk_co_new_with_bs(bs, perm, BLK_PERM_ALL, &error_abort);
}

/* ---- drives ---------------------------------------------------------------------------------- */

#define DRIVE "{'driver': 'raw', 'read-only': true, 'file': {'driver': 'host_cdrom', " \
              "'filename': 'PATH'}}"

static BlockBackend *coroutine_fn co_drive(void)
{
    return co_user_of(DRIVE, 0, BLK_PERM_CONSISTENT_READ);
}

/* Another disc, of @bytes; 0: none. */
static void insert(int64_t bytes)
{
    g_assert_cmpint(truncate(path, bytes), ==, 0);
    model.has_disc = bytes > 0;
    model.is_changed = true;
}

static void coroutine_fn co_media(void)
{
    uint8_t buf[2048];
    BlockBackend *blk;

    make_device('c', 0);
    blk = co_drive();
    g_assert_false(blk_is_inserted(blk));
    g_assert_cmpint(blk_getlength(blk), ==, -ENOMEDIUM);
    g_assert_cmpint(blk_co_pread(blk, 0, 2048, buf, 0), ==, -ENOMEDIUM);
    g_assert_cmpint(blk_co_flush(blk), ==, -ENOMEDIUM);
    /* The next request finds it. */
    insert(8192);
    g_assert_false(blk_is_inserted(blk));
    g_assert_cmpint(blk_co_pread(blk, 6144, 2048, buf, 0), ==, 0);
    g_assert_true(blk_is_inserted(blk));
    g_assert_cmpint(blk_getlength(blk), ==, 8192);
    g_assert_cmpint(blk_co_pread(blk, 8192, 2048, buf, 0), ==, -EIO);
    /* Taken out: the read that fails says so, and so do all after it. */
    insert(0);
    g_assert_cmpint(blk_co_pread(blk, 0, 2048, buf, 0), ==, -ENOMEDIUM);
    g_assert_false(blk_is_inserted(blk));
    /* A longer one. */
    insert(16384);
    g_assert_cmpint(blk_co_pread(blk, 14336, 2048, buf, 0), ==, 0);
    g_assert_cmpint(blk_co_getlength(blk), ==, 16384);
    /* Exchanged unseen. */
    insert(4096);
    g_assert_cmpint(blk_co_getlength(blk), ==, 4096);
    insert(0);
    g_assert_cmpint(blk_co_pread(blk, 0, 2048, buf, 0), ==, -ENOMEDIUM);
    blk_co_unref(blk);
    /* An empty drive that was closed keeps nobody else from working. */
    make_device('b', 4096);
    model.has_disc = true;
    blk = co_user_of("{'driver': 'host_device', 'filename': 'PATH'}", 0, BLK_PERM_CONSISTENT_READ);
    g_assert_true(blk_is_inserted(blk));
    blk_co_unref(blk);
}

/* What is no drive has what it has, as before. */
static void coroutine_fn co_no_drive(void)
{
    uint8_t buf[512];
    BlockBackend *blk;

    make_device('b', 4096);
    blk = co_drive();
    g_assert_true(blk_is_inserted(blk));
    g_assert_cmpint(blk_getlength(blk), ==, 4096);
    g_assert_cmpint(blk_co_pread(blk, 0, 512, buf, 0), ==, 0);
    blk_co_unref(blk);
}

static void coroutine_fn co_tray(void)
{
    BlockBackend *blk;
    BdrvChild *root;

    make_device('c', 0);
    insert(8192);
    blk = co_drive();
    root = blk_root(blk);
    g_assert_cmpint(bdrv_co_lock_medium(root->bs, true), ==, 0);
    g_assert_true(model.is_locked);
    g_assert_cmpint(bdrv_co_eject(root->bs, true), ==, -EBUSY);
    g_assert_true(blk_is_inserted(blk));
    g_assert_cmpint(bdrv_co_lock_medium(root->bs, false), ==, 0);
    g_assert_cmpint(bdrv_co_eject(root->bs, true), ==, 0);
    g_assert_true(model.is_tray_open);
    g_assert_false(blk_is_inserted(blk));
    model.drive_errno = EIO;
    g_assert_cmpint(bdrv_co_eject(root->bs, false), ==, -EIO);
    model.drive_errno = 0;
    g_assert_cmpint(bdrv_co_eject(root->bs, false), ==, 0);
    g_assert_true(blk_is_inserted(blk));
    g_assert_cmpint(blk_getlength(blk), ==, 8192);
    blk_co_unref(blk);
    /* Without a drive: what the device does is its own business. */
    blk = co_user_of("{'driver': 'null-co'}", 0, BLK_PERM_CONSISTENT_READ);
    g_assert_cmpint(bdrv_co_eject(blk_bs(blk), true), ==, -ENOTSUP);
    g_assert_cmpint(bdrv_co_lock_medium(blk_bs(blk), true), ==, -ENOTSUP);
    blk_co_unref(blk);
}

/* A device's commands reach the drive in their order. */
static void coroutine_fn co_commands_in_order(void)
{
    BlockBackend *blk;

    make_device('c', 0);
    insert(8192);
    blk = co_drive();
    for (int i = 0; i < 20; i++) {
        blk_lock_medium(blk, true);
        blk_lock_medium(blk, false);
        blk_eject(blk, true);
        blk_eject(blk, false);
    }
    blk_lock_medium(blk, true);
    while (qatomic_read(&model.n_moves) < 81 || blk_in_flight(blk)) {
        aio_co_schedule(qemu_get_aio_context(), qemu_coroutine_self());
        qemu_coroutine_yield();
    }
    g_assert_true(model.is_locked);
    g_assert_false(model.is_tray_open);
    blk_co_unref(blk);
}

/* ---- commands -------------------------------------------------------------------------------- */

typedef struct Command {
    uint8_t cdb[10], sense[32], data[64];
    sg_io_hdr_t header;
} Command;

static sg_io_hdr_t *command(Command *c, uint8_t code)
{
    memset(c, 0, sizeof(*c));
    c->cdb[0] = code;
    c->header = (sg_io_hdr_t){
        .interface_id = 'S', .dxfer_direction = SG_DXFER_FROM_DEV, .cmdp = c->cdb,
        .cmd_len = sizeof(c->cdb), .sbp = c->sense, .mx_sb_len = sizeof(c->sense),
        .dxferp = c->data, .dxfer_len = sizeof(c->data), .timeout = 1000,
    };
    return &c->header;
}

#define SG "{'driver': 'host_device', 'filename': 'PATH'}"

typedef struct Answer {
    int ret;
    bool came;
    Coroutine *waiter;
} Answer;

static void got_answer(void *opaque, int ret)
{
    Answer *answer = opaque;

    answer->ret = ret;
    answer->came = true;
    aio_co_wake(answer->waiter);
}

static void coroutine_fn co_sg_takes_commands(void)
{
    Answer answer = { .waiter = qemu_coroutine_self() };
    uint8_t buf[512] = { 0 };
    struct sg_scsi_id id;
    BlockBackend *blk;
    Command c;

    make_device('s', 0);
    blk = co_user_of("{'driver': 'raw', 'file': " SG "}", BDRV_O_RDWR, READ_WRITE);
    g_assert_cmpint(blk_getlength(blk), ==, 0);
    g_assert_cmpint(blk_get_max_transfer(blk), ==, 256 * KiB);
    g_assert_cmpint(blk_co_ioctl(blk, SG_IO, command(&c, SCSI_INQUIRY)), ==, 0);
    g_assert_cmpint(c.header.status, ==, 0);
    g_assert_cmpint(c.header.resid, ==, 64 - 36);
    g_assert_cmpmem(c.data + 8, 4, "TEST", 4);
    /* A command that the device refuses: that is an answer. */
    g_assert_cmpint(blk_co_ioctl(blk, SG_IO, command(&c, SCSI_READ_10)), ==, 0);
    g_assert_cmpint(c.header.status, ==, 2);
    g_assert_cmpint(c.header.sb_len_wr, ==, 18);
    g_assert_cmpint(c.sense[2], ==, 5);
    g_assert_cmpint(c.sense[12], ==, 0x20);
    g_assert_cmpint(blk_co_ioctl(blk, SG_GET_SCSI_ID, &id), ==, 0);
    g_assert_cmpint(id.lun, ==, 1);
    /* By a callback. */
    blk_aio_ioctl(blk, SG_IO, command(&c, SCSI_INQUIRY), got_answer, &answer);
    while (!answer.came) {
        qemu_coroutine_yield();
    }
    g_assert_cmpint(answer.ret, ==, 0);
    g_assert_cmpint(c.data[4], ==, 31);
    /* No other request goes round the claims; nothing is read or written. */
    g_assert_cmpint(blk_co_ioctl(blk, BLKDISCARD, buf), ==, -ENOTSUP);
    blk_set_allow_write_beyond_eof(blk, true);
    g_assert_cmpint(blk_co_pwrite(blk, 0, 512, buf, 0), ==, -ENOTSUP);
    g_assert_cmpint(blk_co_pread(blk, 0, 512, buf, 0), ==, 0);
    g_assert_cmpint(blk_co_flush(blk), ==, 0);
    g_assert_cmpint(model.n_transfers, ==, 0);
    g_assert_cmpint(model.n_commands, ==, 3);
    blk_co_unref(blk);
}

/* It is not read to guess a format. */
static void coroutine_fn co_sg_has_no_format(void)
{
    BlockDriverState *bs;

    make_device('s', 0);
    bs = co_open_json("{'file': {'driver': 'host_device', 'filename': 'PATH', "
                      "'cache': {'direct': true}}}", 0, &error_abort);
    g_assert_cmpstr(bdrv_get_format_name(bs), ==, "raw");
    g_assert_cmpint(model.n_transfers, ==, 0);
    bdrv_unref(bs);
}

/* Who may not write sends no command that might; others' bitmaps see one that did. */
static void coroutine_fn co_sg_respects_claims(void)
{
    g_autoptr(BlockDriverState) bs = NULL;
    BlockBackend *reader, *writer;
    BdrvDirtyBitmap *bitmap;
    Command c;

    make_device('c', 0);
    model.kind = 's';
    bs = co_open_json(SG, BDRV_O_RDWR, &error_abort);
    reader = blk_co_new_with_bs(bs, BLK_PERM_CONSISTENT_READ, BLK_PERM_ALL, &error_abort);
    writer = blk_co_new_with_bs(bs, READ_WRITE, BLK_PERM_ALL, &error_abort);
    g_assert_cmpint(blk_co_ioctl(reader, SG_IO, command(&c, SCSI_INQUIRY)), ==, 0);
    g_assert_cmpint(blk_co_ioctl(reader, SG_IO, command(&c, SCSI_WRITE_10)), ==, -EPERM);
    g_assert_cmpint(blk_co_ioctl(reader, SG_IO, command(&c, SCSI_UNMAP)), ==, -EPERM);
    g_assert_cmpint(blk_co_ioctl(reader, SG_IO, command(&c, 0xc5)), ==, -EPERM);
    g_assert_cmpint(model.n_commands, ==, 1);
    g_assert_cmpint(blk_co_ioctl(writer, SG_IO, command(&c, SCSI_WRITE_10)), ==, 0);
    blk_co_unref(writer);
    blk_co_unref(reader);
    g_clear_pointer(&bs, bdrv_unref);

    /* On a disk beside ordinary requests. */
    make_device('b', 64 * KiB);
    writer = co_user_of(SG, BDRV_O_RDWR, READ_WRITE);
    bitmap = bdrv_create_dirty_bitmap(blk_bs(writer), 4096, "b", &error_abort);
    model.kind = 's';
    g_assert_cmpint(blk_co_ioctl(writer, SG_IO, command(&c, SCSI_INQUIRY)), ==, 0);
    g_assert_cmpint(bdrv_get_dirty_count(bitmap), ==, 0);
    g_assert_cmpint(blk_co_ioctl(writer, SG_IO, command(&c, SCSI_WRITE_10)), ==, 0);
    g_assert_cmpint(bdrv_get_dirty_count(bitmap), ==, 64 * KiB);
    /* One that failed may have written all the same; one that only reads has not. */
    bdrv_clear_dirty_bitmap(bitmap, NULL);
    model.drive_errno = EIO;
    g_assert_cmpint(blk_co_ioctl(writer, SG_IO, command(&c, SCSI_INQUIRY)), ==, -EIO);
    g_assert_cmpint(bdrv_get_dirty_count(bitmap), ==, 0);
    g_assert_cmpint(blk_co_ioctl(writer, SG_IO, command(&c, SCSI_WRITE_10)), ==, -EIO);
    g_assert_cmpint(bdrv_get_dirty_count(bitmap), ==, 64 * KiB);
    model.drive_errno = 0;
    model.kind = 'b';
    bdrv_release_dirty_bitmap(bitmap);
    blk_co_unref(writer);
}

static void coroutine_fn co_sg_through_nodes(void)
{
    g_autoptr(ThrottleGroup) group = throttle_group_use_or_new("g");
    static const struct {
        const char *json;
        int ret;
    } stacks[] = {
        { "{'driver': 'raw', 'file': " SG "}", 0 },
        { "{'driver': 'throttle', 'throttle-group': 'g', 'file': " SG "}", 0 },
        { "{'driver': 'copy-on-read', 'file': " SG "}", -ENOTSUP },
        { "{'driver': 'raw', 'size': 0, 'file': " SG "}", -ENOTSUP },
    };
    Command c;

    for (unsigned i = 0; i < ARRAY_SIZE(stacks); i++) {
        BlockBackend *blk;

        make_device('s', 0);
        blk = co_user_of(stacks[i].json, BDRV_O_RDWR, READ_WRITE);
        g_assert_cmpint(blk_co_ioctl(blk, SG_IO, command(&c, SCSI_INQUIRY)), ==, stacks[i].ret);
        blk_co_unref(blk);
    }
}

int main(int argc, char **argv)
{
    static const MemCase cases[] = {
        { "/drive/media/come-and-go", co_media },
        { "/drive/media/without-a-drive", co_no_drive },
        { "/drive/tray/moves", co_tray },
        { "/drive/tray/commands-in-order", co_commands_in_order },
        { "/sg/commands/answers-and-sense", co_sg_takes_commands },
        { "/sg/open/no-format", co_sg_has_no_format },
        { "/sg/commands/claims", co_sg_respects_claims },
        { "/sg/commands/through-nodes", co_sg_through_nodes },
    };

    test_init(&argc, &argv);
    path = test_tmpfile("device.img");
    dev = &model;
    dev_match = "/device.img";
    qemu_init_main_loop(&error_abort);
    mem_drivers = bdrv_drivers;
    mem_add_cases(cases, ARRAY_SIZE(cases));
    return g_test_run();
}
