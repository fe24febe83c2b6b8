/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Socket addresses: text, listening, connecting. */
#include "qemu/osdep.h"
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>

#include "io/sockets.h"
#include "qapi/types.h"
#include "../../lib/testlib.h"

static void assert_fails(const char *text, const char *message)
{
    g_autoptr(Error) err = NULL;

    g_assert_null(socket_parse(text, &err));
    g_assert_cmpstr(error_get_pretty(err), ==, message);
}

static void test_parse_inet(void)
{
    g_autoptr(SocketAddress) addr = socket_parse("host:10809,to=10812,ipv4,ipv6=off",
                                                 &error_abort);

    g_assert_cmpint(addr->type, ==, SOCKET_ADDRESS_TYPE_INET);
    g_assert_cmpstr(addr->u.inet.host, ==, "host");
    g_assert_cmpstr(addr->u.inet.port, ==, "10809");
    g_assert_true(addr->u.inet.has_to && addr->u.inet.to == 10812);
    g_assert_true(addr->u.inet.has_ipv4 && addr->u.inet.ipv4);
    g_assert_true(addr->u.inet.has_ipv6 && !addr->u.inet.ipv6);
}

static void test_parse_inet6(void)
{
    g_autoptr(SocketAddress) addr = socket_parse("tcp:[fe80::1]:http", &error_abort);
    g_autofree char *text = socket_address_describe(addr);
    g_autofree char *uri = socket_uri(addr);

    g_assert_cmpstr(addr->u.inet.host, ==, "fe80::1");
    g_assert_cmpstr(text, ==, "[fe80::1]:http");
    g_assert_cmpstr(uri, ==, "tcp:[fe80::1]:http");
}

static void test_parse_others(void)
{
    g_autoptr(SocketAddress) un = socket_parse("unix:/tmp/a:b", &error_abort);
    g_autoptr(SocketAddress) fd = socket_parse("fd:7", &error_abort);
    g_autoptr(SocketAddress) vsock = socket_parse("vsock:2:1234", &error_abort);

    g_assert_cmpint(un->type, ==, SOCKET_ADDRESS_TYPE_UNIX);
    g_assert_cmpstr(un->u.q_unix.path, ==, "/tmp/a:b");
    g_assert_cmpstr(fd->u.fd.str, ==, "7");
    g_assert_cmpstr(vsock->u.vsock.cid, ==, "2");
    g_assert_cmpstr(vsock->u.vsock.port, ==, "1234");
}

static void test_parse_refused(void)
{
    assert_fails("nocolon", "error parsing address 'nocolon'");
    assert_fails("a:b:c", "error parsing address 'a:b:c'");
    assert_fails("[::1:80", "error parsing IPv6 address '[::1:80'");
    assert_fails("host:", "error parsing port in address 'host:'");
    assert_fails("", "error parsing address ''");
    assert_fails("unix:", "invalid Unix socket address");
    assert_fails("h:1,to=99999", "to= option requires a port number, not '99999'");
    assert_fails("h:1,bogus", "Unknown option 'bogus' in socket address");
    assert_fails("vsock:1", "error parsing vsock address '1', CID:PORT is expected");
}

static int option_of(int fd, int level, int option)
{
    int value;
    socklen_t len = sizeof(value);

    g_assert_cmpint(getsockopt(fd, level, option, &value, &len), ==, 0);
    return value;
}

static void assert_kept_alive(int fd)
{
    g_assert_true(option_of(fd, SOL_SOCKET, SO_KEEPALIVE));
    g_assert_cmpint(option_of(fd, IPPROTO_TCP, TCP_KEEPCNT), ==, 3);
    g_assert_cmpint(option_of(fd, IPPROTO_TCP, TCP_KEEPIDLE), ==, 40);
    g_assert_cmpint(option_of(fd, IPPROTO_TCP, TCP_KEEPINTVL), ==, 5);
}

static void test_keep_alive(void)
{
    static const char how[] = "keep-alive=on,keep-alive-count=3,keep-alive-idle=40,"
                              "keep-alive-interval=5";
    g_autofree char *text = g_strdup_printf("127.0.0.1:0,%s", how);
    g_autoptr(SocketAddress) addr = socket_parse(text, &error_abort);
    int listener = socket_listen(addr, 1, &error_abort);
    struct sockaddr_in in;
    socklen_t len = sizeof(in);
    int client, server;

    g_assert_cmpint(getsockname(listener, (struct sockaddr *)&in, &len), ==, 0);
    g_free(addr->u.inet.port);
    addr->u.inet.port = g_strdup_printf("%d", ntohs(in.sin_port));
    client = socket_connect(addr, &error_abort);
    server = accept(listener, NULL, NULL);
    g_assert_cmpint(server, >=, 0);
    assert_kept_alive(client);
    assert_kept_alive(server);
    close(server);
    close(client);
    close(listener);
}

static void test_keep_alive_refused(void)
{
    g_autoptr(SocketAddress) alone = socket_parse("127.0.0.1:0,keep-alive-idle=4", &error_abort);
    g_autoptr(SocketAddress) huge = socket_parse("127.0.0.1:0,keep-alive,keep-alive-count=999999",
                                                 &error_abort);
    g_autoptr(Error) err = NULL;
    g_autoptr(Error) huge_err = NULL;

    assert_fails("h:1,keep-alive-idle=x", "keep-alive-idle= option requires a number, not 'x'");
    g_assert_cmpint(socket_listen(alone, 1, &err), ==, -1);
    g_assert_cmpstr(error_get_pretty(err), ==,
                    "How to keep a connection alive is of use only with keep-alive=on");
    g_assert_cmpint(socket_listen(huge, 1, &huge_err), ==, -1);
    g_assert_nonnull(strstr(error_get_pretty(huge_err), "Invalid argument"));
}

