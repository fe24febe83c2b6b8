/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "qemu/osdep.h"

#include "io/chardev.h"
#include "qemu/cutils.h"
#include "qemu/error.h"
#include "qemu/timer.h"
#include "system/bql.h"
#include "system/machine.h"
#include "system/memory.h"
#include "system/qtest.h"

/* Longer lines or transfers are the test's mistake. */
#define MAX_LINE (64 * MiB)
#define MAX_BYTES (16 * MiB)
#define MAX_WORDS 6

typedef struct IrqSet {
    char *name;
    IrqLine **lines;
    int n;
} IrqSet;

/* Main thread. */
static struct {
    bool is_enabled;
    CharFrontend chr;
    GString *input;
    GString *output; /* not yet taken by the character device */
    FILE *log;
    int64_t start_ns;
    GPtrArray *irqs; /* of IrqSet */
    const IrqSet *intercepted;
} qtest;

bool qtest_enabled(void)
{
    return qtest.is_enabled;
}

void qtest_set_enabled(void)
{
    qtest.is_enabled = true;
    qemu_clock_set_stepped();
}

/* ---- talking --------------------------------------------------------------------------------- */

static void log_line(char kind, const char *text)
{
    int64_t us = (get_clock() - qtest.start_ns) / SCALE_US;

    if (qtest.log) {
        fprintf(qtest.log, "[%c +%" PRId64 ".%06" PRId64 "] %s\n", kind, us / 1000000,
                us % 1000000, text);
        fflush(qtest.log);
    }
}

static void flush_output(void)
{
    size_t n = chr_fe_write(&qtest.chr, qtest.output->str, qtest.output->len);

    g_string_erase(qtest.output, 0, n);
}

static void G_GNUC_PRINTF(1, 2) reply(const char *fmt, ...)
{
    g_autofree char *text = NULL;
    va_list ap;

    va_start(ap, fmt);
    text = g_strdup_vprintf(fmt, ap);
    va_end(ap);
    log_line('S', text);
    g_string_append(qtest.output, text);
    g_string_append_c(qtest.output, '\n');
    flush_output();
}

/* ---- interrupts ------------------------------------------------------------------------------ */

void qtest_add_irqs(const char *name, IrqLine *const *lines, int n)
{
    IrqSet *set = g_new0(IrqSet, 1);

    set->name = g_strdup(name);
    set->lines = g_memdup2(lines, n * sizeof(*lines));
    set->n = n;
    if (!qtest.irqs) {
        qtest.irqs = g_ptr_array_new();
    }
    g_ptr_array_add(qtest.irqs, set);
}

static const IrqSet *find_irqs(const char *name)
{
    for (guint i = 0; qtest.irqs && i < qtest.irqs->len; i++) {
        const IrqSet *set = qtest.irqs->pdata[i];

        if (!strcmp(set->name, name)) {
            return set;
        }
    }
    return NULL;
}

static void irq_observed(void *opaque, int n, bool level)
{
    static bool levels[256];

    if (n < (int)ARRAY_SIZE(levels) && levels[n] != level) {
        levels[n] = level;
        reply("IRQ %s %d", level ? "raise" : "lower", n);
    }
}

static void cmd_irq_intercept(char **words)
{
    const IrqSet *set = find_irqs(words[1]);

    if (!set) {
        reply("FAIL Unknown device");
        return;
    }
    if (qtest.intercepted) {
        reply(qtest.intercepted == set ? "OK" : "FAIL IRQ intercept already enabled");
        return;
    }
    for (int i = 0; i < set->n; i++) {
        irq_intercept(set->lines[i], irq_observed, NULL, i, true);
    }
    qtest.intercepted = set;
    reply("OK");
}

/* ---- arguments ------------------------------------------------------------------------------- */

static bool parse_number(const char *word, uint64_t *value)
{
    return qemu_strtou64(word, NULL, 0, value) == 0;
}

/* Address and size of a transfer; complains itself. */
static bool parse_range(char **words, uint64_t *addr, uint64_t *size)
{
    if (!parse_number(words[1], addr) || !parse_number(words[2], size) || *size > MAX_BYTES) {
        reply("FAIL invalid address or size");
        return false;
    }
    return true;
}

static void cmd_set_irq_in(char **words)
{
    const IrqSet *set = find_irqs(words[1]);
    uint64_t n, level;

    if (!set) {
        reply("FAIL Unknown device");
    } else if (!parse_number(words[3], &n) || !parse_number(words[4], &level) ||
               n >= (uint64_t)set->n) {
        reply("FAIL invalid line or level");
    } else {
        irq_set(set->lines[n], level);
        reply("OK");
    }
}

/* ---- ports and memory ------------------------------------------------------------------------ */

static unsigned size_of_suffix(char suffix)
{
    switch (suffix) {
    case 'b':
        return 1;
    case 'w':
        return 2;
    case 'l':
        return 4;
    default:
        return 8;
    }
}

