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

#include "block/lock-wait.h"
#include "block/thread-pool.h"
#include "qemu/cutils.h"
#include "qemu/hostfile.h"
#include "qemu/timer.h"

#define LOCK_USED_BASE 100
#define LOCK_UNSHARED_BASE 200
#define LOCK_RIGHTS 4

/* /proc/PID/comm has no longer names. */
#define MAX_COMM 15

typedef struct GetLocks {
    int fd;
    const FileLocks *held, *want;
    bool look_for_holder;
    bool conflict;    /* else an error of the host */
    bool is_unshared; /* which kind of lock could not be had */
    int right;
    char *holder; /* of the lock in the way, for people; NULL: not looked for */
} GetLocks;

/* ---- who holds a lock ------------------------------------------------------------------------ */

typedef struct LockedByte {
    char *file;       /* MAJOR:MINOR:INODE as fdinfo has it */
    int fd;           /* ours, which does not count */
    int64_t byte;
    FileLocks locks;  /* all that the descriptor found holds on the file */
    bool is_held;     /* among them is the byte in question */
    bool some_hidden; /* there are processes whose descriptors we may not see */
} LockedByte;

/*
 * "lock: N: OFDLCK ADVISORY READ -1 MAJOR:MINOR:INODE START END": where the file's name begins, the
 * first word with two colons.
 */
static const char *find_file_word(const char *line)
{
    const char *colon, *second;

    if (!strstart(line, "lock:", &line)) {
        return NULL;
    }
    for (colon = strchr(line, ':'); colon; colon = strchr(colon + 1, ':')) {
        second = colon + 1 + strspn(colon + 1, "0123456789abcdefABCDEF");
        if (second > colon + 1 && *second == ':') {
            while (colon > line && g_ascii_isxdigit(colon[-1])) {
                colon--;
            }
            return colon;
        }
    }
    return NULL;
}

static void note_range(LockedByte *lock, int64_t start, int64_t end)
{
    for (int i = 0; i < LOCK_RIGHTS; i++) {
        if (start <= LOCK_USED_BASE + i && LOCK_USED_BASE + i <= end) {
            lock->locks.uses |= UINT64_C(1) << i;
        }
        if (start <= LOCK_UNSHARED_BASE + i && LOCK_UNSHARED_BASE + i <= end) {
            lock->locks.unshared |= UINT64_C(1) << i;
        }
    }
    lock->is_held |= start <= lock->byte && lock->byte <= end;
}

/* Note in @lock what one descriptor, told of by the file @fdinfo, holds. */
static bool fd_holds_lock(const char *fdinfo, LockedByte *lock)
{
    g_autofree char *text = NULL;
    g_auto(GStrv) lines = NULL;
    size_t len = strlen(lock->file);

    if (!g_file_get_contents(fdinfo, &text, NULL, NULL)) {
        return false;
    }
    lock->locks = (FileLocks) { 0 };
    lock->is_held = false;
    lines = g_strsplit(text, "\n", -1);
    for (unsigned i = 0; lines[i]; i++) {
        const char *word = find_file_word(lines[i]);
        long long start, end;

        if (word && strncmp(word, lock->file, len) == 0 && word[len] == ' ' &&
            sscanf(word + len, "%lld %lld", &start, &end) == 2) {
            note_range(lock, start, end);
        }
    }
    return lock->is_held;
}

static bool process_holds_lock(const char *pid, LockedByte *lock)
{
    g_autofree char *path = g_strdup_printf("/proc/%s/fdinfo", pid);
    g_autoptr(GDir) dir = g_dir_open(path, 0, NULL);
    bool is_self = strtol(pid, NULL, 10) == getpid();
    const char *name;

    lock->some_hidden |= !dir;
    while (dir && (name = g_dir_read_name(dir))) {
        g_autofree char *fdinfo = g_build_filename(path, name, NULL);

        if (!(is_self && strtol(name, NULL, 10) == lock->fd) && fd_holds_lock(fdinfo, lock)) {
            return true;
        }
    }
    return false;
}

/*
 * How fdinfo calls the file.  stat() and the kernel's list of locks may differ in the device (file
 * systems of several layers), so our own entry in that list is asked first.
 */
static char *file_in_fdinfo(int fd)
{
    g_autofree char *path = g_strdup_printf("/proc/self/fdinfo/%d", fd);
    g_autofree char *text = NULL;
    g_auto(GStrv) lines = NULL;
    struct stat st;

    if (g_file_get_contents(path, &text, NULL, NULL)) {
        lines = g_strsplit(text, "\n", -1);
        for (unsigned i = 0; lines[i]; i++) {
            const char *word = find_file_word(lines[i]);

            if (word) {
                return g_strndup(word, strcspn(word, " "));
            }
        }
    }
    if (fstat(fd, &st) < 0) {
        return NULL;
    }
    return g_strdup_printf("%02x:%02x:%llu", major(st.st_dev), minor(st.st_dev),
                           (unsigned long long)st.st_ino);
}

