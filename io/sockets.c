/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Socket addresses: parsing, printing, listening, connecting. */
#include "qemu/osdep.h"
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/un.h>
#ifdef __linux__
#include <linux/vm_sockets.h>
#endif

#include "io/sockets.h"
#include "qapi/clone.h"
#include "qapi/types.h"
#include "qemu/cutils.h"
#include "qemu/fdset.h"

static bool close_keep_errno(int fd)
{
    int saved = errno;

    close(fd);
    errno = saved;
    return false;
}

/* ---- from text ------------------------------------------------------------------------------- */

/* keep-alive and what is said of it beside that. */
static bool inet_parse_keep_alive(InetSocketAddress *inet, const char *name, const char *value,
                                  Error **errp)
{
    const struct {
        const char *name;
        bool *has;
        uint32_t *number;
    } numbers[] = {
        { "keep-alive-count", &inet->has_keep_alive_count, &inet->keep_alive_count },
        { "keep-alive-idle", &inet->has_keep_alive_idle, &inet->keep_alive_idle },
        { "keep-alive-interval", &inet->has_keep_alive_interval, &inet->keep_alive_interval },
    };
    for (size_t i = 0; i < ARRAY_SIZE(numbers); i++) {
        if (!strcmp(name, numbers[i].name)) {
            unsigned int number;

            if (qemu_strtoui(value, NULL, 10, &number) < 0) {
                error_setg(errp, "%s= option requires a number, not '%s'", name, value);
                return false;
            }
            *numbers[i].has = true;
            *numbers[i].number = number;
            return true;
        }
    }
    inet->has_keep_alive = true;
    return qapi_bool_parse(name, value, &inet->keep_alive, errp);
}

/* One of the options behind "HOST:PORT,". */
static bool inet_parse_option(InetSocketAddress *inet, const char *option, Error **errp)
{
    g_auto(GStrv) pair = g_strsplit(option, "=", 2);
    const char *name = pair[0] ? pair[0] : ""; /* g_strsplit() makes nothing of nothing */
    const char *value = pair[0] && pair[1] ? pair[1] : "on";
    unsigned int number;

    if (!strcmp(name, "to")) {
        if (!pair[1] || qemu_strtoui(value, NULL, 10, &number) < 0 || number > UINT16_MAX) {
            error_setg(errp, "to= option requires a port number, not '%s'", value);
            return false;
        }
        inet->has_to = true;
        inet->to = number;
        return true;
    }
    if (!strcmp(name, "ipv4")) {
        inet->has_ipv4 = true;
        return qapi_bool_parse(name, value, &inet->ipv4, errp);
    }
    if (!strcmp(name, "ipv6")) {
        inet->has_ipv6 = true;
        return qapi_bool_parse(name, value, &inet->ipv6, errp);
    }
    if (!strcmp(name, "keep-alive") || !strcmp(name, "keep-alive-count") ||
        !strcmp(name, "keep-alive-idle") || !strcmp(name, "keep-alive-interval")) {
        return inet_parse_keep_alive(inet, name, value, errp);
    }
    if (!strcmp(name, "numeric")) {
        inet->has_numeric = true;
        return qapi_bool_parse(name, value, &inet->numeric, errp);
    }
    error_setg(errp, "Unknown option '%s' in socket address", name);
    return false;
}

/* "HOST:PORT[,OPTION...]" into @inet, whose strings the caller owns even after an error. */
static bool inet_parse(InetSocketAddress *inet, const char *str, Error **errp)
{
    g_auto(GStrv) parts = g_strsplit(str, ",", -1);
    const char *text = parts[0] ? parts[0] : "";
    const char *port;

    if (*text == '[') {
        const char *end = strchr(text, ']');

        if (!end || end[1] != ':' || strchr(end + 2, ':') || strchr(text + 1, '[')) {
            error_setg(errp, "error parsing IPv6 address '%s'", str);
            return false;
        }
        inet->host = g_strndup(text + 1, end - text - 1);
        port = end + 2;
    } else {
        const char *colon = strchr(text, ':');

        if (!colon || strchr(colon + 1, ':')) {
            error_setg(errp, "error parsing address '%s'", str);
            return false;
        }
        inet->host = g_strndup(text, colon - text);
        port = colon + 1;
    }
    if (!*port) {
        error_setg(errp, "error parsing port in address '%s'", str);
        return false;
    }
    inet->port = g_strdup(port);
    for (char **option = parts + 1; parts[0] && *option; option++) {
        if (!inet_parse_option(inet, *option, errp)) {
            return false;
        }
    }
    return true;
}

