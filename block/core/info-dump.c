/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What is told about images, as text for people: qemu-img info, HMP.
 */
#include "qemu/osdep.h"

#include "block/qapi.h"
#include "qapi/object-output.h"
#include "block/block_int.h"
#include "qemu/cutils.h"
#include "qobject/qbool.h"
#include "qobject/qlist.h"
#include "qobject/qnum.h"
#include "qobject/qstring.h"

/* ---- any value, indented --------------------------------------------------------------------- */

static void dump_value(const QObject *value, int indentation, GString *out);

static void indent(int indentation, GString *out)
{
    g_string_append_printf(out, "%*s", indentation * 4, "");
}

/* "key: 1" on one line, or "key:" and what is in it below. */
static void dump_entry(const char *key, const QObject *value, int indentation, GString *out)
{
    bool is_composite = qobject_type(value) == QTYPE_QDICT || qobject_type(value) == QTYPE_QLIST;
    indent(indentation, out);
    g_string_append_printf(out, "%s:%s", key, is_composite ? "\n" : " ");
    dump_value(value, indentation + 1, out);
    if (!is_composite) {
        g_string_append_c(out, '\n');
    }
}

static void dump_dict(const QDict *dict, int indentation, GString *out)
{
    const QDictEntry *entry;
    for (entry = qdict_first(dict); entry; entry = qdict_next(dict, entry)) {
        g_autofree char *key = g_strdup(qdict_entry_key(entry));
        g_strdelimit(key, "-", ' ');
        dump_entry(key, qdict_entry_value(entry), indentation, out);
    }
}

static void dump_list(const QList *list, int indentation, GString *out)
{
    const QListEntry *entry;
    int i = 0;
    QLIST_FOREACH_ENTRY(list, entry) {
        g_autofree char *key = g_strdup_printf("[%d]", i++);
        dump_entry(key, qlist_entry_obj(entry), indentation, out);
    }
}

static void dump_value(const QObject *value, int indentation, GString *out)
{
    switch (qobject_type(value)) {
    case QTYPE_QNUM: {
        g_autofree char *number = qnum_to_string(qobject_to(QNum, value));
        g_string_append(out, number);
        break;
    }
    case QTYPE_QSTRING:
        g_string_append(out, qstring_get_str(qobject_to(QString, value)));
        break;
    case QTYPE_QBOOL:
        g_string_append(out, qbool_get_bool(qobject_to(QBool, value)) ? "true" : "false");
        break;
    case QTYPE_QDICT:
        dump_dict(qobject_to(QDict, value), indentation, out);
        break;
    case QTYPE_QLIST:
        dump_list(qobject_to(QList, value), indentation, out);
        break;
    default:
        break;
    }
}

static void dump_specific(const ImageInfoSpecific *info, int indentation, GString *out)
{
    g_autoptr(QObject) all = qapi_to_qobject(&info, &qapi_type_ImageInfoSpecific);
    QDict *dict = qobject_to(QDict, all);
    const QDict *data = qdict_get_qdict(dict, "data");
    if (data && qdict_size(data)) {
        indent(indentation, out);
        g_string_append(out, "Format specific information:\n");
        dump_dict(data, indentation + 1, out);
    }
}

static void dump_limits(const BlockLimitsInfo *limits, int indentation, GString *out)
{
    g_autoptr(QObject) dict = qapi_to_qobject(&limits, &qapi_type_BlockLimitsInfo);
    indent(indentation, out);
    g_string_append(out, "Node limits:\n");
    dump_dict(qobject_to(QDict, dict), indentation + 1, out);
}

/* ---- images ---------------------------------------------------------------------------------- */

static void line(GString *out, int indentation, const char *fmt, ...) QEMU_PRINTF(3, 4);

static void line(GString *out, int indentation, const char *fmt, ...)
{
    va_list ap;
    indent(indentation, out);
    va_start(ap, fmt);
    g_string_append_vprintf(out, fmt, ap);
    va_end(ap);
    g_string_append_c(out, '\n');
}

static void dump_backing(const BlockNodeInfo *info, int ind, GString *out)
{
    if (!info->backing_filename) {
        return;
    }
    if (!info->full_backing_filename) {
        line(out, ind, "backing file: %s (cannot determine actual path)", info->backing_filename);
    } else if (strcmp(info->backing_filename, info->full_backing_filename) != 0) {
        line(out, ind, "backing file: %s (actual path: %s)", info->backing_filename,
             info->full_backing_filename);
    } else {
        line(out, ind, "backing file: %s", info->backing_filename);
    }
    if (info->backing_filename_format) {
        line(out, ind, "backing file format: %s", info->backing_filename_format);
    }
}

