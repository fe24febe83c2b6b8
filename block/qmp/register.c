/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Offering the commands of the block layer; the control lock around them, and which go without.
 */
#include "qemu/osdep.h"

#include "block/blockdev.h"
#include "block/graph.h"
#include "monitor/monitor.h"
#include "qapi/gen/block-core-commands.h"
#include "qapi/gen/block-export-commands.h"
#include "qapi/gen/block-info-commands.h"
#include "qapi/gen/job-commands.h"
#include "qapi/gen/migration-commands.h"
#include "qapi/gen/qom-commands.h"
#include "qapi/gen/transaction-commands.h"
#include "qmp-block.h"

static const MonitorCommandHooks command_hooks = {
    .enter = bdrv_co_control_lock,
    .leave = bdrv_co_control_unlock,
};

/* They set a flag and wake a job: a command that waits for storage must not delay them. */
static const char *const exempt[] = {
    "job-pause", "job-resume", "job-cancel", "job-complete", "job-finalize", "job-dismiss",
    "block-job-set-speed", "block-job-change", "block-job-cancel", "block-job-pause",
    "block-job-resume", "block-job-complete", "block-job-finalize", "block-job-dismiss",
    "x-debug-query-block-graph", "qmp_capabilities", "quit",
};

void blockdev_register_commands(QmpCommandList *commands, bool with_hmp)
{
    qmp_init_block_core_commands(commands);
    qmp_init_block_info_commands(commands);
    qmp_init_block_export_commands(commands);
    qmp_init_job_commands(commands);
    qmp_init_qom_commands(commands);
    qmp_init_transaction_commands(commands);
    block_objects_register();
    if (with_hmp) {
        qmp_init_migration_commands(commands);
        hmp_block_register();
    }
    for (size_t i = 0; i < ARRAY_SIZE(exempt); i++) {
        monitor_exempt_command(exempt[i]);
    }
    monitor_set_command_hooks(&command_hooks);
}
