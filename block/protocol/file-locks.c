/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Claims between processes: OFD byte locks on the image file.
 *
 * Right i used: a read lock on byte 100+i.  Right i not shared: a read lock on byte 200+i.
 * Everybody takes read locks only, then asks whether a write lock on the opposite byte would be
 * refused.
 */
#include "qemu/osdep.h"

#include "file.h"

#include <sys/sysmacros.h>

#include "block/thread-pool.h"
#include "qemu/cutils.h"
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
    char *holder; /* of the lock in the way, for people; NULL: unknown */
} GetLocks;

/* ---- who holds a lock ------------------------------------------------------------------------ */

typedef struct LockedByte {
    struct stat st; /* of the file */
    int fd;         /* ours, which does not count */
    int64_t byte;
} LockedByte;

/* Does @line of a fdinfo file, "lock: ... MAJOR:MINOR:INODE START END", tell of the lock? */
static bool line_names_lock(const char *line, const LockedByte *lock)
{
    unsigned major_no, minor_no;
    unsigned long long inode;
    long long start, end;
    const char *colon;

    if (!strstart(line, "lock:", &line)) {
        return false;
    }
    /* The device is the first word with two colons. */
    for (colon = strchr(line, ':'); colon; colon = strchr(colon + 1, ':')) {
        const char *word = colon;

        while (word > line && g_ascii_isxdigit(word[-1])) {
            word--;
        }
        if (sscanf(word, "%x:%x:%llu %lld %lld", &major_no, &minor_no, &inode, &start, &end) == 5) {
            return makedev(major_no, minor_no) == lock->st.st_dev && inode == lock->st.st_ino &&
                   start <= lock->byte && lock->byte <= end;
        }
    }
    return false;
}

static bool fd_holds_lock(const char *fdinfo, const LockedByte *lock)
{
    g_autofree char *text = NULL;
    g_auto(GStrv) lines = NULL;

    if (!g_file_get_contents(fdinfo, &text, NULL, NULL)) {
        return false;
    }
    lines = g_strsplit(text, "\n", -1);
    for (unsigned i = 0; lines[i]; i++) {
        if (line_names_lock(lines[i], lock)) {
            return true;
        }
    }
    return false;
}

static bool process_holds_lock(const char *pid, const LockedByte *lock)
{
    g_autofree char *path = g_strdup_printf("/proc/%s/fdinfo", pid);
    g_autoptr(GDir) dir = g_dir_open(path, 0, NULL);
    bool is_self = strtol(pid, NULL, 10) == getpid();
    const char *name;

    while (dir && (name = g_dir_read_name(dir))) {
        g_autofree char *fdinfo = g_build_filename(path, name, NULL);

        if (!(is_self && strtol(name, NULL, 10) == lock->fd) && fd_holds_lock(fdinfo, lock)) {
            return true;
        }
    }
    return false;
}

/* Worker: the process that holds a byte, as far as we may see it, or NULL. */
static char *find_holder(int fd, int64_t byte)
{
    LockedByte lock = { .fd = fd, .byte = byte };
    g_autoptr(GDir) proc = g_dir_open("/proc", 0, NULL);
    const char *pid;

    if (!proc || fstat(fd, &lock.st) < 0) {
        return NULL;
    }
    while ((pid = g_dir_read_name(proc))) {
        if (g_ascii_isdigit(pid[0]) && process_holds_lock(pid, &lock)) {
            g_autofree char *path = g_strdup_printf("/proc/%s/comm", pid);
            g_autofree char *comm = NULL;

            if (!g_file_get_contents(path, &comm, NULL, NULL)) {
                return g_strdup_printf("process %s", pid);
            }
            return g_strdup_printf("process %s (%s)", pid, g_strchomp(comm));
        }
    }
    return NULL;
}

/* ---- getting locks --------------------------------------------------------------------------- */

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
        if (get->conflict) {
            int base = get->is_unshared ? LOCK_USED_BASE : LOCK_UNSHARED_BASE;

            get->holder = find_holder(get->fd, base + get->right);
        }
        file_locks_drop(get->fd, want, held);
    }
    return ret;
}

bool coroutine_fn file_locks_co_get(int fd, const FileLocks *held, const FileLocks *want,
                                    const char *filename, Error **errp)
{
    GetLocks get = { .fd = fd, .held = held, .want = want };
    g_autofree char *right = NULL, *holder = NULL;
    int ret;

    if (held->uses == want->uses && held->unshared == want->unshared) {
        return true;
    }
    ret = thread_pool_submit_co(get_locks, &get);
    if (ret >= 0) {
        return true;
    }
    right = bdrv_rights_text(UINT64_C(1) << get.right);
    holder = get.holder;
    if (get.conflict) {
        error_setg(errp, "Failed to get %s\"%s\" lock", get.is_unshared ? "shared " : "", right);
        error_append_hint(errp, "Is another process using the image [%s]?\n", filename);
        if (holder) {
            error_append_hint(errp, "The lock is held by %s.\n", holder);
        }
    } else {
        error_setg_errno(errp, -ret, "Failed to lock byte %d of '%s'",
                         (get.is_unshared ? LOCK_UNSHARED_BASE : LOCK_USED_BASE) + get.right,
                         filename);
    }
    return false;
}