static void cmd_port(char **words)
{
    bool is_out = words[0][0] == 'o';
    unsigned size = size_of_suffix(words[0][is_out ? 3 : 2]);
    uint64_t addr, value = 0;

    if (!parse_number(words[1], &addr) || addr > UINT16_MAX ||
        (is_out && !parse_number(words[2], &value))) {
        reply("FAIL invalid port or value");
    } else if (is_out) {
        mem_store(machine_get()->ports, addr, size, value);
        reply("OK");
    } else {
        mem_load(machine_get()->ports, addr, size, &value);
        reply("OK 0x%04" PRIx64, value);
    }
}

static void cmd_word(char **words)
{
    bool is_write = words[0][0] == 'w';
    unsigned size = size_of_suffix(words[0][is_write ? 5 : 4]);
    uint64_t addr, value = 0;

    if (!parse_number(words[1], &addr) || (is_write && !parse_number(words[2], &value))) {
        reply("FAIL invalid address or value");
    } else if (is_write) {
        mem_store(machine_get()->memory, addr, size, value);
        reply("OK");
    } else {
        mem_load(machine_get()->memory, addr, size, &value);
        reply("OK 0x%016" PRIx64, value);
    }
}

static void cmd_read(char **words)
{
    g_autofree uint8_t *bytes = NULL;
    g_autoptr(GString) hex = g_string_new(NULL);
    uint64_t addr, size;

    if (!parse_range(words, &addr, &size)) {
        return;
    }
    bytes = g_malloc(MAX(size, 1));
    mem_read(machine_get()->memory, addr, bytes, size);
    for (uint64_t i = 0; i < size; i++) {
        g_string_append_printf(hex, "%02x", bytes[i]);
    }
    reply("OK 0x%s", hex->str);
}

static void cmd_b64read(char **words)
{
    g_autofree uint8_t *bytes = NULL;
    g_autofree char *text = NULL;
    uint64_t addr, size;

    if (!parse_range(words, &addr, &size)) {
        return;
    }
    bytes = g_malloc(MAX(size, 1));
    mem_read(machine_get()->memory, addr, bytes, size);
    text = g_base64_encode(bytes, size);
    reply("OK %s", text);
}

static int hex_digit(char c)
{
    return g_ascii_xdigit_value(c);
}

static void cmd_write(char **words)
{
    g_autofree uint8_t *bytes = NULL;
    const char *hex = words[3];
    uint64_t addr, size, given;

    if (!parse_range(words, &addr, &size)) {
        return;
    }
    if (strncmp(hex, "0x", 2) || strlen(hex) % 2) {
        reply("FAIL data must be hexadecimal, two digits a byte, after 0x");
        return;
    }
    hex += 2;
    given = strlen(hex) / 2;
    bytes = g_malloc0(MAX(size, 1));
    for (uint64_t i = 0; i < MIN(size, given); i++) {
        if (hex_digit(hex[2 * i]) < 0 || hex_digit(hex[2 * i + 1]) < 0) {
            reply("FAIL data must be hexadecimal, two digits a byte, after 0x");
            return;
        }
        bytes[i] = hex_digit(hex[2 * i]) << 4 | hex_digit(hex[2 * i + 1]);
    }
    mem_write(machine_get()->memory, addr, bytes, size);
    reply("OK");
}

static void cmd_b64write(char **words)
{
    g_autofree uint8_t *bytes = NULL;
    uint64_t addr, size;
    gsize given;

    if (!parse_range(words, &addr, &size)) {
        return;
    }
    bytes = g_base64_decode(words[3], &given);
    mem_write(machine_get()->memory, addr, bytes, MIN(size, given));
    reply("OK");
}

static void cmd_memset(char **words)
{
    g_autofree uint8_t *bytes = NULL;
    uint64_t addr, size, pattern;

    if (!parse_range(words, &addr, &size)) {
        return;
    }
    if (!parse_number(words[3], &pattern)) {
        reply("FAIL invalid pattern");
        return;
    }
    bytes = g_malloc(MAX(size, 1));
    memset(bytes, pattern, size);
    mem_write(machine_get()->memory, addr, bytes, size);
    reply("OK");
}

/* ---- the clock ------------------------------------------------------------------------------- */

static void cmd_clock_step(char **words)
{
    int64_t now = qemu_clock_get_ns(QEMU_CLOCK_VIRTUAL);
    int64_t next = qemu_clock_next_virtual_ns();
    uint64_t ns = 0;

    if (words[1] && (!parse_number(words[1], &ns) || ns > (uint64_t)(INT64_MAX - now))) {
        reply("FAIL invalid time");
        return;
    }
    if (!words[1]) {
        ns = next == INT64_MAX ? 0 : MAX(next - now, 0);
    }
    qemu_clock_step_to(now + ns);
    reply("OK %" PRId64, qemu_clock_get_ns(QEMU_CLOCK_VIRTUAL));
}

