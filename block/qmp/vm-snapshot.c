/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Snapshots of the machine and all its disks: the jobs snapshot-save, -load and -delete, and
 * savevm, loadvm, delvm and "info snapshots".  vm-state.c does the work.
 */
#include "qemu/osdep.h"

#include "block/blockjob.h"
#include "block/graph.h"
#include "block/qapi.h"
#include "block/snapshot.h"
#include "block/vm-snapshot.h"
#include "monitor/hmp.h"
#include "monitor/monitor.h"
#include "qapi/clone.h"
#include "qapi/gen/migration-commands.h"
#include "qmp-block.h"
#include "qobject/qdict.h"

/* ---- which disks ----------------------------------------------------------------------------- */

static bool note_backend(BdrvChild *edge, void *opaque)
{
    bool *has_backend = opaque;
    *has_backend |= edge->gate && !edge->gate->is_job;
    return !*has_backend;
}

/* Does a snapshot of everything include @bs: something writable that a user or device has? */
static bool is_included(BlockDriverState *bs)
{
    bool has_backend = false;

    if (!bdrv_is_inserted(bs) || bdrv_is_read_only(bs)) {
        return false;
    }
    bdrv_foreach_parent(bs, note_backend, &has_backend);
    return has_backend || (bdrv_is_monitor_owned(bs) && !bdrv_has_node_parent(bs));
}

static GPtrArray *included_disks(void)
{
    GPtrArray *disks = g_ptr_array_new();

    for (BlockDriverState *bs = bdrv_next_node(NULL); bs; bs = bdrv_next_node(bs)) {
        if (is_included(bs)) {
            g_ptr_array_add(disks, bs);
        }
    }
    return disks;
}

/* The nodes called @names. */
static GPtrArray *named_disks(const strList *names, Error **errp)
{
    g_autoptr(GPtrArray) disks = g_ptr_array_new();

    if (!names) {
        error_setg(errp, "At least one device is required for snapshot");
        return NULL;
    }
    for (; names; names = names->next) {
        BlockDriverState *bs = bdrv_find_node(names->value);
        if (!bs) {
            error_setg(errp, "No block device node '%s'", names->value);
            return NULL;
        }
        if (!g_ptr_array_find(disks, bs, NULL)) {
            g_ptr_array_add(disks, bs);
        }
    }
    return g_steal_pointer(&disks);
}

bool vm_disks_can_snapshot(const GPtrArray *disks, Error **errp)
{
    for (guint i = 0; i < disks->len; i++) {
        BlockDriverState *bs = disks->pdata[i];
        if (!bdrv_can_snapshot(bs)) {
            error_setg(errp, "Device '%s' is writable but does not support snapshots",
                       bdrv_get_device_or_node_name(bs));
            return false;
        }
    }
    return true;
}

bool vm_disks_have_snapshot(const GPtrArray *disks, const char *name)
{
    for (guint i = 0; i < disks->len; i++) {
        g_autoptr(SnapshotInfo) info = bdrv_snapshot_find(disks->pdata[i], NULL, name);
        if (!info) {
            return false;
        }
    }
    return true;
}

bool coroutine_fn vm_snapshot_co_load(const char *tag, Error **errp)
{
    g_autoptr(GPtrArray) disks = included_disks();

    return vm_snapshot_co_go_back(disks, tag, NULL, NULL, errp);
}

/* ---- deleting -------------------------------------------------------------------------------- */

static bool coroutine_fn co_delete(const GPtrArray *disks, const char *tag, const char *vmstate,
                                   Job *job, Error **errp)
{
    if (!vm_disks_can_snapshot(disks, errp)) {
        return false;
    }
    for (guint i = 0; i < disks->len; i++) {
        BlockDriverState *bs = disks->pdata[i];
        g_autoptr(SnapshotInfo) info = bdrv_snapshot_find(bs, NULL, tag);
        if (!info) {
            continue;
        }
        if (bdrv_op_is_blocked(bs, BLOCK_OP_TYPE_INTERNAL_SNAPSHOT_DELETE, errp)) {
            return false;
        }
        if (!bdrv_co_snapshot_delete(bs, info->id, errp)) {
            error_prepend(errp, "Could not delete snapshot '%s' on '%s': ", tag,
                          bdrv_get_device_or_node_name(bs));
            return false;
        }
    }
    return true;
}

