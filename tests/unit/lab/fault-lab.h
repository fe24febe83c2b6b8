/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Failing calls.  An operation runs on a stack of nodes over files in memory; the 1st, the 2nd, ...
 * call on a file fails, once or from then on, with EIO or ENOSPC, until none is left to fail.
 * After each failure
 *
 *  - the operation said why, in one sentence that names the cause;
 *  - nodes and claims are what they were before it;
 *  - once calls go well again, the image opens, its check finds leaks at most, what a flush had
 *    promised is there, and the operation succeeds.
 *
 * An operation is one FaultCase; see tests/fault/README.md.
 */
#ifndef TESTS_UNIT_LAB_FAULT_LAB_H
#define TESTS_UNIT_LAB_FAULT_LAB_H

#include "lab.h"

#define FAULT_GUARD 5000 /* no operation has so many calls */

typedef struct FaultRun FaultRun;

typedef struct FaultCase {
    const char *path;
    const char *create[4];  /* JSON for blockdev-create; file 'f' in memory is node 'file-f' */
    const char *open;       /* JSON of the stack; NULL: co_operate opens what it needs */
    int64_t disk_bytes;     /* of file "disk" when nothing creates it */
    bool no_check;          /* the format has no check */
    bool keeps_length;      /* the stack's user does not claim the right to resize */
    bool may_stay_writable; /* a node that was made so, if flushing fails for good */
    const char *kinds;      /* calls that fail, as MemFault.kinds; NULL: all */
    /* Once, on the fresh image, the stack being open; may be NULL. */
    void coroutine_fn (*co_prepare)(FaultRun *r);
    /* True, or false with @errp set.  Called again after a failure. */
    bool coroutine_fn (*co_operate)(FaultRun *r, Error **errp);
    /* Of the image, opened again as r->user; @done: the operation has succeeded.  May be NULL. */
    void coroutine_fn (*co_judge)(FaultRun *r, bool done);
} FaultCase;

struct FaultRun {
    const FaultCase *k;
    MemUser *user;      /* of the stack; NULL while it is closed */
    GHashTable *fresh;  /* name of a file -> GBytes before the operation */
    const MemFault *mode;
    guint n;            /* the call that fails */
    guint failures;     /* attempts that failed */
};

static const MemFault fault_modes[] = {
    { .kinds = "rwdtf", .error = EIO },
    { .kinds = "wt", .error = ENOSPC },
    { .kinds = "rwdtf", .error = EIO, .persists = true },
    { .kinds = "wt", .error = ENOSPC, .persists = true },
};

/* ---- what must not change -------------------------------------------------------------------- */

static inline bool fault_add_claim(const BdrvClaim *claim, void *opaque)
{
    g_autofree char *uses = bdrv_rights_text(claim->uses);
    g_autofree char *forbids = bdrv_rights_text(claim->forbids);
    g_autofree char *holder = bdrv_claim_holder(claim);

    g_ptr_array_add(opaque, g_strdup_printf("%s uses %s, forbids %s", holder, uses, forbids));
    return true;
}