static bool vsock_parse(VsockSocketAddress *vsock, const char *str, Error **errp)
{
    const char *colon = strchr(str, ':');

    if (!colon || colon == str || !colon[1]) {
        error_setg(errp, "error parsing vsock address '%s', CID:PORT is expected", str);
        return false;
    }
    vsock->cid = g_strndup(str, colon - str);
    vsock->port = g_strdup(colon + 1);
    return true;
}

SocketAddress *socket_parse(const char *str, Error **errp)
{
    g_autoptr(SocketAddress) addr = g_new0(SocketAddress, 1);
    const char *rest;

    if (strstart(str, "unix:", &rest)) {
        if (!*rest) {
            error_setg(errp, "invalid Unix socket address");
            return NULL;
        }
        addr->type = SOCKET_ADDRESS_TYPE_UNIX;
        addr->u.q_unix.path = g_strdup(rest);
    } else if (strstart(str, "fd:", &rest)) {
        if (!*rest) {
            error_setg(errp, "invalid file descriptor address");
            return NULL;
        }
        addr->type = SOCKET_ADDRESS_TYPE_FD;
        addr->u.fd.str = g_strdup(rest);
    } else if (strstart(str, "vsock:", &rest)) {
        addr->type = SOCKET_ADDRESS_TYPE_VSOCK;
        if (!vsock_parse(&addr->u.vsock, rest, errp)) {
            return NULL;
        }
    } else {
        if (!strstart(str, "tcp:", &rest)) {
            rest = str;
        }
        addr->type = SOCKET_ADDRESS_TYPE_INET;
        if (!inet_parse(&addr->u.inet, rest, errp)) {
            return NULL;
        }
    }
    return g_steal_pointer(&addr);
}

SocketAddress *socket_address_flatten(const SocketAddressLegacy *legacy)
{
    SocketAddress *addr = g_new0(SocketAddress, 1);

    addr->type = legacy->type;
    switch (legacy->type) {
    case SOCKET_ADDRESS_TYPE_INET:
        QAPI_CLONE_MEMBERS(InetSocketAddress, &addr->u.inet, legacy->u.inet.data);
        break;
    case SOCKET_ADDRESS_TYPE_UNIX:
        QAPI_CLONE_MEMBERS(UnixSocketAddress, &addr->u.q_unix, legacy->u.q_unix.data);
        break;
    case SOCKET_ADDRESS_TYPE_VSOCK:
        QAPI_CLONE_MEMBERS(VsockSocketAddress, &addr->u.vsock, legacy->u.vsock.data);
        break;
    case SOCKET_ADDRESS_TYPE_FD:
        QAPI_CLONE_MEMBERS(FdSocketAddress, &addr->u.fd, legacy->u.fd.data);
        break;
    default:
        g_assert_not_reached();
    }
    return addr;
}

/* ---- to text --------------------------------------------------------------------------------- */

char *socket_address_describe(const SocketAddress *addr)
{
    switch (addr->type) {
    case SOCKET_ADDRESS_TYPE_INET:
        return strchr(addr->u.inet.host, ':')
               ? g_strdup_printf("[%s]:%s", addr->u.inet.host, addr->u.inet.port)
               : g_strdup_printf("%s:%s", addr->u.inet.host, addr->u.inet.port);
    case SOCKET_ADDRESS_TYPE_UNIX:
        return g_strdup(addr->u.q_unix.path);
    case SOCKET_ADDRESS_TYPE_VSOCK:
        return g_strdup_printf("%s:%s", addr->u.vsock.cid, addr->u.vsock.port);
    case SOCKET_ADDRESS_TYPE_FD:
        return g_strdup(addr->u.fd.str);
    default:
        g_assert_not_reached();
    }
}

char *socket_uri(const SocketAddress *addr)
{
    static const char *const schemes[SOCKET_ADDRESS_TYPE__MAX] = {
        [SOCKET_ADDRESS_TYPE_INET] = "tcp",
        [SOCKET_ADDRESS_TYPE_UNIX] = "unix",
        [SOCKET_ADDRESS_TYPE_VSOCK] = "vsock",
        [SOCKET_ADDRESS_TYPE_FD] = "fd",
    };
    g_autofree char *text = socket_address_describe(addr);

    return g_strconcat(schemes[addr->type], ":", text, NULL);
}

/* ---- descriptors ----------------------------------------------------------------------------- */

