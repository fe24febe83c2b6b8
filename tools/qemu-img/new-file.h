/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Files that a subcommand makes and takes back when it fails or is interrupted: half an image
 * must not pass for a whole one.
 */
#ifndef QEMU_IMG_NEW_FILE_H
#define QEMU_IMG_NEW_FILE_H

#include "block/block.h"

/* All zero: nothing to take back. */
typedef struct ImgNewFile {
    char *path;   /* the host's file; NULL: there is none, or it is no ordinary file */
    bool existed; /* it was there before */
} ImgNewFile;

/** Remember what making @filename through @proto is about to change; to be called before that. */
void img_new_file_note(ImgNewFile *file, const char *filename, const BlockDriver *proto);
/** Making it failed, and the driver cleaned up after itself; or it was filled: it stays. */
void img_new_file_forget(ImgNewFile *file);
/**
 * Take it back: a new file goes; one that was there keeps its place and owner, but is left empty.
 */
void img_new_file_discard(ImgNewFile *file);

/** From here on the first SIGINT, SIGTERM or SIGHUP is only noted, the next one ends us at once. */
void img_catch_interrupts(void);
bool img_is_interrupted(void);

#endif
