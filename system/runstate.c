/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "qemu/osdep.h"

#include "block/coroutine.h"
#include "qapi/gen/machine-events.h"
#include "qemu/main-loop.h"
#include "qemu/timer.h"
#include "system/device.h"
#include "system/loader.h"
#include "system/machine.h"
#include "system/runstate.h"
#include "vcpu-int.h"

typedef struct Listener {
    RunStateListener *fn;
    void *opaque;
} Listener;

/* What is asked of the main loop; atomics.  Causes and states are stored plus one, 0 is none. */
static struct {
    int shutdown;
    int exit_status; /* of the latest request */
    int reset;
    int stop;
    int powerdown;
    int n_announced; /* stops */
} request;

/* Main thread. */
static struct {
    RunState state;
    RebootAction on_reboot;
    ShutdownAction on_shutdown;
    GArray *listeners;     /* of Listener */
    void (*end_hook)(void);
    bool has_ended;        /* the main loop */
    bool is_stopping;
    bool is_held;
    RunState hold_state, before_hold, after_hold;
    Coroutine *hold_waiter; /* sleeps until the main loop has stopped the machine */
} run = {.state = RUN_STATE_PRELAUNCH};

void runstate_set_actions(RebootAction reboot, ShutdownAction shutdown)
{
    run.on_reboot = reboot;
    run.on_shutdown = shutdown;
}

RunState runstate_get(void)
{
    return run.state;
}

bool runstate_is_running(void)
{
    return run.state == RUN_STATE_RUNNING;
}

/* ---- listeners ------------------------------------------------------------------------------- */

void runstate_add_listener(RunStateListener *fn, void *opaque)
{
    Listener listener = {fn, opaque};

    if (!run.listeners) {
        run.listeners = g_array_new(false, false, sizeof(Listener));
    }
    g_array_append_val(run.listeners, listener);
}

void runstate_del_listener(RunStateListener *fn, void *opaque)
{
    for (guint i = 0; run.listeners && i < run.listeners->len; i++) {
        Listener *listener = &g_array_index(run.listeners, Listener, i);

        if (listener->fn == fn && listener->opaque == opaque) {
            g_array_remove_index(run.listeners, i);
            return;
        }
    }
}

static void call_listeners(bool is_running)
{
    for (guint i = 0; run.listeners && i < run.listeners->len; i++) {
        Listener listener = g_array_index(run.listeners, Listener, i);

        listener.fn(listener.opaque, is_running);
    }
}

/* ---- stop and go ----------------------------------------------------------------------------- */

static VCpu *the_cpu(void)
{
    Machine *machine = machine_get();

    return machine ? machine->cpu : NULL;
}

static void pause_cpu(void)
{
    if (the_cpu()) {
        vcpu_pause(the_cpu());
    }
}

static void resume_cpu(void)
{
    if (the_cpu()) {
        vcpu_resume(the_cpu());
    }
}

void vm_stop(RunState state)
{
    if (run.is_held) {
        run.after_hold = state;
    } else if (runstate_is_running()) {
        qemu_clock_enable(QEMU_CLOCK_VIRTUAL, false);
        pause_cpu();
        run.state = state;
        run.is_stopping = true; /* a listener may wait for disks, and meanwhile coroutines run */
        call_listeners(false);
        qapi_event_send_stop();
        run.is_stopping = false;
    } else {
        run.state = state;
    }
}

void vm_start(void)
{
    if (run.is_held) {
        run.after_hold = RUN_STATE_RUNNING;
        return;
    }
    if (runstate_is_running()) {
        return;
    }
    qapi_event_send_resume();
    run.state = RUN_STATE_RUNNING;
    qemu_clock_enable(QEMU_CLOCK_VIRTUAL, true);
    call_listeners(true);
    resume_cpu();
}

/* ---- at rest --------------------------------------------------------------------------------- */

static void hold(RunState state)
{
    run.is_held = true;
    run.after_hold = run.state;
    run.state = state;
}

/*
 * Stopping waits for disks, which no coroutine may; and what the guest asked for last belongs to
 * the time before.
 */
void coroutine_fn vm_co_hold(RunState state)
{
    assert(!run.is_held && !run.hold_waiter);
    if (!runstate_is_running() || run.has_ended) {
        hold(state);
        return;
    }
    run.hold_state = state;
    run.hold_waiter = qemu_coroutine_self();
    qemu_notify_event();
    qemu_coroutine_yield();
}

RunState vm_state_after_hold(void)
{
    return run.after_hold;
}

void vm_set_state_after_hold(RunState state)
{
    run.after_hold = state;
}

void vm_release(void)
{
    assert(run.is_held);
    run.is_held = false;
    if (run.after_hold == RUN_STATE_RUNNING && !run.has_ended) {
        vm_start();
    } else {
        run.state = run.after_hold;
    }
    qemu_notify_event(); /* resets were put off */
}

void system_reset(ShutdownCause cause)
{
    Machine *machine = machine_get();

    device_reset_all();
    loader_reset();
    if (machine && machine->cpu) {
        vcpu_clear_pending(machine->cpu, VCPU_NMI | VCPU_EXIT);
        machine->cpu->is_halted = false;
        machine->cpu->ops->reset(machine->cpu);
    }
    if (machine && machine->type->reset) {
        machine->type->reset(machine);
    }
    if (cause != SHUTDOWN_CAUSE_NONE && cause != SHUTDOWN_CAUSE_SUBSYSTEM_RESET) {
        qapi_event_send_reset(cause >= SHUTDOWN_CAUSE_GUEST_SHUTDOWN, cause);
    }
}

