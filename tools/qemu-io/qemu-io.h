/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * qemu-io: requests by hand.  What its files share.
 *
 * Every command runs in the program's one coroutine and may yield; aio_* commands start coroutines
 * of their own, which end before aio_flush, close or the program do.
 */
#ifndef TOOLS_QEMU_IO_H
#define TOOLS_QEMU_IO_H

#include "block/block-backend.h"
#include "qemu/co-lock.h"

typedef struct QemuIo {
    BlockBackend *blk; /* NULL: no file open */
    bool misalign;     /* buffers off alignment, to try direct I/O */
    bool quit;
    bool is_guest;     /* of a monitor: what it works on is not its own to open or close */
    int aio_in_flight;
    CoQueue aio_done;
} QemuIo;

typedef struct IoCommand {
    const char *name, *alt_name;
    int min_args, max_args; /* beside the name; max -1: any number */
    const char *args;       /* for the usage line */
    const char *oneline;
    const char *help;       /* more, or NULL */
    bool works_without_file;
    uint64_t perm;          /* BLK_PERM_* it needs at the root */
    /* Returns 0 or a negative errno; has told the user what went wrong. */
    int coroutine_fn (*co_run)(QemuIo *io, int argc, char **argv);
} IoCommand;

extern const IoCommand io_rw_commands[], io_aio_commands[], io_node_commands[],
    io_debug_commands[];

/** Split @line into words and run it.  False if the command failed or is none. */
bool coroutine_fn qemuio_co_command(QemuIo *io, const char *line);
/** Print the usage line; returns -EINVAL. */
int qemuio_usage(const IoCommand *table, const char *name);

/* ---- opening (node.c) ---- */

typedef struct IoOpen {
    const char *filename; /* or NULL */
    QDict *options;       /* taken, or NULL */
    int flags;            /* BDRV_O_* */
    bool writethrough;
    bool force_share;
} IoOpen;

bool coroutine_fn qemuio_co_open(QemuIo *io, IoOpen *open);
/** False: something could not be written back, which was told. */
bool coroutine_fn qemuio_co_close(QemuIo *io);
void coroutine_fn qemuio_co_wait_aio(QemuIo *io);

/* ---- text (text.c) ---- */

/** Parse a size; tells the user and returns a negative errno if it is none. */
int64_t qemuio_number(const char *text);
/** Parse a pattern byte; -1 after telling the user. */
int qemuio_pattern(const char *text);
/** "64 KiB" or "1.062 MiB". */
char *qemuio_size(double bytes);
/** @name A/B bytes at offset O, and the time since @start_ns; or one line of numbers. */
void qemuio_report(const char *name, int64_t start_ns, int64_t offset, int64_t asked, int64_t done,
                   bool machine_readable);
void qemuio_dump(const uint8_t *buf, int64_t offset, int64_t len);
/** A buffer filled with @pattern; free with qemuio_buffer_free(). */
void *qemuio_buffer(QemuIo *io, size_t len, int pattern);
void qemuio_buffer_free(QemuIo *io, void *buf);
/** Is all of @buf the byte @pattern? */
bool qemuio_is_pattern(const uint8_t *buf, int pattern, int64_t len);
int64_t qemuio_now_ns(void);

#endif