/* The socket that an fd address names; the caller owns it. */
static int fd_address_get(const FdSocketAddress *addr, Error **errp)
{
    int fd = named_fd_param(addr->str, errp);
    struct stat st;

    if (fd < 0) {
        return -1;
    }
    if (fstat(fd, &st) < 0 || !S_ISSOCK(st.st_mode)) {
        error_setg(errp, "File descriptor '%s' is not a socket", addr->str);
        return -1;
    }
    fcntl(fd, F_SETFD, FD_CLOEXEC);
    return fd;
}

/* ---- inet ------------------------------------------------------------------------------------ */

static bool inet_family(const InetSocketAddress *addr, int *family, Error **errp)
{
    bool no4 = addr->has_ipv4 && !addr->ipv4;
    bool no6 = addr->has_ipv6 && !addr->ipv6;
    bool only4 = addr->has_ipv4 && addr->ipv4 && !(addr->has_ipv6 && addr->ipv6);
    bool only6 = addr->has_ipv6 && addr->ipv6 && !(addr->has_ipv4 && addr->ipv4);

    if (no4 && no6) {
        error_setg(errp, "Cannot disable IPv4 and IPv6 at same time");
        return false;
    }
    *family = no6 || only4 ? AF_INET : no4 || only6 ? AF_INET6 : AF_UNSPEC;
    return true;
}

static struct addrinfo *inet_resolve(const InetSocketAddress *addr, bool is_passive, Error **errp)
{
    struct addrinfo hints = { .ai_socktype = SOCK_STREAM };
    struct addrinfo *list = NULL;
    const char *host = *addr->host ? addr->host : NULL;
    int ret;

    hints.ai_flags = (is_passive ? AI_PASSIVE : AI_ADDRCONFIG) |
                     (addr->has_numeric && addr->numeric ? AI_NUMERICHOST | AI_NUMERICSERV : 0);
    if (!inet_family(addr, &hints.ai_family, errp)) {
        return NULL;
    }
    if (!host && !is_passive) {
        error_setg(errp, "host and/or port not specified");
        return NULL;
    }
    if ((addr->has_keep_alive_count || addr->has_keep_alive_idle ||
         addr->has_keep_alive_interval) && !(addr->has_keep_alive && addr->keep_alive)) {
        error_setg(errp, "How to keep a connection alive is of use only with keep-alive=on");
        return NULL;
    }
    ret = getaddrinfo(host, addr->port, &hints, &list);
    if (ret == EAI_BADFLAGS || (ret && !is_passive && hints.ai_flags & AI_ADDRCONFIG)) {
        /* AI_ADDRCONFIG hides ::1 and 127.0.0.1 where no other address is configured. */
        hints.ai_flags &= ~AI_ADDRCONFIG;
        ret = getaddrinfo(host, addr->port, &hints, &list);
    }
    if (ret) {
        error_setg(errp, "address resolution failed for %s:%s: %s", addr->host, addr->port,
                   ret == EAI_SYSTEM ? strerror(errno) : gai_strerror(ret));
        return NULL;
    }
    return list;
}

/* What a listening socket is set to, its connections are, too.  -1 with errno set if it fails. */
static int set_keep_alive(int fd, const InetSocketAddress *addr)
{
    const struct {
        bool has;
        int level, option, value;
    } options[] = {
        { addr->has_keep_alive, SOL_SOCKET, SO_KEEPALIVE, addr->keep_alive },
        { addr->has_keep_alive_count, IPPROTO_TCP, TCP_KEEPCNT, addr->keep_alive_count },
        { addr->has_keep_alive_idle, IPPROTO_TCP, TCP_KEEPIDLE, addr->keep_alive_idle },
        { addr->has_keep_alive_interval, IPPROTO_TCP, TCP_KEEPINTVL, addr->keep_alive_interval },
    };
    for (size_t i = 0; i < ARRAY_SIZE(options); i++) {
        if (options[i].has && setsockopt(fd, options[i].level, options[i].option,
                                         &options[i].value, sizeof(int)) < 0) {
            return -1;
        }
    }
    return 0;
}

static int inet_socket(const InetSocketAddress *addr, const struct addrinfo *ai, int flags)
{
    int protocol = ai->ai_protocol;
    int fd;

#ifdef IPPROTO_MPTCP
    if (addr->has_mptcp && addr->mptcp) {
        protocol = IPPROTO_MPTCP;
    }
#endif
    fd = socket(ai->ai_family, ai->ai_socktype | SOCK_CLOEXEC | flags, protocol);
    if (fd >= 0 && set_keep_alive(fd, addr) < 0) {
        close_keep_errno(fd);
        return -1;
    }
    return fd;
}

