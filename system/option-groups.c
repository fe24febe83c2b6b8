/* SPDX-License-Identifier: GPL-2.0-or-later */
/* query-command-line-options: what the options of the command line take. */
#include "qemu/osdep.h"

#include "qapi/gen/char-types.h"
#include "qapi/gen/control-types.h"
#include "qapi/gen/machine-commands.h"
#include "qemu/error.h"
#include "system/options.h"

#define MAX_GROUPS 16

typedef struct OptionGroup {
    const char *name;
    const QemuOptDesc *desc; /* or else: */
    const QapiType *type;
} OptionGroup;

static const QemuOptDesc accel_desc[] = {
    { .name = "accel", .help = "what drives the machine" },
    { .name = NULL },
};

static const QemuOptDesc action_desc[] = {
    { .name = "reboot", .help = "what a reboot by the guest does", .def_value_str = "reset" },
    { .name = "shutdown", .help = "what a shutdown by the guest does",
      .def_value_str = "poweroff" },
    { .name = NULL },
};

static const QemuOptDesc machine_desc[] = {
    { .name = "type", .help = "the machine", .def_value_str = "e2k" },
    { .name = "accel", .help = "what drives it" },
    { .name = NULL },
};

static const QemuOptDesc memory_desc[] = {
    { .name = "size", .type = QEMU_OPT_SIZE, .help = "the guest's RAM" },
    { .name = NULL },
};

static const QemuOptDesc smp_desc[] = {
    { .name = "cpus", .type = QEMU_OPT_NUMBER, .help = "number of CPUs", .def_value_str = "1" },
    { .name = NULL },
};

static const QemuOptDesc any_desc[] = { { .name = NULL } };

/* The groups of options added come behind these.  Main thread. */
static OptionGroup groups[MAX_GROUPS] = {
    { "accel", accel_desc, NULL },
    { "action", action_desc, NULL },
    { "chardev", NULL, &qapi_type_ChardevOptions },
    { "device", any_desc, NULL },
    { "machine", machine_desc, NULL },
    { "memory", memory_desc, NULL },
    { "mon", NULL, &qapi_type_MonitorOptions },
    { "smp-opts", smp_desc, NULL },
};

void options_add_group(const char *name, const QemuOptDesc *desc)
{
    size_t n = 0;

    while (groups[n].name) {
        n++;
        assert(n < ARRAY_SIZE(groups));
    }
    groups[n] = (OptionGroup) { name, desc, NULL };
}

/* ---- answers --------------------------------------------------------------------------------- */

typedef struct ParameterList {
    CommandLineParameterInfoList *first, **tail;
} ParameterList;

static CommandLineParameterInfo *add_parameter(ParameterList *list, const char *name,
                                               CommandLineParameterType type)
{
    CommandLineParameterInfo *info;

    /* Branches of a union may have members of the same name. */
    for (const CommandLineParameterInfoList *e = list->first; e; e = e->next) {
        if (strcmp(e->value->name, name) == 0) {
            return e->value;
        }
    }
    info = g_new0(CommandLineParameterInfo, 1);
    info->name = g_strdup(name);
    info->type = type;
    QAPI_LIST_APPEND(list->tail, info);
    return info;
}

static void add_described(ParameterList *list, const QemuOptDesc *desc)
{
    static const CommandLineParameterType types[] = {
        [QEMU_OPT_STRING] = COMMAND_LINE_PARAMETER_TYPE_STRING,
        [QEMU_OPT_BOOL] = COMMAND_LINE_PARAMETER_TYPE_BOOLEAN,
        [QEMU_OPT_NUMBER] = COMMAND_LINE_PARAMETER_TYPE_NUMBER,
        [QEMU_OPT_SIZE] = COMMAND_LINE_PARAMETER_TYPE_SIZE,
    };

    for (; desc->name; desc++) {
        CommandLineParameterInfo *info = add_parameter(list, desc->name, types[desc->type]);

        info->help = g_strdup(desc->help);
        info->q_default = g_strdup(desc->def_value_str);
    }
}

static void add_members(ParameterList *list, const QapiType *type)
{
    if (type->base) {
        add_members(list, type->base);
    }
    for (const QapiMember *m = type->members; m && m->name; m++) {
        QapiKind kind = m->type->kind;

        add_parameter(list, m->name,
                      kind == QAPI_BOOL ? COMMAND_LINE_PARAMETER_TYPE_BOOLEAN
                      : kind == QAPI_SIZE ? COMMAND_LINE_PARAMETER_TYPE_SIZE
                      : kind < QAPI_SIZE ? COMMAND_LINE_PARAMETER_TYPE_NUMBER
                      : COMMAND_LINE_PARAMETER_TYPE_STRING);
    }
    if (type->kind == QAPI_UNION) {
        for (int i = 0; i < type->tag->type->lookup->size; i++) {
            if (type->branches[i]) {
                add_members(list, type->branches[i]);
            }
        }
    }
}

CommandLineOptionInfoList *coroutine_fn qmp_query_command_line_options(const char *option,
                                                                       Error **errp)
{
    CommandLineOptionInfoList *answer = NULL, **tail = &answer;

    for (size_t i = 0; i < ARRAY_SIZE(groups) && groups[i].name; i++) {
        if (!option || strcmp(option, groups[i].name) == 0) {
            CommandLineOptionInfo *info = g_new0(CommandLineOptionInfo, 1);
            ParameterList list = { NULL, &list.first };

            if (groups[i].desc) {
                add_described(&list, groups[i].desc);
            } else {
                add_members(&list, groups[i].type);
            }
            info->option = g_strdup(groups[i].name);
            info->parameters = list.first;
            QAPI_LIST_APPEND(tail, info);
        }
    }
    if (!answer) {
        error_setg(errp, "invalid option name: %s", option);
    }
    return answer;
}
