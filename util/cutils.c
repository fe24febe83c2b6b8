/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Strings and numbers.
 */
#include "qemu/osdep.h"

#include <math.h>
#include <sys/random.h>

#include "qemu/cutils.h"

/* ---- strings -------------------------------------------------------------------------------- */

void pstrcpy(char *buf, size_t buf_size, const char *str)
{
    if (buf_size) {
        size_t len = strnlen(str, buf_size - 1);

        memmove(buf, str, len);
        buf[len] = '\0';
    }
}

char *pstrcat(char *buf, size_t buf_size, const char *str)
{
    size_t len = strnlen(buf, buf_size);

    if (len < buf_size) {
        pstrcpy(buf + len, buf_size - len, str);
    }
    return buf;
}

void strpadcpy(char *buf, size_t buf_size, const char *str, char pad)
{
    size_t len = strnlen(str, buf_size);

    memcpy(buf, str, len);
    memset(buf + len, pad, buf_size - len);
}

bool strstart(const char *str, const char *prefix, const char **rest)
{
    size_t len = strlen(prefix);

    if (strncmp(str, prefix, len) != 0) {
        return false;
    }
    if (rest) {
        *rest = str + len;
    }
    return true;
}

bool stristart(const char *str, const char *prefix, const char **rest)
{
    size_t len = strlen(prefix);

    if (g_ascii_strncasecmp(str, prefix, len) != 0) {
        return false;
    }
    if (rest) {
        *rest = str + len;
    }
    return true;
}

/* ---- numbers -------------------------------------------------------------------------------- */

/*
 * The common end of all parsers.  @end is where the C library stopped, @os_errno what it said.
 * Returns 0, -EINVAL or -ERANGE; the caller clears its result after -EINVAL.
 */
static int check_end(const char *str, const char *end, const char **endptr, int os_errno)
{
    if (end == str) {
        os_errno = EINVAL;
    }
    if (os_errno != EINVAL && !endptr && *end) {
        os_errno = EINVAL;
        end = str;
    }
    if (endptr) {
        *endptr = end;
    }
    return -os_errno;
}

static int no_string(const char **endptr)
{
    if (endptr) {
        *endptr = NULL;
    }
    return -EINVAL;
}

/* Where a number after blanks and a sign would start. */
static const char *skip_sign(const char *str, bool *negative)
{
    while (g_ascii_isspace(*str)) {
        str++;
    }
    *negative = *str == '-';
    return str + (*str == '-' || *str == '+');
}

int qemu_strtoi64(const char *str, const char **endptr, int base, int64_t *result)
{
    char *end;
    int ret;

    if (!str) {
        *result = 0;
        return no_string(endptr);
    }
    static_assert(sizeof(long long) == sizeof(int64_t), "strtoll() parses int64_t");
    errno = 0;
    *result = strtoll(str, &end, base);
    ret = check_end(str, end, endptr, errno);
    if (ret == -EINVAL) {
        *result = 0;
    }
    return ret;
}

int qemu_strtou64(const char *str, const char **endptr, int base, uint64_t *result)
{
    char *end;
    int ret;

    if (!str) {
        *result = 0;
        return no_string(endptr);
    }
    errno = 0;
    *result = strtoull(str, &end, base);
    ret = check_end(str, end, endptr, errno);
    if (ret == -EINVAL) {
        *result = 0;
    }
    return ret;
}

int qemu_strtoi(const char *str, const char **endptr, int base, int *result)
{
    int64_t value;
    int ret = qemu_strtoi64(str, endptr, base, &value);

    *result = CLAMP(value, INT_MIN, INT_MAX);
    return ret == 0 && *result != value ? -ERANGE : ret;
}

