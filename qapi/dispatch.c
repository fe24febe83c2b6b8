/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "qemu/osdep.h"
#include "qapi/dispatch.h"
#include "qapi/object-input.h"
#include "qapi/object-output.h"
#include "qobject/qbool.h"
#include "qobject/qstring.h"

typedef struct Registered {
    const QmpCommand *cmd;
    bool disabled;
    char *reason;
} Registered;

struct QmpCommandList {
    GPtrArray *order;   /* of Registered */
    GHashTable *names;  /* name -> Registered */
    GHashTable *modules;
};

static void registered_free(gpointer opaque)
{
    Registered *reg = opaque;

    g_free(reg->reason);
    g_free(reg);
}

QmpCommandList *qmp_command_list_new(void)
{
    QmpCommandList *cmds = g_new0(QmpCommandList, 1);

    cmds->order = g_ptr_array_new_with_free_func(registered_free);
    cmds->names = g_hash_table_new(g_str_hash, g_str_equal);
    cmds->modules = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);
    return cmds;
}

void qmp_command_list_free(QmpCommandList *cmds)
{
    if (cmds) {
        g_hash_table_destroy(cmds->names);
        g_hash_table_destroy(cmds->modules);
        g_ptr_array_free(cmds->order, TRUE);
        g_free(cmds);
    }
}

void qmp_register_command(QmpCommandList *cmds, const QmpCommand *cmd)
{
    Registered *reg = g_new0(Registered, 1);

    assert(!g_hash_table_contains(cmds->names, cmd->name));
    reg->cmd = cmd;
    g_ptr_array_add(cmds->order, reg);
    g_hash_table_insert(cmds->names, (char *)cmd->name, reg);
}

void qmp_register_commands(QmpCommandList *cmds, const char *module, const QmpCommand *table)
{
    g_hash_table_add(cmds->modules, g_strdup(module));
    for (; table->name; table++) {
        qmp_register_command(cmds, table);
    }
}

static Registered *find(const QmpCommandList *cmds, const char *name)
{
    return g_hash_table_lookup(cmds->names, name);
}

const QmpCommand *qmp_find_command(const QmpCommandList *cmds, const char *name)
{
    Registered *reg = find(cmds, name);

    return reg ? reg->cmd : NULL;
}

static void set_enabled(QmpCommandList *cmds, const char *name, bool enabled, const char *reason)
{
    Registered *reg = find(cmds, name);

    if (reg) {
        reg->disabled = !enabled;
        g_free(reg->reason);
        reg->reason = g_strdup(reason);
    }
}

void qmp_disable_command(QmpCommandList *cmds, const char *name, const char *reason)
{
    set_enabled(cmds, name, false, reason);
}

void qmp_enable_command(QmpCommandList *cmds, const char *name)
{
    set_enabled(cmds, name, true, NULL);
}

bool qmp_command_is_enabled(const QmpCommandList *cmds, const char *name)
{
    Registered *reg = find(cmds, name);

    return reg && !reg->disabled;
}

bool qmp_has_module(const QmpCommandList *cmds, const char *module)
{
    return g_hash_table_contains(cmds->modules, module);
}

void qmp_for_each_command(const QmpCommandList *cmds,
                          void (*fn)(const QmpCommand *cmd, void *opaque), void *opaque)
{
    for (guint i = 0; i < cmds->order->len; i++) {
        const Registered *reg = g_ptr_array_index(cmds->order, i);

        fn(reg->cmd, opaque);
    }
}

bool qmp_is_oob(const QDict *request)
{
    return qdict_haskey(request, "exec-oob") && !qdict_haskey(request, "execute");
}

QDict *qmp_error_response(const Error *err)
{
    QDict *response = qdict_new();
    QDict *error = qdict_new();

    qdict_put_str(error, "class", error_class_str(error_get_class(err)));
    qdict_put_str(error, "desc", error_get_pretty(err));
    qdict_put(response, "error", error);
    return response;
}

/* ---- dispatch ---- */

/* @request as a dict that has the form of a command; NULL with @errp set.  *@name: which one. */
static QDict *check_request(QObject *request, bool allow_oob, const char **name, Error **errp)
{
    QDict *dict = qobject_to(QDict, request);
    const char *verb = NULL;

    if (!dict) {
        error_setg(errp, "QMP input must be a JSON object");
        return NULL;
    }
    for (const QDictEntry *e = qdict_first(dict); e; e = qdict_next(dict, e)) {
        const char *key = qdict_entry_key(e);
        QType type = qobject_type(qdict_entry_value(e));

        if (g_str_equal(key, "execute") || (allow_oob && g_str_equal(key, "exec-oob"))) {
            if (type != QTYPE_QSTRING) {
                error_setg(errp, "QMP input member '%s' must be a string", key);
                return NULL;
            }
            if (verb) {
                error_setg(errp, "QMP input member '%s' clashes with '%s'", key, verb);
                return NULL;
            }
            verb = key;
        } else if (g_str_equal(key, "arguments")) {
            if (type != QTYPE_QDICT) {
                error_setg(errp, "QMP input member 'arguments' must be an object");
                return NULL;
            }
        } else if (!g_str_equal(key, "id")) {
            error_setg(errp, "QMP input member '%s' is unexpected", key);
            return NULL;
        }
    }
    if (!verb) {
        error_setg(errp, "QMP input lacks member 'execute'");
        return NULL;
    }
    *name = qdict_get_str(dict, verb);
    return dict;
}

