/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * UUIDs.  The bytes are in the order of RFC 4122 (big-endian), which is how text shows them.
 */
#ifndef QEMU_UUID_H
#define QEMU_UUID_H

#include <stdbool.h>
#include <stdint.h>

#include "qemu/compiler.h"

typedef struct QemuUUID {
    union {
        unsigned char data[16];
        struct {
            uint32_t time_low;
            uint16_t time_mid;
            uint16_t time_high_and_version;
            uint8_t clock_seq_and_reserved;
            uint8_t clock_seq_low;
            uint8_t node[6];
        } fields;
    };
} QemuUUID;

/* Length of the text without terminator. */
#define UUID_STR_LEN 36
#define UUID_NONE "00000000-0000-0000-0000-000000000000"

/* A random UUID (version 4) from the system's random numbers. */
void qemu_uuid_generate(QemuUUID *out);
bool qemu_uuid_is_null(const QemuUUID *uuid);
bool qemu_uuid_is_equal(const QemuUUID *a, const QemuUUID *b);
/* Write UUID_STR_LEN + 1 bytes. */
void qemu_uuid_unparse(const QemuUUID *uuid, char *out);
/* Caller frees. */
char *qemu_uuid_unparse_strdup(const QemuUUID *uuid);
/* Parse the usual form; 0, or -1 when @str is anything else. */
int qemu_uuid_parse(const char *str, QemuUUID *uuid);
/* The UUID with the three leading fields in the other byte order, as Microsoft formats store it. */
QemuUUID qemu_uuid_bswap(QemuUUID uuid);

#endif
