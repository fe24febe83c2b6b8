/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Opening nodes: options, inheritance, references, names, errors. */
#include "qemu/osdep.h"

#include "block/block_int.h"
#include "block/freeze.h"
#include "block/qapi.h"
#include "qemu/cutils.h"
#include "qemu/main-loop.h"
#include "qobject/json-parser.h"
#include "../../lib/testlib.h"

/* ---- frame: each case runs in a coroutine that holds the control lock ------------------------ */

typedef struct Case {
    void (*co_fn)(void);
    bool done;
} Case;

static void coroutine_fn co_case(void *opaque)
{
    Case *c = opaque;
    bdrv_co_control_lock();
    c->co_fn();
    bdrv_co_control_unlock();
    c->done = true;
}

static void run_case(gconstpointer data)
{
    Case c = { .co_fn = (void (*)(void))data };
    bdrv_init();
    co_run(co_case, &c);
    g_assert_true(c.done);
    g_assert_null(bdrv_next_node(NULL));
    bdrv_graph_reset();
}

static BlockDriverState *co_open_json(const char *json, Error **errp)
{
    QDict *options = qobject_to(QDict, qobject_from_json(json, &error_abort));
    return bdrv_co_open(NULL, NULL, options, BDRV_O_RDWR, errp);
}

static void co_expect_error(const char *filename, const char *json, const char *text)
{
    Error *err = NULL;
    QDict *options = json ? qobject_to(QDict, qobject_from_json(json, &error_abort)) : NULL;
    g_assert_null(bdrv_co_open(filename, NULL, options, BDRV_O_RDWR, &err));
    g_assert_cmpstr(error_get_pretty(err), ==, text);
    error_free(err);
}

/* ---- cases ----------------------------------------------------------------------------------- */

static void coroutine_fn co_raw_over_null(void)
{
    g_autoptr(BlockDriverState) bs = co_open_json(
        "{'driver': 'raw', 'node-name': 'r', 'file.driver': 'null-co', 'file.size': '64k'}",
        &error_abort);
    g_assert_cmpint(bdrv_getlength(bs), ==, 65536);
    g_assert_cmpstr(bdrv_get_node_name(bs), ==, "r");
    g_assert_true(bdrv_find_node("r") == bs);
    g_assert_cmpstr(bdrv_get_format_name(bs->file->bs), ==, "null-co");
    g_assert_cmpint(bs->rank, ==, 1);
    g_assert_true(g_str_has_prefix(bs->file->bs->node_name, "#block"));
    g_assert_cmpstr(bdrv_get_filename(bs), ==, "json:{\"driver\": \"raw\", \"file\": "
                    "{\"driver\": \"null-co\", \"size\": 65536}}");
}

static void coroutine_fn co_name_of_null(void)
{
    g_autoptr(BlockDriverState) bs = bdrv_co_open("null-co://", NULL, NULL, BDRV_O_RDWR,
                                                  &error_abort);
    g_assert_cmpstr(bdrv_get_format_name(bs), ==, "raw");
    g_assert_true(bs->probed);
    g_assert_cmpstr(bdrv_get_filename(bs), ==, "null-co://");
    g_assert_cmpint(bdrv_getlength(bs), ==, GiB);
}

static void coroutine_fn co_json_name(void)
{
    g_autoptr(BlockDriverState) bs = bdrv_co_open(
        "json:{\"driver\": \"raw\", \"offset\": 4096, \"file\": {\"driver\": \"null-co\", "
        "\"size\": 8192}}", NULL, NULL, 0, &error_abort);
    g_assert_cmpint(bdrv_getlength(bs), ==, 4096);
    g_assert_true(bdrv_is_read_only(bs) && bdrv_is_read_only(bs->file->bs));
}

static void coroutine_fn co_inherit(void)
{
    g_autoptr(BlockDriverState) bs = co_open_json(
        "{'driver': 'raw', 'read-only': true, 'cache': {'direct': true}, "
        "'file': {'driver': 'null-co', 'cache': {'no-flush': true}}}", &error_abort);
    int flags = bdrv_get_open_flags(bs->file->bs);
    g_assert_true(bdrv_is_read_only(bs->file->bs));
    g_assert_cmphex(flags & (BDRV_O_NOCACHE | BDRV_O_NO_FLUSH | BDRV_O_UNMAP), ==,
                    BDRV_O_NOCACHE | BDRV_O_NO_FLUSH | BDRV_O_UNMAP);
    g_assert_cmphex(bdrv_get_open_flags(bs) & (BDRV_O_NO_FLUSH | BDRV_O_UNMAP), ==, 0);
}

