/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Random operations on formats, filters and chains of them. */
#include "qemu/osdep.h"

#include "model-lab.h"

#define FILE_OF(name) "{'driver': 'file', 'filename': '@" name "'}"
#define RAW_OF(name) "{'driver': 'raw', 'file': " FILE_OF(name) "}"
#define QCOW2_OF(name) "{'driver': 'qcow2', 'file': " FILE_OF(name) "}"
#define BLKDEBUG_OF(align) "{'driver': 'blkdebug', 'align': " align ", 'image': " \
                           FILE_OF("disk") "}"
#define MAKE_QCOW2 "'driver': 'qcow2', 'file': 'file-disk', 'size': 1048576"
#define CBW_OF(disk, target) "{'driver': 'copy-before-write', 'node-name': 'cbw', 'file': " disk \
                             ", 'target': " target "}"
#define ACCESS "{'driver': 'snapshot-access', 'file': 'cbw'}"
#define OVER_BASE "'backing-file': '@base', 'backing-fmt': 'raw'"

static const ModelCase cases[] = {
    { .path = "/model/file/real", .files = { "disk" }, .disk_bytes = 1 * MiB,
      .open = FILE_OF("disk"), .flags = MODEL_REAL_FILES },
    { .path = "/model/raw/memory", .files = { "disk" }, .disk_bytes = 1 * MiB,
      .open = RAW_OF("disk") },
    { .path = "/model/raw/real", .files = { "disk" }, .disk_bytes = 1 * MiB,
      .open = RAW_OF("disk"), .flags = MODEL_REAL_FILES },
    { .path = "/model/qcow2/memory", .disk_bytes = 1 * MiB, .create = { "{" MAKE_QCOW2 "}" },
      .open = QCOW2_OF("disk") },
    { .path = "/model/qcow2/real", .files = { "disk" }, .disk_bytes = 1 * MiB,
      .create = { "{" MAKE_QCOW2 "}" }, .open = QCOW2_OF("disk"), .flags = MODEL_REAL_FILES },
    { .path = "/model/qcow2/512-byte-clusters", .disk_bytes = 1 * MiB,
      .create = { "{" MAKE_QCOW2 ", 'cluster-size': 512}" }, .open = QCOW2_OF("disk") },
    { .path = "/model/qcow2/2-MiB-clusters", .disk_bytes = 1 * MiB,
      .create = { "{" MAKE_QCOW2 ", 'cluster-size': 2097152}" }, .open = QCOW2_OF("disk") },
    { .path = "/model/qcow2/subclusters", .disk_bytes = 1 * MiB, .flags = MODEL_BASE,
      .create = { "{" MAKE_QCOW2 ", 'extended-l2': true, " OVER_BASE "}" },
      .open = QCOW2_OF("disk") },
    { .path = "/model/qcow2/version-2", .disk_bytes = 1 * MiB,
      .create = { "{" MAKE_QCOW2 ", 'cluster-size': 4096, 'version': 'v2'}" },
      .open = QCOW2_OF("disk") },
    { .path = "/model/qcow2/over-a-base", .disk_bytes = 1 * MiB, .flags = MODEL_BASE,
      .create = { "{" MAKE_QCOW2 ", " OVER_BASE "}" }, .open = QCOW2_OF("disk") },
    { .path = "/model/qcow2/real-over-a-base", .files = { "disk" }, .disk_bytes = 1 * MiB,
      .create = { "{" MAKE_QCOW2 ", 'cluster-size': 8192, " OVER_BASE "}" },
      .open = QCOW2_OF("disk"), .flags = MODEL_BASE | MODEL_REAL_FILES },
    { .path = "/model/qcow2/three-layers", .disk_bytes = 1 * MiB, .flags = MODEL_BASE,
      .create = { "{'driver': 'qcow2', 'file': 'file-mid', 'size': 1048576, 'cluster-size': 4096, "
                  OVER_BASE "}",
                  "{" MAKE_QCOW2 ", 'backing-file': '@mid', 'backing-fmt': 'qcow2'}" },
      .open = QCOW2_OF("disk") },
    { .path = "/model/raw/part-of-a-file", .files = { "disk" }, .disk_bytes = 512 * KiB,
      .open = "{'driver': 'raw', 'offset': 100352, 'size': 524288, 'file': " FILE_OF("disk") "}",
      .flags = MODEL_FIXED_SIZE, .file_bytes = 1 * MiB },
    { .path = "/model/throttle/group", .files = { "disk" }, .disk_bytes = 1 * MiB,
      .object = "throttle-group,id=g,x-iops-total=20000,x-iops-total-max=20000,x-iops-size=4096",
      .open = "{'driver': 'throttle', 'throttle-group': 'g', 'file': " FILE_OF("disk") "}" },
    { .path = "/model/compress/qcow2", .disk_bytes = 1 * MiB,
      .create = { "{" MAKE_QCOW2 ", 'cluster-size': 8192}" },
      .open = "{'driver': 'compress', 'file': " QCOW2_OF("disk") "}" },
    { .path = "/model/copy-before-write/raw-to-raw", .files = { "disk", "target" },
      .disk_bytes = 1 * MiB, .flags = MODEL_FIXED_SIZE,
      .open = CBW_OF(FILE_OF("disk"), FILE_OF("target")) },
    { .path = "/model/copy-before-write/qcow2-over-a-base", .files = { "target" },
      .disk_bytes = 1 * MiB, .create = { "{" MAKE_QCOW2 ", 'cluster-size': 4096, " OVER_BASE "}" },
      .open = CBW_OF(QCOW2_OF("disk"), FILE_OF("target")), .flags = MODEL_BASE | MODEL_FIXED_SIZE },
    { .path = "/model/snapshot-access/raw", .files = { "disk", "target" },
      .disk_bytes = 1 * MiB, .flags = MODEL_FIXED_SIZE, .snapshot = ACCESS,
      .open = CBW_OF(FILE_OF("disk"), FILE_OF("target")) },
    { .path = "/model/snapshot-access/real-files", .files = { "disk", "target" },
      .disk_bytes = 1 * MiB, .flags = MODEL_FIXED_SIZE | MODEL_REAL_FILES, .snapshot = ACCESS,
      .open = CBW_OF(FILE_OF("disk"), FILE_OF("target")) },
    { .path = "/model/snapshot-access/qcow2-over-a-base", .disk_bytes = 1 * MiB,
      .create = { "{" MAKE_QCOW2 ", 'cluster-size': 4096, " OVER_BASE "}",
                  "{'driver': 'qcow2', 'file': 'file-target', 'size': 1048576}" },
      .open = CBW_OF(QCOW2_OF("disk"), QCOW2_OF("target")), .snapshot = ACCESS,
      .flags = MODEL_BASE | MODEL_FIXED_SIZE },
    { .path = "/model/copy-on-read/qcow2-over-a-base", .disk_bytes = 1 * MiB,
      .create = { "{" MAKE_QCOW2 ", 'cluster-size': 4096, " OVER_BASE "}" },
      .open = "{'driver': 'copy-on-read', 'file': " QCOW2_OF("disk") "}", .flags = MODEL_BASE },
    { .path = "/model/blkdebug/aligned", .files = { "disk" }, .disk_bytes = 1 * MiB,
      .open = "{'driver': 'blkdebug', 'align': 4096, 'max-transfer': 65536, 'opt-write-zero': 8192,"
              " 'max-write-zero': 65536, 'max-discard': 65536, 'opt-discard': 8192, "
              "'image': " FILE_OF("disk") "}", .flags = MODEL_FIXED_SIZE },
    { .path = "/model/blkdebug/512-bytes", .files = { "disk" }, .disk_bytes = 1 * MiB,
      .open = BLKDEBUG_OF("512"), .flags = MODEL_FIXED_SIZE },
    { .path = "/model/blkdebug/4-KiB", .files = { "disk" }, .disk_bytes = 1 * MiB,
      .open = BLKDEBUG_OF("4096"), .flags = MODEL_FIXED_SIZE },
    { .path = "/model/blkdebug/64-KiB", .files = { "disk" }, .disk_bytes = 1 * MiB,
      .open = BLKDEBUG_OF("65536"), .flags = MODEL_FIXED_SIZE },
    { .path = "/model/blkdebug/below-qcow2", .files = { "disk" }, .disk_bytes = 1 * MiB,
      .create = { "{" MAKE_QCOW2 ", 'cluster-size': 4096}" },
      .open = "{'driver': 'qcow2', 'file': {'driver': 'blkdebug', 'align': 4096, 'image': "
              FILE_OF("disk") "}}", .flags = MODEL_REAL_FILES },
    { .path = "/model/blklogwrites/real", .files = { "disk", "log" }, .disk_bytes = 1 * MiB,
      .open = "{'driver': 'blklogwrites', 'file': " FILE_OF("disk") ", 'log': " FILE_OF("log") "}",
      .flags = MODEL_REAL_FILES | MODEL_FIXED_SIZE },
    { .path = "/model/quorum/three", .files = { "one", "two", "three" }, .disk_bytes = 1 * MiB,
      .open = "{'driver': 'quorum', 'vote-threshold': 2, 'children': [" RAW_OF("one") ", "
              RAW_OF("two") ", " RAW_OF("three") "]}", .flags = MODEL_FIXED_SIZE },
    { .path = "/model/blkverify/qcow2-and-raw", .files = { "trusted" }, .disk_bytes = 1 * MiB,
      .create = { "{" MAKE_QCOW2 ", 'cluster-size': 4096}" },
      .open = "{'driver': 'blkverify', 'test': " QCOW2_OF("disk") ", 'raw': " FILE_OF("trusted")
              "}", .flags = MODEL_FIXED_SIZE },
    { .path = "/model/preallocate/real", .files = { "disk" }, .disk_bytes = 1 * MiB,
      .open = "{'driver': 'preallocate', 'prealloc-size': 100000, 'prealloc-align': 65536, "
              "'file': " FILE_OF("disk") "}", .flags = MODEL_REAL_FILES },
    { .path = "/model/preallocate/below-qcow2", .files = { "disk" }, .disk_bytes = 1 * MiB,
      .create = { "{" MAKE_QCOW2 ", 'cluster-size': 4096}" },
      .open = "{'driver': 'qcow2', 'file': {'driver': 'preallocate', 'prealloc-size': 100000, "
              "'prealloc-align': 4096, 'file': " FILE_OF("disk") "}}", .flags = MODEL_REAL_FILES },
};

int main(int argc, char **argv)
{
    return model_lab_main(argc, argv, cases, ARRAY_SIZE(cases));
}
