/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What a command line option takes, told from the type tables.
 */
#ifndef QAPI_HELP_H
#define QAPI_HELP_H

#include "qapi/types.h"

/**
 * The answer to "help" or "?" in @arg, the argument ("KEY=VALUE,..." or JSON) of an option of
 * @type: the branches of a union after @caption, or the parameters of the branch that @arg names.
 *
 * Returns: text that ends with a newline, for the caller to free; NULL if no help is asked for, or
 * for a branch that does not exist (parsing says so).
 */
char *qapi_option_help(const QapiType *type, const char *caption, const char *arg);

#endif
