/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Strings and numbers: parsing, bounded copies, human-readable sizes, identifiers.
 *
 * Rules of the number parsers (qemu_strtoX, parse_uint, qemu_strtosz*):
 *   - return 0, -EINVAL (no number, or something after it when @endptr is NULL) or -ERANGE;
 *   - @endptr, when not NULL, is set to the first character not used, and to the start of the
 *     string after -EINVAL; with @endptr NULL the whole string must be the number;
 *   - *@result is set in every case: 0 after -EINVAL, the nearest value after -ERANGE;
 *   - leading white space is skipped; a NULL string is -EINVAL.
 */
#ifndef QEMU_CUTILS_H
#define QEMU_CUTILS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "qemu/compiler.h"

/* ---- strings -------------------------------------------------------------------------------- */

/* Copy @str to @buf of @buf_size bytes, cut to fit, always terminated (unless @buf_size is 0). */
void pstrcpy(char *buf, size_t buf_size, const char *str);
/* Append @str to the string in @buf of @buf_size bytes, cut to fit; returns @buf. */
char *pstrcat(char *buf, size_t buf_size, const char *str);
/* Copy @str to @buf, cut to @buf_size bytes, and fill the rest with @pad; no terminator. */
void strpadcpy(char *buf, size_t buf_size, const char *str, char pad);
/* Whether @str begins with @prefix; then *@rest (may be NULL) is what follows it. */
bool strstart(const char *str, const char *prefix, const char **rest);
/* strstart() without regard to case. */
bool stristart(const char *str, const char *prefix, const char **rest);

/* ---- numbers -------------------------------------------------------------------------------- */

/* @base as for strtol(); values beyond the type give -ERANGE.  The unsigned ones take "-1" as
 * the type's maximum, like strtoul(). */
int qemu_strtoi(const char *str, const char **endptr, int base, int *result);
int qemu_strtoui(const char *str, const char **endptr, int base, unsigned int *result);
int qemu_strtoi64(const char *str, const char **endptr, int base, int64_t *result);
int qemu_strtou64(const char *str, const char **endptr, int base, uint64_t *result);
int qemu_strtod(const char *str, const char **endptr, double *result);
/* As qemu_strtod(), but infinities and NaN are -EINVAL. */
int qemu_strtod_finite(const char *str, const char **endptr, double *result);

/* An unsigned number without sign: "-0" is -ERANGE. */
int parse_uint(const char *str, const char **endptr, int base, uint64_t *result);
int parse_uint_full(const char *str, int base, uint64_t *result);

/**
 * Parse a size: decimal or 0x hex, optional fraction with decimal, optional suffix
 * b B k K m M g G t T p P e E (b: bytes; the others: powers of 1024; a hex number takes only the
 * ones that are no digit).  A fraction needs a suffix above bytes and is rounded down; exponents
 * are refused.  Negative sizes are -ERANGE.
 */
int qemu_strtosz(const char *str, const char **endptr, uint64_t *result);
/* A number without suffix counts MiB. */
int qemu_strtosz_MiB(const char *str, const char **endptr, uint64_t *result);
/* Suffixes are powers of 1000. */
int qemu_strtosz_metric(const char *str, const char **endptr, uint64_t *result);

/* "4 MiB", "192 KiB": three significant digits.  Caller frees. */
char *size_to_str(uint64_t bytes);

/* Parse a number of an open descriptor: 0..INT_MAX, or -1. */
int qemu_parse_fd(const char *param);

/* ---- identifiers ---------------------------------------------------------------------------- */

/* Whether @id begins with a letter and goes on with letters, digits, '-', '.' and '_'. */
bool id_wellformed(const char *id);

/* A number that nobody can foretell.  Any thread. */
uint64_t random_u64(void);

typedef enum IdSubSystem {
    ID_QDEV,
    ID_BLOCK,
    ID_CHR,
    ID_NET,
    ID_MAX,
} IdSubSystem;
/* A fresh id that no user can choose, such as "#block123".  Caller frees.  Any thread. */
char *id_generate(IdSubSystem subsystem);

#endif
