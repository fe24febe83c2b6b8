/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Lists whose links are fields of the elements.
 *
 *            | links | head | remove any | insert before | tail | backwards
 *   QSLIST   |   1   |  1   |   O(n)     |      no       |  no  |    no
 *   QSIMPLEQ |   1   |  2   |   O(n)     |      no       |  yes |    no
 *   QLIST    |   2   |  1   |   O(1)     |      yes      |  no  |    no
 *   QTAILQ   |   2   |  2   |   O(1)     |      yes      |  yes |    yes
 *
 * - A head is QXXX_HEAD(tag, type) or QXXX_HEAD(, type); a link field is QXXX_ENTRY(type), where
 *   type is a struct tag.  A zeroed QLIST or QSLIST head is empty; the others need INIT.
 * - Within FOREACH the element must not be removed; with FOREACH_SAFE it, and only it, may be.
 * - Arguments may be evaluated more than once.
 */
#ifndef QEMU_QUEUE_H
#define QEMU_QUEUE_H

#include <stddef.h>

#include "qemu/atomic.h"

/* ---- QLIST: doubly linked, head is one pointer ----------------------------------------------- */
#define QLIST_HEAD(tag, type) struct tag { struct type *first; }
#define QLIST_HEAD_INITIALIZER(head) { NULL }
/* @pprev is the address of whatever points at this element; NULL when in no list. */
#define QLIST_ENTRY(type) struct { struct type *next; struct type **pprev; }

#define QLIST_INIT(head) ((void)((head)->first = NULL))
#define QLIST_EMPTY(head) ((head)->first == NULL)
#define QLIST_FIRST(head) ((head)->first)
#define QLIST_NEXT(elm, field) ((elm)->field.next)
#define QLIST_IS_INSERTED(elm, field) ((elm)->field.pprev != NULL)

#define QLIST_INSERT_AT_(slot, elm, field) \
    do { \
        __typeof__(elm) *qlist_slot_ = (slot); \
        __typeof__(elm) qlist_elm_ = (elm); \
        qlist_elm_->field.next = *qlist_slot_; \
        if (qlist_elm_->field.next) { \
            qlist_elm_->field.next->field.pprev = &qlist_elm_->field.next; \
        } \
        *qlist_slot_ = qlist_elm_; \
        qlist_elm_->field.pprev = qlist_slot_; \
    } while (0)
#define QLIST_INSERT_HEAD(head, elm, field) QLIST_INSERT_AT_(&(head)->first, elm, field)
#define QLIST_INSERT_AFTER(where, elm, field) QLIST_INSERT_AT_(&(where)->field.next, elm, field)
#define QLIST_INSERT_BEFORE(where, elm, field) QLIST_INSERT_AT_((where)->field.pprev, elm, field)

#define QLIST_REMOVE(elm, field) \
    do { \
        __typeof__(elm) qlist_gone_ = (elm); \
        if (qlist_gone_->field.next) { \
            qlist_gone_->field.next->field.pprev = qlist_gone_->field.pprev; \
        } \
        *qlist_gone_->field.pprev = qlist_gone_->field.next; \
        qlist_gone_->field.next = NULL; \
        qlist_gone_->field.pprev = NULL; \
    } while (0)
/* For an element that may be in no list. */
#define QLIST_SAFE_REMOVE(elm, field) \
    do { \
        if (QLIST_IS_INSERTED(elm, field)) { \
            QLIST_REMOVE(elm, field); \
        } \
    } while (0)

#define QLIST_FOREACH(var, head, field) \
    for ((var) = (head)->first; (var); (var) = (var)->field.next)
#define QLIST_FOREACH_SAFE(var, head, field, after) \
    for ((var) = (head)->first; (var) && ((after) = (var)->field.next, 1); (var) = (after))

/* ---- QSLIST: singly linked, usable as a lock-free stack -------------------------------------- */
#define QSLIST_HEAD(tag, type) struct tag { struct type *first; }
#define QSLIST_HEAD_INITIALIZER(head) { NULL }
#define QSLIST_ENTRY(type) struct { struct type *next; }

#define QSLIST_INIT(head) ((void)((head)->first = NULL))
#define QSLIST_EMPTY(head) ((head)->first == NULL)
#define QSLIST_FIRST(head) ((head)->first)
#define QSLIST_NEXT(elm, field) ((elm)->field.next)

#define QSLIST_INSERT_HEAD(head, elm, field) \
    do { \
        (elm)->field.next = (head)->first; \
        (head)->first = (elm); \
    } while (0)
#define QSLIST_INSERT_AFTER(where, elm, field) \
    do { \
        (elm)->field.next = (where)->field.next; \
        (where)->field.next = (elm); \
    } while (0)
#define QSLIST_REMOVE_HEAD(head, field) ((void)((head)->first = (head)->first->field.next))
#define QSLIST_REMOVE_AFTER(where, field) \
    ((void)((where)->field.next = (where)->field.next->field.next))
