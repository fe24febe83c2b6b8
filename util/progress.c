/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Progress meter and percentage.
 */
#include "qemu/osdep.h"

#include <signal.h>

#include "qemu/progress.h"

/* ---- meter ---------------------------------------------------------------------------------- */

void progress_init(ProgressMeter *pm)
{
    *pm = (ProgressMeter){ 0 };
}

void progress_get_snapshot(const ProgressMeter *pm, uint64_t *current, uint64_t *total)
{
    *current = __atomic_load_n(&pm->current, __ATOMIC_ACQUIRE);
    *total = *current + __atomic_load_n(&pm->remaining, __ATOMIC_ACQUIRE);
}

void progress_work_done(ProgressMeter *pm, uint64_t done)
{
    uint64_t old = __atomic_load_n(&pm->remaining, __ATOMIC_RELAXED);

    while (!__atomic_compare_exchange_n(&pm->remaining, &old, old - MIN(old, done), true,
                                        __ATOMIC_RELEASE, __ATOMIC_RELAXED)) {
    }
    __atomic_fetch_add(&pm->current, done, __ATOMIC_RELEASE);
}

void progress_set_remaining(ProgressMeter *pm, uint64_t remaining)
{
    __atomic_store_n(&pm->remaining, remaining, __ATOMIC_RELEASE);
}

void progress_increase_remaining(ProgressMeter *pm, uint64_t delta)
{
    __atomic_fetch_add(&pm->remaining, delta, __ATOMIC_RELEASE);
}

/* ---- percentage ----------------------------------------------------------------------------- */

static struct {
    bool enabled;
    float current_percent;
    float printed_percent;
    float min_skip;
} progress;

static volatile sig_atomic_t print_wanted;

static void want_print(int signal_number)
{
    print_wanted = 1;
}

static void catch_sigusr1(void (*handler)(int))
{
    struct sigaction action = { .sa_handler = handler, .sa_flags = SA_RESTART };

    sigfillset(&action.sa_mask);
    sigaction(SIGUSR1, &action, NULL);
}

void qemu_progress_init(bool enabled, float min_skip)
{
    progress.enabled = enabled;
    progress.current_percent = 0;
    progress.printed_percent = 0;
    progress.min_skip = min_skip;
    if (!enabled) {
        print_wanted = 0;
        catch_sigusr1(want_print);
    }
}

void qemu_progress_end(void)
{
    if (progress.enabled) {
        putchar('\n');
        fflush(stdout);
        progress.enabled = false;
    } else {
        catch_sigusr1(SIG_IGN);
    }
}

void qemu_progress_print(float delta, int max)
{
    float current = max ? progress.current_percent + delta * max / 100 : delta;
    float since;

    current = CLAMP(current, 0, 100);
    progress.current_percent = current;
    since = current - progress.printed_percent;
    if (progress.enabled &&
        (since > progress.min_skip || -since > progress.min_skip || current == 0 ||
         current == 100)) {
        progress.printed_percent = current;
        printf("    (%3.2f/100%%)\r", current);
        fflush(stdout);
    } else if (!progress.enabled && print_wanted) {
        print_wanted = 0;
        fprintf(stderr, "    (%3.2f/100%%)\n", current);
    }
}