static void coroutine_fn co_reference(void)
{
    g_autoptr(BlockDriverState) file = co_open_json("{'driver': 'null-co', 'node-name': 'f'}",
                                                    &error_abort);
    g_autoptr(BlockDriverState) bs = co_open_json("{'driver': 'raw', 'file': 'f'}", &error_abort);
    g_assert_true(bs->file->bs == file);
    g_assert_cmpint(file->refcnt, ==, 2);
}

static void coroutine_fn co_errors(void)
{
    g_autoptr(BlockDriverState) taken = co_open_json("{'driver': 'null-co', 'node-name': 'f'}",
                                                     &error_abort);
    co_expect_error(NULL, "{'driver': 'nosuch'}", "Unknown driver 'nosuch'");
    co_expect_error(NULL, "{}", "Must specify either driver or file");
    co_expect_error("foo:bar", NULL, "Unknown protocol 'foo'");
    co_expect_error("json:{bad", NULL,
                    "Could not parse the JSON options: JSON parse error, invalid keyword 'bad'");
    co_expect_error("json:{\"driver\":\"raw\"}", NULL,
                    "A block device must be specified for \"file\"");
    co_expect_error(NULL, "{'driver': 'raw', 'file': 'nope'}",
                    "Cannot find device='nope' nor node-name='nope'");
    co_expect_error(NULL, "{'driver': 'raw', 'node-name': 'me', 'file': 'me'}",
                    "Cannot find device='me' nor node-name='me'");
    co_expect_error(NULL, "{'driver': 'raw', 'node-name': 'me', 'file': {'driver': 'null-co', "
                    "'node-name': 'me'}}", "Duplicate nodes with node-name='me'");
    co_expect_error(NULL, "{'driver': 'raw', 'bogus': 1, 'file.driver': 'null-co'}",
                    "Block format 'raw' does not support the option 'bogus'");
    co_expect_error(NULL, "{'driver': 'raw', 'file.driver': 'null-co', 'file.x': '1'}",
                    "Block protocol 'null-co' doesn't support the option 'x'");
    co_expect_error(NULL, "{'driver': 'null-co', 'node-name': 'f'}",
                    "Duplicate nodes with node-name='f'");
    co_expect_error(NULL, "{'driver': 'null-co', 'node-name': '9x'}", "Invalid node-name: '9x'");
    co_expect_error(NULL, "{'driver': 'null-co', 'node-name': ''}", "Invalid node-name: ''");
    co_expect_error(NULL, "{'driver': 'null-co', 'node-name': "
                    "'xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx'}", "Node name too long");
    co_expect_error(NULL, "{'driver': 'null-co', 'detect-zeroes': 'unmap'}",
                    "setting detect-zeroes to unmap is not allowed without setting discard "
                    "operation to unmap");
    co_expect_error(NULL, "{'driver': 'null-co', 'force-share': true}",
                    "force-share=on can only be used with read-only images");
    co_expect_error(NULL, "{'driver': 'raw', 'offset': '2M', 'file.driver': 'null-co', "
                    "'file.size': '1M'}", "Offset (2097152) cannot be greater than size of the "
                    "containing file (1048576)");
    co_expect_error(NULL, "{'driver': 'raw', 'size': 1000, 'file.driver': 'null-co', "
                    "'file.size': '1M'}", "Specified size is not multiple of 512");
    co_expect_error(NULL, "{'driver': 'raw', 'offset': '512k', 'size': '1M', 'file.driver': "
                    "'null-co', 'file.size': '1M'}", "The sum of offset (524288) and size "
                    "(1048576) has to be smaller or equal to the  actual size of the containing "
                    "file (1048576)");
}

static void coroutine_fn co_nesting_is_limited(void)
{
    GString *json = g_string_new("{'driver': 'null-co'}");
    for (int i = 0; i < 200; i++) {
        g_string_prepend(json, "{'driver': 'raw', 'file': ");
        g_string_append(json, "}");
    }
    co_expect_error(NULL, json->str, "Block options are nested more than 40 levels deep");
    g_string_free(json, TRUE);
}