#define QSLIST_REMOVE(head, elm, type, field) \
    do { \
        struct type **qslist_slot_ = &(head)->first; \
        while (*qslist_slot_ != (elm)) { \
            qslist_slot_ = &(*qslist_slot_)->field.next; \
        } \
        *qslist_slot_ = (elm)->field.next; \
    } while (0)

/* Push from any thread.  Does not evaluate to anything: see the _FETCH form. */
#define QSLIST_INSERT_HEAD_ATOMIC(head, elm, field) \
    ((void)QSLIST_INSERT_HEAD_ATOMIC_FETCH(head, elm, field))
/* The same; returns the previous first element, NULL when the list was empty. */
#define QSLIST_INSERT_HEAD_ATOMIC_FETCH(head, elm, field) \
    QSLIST_INSERT_CHAIN_ATOMIC_FETCH(head, elm, elm, field)
/* The same for a chain of elements from @newest to @oldest, linked by @field. */
#define QSLIST_INSERT_CHAIN_ATOMIC_FETCH(head, newest, oldest, field) \
    ({ \
        __typeof__(newest) qslist_was_ = qatomic_read(&(head)->first); \
        do { \
            (oldest)->field.next = qslist_was_; \
        } while (!__atomic_compare_exchange_n(&(head)->first, &qslist_was_, newest, true, \
                                              __ATOMIC_SEQ_CST, __ATOMIC_RELAXED)); \
        qslist_was_; \
    })
/* Take everything that other threads pushed onto @src; newest first. */
#define QSLIST_MOVE_ATOMIC(dest, src) ((void)((dest)->first = qatomic_xchg(&(src)->first, NULL)))

#define QSLIST_FOREACH(var, head, field) QLIST_FOREACH(var, head, field)
#define QSLIST_FOREACH_SAFE(var, head, field, after) QLIST_FOREACH_SAFE(var, head, field, after)

/* ---- QSIMPLEQ: singly linked with a tail ----------------------------------------------------- */
/* @tail is the address of the last link, hence where the next element is hooked in. */
#define QSIMPLEQ_HEAD(tag, type) struct tag { struct type *first; struct type **tail; }
#define QSIMPLEQ_HEAD_INITIALIZER(head) { NULL, &(head).first }
#define QSIMPLEQ_ENTRY(type) struct { struct type *next; }

#define QSIMPLEQ_INIT(head) \
    do { \
        (head)->first = NULL; \
        (head)->tail = &(head)->first; \
    } while (0)
#define QSIMPLEQ_EMPTY(head) ((head)->first == NULL)
#define QSIMPLEQ_EMPTY_ATOMIC(head) (qatomic_read(&(head)->first) == NULL)
#define QSIMPLEQ_FIRST(head) ((head)->first)
#define QSIMPLEQ_NEXT(elm, field) ((elm)->field.next)
#define QSIMPLEQ_LAST(head, type, field) \
    (QSIMPLEQ_EMPTY(head) \
         ? NULL \
         : (struct type *)((char *)(head)->tail - offsetof(struct type, field)))

#define QSIMPLEQ_INSERT_HEAD(head, elm, field) \
    do { \
        (elm)->field.next = (head)->first; \
        if (!(elm)->field.next) { \
            (head)->tail = &(elm)->field.next; \
        } \
        (head)->first = (elm); \
    } while (0)
#define QSIMPLEQ_INSERT_TAIL(head, elm, field) \
    do { \
        (elm)->field.next = NULL; \
        *(head)->tail = (elm); \
        (head)->tail = &(elm)->field.next; \
    } while (0)
#define QSIMPLEQ_INSERT_AFTER(head, where, elm, field) \
    do { \
        (elm)->field.next = (where)->field.next; \
        if (!(elm)->field.next) { \
            (head)->tail = &(elm)->field.next; \
        } \
        (where)->field.next = (elm); \
    } while (0)
#define QSIMPLEQ_REMOVE_HEAD(head, field) \
    do { \
        (head)->first = (head)->first->field.next; \
        if (!(head)->first) { \
            (head)->tail = &(head)->first; \
        } \
    } while (0)
#define QSIMPLEQ_REMOVE(head, elm, type, field) \
    do { \
        struct type **qsimpleq_slot_ = &(head)->first; \
        while (*qsimpleq_slot_ != (elm)) { \
            qsimpleq_slot_ = &(*qsimpleq_slot_)->field.next; \
        } \
        *qsimpleq_slot_ = (elm)->field.next; \
        if (!*qsimpleq_slot_) { \
            (head)->tail = qsimpleq_slot_; \
        } \
    } while (0)
/* Move all of @src to the end of @dest. */
#define QSIMPLEQ_CONCAT(dest, src) \
    do { \
        if (!QSIMPLEQ_EMPTY(src)) { \
            *(dest)->tail = (src)->first; \
            (dest)->tail = (src)->tail; \
            QSIMPLEQ_INIT(src); \
        } \
    } while (0)
