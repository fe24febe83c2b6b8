/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * From a QMP request to a handler and back.
 *
 * A program makes a QmpCommandList and registers in it the schema modules it offers, by the
 * generated qmp_init_MODULE_commands(); only what is registered is linked, can be run, and shows
 * in introspection.
 */
#ifndef QAPI_DISPATCH_H
#define QAPI_DISPATCH_H

#include "qapi/types.h"
#include "qemu/compiler.h"
#include "qobject/qdict.h"
#include "qobject/qlist.h"

/**
 * Calls the handler.  @args: the argument struct; for 'gen': false commands the QDict.
 * @ret: where a returned value goes, a variable of the command's return type.
 */
typedef void coroutine_fn QmpThunk(void *args, void *ret, Error **errp);

typedef enum QmpCommandOptions {
    QCO_NO_SUCCESS_RESP = 1 << 0,
    QCO_ALLOW_OOB = 1 << 1,
    QCO_ALLOW_PRECONFIG = 1 << 2,
    QCO_GEN_FALSE = 1 << 3,
    QCO_DEPRECATED = 1 << 4,
    QCO_UNSTABLE = 1 << 5,
} QmpCommandOptions;

typedef struct QmpCommand {
    const char *name;  /* NULL ends a table */
    QmpThunk *thunk;
    const QapiType *args;  /* NULL: none */
    const QapiType *ret;   /* NULL: none */
    unsigned options;
} QmpCommand;

typedef struct QmpCommandList QmpCommandList;

QmpCommandList *qmp_command_list_new(void);
void qmp_command_list_free(QmpCommandList *cmds);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(QmpCommandList, qmp_command_list_free)

/** Offer every command of @table, the schema module @module.  The table is not copied. */
void qmp_register_commands(QmpCommandList *cmds, const char *module, const QmpCommand *table);

/** Offer one command. */
void qmp_register_command(QmpCommandList *cmds, const QmpCommand *cmd);

/** Refuse a command from now on; @reason: a clause, or NULL. */
void qmp_disable_command(QmpCommandList *cmds, const char *name, const char *reason);
void qmp_enable_command(QmpCommandList *cmds, const char *name);

/** The command, or NULL. */
const QmpCommand *qmp_find_command(const QmpCommandList *cmds, const char *name);
bool qmp_command_is_enabled(const QmpCommandList *cmds, const char *name);

/** Whether events and types of schema module @module are offered. */
bool qmp_has_module(const QmpCommandList *cmds, const char *module);

/** Call @fn for each command in order of registration. */
void qmp_for_each_command(const QmpCommandList *cmds,
                          void (*fn)(const QmpCommand *cmd, void *opaque), void *opaque);

/**
 * Check @request, run the command, make the response.
 *
 * @allow_oob: whether the request may say "exec-oob" (of commands that allow it).
 * @preconfig: whether only commands for that phase may run.
 * Returns: {"return": …} or {"error": …}, with the request's "id"; NULL if the command sends no
 * response on success.
 * Context: a coroutine in the main thread; the handler may yield.
 */
QDict *coroutine_fn qmp_dispatch(const QmpCommandList *cmds, QObject *request, bool allow_oob,
                                 bool preconfig);

/** {"error": {"class": …, "desc": …}} for @err. */
QDict *qmp_error_response(const Error *err);

/** Whether @request asks to be run out of band ("exec-oob"). */
bool qmp_is_oob(const QDict *request);

/** What query-qmp-schema returns for the commands, events and types offered by @cmds. */
QList *qmp_introspect(const QmpCommandList *cmds);

#endif