/* Each is named, so this is no nesting but a tall graph. */
static void coroutine_fn co_tall_graph(void)
{
    BlockDriverState *bs = co_open_json("{'driver': 'null-co', 'node-name': 'n0'}", &error_abort);
    for (int i = 1; i <= 1000; i++) {
        g_autofree char *json = g_strdup_printf(
            "{'driver': 'raw', 'node-name': 'n%d', 'file': 'n%d'}", i, i - 1);
        BlockDriverState *above = co_open_json(json, &error_abort);
        bdrv_unref(bs);
        bs = above;
    }
    g_assert_cmpint(bs->rank, ==, 1000);
    bdrv_unref(bs);
}

/* ---- reopening raw --------------------------------------------------------------------------- */

static void coroutine_fn co_reopen_raw(void)
{
    Error *err = NULL;
    g_autoptr(BlockDriverState) f = co_open_json(
        "{'driver': 'null-co', 'node-name': 'f', 'size': '1M'}", &error_abort);
    g_autoptr(BlockDriverState) g = co_open_json(
        "{'driver': 'null-co', 'node-name': 'g', 'size': '2M'}", &error_abort);
    g_autoptr(BlockDriverState) r = co_open_json(
        "{'driver': 'raw', 'node-name': 'r', 'file': 'f'}", &error_abort);

    g_assert_true(bdrv_co_reopen(r, qdict_from_jsonf_nofail(
        "{'driver': 'raw', 'node-name': 'r', 'file': 'f', 'offset': 65536, 'size': 65536}"), false,
        &error_abort));
    g_assert_cmpint(bdrv_getlength(r), ==, 65536);
    /* All of it or nothing: the other file is there, the window is not. */
    g_assert_false(bdrv_co_reopen(r, qdict_from_jsonf_nofail(
        "{'driver': 'raw', 'node-name': 'r', 'file': 'g', 'offset': 4194304}"), false, &err));
    error_free(err);
    g_assert_true(r->file->bs == f);
    g_assert_cmpint(bdrv_getlength(r), ==, 65536);
    g_assert_true(bdrv_co_reopen(r, qdict_from_jsonf_nofail(
        "{'driver': 'raw', 'node-name': 'r', 'file': 'g'}"), false, &error_abort));
    g_assert_true(r->file->bs == g);
    g_assert_cmpint(bdrv_getlength(r), ==, 2 * MiB);
    g_assert_cmpint(f->refcnt, ==, 1);
}

/* Options of a node go down to what was opened with it, and to nobody else's. */
static void coroutine_fn co_reopen_heirs(void)
{
    g_autoptr(BlockDriverState) owner = co_open_json(
        "{'driver': 'raw', 'node-name': 'n', 'file': {'driver': 'null-co', 'node-name': 'f'}}",
        &error_abort);
    g_autoptr(BlockDriverState) other = co_open_json(
        "{'driver': 'raw', 'node-name': 'm', 'file': 'f'}", &error_abort);
    BlockDriverState *f = bdrv_find_node("f");

    g_assert_true(bdrv_co_reopen_set_read_only(other, true, &error_abort));
    g_assert_false(f->read_only);
    g_assert_true(bdrv_co_reopen_set_read_only(owner, true, &error_abort));
    g_assert_true(f->read_only);
}

/* Where in the list somebody names the child does not matter. */
static void coroutine_fn co_reopen_in_any_order(void)
{
    g_autoptr(BlockDriverState) n = co_open_json(
        "{'driver': 'raw', 'node-name': 'n', 'file': {'driver': 'null-co', 'node-name': 'f'}}",
        &error_abort);
    BlockDriverState *f = bdrv_find_node("f");

    for (int order = 0; order < 2; order++) {
        BdrvReopenQueue *queue = NULL;

        for (int i = 0; i < 2; i++) {
            bool is_child = i == order;
            QDict *options = qdict_from_jsonf_nofail(
                is_child ? "{'driver': 'null-co', 'node-name': 'f'}"
                         : "{'driver': 'raw', 'node-name': 'n', 'file': 'f', "
                           "'cache': {'direct': true}}");

            queue = bdrv_reopen_queue(queue, is_child ? f : n, options, false);
        }
        g_assert_true(bdrv_co_reopen_multiple(queue, &error_abort));
        g_assert_true(f->open_flags & BDRV_O_NOCACHE);
        g_assert_true(bdrv_co_reopen(n, qdict_from_jsonf_nofail(
            "{'driver': 'raw', 'node-name': 'n', 'file': 'f'}"), false, &error_abort));
        g_assert_false(f->open_flags & BDRV_O_NOCACHE);
    }
}

