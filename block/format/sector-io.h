/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Reading and writing encrypted sectors: I/O on an edge through a bounce buffer, with the cipher's
 * work of large requests done in workers.
 */
#ifndef BLOCK_FORMAT_SECTOR_IO_H
#define BLOCK_FORMAT_SECTOR_IO_H

#include "block/block_int.h"
#include "crypto/sectors.h"

/**
 * Read [@offset, + @bytes) of @child, multiples of CRYPTO_SECTOR_SIZE, decrypted.  @sector is the
 * number of the first sector as its encryption knows it.  Returns 0 or a negative errno.
 */
int coroutine_fn sector_io_co_read(CryptoSectors *sectors, BdrvChild *child, int64_t offset,
                                   uint64_t sector, int64_t bytes, QEMUIOVector *qiov,
                                   size_t qiov_offset);
/** The same for writing; @qiov is left as it is. */
int coroutine_fn sector_io_co_write(CryptoSectors *sectors, BdrvChild *child, int64_t offset,
                                    uint64_t sector, int64_t bytes, QEMUIOVector *qiov,
                                    size_t qiov_offset, unsigned flags);

#endif