void bdrv_node_info_dump(const BlockNodeInfo *info, int indentation, bool is_protocol, GString *out)
{
    int ind = indentation;
    g_autofree char *size = size_to_str(info->virtual_size);
    g_autofree char *allocated = info->has_actual_size ? size_to_str(info->actual_size)
                                                       : g_strdup("unavailable");
    line(out, ind, "%s: %s", is_protocol ? "filename" : "image", info->filename);
    line(out, ind, "%s: %s", is_protocol ? "protocol type" : "file format", info->format);
    line(out, ind, "%s: %s (%" PRId64 " bytes)", is_protocol ? "file length" : "virtual size",
         size, info->virtual_size);
    line(out, ind, "disk size: %s", allocated);
    if (info->has_encrypted && info->encrypted) {
        line(out, ind, "encrypted: yes");
    }
    if (info->has_cluster_size) {
        line(out, ind, "cluster_size: %" PRId64, info->cluster_size);
    }
    if (info->has_dirty_flag && info->dirty_flag) {
        line(out, ind, "cleanly shut down: no");
    }
    dump_backing(info, ind, out);
    if (info->has_snapshots && info->snapshots) {
        line(out, ind, "Snapshot list:");
        indent(ind, out);
        bdrv_snapshot_dump(NULL, out);
        for (SnapshotInfoList *entry = info->snapshots; entry; entry = entry->next) {
            indent(ind, out);
            bdrv_snapshot_dump(entry->value, out);
        }
    }
    if (info->limits) {
        dump_limits(info->limits, ind, out);
    }
    if (info->format_specific) {
        dump_specific(info->format_specific, ind, out);
    }
}

static void dump_graph(const BlockGraphInfo *info, int indentation, const char *path, GString *out)
{
    bdrv_node_info_dump(bdrv_graph_info_node((BlockGraphInfo *)info), indentation,
                        !info->children, out);
    for (BlockChildInfoList *entry = info->children; entry; entry = entry->next) {
        g_autofree char *child_path = g_strdup_printf("%s/%s", path, entry->value->name);
        line(out, indentation, "Child node '%s':", child_path);
        dump_graph(entry->value->info, indentation + 1, child_path, out);
    }
}

void bdrv_graph_info_dump(const BlockGraphInfo *info, int indentation, GString *out)
{
    dump_graph(info, indentation, "", out);
}

/* ---- snapshots ------------------------------------------------------------------------------- */

void bdrv_snapshot_dump(const SnapshotInfo *sn, GString *out)
{
    if (!sn) {
        g_string_append_printf(out, "%-7s %-16s %8s %19s %15s %10s\n", "ID", "TAG", "VM_SIZE",
                               "DATE", "VM_CLOCK", "ICOUNT");
        return;
    }
    char date[64], clock[64];
    time_t seconds = sn->date_sec;
    struct tm tm;
    if (!localtime_r(&seconds, &tm) ||
        !strftime(date, sizeof(date), "%Y-%m-%d %H:%M:%S", &tm)) {
        pstrcpy(date, sizeof(date), "unknown");
    }
    int64_t secs = sn->vm_clock_sec;
    snprintf(clock, sizeof(clock), "%04" PRId64 ":%02d:%02d.%03d", secs / 3600,
             (int)(secs / 60 % 60), (int)(secs % 60), (int)(sn->vm_clock_nsec / 1000000));
    g_autofree char *vm_size = size_to_str(sn->vm_state_size);
    g_autofree char *icount = sn->has_icount ? g_strdup_printf("%" PRId64, sn->icount)
                                             : g_strdup("--");
    g_string_append_printf(out, "%-7s %-16s %8s %19s %15s %10s\n", sn->id, sn->name, vm_size, date,
                           clock, icount);
}

bool bdrv_format_info_dump(BlockDriverState *bs, GString *out, Error **errp)
{
    BlockDriverInfo info;
    g_autoptr(ImageInfoSpecific) specific = NULL;
    Error *local_err = NULL;
    int ret = bdrv_get_info(bs, &info);

    if (ret < 0 && ret != -ENOTSUP) {
        error_setg_errno(errp, -ret, "Could not get information on node '%s'", bs->node_name);
        return false;
    }
    if (ret >= 0) {
        g_autofree char *cluster = size_to_str(info.cluster_size);
        g_autofree char *vm_state = size_to_str(info.vm_state_offset);

        g_string_append_printf(out, "cluster size: %s\nvm state offset: %s\n",
                               info.cluster_size ? cluster : "0 bytes",
                               info.vm_state_offset ? vm_state : "0 bytes");
    }
    if (bs->drv->bdrv_get_specific_info) {
        specific = bs->drv->bdrv_get_specific_info(bs, &local_err);
    }
    if (local_err) {
        error_propagate(errp, local_err);
        return false;
    }
    if (specific) {
        dump_specific(specific, 0, out);
    }
    return true;
}
