/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Every driver, in the order in which formats are probed.  A new driver adds two lines here.
 */
#include "qemu/osdep.h"

#include "block/block_int.h"

extern BlockDriver bdrv_luks;
extern BlockDriver bdrv_qcow2;
extern BlockDriver bdrv_raw;
extern BlockDriver bdrv_file, bdrv_host_device, bdrv_host_cdrom;
extern BlockDriver bdrv_null_co, bdrv_null_aio;
extern BlockDriver bdrv_blkdebug, bdrv_blklogwrites, bdrv_copy_before_write;
extern BlockDriver bdrv_blkverify, bdrv_preallocate, bdrv_snapshot_access;
extern BlockDriver bdrv_compress, bdrv_copy_on_read, bdrv_quorum, bdrv_throttle;

BlockDriver *const bdrv_drivers[] = {
    /* formats; raw takes what nobody else wants */
    &bdrv_luks,
    &bdrv_qcow2,
    &bdrv_raw,
    /* protocols */
    &bdrv_file,
    &bdrv_host_cdrom,
    &bdrv_host_device,
    &bdrv_null_co,
    &bdrv_null_aio,
    /* filters */
    &bdrv_blkdebug,
    &bdrv_blklogwrites,
    &bdrv_blkverify,
    &bdrv_compress,
    &bdrv_copy_before_write,
    &bdrv_copy_on_read,
    &bdrv_preallocate,
    &bdrv_quorum,
    &bdrv_snapshot_access,
    &bdrv_throttle,
    NULL,
};

static const char *const rw_whitelist[] = { CONFIG_BDRV_RW_WHITELIST NULL };
static const char *const ro_whitelist[] = { CONFIG_BDRV_RO_WHITELIST NULL };

void bdrv_init(void)
{
    bdrv_register_drivers(bdrv_drivers);
#ifdef CONFIG_BDRV_WHITELIST_TOOLS
    bdrv_set_whitelist(rw_whitelist, ro_whitelist);
#endif
}

void bdrv_init_with_whitelist(void)
{
    bdrv_init();
    bdrv_set_whitelist(rw_whitelist, ro_whitelist);
    bdrv_use_whitelist();
}
