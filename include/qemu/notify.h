/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Lists of callbacks that are told of one kind of event.
 *
 * - The Notifier is embedded in its owner; no allocation, no ownership passes.
 * - Not thread-safe.  A notifier may remove itself, or be freed, while it is being called; it must
 *   not remove another one of the same list then.
 */
#ifndef QEMU_NOTIFY_H
#define QEMU_NOTIFY_H

#include <stdbool.h>

#include "qemu/queue.h"

typedef struct Notifier Notifier;

struct Notifier {
    void (*notify)(Notifier *notifier, void *data);
    QLIST_ENTRY(Notifier) node;
};

typedef struct NotifierList {
    QLIST_HEAD(, Notifier) notifiers;
} NotifierList;

#define NOTIFIER_LIST_INITIALIZER(head) { QLIST_HEAD_INITIALIZER((head).notifiers) }

/** Add @notifier at the head: the latest added is called first. */
void notifier_list_add(NotifierList *list, Notifier *notifier);

/** Take @notifier out of its list; nothing happens when it is in none. */
void notifier_remove(Notifier *notifier);

/** Call every notifier of @list with @data, newest first. */
void notifier_list_notify(NotifierList *list, void *data);

#endif
