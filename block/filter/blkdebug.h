/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * blkdebug's rules, and reading them from a file.
 */
#ifndef BLOCK_FILTER_BLKDEBUG_H
#define BLOCK_FILTER_BLKDEBUG_H

#include "block/block_int.h"

typedef enum BlkdebugAction {
    BLKDEBUG_INJECT_ERROR,
    BLKDEBUG_SET_STATE,
    BLKDEBUG_SUSPEND,
} BlkdebugAction;

/* One rule: what happens at an event, if the state is right. */
typedef struct BlkdebugRule {
    BlkdebugEvent event;
    int64_t state; /* 0: any */
    BlkdebugAction action;

    /* inject-error: makes the rule active; requests are held against active rules. */
    unsigned iotypes; /* bits by BlkdebugIOType */
    int error;        /* positive errno; 0: let the request pass */
    int64_t offset;   /* bytes; -1: any request */
    int64_t delay_ns; /* before the request fails or goes on */
    bool once, immediately;
    bool is_active;

    int64_t new_state; /* set-state */
    char *tag;         /* suspend */
    QTAILQ_ENTRY(BlkdebugRule) next;
} BlkdebugRule;

typedef QTAILQ_HEAD(BlkdebugRuleList, BlkdebugRule) BlkdebugRuleList;

void blkdebug_rule_free(BlkdebugRule *rule);

/* Append what the options of a node say. */
bool blkdebug_rule_add_inject(BlkdebugRuleList *rules, const BlkdebugInjectErrorOptions *opts,
                              Error **errp);
bool blkdebug_rule_add_set_state(BlkdebugRuleList *rules, const BlkdebugSetStateOptions *opts,
                                 Error **errp);

/**
 * Append the rules of a file: sections [inject-error] and [set-state], lines key = "value".
 * Blocks.
 */
bool blkdebug_rules_read(BlkdebugRuleList *rules, const char *filename, Error **errp);

#endif
