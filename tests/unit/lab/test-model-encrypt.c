/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Random operations on encrypted images, and on chains with some. */
#include "qemu/osdep.h"

#include "model-lab.h"
#include "secrets.h"

#define FILE_OF(name) "{'driver': 'file', 'filename': '@" name "'}"
#define QCOW2_OF(name, format) "{'driver': 'qcow2', 'file': " FILE_OF(name) ", " \
    "'encrypt': {'format': '" format "', 'key-secret': 'a'}}"
#define LUKS_OPTIONS "'key-secret': 'a', 'iter-time': 1, 'cipher-alg': 'aes-128'"
#define LUKS "'encrypt': {'format': 'luks', " LUKS_OPTIONS "}"
#define AES "'encrypt': {'format': 'qcow', 'key-secret': 'a'}"
#define MAKE_QCOW2 "'driver': 'qcow2', 'file': 'file-disk', 'size': 1048576"
#define OVER_BASE "'backing-file': '@base', 'backing-fmt': 'raw'"

static const ModelCase cases[] = {
    { .path = "/model/encrypt/luks", .disk_bytes = 1 * MiB,
      .create = { "{" MAKE_QCOW2 ", 'cluster-size': 4096, " LUKS "}" },
      .open = QCOW2_OF("disk", "luks") },
    { .path = "/model/encrypt/real-luks", .disk_bytes = 1 * MiB, .files = { "disk" },
      .create = { "{" MAKE_QCOW2 ", " LUKS "}" }, .open = QCOW2_OF("disk", "luks"),
      .flags = MODEL_REAL_FILES },
    { .path = "/model/encrypt/luks-subclusters", .disk_bytes = 1 * MiB, .flags = MODEL_BASE,
      .create = { "{" MAKE_QCOW2 ", 'extended-l2': true, " OVER_BASE ", " LUKS "}" },
      .open = QCOW2_OF("disk", "luks") },
    { .path = "/model/encrypt/luks-reserved", .disk_bytes = 1 * MiB,
      .create = { "{" MAKE_QCOW2 ", 'cluster-size': 8192, 'preallocation': 'falloc', " LUKS "}" },
      .open = QCOW2_OF("disk", "luks") },
    { .path = "/model/encrypt/luks-data-file", .disk_bytes = 1 * MiB, .files = { "data" },
      .create = { "{" MAKE_QCOW2 ", 'data-file': 'file-data', " LUKS "}" },
      .open = "{'driver': 'qcow2', 'file': " FILE_OF("disk") ", 'data-file': " FILE_OF("data")
              ", 'encrypt': {'format': 'luks', 'key-secret': 'a'}}" },
    { .path = "/model/encrypt/aes-version-2", .disk_bytes = 1 * MiB, .flags = MODEL_BASE,
      .create = { "{" MAKE_QCOW2 ", 'cluster-size': 512, 'version': 'v2', " OVER_BASE ", " AES
                  "}" },
      .open = QCOW2_OF("disk", "aes") },
    { .path = "/model/encrypt/plain-over-aes-over-a-base", .disk_bytes = 1 * MiB,
      .create = { "{'driver': 'qcow2', 'file': 'file-mid', 'size': 1048576, " OVER_BASE ", " AES
                  "}",
                  "{" MAKE_QCOW2 ", 'cluster-size': 4096}" },
      .open = "{'driver': 'qcow2', 'file': " FILE_OF("disk") ", 'backing': "
              QCOW2_OF("mid", "aes") "}", .flags = MODEL_BASE },
};

int main(int argc, char **argv)
{
    return lab_with_secrets() ? model_lab_main(argc, argv, cases, ARRAY_SIZE(cases)) : 0;
}
