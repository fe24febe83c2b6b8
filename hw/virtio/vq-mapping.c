/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "qemu/osdep.h"

#include "hw/virtio/vq-mapping.h"
#include "qapi/gen/device-types.h"
#include "qapi/gen/device-visit.h"
#include "qapi/object-input.h"
#include "qapi/object-output.h"
#include "qapi/user-object.h"
#include "qemu/error.h"
#include "qemu/iothread.h"
#include "qobject/json-writer.h"
#include "qobject/qlist.h"

struct VqMapping {
    IOThreadVirtQueueMappingList *list;
    GPtrArray *iothreads; /* referenced and in use; as the list */
};

/* ---- the property ---------------------------------------------------------------------------- */

static void release_iothread(gpointer data)
{
    IOThread *iothread = data;

    user_object_release(user_object_find(iothread_get_id(iothread)));
    iothread_unref(iothread);
}

static void mapping_free(VqMapping *mapping)
{
    g_ptr_array_unref(mapping->iothreads);
    qapi_free_IOThreadVirtQueueMappingList(mapping->list);
    g_free(mapping);
}
G_DEFINE_AUTOPTR_CLEANUP_FUNC(VqMapping, mapping_free)

static bool use_iothread(VqMapping *mapping, const char *id, Error **errp)
{
    IOThread *iothread = iothread_by_id(id);

    if (!iothread) {
        error_setg(errp, "IOThread \"%s\" object does not exist", id);
        return false;
    }
    if (g_ptr_array_find(mapping->iothreads, iothread, NULL)) {
        error_setg(errp, "duplicate IOThread name \"%s\" in iothread-vq-mapping", id);
        return false;
    }
    if (!user_object_use(id, "iothread", errp)) {
        return false;
    }
    g_ptr_array_add(mapping->iothreads, iothread_ref(iothread));
    return true;
}

/* Either all items say which queues they take, or none does. */
static bool use_iothreads(VqMapping *mapping, Error **errp)
{
    if (!mapping->list) {
        error_setg(errp, "iothread-vq-mapping must name at least one IOThread");
        return false;
    }
    for (IOThreadVirtQueueMappingList *e = mapping->list; e; e = e->next) {
        if (e->value->has_vqs != mapping->list->value->has_vqs) {
            error_setg(errp, "either all items in iothread-vq-mapping must have vqs or none of "
                       "them must have it");
            return false;
        }
        if (!use_iothread(mapping, e->value->iothread, errp)) {
            return false;
        }
    }
    return true;
}

static void release_mapping(Device *dev, const DeviceProperty *prop)
{
    g_clear_pointer((VqMapping **)device_field(dev, prop), mapping_free);
}

static bool set_mapping_text(Device *dev, const DeviceProperty *prop, const char *value,
                             Error **errp)
{
    error_setg(errp, "Invalid parameter type for '%s', expected: array", prop->name);
    return false;
}

static bool set_mapping(Device *dev, const DeviceProperty *prop, QObject *value, Error **errp)
{
    g_autoptr(Visitor) v = qobject_input_visitor_new(value);
    g_autoptr(VqMapping) mapping = g_new0(VqMapping, 1);

    mapping->iothreads = g_ptr_array_new_with_free_func(release_iothread);
    if (!visit_type_IOThreadVirtQueueMappingList(v, prop->name, &mapping->list, errp) ||
        !use_iothreads(mapping, errp)) {
        return false;
    }
    release_mapping(dev, prop);
    *(VqMapping **)device_field(dev, prop) = g_steal_pointer(&mapping);
    return true;
}

static QObject *get_mapping(const Device *dev, const DeviceProperty *prop)
{
    const VqMapping *mapping = *(VqMapping *const *)device_field(dev, prop);

    return mapping ? qapi_to_qobject(&mapping->list, &qapi_type_IOThreadVirtQueueMappingList)
                   : QOBJECT(qlist_new());
}

static char *get_mapping_text(const Device *dev, const DeviceProperty *prop)
{
    QObject *value = get_mapping(dev, prop);
    char *text = g_string_free(qobject_to_json(value), false);

    qobject_unref(value);
    return text;
}

const PropertyKind prop_kind_vq_mapping = {
    .name = "IOThreadVirtQueueMappingList",
    .description = "IOThread virtqueue mapping list "
                   "[{\"iothread\":\"<id>\", \"vqs\":[1,2,3,...]},...]",
    .set = set_mapping_text,
    .get = get_mapping_text,
    .set_object = set_mapping,
    .get_object = get_mapping,
    .release = release_mapping,
};

/* ---- assigning ------------------------------------------------------------------------------- */

unsigned vq_mapping_natural_queues(const VqMapping *mapping)
{
    unsigned n = 0;

    if (!mapping->list->value->has_vqs) {
        return mapping->iothreads->len;
    }
    for (IOThreadVirtQueueMappingList *e = mapping->list; e; e = e->next) {
        for (uint16List *vq = e->value->vqs; vq; vq = vq->next) {
            n++;
        }
    }
    return MIN(n, UINT16_MAX);
}

static AioContext *nth_loop(const VqMapping *mapping, unsigned n)
{
    return iothread_get_aio_context(mapping->iothreads->pdata[n % mapping->iothreads->len]);
}

static bool assign_listed(const IOThreadVirtQueueMapping *item, AioContext *ctx, unsigned n_queues,
                          AioContext **queue_ctx, Error **errp)
{
    for (uint16List *vq = item->vqs; vq; vq = vq->next) {
        if (vq->value >= n_queues) {
            error_setg(errp, "vq index %u for IOThread \"%s\" must be less than num_queues %u in "
                       "iothread-vq-mapping", vq->value, item->iothread, n_queues);
            return false;
        }
        if (queue_ctx[vq->value]) {
            error_setg(errp, "cannot assign vq %u to IOThread \"%s\" because it is already "
                       "assigned", vq->value, item->iothread);
            return false;
        }
        queue_ctx[vq->value] = ctx;
    }
    return true;
}

bool vq_mapping_apply(const VqMapping *mapping, unsigned n_queues, AioContext **queue_ctx,
                      Error **errp)
{
    bool is_listed = mapping->list->value->has_vqs;
    unsigned n = 0;

    for (unsigned i = 0; i < n_queues; i++) {
        queue_ctx[i] = is_listed ? NULL : nth_loop(mapping, i);
    }
    for (IOThreadVirtQueueMappingList *e = mapping->list; e && is_listed; e = e->next) {
        if (!assign_listed(e->value, nth_loop(mapping, n++), n_queues, queue_ctx, errp)) {
            return false;
        }
    }
    for (unsigned i = 0; i < n_queues; i++) {
        if (!queue_ctx[i]) {
            error_setg(errp, "missing vq %u IOThread assignment in iothread-vq-mapping", i);
            return false;
        }
    }
    return true;
}