int qemu_strtoui(const char *str, const char **endptr, int base, unsigned int *result)
{
    uint64_t value;
    bool negative;
    int ret = qemu_strtou64(str, endptr, base, &value);

    if (ret != 0) {
        *result = ret == -ERANGE ? UINT_MAX : 0;
        return ret;
    }
    skip_sign(str, &negative);
    if (negative && -value <= UINT_MAX) {
        *result = value;
        return 0;
    }
    *result = MIN(value, UINT_MAX);
    return *result == value ? 0 : -ERANGE;
}

/* Numbers of people and files never follow the locale. */
int qemu_strtod(const char *str, const char **endptr, double *result)
{
    char *end;
    int ret;

    if (!str) {
        *result = 0;
        return no_string(endptr);
    }
    errno = 0;
    *result = g_ascii_strtod(str, &end);
    ret = check_end(str, end, endptr, errno);
    if (ret == -EINVAL) {
        *result = 0;
    }
    return ret;
}

int qemu_strtod_finite(const char *str, const char **endptr, double *result)
{
    int ret = qemu_strtod(str, endptr, result);

    if (ret == 0 && !isfinite(*result)) {
        *result = 0;
        if (endptr) {
            *endptr = str;
        }
        return -EINVAL;
    }
    return ret;
}

int parse_uint(const char *str, const char **endptr, int base, uint64_t *result)
{
    bool negative;
    int ret = qemu_strtou64(str, endptr, base, result);

    if (ret == -EINVAL) {
        return ret;
    }
    skip_sign(str, &negative);
    if (negative) {
        *result = 0;
        return -ERANGE;
    }
    return ret;
}

int parse_uint_full(const char *str, int base, uint64_t *result)
{
    return parse_uint(str, NULL, base, result);
}

/* ---- sizes ---------------------------------------------------------------------------------- */

/* The factor a suffix stands for, or 0. */
static uint64_t suffix_factor(char suffix, uint64_t unit)
{
    static const char suffixes[] = "bkmgtpe";
    const char *at = suffix ? strchr(suffixes, g_ascii_tolower(suffix)) : NULL;
    uint64_t factor = 1;

    if (!at) {
        return 0;
    }
    for (ptrdiff_t power = at - suffixes; power > 0; power--) {
        factor *= unit;
    }
    return factor;
}

/* A decimal number taken apart; the fraction is numerator / denominator, below 1. */
typedef struct Decimal {
    uint64_t whole;
    bool overflow;
    bool has_fraction;
    uint64_t numerator;
    uint64_t denominator;
} Decimal;

/* Returns the end of the number, @p when there is none. */
static const char *parse_decimal(const char *p, Decimal *number)
{
    const char *start = p;
    int digits = 0;

    *number = (Decimal){ .denominator = 1 };
    for (; g_ascii_isdigit(*p); p++, digits++) {
        number->overflow |= __builtin_mul_overflow(number->whole, 10, &number->whole);
        number->overflow |= __builtin_add_overflow(number->whole, *p - '0', &number->whole);
    }
    if (*p != '.') {
        return p;
    }
    for (p++; g_ascii_isdigit(*p); p++, digits++) {
        /* More digits than 18 cannot matter for a factor of at most 2^60. */
        if (number->denominator < UINT64_C(1000000000000000000)) {
            number->numerator = number->numerator * 10 + (*p - '0');
            number->denominator *= 10;
        }
    }
    number->has_fraction = true;
    return digits ? p : start;
}

