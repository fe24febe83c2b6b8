/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Claims between processes: OFD byte locks on the image file.
 *
 * Right i used: a read lock on byte 100+i.  Right i not shared: a read lock on byte 200+i.  Everybody
 * takes read locks only, then asks whether a write lock on the opposite byte would be refused.
 */
#include "qemu/osdep.h"

#include "file.h"

#include "block/thread-pool.h"
#include "qemu/hostfile.h"

#define LOCK_USED_BASE 100
#define LOCK_UNSHARED_BASE 200
#define LOCK_RIGHTS 4

typedef struct GetLocks {
    int fd;
    const FileLocks *held, *want;
    bool conflict;    /* else an error of the host */
    bool is_unshared; /* which kind of lock could not be had */
    int right;
} GetLocks;

/* Take the bytes of @mask from @base on; 0 or -errno with the failing bit in *right. */
static int take_bytes(int fd, int base, BlockRights mask, int *right)
{
    for (int i = 0; i < LOCK_RIGHTS; i++) {
        int ret = mask & (UINT64_C(1) << i) ? qemu_lock_fd(fd, base + i, 1, false) : 0;

        if (ret < 0) {
            *right = i;
            return ret;
        }
    }
    return 0;
}

static void drop_bytes(int fd, int base, BlockRights mask)
{
    for (int i = 0; i < LOCK_RIGHTS; i++) {
        int ret = mask & (UINT64_C(1) << i) ? qemu_unlock_fd(fd, base + i, 1) : 0;

        if (ret < 0) {
            warn_report("Failed to unlock byte %d: %s", base + i, strerror(-ret));
        }
    }
}

/* Does anybody else hold a byte of @mask? */
static int test_bytes(int fd, int base, BlockRights mask, int *right)
{
    for (int i = 0; i < LOCK_RIGHTS; i++) {
        int ret = mask & (UINT64_C(1) << i) ? qemu_lock_fd_test(fd, base + i, 1, true) : 0;

        if (ret < 0) {
            *right = i;
            return ret;
        }
    }
    return 0;
}

void file_locks_drop(int fd, const FileLocks *have, const FileLocks *keep)
{
    drop_bytes(fd, LOCK_USED_BASE, have->uses & ~keep->uses);
    drop_bytes(fd, LOCK_UNSHARED_BASE, have->unshared & ~keep->unshared);
}

static int get_locks(void *opaque)
{
    GetLocks *get = opaque;
    const FileLocks *held = get->held, *want = get->want;
    int ret = take_bytes(get->fd, LOCK_USED_BASE, want->uses & ~held->uses, &get->right);

    if (ret >= 0) {
        get->is_unshared = true;
        ret = take_bytes(get->fd, LOCK_UNSHARED_BASE, want->unshared & ~held->unshared,
                         &get->right);
    }
    if (ret >= 0) {
        get->conflict = true;
        get->is_unshared = false;
        ret = test_bytes(get->fd, LOCK_UNSHARED_BASE, want->uses, &get->right);
    }
    if (ret >= 0) {
        get->is_unshared = true;
        ret = test_bytes(get->fd, LOCK_USED_BASE, want->unshared, &get->right);
    }
    if (ret < 0) {
        file_locks_drop(get->fd, want, held);
    }
    return ret;
}

bool coroutine_fn file_locks_co_get(int fd, const FileLocks *held, const FileLocks *want,
                                    const char *filename, Error **errp)
{
    GetLocks get = { .fd = fd, .held = held, .want = want };
    g_autofree char *right = NULL;
    int ret;

    if (held->uses == want->uses && held->unshared == want->unshared) {
        return true;
    }
    ret = thread_pool_submit_co(get_locks, &get);
    if (ret >= 0) {
        return true;
    }
    right = bdrv_rights_text(UINT64_C(1) << get.right);
    if (get.conflict) {
        error_setg(errp, "Failed to get %s\"%s\" lock", get.is_unshared ? "shared " : "", right);
        error_append_hint(errp, "Is another process using the image [%s]?\n", filename);
    } else {
        error_setg_errno(errp, -ret, "Failed to lock byte %d of '%s'",
                         (get.is_unshared ? LOCK_UNSHARED_BASE : LOCK_USED_BASE) + get.right,
                         filename);
    }
    return false;
}