static void set_port(struct addrinfo *ai, uint16_t port)
{
    if (ai->ai_family == AF_INET6) {
        ((struct sockaddr_in6 *)ai->ai_addr)->sin6_port = htons(port);
    } else {
        ((struct sockaddr_in *)ai->ai_addr)->sin_port = htons(port);
    }
}

static uint16_t get_port(const struct addrinfo *ai)
{
    return ntohs(ai->ai_family == AF_INET6 ? ((struct sockaddr_in6 *)ai->ai_addr)->sin6_port
                                           : ((struct sockaddr_in *)ai->ai_addr)->sin_port);
}

/* A listening socket on one address and port, or -1 with errno set. */
static int inet_listen_one(const InetSocketAddress *addr, const struct addrinfo *ai, int backlog)
{
    int fd = inet_socket(addr, ai, SOCK_NONBLOCK);
    int one = 1;

    if (fd < 0) {
        return -1;
    }
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
    if (ai->ai_family == AF_INET6) {
        int family;
        int only6 = inet_family(addr, &family, NULL) && family == AF_INET6;

        setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &only6, sizeof(only6));
    }
    if (bind(fd, ai->ai_addr, ai->ai_addrlen) < 0 || listen(fd, backlog) < 0) {
        close_keep_errno(fd);
        return -1;
    }
    return fd;
}

static int inet_listen(const InetSocketAddress *addr, int backlog, Error **errp)
{
    struct addrinfo *list = inet_resolve(addr, true, errp);
    int fd = -1;

    if (!list) {
        return -1;
    }
    /* IPv6 first: its wildcard address serves IPv4 as well. */
    for (int pass = 0; pass < 2 && fd < 0; pass++) {
        for (struct addrinfo *ai = list; ai && fd < 0; ai = ai->ai_next) {
            unsigned int first = get_port(ai);
            unsigned int last = addr->has_to ? MAX(addr->to, first) : first;

            if ((ai->ai_family == AF_INET6) != (pass == 0)) {
                continue;
            }
            for (unsigned int port = first; port <= last && fd < 0; port++) {
                set_port(ai, port);
                fd = inet_listen_one(addr, ai, backlog);
                if (fd < 0 && errno != EADDRINUSE) {
                    break;
                }
            }
        }
    }
    if (fd < 0) {
        error_setg_errno(errp, errno, "Failed to find an available port");
    }
    freeaddrinfo(list);
    return fd;
}

/* connect() that a signal does not disturb. */
static int connect_retry(int fd, const struct sockaddr *sa, socklen_t len)
{
    if (connect(fd, sa, len) == 0) {
        return 0;
    }
    if (errno != EINTR) {
        return -1;
    }
    struct pollfd pfd = { .fd = fd, .events = POLLOUT };
    int error = 0;
    socklen_t error_len = sizeof(error);

    while (poll(&pfd, 1, -1) < 0 && errno == EINTR) {
        continue;
    }
    getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &error_len);
    errno = error;
    return error ? -1 : 0;
}

static int inet_connect(const InetSocketAddress *addr, Error **errp)
{
    struct addrinfo *list = inet_resolve(addr, false, errp);
    int fd = -1;

    if (!list) {
        return -1;
    }
    for (struct addrinfo *ai = list; ai && fd < 0; ai = ai->ai_next) {
        fd = inet_socket(addr, ai, 0);
        if (fd >= 0 && connect_retry(fd, ai->ai_addr, ai->ai_addrlen) < 0) {
            close_keep_errno(fd);
            fd = -1;
        }
    }
    if (fd < 0) {
        error_setg_errno(errp, errno, "Failed to connect to '%s:%s'", addr->host, addr->port);
    }
    freeaddrinfo(list);
    return fd;
}

/* ---- unix ------------------------------------------------------------------------------------ */

static bool unix_is_abstract(const UnixSocketAddress *addr)
{
    return addr->has_abstract && addr->abstract;
}

