/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Numbers in, reports and dumps out.
 */
#include "qemu/osdep.h"

#include "qemu-io.h"

#include <ctype.h>

#include "qemu/cutils.h"
#include "qemu/memalign.h"

#define MISALIGN_BYTES 16

int64_t qemuio_number(const char *text)
{
    uint64_t value;
    int ret = qemu_strtosz(text, NULL, &value);

    if (ret == -ERANGE || (ret == 0 && value > INT64_MAX)) {
        printf("Parsing error: argument too large -- %s\n", text);
        return -ERANGE;
    }
    if (ret < 0) {
        printf("Parsing error: non-numeric argument, or extraneous/unrecognized suffix -- %s\n",
               text);
        return -EINVAL;
    }
    return value;
}

int qemuio_pattern(const char *text)
{
    char *end;
    long value = strtol(text, &end, 0);

    if (end == text || *end || value < 0 || value > UINT8_MAX) {
        printf("%s is not a valid pattern byte\n", text);
        return -1;
    }
    return value;
}

char *qemuio_size(double bytes)
{
    static const char *const units[] = { "bytes", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB" };
    unsigned unit = 0;
    char *text, *dot;

    while (bytes >= 1024 && unit < ARRAY_SIZE(units) - 1) {
        bytes /= 1024;
        unit++;
    }
    text = g_strdup_printf(unit ? "%.3f" : "%f", bytes);
    dot = strchr(text, '.');
    if (dot && strspn(dot + 1, "0") == strlen(dot + 1)) {
        *dot = '\0';
    }
    dot = g_strdup_printf("%s %s", text, units[unit]);
    g_free(text);
    return dot;
}

int64_t qemuio_now_ns(void)
{
    return g_get_monotonic_time() * 1000;
}

static char *duration(int64_t ns, bool always_long)
{
    int64_t centi = ns / 10000000;
    int64_t s = centi / 100;

    if (s < 60 && !always_long) {
        return g_strdup_printf("%02d.%02d sec", (int)s, (int)(centi % 100));
    }
    return g_strdup_printf("%d:%02d:%02d.%02d", (int)(s / 3600), (int)(s / 60 % 60), (int)(s % 60),
                           (int)(centi % 100));
}

void qemuio_report(const char *name, int64_t start_ns, int64_t offset, int64_t asked, int64_t done,
                   bool machine_readable)
{
    int64_t ns = MAX(qemuio_now_ns() - start_ns, 1);
    double seconds = ns / 1e9;
    g_autofree char *time = duration(ns, machine_readable);
    g_autofree char *size = qemuio_size(done);
    g_autofree char *rate = qemuio_size(done / seconds);

    if (machine_readable) {
        printf("%" PRId64 ",1,%s,%.3f,%.3f\n", done, time, done / seconds, 1 / seconds);
        return;
    }
    printf("%s %" PRId64 "/%" PRId64 " bytes at offset %" PRId64 "\n", name, done, asked, offset);
    printf("%s, 1 ops; %s (%s/sec and %.4f ops/sec)\n", size, time, rate, 1 / seconds);
}

void qemuio_dump(const uint8_t *buf, int64_t offset, int64_t len)
{
    for (int64_t row = 0; row < len; row += 16) {
        int64_t n = MIN(len - row, 16);

        printf("%08" PRIx64 ":  ", offset + row);
        for (int64_t i = 0; i < n; i++) {
            printf("%02x ", buf[row + i]);
        }
        putchar(' ');
        for (int64_t i = 0; i < n; i++) {
            putchar(isalnum(buf[row + i]) ? buf[row + i] : '.');
        }
        putchar('\n');
    }
}

void *qemuio_buffer(QemuIo *io, size_t len, int pattern)
{
    uint8_t *buf = blk_blockalign(io->blk, len + (io->misalign ? MISALIGN_BYTES : 0));

    buf += io->misalign ? MISALIGN_BYTES : 0;
    memset(buf, pattern, len);
    return buf;
}

void qemuio_buffer_free(QemuIo *io, void *buf)
{
    qemu_vfree(buf ? (uint8_t *)buf - (io->misalign ? MISALIGN_BYTES : 0) : NULL);
}

bool qemuio_is_pattern(const uint8_t *buf, int pattern, int64_t len)
{
    /* Equal to the byte and to itself shifted by one: all bytes are that one. */
    return len == 0 || (buf[0] == pattern && !memcmp(buf, buf + 1, len - 1));
}
