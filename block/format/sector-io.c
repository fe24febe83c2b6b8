/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "qemu/osdep.h"

#include "block/coroutine.h"
#include "block/thread-pool.h"
#include "sector-io.h"

#define MAX_BOUNCE (1 * MiB)
/* What one worker does at a time.  Less than two of them is done at once: that is quicker. */
#define PIECE (64 * KiB)

/* ---- the cipher, in workers ---------------------------------------------------------------- */

typedef int SectorsFunc(CryptoSectors *sectors, uint64_t sector, void *buf, size_t len);

typedef struct Parallel {
    Coroutine *co;
    unsigned pending; /* completions come in the loop of the request: no other thread has it */
    int ret;
} Parallel;

typedef struct Piece {
    Parallel *all;
    SectorsFunc *func;
    CryptoSectors *sectors;
    uint64_t sector;
    uint8_t *buf;
    size_t len;
} Piece;

static int run_piece(void *arg)
{
    Piece *p = arg;

    return p->func(p->sectors, p->sector, p->buf, p->len);
}

static void piece_done(void *opaque, int ret)
{
    Parallel *all = ((Piece *)opaque)->all;

    if (ret < 0) {
        all->ret = ret;
    }
    if (--all->pending == 0) {
        aio_co_wake(all->co);
    }
}

static int coroutine_fn co_transform(SectorsFunc *func, CryptoSectors *sectors, uint64_t sector,
                                     uint8_t *buf, size_t len)
{
    Piece pieces[MAX_BOUNCE / PIECE];
    Parallel all = { .co = qemu_coroutine_self() };

    if (len < 2 * PIECE) {
        return func(sectors, sector, buf, len);
    }
    for (size_t done = 0; done < len; done += PIECE) {
        pieces[all.pending++] = (Piece){
            &all, func, sectors, sector + done / CRYPTO_SECTOR_SIZE, buf + done,
            MIN(PIECE, len - done),
        };
    }
    for (unsigned i = 0, n = all.pending; i < n; i++) {
        thread_pool_submit_aio(run_piece, &pieces[i], piece_done, &pieces[i]);
    }
    qemu_coroutine_yield();
    return all.ret;
}

/* ---- I/O ----------------------------------------------------------------------------------- */

int coroutine_fn sector_io_co_read(CryptoSectors *sectors, BdrvChild *child, int64_t offset,
                                   uint64_t sector, int64_t bytes, QEMUIOVector *qiov,
                                   size_t qiov_offset)
{
    QEMU_AUTO_VFREE uint8_t *bounce = bdrv_try_blockalign(child->bs, MIN(bytes, MAX_BOUNCE));

    if (!bounce) {
        return -ENOMEM;
    }
    for (int64_t done = 0; done < bytes;) {
        int64_t n = MIN(bytes - done, MAX_BOUNCE);
        int ret = bdrv_co_pread(child, offset + done, n, bounce, 0);

        if (ret >= 0) {
            ret = co_transform(crypto_sectors_decrypt, sectors,
                               sector + done / CRYPTO_SECTOR_SIZE, bounce, n);
        }
        if (ret < 0) {
            return ret;
        }
        qemu_iovec_from_buf(qiov, qiov_offset + done, bounce, n);
        done += n;
    }
    return 0;
}

int coroutine_fn sector_io_co_write(CryptoSectors *sectors, BdrvChild *child, int64_t offset,
                                    uint64_t sector, int64_t bytes, QEMUIOVector *qiov,
                                    size_t qiov_offset, unsigned flags)
{
    QEMU_AUTO_VFREE uint8_t *bounce = bdrv_try_blockalign(child->bs, MIN(bytes, MAX_BOUNCE));

    if (!bounce) {
        return -ENOMEM;
    }
    for (int64_t done = 0; done < bytes;) {
        int64_t n = MIN(bytes - done, MAX_BOUNCE);
        int ret;

        qemu_iovec_to_buf(qiov, qiov_offset + done, bounce, n);
        ret = co_transform(crypto_sectors_encrypt, sectors, sector + done / CRYPTO_SECTOR_SIZE,
                           bounce, n);
        if (ret >= 0) {
            ret = bdrv_co_pwrite(child, offset + done, n, bounce, flags);
        }
        if (ret < 0) {
            return ret;
        }
        done += n;
    }
    return 0;
}
