/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Power cuts of images below filters that do more than pass requests on. */
#include "qemu/osdep.h"

#include "crash-lab.h"

#define FILE_OF(name) "{'driver': 'file', 'filename': '" name "'}"
#define MAKE "{'driver': 'qcow2', 'file': 'file-disk', 'size': 524288, 'cluster-size': 4096"

static const CrashCase cases[] = {
    { .path = "/preallocate/crash/below-qcow2/leaks-at-most", .create = { MAKE "}" },
      .open = "{'driver': 'qcow2', 'file': {'driver': 'preallocate', 'prealloc-size': 65536, "
              "'prealloc-align': 4096, 'file': " FILE_OF("disk") "}}",
      .disk_bytes = 512 * KiB, .cluster_size = 4096, .mix = { 10, 2, 2, 2, 16 }, .rounds = 50,
      .step = 7 },
    { .path = "/preallocate/crash/raw/keeps-what-was-flushed",
      .open = "{'driver': 'raw', 'file': {'driver': 'preallocate', 'file': " FILE_OF("disk") "}}",
      .disk_bytes = 256 * KiB, .mix = { 10, 2, 0, 2, 16 }, .rounds = 50, .step = 7,
      .no_check = true },
    { .path = "/copy-on-read/crash/over-a-base/keeps-what-was-flushed", .has_base = true,
      .create = { MAKE ", 'backing-file': 'base', 'backing-fmt': 'raw'}" },
      .open = "{'driver': 'copy-on-read', 'file': {'driver': 'qcow2', 'file': " FILE_OF("disk")
              "}}",
      .disk_bytes = 512 * KiB, .cluster_size = 4096, .mix = { 10, 1, 1, 2, 16 }, .rounds = 40,
      .step = 7, .open_writes = true },
};

int main(int argc, char **argv)
{
    return crash_lab_main(argc, argv, cases, ARRAY_SIZE(cases));
}
