/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Commands, events and introspection of the test schema; handlers are here. */
#include "qemu/osdep.h"
#include "qapi/gen/emit-events.h"
#include "qapi/gen/zoo-commands.h"
#include "qapi/gen/zoo-events.h"
#include "qapi/introspect.h"
#include "qobject/json-parser.h"
#include "qobject/json-writer.h"
#include "../../lib/testlib.h"

/* ---- handlers ---- */

int64_t coroutine_fn qmp_zoo_feed(const char *name, bool has_food, ZooFood food, bool has_amount,
                                  uint64_t amount, Place *where, Error **errp)
{
    if (g_str_equal(name, "nobody")) {
        error_set(errp, ERROR_CLASS_DEVICE_NOT_FOUND, "No animal '%s'", name);
        return 0;
    }
    return (has_food ? food : 100) + (has_amount ? (int64_t)amount : 1000)
        + (where ? where->cage : 10000);
}

void coroutine_fn qmp_zoo_add(Animal *arg, Error **errp)
{
    if (arg->kind == KIND_STONE) {
        error_setg(errp, "Not an animal");
    }
}

PlaceList *coroutine_fn qmp_zoo_list(Error **errp)
{
    PlaceList *list = NULL;

    QAPI_LIST_PREPEND(list, g_new0(Place, 1));
    list->value->cage = 4;
    return list;
}

Place *coroutine_fn qmp_zoo_names(Error **errp)
{
    Place *place = g_new0(Place, 1);

    place->name = g_strdup("n");
    return place;
}

void coroutine_fn qmp_zoo_raw(QDict *args, QObject **ret, Error **errp)
{
    *ret = QOBJECT(qobject_ref(args));
}

void coroutine_fn qmp_zoo_burn(Error **errp)
{
}

/* ---- helpers ---- */

static QmpCommandList *new_commands(void)
{
    QmpCommandList *cmds = qmp_command_list_new();

    qmp_init_zoo_commands(cmds);
    return cmds;
}

static char *text_of(QDict *dict)
{
    return dict ? g_string_free(qobject_to_json(QOBJECT(dict)), FALSE) : NULL;
}

static void assert_response(const QmpCommandList *cmds, bool preconfig, const char *request,
                            const char *expected)
{
    g_autoptr(QObject) obj = qobject_from_json(request, &error_abort);
    g_autoptr(QDict) response = qmp_dispatch(cmds, obj, false, preconfig);
    g_autofree char *text = text_of(response);

    g_assert_cmpstr(text, ==, expected);
}

static void assert_error(const QmpCommandList *cmds, const char *request, const char *class,
                         const char *desc)
{
    g_autofree char *expected =
        g_strdup_printf("{\"error\": {\"class\": \"%s\", \"desc\": \"%s\"}}", class, desc);

    assert_response(cmds, false, request, expected);
}

/* ---- tests ---- */

static void test_results(void)
{
    g_autoptr(QmpCommandList) cmds = new_commands();

    assert_response(cmds, false, "{'execute': 'zoo-feed', 'arguments': {'name': 'x'}}",
                    "{\"return\": 11100}");
    assert_response(cmds, false, "{'execute': 'zoo-feed', 'arguments': {'name': 'x', "
                    "'food': 'x-fish', 'amount': 20, 'where': {'cage': 300}}, 'id': [1, {}]}",
                    "{\"return\": 321, \"id\": [1, {}]}");
    assert_response(cmds, false, "{'execute': 'zoo-list'}", "{\"return\": [{\"cage\": 4}]}");
    assert_response(cmds, false, "{'execute': 'zoo-names', 'id': null}",
                    "{\"return\": {\"cage\": 0, \"name\": \"n\"}, \"id\": null}");
    assert_response(cmds, false, "{'execute': 'zoo-add', 'arguments': {'kind': 'cat', "
                    "'lives': 1}}", "{\"return\": {}}");
    assert_response(cmds, false, "{'execute': 'zoo-raw', 'arguments': {'z': [1]}}",
                    "{\"return\": {\"z\": [1]}}");
    assert_response(cmds, false, "{'execute': 'zoo-burn'}", NULL);
}

