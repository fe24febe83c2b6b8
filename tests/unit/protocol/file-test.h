/* SPDX-License-Identifier: GPL-2.0-or-later */
/* For tests of the file driver: one file, made anew for each case, and who uses it. */
#ifndef TESTS_UNIT_PROTOCOL_FILE_TEST_H
#define TESTS_UNIT_PROTOCOL_FILE_TEST_H

#include "../../lib/memdisk.h"
#include "../../lib/testlib.h"

#include "block/block-backend.h"
#include "block/block_int.h"
#include "qobject/json-parser.h"

#define FILE_BYTES (1 * MiB)

static char *path;      /* of the image; made anew for each case */

static inline BlockDriverState *coroutine_fn co_open_at(const char *name, const char *options,
                                                        int flags, Error **errp)
{
    g_autofree char *json = g_strdup_printf("{'driver': 'file', 'filename': '%s'%s%s}", name,
                                            *options ? ", " : "", options);
    QDict *dict = qobject_to(QDict, qobject_from_json(json, &error_abort));

    return bdrv_co_open(NULL, NULL, dict, flags, errp);
}

static inline BlockDriverState *coroutine_fn co_open(const char *options, Error **errp)
{
    return co_open_at(path, options, BDRV_O_RDWR | BDRV_O_UNMAP, errp);
}

static inline void make_file(int64_t bytes)
{
    int fd = open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

    g_assert_cmpint(fd, >=, 0);
    g_assert_cmpint(ftruncate(fd, bytes), ==, 0);
    close(fd);
}

static inline int64_t file_bytes(void)
{
    struct stat st;

    g_assert_cmpint(stat(path, &st), ==, 0);
    return st.st_size;
}

static inline BlockBackend *coroutine_fn co_user(BlockDriverState *bs, uint64_t perm,
                                                 uint64_t shared)
{
    BlockBackend *blk = blk_co_new_with_bs(bs, perm, shared, &error_abort);

    blk_set_allow_write_beyond_eof(blk, perm & BLK_PERM_RESIZE);
    return blk;
}

#define READ_WRITE (BLK_PERM_CONSISTENT_READ | BLK_PERM_WRITE)
#define ALL_RIGHTS (READ_WRITE | BLK_PERM_RESIZE)

static inline int file_main(int argc, char **argv, const MemCase *cases, size_t n)
{
    test_init(&argc, &argv);
    qemu_init_main_loop(&error_abort);
    path = test_tmpfile("image");
    mem_drivers = bdrv_drivers;
    mem_add_cases(cases, n);
    return g_test_run();
}

#endif