static void cmd_clock_set(char **words)
{
    uint64_t ns;

    if (!parse_number(words[1], &ns) || ns > INT64_MAX) {
        reply("FAIL invalid time");
        return;
    }
    qemu_clock_step_to(ns);
    reply("OK %" PRId64, qemu_clock_get_ns(QEMU_CLOCK_VIRTUAL));
}

static void cmd_endianness(char **words)
{
    reply("OK little");
}

/* ---- dispatch -------------------------------------------------------------------------------- */

static const struct {
    const char *name;
    int min_args;
    void (*run)(char **words);
} commands[] = {
    {"irq_intercept_in", 1, cmd_irq_intercept},
    {"set_irq_in", 4, cmd_set_irq_in},
    {"inb", 1, cmd_port}, {"inw", 1, cmd_port}, {"inl", 1, cmd_port},
    {"outb", 2, cmd_port}, {"outw", 2, cmd_port}, {"outl", 2, cmd_port},
    {"readb", 1, cmd_word}, {"readw", 1, cmd_word}, {"readl", 1, cmd_word},
    {"readq", 1, cmd_word}, {"writeb", 2, cmd_word}, {"writew", 2, cmd_word},
    {"writel", 2, cmd_word}, {"writeq", 2, cmd_word},
    {"read", 2, cmd_read}, {"write", 3, cmd_write}, {"memset", 3, cmd_memset},
    {"b64read", 2, cmd_b64read}, {"b64write", 3, cmd_b64write},
    {"clock_step", 0, cmd_clock_step}, {"clock_set", 1, cmd_clock_set},
    {"endianness", 0, cmd_endianness},
};

static void run_command(const char *line)
{
    g_auto(GStrv) words = g_strsplit(line, " ", MAX_WORDS);
    int n_args = (int)g_strv_length(words) - 1;

    log_line('R', line);
    for (size_t i = 0; i < ARRAY_SIZE(commands); i++) {
        if (n_args >= 0 && !strcmp(words[0], commands[i].name)) {
            if (n_args < commands[i].min_args) {
                reply("FAIL '%s' needs %d arguments", words[0], commands[i].min_args);
            } else {
                commands[i].run(words);
            }
            return;
        }
    }
    reply("FAIL Unknown command '%s'", n_args >= 0 ? words[0] : "");
}

static void qtest_receive(void *opaque, const uint8_t *buf, size_t size)
{
    char *end;

    BQL_GUARD();
    g_string_append_len(qtest.input, (const char *)buf, size);
    while ((end = memchr(qtest.input->str, '\n', qtest.input->len))) {
        g_autofree char *line = g_strndup(qtest.input->str, end - qtest.input->str);

        g_string_erase(qtest.input, 0, end - qtest.input->str + 1);
        run_command(g_strchomp(line));
    }
    if (qtest.input->len > MAX_LINE) {
        g_string_truncate(qtest.input, 0);
        reply("FAIL line is too long");
    }
}

static void qtest_event(void *opaque, ChrEvent event)
{
    if (event == CHR_EVENT_OPENED) {
        g_string_truncate(qtest.input, 0);
        g_string_truncate(qtest.output, 0);
        log_line('I', "OPENED");
    } else if (event == CHR_EVENT_CLOSED) {
        log_line('I', "CLOSED");
    }
}

static void qtest_writable(void *opaque)
{
    flush_output();
}

static const ChrHandlers qtest_handlers = {
    .receive = qtest_receive, .event = qtest_event, .writable = qtest_writable,
};

bool qtest_init(const char *chardev, const char *log, Error **errp)
{
    Chardev *chr;

    qtest.input = g_string_new(NULL);
    qtest.output = g_string_new(NULL);
    qtest.start_ns = get_clock();
    if (!log) {
        qtest.log = stderr;
    } else if (strcmp(log, "none")) {
        qtest.log = fopen(log, "w");
        if (!qtest.log) {
            error_setg_errno(errp, errno, "could not open log '%s'", log);
            return false;
        }
    }
    chr = chardev_new_from_legacy("qtest", chardev, NULL, errp);
    if (!chr || !chr_fe_init(&qtest.chr, chr, errp)) {
        return false;
    }
    chr_fe_set_handlers(&qtest.chr, &qtest_handlers, NULL);
    return true;
}

static void irq_set_free(gpointer data, gpointer unused)
{
    IrqSet *set = data;

    g_free(set->name);
    g_free(set->lines);
    g_free(set);
}

void qtest_cleanup(void)
{
    chr_fe_deinit(&qtest.chr);
    if (qtest.log && qtest.log != stderr) {
        fclose(qtest.log);
    }
    qtest.log = NULL;
    if (qtest.irqs) {
        g_ptr_array_foreach(qtest.irqs, irq_set_free, NULL);
        g_ptr_array_unref(qtest.irqs);
        qtest.irqs = NULL;
    }
}
