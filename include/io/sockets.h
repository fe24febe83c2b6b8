/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Socket addresses: from text, to text, listening and connecting.
 *
 * - Returned descriptors are close-on-exec; listening ones are non-blocking.
 * - An fd address names a descriptor by number, or as getfd called it.
 * - The blocking calls are for start-up; coroutines use qio_channel_socket_co_connect().
 */
#ifndef IO_SOCKETS_H
#define IO_SOCKETS_H

#include "qapi/gen/sockets-types.h"
#include "qemu/compiler.h"
#include "qemu/error.h"

/**
 * Parse "unix:PATH", "fd:NAME", "vsock:CID:PORT", "tcp:HOST:PORT" or "HOST:PORT", the last two
 * with optional ",to=N,ipv4[=on|off],ipv6[=on|off],keep-alive[=on|off],numeric".  IPv6 is written
 * "[ADDR]:PORT".
 * Returns: an address the caller frees (qapi_free_SocketAddress), or NULL with @errp set.
 */
SocketAddress *socket_parse(const char *str, Error **errp);

/** The flat form of @legacy. */
SocketAddress *socket_address_flatten(const SocketAddressLegacy *legacy);

/** "unix:PATH", "tcp:HOST:PORT", "vsock:CID:PORT" or "fd:NAME"; the caller frees. */
char *socket_uri(const SocketAddress *addr);
/** What errors call it: PATH, HOST:PORT, CID:PORT or NAME; the caller frees. */
char *socket_address_describe(const SocketAddress *addr);

/**
 * Listen on @addr with room for @backlog pending connections.
 * For a unix path an older socket of that name is replaced; for inet with "to" the first free
 * port is taken.  An fd address must be a listening socket already.
 * Returns: a descriptor, or -1 with @errp set.
 */
int socket_listen(const SocketAddress *addr, int backlog, Error **errp);

/** Connect to @addr, blocking.  Returns: a descriptor, or -1 with @errp set. */
int socket_connect(const SocketAddress *addr, Error **errp);

/**
 * Connect to the unix socket @path without waiting: a listener that has no room for one more is
 * an error, too.  For loop threads.
 * Returns: a non-blocking descriptor, or -1 with @errp set.
 */
int socket_connect_unix_at_once(const char *path, Error **errp);

/** Remove what socket_listen() made in the file system.  Never fails. */
void socket_listen_cleanup(const SocketAddress *addr);

/** The addresses of a socket; NULL with @errp set. */
SocketAddress *socket_local_address(int fd, Error **errp);

/** Switch off the delay of small packets; no effect on what is not TCP. */
void socket_set_nodelay(int fd);

#endif
