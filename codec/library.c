/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Libraries that few runs of a program need: loaded when first used, since finding their symbols
 * would take a quarter of the time in which a program starts.
 */
#include "qemu/osdep.h"

#include <dlfcn.h>

#include "codec-int.h"

bool codec_library_load(const char *soname, const CodecSymbol *symbols)
{
    void *library = dlopen(soname, RTLD_NOW | RTLD_LOCAL);

    if (!library) {
        return false;
    }
    for (; symbols->name; symbols++) {
        *symbols->function = dlsym(library, symbols->name);
        if (!*symbols->function) {
            return false;
        }
    }
    return true;
}
