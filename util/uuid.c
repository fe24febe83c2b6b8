/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * UUIDs.
 */
#include "qemu/osdep.h"

#include <sys/random.h>

#include "qemu/bswap.h"
#include "qemu/uuid.h"

void qemu_uuid_generate(QemuUUID *out)
{
    size_t done = 0;

    while (done < sizeof(out->data)) {
        ssize_t ret = getrandom(out->data + done, sizeof(out->data) - done, 0);
        if (ret < 0) {
            /* Only a signal can be the reason once the arguments are right. */
            assert(errno == EINTR);
            continue;
        }
        done += ret;
    }
    out->data[6] = (out->data[6] & 0x0f) | 0x40;
    out->data[8] = (out->data[8] & 0x3f) | 0x80;
}

bool qemu_uuid_is_null(const QemuUUID *uuid)
{
    static const QemuUUID null_uuid;

    return qemu_uuid_is_equal(uuid, &null_uuid);
}

bool qemu_uuid_is_equal(const QemuUUID *a, const QemuUUID *b)
{
    return memcmp(a->data, b->data, sizeof(a->data)) == 0;
}

/* Whether a dash stands before byte @i in text. */
static bool dash_before(int i)
{
    return i == 4 || i == 6 || i == 8 || i == 10;
}

void qemu_uuid_unparse(const QemuUUID *uuid, char *out)
{
    static const char digits[] = "0123456789abcdef";

    for (int i = 0; i < 16; i++) {
        if (dash_before(i)) {
            *out++ = '-';
        }
        *out++ = digits[uuid->data[i] >> 4];
        *out++ = digits[uuid->data[i] & 15];
    }
    *out = '\0';
}

char *qemu_uuid_unparse_strdup(const QemuUUID *uuid)
{
    char *text = g_malloc(UUID_STR_LEN + 1);

    qemu_uuid_unparse(uuid, text);
    return text;
}

int qemu_uuid_parse(const char *str, QemuUUID *uuid)
{
    QemuUUID parsed;

    for (int i = 0; i < 16; i++) {
        if (dash_before(i) && *str++ != '-') {
            return -1;
        }
        if (!g_ascii_isxdigit(str[0]) || !g_ascii_isxdigit(str[1])) {
            return -1;
        }
        parsed.data[i] = g_ascii_xdigit_value(str[0]) << 4 | g_ascii_xdigit_value(str[1]);
        str += 2;
    }
    if (*str) {
        return -1;
    }
    *uuid = parsed;
    return 0;
}

QemuUUID qemu_uuid_bswap(QemuUUID uuid)
{
    bswap32s(&uuid.fields.time_low);
    bswap16s(&uuid.fields.time_mid);
    bswap16s(&uuid.fields.time_high_and_version);
    return uuid;
}
