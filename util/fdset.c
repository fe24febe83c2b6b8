/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Descriptors handed to us: numbered sets and names.
 */
#include "qemu/osdep.h"

#include <pthread.h>

#include "qemu/cutils.h"
#include "qemu/fdset.h"
#include "qemu/hostfile.h"

typedef struct Fdset {
    int64_t id;
    GArray *fds;                /* of FdsetFdDesc */
    GArray *dups;               /* of int: duplicates in use */
} Fdset;

/* All below is guarded by this lock. */
static pthread_mutex_t fdset_lock = PTHREAD_MUTEX_INITIALIZER;
static GPtrArray *fdsets;       /* of Fdset *, ascending by id; NULL while there was none */
static GHashTable *named_fds;   /* name -> fd + 1 */
static int monitors;

static void clear_fd_desc(void *desc)
{
    g_free(((FdsetFdDesc *)desc)->opaque);
}

static GArray *new_fd_array(void)
{
    GArray *fds = g_array_new(FALSE, FALSE, sizeof(FdsetFdDesc));

    g_array_set_clear_func(fds, clear_fd_desc);
    return fds;
}

static void free_fdset(void *opaque)
{
    Fdset *set = opaque;

    g_array_unref(set->fds);
    g_array_unref(set->dups);
    g_free(set);
}

/* The set with number @id, or NULL; then *@index is where it belongs. */
static Fdset *find_set(int64_t id, guint *index)
{
    guint i = 0;

    if (!fdsets) {
        fdsets = g_ptr_array_new_with_free_func(free_fdset);
    }
    for (; i < fdsets->len; i++) {
        Fdset *set = fdsets->pdata[i];
        if (set->id >= id) {
            *index = i;
            return set->id == id ? set : NULL;
        }
    }
    *index = i;
    return NULL;
}

/* Forget a set in which nothing is left. */
static void drop_if_unused(Fdset *set)
{
    if (!set->fds->len && !set->dups->len) {
        g_ptr_array_remove(fdsets, set);
    }
}

static void close_member(Fdset *set, guint i)
{
    close(g_array_index(set->fds, FdsetFdDesc, i).fd);
    g_array_remove_index(set->fds, i);
}

static int64_t lowest_free_id(void)
{
    int64_t id = 0;

    for (guint i = 0; fdsets && i < fdsets->len; i++) {
        if (((Fdset *)fdsets->pdata[i])->id != id) {
            break;
        }
        id++;
    }
    return id;
}

int64_t fdset_add_fd(int fd, const int64_t *id, const char *opaque, Error **errp)
{
    FdsetFdDesc desc = { .fd = fd };
    int64_t number;
    Fdset *set;
    guint index;

    if (id && *id < 0) {
        error_setg(errp, "Parameter 'fdset-id' expects a non-negative value");
        return -1;
    }
    desc.opaque = g_strdup(opaque);
    pthread_mutex_lock(&fdset_lock);
    number = id ? *id : lowest_free_id();
    set = find_set(number, &index);
    if (!set) {
        set = g_new0(Fdset, 1);
        set->id = number;
        set->fds = new_fd_array();
        set->dups = g_array_new(FALSE, FALSE, sizeof(int));
        g_ptr_array_insert(fdsets, index, set);
    }
    g_array_append_val(set->fds, desc);
    pthread_mutex_unlock(&fdset_lock);
    return number;
}

/* Returns whether anything was removed. */
static bool remove_members(int64_t id, int fd)
{
    guint index;
    Fdset *set = find_set(id, &index);
    bool found = false;

    if (!set) {
        return false;
    }
    for (guint i = set->fds->len; i-- > 0;) {
        if (fd == -1 || g_array_index(set->fds, FdsetFdDesc, i).fd == fd) {
            close_member(set, i);
            found = true;
        }
    }
    drop_if_unused(set);
    return found || fd == -1;
}

bool fdset_remove_fd(int64_t id, int fd, Error **errp)
{
    bool found;

    pthread_mutex_lock(&fdset_lock);
    found = remove_members(id, fd);
    pthread_mutex_unlock(&fdset_lock);
    if (!found && fd == -1) {
        error_setg(errp, "File descriptor named 'fdset-id:%" PRId64 "' not found", id);
    } else if (!found) {
        error_setg(errp, "File descriptor named 'fdset-id:%" PRId64 ", fd:%d' not found", id, fd);
    }
    return found;
}

static void free_set_desc(void *opaque)
{
    FdsetDesc *desc = opaque;

    g_array_unref(desc->fds);
    g_free(desc);
}

GPtrArray *fdset_query(void)
{
    GPtrArray *sets = g_ptr_array_new_with_free_func(free_set_desc);

    pthread_mutex_lock(&fdset_lock);
    for (guint i = 0; fdsets && i < fdsets->len; i++) {
        const Fdset *set = fdsets->pdata[i];
        FdsetDesc *desc = g_new0(FdsetDesc, 1);

        desc->id = set->id;
        desc->fds = new_fd_array();
        for (guint j = 0; j < set->fds->len; j++) {
            FdsetFdDesc member = g_array_index(set->fds, FdsetFdDesc, j);
            member.opaque = g_strdup(member.opaque);
            g_array_append_val(desc->fds, member);
        }
        g_ptr_array_add(sets, desc);
    }
    pthread_mutex_unlock(&fdset_lock);
    return sets;
}