static const QmpCommand *check_command(const QmpCommandList *cmds, const char *name,
                                       bool preconfig, Error **errp)
{
    Registered *reg = find(cmds, name);

    if (!reg) {
        error_set(errp, ERROR_CLASS_COMMAND_NOT_FOUND, "The command %s has not been found", name);
        return NULL;
    }
    if (reg->disabled) {
        error_set(errp, ERROR_CLASS_COMMAND_NOT_FOUND, "Command %s has been disabled%s%s", name,
                  reg->reason ? ": " : "", reg->reason ? reg->reason : "");
        return NULL;
    }
    if (preconfig && !(reg->cmd->options & QCO_ALLOW_PRECONFIG)) {
        error_setg(errp, "The command '%s' is permitted only after machine initialization has "
                   "completed", name);
        return NULL;
    }
    return reg->cmd;
}

/* The arguments of a command without any. */
static const QapiMember no_members[] = { { .name = NULL } };
static const QapiType no_arguments = {
    .name = "empty", .kind = QAPI_STRUCT, .size = 1, .members = no_members,
};

/* Run a command whose arguments and result have types.  NULL with @errp set. */
static QObject *coroutine_fn run_typed(const QmpCommand *cmd, QDict *arguments, Error **errp)
{
    const QapiType *args_type = cmd->args ? cmd->args : &no_arguments;
    void *args = NULL;
    uint64_t ret = 0;  /* as large as any variable of a QAPI type */
    Error *err = NULL;
    QObject *result;

    if (!qapi_from_qobject(&args, args_type, QOBJECT(arguments), errp)) {
        return NULL;
    }
    cmd->thunk(args, &ret, &err);
    qapi_free(args, args_type);
    if (err) {
        error_propagate(errp, err);
        return NULL;
    }
    if (!cmd->ret) {
        return QOBJECT(qdict_new());
    }
    result = qapi_to_qobject(&ret, cmd->ret);
    qapi_free_value(&ret, cmd->ret);
    return result;
}

/* Run a command that takes and gives QObjects.  NULL with @errp set. */
static QObject *coroutine_fn run_untyped(const QmpCommand *cmd, QDict *arguments, Error **errp)
{
    QObject *ret = NULL;
    Error *err = NULL;

    cmd->thunk(arguments, &ret, &err);
    if (err) {
        error_propagate(errp, err);
        qobject_unref(ret);
        return NULL;
    }
    return ret ? ret : QOBJECT(qdict_new());
}

/* *@silent: whether success is not answered. */
static QObject *coroutine_fn dispatch(const QmpCommandList *cmds, QObject *request,
                                      bool allow_oob, bool preconfig, bool *silent, Error **errp)
{
    const char *name;
    QDict *dict = check_request(request, allow_oob, &name, errp);
    g_autoptr(QDict) arguments = NULL;
    const QmpCommand *cmd;

    if (!dict) {
        return NULL;
    }
    cmd = check_command(cmds, name, preconfig, errp);
    if (!cmd) {
        return NULL;
    }
    if (qmp_is_oob(dict) && !(cmd->options & QCO_ALLOW_OOB)) {
        error_setg(errp, "The command %s does not support OOB", name);
        return NULL;
    }
    *silent = cmd->options & QCO_NO_SUCCESS_RESP;
    arguments = qdict_get_qdict(dict, "arguments");
    arguments = arguments ? qobject_ref(arguments) : qdict_new();
    return cmd->options & QCO_GEN_FALSE ? run_untyped(cmd, arguments, errp)
        : run_typed(cmd, arguments, errp);
}

QDict *coroutine_fn qmp_dispatch(const QmpCommandList *cmds, QObject *request, bool allow_oob,
                                 bool preconfig)
{
    QDict *dict = qobject_to(QDict, request);
    g_autoptr(QObject) id = dict ? qobject_ref(qdict_get(dict, "id")) : NULL;
    g_autoptr(Error) err = NULL;
    bool silent = false;
    QObject *result = dispatch(cmds, request, allow_oob, preconfig, &silent, &err);
    QDict *response;

    if (!result) {
        response = qmp_error_response(err);
    } else if (silent) {
        qobject_unref(result);
        return NULL;
    } else {
        response = qdict_new();
        qdict_put_obj(response, "return", result);
    }
    if (id) {
        qdict_put_obj(response, "id", g_steal_pointer(&id));
    }
    return response;
}