/* What a node is called, and whether it is active, is not changed by the way: nor ignored. */
static void coroutine_fn co_reopen_fixed(void)
{
    g_autoptr(BlockDriverState) bs = co_open_json(
        "{'driver': 'raw', 'file': {'driver': 'null-co'}}", &error_abort);
    static const char *const wrong[] = { "{'node-name': 'x'}", "{'file.node-name': 'x'}",
                                         "{'active': false}", "{'file.active': false}" };

    for (size_t i = 0; i < ARRAY_SIZE(wrong); i++) {
        Error *err = NULL;

        g_assert_false(bdrv_co_reopen(bs, qdict_from_jsonf_nofail(wrong[i]), true, &err));
        g_assert_cmpstr(error_get_pretty(err), ==, i < 2 ? "Cannot change the option 'node-name'"
                                                         : "Cannot change the option 'active'");
        error_free(err);
    }
    g_assert_true(bdrv_co_reopen(bs, qdict_from_jsonf_nofail("{'active': true}"), true,
                                 &error_abort));
}

/* ---- on host files --------------------------------------------------------------------------- */

static char *dir_name; /* of the case's folder */

static char *path_of(const char *name)
{
    return g_build_filename(dir_name, name, NULL);
}

static void coroutine_fn co_create(const char *path, const char *options, int64_t size)
{
    BdrvImgCreate args = {
        .filename = path,
        .format = "raw",
        .options = options,
        .size = size,
        .quiet = true,
    };
    g_assert_true(bdrv_co_img_create(&args, &error_abort));
}

static void expect_create_error(const BdrvImgCreate *args, const char *text)
{
    Error *err = NULL;
    g_assert_false(bdrv_co_img_create(args, &err));
    g_assert_cmpstr(error_get_pretty(err), ==, text);
    error_free(err);
}

static void coroutine_fn co_create_errors(void)
{
    g_autofree char *path = path_of("a.img");
    expect_create_error(&(BdrvImgCreate) { .filename = path, .format = "nosuch", .size = 1 },
                        "Unknown file format 'nosuch'");
    expect_create_error(&(BdrvImgCreate) { .filename = path, .format = "raw", .size = -1 },
                        "Image creation needs a size parameter");
    expect_create_error(&(BdrvImgCreate) { .filename = path, .format = "raw", .size = 1,
                                           .options = "bogus=1" }, "Invalid parameter 'bogus'");
    expect_create_error(&(BdrvImgCreate) { .filename = path, .format = "raw", .size = 1,
                                           .options = "size=2" },
                        "The image size must be specified only once");
    expect_create_error(&(BdrvImgCreate) { .filename = path, .format = "raw", .size = 1,
                                           .backing_filename = "b", .backing_format = "raw" },
                        "Backing file not supported for file format 'raw'");
    expect_create_error(&(BdrvImgCreate) { .filename = "null-co://", .format = "null-co",
                                           .size = 1 },
                        "Format driver 'null-co' does not support image creation");
    g_assert_false(g_file_test(path, G_FILE_TEST_EXISTS));
}

static BdrvOwner user_owner(BdrvGate *gate)
{
    return (BdrvOwner) { .kind = BDRV_OWNER_USER, .description = "test" };
}

static const BdrvGateOps user_ops = { .owner = user_owner };

static int coroutine_fn co_write_start(BlockDriverState *bs, const char *text, size_t len)
{
    BdrvGate *gate = g_new0(BdrvGate, 1);
    BdrvChildSpec spec = {
        .name = "root",
        .role = BDRV_CHILD_FILTERED,
        .gate = gate,
        .perm = BLK_PERM_WRITE | BLK_PERM_CONSISTENT_READ,
        .shared = BLK_PERM_ALL,
    };
    bdrv_gate_init(gate, &user_ops);
    BdrvChild *edge = bdrv_co_attach_child(&spec, bdrv_ref(bs), &error_abort);
    g_autofree char *buf = g_malloc0(len);
    memcpy(buf, text, strlen(text));
    bdrv_gate_co_enter(gate);
    int ret = bdrv_co_pwrite(edge, 0, len, buf, 0);
    bdrv_gate_leave(gate);
    bdrv_co_detach_child(edge);
    bdrv_gate_done(gate);
    g_free(gate);
    return ret;
}

