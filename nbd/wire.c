/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Requests and replies of NBD's transmission phase as bytes.
 */
#include "qemu/osdep.h"

#include "block/nbd.h"
#include "qemu/bswap.h"

bool nbd_request_unpack(const uint8_t buf[static NBD_REQUEST_SIZE], NbdRequest *request)
{
    request->flags = lduw_be_p(buf + 4);
    request->type = lduw_be_p(buf + 6);
    request->cookie = ldq_be_p(buf + 8);
    request->from = ldq_be_p(buf + 16);
    request->len = ldl_be_p(buf + 24);
    return (uint32_t)ldl_be_p(buf) == NBD_REQUEST_MAGIC;
}

void nbd_simple_reply_pack(uint8_t buf[static NBD_SIMPLE_REPLY_SIZE], uint32_t error,
                           uint64_t cookie)
{
    stl_be_p(buf, NBD_SIMPLE_REPLY_MAGIC);
    stl_be_p(buf + 4, error);
    stq_be_p(buf + 8, cookie);
}

void nbd_chunk_pack(uint8_t buf[static NBD_CHUNK_SIZE], NbdChunkType type, bool is_last,
                    uint64_t cookie, uint32_t len)
{
    stl_be_p(buf, NBD_CHUNK_MAGIC);
    stw_be_p(buf + 4, is_last ? NBD_CHUNK_FLAG_DONE : 0);
    stw_be_p(buf + 6, type);
    stq_be_p(buf + 8, cookie);
    stl_be_p(buf + 16, len);
}

uint32_t nbd_errno_to_wire(int error)
{
    switch (error) {
    case 0:
        return 0;
    case EPERM:
    case EROFS:
        return 1;
    case EIO:
        return 5;
    case ENOMEM:
        return 12;
    case EDQUOT:
    case EFBIG:
    case ENOSPC:
        return 28;
    case EOVERFLOW:
        return 75;
    case ENOTSUP:
        return 95;
    case ESHUTDOWN:
        return 108;
    default:
        return 22;
    }
}
