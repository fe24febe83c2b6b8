/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * zone_report, zone_open, zone_close, zone_finish, zone_reset, zone_append: zoned devices.  Zones
 * are printed in sectors of 512 bytes; arguments are in bytes.
 */
#include "qemu/osdep.h"

#include "qemu-io.h"

#include <getopt.h>

/* Of a report; more are asked for by the next. */
#define MAX_REPORT 4096

static int64_t sectors(int64_t bytes)
{
    return bytes >> BDRV_SECTOR_BITS;
}

static void print_zone(const BlockZoneDescriptor *zone)
{
    printf("start: 0x%" PRIx64 ", len 0x%" PRIx64 ", cap 0x%" PRIx64 ", wptr 0x%" PRIx64
           ", zcond:%u, [type: %u]\n", sectors(zone->start), sectors(zone->length),
           sectors(zone->cap), sectors(zone->wp), zone->state, zone->type);
}

static int coroutine_fn co_report(QemuIo *io, int argc, char **argv)
{
    g_autofree BlockZoneDescriptor *zones = g_new(BlockZoneDescriptor, MAX_REPORT);
    int64_t offset = qemuio_number(argv[1]);
    int64_t wanted = offset < 0 ? offset : qemuio_number(argv[2]);

    if (wanted < 0) {
        return wanted;
    }
    do {
        unsigned n = MIN(wanted, MAX_REPORT);
        int ret = blk_co_zone_report(io->blk, offset, &n, zones);

        if (ret < 0) {
            printf("zone report failed: %s\n", strerror(-ret));
            return ret;
        }
        for (unsigned i = 0; i < n; i++) {
            print_zone(&zones[i]);
        }
        if (n == 0) {
            break;
        }
        wanted -= n;
        offset = zones[n - 1].start + zones[n - 1].length;
    } while (wanted > 0 && offset < blk_getlength(io->blk));
    return 0;
}

static int coroutine_fn co_mgmt(QemuIo *io, BlockZoneOp op, const char *name, char **argv)
{
    int64_t offset = qemuio_number(argv[1]);
    int64_t bytes = offset < 0 ? offset : qemuio_number(argv[2]);
    int ret;

    if (bytes < 0) {
        return bytes;
    }
    ret = blk_co_zone_mgmt(io->blk, op, offset, bytes);
    if (ret < 0) {
        printf("zone %s failed: %s\n", name, strerror(-ret));
    }
    return ret;
}

static int coroutine_fn co_open(QemuIo *io, int argc, char **argv)
{
    return co_mgmt(io, BLK_ZO_OPEN, "open", argv);
}

static int coroutine_fn co_close(QemuIo *io, int argc, char **argv)
{
    return co_mgmt(io, BLK_ZO_CLOSE, "close", argv);
}

static int coroutine_fn co_finish(QemuIo *io, int argc, char **argv)
{
    return co_mgmt(io, BLK_ZO_FINISH, "finish", argv);
}

static int coroutine_fn co_reset(QemuIo *io, int argc, char **argv)
{
    return co_mgmt(io, BLK_ZO_RESET, "reset", argv);
}

static int coroutine_fn co_append(QemuIo *io, int argc, char **argv)
{
    static const IoRequestSyntax syntax = { io_zone_commands, IO_REQUEST_WRITE, "p", true };
    IoRequest req;
    bool prints = false;
    int ret;

    for (int i = 1; i < argc; i++) {
        prints |= !strcmp(argv[i], "-p");
    }
    ret = qemuio_request_parse(&req, &syntax, argc, argv);
    if (ret >= 0) {
        ret = qemuio_request_fill(io, &req);
    }
    if (ret >= 0) {
        ret = blk_co_zone_append(io->blk, &req.offset, &req.qiov, 0);
        if (ret < 0) {
            printf("zone append failed: %s\n", strerror(-ret));
        } else if (prints) {
            printf("After zap done, the append sector is 0x%" PRIx64 "\n", sectors(req.offset));
        }
    }
    qemuio_request_clear(io, &req);
    return ret;
}

const IoCommand io_zone_commands[] = {
    { "zone_report", "zrp", 2, 2, "offset number", "report zones from a given offset on",
      "\n tells of each zone: start, length, capacity and write pointer in sectors, condition "
      "and type as numbers of the standards\n",
      false, BLK_PERM_CONSISTENT_READ, co_report },
    { "zone_open", "zo", 2, 2, "offset len", "open the zones in a range", NULL, false,
      BLK_PERM_WRITE, co_open },
    { "zone_close", "zc", 2, 2, "offset len", "close the zones in a range", NULL, false,
      BLK_PERM_WRITE, co_close },
    { "zone_finish", "zf", 2, 2, "offset len", "finish the zones in a range: they become full",
      NULL, false, BLK_PERM_WRITE, co_finish },
    { "zone_reset", "zrs", 2, 2, "offset len",
      "reset the write pointers of the zones in a range: their data is gone", NULL, false,
      BLK_PERM_WRITE, co_reset },
    { "zone_append", "zap", 3, 4, "[-p] offset len [len..]",
      "write a number of bytes at the write pointer of the zone at an offset",
      "\n writes from several buffers, one for each length\n -p, -- say where the data is\n",
      false, BLK_PERM_WRITE, co_append },
    { .name = NULL },
};