/* A stand-in for a format, so that the case does not depend on which ones are built. */
static int magic_probe(const uint8_t *buf, size_t len, const char *filename)
{
    return len >= 5 && memcmp(buf, "MAGIC", 5) == 0 ? 100 : 0;
}

static BlockDriver magic = { .format_name = "magic", .bdrv_probe = magic_probe };
static BlockDriver *drivers_and_magic[32] = { &magic };

static void coroutine_fn co_guessed_raw(void)
{
    g_autofree char *path = path_of("a.img");
    for (int i = 0; bdrv_drivers[i]; i++) {
        drivers_and_magic[i + 1] = bdrv_drivers[i];
    }
    bdrv_register_drivers(drivers_and_magic);
    co_create(path, NULL, 1 * MiB);
    BlockDriverState *bs = bdrv_co_open(path, NULL, NULL, BDRV_O_RDWR, &error_abort);
    g_assert_cmpstr(bdrv_get_filename(bs), ==, path);
    g_assert_cmpint(co_write_start(bs, "MAGIC", 512), ==, -EPERM);
    g_assert_cmpint(co_write_start(bs, "MAGIC", 8), ==, -EPERM);
    g_assert_cmpint(co_write_start(bs, "MAGIC", 64 * KiB), ==, -EPERM);
    g_assert_cmpint(co_write_start(bs, "harmless", 64 * KiB), ==, 0);
    bdrv_unref(bs);
    bdrv_co_control_unlock(); /* closes it */
    bdrv_co_control_lock();

    QDict *options = qdict_new();
    qdict_put_str(options, "driver", "raw");
    bs = bdrv_co_open(path, NULL, options, BDRV_O_RDWR, &error_abort);
    g_assert_cmpint(co_write_start(bs, "MAGIC", 512), ==, 0);
    bdrv_unref(bs);
    g_assert_cmpint(unlink(path), ==, 0);
}

/* What is guessed for a child is no safer than what is guessed for the node on top. */
static void coroutine_fn co_guessed_children(void)
{
    static const struct {
        const char *options;
        bool guessed;
    } cases[] = {
        { "{'driver': 'quorum', 'vote-threshold': 1, 'children': [{'file.filename': %s}]}", true },
        { "{'driver': 'quorum', 'vote-threshold': 1, 'children': [{'driver': 'raw', "
          "'file.filename': %s}]}", false },
        { "{'driver': 'blkverify', 'raw.driver': 'null-co', 'raw.size': 1048576, "
          "'test.node-name': 'test', 'test.file.filename': %s}", true },
        { "{'driver': 'quorum', 'vote-threshold': 1, 'children': [{'driver': 'quorum', "
          "'vote-threshold': 1, 'children': [{'file.filename': %s}]}]}", true },
        { "{'driver': 'copy-on-read', 'file.file.filename': %s}", false },
        { "{'driver': 'copy-on-read', 'file.filename': %s}", false },
    };
    g_autofree char *path = path_of("a.img");
    bdrv_register_drivers(drivers_and_magic);
    co_create(path, NULL, 1 * MiB);
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        QDict *options = qobject_to(QDict, qobject_from_jsonf_nofail(cases[i].options, path));
        BlockDriverState *bs = bdrv_co_open(NULL, NULL, options, BDRV_O_RDWR, NULL);
        if (!bs) {
            g_assert_nonnull(strstr(cases[i].options, "file.file.")); /* none below a filter */
            continue;
        }
        if (bdrv_find_node("test")) {
            g_assert_true(bdrv_find_node("test")->probed); /* a refused write would end us */
            bdrv_unref(bs);
            continue;
        }
        g_assert_cmpint(co_write_start(bs, "MAGIC", 512), ==, cases[i].guessed ? -EPERM : 0);
        g_assert_cmpint(co_write_start(bs, "harmless", 512), ==, 0);
        bdrv_unref(bs);
        bdrv_co_control_unlock(); /* closes it */
        bdrv_co_control_lock();
    }
    g_assert_cmpint(unlink(path), ==, 0);
}

