/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Shared by server-handshake.c and meta-context.c only.
 */
#ifndef NBD_HANDSHAKE_INT_H
#define NBD_HANDSHAKE_INT_H

#include "block/nbd.h"

/* Of a client's export name in an error message. */
#define MAX_SHOWN_NAME 80

typedef struct Handshake {
    QIOChannel *ioc;
    const NbdServerOps *ops;
    void *opaque;
    NbdSession *session;
    char *context_export; /* whose contexts the session has; or NULL */
    bool no_zeroes;  /* the client does not want padding after EXPORT_NAME */
    bool is_fixed;   /* the client understands replies to options */
    uint32_t option; /* being answered */
    uint8_t *data;   /* its data, with a zero byte behind */
    uint32_t len;
} Handshake;

/* What comes of an option. */
typedef enum Outcome {
    OUTCOME_FAILED = -1, /* errp is set: drop the connection */
    OUTCOME_CLOSE = 0,
    OUTCOME_ENTERED = 1,
    OUTCOME_NEXT = 2,
} Outcome;

/* ---- server-handshake.c ---------------------------------------------------------------------- */

Outcome coroutine_fn handshake_co_reply(Handshake *hs, uint32_t type, const void *data, size_t len,
                                        Error **errp);
Outcome coroutine_fn QEMU_PRINTF(4, 5)
handshake_co_reply_error(Handshake *hs, uint32_t type, Error **errp, const char *fmt, ...);
Outcome coroutine_fn handshake_co_unknown_export(Handshake *hs, const char *name, Error **errp);

/* ---- meta-context.c -------------------------------------------------------------------------- */

/** Answer LIST_META_CONTEXT or SET_META_CONTEXT. */
Outcome coroutine_fn handshake_co_meta_context(Handshake *hs, Error **errp);
/** No context is selected. */
void handshake_forget_contexts(Handshake *hs);

#endif
