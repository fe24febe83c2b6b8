/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The registry, with a stand-in for the iothread type. */
#include "qemu/osdep.h"
#include "qapi/gen/qom-types.h"
#include "qapi/user-object.h"
#include "../../lib/testlib.h"

typedef struct Toy {
    UserObject base;
    int64_t poll;
} Toy;

static int alive;

static bool toy_create(UserObject *obj, const ObjectOptions *options, Error **errp)
{
    Toy *toy = (Toy *)obj;

    if (options->u.iothread.has_poll_max_ns && options->u.iothread.poll_max_ns < 0) {
        error_setg(errp, "negative");
        return false;
    }
    toy->poll = options->u.iothread.poll_max_ns;
    alive++;
    return true;
}

static void toy_destroy(UserObject *obj)
{
    alive--;
}

static const UserObjectType toy_type = {
    .name = "iothread",
    .size = sizeof(Toy),
    .create = toy_create,
    .destroy = toy_destroy,
};

static void refuse_add(const char *str, const char *message)
{
    Error *err = NULL;

    g_assert_false(user_object_add_from_str(str, &err));
    g_assert_cmpstr(error_get_pretty(err), ==, message);
    error_free(err);
}

static void refuse_del(const char *id, const char *message)
{
    Error *err = NULL;

    g_assert_false(user_object_del(id, &err));
    g_assert_cmpstr(error_get_pretty(err), ==, message);
    error_free(err);
}

static void test_unknown_type(void)
{
    refuse_add("iothread,id=x", "Object type 'iothread' is not available in this program");
    refuse_add("foo,id=x", "Parameter 'qom-type' does not accept value 'foo'");
}

static void test_add_del(void)
{
    Toy *toy;

    user_object_register_type(&toy_type);
    g_assert_true(user_object_add_from_str("iothread,id=io0,poll-max-ns=7", &error_abort));
    g_assert_true(user_object_add_from_str("{'qom-type': 'iothread', 'id': 'io1'}",
                                           &error_abort));
    toy = (Toy *)user_object_find("io0");
    g_assert_cmpint(toy->poll, ==, 7);
    g_assert_true(user_object_find("io0") == &toy->base);
    refuse_add("iothread,id=io0",
               "attempt to add duplicate property 'io0' to object (type 'container')");
    refuse_add("iothread", "Parameter 'id' is missing");
    refuse_add("iothread,id=1x", "Parameter 'id' expects an identifier");
    refuse_add("iothread,id=x,poll-max-ns=-1", "negative");
    refuse_add("iothread,id=x,bogus=1", "Parameter 'bogus' is unexpected");
    g_assert_null(user_object_find("x"));
    g_assert_true(user_object_del("io1", &error_abort));
    refuse_del("io1", "object 'io1' not found");
    g_assert_cmpint(alive, ==, 1);
}

static void test_in_use(void)
{
    UserObject *obj = user_object_use("io0", "iothread", &error_abort);
    Error *err = NULL;

    refuse_del("io0", "object 'io0' is in use, can not be deleted");
    user_object_release(obj);
    g_assert_null(user_object_use("io0", "secret", &err));
    g_assert_cmpstr(error_get_pretty(err), ==,
                    "Object 'io0' is not of type 'secret' but 'iothread'");
    error_free(err);
    user_object_del_all();
    g_assert_cmpint(alive, ==, 0);
}

int main(int argc, char **argv)
{
    test_init(&argc, &argv);
    g_test_add_func("/user-object/add/type-nobody-registered", test_unknown_type);
    g_test_add_func("/user-object/add/and-delete", test_add_del);
    g_test_add_func("/user-object/delete/refused-while-in-use", test_in_use);
    return g_test_run();
}