static void test_flatten(void)
{
    InetSocketAddress inet = { .host = (char *)"h", .port = (char *)"1", .has_to = true, .to = 5 };
    SocketAddressLegacy legacy = { .type = SOCKET_ADDRESS_TYPE_INET };
    g_autoptr(SocketAddress) flat = NULL;

    legacy.u.inet.data = &inet;
    flat = socket_address_flatten(&legacy);
    g_assert_cmpstr(flat->u.inet.host, ==, "h");
    g_assert_cmpint(flat->u.inet.to, ==, 5);
}

static SocketAddress *unix_address(const char *path)
{
    g_autofree char *text = g_strconcat("unix:", path, NULL);

    return socket_parse(text, &error_abort);
}

static void test_unix_replaces_stale_socket(void)
{
    g_autofree char *path = test_tmpfile("stale");
    g_autoptr(SocketAddress) addr = unix_address(path);
    int first = socket_listen(addr, 1, &error_abort);
    int second, client;

    close(first);
    second = socket_listen(addr, 1, &error_abort);
    client = socket_connect(addr, &error_abort);
    g_assert_cmpint(client, >=, 0);
    g_assert_true(fcntl(client, F_GETFD) & FD_CLOEXEC);
    close(client);
    close(second);
    socket_listen_cleanup(addr);
    g_assert_false(g_file_test(path, G_FILE_TEST_EXISTS));
}

static void test_unix_keeps_other_files(void)
{
    g_autofree char *path = test_tmpfile("precious");
    g_autoptr(SocketAddress) addr = unix_address(path);
    g_autoptr(Error) err = NULL;

    g_assert_true(g_file_set_contents(path, "data", 4, NULL));
    g_assert_cmpint(socket_listen(addr, 1, &err), ==, -1);
    g_assert_nonnull(strstr(error_get_pretty(err), "Address already in use"));
    socket_listen_cleanup(addr);
    g_assert_true(g_file_test(path, G_FILE_TEST_IS_REGULAR));
}

static void test_unix_path_too_long(void)
{
    g_autofree char *path = g_strnfill(109, 'x');
    g_autoptr(SocketAddress) addr = unix_address(path);
    g_autoptr(Error) err = NULL;

    g_assert_cmpint(socket_listen(addr, 1, &err), ==, -1);
    g_assert_nonnull(strstr(error_get_pretty(err), "is too long"));
}

static void test_unix_not_there(void)
{
    g_autoptr(SocketAddress) addr = unix_address("nodir/s");
    g_autoptr(Error) err = NULL;
    g_autoptr(Error) bind_err = NULL;

    g_assert_cmpint(socket_connect(addr, &err), ==, -1);
    g_assert_cmpstr(error_get_pretty(err), ==,
                    "Failed to connect to 'nodir/s': No such file or directory");
    g_assert_cmpint(socket_listen(addr, 1, &bind_err), ==, -1);
    g_assert_cmpstr(error_get_pretty(bind_err), ==,
                    "Failed to bind socket to nodir/s: No such file or directory");
}

static void test_inet_port_range(void)
{
    g_autoptr(SocketAddress) any = socket_parse("127.0.0.1:0", &error_abort);
    int first = socket_listen(any, 1, &error_abort);
    g_autoptr(SocketAddress) taken = socket_local_address(first, &error_abort);
    g_autoptr(SocketAddress) chosen = NULL;
    g_autoptr(Error) err = NULL;
    int second;

    g_assert_cmpint(socket_listen(taken, 1, &err), ==, -1);
    g_assert_nonnull(strstr(error_get_pretty(err), "Failed to find an available port"));
    taken->u.inet.has_to = true;
    taken->u.inet.to = UINT16_MAX;
    second = socket_listen(taken, 1, &error_abort);
    chosen = socket_local_address(second, &error_abort);
    g_assert_cmpstr(chosen->u.inet.port, !=, taken->u.inet.port);
    close(first);
    close(second);
}

static void test_fd_must_be_socket(void)
{
    g_autoptr(SocketAddress) addr = socket_parse("fd:0", &error_abort);
    g_autoptr(Error) err = NULL;
    int fds[2];

    g_assert_cmpint(pipe(fds), ==, 0);
    g_free(addr->u.fd.str);
    addr->u.fd.str = g_strdup_printf("%d", fds[0]);
    g_assert_cmpint(socket_connect(addr, &err), ==, -1);
    g_assert_nonnull(strstr(error_get_pretty(err), "is not a socket"));
    close(fds[0]);
    close(fds[1]);
}

int main(int argc, char **argv)
{
    test_init(&argc, &argv);
    g_test_add_func("/sockets/parse/inet", test_parse_inet);
    g_test_add_func("/sockets/parse/inet6", test_parse_inet6);
    g_test_add_func("/sockets/parse/other-families", test_parse_others);
    g_test_add_func("/sockets/parse/refuses-nonsense", test_parse_refused);
    g_test_add_func("/sockets/flatten/keeps-members", test_flatten);
    g_test_add_func("/sockets/inet/is-kept-alive", test_keep_alive);
    g_test_add_func("/sockets/inet/keep-alive-refused", test_keep_alive_refused);
    g_test_add_func("/sockets/unix/replaces-stale-socket", test_unix_replaces_stale_socket);
    g_test_add_func("/sockets/unix/keeps-other-files", test_unix_keeps_other_files);
    g_test_add_func("/sockets/unix/path-too-long", test_unix_path_too_long);
    g_test_add_func("/sockets/unix/not-there", test_unix_not_there);
    g_test_add_func("/sockets/inet/takes-next-port", test_inet_port_range);
    g_test_add_func("/sockets/fd/must-be-socket", test_fd_must_be_socket);
    return g_test_run();
}
