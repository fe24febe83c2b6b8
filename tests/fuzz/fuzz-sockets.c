/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Socket addresses: whatever the text, parsing survives; what is accepted has a URI and a
 * description, and the URI of an address without options is accepted, too, and is its own URI.
 */
#include "qemu/osdep.h"
#include "io/sockets.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_address(const SocketAddress *addr, bool is_plain)
{
    g_autofree char *uri = socket_uri(addr);
    g_autofree char *said = socket_address_describe(addr);

    if (!uri || !said) {
        abort();
    }
    if (is_plain) {
        g_autoptr(SocketAddress) back = socket_parse(uri, &error_abort);
        g_autofree char *again = socket_uri(back);

        if (!g_str_equal(uri, again)) {
            abort();
        }
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    g_autofree char *text = g_strndup((const char *)data, size);
    g_autoptr(SocketAddress) addr = socket_parse(text, NULL);

    if (addr) {
        check_address(addr, !strchr(text, ','));
    }
    return 0;
}
