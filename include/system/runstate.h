/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Whether the machine runs, and how a run ends: stop and cont, reset, shutdown, and the main loop
 * that carries requests out.
 *
 * Rules of use:
 *  - *_request() calls may come from any thread and return at once; the main loop acts.
 *  - Everything else is for the main thread.
 *  - Listeners hear of each change between running and stopped, devices before CPUs when it
 *    starts, after them when it stops.
 */
#ifndef SYSTEM_RUNSTATE_H
#define SYSTEM_RUNSTATE_H

#include <stdbool.h>

#include "qapi/gen/machine-types.h"
#include "qemu/compiler.h"

/* What -no-reboot, -no-shutdown and -action say. */
typedef enum RebootAction {
    REBOOT_RESET,
    REBOOT_SHUTDOWN,
} RebootAction;

typedef enum ShutdownAction {
    SHUTDOWN_POWEROFF,
    SHUTDOWN_PAUSE,
} ShutdownAction;

void runstate_set_actions(RebootAction reboot, ShutdownAction shutdown);

/** What the machine is doing. */
RunState runstate_get(void);
bool runstate_is_running(void);

/** Called with @is_running after CPUs stopped, or before they start. */
typedef void RunStateListener(void *opaque, bool is_running);
void runstate_add_listener(RunStateListener *fn, void *opaque);
void runstate_del_listener(RunStateListener *fn, void *opaque);

/** Stop the CPUs; they are stopped on return.  Emits STOP.  Not in a coroutine. */
void vm_stop(RunState state);
/** Let the machine run, if nothing forbids it.  Emits RESUME. */
void vm_start(void);

/**
 * Stop the machine in @state and keep it at rest, so that somebody else may look at it or change
 * it: whoever starts, stops or resets it meanwhile says what it does after vm_release().  What was
 * asked of it before is done first.  Coroutine of the main thread; one at a time.
 */
void coroutine_fn vm_co_hold(RunState state);
/** What a held machine does after vm_release(), and another answer to that. */
RunState vm_state_after_hold(void);
void vm_set_state_after_hold(RunState state);
/** Leave the machine to itself again. */
void vm_release(void);

/** Ask for a stop in @state, from any thread. */
void vm_stop_request(RunState state);
/** Say that the stop of an error will be asked for.  Any thread; the next call is the request. */
void vm_announce_error_stop(void);
void vm_error_stop_request(void);
/** Whether a stop was asked for or announced and is not over yet: whoever starts waits for it. */
bool vm_stop_is_pending(void);
/** Ask for a reset. */
void system_reset_request(ShutdownCause cause);
/** Ask for the end of the run; with SHUTDOWN_PAUSE the machine only stops. */
void system_shutdown_request(ShutdownCause cause);
/** Have @hook called in the main thread when somebody outside asks for the end: quit, a signal. */
void runstate_set_end_hook(void (*hook)(void));
/** Ask for the end of the run with exit status @status. */
void system_exit_request(ShutdownCause cause, int status);
/** Ask to press the power button of the machine; no device of ours tells the guest. */
void system_powerdown_request(void);

/** Reset all devices and CPUs and load what is to be loaded.  CPUs are paused. */
void system_reset(ShutdownCause cause);

/** Run the main loop until *@done; false if the run ended first, as system_main_loop() tells. */
bool system_main_loop_until(const bool *done);
/** Run the main loop until the end of the run.  Returns: the exit status. */
int system_main_loop(void);

#endif