static void coroutine_fn co_text_of_info(void)
{
    g_autofree char *path = path_of("a.img");
    co_create(path, NULL, 1 * MiB);
    g_autoptr(BlockDriverState) bs = bdrv_co_open(path, NULL, NULL, 0, &error_abort);
    g_autoptr(BlockGraphInfo) info = bdrv_co_graph_info(bs, &error_abort);
    g_autoptr(GString) text = g_string_new(NULL);
    bdrv_graph_info_dump(info, 0, text);
    /* Only some file systems have it. */
    const char *hint = strstr(text->str, "    Format specific information:\n"
                                         "        extent size hint: ");
    g_string_truncate(text, hint ? (gsize)(hint - text->str) : text->len);
    g_autofree char *allocated = size_to_str(info->actual_size);
    g_autofree char *expected = g_strdup_printf(
        "image: %s\nfile format: raw\nvirtual size: 1 MiB (1048576 bytes)\ndisk size: %s\n"
        "Child node '/file':\n    filename: %s\n    protocol type: file\n"
        "    file length: 1 MiB (1048576 bytes)\n    disk size: %s\n",
        path, allocated, path, allocated);
    g_assert_cmpstr(text->str, ==, expected);
    g_assert_cmpint(unlink(path), ==, 0);
}

static void coroutine_fn co_whitelist(void)
{
    static const char *const rw[] = { "null-co", NULL }, *const ro[] = { "raw", NULL };
    const char *raw = "{'driver': 'raw', 'file.driver': 'null-co'}";
    bdrv_set_whitelist(rw, ro);
    co_expect_error(NULL, raw, "Driver 'raw' can only be used for read-only devices");
    co_expect_error(NULL, "{'driver': 'null-aio'}", "Driver 'null-aio' is not whitelisted");
    co_expect_error(NULL, "{'driver': 'null-aio', 'read-only': true}",
                    "Driver 'null-aio' is not whitelisted");
    BlockDriverState *bs = co_open_json("{'driver': 'null-co'}", &error_abort);
    bdrv_unref(bs);
    bs = co_open_json("{'driver': 'raw', 'auto-read-only': true, 'file.driver': 'null-co'}",
                      &error_abort);
    g_assert_true(bdrv_is_read_only(bs));
    Error *err = NULL;
    g_assert_false(bdrv_co_reopen(bs, qdict_from_jsonf_nofail("{'read-only': false, "
                                                              "'auto-read-only': false}"),
                                  true, &err));
    g_assert_cmpstr(error_get_pretty(err), ==,
                    "Driver 'raw' can only be used for read-only devices");
    error_free(err);
    bdrv_unref(bs);
    bdrv_set_whitelist(NULL, NULL);
    bs = co_open_json(raw, &error_abort);
    bdrv_unref(bs);
}

static void run_file_case(gconstpointer data)
{
    g_autofree char *dir = g_dir_make_tmp("test-open-XXXXXX", NULL);
    dir_name = dir;
    run_case(data);
    g_assert_cmpint(rmdir(dir), ==, 0);
}

int main(int argc, char **argv)
{
    static const struct {
        const char *path;
        void (*co_fn)(void);
    } cases[] = {
        { "/open/raw/over-null", co_raw_over_null },
        { "/open/name/protocol-is-probed", co_name_of_null },
        { "/open/name/json", co_json_name },
        { "/open/options/are-inherited", co_inherit },
        { "/open/reference/is-shared", co_reference },
        { "/open/errors/say-what-stock-says", co_errors },
        { "/open/nesting/is-limited", co_nesting_is_limited },
        { "/open/graph/a-thousand-levels", co_tall_graph },
        { "/open/whitelist/says-who-may-what", co_whitelist },
        { "/open/reopen/raw-window-and-file", co_reopen_raw },
        { "/open/reopen/follows-the-owner-alone", co_reopen_heirs },
        { "/open/reopen/in-any-order", co_reopen_in_any_order },
        { "/open/reopen/what-is-fixed-is-refused", co_reopen_fixed },
    };
    test_init(&argc, &argv);
    qemu_init_main_loop(&error_abort);
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        g_test_add_data_func(cases[i].path, cases[i].co_fn, run_case);
    }
    g_test_add_data_func("/open/create/errors", co_create_errors, run_file_case);
    g_test_add_data_func("/open/raw/guessed-takes-no-signature", co_guessed_raw, run_file_case);
    g_test_add_data_func("/open/raw/guessed-for-a-child", co_guessed_children, run_file_case);
    g_test_add_data_func("/open/info/text", co_text_of_info, run_file_case);
    return g_test_run();
}
