/* SPDX-License-Identifier: GPL-2.0-or-later */
/* HMP: object_add and object_del. */
#include "qemu/osdep.h"

#include "monitor/hmp.h"
#include "qapi/gen/qom-types.h"
#include "qapi/types.h"
#include "qapi/user-object.h"
#include "qmp-block.h"

static void coroutine_fn hmp_object_add(Monitor *mon, const QDict *args)
{
    Error *err = NULL;
    user_object_add_from_str(qdict_get_str(args, "object"), &err);
    hmp_handle_error(mon, err);
}

static void coroutine_fn hmp_object_del(Monitor *mon, const QDict *args)
{
    Error *err = NULL;
    user_object_del(qdict_get_str(args, "id"), &err);
    hmp_handle_error(mon, err);
}

/* ---- limits ---------------------------------------------------------------------------------- */

static void complete_type(GPtrArray *words, const GPtrArray *before, const char *prefix)
{
    for (int i = 0; i < OBJECT_TYPE__MAX; i++) {
        if (user_object_find_type(ObjectType_str(i))) {
            hmp_add_choice(words, ObjectType_str(i), prefix);
        }
    }
}

typedef struct Ids {
    GPtrArray *words;
    const char *prefix;
} Ids;

static void add_id(UserObject *obj, void *opaque)
{
    const Ids *ids = opaque;

    hmp_add_choice(ids->words, obj->id, ids->prefix);
}

static void complete_id(GPtrArray *words, const GPtrArray *before, const char *prefix)
{
    Ids ids = { words, prefix };

    user_object_foreach(add_id, &ids);
}

static const HMPCommand commands[] = {
    { "object_add", "object:S", "qom-type,id=id[,prop=value][,...]", "create an object",
      hmp_object_add, false },
    { "object_del", "id:s", "id", "delete an object", hmp_object_del, false },
    { .name = NULL },
};

void hmp_objects_register(void)
{
    hmp_register_commands(commands);
    hmp_set_completer("object_add", 0, complete_type);
    hmp_set_completer("object_del", 0, complete_id);
}
