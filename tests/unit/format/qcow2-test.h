/* SPDX-License-Identifier: GPL-2.0-or-later */
/* For tests of qcow2: making, opening and checking images in memory (memfile.h). */
#ifndef TESTS_UNIT_FORMAT_QCOW2_TEST_H
#define TESTS_UNIT_FORMAT_QCOW2_TEST_H

#include "memfile.h"

extern BlockDriver bdrv_qcow2;
extern BlockDriver bdrv_raw;

static BlockDriver *const qcow2_drivers[] = { &bdrv_qcow2, &bdrv_raw, &mem_driver, NULL };

/* Make an image in the memory file @name. */
static inline bool coroutine_fn qcow2_test_create(const char *name, BlockdevCreateOptionsQcow2 *o,
                                                  Error **errp)
{
    g_autofree char *node = g_strdup_printf("create-%s", name);
    QDict *options = qdict_new();
    BlockDriverState *file;
    BlockdevRef ref = { .type = QTYPE_QSTRING };
    BlockdevCreateOptions create = { .driver = BLOCKDEV_DRIVER_QCOW2 };
    bool ok;

    qdict_put_str(options, "driver", "file");
    qdict_put_str(options, "filename", name);
    qdict_put_str(options, "node-name", node);
    file = bdrv_co_open(NULL, NULL, options, BDRV_O_RDWR | BDRV_O_PROTOCOL, &error_abort);
    ref.u.reference = node;
    o->file = &ref;
    create.u.qcow2 = *o;
    ok = bdrv_co_create(&create, errp);
    bdrv_unref(file);
    bdrv_co_control_unlock();
    bdrv_co_control_lock();
    return ok;
}

/* Options to open the memory file @name as qcow2. */
static inline QDict *qcow2_test_options(const char *name)
{
    QDict *options = qdict_new();

    qdict_put_str(options, "driver", "qcow2");
    qdict_put_str(options, "file.driver", "file");
    qdict_put_str(options, "file.filename", name);
    return options;
}

static inline MemUser *coroutine_fn qcow2_test_open(const char *name, int flags)
{
    return mem_co_use(qcow2_test_options(name), flags, &error_abort);
}

static inline void qcow2_test_report(void *opaque, const char *line)
{
    if (!g_str_has_prefix(line, "Leaked")) {
        g_test_message("%s", line);
    }
}

/* Check @user's image: no damage; returns the number of leaks. */
static inline int64_t coroutine_fn qcow2_test_check(MemUser *user)
{
    BdrvCheckResult res = { .report = qcow2_test_report };

    g_assert_cmpint(bdrv_co_check(user->bs, &res, 0), ==, 0);
    g_assert_cmpint(res.corruptions, ==, 0);
    g_assert_cmpint(res.check_errors, ==, 0);
    return res.leaks;
}

/* ---- cases, each in a coroutine that holds the control lock ---------------------------------- */

typedef struct Qcow2TestCase {
    const char *path;
    void (*co_fn)(void);
} Qcow2TestCase;

static inline void qcow2_test_run_case(gconstpointer data)
{
    const Qcow2TestCase *c = data;

    mem_run_case(qcow2_drivers, c->co_fn);
}

static inline void qcow2_test_add_cases(const Qcow2TestCase *cases, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        g_test_add_data_func(cases[i].path, &cases[i], qcow2_test_run_case);
    }
}

#endif
