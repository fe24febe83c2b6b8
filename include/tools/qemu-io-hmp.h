/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The commands of qemu-io on a disk of the machine: "qemu-io" of the human monitor.
 */
#ifndef TOOLS_QEMU_IO_HMP_H
#define TOOLS_QEMU_IO_HMP_H

/** Offer the command.  Once, at start-up, after monitor_init(). */
void qemuio_register_hmp(void);

#endif