static inline int fault_compare_lines(gconstpointer a, gconstpointer b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

/* All nodes and all claims on them, as text. */
static inline char *fault_claims(void)
{
    g_autoptr(GPtrArray) lines = g_ptr_array_new_with_free_func(g_free);

    for (BlockDriverState *bs = bdrv_next_node(NULL); bs; bs = bdrv_next_node(bs)) {
        g_autoptr(GPtrArray) claims = g_ptr_array_new_with_free_func(g_free);

        bdrv_claim_foreach(bs, fault_add_claim, claims);
        g_ptr_array_sort(claims, fault_compare_lines);
        g_ptr_array_add(claims, NULL);
        g_autofree char *text = g_strjoinv("; ", (char **)claims->pdata);
        g_ptr_array_add(lines, g_strdup_printf("%s: %s", bdrv_get_node_name(bs), text));
    }
    g_ptr_array_sort(lines, fault_compare_lines);
    g_ptr_array_add(lines, NULL);
    return g_strjoinv("\n", (char **)lines->pdata);
}

/* ---- files ----------------------------------------------------------------------------------- */

static inline void fault_keep_files(FaultRun *r)
{
    GHashTableIter iter;
    gpointer name, file;

    r->fresh = g_hash_table_new_full(g_str_hash, g_str_equal, g_free,
                                     (GDestroyNotify)g_bytes_unref);
    g_hash_table_iter_init(&iter, mem_files);
    while (g_hash_table_iter_next(&iter, &name, &file)) {
        const GByteArray *data = ((MemFile *)file)->data;

        g_hash_table_insert(r->fresh, g_strdup(name), g_bytes_new(data->data, data->len));
    }
}

static inline void fault_restore_files(const FaultRun *r)
{
    GHashTableIter iter;
    gpointer name, file;

    g_hash_table_iter_init(&iter, mem_files);
    while (g_hash_table_iter_next(&iter, &name, &file)) {
        GBytes *bytes = g_hash_table_lookup(r->fresh, name);
        size_t len = 0;
        const void *data = bytes ? g_bytes_get_data(bytes, &len) : NULL;

        mem_set_content(name, data, len);
    }
}

/* ---- one attempt ----------------------------------------------------------------------------- */

static inline void coroutine_fn fault_co_open(FaultRun *r)
{
    if (r->k->open) {
        r->user = lab_co_use(r->k->open, BDRV_O_RDWR | BDRV_O_UNMAP);
    }
    if (r->user && r->k->keeps_length) {
        lab_co_keep_length(r->user);
    }
}

static inline void coroutine_fn fault_co_close(FaultRun *r)
{
    if (r->user) {
        mem_co_unuse(g_steal_pointer(&r->user));
    }
}

/* The sentence has the cause, and is one. */
static inline void fault_check_error(const FaultRun *r, Error *err)
{
    const char *text;

    g_assert_nonnull(err);
    text = error_get_pretty(err);
    if (!strstr(text, g_strerror(r->mode->error)) || strchr(text, '\n') ||
        g_str_has_suffix(text, ".")) {
        g_error("call %u: the error is '%s'", r->n, text);
    }
}

static inline void coroutine_fn fault_co_judge(FaultRun *r, bool done)
{
    fault_co_open(r);
    if (r->user && !r->k->no_check) {
        lab_co_check(r->user);
    }
    if (r->k->co_judge) {
        r->k->co_judge(r, done);
    }
    fault_co_close(r);
}

/* Returns whether there was a call to fail. */
static inline bool coroutine_fn fault_co_attempt(FaultRun *r)
{
    g_autoptr(Error) err = NULL;
    bool ok, hit;

    fault_restore_files(r);
    fault_co_open(r);
    g_autofree char *before = fault_claims();

    mem_fault = *r->mode;
    mem_fault.at = r->n;
    mem_fault.kinds = r->k->kinds ? r->k->kinds : r->mode->kinds;
    ok = r->k->co_operate(r, &err);
    lab_co_settle(); /* may fail, too */
    hit = mem_fault.hits > 0;
    mem_fault.at = 0;

    if (!ok) {
        g_assert_true(hit);
        fault_check_error(r, err);
        g_autofree char *after = fault_claims();
        if (!r->k->may_stay_writable || !r->mode->persists) {
            g_assert_cmpstr(after, ==, before);
        }
        r->failures++;
    } else {
        g_assert_null(err);
    }
    fault_co_close(r);
    fault_co_judge(r, ok);
    if (!ok) {
        fault_co_open(r);
        g_assert_true(r->k->co_operate(r, &error_abort));
        fault_co_close(r);
        fault_co_judge(r, true);
    }
    return hit;
}

/* ---- main ------------------------------------------------------------------------------------ */

static const FaultCase *fault_case;

static inline void coroutine_fn fault_co_case(void)
{
    const FaultCase *k = fault_case;
    FaultRun r = { .k = k };

    for (size_t i = 0; i < ARRAY_SIZE(k->create) && k->create[i]; i++) {
        lab_co_create(k->create[i]);
    }
    if (k->disk_bytes) {
        mem_resize(mem_file("disk")->data, k->disk_bytes);
    }
    mem_file("disk");
    fault_co_open(&r);
    if (k->co_prepare) {
        k->co_prepare(&r);
    }
    fault_co_close(&r);
    fault_keep_files(&r);
    for (size_t m = 0; m < ARRAY_SIZE(fault_modes); m++) {
        guint attempts = 0;

        r.mode = &fault_modes[m];
        for (r.n = 1; fault_co_attempt(&r); r.n++) {
            g_assert_cmpuint(attempts++, <, FAULT_GUARD);
        }
        g_test_message("%s%s: %u calls failed in turn", g_strerror(r.mode->error),
                       r.mode->persists ? " for good" : "", attempts);
    }
    g_assert_cmpuint(r.failures, >, 0);
    g_hash_table_unref(r.fresh);
}

static inline void fault_test_case(gconstpointer data)
{
    fault_case = data;
    mem_run_case(lab_drivers(), fault_co_case);
}

/* The main() of a program with these cases. */
static inline int fault_lab_main(int argc, char **argv, const FaultCase *cases, guint n)
{
    lab_init(&argc, &argv);
    for (guint i = 0; i < n; i++) {
        g_test_add_data_func(cases[i].path, &cases[i], fault_test_case);
    }
    return g_test_run();
}

#endif