/* ---- jobs ------------------------------------------------------------------------------------ */

typedef struct SnapshotJob {
    Job job;
    bool coroutine_fn (*co_operate)(const GPtrArray *disks, const char *tag, const char *vmstate,
                                    Job *job, Error **errp);
    char *tag, *vmstate;
    strList *devices;
} SnapshotJob;

static int coroutine_fn snapshot_co_run(Job *job, Error **errp)
{
    SnapshotJob *s = (SnapshotJob *)job;
    bool ok = false;

    job_progress_set_remaining(job, 1);
    job_co_control_begin(job);
    if (!job_is_cancelled(job)) {
        g_autoptr(GPtrArray) disks = named_disks(s->devices, errp);
        ok = disks && s->co_operate(disks, s->tag, s->vmstate, job, errp);
    }
    job_co_control_end(job);
    job_progress_update(job, 1);
    if (!ok) {
        return job_is_cancelled(job) ? -ECANCELED : -EINVAL;
    }
    return 0;
}

static void snapshot_free(Job *job)
{
    SnapshotJob *s = (SnapshotJob *)job;

    g_free(s->tag);
    g_free(s->vmstate);
    qapi_free_strList(s->devices);
}

#define SNAPSHOT_JOB(type) \
    { .instance_size = sizeof(SnapshotJob), .job_type = (type), .co_run = snapshot_co_run, \
      .free = snapshot_free }

static const JobDriver save_job = SNAPSHOT_JOB(JOB_TYPE_SNAPSHOT_SAVE);
static const JobDriver load_job = SNAPSHOT_JOB(JOB_TYPE_SNAPSHOT_LOAD);
static const JobDriver delete_job = SNAPSHOT_JOB(JOB_TYPE_SNAPSHOT_DELETE);

/* NULL with @errp set; else the caller fills in co_operate and vmstate, and starts it. */
static SnapshotJob *snapshot_job_new(const char *id, const JobDriver *driver, const char *tag,
                                     const strList *devices, Error **errp)
{
    SnapshotJob *s = (SnapshotJob *)job_create(id, driver, NULL, JOB_MANUAL_DISMISS, errp);

    if (s) {
        s->tag = g_strdup(tag);
        s->devices = QAPI_CLONE(strList, devices);
    }
    return s;
}

void coroutine_fn qmp_snapshot_save(const char *job_id, const char *tag, const char *vmstate,
                                    strList *devices, Error **errp)
{
    SnapshotJob *s = snapshot_job_new(job_id, &save_job, tag, devices, errp);

    if (s) {
        s->co_operate = vm_snapshot_co_save;
        s->vmstate = g_strdup(vmstate);
        job_start(&s->job);
    }
}

void coroutine_fn qmp_snapshot_load(const char *job_id, const char *tag, const char *vmstate,
                                    strList *devices, Error **errp)
{
    SnapshotJob *s = snapshot_job_new(job_id, &load_job, tag, devices, errp);

    if (s) {
        s->co_operate = vm_snapshot_co_go_back;
        s->vmstate = g_strdup(vmstate);
        job_start(&s->job);
    }
}

void coroutine_fn qmp_snapshot_delete(const char *job_id, const char *tag, strList *devices,
                                      Error **errp)
{
    SnapshotJob *s = snapshot_job_new(job_id, &delete_job, tag, devices, errp);

    if (s) {
        s->co_operate = co_delete;
        job_start(&s->job);
    }
}

/* ---- for people ------------------------------------------------------------------------------ */

/* The size of the machine's state, wherever it is. */
static int64_t state_size(const GPtrArray *disks, const char *name)
{
    int64_t size = 0;

    for (guint i = 0; i < disks->len; i++) {
        g_autoptr(SnapshotInfo) info = bdrv_snapshot_find(disks->pdata[i], NULL, name);

        size = info ? MAX(size, info->vm_state_size) : size;
    }
    return size;
}