static void test_malformed_requests(void)
{
    g_autoptr(QmpCommandList) cmds = new_commands();
    const char *generic = "GenericError";

    assert_error(cmds, "[]", generic, "QMP input must be a JSON object");
    assert_error(cmds, "'x'", generic, "QMP input must be a JSON object");
    assert_error(cmds, "{}", generic, "QMP input lacks member 'execute'");
    assert_error(cmds, "{'foo': 1}", generic, "QMP input member 'foo' is unexpected");
    assert_error(cmds, "{'execute': 17}", generic, "QMP input member 'execute' must be a string");
    assert_error(cmds, "{'execute': 'zoo-list', 'arguments': []}", generic,
                 "QMP input member 'arguments' must be an object");
    assert_error(cmds, "{'exec-oob': 'zoo-list'}", generic,
                 "QMP input member 'exec-oob' is unexpected");
    assert_error(cmds, "{'execute': 'nosuch'}", "CommandNotFound",
                 "The command nosuch has not been found");
}

static void test_argument_errors(void)
{
    g_autoptr(QmpCommandList) cmds = new_commands();

    assert_error(cmds, "{'execute': 'zoo-list', 'arguments': {'x': 1}}", "GenericError",
                 "Parameter 'x' is unexpected");
    assert_error(cmds, "{'execute': 'zoo-feed'}", "GenericError", "Parameter 'name' is missing");
    assert_error(cmds, "{'execute': 'zoo-feed', 'arguments': {'name': 1}}", "GenericError",
                 "Invalid parameter type for 'name', expected: string");
}

static void test_handler_errors(void)
{
    g_autoptr(QmpCommandList) cmds = new_commands();

    assert_error(cmds, "{'execute': 'zoo-feed', 'arguments': {'name': 'nobody'}}",
                 "DeviceNotFound", "No animal 'nobody'");
    assert_response(cmds, false, "{'execute': 'zoo-add', 'arguments': {'kind': 'stone'}, "
                    "'id': 3}", "{\"error\": {\"class\": \"GenericError\", "
                    "\"desc\": \"Not an animal\"}, \"id\": 3}");
}

static void test_disabled_and_preconfig(void)
{
    g_autoptr(QmpCommandList) cmds = new_commands();

    qmp_disable_command(cmds, "zoo-names", "too cold");
    assert_error(cmds, "{'execute': 'zoo-names'}", "CommandNotFound",
                 "Command zoo-names has been disabled: too cold");
    qmp_enable_command(cmds, "zoo-names");
    g_assert_true(qmp_command_is_enabled(cmds, "zoo-names"));
    assert_response(cmds, true, "{'execute': 'zoo-list'}", "{\"return\": [{\"cage\": 4}]}");
    assert_response(cmds, true, "{'execute': 'zoo-names'}", "{\"error\": {\"class\": "
                    "\"GenericError\", \"desc\": \"The command 'zoo-names' is permitted only "
                    "after machine initialization has completed\"}}");
}

/* ---- events ---- */

static GString *event_log;

static void log_event(int event, QDict *message)
{
    g_autoptr(QDict) copy = qdict_clone_shallow(message);
    QDict *stamp = qdict_get_qdict(message, "timestamp");
    g_autofree char *text = NULL;

    g_assert_cmpint(qdict_get_int(stamp, "seconds"), >, 1500000000);
    g_assert_cmpint(qdict_get_int(stamp, "microseconds"), <, 1000000);
    qdict_del(copy, "timestamp");
    text = text_of(copy);
    g_string_append_printf(event_log, "%d %s\n", event, text);
}

static void test_events(void)
{
    Place place = { .cage = 5 };

    event_log = g_string_new(NULL);
    qapi_event_set_emitter(log_event);
    qapi_event_send_animal_escaped("tom", &place, false, 7);
    qapi_event_send_animal_escaped("jim", NULL, true, 7);
    qapi_event_send_zoo_closed();
    qapi_event_set_emitter(NULL);
    qapi_event_send_zoo_closed();
    g_assert_cmpstr(event_log->str, ==,
                    "0 {\"event\": \"ANIMAL_ESCAPED\", \"data\": {\"name\": \"tom\", "
                    "\"last-seen\": {\"cage\": 5}}}\n"
                    "0 {\"event\": \"ANIMAL_ESCAPED\", \"data\": {\"name\": \"jim\", "
                    "\"speed\": 7}}\n"
                    "1 {\"event\": \"ZOO_CLOSED\"}\n");
    g_string_free(event_log, TRUE);
    g_assert_cmpstr(QAPIEvent_str(QAPI_EVENT_ZOO_CLOSED), ==, "ZOO_CLOSED");
}