/* Move all of @src to the front of @dest. */
#define QSIMPLEQ_PREPEND(dest, src) \
    do { \
        if (!QSIMPLEQ_EMPTY(src)) { \
            *(src)->tail = (dest)->first; \
            if (!(dest)->first) { \
                (dest)->tail = (src)->tail; \
            } \
            (dest)->first = (src)->first; \
            QSIMPLEQ_INIT(src); \
        } \
    } while (0)
/* Cut @head after @elm; what followed becomes @rest. */
#define QSIMPLEQ_SPLIT_AFTER(head, elm, field, rest) \
    do { \
        QSIMPLEQ_INIT(rest); \
        if (((rest)->first = (elm)->field.next)) { \
            (rest)->tail = (head)->tail; \
        } \
        (elm)->field.next = NULL; \
        (head)->tail = &(elm)->field.next; \
    } while (0)

#define QSIMPLEQ_FOREACH(var, head, field) QLIST_FOREACH(var, head, field)
#define QSIMPLEQ_FOREACH_SAFE(var, head, field, after) QLIST_FOREACH_SAFE(var, head, field, after)

/* ---- QTAILQ: doubly linked with a tail ------------------------------------------------------- */
/*
 * Head and entry have the same two words, so the word after any forward link is the backward link
 * that belongs to it; this is what lets LAST and PREV do without the head's type.
 */
#define QTAILQ_HEAD(tag, type) struct tag { struct type *first; struct type **tail; }
#define QTAILQ_HEAD_INITIALIZER(head) { NULL, &(head).first }
#define QTAILQ_ENTRY(type) struct { struct type *next; struct type **pprev; }

struct QTailqWords {
    void *next;
    void **pprev;
};
/* The element that owns the link before the one at @slot; NULL when that is the head. */
#define QTAILQ_OWNER_(slot) (*((const struct QTailqWords *)(const void *)(slot))->pprev)

#define QTAILQ_INIT(head) \
    do { \
        (head)->first = NULL; \
        (head)->tail = &(head)->first; \
    } while (0)
#define QTAILQ_EMPTY(head) ((head)->first == NULL)
#define QTAILQ_FIRST(head) ((head)->first)
#define QTAILQ_NEXT(elm, field) ((elm)->field.next)
#define QTAILQ_LAST(head) ((__typeof__((head)->first))QTAILQ_OWNER_((head)->tail))
#define QTAILQ_PREV(elm, field) \
    ((__typeof__((elm)->field.next))QTAILQ_OWNER_((elm)->field.pprev))
#define QTAILQ_IN_USE(elm, field) ((elm)->field.pprev != NULL)

#define QTAILQ_INSERT_HEAD(head, elm, field) \
    do { \
        (elm)->field.next = (head)->first; \
        if ((elm)->field.next) { \
            (head)->first->field.pprev = &(elm)->field.next; \
        } else { \
            (head)->tail = &(elm)->field.next; \
        } \
        (head)->first = (elm); \
        (elm)->field.pprev = &(head)->first; \
    } while (0)
#define QTAILQ_INSERT_TAIL(head, elm, field) \
    do { \
        (elm)->field.next = NULL; \
        (elm)->field.pprev = (head)->tail; \
        *(head)->tail = (elm); \
        (head)->tail = &(elm)->field.next; \
    } while (0)
#define QTAILQ_INSERT_AFTER(head, where, elm, field) \
    do { \
        (elm)->field.next = (where)->field.next; \
        if ((elm)->field.next) { \
            (elm)->field.next->field.pprev = &(elm)->field.next; \
        } else { \
            (head)->tail = &(elm)->field.next; \
        } \
        (where)->field.next = (elm); \
        (elm)->field.pprev = &(where)->field.next; \
    } while (0)
#define QTAILQ_INSERT_BEFORE(where, elm, field) \
    do { \
        (elm)->field.pprev = (where)->field.pprev; \
        (elm)->field.next = (where); \
        *(where)->field.pprev = (elm); \
        (where)->field.pprev = &(elm)->field.next; \
    } while (0)
#define QTAILQ_REMOVE(head, elm, field) \
    do { \
        __typeof__(elm) qtailq_gone_ = (elm); \
        if (qtailq_gone_->field.next) { \
            qtailq_gone_->field.next->field.pprev = qtailq_gone_->field.pprev; \
        } else { \
            (head)->tail = qtailq_gone_->field.pprev; \
        } \
        *qtailq_gone_->field.pprev = qtailq_gone_->field.next; \
        qtailq_gone_->field.next = NULL; \
        qtailq_gone_->field.pprev = NULL; \
    } while (0)

#define QTAILQ_FOREACH(var, head, field) QLIST_FOREACH(var, head, field)
#define QTAILQ_FOREACH_SAFE(var, head, field, after) QLIST_FOREACH_SAFE(var, head, field, after)
#define QTAILQ_FOREACH_REVERSE(var, head, field) \
    for ((var) = QTAILQ_LAST(head); (var); (var) = QTAILQ_PREV(var, field))
#define QTAILQ_FOREACH_REVERSE_SAFE(var, head, field, before) \
    for ((var) = QTAILQ_LAST(head); (var) && ((before) = QTAILQ_PREV(var, field), 1); \
         (var) = (before))

#endif
