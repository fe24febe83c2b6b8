/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Exports: nodes served to others.
 *
 *  - An export is a backend on its node, so it claims what it serves; query-block-blockers shows it
 *    by its id.
 *  - It lives until it was told to go and its last client has left.
 *  - Main thread; the _co_ functions that change the graph under the control lock.
 */
#ifndef BLOCK_EXPORT_H
#define BLOCK_EXPORT_H

#include "block/block-backend.h"
#include "qapi/gen/block-export-types.h"
#include "qemu/iothread.h"
#include "qemu/queue.h"

typedef struct BlockExport BlockExport;

typedef struct BlockExportDriver {
    BlockExportType type;
    size_t instance_size; /* of the struct that begins with a BlockExport */
    /* Begin to serve: blk, id, iothread and writable are set.  On failure leaves nothing. */
    bool coroutine_fn (*co_create)(BlockExport *exp, const BlockExportOptions *args, Error **errp);
    /* Take no new clients and let those there are go soon. */
    void (*request_shutdown)(BlockExport *exp);
    /* Nobody refers to it any more; free what the driver holds. */
    void (*destroy)(BlockExport *exp);
} BlockExportDriver;

struct BlockExport {
    const BlockExportDriver *drv;
    char *id;
    BlockBackend *blk;
    GPtrArray *iothreads; /* whose loops serve it, with references; none: the main loop's */
    unsigned int next_iothread;
    bool writable;
    unsigned refcnt;    /* the user's, and one of each client */
    bool user_owned;    /* nobody asked for its end yet */
    bool shutting_down;
    QLIST_ENTRY(BlockExport) next;
};

/** Make an export, as block-export-add does. */
BlockExport *coroutine_fn blk_exp_co_add(const BlockExportOptions *args, Error **errp);

/** The export with that id, or NULL. */
BlockExport *blk_exp_find(const char *id);
/** Next export in the order of block-export-add reversed; NULL starts, NULL ends. */
BlockExport *blk_exp_next(BlockExport *exp);

/** The loop that serves the next client of @exp: its iothreads take turns.  Main thread. */
AioContext *blk_exp_next_aio_context(BlockExport *exp);

/** Keep @exp until blk_exp_co_unref(). */
void blk_exp_ref(BlockExport *exp);
/** The last one ends the export and sends BLOCK_EXPORT_DELETED.  Control lock. */
void coroutine_fn blk_exp_co_unref(BlockExport *exp);

/** End @exp: no new clients; it goes when the last one has left.  Control lock. */
void coroutine_fn blk_exp_co_request_shutdown(BlockExport *exp);

/** End all exports and wait until they are gone.  Not under the control lock. */
void coroutine_fn blk_exp_co_close_all(void);

/* ---- the NBD server, of which there is at most one ------------------------------------------- */

#define NBD_MAX_CONNECTIONS 100
#define NBD_HANDSHAKE_MAX_SECONDS 10

/** @max_connections: 0: no limit.  @handshake_max_seconds: 0: no limit. */
bool nbd_server_start(const SocketAddress *addr, uint32_t handshake_max_seconds,
                      uint32_t max_connections, Error **errp);
bool nbd_server_is_running(void);
/** Close the listening socket and disconnect all clients; nothing if it does not run. */
void nbd_server_stop(void);

extern const BlockExportDriver blk_exp_nbd;

#endif
