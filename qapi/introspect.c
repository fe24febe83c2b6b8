/* SPDX-License-Identifier: GPL-2.0-or-later */
/* query-qmp-schema: what the generator wrote down, reduced to what a program offers. */
#include "qemu/osdep.h"
#include "qapi/dispatch.h"
#include "qapi/introspect.h"
#include "qobject/json-parser.h"

static bool is_offered(const QmpCommandList *cmds, const QapiEntity *entity)
{
    switch (entity->kind) {
    case QAPI_ENTITY_COMMAND:
        return qmp_command_is_enabled(cmds, entity->name);
    case QAPI_ENTITY_EVENT:
        return qmp_has_module(cmds, entity->module);
    default:
        return false;
    }
}

/* Mark @index and all it refers to.  Types may refer to each other in circles. */
static void mark(bool *needed, uint16_t index)
{
    g_autoptr(GArray) todo = g_array_new(FALSE, FALSE, sizeof(index));

    g_array_append_val(todo, index);
    while (todo->len) {
        uint16_t i = g_array_index(todo, uint16_t, todo->len - 1);
        const uint16_t *ref = qapi_schema_data.entities[i].refs;

        g_array_set_size(todo, todo->len - 1);
        needed[i] = true;
        for (; *ref != UINT16_MAX; ref++) {
            if (!needed[*ref]) {
                needed[*ref] = true;
                g_array_append_val(todo, *ref);
            }
        }
    }
}

QList *qmp_introspect(const QmpCommandList *cmds)
{
    g_autofree bool *needed = g_new0(bool, qapi_schema_data.n + 1);
    QList *list = qlist_new();

    for (uint16_t i = 0; i < qapi_schema_data.n; i++) {
        if (is_offered(cmds, &qapi_schema_data.entities[i])) {
            mark(needed, i);
        }
    }
    for (uint16_t i = 0; i < qapi_schema_data.n; i++) {
        if (needed[i]) {
            qlist_append_obj(list, qobject_from_json(qapi_schema_data.entities[i].json,
                                                     &error_abort));
        }
    }
    return list;
}