/* Returns the end, or NULL for what is no size; *@overflow when it is one but too large. */
static const char *parse_size(const char *p, uint64_t default_factor, uint64_t unit,
                              uint64_t *result, bool *overflow)
{
    const bool hex = p[0] == '0' && (p[1] == 'x' || p[1] == 'X') && g_ascii_isxdigit(p[2]);
    const char *end;
    Decimal number;
    uint64_t factor;

    if (hex) {
        errno = 0;
        number = (Decimal){ .whole = strtoull(p, (char **)&end, 16), .denominator = 1 };
        number.overflow = errno == ERANGE;
        if (*end == '.') {
            return NULL;
        }
    } else {
        end = parse_decimal(p, &number);
        if (end == p) {
            return NULL;
        }
        /* "1e3" is meant as an exponent, not as 1 EiB and garbage. */
        if (g_ascii_tolower(*end) == 'e') {
            const char *after = end + 1 + (end[1] == '+' || end[1] == '-');
            if (g_ascii_isdigit(*after)) {
                return NULL;
            }
        }
    }
    factor = suffix_factor(*end, unit);
    if (factor) {
        end++;
    } else {
        factor = default_factor;
    }
    if (number.has_fraction && factor == 1) {
        return NULL;
    }
    unsigned __int128 fraction = (unsigned __int128)number.numerator * factor;
    *overflow = number.overflow ||
                __builtin_mul_overflow(number.whole, factor, result) ||
                __builtin_add_overflow(*result, (uint64_t)(fraction / number.denominator), result);
    return end;
}

static int strtosz(const char *str, const char **endptr, uint64_t default_factor, uint64_t unit,
                   uint64_t *result)
{
    bool negative, overflow = false;
    const char *end;
    uint64_t size = 0;
    int ret;

    *result = 0;
    if (!str) {
        return no_string(endptr);
    }
    end = parse_size(skip_sign(str, &negative), default_factor, unit, &size, &overflow);
    ret = check_end(str, end ? end : str, endptr, overflow || negative ? ERANGE : 0);
    if (ret == 0) {
        *result = size;
    } else if (ret == -ERANGE && !negative) {
        *result = UINT64_MAX;
    }
    return ret;
}

int qemu_strtosz(const char *str, const char **endptr, uint64_t *result)
{
    return strtosz(str, endptr, 1, 1024, result);
}

int qemu_strtosz_MiB(const char *str, const char **endptr, uint64_t *result)
{
    return strtosz(str, endptr, MiB, 1024, result);
}

int qemu_strtosz_metric(const char *str, const char **endptr, uint64_t *result)
{
    return strtosz(str, endptr, 1, 1000, result);
}

char *size_to_str(uint64_t bytes)
{
    static const char *const prefixes[] = { "", "Ki", "Mi", "Gi", "Ti", "Pi", "Ei" };
    double value = bytes;
    size_t power = 0;

    /* From 1000 on the next unit is shorter: 0.977 KiB, not 1e+03 B. */
    while (value >= 1000 && power + 1 < ARRAY_SIZE(prefixes)) {
        value /= 1024;
        power++;
    }
    return g_strdup_printf("%0.3g %sB", value, prefixes[power]);
}

int qemu_parse_fd(const char *param)
{
    uint64_t fd;

    if (!g_ascii_isdigit(param[0]) || parse_uint_full(param, 10, &fd) < 0 || fd > INT_MAX) {
        return -1;
    }
    return fd;
}

/* ---- identifiers ---------------------------------------------------------------------------- */

bool id_wellformed(const char *id)
{
    if (!g_ascii_isalpha(*id)) {
        return false;
    }
    for (id++; *id; id++) {
        if (!g_ascii_isalnum(*id) && !strchr("-._", *id)) {
            return false;
        }
    }
    return true;
}

uint64_t random_u64(void)
{
    uint64_t number;

    /* Setting up GLib's generator for one number would be a good part of a short run. */
    if (getrandom(&number, sizeof(number), 0) != sizeof(number)) {
        number = (uint64_t)g_random_int() << 32 | g_random_int();
    }
    return number;
}

char *id_generate(IdSubSystem subsystem)
{
    static const char *const names[ID_MAX] = { "qdev", "block", "chardev", "net" };
    static uint64_t counters[ID_MAX];
    uint64_t number;

    assert(subsystem < ID_MAX);
    number = __atomic_fetch_add(&counters[subsystem], 1, __ATOMIC_RELAXED);
    /* Two random digits keep people from relying on the numbers. */
    return g_strdup_printf("#%s%" PRIu64 "%02u", names[subsystem], number,
                           (unsigned)(random_u64() % 100));
}
