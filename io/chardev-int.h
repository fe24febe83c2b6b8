/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The inside of a character device.  Private to io/. */
#ifndef IO_CHARDEV_INT_H
#define IO_CHARDEV_INT_H

#include <termios.h>

#include "io/channel.h"
#include "io/chardev.h"
#include "qemu/queue.h"
#include "qemu/thread.h"

#define CHARDEV_MAX_USERS 4
/* What is taken before writers are held back. */
#define CHARDEV_OUT_MAX ((size_t)65536)
/* Descriptors received and not yet taken. */
#define CHARDEV_MAX_FDS 16

struct Chardev {
    char *id;
    ChardevOptions *opts;
    char *description;         /* NULL: by kind */
    QTAILQ_ENTRY(Chardev) next;

    /* ---- main thread ---- */
    CharFrontend *users[CHARDEV_MAX_USERS];
    int focus;                 /* which of the users gets input */
    bool is_escaped;           /* shared: the escape key was the last one */
    bool has_met_eof;          /* nothing more to read; closes when all is written */
    int fds[CHARDEV_MAX_FDS];
    int n_fds;
    QEMUBH *kick_bh;           /* look at the state again */
    int listen_fd;             /* socket server; -1 */
    SocketAddress *addr;
    int pty_fd;                /* pty: the master while nobody has the slave open; -1 */
    QEMUTimer *pty_timer;
    bool is_terminal;          /* stdio: saved_tty is to be put back */
    struct termios saved_tty;

    /* ---- guarded by lock: writers of any thread ---- */
    QemuMutex lock;
    QIOChannel *ioc;           /* NULL: closed; changed by the main thread with the lock held */
    GByteArray *out;           /* waiting to be written */
    bool is_writer_waiting;    /* a write was cut short */
    bool is_broken;            /* a write failed; the main thread is to close */
    int log_fd;
    bool is_log_in_line;       /* the last thing logged was no newline */
};

/** Somebody is at the other end of @chr: @ioc, taken. */
void chardev_connected(Chardev *chr, QIOChannel *ioc);
/** Nobody is any more. */
void chardev_disconnected(Chardev *chr);

/** Open @chr by its options.  False with @errp set. */
bool chardev_open_backend(Chardev *chr, Error **errp);
/** After a disconnect: wait for the next connection, where the kind has that. */
void chardev_backend_closed(Chardev *chr);
/** Give back everything chardev_open_backend() took. */
void chardev_backend_release(Chardev *chr);

static inline bool chardev_is_shared(const Chardev *chr)
{
    return chr->opts->has_mux && chr->opts->mux;
}

/** Pass input of a shared device on to the user who has it, carrying out escapes. */
void chardev_mux_receive(Chardev *chr, const uint8_t *buf, size_t size);
/** Give a shared device to user number @index. */
void chardev_mux_set_focus(Chardev *chr, int index);
/** User @index has gone: if it had the terminal, the next one gets it. */
void chardev_mux_leave(Chardev *chr, int index);

/** Write without a front end, as chr_fe_write(). */
size_t chardev_write(Chardev *chr, const void *buf, size_t size);
/** Tell every user of @chr. */
void chardev_send_event(Chardev *chr, ChrEvent event);

#endif