/* Returns the duplicate, or negative errno. */
static int dup_member(int64_t id, int flags)
{
    guint index;
    Fdset *set = find_set(id, &index);

    if (!set) {
        return -ENOENT;
    }
    for (guint i = 0; i < set->fds->len; i++) {
        int fd = g_array_index(set->fds, FdsetFdDesc, i).fd;
        int has = fcntl(fd, F_GETFL);

        if (has < 0) {
            return -errno;
        }
        if ((has & O_ACCMODE) == (flags & O_ACCMODE)) {
            int copy = qemu_dup_flags(fd, flags);
            if (copy < 0) {
                return -errno;
            }
            g_array_append_val(set->dups, copy);
            return copy;
        }
    }
    return -EACCES;
}

int fdset_dup_fd(int64_t id, int flags, Error **errp)
{
    int fd;

    pthread_mutex_lock(&fdset_lock);
    fd = dup_member(id, flags);
    pthread_mutex_unlock(&fdset_lock);
    if (fd >= 0) {
        return fd;
    }
    if (fd == -EACCES) {
        error_setg(errp, "Could not open '/dev/fdset/%" PRId64 "': no descriptor in the set is "
                   "open for %s", id, (flags & O_ACCMODE) == O_RDONLY ? "reading only" :
                   (flags & O_ACCMODE) == O_WRONLY ? "writing only" : "reading and writing");
    } else {
        error_setg_errno(errp, -fd, "Could not open '/dev/fdset/%" PRId64 "'", id);
    }
    errno = -fd;
    return -1;
}

void fdset_forget_dup(int fd)
{
    pthread_mutex_lock(&fdset_lock);
    for (guint i = 0; fdsets && i < fdsets->len; i++) {
        Fdset *set = fdsets->pdata[i];
        for (guint j = 0; j < set->dups->len; j++) {
            if (g_array_index(set->dups, int, j) == fd) {
                g_array_remove_index_fast(set->dups, j);
                drop_if_unused(set);
                pthread_mutex_unlock(&fdset_lock);
                return;
            }
        }
    }
    pthread_mutex_unlock(&fdset_lock);
}

void fdset_monitor_opened(void)
{
    pthread_mutex_lock(&fdset_lock);
    monitors++;
    pthread_mutex_unlock(&fdset_lock);
}

void fdset_monitor_closed(void)
{
    pthread_mutex_lock(&fdset_lock);
    assert(monitors > 0);
    monitors--;
    for (guint i = fdsets && !monitors ? fdsets->len : 0; i-- > 0;) {
        Fdset *set = fdsets->pdata[i];
        if (!set->dups->len) {
            while (set->fds->len) {
                close_member(set, set->fds->len - 1);
            }
            drop_if_unused(set);
        }
    }
    pthread_mutex_unlock(&fdset_lock);
}

/* ---- names ---------------------------------------------------------------------------------- */

/* Returns -1 when there is none. */
static int steal_named(const char *name)
{
    char *key;
    void *value;

    if (!named_fds || !g_hash_table_steal_extended(named_fds, name, (void **)&key, &value)) {
        return -1;
    }
    g_free(key);
    return GPOINTER_TO_INT(value) - 1;
}

bool named_fd_add(const char *name, int fd, Error **errp)
{
    int old;

    if (g_ascii_isdigit(name[0])) {
        error_setg(errp, "Parameter 'fdname' expects a name not starting with a digit");
        return false;
    }
    pthread_mutex_lock(&fdset_lock);
    if (!named_fds) {
        named_fds = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);
    }
    old = steal_named(name);
    g_hash_table_insert(named_fds, g_strdup(name), GINT_TO_POINTER(fd + 1));
    pthread_mutex_unlock(&fdset_lock);
    if (old >= 0) {
        close(old);
    }
    return true;
}

int named_fd_take(const char *name, Error **errp)
{
    int fd;

    pthread_mutex_lock(&fdset_lock);
    fd = steal_named(name);
    pthread_mutex_unlock(&fdset_lock);
    if (fd < 0) {
        error_setg(errp, "File descriptor named '%s' has not been found", name);
    }
    return fd;
}

bool named_fd_close(const char *name, Error **errp)
{
    int fd = named_fd_take(name, NULL);

    if (fd < 0) {
        error_setg(errp, "File descriptor named '%s' not found", name);
        return false;
    }
    close(fd);
    return true;
}

int named_fd_param(const char *param, Error **errp)
{
    int fd;

    if (!g_ascii_isdigit(param[0])) {
        return named_fd_take(param, errp);
    }
    fd = qemu_parse_fd(param);
    if (fd < 0) {
        error_setg(errp, "Invalid file descriptor number '%s'", param);
    }
    return fd;
}
