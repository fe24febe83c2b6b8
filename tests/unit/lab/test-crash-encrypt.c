/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Power cuts on encrypted images: data, and changes of key slots.  At every instant of an amend
 * each password that shall open the image does; slot 6 of the header lies across two sectors.
 */
#include "qemu/osdep.h"

#include "crash-lab.h"
#include "secrets.h"

#define OPEN(format, secret) \
    "{'driver': 'qcow2', 'encrypt': {'format': '" format "', 'key-secret': '" secret "'}, " \
    "'file': {'driver': 'file', 'filename': 'disk'}}"
#define LUKS "'encrypt': {'format': 'luks', 'key-secret': 'keeper', 'iter-time': 1, " \
    "'cipher-alg': 'aes-128', 'cipher-mode': 'cbc', 'ivgen-alg': 'essiv'}"
#define AES "'encrypt': {'format': 'qcow', 'key-secret': 'keeper'}"
#define MAKE "'driver': 'qcow2', 'file': 'file-disk', 'size': 98304"

/* ---- key slots ----------------------------------------------------------------------------- */

/* Operations recorded when each amend began and ended: those done with slots of secrets a and b. */
typedef struct Slots {
    const char *first;  /* makes "a" a password */
    const char *second; /* takes it away, or replaces it by "b" */
    bool has_b;
    guint a_from, a_until, b_from;
} Slots;

static void coroutine_fn co_amend(BlockDriverState *bs, const char *text)
{
    g_assert_true(lab_co_amend(bs, text, true, &error_abort));
}

static void coroutine_fn co_change_slots(CrashRun *r, Slots slots)
{
    static Slots current;
    Slots *s = r->opaque = &current;

    current = slots;
    s->a_from = s->a_until = s->b_from = UINT_MAX;
    co_amend(r->user->bs, s->first);
    s->a_from = r->log->len;
    s->a_until = r->log->len;
    co_amend(r->user->bs, s->second);
    s->b_from = s->has_b ? r->log->len : UINT_MAX;
}

static bool coroutine_fn co_opens(CrashRun *r, const char *secret)
{
    g_autofree char *quoted = g_strdup_printf("'%s'", secret);
    g_auto(GStrv) parts = g_strsplit(r->k->open, "'keeper'", -1);
    g_autofree char *text = g_strjoinv(quoted, parts);
    BlockDriverState *bs = bdrv_co_open(NULL, NULL, lab_parse(text), 0, NULL);

    bdrv_unref(bs);
    return bs;
}

static void coroutine_fn co_judge_slots(CrashRun *r, MemUser *user, guint cut)
{
    const Slots *s = r->opaque;
    bool a, b;

    if (cut < s->a_from) {
        return; /* what matters then, that the first password opens it, has been seen */
    }
    a = co_opens(r, "a");
    b = s->has_b && co_opens(r, "b");
    g_assert_true(a || cut > s->a_until);
    g_assert_true(b || cut < s->b_from);
    if (s->has_b) {
        g_assert_true(a || b); /* while one replaces the other */
    }
}

/* The write before @cut, or that after it. */
static const MemOp *write_at(const CrashRun *r, guint cut, int step)
{
    for (int64_t i = step < 0 ? (int64_t)cut - 1 : cut; i >= 0 && i < r->log->len; i += step) {
        const MemOp *op = &g_array_index(r->log, MemOp, i);

        if (op->kind == MEM_WRITE) {
            return op;
        }
    }
    return NULL;
}

/* Key material is overwritten dozens of times; it matters before and after that. */
static bool is_not_between_passes(const CrashRun *r, guint cut)
{
    const MemOp *before = write_at(r, cut, -1), *after = write_at(r, cut, 1);

    return !before || !after || before->offset != after->offset;
}

static void coroutine_fn co_replace(CrashRun *r)
{
    co_change_slots(r, (Slots){
        .first = "encrypt.state=active,encrypt.keyslot=6,encrypt.new-secret=a,encrypt.iter-time=1",
        .second = "encrypt.state=active,encrypt.keyslot=6,encrypt.new-secret=b,"
                  "encrypt.iter-time=1",
        .has_b = true,
    });
}

static void coroutine_fn co_come_and_go(CrashRun *r)
{
    co_change_slots(r, (Slots){
        .first = "state=active,keyslot=6,new-secret=a,iter-time=1",
        .second = "state=inactive,old-secret=a",
    });
}

/* A new LUKS disk holds noise. */
static void coroutine_fn co_clear(CrashRun *r)
{
    g_assert_cmpint(bdrv_co_pwrite_zeroes(r->user->root, 0, r->k->disk_bytes, 0), ==, 0);
    g_assert_cmpint(bdrv_co_flush(r->user->bs), ==, 0);
}

/* ---- all ----------------------------------------------------------------------------------- */

static const CrashCase cases[] = {
    { .path = "/qcow2/crash/encrypt/luks",
      .create = { "{" MAKE ", 'cluster-size': 512, " LUKS "}" }, .open = OPEN("luks", "keeper"),
      .disk_bytes = 96 * KiB, .cluster_size = 512, .mix = { 10, 2, 2, 2, 16 }, .rounds = 12,
      .step = 9 },
    { .path = "/qcow2/crash/encrypt/aes",
      .create = { "{" MAKE ", 'cluster-size': 4096, " AES "}" }, .open = OPEN("aes", "keeper"),
      .disk_bytes = 96 * KiB, .cluster_size = 4096, .mix = { 10, 4, 4, 3, 16 }, .rounds = 60,
      .step = 5 },
    { .path = "/qcow2/crash/encrypt/aes-over-a-base", .has_base = true,
      .create = { "{" MAKE ", 'cluster-size': 16384, 'extended-l2': true, 'backing-file': 'base', "
                  "'backing-fmt': 'raw', " AES "}" }, .open = OPEN("aes", "keeper"),
      .disk_bytes = 96 * KiB, .mix = { 10, 4, 0, 3, 16 }, .rounds = 200, .step = 5 },
    { .path = "/qcow2/crash/encrypt/a-password-replaces-another",
      .create = { "{" MAKE ", " LUKS "}" }, .open = OPEN("luks", "keeper"),
      .disk_bytes = 96 * KiB, .mix = { 0, 0, 0, 1, 16 }, .rounds = 1, .step = 1,
      .co_beside = co_replace, .co_judge = co_judge_slots, .wants_cut = is_not_between_passes },
    { .path = "/luks/crash/a-password-comes-and-goes", .no_check = true,
      .create = { "{'driver': 'luks', 'file': 'file-disk', 'size': 65536, 'key-secret': 'keeper', "
                  "'iter-time': 1, 'cipher-alg': 'aes-128', 'cipher-mode': 'cbc'}" },
      .open = "{'driver': 'luks', 'key-secret': 'keeper', 'file': {'driver': 'file', "
              "'filename': 'disk'}}",
      .disk_bytes = 64 * KiB, .mix = { 0, 0, 0, 1, 16 }, .rounds = 1, .step = 1,
      .co_prepare = co_clear, .co_beside = co_come_and_go,
      .co_judge = co_judge_slots, .wants_cut = is_not_between_passes },
};

int main(int argc, char **argv)
{
    return lab_with_secrets() ? crash_lab_main(argc, argv, cases, ARRAY_SIZE(cases)) : 0;
}
