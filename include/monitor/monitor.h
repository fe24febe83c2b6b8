/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Monitors: sessions in which somebody outside controls the program, in QMP (JSON, for programs)
 * or HMP (lines, for people), over a character device.
 *
 * - A program tells monitor_init() which commands it offers and then makes monitors.
 * - Commands run in coroutines of the main thread: in order within a session, independently
 *   between sessions.  monitor_cur() is the session whose command the current coroutine runs.
 * - This layer knows no command but its own; tables are registered from above.
 */
#ifndef MONITOR_MONITOR_H
#define MONITOR_MONITOR_H

#include <stdarg.h>
#include <stdbool.h>

#include "io/chardev.h"
#include "qapi/dispatch.h"
#include "qemu/compiler.h"
#include "qemu/error.h"

typedef struct Monitor Monitor;

/* ---- set-up ---------------------------------------------------------------------------------- */

/**
 * Start: from here on events are sent to QMP sessions and reports made by a command go to its
 * monitor.  @commands: what QMP offers; kept, not owned.
 * The handlers of the schema's modules control (but for quit), introspect and monitor are in
 * this layer; the program registers the modules it offers.
 */
void monitor_init(const QmpCommandList *commands);

/**
 * The program ends: let running commands come to an end, for a moment, and begin no other.  Events
 * are sent until monitor_cleanup().
 */
void monitor_stop_commands(void);
/** End all sessions, after what they still have to say was written or a moment has passed. */
void monitor_cleanup(void);

/**
 * Offer objects of type monitor-qmp, and with @allow_hmp of type monitor-hmp.  They are made last
 * at start-up (user_object_str_is_late()).
 */
void monitor_register_objects(bool allow_hmp);

/** Make a session on @chr; borrowed.  NULL with @errp set if the device is in use. */
Monitor *monitor_new_qmp(Chardev *chr, bool pretty, Error **errp);
/** @use_readline: edit lines ourselves, for a terminal in raw mode or a socket. */
Monitor *monitor_new_hmp(Chardev *chr, bool use_readline, Error **errp);

/** "-qmp DEV" and "-qmp-pretty DEV"; DEV as for -serial. */
bool monitor_parse_qmp(const char *optarg, bool pretty, Error **errp);
/** "-monitor DEV"; "none" makes no monitor. */
bool monitor_parse_hmp(const char *optarg, Error **errp);
/**
 * "-mon [chardev=]ID[,mode=readline|control][,pretty=on|off]"; JSON is accepted too.
 * @allow_hmp: whether mode=readline, then also the default, is offered.
 */
bool monitor_parse_mon(const char *optarg, bool allow_hmp, Error **errp);

/* ---- what surrounds a command ---------------------------------------------------------------- */

typedef struct MonitorCommandHooks {
    /* Before and after the handler, in its coroutine; may yield. */
    void coroutine_fn (*enter)(void);
    void (*leave)(void);
} MonitorCommandHooks;

/**
 * Have @hooks called around every command that is not exempt: the front end takes the control
 * lock there.  Exempt are "query-*" and the commands named to monitor_exempt_command(); HMP
 * commands say it in their table.
 */
void monitor_set_command_hooks(const MonitorCommandHooks *hooks);
/** @name: not copied. */
void monitor_exempt_command(const char *name);
/**
 * Refuse commands that need a machine, until there is one: those without allow-preconfig, and most
 * for people.
 */
void monitor_set_preconfig(bool is_preconfig);
bool monitor_is_preconfig(void);
bool monitor_command_is_exempt(const char *name);

/* ---- the current session --------------------------------------------------------------------- */

/** The session whose command this coroutine runs; NULL in any other place and thread. */
Monitor *monitor_cur(void);
bool monitor_cur_is_qmp(void);
bool monitor_cur_is_hmp(void);

/** Print to an HMP session; each newline becomes CR LF.  Nothing on a QMP session or NULL. */
void monitor_printf(Monitor *mon, const char *fmt, ...) QEMU_PRINTF(2, 3);
void monitor_vprintf(Monitor *mon, const char *fmt, va_list ap) QEMU_PRINTF(2, 0);
void monitor_puts(Monitor *mon, const char *str);

#endif