static bool unix_sockaddr(const UnixSocketAddress *addr, struct sockaddr_un *un, socklen_t *len,
                          Error **errp)
{
    bool is_abstract = unix_is_abstract(addr);
    bool is_tight = !addr->has_tight || addr->tight;
    size_t path_len = strlen(addr->path);
    size_t limit = sizeof(un->sun_path) - (is_abstract ? 1 : 0);

    if (path_len > limit) {
        error_setg(errp, "UNIX socket path '%s' is too long", addr->path);
        error_append_hint(errp, "Path must be at most %zu bytes\n", limit);
        return false;
    }
    memset(un, 0, sizeof(*un));
    un->sun_family = AF_UNIX;
    memcpy(un->sun_path + (is_abstract ? 1 : 0), addr->path, path_len);
    *len = is_abstract && is_tight ? offsetof(struct sockaddr_un, sun_path) + 1 + path_len
                                   : sizeof(*un);
    return true;
}

/* Make room for a socket file; what is not a socket stays, and bind fails. */
static void unix_remove_stale(const UnixSocketAddress *addr)
{
    struct stat st;

    if (!unix_is_abstract(addr) && lstat(addr->path, &st) == 0 && S_ISSOCK(st.st_mode)) {
        unlink(addr->path);
    }
}

static int unix_listen(const UnixSocketAddress *addr, int backlog, Error **errp)
{
    struct sockaddr_un un;
    socklen_t len;
    int fd;

    if (!unix_sockaddr(addr, &un, &len, errp)) {
        return -1;
    }
    fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0) {
        error_setg_errno(errp, errno, "Failed to create Unix socket");
        return -1;
    }
    unix_remove_stale(addr);
    if (bind(fd, (struct sockaddr *)&un, len) < 0) {
        error_setg_errno(errp, errno, "Failed to bind socket to %s", addr->path);
        close(fd);
        return -1;
    }
    if (listen(fd, backlog) < 0) {
        error_setg_errno(errp, errno, "Failed to listen on socket");
        close(fd);
        return -1;
    }
    return fd;
}

/* @type_flags: SOCK_NONBLOCK, with which there is no waiting for the other side, or 0. */
static int unix_connect(const UnixSocketAddress *addr, int type_flags, Error **errp)
{
    struct sockaddr_un un;
    socklen_t len;
    int fd;

    if (!unix_sockaddr(addr, &un, &len, errp)) {
        return -1;
    }
    fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | type_flags, 0);
    if (fd < 0) {
        error_setg_errno(errp, errno, "Failed to create socket");
        return -1;
    }
    if (connect_retry(fd, (struct sockaddr *)&un, len) < 0) {
        error_setg_errno(errp, errno, "Failed to connect to '%s'", addr->path);
        close(fd);
        return -1;
    }
    return fd;
}

int socket_connect_unix_at_once(const char *path, Error **errp)
{
    const UnixSocketAddress addr = { .path = (char *)path };

    return unix_connect(&addr, SOCK_NONBLOCK, errp);
}

/* ---- vsock ----------------------------------------------------------------------------------- */

/* A socket bound (@backlog > 0) or connected to @addr. */
static int vsock_open(const VsockSocketAddress *addr, int backlog, Error **errp)
{
#ifdef __linux__
    struct sockaddr_vm vm = { .svm_family = AF_VSOCK };
    bool is_server = backlog > 0;
    int fd;

    if (qemu_strtoui(addr->cid, NULL, 10, &vm.svm_cid) < 0 ||
        qemu_strtoui(addr->port, NULL, 10, &vm.svm_port) < 0) {
        error_setg(errp, "error parsing vsock address '%s:%s', numbers are expected", addr->cid,
                   addr->port);
        return -1;
    }
    fd = socket(AF_VSOCK, SOCK_STREAM | SOCK_CLOEXEC | (is_server ? SOCK_NONBLOCK : 0), 0);
    if (fd < 0) {
        error_setg_errno(errp, errno, "Failed to create socket");
        return -1;
    }
    if (is_server ? bind(fd, (struct sockaddr *)&vm, sizeof(vm)) < 0 || listen(fd, backlog) < 0
                  : connect_retry(fd, (struct sockaddr *)&vm, sizeof(vm)) < 0) {
        error_setg_errno(errp, errno, is_server ? "Failed to bind socket to %s:%s"
                                                : "Failed to connect to '%s:%s'",
                         addr->cid, addr->port);
        close(fd);
        return -1;
    }
    return fd;
#else
    error_setg(errp, "socket family AF_VSOCK unsupported");
    return -1;
#endif
}

/* ---- any ------------------------------------------------------------------------------------- */

