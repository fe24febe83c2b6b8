/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "qemu/osdep.h"

#include "block/blockjob.h"

BlockJob *coroutine_fn commit_active_job_co_create(const CommitJobArgs *args, Error **errp)
{
    error_setg(errp, "Committing a node that is written to is not available");
    return NULL;
}
