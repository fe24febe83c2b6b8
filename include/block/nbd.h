/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The NBD protocol: numbers on the wire and the server's handshake.  Knows no disks.
 *
 * All integers on the wire are big-endian.  Whatever a peer sends is checked against the limits
 * below; a peer that leaves the protocol is disconnected.
 */
#ifndef BLOCK_NBD_H
#define BLOCK_NBD_H

#include "io/channel.h"

/* ---- limits ---------------------------------------------------------------------------------- */

#define NBD_MAX_STRING_SIZE 4096            /* names and descriptions */
#define NBD_MAX_BUFFER_SIZE (32 * 1024 * 1024) /* data of one request, bytes */
#define NBD_MAX_OPTION_SIZE (64 * 1024)     /* data of an option that is looked at */
#define NBD_DEFAULT_PORT 10809

/* ---- handshake ------------------------------------------------------------------------------- */

#define NBD_INIT_MAGIC UINT64_C(0x4e42444d41474943) /* "NBDMAGIC" */
#define NBD_OPTS_MAGIC UINT64_C(0x49484156454f5054) /* "IHAVEOPT" */
#define NBD_REP_MAGIC UINT64_C(0x0003e889045565a9)

enum { /* flags of greeting and client */
    NBD_FLAG_FIXED_NEWSTYLE = 1 << 0,
    NBD_FLAG_NO_ZEROES = 1 << 1,
};

typedef enum NbdOption {
    NBD_OPT_EXPORT_NAME = 1,
    NBD_OPT_ABORT = 2,
    NBD_OPT_LIST = 3,
    NBD_OPT_STARTTLS = 5,
    NBD_OPT_INFO = 6,
    NBD_OPT_GO = 7,
    NBD_OPT_STRUCTURED_REPLY = 8,
    NBD_OPT_LIST_META_CONTEXT = 9,
    NBD_OPT_SET_META_CONTEXT = 10,
    NBD_OPT_EXTENDED_HEADERS = 11,
} NbdOption;

#define NBD_REP_ERR(n) (UINT32_C(1) << 31 | (n))
typedef enum NbdReplyType {
    NBD_REP_ACK = 1,
    NBD_REP_SERVER = 2,
    NBD_REP_INFO = 3,
    NBD_REP_META_CONTEXT = 4,
} NbdReplyType;
#define NBD_REP_ERR_UNSUP NBD_REP_ERR(1)
#define NBD_REP_ERR_POLICY NBD_REP_ERR(2)
#define NBD_REP_ERR_INVALID NBD_REP_ERR(3)
#define NBD_REP_ERR_UNKNOWN NBD_REP_ERR(6)
#define NBD_REP_ERR_BLOCK_SIZE_REQD NBD_REP_ERR(8)
#define NBD_REP_ERR_TOO_BIG NBD_REP_ERR(9)

enum { /* what an info reply is about */
    NBD_INFO_EXPORT = 0,
    NBD_INFO_NAME = 1,
    NBD_INFO_DESCRIPTION = 2,
    NBD_INFO_BLOCK_SIZE = 3,
};

/* ---- transmission ---------------------------------------------------------------------------- */

enum { /* flags of an export */
    NBD_FLAG_HAS_FLAGS = 1 << 0,
    NBD_FLAG_READ_ONLY = 1 << 1,
    NBD_FLAG_SEND_FLUSH = 1 << 2,
    NBD_FLAG_SEND_FUA = 1 << 3,
    NBD_FLAG_SEND_TRIM = 1 << 5,
    NBD_FLAG_SEND_WRITE_ZEROES = 1 << 6,
    NBD_FLAG_SEND_DF = 1 << 7,
    NBD_FLAG_CAN_MULTI_CONN = 1 << 8,
    NBD_FLAG_SEND_CACHE = 1 << 10,
    NBD_FLAG_SEND_FAST_ZERO = 1 << 11,
};

#define NBD_REQUEST_MAGIC UINT32_C(0x25609513)
#define NBD_SIMPLE_REPLY_MAGIC UINT32_C(0x67446698)
#define NBD_REQUEST_SIZE 28
#define NBD_SIMPLE_REPLY_SIZE 16
#define NBD_CHUNK_MAGIC UINT32_C(0x668e33ef)
#define NBD_CHUNK_SIZE 20
#define NBD_CHUNK_FLAG_DONE 1