int socket_listen(const SocketAddress *addr, int backlog, Error **errp)
{
    int fd;

    switch (addr->type) {
    case SOCKET_ADDRESS_TYPE_INET:
        return inet_listen(&addr->u.inet, backlog, errp);
    case SOCKET_ADDRESS_TYPE_UNIX:
        return unix_listen(&addr->u.q_unix, backlog, errp);
    case SOCKET_ADDRESS_TYPE_VSOCK:
        return vsock_open(&addr->u.vsock, MAX(backlog, 1), errp);
    case SOCKET_ADDRESS_TYPE_FD:
        fd = fd_address_get(&addr->u.fd, errp);
        if (fd >= 0 && listen(fd, backlog) < 0) {
            error_setg_errno(errp, errno, "Failed to listen on fd %s", addr->u.fd.str);
            return -1;
        }
        if (fd >= 0) {
            fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK);
        }
        return fd;
    default:
        g_assert_not_reached();
    }
}

int socket_connect(const SocketAddress *addr, Error **errp)
{
    switch (addr->type) {
    case SOCKET_ADDRESS_TYPE_INET:
        return inet_connect(&addr->u.inet, errp);
    case SOCKET_ADDRESS_TYPE_UNIX:
        return unix_connect(&addr->u.q_unix, 0, errp);
    case SOCKET_ADDRESS_TYPE_VSOCK:
        return vsock_open(&addr->u.vsock, 0, errp);
    case SOCKET_ADDRESS_TYPE_FD:
        return fd_address_get(&addr->u.fd, errp);
    default:
        g_assert_not_reached();
    }
}

void socket_listen_cleanup(const SocketAddress *addr)
{
    if (addr->type == SOCKET_ADDRESS_TYPE_UNIX) {
        unix_remove_stale(&addr->u.q_unix);
    }
}

void socket_set_nodelay(int fd)
{
    int one = 1;

    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
}

/* ---- the addresses of a socket --------------------------------------------------------------- */

static bool sockaddr_to_inet(const struct sockaddr *sa, socklen_t len, InetSocketAddress *inet,
                             Error **errp)
{
    char host[NI_MAXHOST];
    char port[NI_MAXSERV];
    int ret = getnameinfo(sa, len, host, sizeof(host), port, sizeof(port),
                          NI_NUMERICHOST | NI_NUMERICSERV);

    if (ret) {
        error_setg(errp, "Cannot format numeric socket address: %s", gai_strerror(ret));
        return false;
    }
    inet->host = g_strdup(host);
    inet->port = g_strdup(port);
    return true;
}

static void sockaddr_to_unix(const struct sockaddr_un *un, socklen_t len, UnixSocketAddress *addr)
{
    size_t size = len > offsetof(struct sockaddr_un, sun_path)
                  ? len - offsetof(struct sockaddr_un, sun_path) : 0;

    if (size && !un->sun_path[0]) {
        addr->has_abstract = true;
        addr->abstract = true;
        addr->path = g_strndup(un->sun_path + 1, size - 1);
    } else {
        addr->path = g_strndup(un->sun_path, size);
    }
}

static SocketAddress *sockaddr_to_address(const struct sockaddr_storage *ss, socklen_t len,
                                          Error **errp)
{
    g_autoptr(SocketAddress) addr = g_new0(SocketAddress, 1);

    switch (ss->ss_family) {
    case AF_INET:
    case AF_INET6:
        addr->type = SOCKET_ADDRESS_TYPE_INET;
        if (!sockaddr_to_inet((const struct sockaddr *)ss, len, &addr->u.inet, errp)) {
            return NULL;
        }
        break;
    case AF_UNIX:
        addr->type = SOCKET_ADDRESS_TYPE_UNIX;
        sockaddr_to_unix((const struct sockaddr_un *)ss, len, &addr->u.q_unix);
        break;
#ifdef __linux__
    case AF_VSOCK:
        addr->type = SOCKET_ADDRESS_TYPE_VSOCK;
        addr->u.vsock.cid = g_strdup_printf("%u", ((const struct sockaddr_vm *)ss)->svm_cid);
        addr->u.vsock.port = g_strdup_printf("%u", ((const struct sockaddr_vm *)ss)->svm_port);
        break;
#endif
    default:
        error_setg(errp, "socket family %d unsupported", ss->ss_family);
        return NULL;
    }
    return g_steal_pointer(&addr);
}

SocketAddress *socket_local_address(int fd, Error **errp)
{
    struct sockaddr_storage ss = { 0 };
    socklen_t len = sizeof(ss);

    if (getsockname(fd, (struct sockaddr *)&ss, &len) < 0) {
        error_setg_errno(errp, errno, "Unable to query local socket address");
        return NULL;
    }
    return sockaddr_to_address(&ss, len, errp);
}
