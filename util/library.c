/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "qemu/osdep.h"

#include <dlfcn.h>

#include "qemu/library.h"

bool library_load(const char *soname, const LibrarySymbol *symbols)
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
