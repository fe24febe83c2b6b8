/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Libraries that few runs of a program need: loaded when first used, since finding their symbols
 * would take a quarter of the time in which a program starts.
 */
#ifndef QEMU_LIBRARY_H
#define QEMU_LIBRARY_H

/* A function of a library, and where its address goes. */
typedef struct LibrarySymbol {
    const char *name;
    void **function;
} LibrarySymbol;

/*
 * Load a library, for good, and find @symbols, of which the last has no name.  False: it is not
 * there, or lacks one of them, so it cannot be used.  Any thread; the caller sees to it that it is
 * done once.
 */
bool library_load(const char *soname, const LibrarySymbol *symbols);

#endif
