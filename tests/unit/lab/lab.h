/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What the crash lab and the fault lab share: every driver of the program, but "file" is the one in
 * memory (memfile.h), and stacks of nodes described by JSON.
 */
#ifndef TESTS_UNIT_LAB_LAB_H
#define TESTS_UNIT_LAB_LAB_H

#include "../format/memfile.h"

#include "qapi/gen/block-core-visit.h"
#include "qapi/object-input.h"
#include "qobject/json-parser.h"

extern BlockDriver *const bdrv_drivers[];

/* The program's drivers, with mem_driver as "file". */
static inline BlockDriver *const *lab_drivers(void)
{
    static BlockDriver *drivers[128];

    for (size_t i = 0; bdrv_drivers[i]; i++) {
        g_assert_cmpuint(i + 1, <, ARRAY_SIZE(drivers));
        drivers[i] = strcmp(bdrv_drivers[i]->format_name, "file") ? bdrv_drivers[i] : &mem_driver;
    }
    return drivers;
}

/* Warnings would disturb TAP. */
static inline bool lab_swallow(const char *line)
{
    return true;
}

static inline void lab_init(int *argc, char ***argv)
{
    test_init(argc, argv);
    qemu_init_main_loop(&error_abort);
    error_set_report_hook(lab_swallow, NULL);
}

/* Put before names of files; "" for files in memory. */
static const char *lab_folder = "";

/* The dictionary of @json, in which '@' stands for lab_folder. */
static inline QDict *lab_parse(const char *json)
{
    g_auto(GStrv) parts = g_strsplit(json, "@", -1);
    g_autofree char *text = g_strjoinv(lab_folder, parts);

    return qobject_to(QDict, qobject_from_json(text, &error_abort));
}

/* Nodes that nobody refers to are closed when the control lock is let go. */
static inline void coroutine_fn lab_co_settle(void)
{
    bdrv_co_control_unlock();
    bdrv_co_control_lock();
}

/*
 * Carry out the blockdev-create that @json describes.  Every "file-NAME" that it mentions is a
 * node of the file NAME.
 */
static inline void coroutine_fn lab_co_create(const char *json)
{
    g_autoptr(Visitor) v = NULL;
    g_autoptr(GPtrArray) nodes = g_ptr_array_new();
    g_autoptr(GRegex) names = g_regex_new("file-([a-z0-9]+)", 0, 0, NULL);
    g_autoptr(GMatchInfo) match = NULL;
    QDict *dict = lab_parse(json);
    BlockdevCreateOptions *options = NULL;

    for (g_regex_match(names, json, 0, &match); g_match_info_matches(match);
         g_match_info_next(match, NULL)) {
        g_autofree char *node = g_match_info_fetch(match, 0), *name = g_match_info_fetch(match, 1);
        g_autofree char *path = g_strconcat(lab_folder, name, NULL);
        QDict *file = qdict_new();

        qdict_put_str(file, "driver", "file");
        qdict_put_str(file, "filename", path);
        qdict_put_str(file, "node-name", node);
        g_ptr_array_add(nodes, bdrv_co_open(NULL, NULL, file, BDRV_O_RDWR | BDRV_O_PROTOCOL,
                                            &error_abort));
    }
    v = qobject_input_visitor_new(QOBJECT(dict));
    visit_type_BlockdevCreateOptions(v, NULL, &options, &error_abort);
    g_assert_true(bdrv_co_create(options, &error_abort));
    qapi_free_BlockdevCreateOptions(options);
    qobject_unref(dict);
    for (guint i = 0; i < nodes->len; i++) {
        bdrv_unref(g_ptr_array_index(nodes, i));
    }
    lab_co_settle();
}

/* Open the stack of @json and use it. */
static inline MemUser *coroutine_fn lab_co_use(const char *json, int flags)
{
    return mem_co_use(lab_parse(json), flags, &error_abort);
}

/* Whoever has the disk under a job does not change its length. */
static inline void coroutine_fn lab_co_keep_length(MemUser *user)
{
    bdrv_co_child_set_perm(user->root, BLK_PERM_CONSISTENT_READ | BLK_PERM_WRITE, BLK_PERM_ALL,
                           &error_abort);
}

/* Amend image @bs by options as qemu-img takes them; false with @errp set if that fails. */
static inline bool coroutine_fn lab_co_amend(BlockDriverState *bs, const char *text, bool force,
                                             Error **errp)
{
    g_autoptr(QemuOpts) opts = qemu_opts_create(bdrv_amend_opts(bs->drv), NULL, false,
                                                &error_abort);

    g_assert_true(qemu_opts_do_parse(opts, text, NULL, &error_abort));
    return bdrv_co_amend_options(bs, opts, force, NULL, errp);
}

static inline void lab_report(void *opaque, const char *line)
{
    if (!g_str_has_prefix(line, "Leaked") && !g_str_has_prefix(line, "Repairing")) {
        g_test_message("%s", line);
    }
}

/* Check @user's image: no damage; returns the number of leaks. */
static inline int64_t coroutine_fn lab_co_check(MemUser *user)
{
    BdrvCheckResult res = { .report = lab_report };
    BlockDriverState *bs = user->bs;

    /* Filters have no check of their own. */
    while (bs->drv->is_filter) {
        bs = bdrv_primary_bs(bs);
    }
    g_assert_cmpint(bdrv_co_check(bs, &res, 0), ==, 0);
    g_assert_cmpint(res.corruptions, ==, 0);
    g_assert_cmpint(res.check_errors, ==, 0);
    return res.leaks;
}

#endif