/* ---- requests -------------------------------------------------------------------------------- */

static void post(int *slot, int value)
{
    __atomic_store_n(slot, value, __ATOMIC_SEQ_CST);
    qemu_notify_event();
}

static int take(int *slot)
{
    return __atomic_exchange_n(slot, 0, __ATOMIC_SEQ_CST);
}

static bool is_asked(const int *slot)
{
    return __atomic_load_n(slot, __ATOMIC_SEQ_CST);
}

bool vm_stop_is_pending(void)
{
    /* In this order: an announced stop is asked for before it is no longer announced. */
    return !run.has_ended &&
           (run.is_stopping || is_asked(&request.n_announced) || is_asked(&request.stop));
}

/* The guest expects nothing of itself to run after it asked for an end. */
static void stop_cpu_now(ShutdownCause cause)
{
    if (cause >= SHUTDOWN_CAUSE_GUEST_SHUTDOWN && the_cpu()) {
        vcpu_stop_self(the_cpu());
    }
}

void vm_stop_request(RunState state)
{
    post(&request.stop, state + 1);
}

void vm_announce_error_stop(void)
{
    __atomic_fetch_add(&request.n_announced, 1, __ATOMIC_SEQ_CST);
}

void vm_error_stop_request(void)
{
    vm_stop_request(RUN_STATE_IO_ERROR);
    __atomic_fetch_sub(&request.n_announced, 1, __ATOMIC_SEQ_CST);
}

void system_reset_request(ShutdownCause cause)
{
    stop_cpu_now(cause);
    post(&request.reset, cause + 1);
}

void system_exit_request(ShutdownCause cause, int status)
{
    stop_cpu_now(cause);
    if (run.end_hook && (cause == SHUTDOWN_CAUSE_HOST_QMP_QUIT ||
                         cause == SHUTDOWN_CAUSE_HOST_SIGNAL)) {
        run.end_hook();
    }
    __atomic_store_n(&request.exit_status, status, __ATOMIC_SEQ_CST);
    post(&request.shutdown, cause + 1);
}

void runstate_set_end_hook(void (*hook)(void))
{
    run.end_hook = hook;
}

void system_shutdown_request(ShutdownCause cause)
{
    system_exit_request(cause, 0);
}

void system_powerdown_request(void)
{
    post(&request.powerdown, 1);
}

static void do_reset(ShutdownCause cause)
{
    bool needs_reset = run.state == RUN_STATE_SHUTDOWN || run.state == RUN_STATE_INTERNAL_ERROR;

    pause_cpu();
    system_reset(cause);
    if (runstate_is_running()) {
        resume_cpu();
    } else if (needs_reset) {
        run.state = RUN_STATE_PRELAUNCH;
    }
}

/* Returns: whether the run has ended. */
static bool do_shutdown(ShutdownCause cause)
{
    qapi_event_send_shutdown(cause >= SHUTDOWN_CAUSE_GUEST_SHUTDOWN, cause);
    if (run.on_shutdown == SHUTDOWN_PAUSE && cause != SHUTDOWN_CAUSE_HOST_QMP_QUIT &&
        cause != SHUTDOWN_CAUSE_HOST_SIGNAL) {
        vm_stop(RUN_STATE_SHUTDOWN);
        return false;
    }
    return true;
}

static void wake_holder(RunState after)
{
    hold(run.hold_state);
    run.after_hold = after;
    aio_co_schedule(qemu_get_aio_context(), g_steal_pointer(&run.hold_waiter));
}

/* Somebody wants the machine at rest.  The CPU's last request may have come while it stopped. */
static void try_to_hold(void)
{
    if (run.state != run.hold_state) {
        run.before_hold = run.state;
        vm_stop(run.hold_state);
    }
    if (is_asked(&request.reset) || is_asked(&request.shutdown) || is_asked(&request.stop)) {
        qemu_notify_event();
    } else {
        wake_holder(run.before_hold);
    }
}

static bool handle_requests(void)
{
    int reset = run.is_held ? 0 : take(&request.reset);
    int shutdown = take(&request.shutdown);
    int stop = take(&request.stop);

    if (reset && run.on_reboot == REBOOT_SHUTDOWN && !shutdown) {
        shutdown = reset;
        reset = 0;
    }
    if (shutdown && do_shutdown(shutdown - 1)) {
        return true;
    }
    if (reset) {
        do_reset(reset - 1);
    }
    if (take(&request.powerdown)) {
        qapi_event_send_powerdown();
    }
    if (stop) {
        vm_stop(stop - 1);
    }
    if (run.hold_waiter) {
        try_to_hold();
    }
    return false;
}

bool system_main_loop_until(const bool *done)
{
    while (!run.has_ended && !*done) {
        run.has_ended = handle_requests();
        if (!run.has_ended) {
            main_loop_wait(false);
        }
    }
    return !run.has_ended;
}

int system_main_loop(void)
{
    static const bool never;

    system_main_loop_until(&never);
    pause_cpu();
    if (run.hold_waiter) {
        wake_holder(run.state);
    }
    return __atomic_load_n(&request.exit_status, __ATOMIC_SEQ_CST);
}