typedef enum NbdCommand {
    NBD_CMD_READ = 0,
    NBD_CMD_WRITE = 1,
    NBD_CMD_DISC = 2,
    NBD_CMD_FLUSH = 3,
    NBD_CMD_TRIM = 4,
    NBD_CMD_CACHE = 5,
    NBD_CMD_WRITE_ZEROES = 6,
    NBD_CMD_BLOCK_STATUS = 7,
} NbdCommand;

enum { /* flags of a request */
    NBD_CMD_FLAG_FUA = 1 << 0,
    NBD_CMD_FLAG_NO_HOLE = 1 << 1,
    NBD_CMD_FLAG_DF = 1 << 2,
    NBD_CMD_FLAG_REQ_ONE = 1 << 3,
    NBD_CMD_FLAG_FAST_ZERO = 1 << 4,
};

typedef enum NbdChunkType {
    NBD_CHUNK_NONE = 0,
    NBD_CHUNK_OFFSET_DATA = 1,
    NBD_CHUNK_OFFSET_HOLE = 2,
    NBD_CHUNK_BLOCK_STATUS = 5,
    NBD_CHUNK_ERROR = 0x8001,
} NbdChunkType;

/* Meta contexts: names, and what the numbers of their extents mean. */
#define NBD_META_ALLOCATION "base:allocation"
#define NBD_META_DEPTH "qemu:allocation-depth"
#define NBD_META_BITMAP "qemu:dirty-bitmap:" /* and a name */
enum {
    NBD_STATE_HOLE = 1 << 0,
    NBD_STATE_ZERO = 1 << 1,
    NBD_STATE_DIRTY = 1 << 0,
};

typedef struct NbdRequest {
    uint16_t flags, type;
    uint64_t cookie, from;
    uint32_t len;
} NbdRequest;

/** Take a request apart; false if its magic is wrong. */
bool nbd_request_unpack(const uint8_t buf[static NBD_REQUEST_SIZE], NbdRequest *request);

/** @error: a number of the wire. */
void nbd_simple_reply_pack(uint8_t buf[static NBD_SIMPLE_REPLY_SIZE], uint32_t error,
                           uint64_t cookie);

/** The header of a part of a structured reply, with @len bytes of data behind it. */
void nbd_chunk_pack(uint8_t buf[static NBD_CHUNK_SIZE], NbdChunkType type, bool is_last,
                    uint64_t cookie, uint32_t len);

/** The wire's number for a positive errno; 0 stays 0. */
uint32_t nbd_errno_to_wire(int error);

/* ---- the server's side of the handshake ------------------------------------------------------ */

/* What a client is told of an export; strings are borrowed until the next yield. */
typedef struct NbdExportInfo {
    const char *description; /* or NULL */
    uint64_t size;
    uint16_t flags;
    uint32_t min_block; /* bytes; 1: anything goes */
} NbdExportInfo;

typedef struct NbdServerOps {
    /* Is there an export @name?  @enter: the client is about to use it. */
    bool (*find)(void *opaque, const char *name, bool enter, NbdExportInfo *info);
    /* Name and description of the @n-th export; false behind the last. */
    bool (*list)(void *opaque, unsigned n, const char **name, const char **description);
    /* Meta contexts of export @name, which was found, have numbers below this, ... */
    uint32_t (*n_contexts)(void *opaque, const char *name);
    /* ... and this name, for g_free(); NULL: the number is not in use. */
    char *(*context)(void *opaque, const char *name, uint32_t id);
} NbdServerOps;

/* What a client and the server agreed upon. */
typedef struct NbdSession {
    bool structured;  /* replies may be structured; those to reads must be */
    GArray *contexts; /* of uint32_t: the selected ones, ascending */
} NbdSession;

/**
 * Shake hands with a client.
 *
 * @session: set in any case, for nbd_session_clear().
 * Returns: 1 if it entered an export, 0 if it left in good order, -1 with @errp set if it broke off
 * or the protocol.
 */
int coroutine_fn nbd_server_co_handshake(QIOChannel *ioc, const NbdServerOps *ops, void *opaque,
                                         NbdSession *session, Error **errp);
/** A session that is all zeroes is fine. */
void nbd_session_clear(NbdSession *session);

#endif
