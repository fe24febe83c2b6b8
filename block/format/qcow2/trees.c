/* SPDX-License-Identifier: GPL-2.0-or-later */
/* All L1 tables of an image, for a shadow switch that changes many of them; see shadow.h. */
#include "qemu/osdep.h"

#include "shadow.h"

/* In memory at one time; images with many snapshots of large disks stay far below. */
#define MAX_TREE_BYTES (192 * MiB)

static void tree_clear(void *opaque)
{
    Qcow2Tree *tree = opaque;

    if (tree->is_owned) {
        g_free(tree->l1);
    }
}

GArray *coroutine_fn qcow2_shadow_co_trees(Qcow2Shadow *sh, Error **errp)
{
    const Qcow2State *s = sh->bs->opaque;
    g_autoptr(GArray) trees = g_array_new(FALSE, FALSE, sizeof(Qcow2Tree));
    Qcow2Tree active = { sh->l1, sh->l1_size, false, false };
    uint64_t bytes = 0;

    g_array_set_clear_func(trees, tree_clear);
    g_array_append_val(trees, active);
    for (guint i = 0; i < s->snapshots->len; i++) {
        const Qcow2Snapshot *sn = &g_array_index(s->snapshots, Qcow2Snapshot, i);
        Qcow2Tree tree = { NULL, sn->l1_size, true, false };

        bytes += (uint64_t)sn->l1_size * 8;
        if (bytes > MAX_TREE_BYTES) {
            error_setg(errp, "The L1 tables of the snapshots take more than %" PRIu64 " MiB, too "
                       "much for this operation", (uint64_t)(MAX_TREE_BYTES / MiB));
            return NULL;
        }
        tree.l1 = qcow2_snapshot_co_read_l1(sh->bs, sn, errp);
        if (!tree.l1) {
            return NULL;
        }
        g_array_append_val(trees, tree);
    }
    return g_steal_pointer(&trees);
}

bool coroutine_fn qcow2_shadow_co_put_trees(Qcow2Shadow *sh, const GArray *trees, uint64_t cut,
                                            Error **errp)
{
    const Qcow2State *s = sh->bs->opaque;
    g_autoptr(GArray) list = qcow2_snapshots_copy(s->snapshots);
    bool changed = s->header.snapshots_offset + s->snapshots_bytes > cut;

    for (guint i = 0; i < list->len; i++) {
        Qcow2Snapshot *sn = &g_array_index(list, Qcow2Snapshot, i);
        const Qcow2Tree *tree = &g_array_index(trees, Qcow2Tree, i + 1);
        uint64_t bytes = (uint64_t)sn->l1_size * 8;
        int64_t offset;

        if (!tree->is_changed && sn->l1_offset + bytes <= cut) {
            continue;
        }
        offset = qcow2_shadow_co_write_l1(sh, tree->l1, tree->size, errp);
        if (offset < 0 || !qcow2_shadow_co_retire(sh, sn->l1_offset, bytes, errp)) {
            return false;
        }
        sn->l1_offset = offset;
        changed = true;
    }
    return !changed || !list->len || qcow2_shadow_co_put_list(sh, list, errp);
}
