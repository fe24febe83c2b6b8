/* SPDX-License-Identifier: GPL-2.0-or-later */
/* QMP commands that are about monitors themselves, and about descriptors passed over them. */
#include "qemu/osdep.h"
#include "monitor-int.h"

#include "qapi/gen/control-commands.h"
#include "qapi/gen/introspect-commands.h"
#include "qapi/gen/monitor-commands.h"
#include "qemu/fdset.h"
#include "qemu/version.h"

/* ---- control --------------------------------------------------------------------------------- */

void coroutine_fn qmp_qmp_capabilities(bool has_enable, QMPCapabilityList *enable, Error **errp)
{
    Monitor *mon = monitor_cur();
    bool oob = false;

    for (; has_enable && enable; enable = enable->next) {
        oob |= enable->value == QMP_CAPABILITY_OOB;
    }
    if (!mon || !mon->is_qmp || !qmp_session_negotiated(mon, oob)) {
        error_set(errp, ERROR_CLASS_COMMAND_NOT_FOUND,
                  "Capabilities negotiation is already complete, command ignored");
    }
}

VersionInfo *coroutine_fn qmp_query_version(Error **errp)
{
    VersionInfo *info = g_new0(VersionInfo, 1);

    info->qemu = g_new0(VersionTriple, 1);
    info->qemu->major = QEMU_VERSION_MAJOR;
    info->qemu->minor = QEMU_VERSION_MINOR;
    info->qemu->micro = QEMU_VERSION_MICRO;
    info->package = g_strdup(QEMU_PACKAGE);
    return info;
}

static void list_command(const QmpCommand *cmd, void *opaque)
{
    CommandInfoList ***tail = opaque;

    if (qmp_command_is_enabled(qmp_session_commands(), cmd->name)) {
        CommandInfo *info = g_new0(CommandInfo, 1);

        info->name = g_strdup(cmd->name);
        QAPI_LIST_APPEND(*tail, info);
    }
}

CommandInfoList *coroutine_fn qmp_query_commands(Error **errp)
{
    CommandInfoList *list = NULL;
    CommandInfoList **tail = &list;

    qmp_for_each_command(qmp_session_commands(), list_command, &tail);
    return list;
}

void coroutine_fn qmp_query_qmp_schema(QDict *args, QObject **ret, Error **errp)
{
    const QDictEntry *entry = qdict_first(args);

    if (entry) {
        error_setg(errp, "Parameter '%s' is unexpected", qdict_entry_key(entry));
        return;
    }
    *ret = QOBJECT(qmp_introspect(qmp_session_commands()));
}

/* ---- emulator -------------------------------------------------------------------------------- */

char *coroutine_fn qmp_human_monitor_command(const char *command_line, bool has_cpu_index,
                                             int64_t cpu_index, Error **errp)
{
    if (has_cpu_index && cpu_index != 0) {
        error_setg(errp, "Parameter 'cpu-index' expects a CPU number");
        return NULL;
    }
    return hmp_run_collecting(command_line);
}

/* A descriptor that came with this command. */
static int take_fd(Error **errp)
{
    Monitor *mon = monitor_cur();
    int fd = mon && mon->is_qmp ? qmp_session_take_fd(mon) : -1;

    if (fd < 0) {
        error_setg(errp, "No file descriptor supplied via SCM_RIGHTS");
    }
    return fd;
}

AddfdInfo *coroutine_fn qmp_add_fd(bool has_fdset_id, int64_t fdset_id, const char *opaque,
                                   Error **errp)
{
    int fd = take_fd(errp);
    AddfdInfo *info;
    int64_t id;

    if (fd < 0) {
        return NULL;
    }
    id = fdset_add_fd(fd, has_fdset_id ? &fdset_id : NULL, opaque, errp);
    if (id < 0) {
        close(fd);
        return NULL;
    }
    info = g_new0(AddfdInfo, 1);
    info->fdset_id = id;
    info->fd = fd;
    return info;
}

void coroutine_fn qmp_remove_fd(int64_t fdset_id, bool has_fd, int64_t fd, Error **errp)
{
    if (has_fd && (fd < 0 || fd > INT_MAX)) {
        error_setg(errp, "File descriptor named 'fdset-id:%" PRId64 ", fd:%" PRId64
                   "' not found", fdset_id, fd);
        return;
    }
    fdset_remove_fd(fdset_id, has_fd ? (int)fd : -1, errp);
}

FdsetInfoList *coroutine_fn qmp_query_fdsets(Error **errp)
{
    g_autoptr(GPtrArray) sets = fdset_query();
    FdsetInfoList *list = NULL;
    FdsetInfoList **tail = &list;

    for (guint i = 0; i < sets->len; i++) {
        const FdsetDesc *desc = sets->pdata[i];
        FdsetInfo *info = g_new0(FdsetInfo, 1);
        FdsetFdInfoList **fd_tail = &info->fds;

        info->fdset_id = desc->id;
        for (guint j = 0; j < desc->fds->len; j++) {
            const FdsetFdDesc *fd = &g_array_index(desc->fds, FdsetFdDesc, j);
            FdsetFdInfo *fd_info = g_new0(FdsetFdInfo, 1);

            fd_info->fd = fd->fd;
            fd_info->opaque = g_strdup(fd->opaque);
            QAPI_LIST_APPEND(fd_tail, fd_info);
        }
        QAPI_LIST_APPEND(tail, info);
    }
    return list;
}

void coroutine_fn qmp_getfd(const char *fdname, Error **errp)
{
    int fd = take_fd(errp);

    if (fd >= 0 && !named_fd_add(fdname, fd, errp)) {
        close(fd);
    }
}

void coroutine_fn qmp_closefd(const char *fdname, Error **errp)
{
    named_fd_close(fdname, errp);
}
