/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Starting backups, in steps that a transaction can take for several at once.
 * Main thread, control lock held.
 */
#ifndef BLOCK_QMP_BACKUP_H
#define BLOCK_QMP_BACKUP_H

#include "block/job.h"
#include "qapi/gen/block-core-types.h"

/* A job made but not started, and the freeze of its source. */
typedef struct BackupAction BackupAction;

/** Do all that can fail.  @txn: of the jobs, or NULL.  The source stays frozen. */
BackupAction *coroutine_fn blockdev_backup_co_prepare(const BlockdevBackup *args, JobTxn *txn,
                                                      Error **errp);
/** The same with an image to be made or opened. */
BackupAction *coroutine_fn drive_backup_co_prepare(const DriveBackup *args, JobTxn *txn,
                                                   Error **errp);
/** Start the job; it does not work before backup_action_end(). */
void backup_action_commit(BackupAction *action);
/** Undo; an image that was made stays. */
void coroutine_fn backup_action_co_abort(BackupAction *action);
/** After commit or abort: thaw.  Frees @action. */
void backup_action_end(BackupAction *action);

#endif
