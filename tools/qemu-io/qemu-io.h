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
    io_debug_commands[], io_zone_commands[];

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

/* ---- requests (request.c) ---- */

typedef enum IoRequestKind { IO_REQUEST_READ, IO_REQUEST_WRITE, IO_REQUEST_DISCARD } IoRequestKind;

/* What a command that makes requests takes. */
typedef struct IoRequestSyntax {
    const IoCommand *table; /* where its usage line stands */
    IoRequestKind kind;
    const char *options;    /* getopt's */
    bool vector;            /* any number of lengths */
} IoRequestSyntax;

/* What was asked for. */
typedef struct IoRequest {
    IoRequestKind kind;
    bool machine, quiet, dump;         /* of the report */
    bool vm_state, compressed, zeroes; /* what kind of access */
    bool invalid;                      /* count an invalid request instead */
    bool has_pattern;
    int pattern;                       /* to fill with, or to compare with */
    const char *source;                /* file to fill with, or NULL */
    unsigned flags;                    /* BDRV_REQ_* */
    int64_t offset, bytes;
    int64_t *lens;                     /* of the buffers, together @bytes */
    int n_lens;
    int64_t check_offset, check_len;   /* what of a read is compared */
    bool has_check_range, has_check_len;
    int64_t start_ns;
    uint8_t *buf;                      /* NULL: none needed, or not made yet */
    QEMUIOVector qiov;                 /* over @buf */
} IoRequest;

/**
 * Parse a command line into @req, all of which is overwritten.  What it holds is given back with
 * qemuio_request_clear(), after an error, too.
 * Returns: 0, or a negative errno after telling the user.
 */
int qemuio_request_parse(IoRequest *req, const IoRequestSyntax *syntax, int argc, char **argv);

/** Give the request its buffer, filled as it says.  Errors as above. */
int qemuio_request_fill(QemuIo *io, IoRequest *req);

/** Read, write, write zeroes or discard.  Returns: 0 or a negative errno, not reported. */
int coroutine_fn qemuio_co_request(QemuIo *io, IoRequest *req);

/** Compare what was read with the pattern; false if it differs, which was told. */
bool qemuio_request_verify(const IoRequest *req);

/** Dump what was read, say how much it was and how long it took, unless -q was given. */
void qemuio_request_report(const IoRequest *req, const char *done);

void qemuio_request_clear(QemuIo *io, IoRequest *req);

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
