/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Visitors between C values and one string: a scalar, or a list of integers as "1,3-5".
 * Structs cannot be written so; visiting one fails.
 */
#ifndef QAPI_STRING_VISITORS_H
#define QAPI_STRING_VISITORS_H

#include "qapi/visitor.h"

/** From @str, which must live as long as the visitor. */
Visitor *string_input_visitor_new(const char *str);

/**
 * visit_complete(v, result) stores the text, to be freed, in *@result.
 * @human: sizes as "4096 (4 KiB)", strings in quotes.
 */
Visitor *string_output_visitor_new(bool human, char **result);

#endif
