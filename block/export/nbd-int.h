/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Shared by the parts of the NBD server: exports (nbd-export.c), requests (nbd-request.c,
 * nbd-status.c), clients and the server itself (nbd-server.c).
 */
#ifndef BLOCK_EXPORT_NBD_INT_H
#define BLOCK_EXPORT_NBD_INT_H

#include "block/dirty-bitmap.h"
#include "block/export.h"
#include "block/nbd.h"
#include "io/channel.h"
#include "qemu/co-lock.h"
#include "qemu/queue.h"
#include "qemu/timer.h"

typedef struct NbdExport {
    BlockExport common;
    char *name, *description;
    bool has_depth;      /* offers the depth of the backing chain */
    GPtrArray *bitmaps;  /* of BdrvDirtyBitmap *, busy, each with a reference to its node */
} NbdExport;

typedef struct NbdClient {
    QIOChannel *ioc;
    NbdExport *exp;      /* with a reference, once it was entered */
    NbdSession session;
    QEMUTimer *deadline; /* of the handshake */
    CoMutex send_lock;   /* one reply, or part of one, at a time */
    unsigned running;    /* requests */
    uint64_t buffered;   /* bytes of their data */
    Coroutine *reader;   /* waits for requests to end; or NULL */
    QLIST_ENTRY(NbdClient) next;
} NbdClient;

/* ---- nbd-export.c ---------------------------------------------------------------------------- */

NbdExport *nbd_export_find(const char *name);
bool coroutine_fn nbd_export_co_create(BlockExport *exp, const BlockExportOptions *args,
                                       Error **errp);
void nbd_export_destroy(BlockExport *exp);

/* Numbers of the meta contexts of an export. */
enum {
    NBD_CONTEXT_ALLOCATION = 0,
    NBD_CONTEXT_DEPTH = 1,
    NBD_CONTEXT_BITMAPS = 2, /* the first one */
};
uint32_t nbd_export_n_contexts(const NbdExport *exp);
/** For g_free(); NULL: there is none of that number. */
char *nbd_export_context(const NbdExport *exp, uint32_t id);

/* ---- nbd-request.c --------------------------------------------------------------------------- */

/** Serve @client until it has left and its last request has ended.  Context: the export's loop. */
void coroutine_fn nbd_client_co_serve(NbdClient *client);

/* ---- nbd-status.c ---------------------------------------------------------------------------- */

/** What the status of @req is in context @id, as data of a chunk; or a negative errno. */
int coroutine_fn nbd_export_co_status(NbdExport *exp, const NbdRequest *req, uint32_t id,
                                      GByteArray *data);

#endif