/* ---- introspection ---- */

static QDict *entity(QList *schema, const char *name)
{
    const QListEntry *e;

    QLIST_FOREACH_ENTRY(schema, e) {
        QDict *dict = qobject_to(QDict, e->value);

        if (g_str_equal(qdict_get_str(dict, "name"), name)) {
            return dict;
        }
    }
    return NULL;
}

static void assert_entity(QList *schema, const char *name, const char *expected)
{
    QDict *dict = entity(schema, name);
    g_autofree char *text = NULL;

    g_assert_nonnull(dict);
    text = text_of(dict);
    g_assert_cmpstr(text, ==, expected);
}

static void test_introspect_commands(void)
{
    g_autoptr(QmpCommandList) cmds = new_commands();
    g_autoptr(QList) schema = qmp_introspect(cmds);
    QDict *add = entity(schema, "zoo-add");
    QDict *animal = entity(schema, qdict_get_str(add, "arg-type"));

    /* Naming it here makes the linker take the test schema's, not the project's. */
    g_assert_cmpuint(qapi_schema_data.n, >, 0);
    assert_entity(schema, "zoo-burn", "{\"name\": \"zoo-burn\", \"meta-type\": \"command\", "
                  "\"arg-type\": \"0\", \"ret-type\": \"0\"}");
    assert_entity(schema, "0", "{\"name\": \"0\", \"meta-type\": \"object\", \"members\": []}");
    assert_entity(schema, "int", "{\"name\": \"int\", \"meta-type\": \"builtin\", "
                  "\"json-type\": \"int\"}");
    g_assert_nonnull(qdict_get_qlist(add, "features"));
    g_assert_cmpstr(qdict_get_str(animal, "tag"), ==, "kind");
    g_assert_cmpuint(qlist_size(qdict_get_qlist(animal, "variants")), ==, 3);
    g_assert_cmpuint(qlist_size(qdict_get_qlist(animal, "members")), ==, 2);
    g_assert_nonnull(entity(schema, "ANIMAL_ESCAPED"));
}

/* Every type that is referred to is there, and no type twice. */
static void check_references(const QObject *obj, QList *schema)
{
    static const char *const keys[] = { "type", "arg-type", "ret-type", "element-type" };
    const QDict *dict = qobject_to(QDict, obj);
    const QList *list = qobject_to(QList, obj);
    const QListEntry *e;

    for (size_t i = 0; dict && i < ARRAY_SIZE(keys); i++) {
        const char *name = qdict_get_try_str(dict, keys[i]);

        g_assert_true(!name || entity(schema, name));
    }
    for (const QDictEntry *m = dict ? qdict_first(dict) : NULL; m; m = qdict_next(dict, m)) {
        check_references(qdict_entry_value(m), schema);
    }
    if (list) {
        QLIST_FOREACH_ENTRY(list, e) {
            check_references(e->value, schema);
        }
    }
}

static void test_introspect_closure(void)
{
    g_autoptr(QmpCommandList) cmds = new_commands();
    g_autoptr(QmpCommandList) none = qmp_command_list_new();
    g_autoptr(QList) schema = NULL;
    g_autoptr(QList) nothing = qmp_introspect(none);

    qmp_disable_command(cmds, "zoo-add", NULL);
    schema = qmp_introspect(cmds);
    check_references(QOBJECT(schema), schema);
    g_assert_null(entity(schema, "zoo-add"));
    g_assert_true(qlist_empty(nothing));
}

int main(int argc, char **argv)
{
    test_init(&argc, &argv);
    g_test_add_func("/dispatch/run/results", test_results);
    g_test_add_func("/dispatch/run/malformed-requests", test_malformed_requests);
    g_test_add_func("/dispatch/run/argument-errors", test_argument_errors);
    g_test_add_func("/dispatch/run/handler-errors", test_handler_errors);
    g_test_add_func("/dispatch/run/disabled-and-preconfig", test_disabled_and_preconfig);
    g_test_add_func("/events/send/message-form", test_events);
    g_test_add_func("/introspect/commands/stock-form", test_introspect_commands);
    g_test_add_func("/introspect/types/closed-set", test_introspect_closure);
    return g_test_run();
}
