/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * QemuOpts: flat, typed options ("size=1G,preallocation=off"), for -drive, -o and their kin.
 *
 * - A QemuOptsList describes the options and owns the QemuOpts made from it.  A list whose
 *   desc is empty accepts any option, as a string.
 * - Options keep the order they were given in; where one is given twice the last one counts.
 * - Main thread only.
 */
#ifndef QOBJECT_OPTS_H
#define QOBJECT_OPTS_H

#include "qemu/error.h"
#include "qobject/qdict.h"

typedef enum QemuOptType {
    QEMU_OPT_STRING,
    QEMU_OPT_BOOL,    /* on/off; yes/no, true/false, y/n too */
    QEMU_OPT_NUMBER,  /* unsigned */
    QEMU_OPT_SIZE,    /* bytes, with an optional suffix */
} QemuOptType;

typedef struct QemuOptDesc {
    const char *name;
    QemuOptType type;
    const char *help;
    const char *def_value_str;
} QemuOptDesc;

typedef struct QemuOpts QemuOpts;

typedef struct QemuOptsList {
    const char *name;
    const char *implied_opt_name;
    bool merge_lists;         /* all without an id are one QemuOpts */
    bool allocated;           /* made by qemu_opts_append() */
    GPtrArray *opts;          /* of QemuOpts; made at first use */
    const QemuOptDesc *desc;  /* ends with a NULL name; NULL: any */
} QemuOptsList;

/* ---- lists ---- */

/**
 * A list with the descriptions of @dst, then those of @list whose names are not among them.
 * Takes @dst, which is NULL or came from this function.  Free with qemu_opts_free().
 */
QemuOptsList *qemu_opts_append(QemuOptsList *dst, const QemuOptsList *list);
void qemu_opts_free(QemuOptsList *list);

/** Delete all QemuOpts of @list. */
void qemu_opts_reset(QemuOptsList *list);

/** Append "Supported options:" (or "Supported @caption options:") and a line per option. */
void qemu_opts_print_help(const QemuOptsList *list, const char *caption, GString *out);

/* ---- QemuOpts ---- */

/** Make one.  @fail_if_exists: a known @id is an error, otherwise it is returned. */
QemuOpts *qemu_opts_create(QemuOptsList *list, const char *id, bool fail_if_exists, Error **errp);
QemuOpts *qemu_opts_find(const QemuOptsList *list, const char *id);
void qemu_opts_del(QemuOpts *opts);

/**
 * Parse "key=value,flag,noflag" into a new QemuOpts (with merge_lists: into the one there is).
 * @permit_abbrev: the first value may stand without key, for implied_opt_name.
 */
QemuOpts *qemu_opts_parse(QemuOptsList *list, const char *params, bool permit_abbrev,
                          Error **errp);

/** Parse into @opts; all or nothing is not promised on error. */
bool qemu_opts_do_parse(QemuOpts *opts, const char *params, const char *implied_name,
                        Error **errp);

/** Whether "help" or "?" stands as an item of its own in @params. */
bool has_help_option(const char *params);

/** Whether @params parses as key=value pairs without a leading, trailing or double comma. */
bool is_valid_option_list(const char *params);

const char *qemu_opts_id(const QemuOpts *opts);
QemuOptsList *qemu_opts_list(const QemuOpts *opts);

/** Parse "on" or "off" (yes/no, true/false, y/n) for a parameter called @name. */
bool qemu_opts_parse_bool(const char *name, const char *value, bool *result, Error **errp);

/** Set an option; false with @errp set if it is unknown or @value does not fit its type. */
bool qemu_opt_set(QemuOpts *opts, const char *name, const char *value, Error **errp);
bool qemu_opt_set_number(QemuOpts *opts, const char *name, int64_t value, Error **errp);

/** The value of @name; else the description's default; else NULL or @def. */
const char *qemu_opt_get(const QemuOpts *opts, const char *name);
bool qemu_opt_get_bool(const QemuOpts *opts, const char *name, bool def);
uint64_t qemu_opt_get_number(const QemuOpts *opts, const char *name, uint64_t def);
uint64_t qemu_opt_get_size(const QemuOpts *opts, const char *name, uint64_t def);

/** As the getters, and unset the option.  Strings are to be freed. */
char *qemu_opt_get_del(QemuOpts *opts, const char *name);
bool qemu_opt_get_bool_del(QemuOpts *opts, const char *name, bool def);
uint64_t qemu_opt_get_number_del(QemuOpts *opts, const char *name, uint64_t def);
uint64_t qemu_opt_get_size_del(QemuOpts *opts, const char *name, uint64_t def);

/** Unset every occurrence of @name; false if there was none. */
bool qemu_opt_unset(QemuOpts *opts, const char *name);

/** Whether @name was given (a default does not count). */
bool qemu_opt_is_set(const QemuOpts *opts, const char *name);

/** Call @fn for each option in order until it returns false.  False if it did. */
typedef bool QemuOptFn(void *opaque, const char *name, const char *value, Error **errp);
bool qemu_opt_foreach(const QemuOpts *opts, QemuOptFn *fn, void *opaque, Error **errp);

/* ---- dicts ---- */

/** All options as strings, and "id", put into @dict, or into a new dict if that is NULL. */
QDict *qemu_opts_to_qdict(const QemuOpts *opts, QDict *dict);

/** As above, only those in @list (NULL: all); if @del they are unset. */
QDict *qemu_opts_to_qdict_filtered(QemuOpts *opts, QDict *dict, const QemuOptsList *list,
                                   bool del);

/** A new QemuOpts from every scalar of @dict; an option the list does not know is an error. */
QemuOpts *qemu_opts_from_qdict(QemuOptsList *list, const QDict *dict, Error **errp);

/** Move the scalars of @dict that the list knows into @opts; the rest stays in @dict. */
bool qemu_opts_absorb_qdict(QemuOpts *opts, QDict *dict, Error **errp);

/** Check @opts, made without descriptions, against @desc. */
bool qemu_opts_validate(QemuOpts *opts, const QemuOptDesc *desc, Error **errp);

G_DEFINE_AUTOPTR_CLEANUP_FUNC(QemuOpts, qemu_opts_del)

#endif
