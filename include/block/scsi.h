/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * SCSI commands, of which a disk or drive of the host may be sent some as they are.  Numbers are
 * those of SPC, SBC and MMC.
 */
#ifndef BLOCK_SCSI_H
#define BLOCK_SCSI_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef enum ScsiCommand {
    SCSI_TEST_UNIT_READY = 0x00,
    SCSI_REQUEST_SENSE = 0x03,
    SCSI_FORMAT_UNIT = 0x04,
    SCSI_READ_6 = 0x08,
    SCSI_WRITE_6 = 0x0a,
    SCSI_INQUIRY = 0x12,
    SCSI_MODE_SENSE_6 = 0x1a,
    SCSI_START_STOP_UNIT = 0x1b,
    SCSI_PREVENT_ALLOW_REMOVAL = 0x1e,
    SCSI_READ_FORMAT_CAPACITIES = 0x23,
    SCSI_READ_CAPACITY_10 = 0x25,
    SCSI_READ_10 = 0x28,
    SCSI_WRITE_10 = 0x2a,
    SCSI_SEEK_10 = 0x2b,
    SCSI_VERIFY_10 = 0x2f,
    SCSI_READ_BUFFER = 0x3c,
    SCSI_UNMAP = 0x42, /* of disks; of CD drives READ SUBCHANNEL */
    SCSI_READ_TOC = 0x43,
    SCSI_READ_HEADER = 0x44,
    SCSI_GET_CONFIGURATION = 0x46,
    SCSI_GET_EVENT_STATUS = 0x4a,
    SCSI_LOG_SENSE = 0x4d,
    SCSI_READ_DISC_INFORMATION = 0x51,
    SCSI_READ_TRACK_INFORMATION = 0x52,
    SCSI_MODE_SENSE_10 = 0x5a,
    SCSI_READ_BUFFER_CAPACITY = 0x5c,
    SCSI_PERSISTENT_RESERVE_IN = 0x5e,
    SCSI_PERSISTENT_RESERVE_OUT = 0x5f,
    SCSI_READ_16 = 0x88,
    SCSI_WRITE_16 = 0x8a,
    SCSI_VERIFY_16 = 0x8f,
    SCSI_ZONES_IN = 0x95,
    SCSI_SERVICE_ACTION_IN_16 = 0x9e,
    SCSI_REPORT_LUNS = 0xa0,
    SCSI_MAINTENANCE_IN = 0xa3,
    SCSI_REPORT_KEY = 0xa4,
    SCSI_READ_12 = 0xa8,
    SCSI_WRITE_12 = 0xaa,
    SCSI_GET_PERFORMANCE = 0xac,
    SCSI_READ_DISC_STRUCTURE = 0xad,
    SCSI_VERIFY_12 = 0xaf,
    SCSI_READ_CD_MSF = 0xb9,
    SCSI_SET_CD_SPEED = 0xbb,
    SCSI_MECHANISM_STATUS = 0xbd,
    SCSI_READ_CD = 0xbe,
} ScsiCommand;

/** Does the command of @len bytes leave data, and what others may do with them, as they are? */
bool scsi_command_only_reads(const uint8_t *cdb, size_t len);

#endif