/* Those of @list that are (are not) on all @disks; the number of lines. */
static int print_snapshots(GString *out, const SnapshotInfoList *list, const GPtrArray *disks,
                           bool on_all)
{
    int n = 0;

    for (; list; list = list->next) {
        if (vm_disks_have_snapshot(disks, list->value->name) == on_all) {
            SnapshotInfo line = *list->value;

            if (on_all) {
                line.id = (char *)"--"; /* another one on each disk */
                line.vm_state_size = state_size(disks, line.name);
            }
            if (n++ == 0) {
                bdrv_snapshot_dump(NULL, out);
            }
            bdrv_snapshot_dump(&line, out);
        }
    }
    return n;
}

/* Those of all disks that can keep snapshots. */
static GPtrArray *snapshot_disks(void)
{
    GPtrArray *disks = included_disks();

    for (guint i = disks->len; i-- > 0;) {
        if (!bdrv_can_snapshot(disks->pdata[i])) {
            g_ptr_array_remove_index(disks, i);
        }
    }
    return disks;
}

static void coroutine_fn hmp_info_snapshots(Monitor *mon, const QDict *args)
{
    g_autoptr(GPtrArray) disks = snapshot_disks();
    g_autoptr(GString) out = g_string_new("List of snapshots present on all disks:\n");
    bool any = false;

    if (!disks->len) {
        monitor_printf(mon, "No available block device supports snapshots\n");
        return;
    }
    for (guint i = 0; i < disks->len; i++) {
        g_autoptr(SnapshotInfoList) list = bdrv_snapshot_list(disks->pdata[i]);
        g_autoptr(GString) partial = g_string_new("");

        any |= list != NULL;
        if (i == 0 && !print_snapshots(out, list, disks, true)) {
            g_string_append(out, "None\n");
        }
        if (print_snapshots(partial, list, disks, false)) {
            g_string_append_printf(out, "\nList of partial (non-loadable) snapshots on '%s':\n%s",
                                   bdrv_get_device_or_node_name(disks->pdata[i]), partial->str);
        }
    }
    monitor_printf(mon, "%s", any ? out->str : "There is no snapshot available.\n");
}

static void coroutine_fn hmp_savevm(Monitor *mon, const QDict *args)
{
    g_autoptr(GPtrArray) disks = included_disks();
    const char *name = qdict_get_try_str(args, "name");
    g_autoptr(GDateTime) now = g_date_time_new_now_local();
    g_autofree char *tag = name ? g_strdup(name) : g_date_time_format(now, "vm-%Y%m%d%H%M%S");
    Error *err = NULL;

    vm_snapshot_co_save(disks, tag, NULL, NULL, &err);
    hmp_handle_error(mon, err);
}

static void coroutine_fn hmp_loadvm(Monitor *mon, const QDict *args)
{
    g_autoptr(GPtrArray) disks = included_disks();
    Error *err = NULL;

    vm_snapshot_co_go_back(disks, qdict_get_str(args, "name"), NULL, NULL, &err);
    hmp_handle_error(mon, err);
}

static void coroutine_fn hmp_delvm(Monitor *mon, const QDict *args)
{
    g_autoptr(GPtrArray) disks = snapshot_disks();
    Error *err = NULL;

    co_delete(disks, qdict_get_str(args, "name"), NULL, NULL, &err);
    hmp_handle_error(mon, err);
}

/* Also those that only some disks have: delvm deletes them. */
static void complete_tag(GPtrArray *words, const GPtrArray *before, const char *prefix)
{
    g_autoptr(GPtrArray) disks = snapshot_disks();

    for (guint i = 0; i < disks->len; i++) {
        hmp_add_snapshots(words, disks->pdata[i], prefix);
    }
}

static const HMPCommand commands[] = {
    { "savevm", "name:s?", "[tag]", "save the machine and its disks in a snapshot",
      hmp_savevm, false },
    { "loadvm", "name:s", "tag", "go back to a snapshot of the machine and its disks",
      hmp_loadvm, false },
    { "delvm", "name:s", "tag", "delete a snapshot from all disks", hmp_delvm, false },
    { .name = NULL },
};

static const HMPCommand infos[] = {
    { "snapshots", "", "", "show the snapshots within the images of all disks",
      hmp_info_snapshots, true },
    { .name = NULL },
};

void hmp_vm_snapshot_register(void)
{
    hmp_register_commands(commands);
    hmp_register_info(infos);
    hmp_set_completer("loadvm", 0, complete_tag);
    hmp_set_completer("delvm", 0, complete_tag);
}
