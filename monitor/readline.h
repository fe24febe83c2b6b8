/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Editing one line on a terminal that sends plain bytes: cursor, deletion, history, completion.
 * Knows no device: text goes out by a callback, finished lines are returned.
 */
#ifndef MONITOR_READLINE_H
#define MONITOR_READLINE_H

#include <glib.h>
#include <stdint.h>

typedef struct ReadLine ReadLine;

typedef void ReadLinePrint(void *opaque, const char *text);
/* Words (g_free) that the line up to the cursor may be completed to; NULL: none. */
typedef GPtrArray *ReadLineComplete(void *opaque, const char *text);

ReadLine *readline_new(const char *prompt, ReadLinePrint *print, ReadLineComplete *complete,
                       void *opaque);
void readline_free(ReadLine *rs);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(ReadLine, readline_free)

/** Begin a new line: print the prompt. */
void readline_start(ReadLine *rs);
/** Print prompt and line again, after something else was printed. */
void readline_show_again(ReadLine *rs);

/**
 * Handle one byte of input.
 * Returns: the line, without its end, when it was finished; the caller frees it.  Else NULL.
 */
char *readline_handle_byte(ReadLine *rs, uint8_t byte);

#endif
