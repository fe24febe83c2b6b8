/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Preloaded into a program under test: $DEVSHIM=MODEL:SUFFIX has the file whose path ends with
 * SUFFIX pass for the device whose model is in file MODEL (devmodel.h; tests/lib/devtest.py).
 */
#include "qemu/osdep.h"

#include "devmodel.h"

__attribute__((constructor)) static void dev_start(void)
{
    static char match[PATH_MAX];
    const char *text = getenv("DEVSHIM");
    const char *colon = text ? strchr(text, ':') : NULL;
    char model[PATH_MAX];
    int fd;

    if (!colon) {
        return;
    }
    snprintf(model, sizeof(model), "%.*s", (int)(colon - text), text);
    snprintf(match, sizeof(match), "%s", colon + 1);
    fd = open(model, O_RDWR | O_CLOEXEC);
    dev = fd < 0 ? MAP_FAILED
                 : mmap(NULL, sizeof(DevModel), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (dev == MAP_FAILED) {
        _exit(99);
    }
    close(fd);
    dev_match = match;
}
