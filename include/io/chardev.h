/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Character devices: two-way byte streams with a name, made by -chardev, -serial and the like,
 * and used by one front end: a guest's serial port or a monitor.
 *
 * - A Chardev is found by its id and lives until chardev_cleanup() or chardev_delete().
 * - Making, deleting, attaching and all callbacks happen in the main thread.  chr_fe_write() may
 *   be called by any thread, with the machine lock held or not: it never waits and never calls
 *   back.  Callbacks are made without any lock.
 * - What is written while nobody is connected is dropped, as with an unplugged cable.
 */
#ifndef IO_CHARDEV_H
#define IO_CHARDEV_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "qapi/gen/char-types.h"
#include "qemu/compiler.h"
#include "qemu/error.h"

typedef struct Chardev Chardev;

typedef enum ChrEvent {
    CHR_EVENT_OPENED,  /* somebody is at the other end */
    CHR_EVENT_CLOSED,  /* nobody is any more; everything read before was delivered */
    CHR_EVENT_BREAK,   /* a serial break */
    CHR_EVENT_MUX_IN,  /* this front end has the shared terminal now */
    CHR_EVENT_MUX_OUT, /* it has no longer */
} ChrEvent;

typedef struct ChrHandlers {
    /* How many bytes it can take now.  NULL: any number. */
    size_t (*can_receive)(void *opaque);
    void (*receive)(void *opaque, const uint8_t *buf, size_t size);
    void (*event)(void *opaque, ChrEvent event);
    /* A write that was cut short may go on. */
    void (*writable)(void *opaque);
} ChrHandlers;

/* The user's end; embedded in the user. */
typedef struct CharFrontend {
    Chardev *chr; /* NULL: not attached */
    const ChrHandlers *handlers;
    void *opaque;
    int mux_index; /* which user of a shared device this is */
} CharFrontend;

/* ---- making ---------------------------------------------------------------------------------- */

/** Make a device from @opts, which may be freed afterwards.  NULL with @errp set. */
Chardev *chardev_new(const ChardevOptions *opts, Error **errp);

/** Make a device from the argument of -chardev: "BACKEND,id=ID,..." or JSON. */
Chardev *chardev_new_from_opts(const char *optarg, Error **errp);

/**
 * Make a device called @label from the argument of -serial, -monitor or -qmp: "null", "stdio",
 * "mon:stdio", "pty", "file:PATH", "pipe:PATH", "unix:PATH[,server=on][,wait=off]",
 * "tcp:HOST:PORT[,...]", "chardev:ID", or the path of a terminal device.
 * "none" gives NULL without @errp.
 *
 * @is_shared: set to whether the text began with "mon:"; NULL: that is an error.
 */
Chardev *chardev_new_from_legacy(const char *label, const char *text, bool *is_shared,
                                 Error **errp);

Chardev *chardev_find(const char *id);
const char *chardev_id(const Chardev *chr);
/** What "info chardev" shows, such as "unix:/tmp/s,server=on"; the caller frees. */
char *chardev_describe(Chardev *chr);
/** Call @fn for every device in order of making. */
void chardev_foreach(void (*fn)(Chardev *chr, void *opaque), void *opaque);

/** Delete a device that no front end uses; false with @errp set if one does. */
bool chardev_delete(Chardev *chr, Error **errp);
/** Called when somebody types the escape that ends the program on a shared terminal. */
void chardev_set_exit_request(void (*request)(void));
/** Write out what is pending, for a moment at most, restore terminals, delete all devices. */
void chardev_cleanup(void);

/* ---- using ----------------------------------------------------------------------------------- */

/** Attach @fe to @chr.  False with @errp set if another front end has it and it is not shared. */
bool chr_fe_init(CharFrontend *fe, Chardev *chr, Error **errp);
/** Detach; handlers are no longer called.  A detached @fe is allowed. */
void chr_fe_deinit(CharFrontend *fe);

/**
 * Set who is told; @handlers is not copied.  NULL: nobody, input waits.
 * If the device is open, its OPENED event is sent before this returns.
 */
void chr_fe_set_handlers(CharFrontend *fe, const ChrHandlers *handlers, void *opaque);

/**
 * Write without waiting; any thread.
 * Returns: bytes taken, which may be fewer than @size when the other end is slow: then
 * handlers->writable is called as soon as more can be taken.
 */
size_t chr_fe_write(CharFrontend *fe, const void *buf, size_t size);

/** can_receive may return more than before; any thread. */
void chr_fe_accept_input(CharFrontend *fe);

/** Whether somebody is at the other end. */
bool chr_fe_is_open(const CharFrontend *fe);

/** Close the connection: a server waits for the next client, others stay closed. */
void chr_fe_disconnect(CharFrontend *fe);

/**
 * Detach, and leave nobody behind: a socket's connection is closed, once what was written has gone
 * out; a shared terminal goes to the next of its users.
 */
void chr_fe_hang_up(CharFrontend *fe);

/** Switch a terminal between line editing by the host and raw input; nothing for other devices. */
void chr_fe_set_echo(CharFrontend *fe, bool echo);

/**
 * Take the oldest descriptor that came with what was received so far; -1 if there is none.
 * The caller owns it.  Only during receive().
 */
int chr_fe_take_fd(CharFrontend *fe);

#endif
