/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * --wait-lock: the setting and its place on command lines.  The waiting is done by whoever gets
 * locks.
 */
#include "qemu/osdep.h"

#include "block/lock-wait.h"
#include "qemu/cutils.h"
#include "qemu/error.h"

/* Seconds to wait for others' locks.  Main thread. */
static unsigned lock_wait;

void bdrv_set_lock_wait(unsigned seconds)
{
    lock_wait = seconds;
}

unsigned bdrv_lock_wait(void)
{
    return lock_wait;
}

bool bdrv_parse_lock_wait(const char *arg, Error **errp)
{
    uint64_t seconds;

    if (qemu_strtou64(arg, NULL, 10, &seconds) < 0 || seconds > BDRV_LOCK_WAIT_MAX) {
        error_setg(errp, "Invalid time to wait for a lock '%s': seconds, up to %d, are expected",
                   arg, BDRV_LOCK_WAIT_MAX);
        return false;
    }
    lock_wait = seconds;
    return true;
}

bool bdrv_take_lock_wait_option(int *argc, char **argv, Error **errp)
{
    static const char name[] = "--wait-lock";
    int kept = 0;

    for (int i = 0; i < *argc; i++) {
        const char *rest;

        if (strcmp(argv[i], "--") == 0) {
            while (i < *argc) {
                argv[kept++] = argv[i++];
            }
            break;
        }
        if (i == 0 || !strstart(argv[i], name, &rest) || (*rest && *rest != '=')) {
            argv[kept++] = argv[i];
            continue;
        }
        if (!*rest && i + 1 == *argc) {
            error_setg(errp, "option '%s' requires an argument", name);
            return false;
        }
        if (!bdrv_parse_lock_wait(*rest ? rest + 1 : argv[++i], errp)) {
            return false;
        }
    }
    argv[kept] = NULL;
    *argc = kept;
    return true;
}
