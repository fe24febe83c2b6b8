/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Managers of persistent reservations: objects by which host devices (option pr-manager) have
 * another program carry out the SCSI commands PERSISTENT RESERVE IN and OUT.
 *
 * Main thread only.
 */
#ifndef BLOCK_PR_MANAGER_H
#define BLOCK_PR_MANAGER_H

#include "qapi/gen/block-info-types.h"

/** Make object-add know the type pr-manager-helper. */
void pr_manager_register_type(void);

/** All managers, in order of creation; the caller frees the list. */
PRManagerInfoList *pr_manager_query(void);

#endif