/* The name of a process, or NULL; the kernel cuts it where the program's file has more. */
static char *process_name(const char *pid)
{
    g_autofree char *comm_path = g_strdup_printf("/proc/%s/comm", pid);
    g_autofree char *exe_path = g_strdup_printf("/proc/%s/exe", pid);
    g_autofree char *exe = g_file_read_link(exe_path, NULL);
    g_autofree char *base = exe ? g_path_get_basename(exe) : NULL;
    char *comm = NULL;

    if (!g_file_get_contents(comm_path, &comm, NULL, NULL)) {
        return NULL;
    }
    g_strchomp(comm);
    if (strlen(comm) == MAX_COMM && base && g_str_has_prefix(base, comm) &&
        !strchr(base, '\n')) {
        g_free(comm);
        return g_steal_pointer(&base);
    }
    return comm;
}

static char *describe_holder(const char *pid, const FileLocks *locks)
{
    g_autofree char *uses = bdrv_rights_text(locks->uses);
    g_autofree char *unshared = bdrv_rights_text(locks->unshared);
    g_autofree char *name = process_name(pid);
    GString *text = g_string_new("process ");

    g_string_append(text, pid);
    if (name) {
        g_string_append_printf(text, " (%s)", name);
    }
    if (strtol(pid, NULL, 10) == getpid()) {
        g_string_append(text, ", this one");
    }
    g_string_append_printf(text, ": it uses %s", *uses ? uses : "nothing");
    g_string_append_printf(text, " and keeps others from %s", *unshared ? unshared : "nothing");
    return g_string_free(text, FALSE);
}

/* Worker: the process that holds a byte, as far as we may see it. */
static char *find_holder(int fd, int64_t byte)
{
    LockedByte lock = { .fd = fd, .byte = byte };
    g_autoptr(GDir) proc = g_dir_open("/proc", 0, NULL);
    g_autofree char *file = lock.file = file_in_fdinfo(fd);
    const char *pid;

    while (proc && file && (pid = g_dir_read_name(proc))) {
        if (g_ascii_isdigit(pid[0]) && process_holds_lock(pid, &lock)) {
            return describe_holder(pid, &lock.locks);
        }
    }
    return g_strdup(lock.some_hidden || !proc
                    ? "a process that is not visible to this user"
                    : "a process that is not visible here, or another host");
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
        if (get->conflict && get->look_for_holder) {
            int base = get->is_unshared ? LOCK_USED_BASE : LOCK_UNSHARED_BASE;

            get->holder = find_holder(get->fd, base + get->right);
        }
        file_locks_drop(get->fd, want, held);
    }
    return ret;
}

/* ---- waiting for others ---------------------------------------------------------------------- */

#define RETRY_NS (100 * INT64_C(1000000))

/* Tell the user what takes so long: on a terminal one line that counts, else a line at first. */
static void show_waiting(const GetLocks *get, const char *filename, unsigned seconds)
{
    g_autofree char *right = bdrv_rights_text(UINT64_C(1) << get->right);
    bool on_terminal = isatty(STDERR_FILENO);

    if (seconds == 0 || on_terminal) {
        error_printf("%sWaiting for the \"%s\" lock on '%s', held by %s (%u of %u s)%s",
                     on_terminal ? "\r" : "", right, filename, get->holder, seconds,
                     bdrv_lock_wait(), on_terminal ? "" : "\n");
    }
}

/* The locks, or -errno and in @get why not, after waiting for others. */
static int coroutine_fn co_get_or_wait(GetLocks *get, const char *filename)
{
    int64_t start = qemu_clock_get_ns(QEMU_CLOCK_REALTIME);
    int64_t end = start + bdrv_lock_wait() * NANOSECONDS_PER_SECOND;
    unsigned shown = 0;
    bool on_terminal = isatty(STDERR_FILENO);

    get->look_for_holder = true;
    while (true) {
        int ret = thread_pool_submit_co(get_locks, get);
        int64_t now = qemu_clock_get_ns(QEMU_CLOCK_REALTIME);
        unsigned seconds = (now - start) / NANOSECONDS_PER_SECOND;

        if (ret >= 0 || !get->conflict || now >= end) {
            if (shown && on_terminal) {
                error_printf("\n");
            }
            return ret;
        }
        if (get->look_for_holder) {
            show_waiting(get, filename, seconds);
            shown = seconds + 1;
        }
        qemu_co_sleep_ns(QEMU_CLOCK_REALTIME, MIN(RETRY_NS, end - now));
        g_clear_pointer(&get->holder, g_free);
        get->conflict = get->is_unshared = false;
        /* Looking through all processes is dear: once a second, and for the last answer. */
        now = qemu_clock_get_ns(QEMU_CLOCK_REALTIME);
        get->look_for_holder = now >= end || now - start >= shown * NANOSECONDS_PER_SECOND;
    }
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
    ret = co_get_or_wait(&get, filename);
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
