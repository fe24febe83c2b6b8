/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Failing calls while encrypted images are made, opened and get other passwords. */
#include "qemu/osdep.h"

#include "fault-lab.h"
#include "qemu/iszero.h"
#include "secrets.h"

#define FILE_OF(name) "{'driver': 'file', 'filename': '" name "'}"
#define OPEN "{'driver': 'qcow2', 'file': " FILE_OF("disk") ", " \
    "'encrypt': {'format': 'luks', 'key-secret': 'keeper'}}"
#define MAKE "{'driver': 'qcow2', 'file': 'file-disk', 'size': 262144, 'cluster-size': 4096, " \
    "'encrypt': {'format': 'luks', 'key-secret': 'keeper', 'iter-time': 1, " \
    "'cipher-alg': 'aes-128', 'cipher-mode': 'cbc'}}"

/* ---- making -------------------------------------------------------------------------------- */

static bool coroutine_fn co_create(FaultRun *r, Error **errp)
{
    QDict *dict = lab_parse(MAKE);
    g_autoptr(Visitor) v = NULL;
    BlockdevCreateOptions *options = NULL;
    bool ok;

    qdict_put(dict, "file", lab_parse(FILE_OF("disk")));
    v = qobject_input_visitor_new(QOBJECT(dict));
    visit_type_BlockdevCreateOptions(v, NULL, &options, &error_abort);
    ok = bdrv_co_create(options, errp);
    qapi_free_BlockdevCreateOptions(options);
    qobject_unref(dict);
    return ok;
}

static void coroutine_fn co_judge_made(FaultRun *r, bool done)
{
    uint8_t buf[4096];

    if (done) {
        MemUser *user = lab_co_use(OPEN, BDRV_O_RDWR);

        g_assert_cmpint(lab_co_check(user), ==, 0);
        g_assert_cmpint(bdrv_co_pread(user->root, 0, sizeof(buf), buf, 0), ==, 0);
        g_assert_true(buffer_is_zero(buf, sizeof(buf)));
        mem_co_unuse(user);
    }
}

/* ---- opening ------------------------------------------------------------------------------- */

static bool coroutine_fn co_open(FaultRun *r, Error **errp)
{
    BlockDriverState *bs = bdrv_co_open(NULL, NULL, lab_parse(OPEN), BDRV_O_RDWR, errp);

    bdrv_unref(bs);
    lab_co_settle();
    return bs;
}

/* ---- key slots ----------------------------------------------------------------------------- */

static bool coroutine_fn co_amend(FaultRun *r, const char *text, Error **errp)
{
    BlockDriver *drv = bdrv_find_format("qcow2");
    g_autoptr(QemuOpts) opts = qemu_opts_create(bdrv_amend_opts(drv), NULL, false, &error_abort);

    g_assert_true(qemu_opts_do_parse(opts, text, NULL, &error_abort));
    return bdrv_co_amend_options(r->user->bs, opts, true, NULL, errp);
}

/* Data that must stay readable, and a second password. */
static void coroutine_fn co_prepare(FaultRun *r)
{
    uint8_t buf[8192];

    memset(buf, 0x5a, sizeof(buf));
    g_assert_cmpint(bdrv_co_pwrite(r->user->root, 512, sizeof(buf), buf, 0), ==, 0);
    g_assert_true(co_amend(r, "encrypt.state=active,encrypt.new-secret=a,encrypt.iter-time=1",
                           &error_abort));
}

static bool coroutine_fn co_add(FaultRun *r, Error **errp)
{
    return co_amend(r, "encrypt.state=active,encrypt.keyslot=6,encrypt.new-secret=b,"
                    "encrypt.iter-time=1", errp);
}

static bool coroutine_fn co_replace(FaultRun *r, Error **errp)
{
    return co_amend(r, "encrypt.state=active,encrypt.keyslot=1,encrypt.new-secret=b,"
                    "encrypt.iter-time=1", errp);
}

static bool coroutine_fn co_opens(const char *secret)
{
    g_autofree char *quoted = g_strdup_printf("'%s'", secret);
    g_auto(GStrv) parts = g_strsplit(OPEN, "'keeper'", -1);
    g_autofree char *text = g_strjoinv(quoted, parts);
    BlockDriverState *bs = bdrv_co_open(NULL, NULL, lab_parse(text), 0, NULL);

    bdrv_unref(bs);
    return bs;
}

static void coroutine_fn co_judge_slots(FaultRun *r, bool done)
{
    uint8_t buf[8192];

    g_assert_true(co_opens("b") || (!done && co_opens("a")));
    g_assert_cmpint(bdrv_co_pread(r->user->root, 512, sizeof(buf), buf, 0), ==, 0);
    for (size_t i = 0; i < sizeof(buf); i++) {
        g_assert_cmphex(buf[i], ==, 0x5a);
    }
}

static const FaultCase cases[] = {
    { .path = "/qcow2/fault/encrypt/create", .disk_bytes = 1, .co_operate = co_create,
      .co_judge = co_judge_made },
    { .path = "/qcow2/fault/encrypt/open", .create = { MAKE }, .co_operate = co_open },
    { .path = "/qcow2/fault/encrypt/add-a-password", .create = { MAKE }, .open = OPEN,
      .co_prepare = co_prepare, .co_operate = co_add, .co_judge = co_judge_slots },
    /* Key material is overwritten dozens of times: for long runs. */
    { .path = "/qcow2/fault/encrypt/replace-a-password", .create = { MAKE }, .open = OPEN,
      .co_prepare = co_prepare, .co_operate = co_replace, .co_judge = co_judge_slots },
};

int main(int argc, char **argv)
{
    guint n = ARRAY_SIZE(cases) - (test_states_wanted() ? 0 : 1);

    return lab_with_secrets() ? fault_lab_main(argc, argv, cases, n) : 0;
}
