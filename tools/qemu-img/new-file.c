/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Files that a subcommand makes, and takes back when it fails. */
#include "qemu/osdep.h"

#include <signal.h>
#include <sys/stat.h>

#include "new-file.h"
#include "qemu/cutils.h"
#include "qemu/error.h"

void img_new_file_note(ImgNewFile *file, const char *filename, const BlockDriver *proto)
{
    struct stat st;
    if (strcmp(bdrv_driver_name(proto), "file") != 0) {
        return;
    }
    strstart(filename, "file:", &filename);
    file->existed = stat(filename, &st) == 0;
    if (!file->existed || S_ISREG(st.st_mode)) {
        file->path = g_strdup(filename);
    }
}

void img_new_file_forget(ImgNewFile *file)
{
    g_clear_pointer(&file->path, g_free);
}

void img_new_file_discard(ImgNewFile *file)
{
    if (!file->path) {
        return;
    }
    int ret = file->existed ? truncate(file->path, 0) : unlink(file->path);
    if (ret < 0) {
        warn_report("Could not remove the incomplete '%s': %s", file->path, g_strerror(errno));
    }
    img_new_file_forget(file);
}

/* ---- being interrupted ----------------------------------------------------------------------- */

static volatile sig_atomic_t interrupted;

static void note_interrupt(int signo)
{
    interrupted = 1;
}

bool img_is_interrupted(void)
{
    return interrupted;
}

void img_catch_interrupts(void)
{
    struct sigaction action = { .sa_handler = note_interrupt };
    action.sa_flags = (int)(SA_RESETHAND | SA_RESTART);
    sigaction(SIGINT, &action, NULL);
    sigaction(SIGTERM, &action, NULL);
    sigaction(SIGHUP, &action, NULL);
}
