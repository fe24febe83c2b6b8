# SPDX-License-Identifier: GPL-2.0-or-later
"""C types with their tables, marshalling of commands, events."""

from .output import Output, header, parameters, wrapped
from .types import Alternate, Enum, Member, Struct, c_name, feature_bits


class TypeEmitter:
    """<module>-types.[ch] and <module>-visit.h."""

    def __init__(self, schema, module):
        self.schema = schema
        self.module = module
        self.types = [t for t in schema.types.values() if t.module == module]

    def save(self, out_c, out_h):
        self._header(f'{out_h}/{self.module}-types.h').save()
        self._source(f'{out_c}/{self.module}-types.c').save()
        self._visit(f'{out_h}/{self.module}-visit.h').save()

    def _needed_modules(self):
        needed = set()
        for t in self.types:
            if isinstance(t, (Struct, Alternate)):
                members = t.all_members() if isinstance(t, Struct) else t.members
                used = [m.type for m in members]
                used += list(t.branches.values()) if isinstance(t, Struct) else []
                needed |= {u.module for u in used}
        needed -= {None, self.module}
        return [m for m in self.schema.modules if m in needed]

    def _header(self, path):
        out = header(path, self.module + '-types', '', ['qapi/types.h'] + [
            f'qapi/gen/{m}-types.h' for m in self._needed_modules()])
        for t in self.types:
            if isinstance(t, Enum):
                self._enum(out, t)
        for t in self.types:
            if not isinstance(t, Enum):
                out(f'typedef struct {c_name(t.name)} {c_name(t.name)};')
            out(f'typedef struct {c_name(t.name)}List {c_name(t.name)}List;')
        out()
        done = set()
        for t in self.types:
            self._struct(out, t, done)
        for t in self.types:
            self._list(out, t)
        for t in self.types:
            self._functions(out, t)
        out('#endif')
        return out

    @staticmethod
    def _enum(out, enum):
        name = c_name(enum.name)
        out(f'typedef enum {name} {{')
        for v in enum.values:
            out(f'    {enum.constant(v.name)},')
        out(f'    {enum.constant("__MAX")},\n}} {name};\n')
        out(f'extern const QEnumLookup {name}_lookup;\n')
        out(f'static inline const char *{name}_str({name} value)\n{{')
        out(f'    return qapi_enum_lookup(&{name}_lookup, value);\n}}\n')

    def _struct(self, out, t, done):
        """Define @t after what it embeds."""
        if t in done or isinstance(t, Enum) or t.module != self.module:
            return
        done.add(t)
        if isinstance(t, Alternate):
            for m in t.members:
                if isinstance(m.type, Struct):
                    self._struct(out, m.type, done)
            out(f'struct {c_name(t.name)} {{\n    QType type;')
            self._union(out, [(m.c, m.type) for m in t.members])
        else:
            for branch in t.branches.values():
                self._struct(out, branch, done)
            out(f'struct {c_name(t.name)} {{')
            struct_members(out, t)
            if t.tag:
                self._union(out, [(c_name(c), b) for c, b in t.branches.items()])
        out('};\n')

    @staticmethod
    def _union(out, branches):
        out('    union {')
        if not branches:
            out('        char unused;')
        for name, t in branches:
            embedded = isinstance(t, (Struct, Alternate))
            out(f'        {c_name(t.name)} {name};' if embedded else
                f'        {t.declaration(name)};')
        out('    } u;')

    @staticmethod
    def _list(out, t):
        name = c_name(t.name)
        out(f'struct {name}List {{\n    {name}List *next;\n    {t.declaration("value")};\n}};\n')

    @staticmethod
    def _functions(out, t):
        for name in [c_name(t.name) + 'List'] + ([] if isinstance(t, Enum) else [c_name(t.name)]):
            out(f'extern const QapiType qapi_type_{name};\n')
            out(f'static inline void qapi_free_{name}({name} *obj)\n{{')
            out(f'    qapi_free(obj, &qapi_type_{name});\n}}\n')
            out(f'G_DEFINE_AUTOPTR_CLEANUP_FUNC({name}, qapi_free_{name})\n')
        if isinstance(t, Enum):
            out(f'extern const QapiType {t.table};\n')

    def _source(self, path):
        out = Output(path, '')
        out(f'#include "qemu/osdep.h"\n#include "qapi/gen/{self.module}-types.h"\n')
        for t in self.types:
            if isinstance(t, Enum):
                enum_table(out, t)
            elif isinstance(t, Alternate):
                self._alternate_table(out, t)
            else:
                struct_table(out, t)
            name = c_name(t.name)
            out(f'const QapiType qapi_type_{name}List = {{\n    .name = "{t.name}List",')
            out(f'    .kind = QAPI_LIST,\n    .size = sizeof({name}List),')
            out(f'    .element = &{t.table},\n    .offset = offsetof({name}List, value),\n}};\n')
        return out

    @staticmethod
    def _alternate_table(out, t):
        name = c_name(t.name)
        out(f'static const QapiType *const {name}_by_qtype[QTYPE__MAX] = {{')
        for m in t.members:
            out(f'    [{m.type.qtype}] = &{m.type.table},')
        out(f'}};\n\nconst QapiType {t.table} = {{\n    .name = "{t.name}",')
        out(f'    .kind = QAPI_ALTERNATE,\n    .size = sizeof({name}),')
        out(f'    .by_qtype = {name}_by_qtype,\n    .offset = offsetof({name}, u),\n}};\n')

    def _visit(self, path):
        out = header(path, self.module + '-visit', '',
                     ['qapi/visitor.h', f'qapi/gen/{self.module}-types.h'])
        for t in self.types:
            name = c_name(t.name)
            star = '' if isinstance(t, Enum) else '*'
            self._visit_one(out, name, f'{name} *{star}')
            self._visit_one(out, name + 'List', f'{name}List **')
            if isinstance(t, Struct):
                out(f'static inline bool visit_type_{name}_members(Visitor *v, {name} *obj, '
                    f'Error **errp)\n{{')
                out(f'    return visit_type_members(v, obj, &qapi_type_{name}, errp);\n}}\n')
        out('#endif')
        return out

    @staticmethod
    def _visit_one(out, name, c_type):
        out(f'static inline bool visit_type_{name}(Visitor *v, const char *name, {c_type}obj, '
            f'Error **errp)\n{{')
        out(f'    return visit_type(v, name, obj, &qapi_type_{name}, errp);\n}}\n')


def struct_members(out, struct):
    members = struct.all_members()
    if struct.base:
        out(f'    /* members of {struct.base.name} */')
    for m in members:
        if struct.base and struct.members and m is struct.members[0]:
            out('    /* own members */')
        if m.has:
            out(f'    bool has_{m.c};')
        out(f'    {m.type.declaration(m.c)};')
    if not members and not struct.tag:
        out('    char unused;')


def member_entry(struct_name, m):
    has = f'offsetof({struct_name}, has_{m.c})' if m.has else '-1'
    return (f'{{ "{m.name}", &{m.type.table}, offsetof({struct_name}, {m.c}),\n      {has}, '
            f'{"true" if m.optional else "false"}, {feature_bits(m.features)} }}')


def enum_table(out, enum):
    name = c_name(enum.name)
    out(f'static const char *const {name}_names[] = {{')
    for v in enum.values:
        out(f'    [{enum.constant(v.name)}] = "{v.name}",')
    out('};\n')
    flagged = [v for v in enum.values if feature_bits(v.features) != '0']
    if flagged:
        out(f'static const uint8_t {name}_features[{enum.constant("__MAX")}] = {{')
        for v in flagged:
            out(f'    [{enum.constant(v.name)}] = {feature_bits(v.features)},')
        out('};\n')
    out(f'const QEnumLookup {name}_lookup = {{\n    .names = {name}_names,')
    if flagged:
        out(f'    .features = {name}_features,')
    out(f'    .size = {enum.constant("__MAX")},\n}};\n')
    out(f'const QapiType {enum.table} = {{\n    .name = "{enum.name}",\n    .kind = QAPI_ENUM,')
    out(f'    .size = sizeof({name}),\n    .lookup = &{name}_lookup,\n}};\n')


def struct_table(out, t, storage=''):
    """The member array and QapiType of struct or union @t."""
    name = c_name(t.name)
    out(f'static const QapiMember {name}_members[] = {{')
    for m in t.members:
        out(f'    {member_entry(name, m)},')
    out('    { .name = NULL },\n};\n')
    if t.tag:
        out(f'static const QapiMember {name}_tag =\n    {member_entry(name, t.tag)};\n')
        out(f'static const QapiType *const {name}_branches[{t.tag.type.constant("__MAX")}] = {{')
        for case, branch in t.branches.items():
            out(f'    [{t.tag.type.constant(case)}] = &{branch.table},')
        out('};\n')
    out(f'{storage}const QapiType {t.table} = {{\n    .name = "{t.name}",')
    out(f'    .kind = {"QAPI_UNION" if t.tag else "QAPI_STRUCT"},\n    .size = sizeof({name}),')
    if t.base:
        out(f'    .base = &{t.base.table},')
    out(f'    .members = {name}_members,')
    if t.tag:
        out(f'    .tag = &{name}_tag,\n    .branches = {name}_branches,')
        out(f'    .offset = offsetof({name}, u),')
    out('};\n')


def argument_struct(out, args):
    """Define the C struct and table of an implicit argument type, private to the file."""
    name = c_name(args.name)
    out(f'typedef struct {name} {{')
    struct_members(out, args)
    out(f'}} {name};\n')
    struct_table(out, args, 'static ')


def type_includes(schema, entities, module):
    """The headers that define what the arguments and results of @entities are made of."""
    used = {module}
    for e in entities:
        if isinstance(e.args, Struct):
            used |= {m.type.module for m in e.args.all_members()}
        used |= {t.module for t in (e.args, getattr(e, 'ret', None)) if t}
    return [f'qapi/gen/{m}-types.h' for m in schema.modules if m in used]


def emit_commands(schema, module, out_c, out_h):
    commands = [c for c in schema.commands if c.module == module]
    out = header(f'{out_h}/{module}-commands.h', module + '-commands', 'Handlers, and their table.',
                 ['qapi/dispatch.h'] + type_includes(schema, commands, module))
    for c in commands:
        out(wrapped(*handler_signature(c), ';'))
    out(f'\n/** Offer the commands of {module}.json. */')
    out(f'void qmp_init_{c_name(module)}_commands(QmpCommandList *cmds);\n\n#endif')
    out.save()

    out = Output(f'{out_c}/{module}-commands.c', '')
    out(f'#include "qemu/osdep.h"\n#include "qapi/gen/{module}-commands.h"\n')
    for c in commands:
        if c.args and c.args.implicit:
            argument_struct(out, c.args)
        emit_thunk(out, c)
    out('static const QmpCommand commands[] = {')
    for c in commands:
        out(f'    {{ "{c.name}", call_{c_name(c.name)},')
        out(f'      {"&" + c.args.table if c.args else "NULL"}, '
            f'{"&" + c.ret.table if c.ret else "NULL"}, {command_options(c)} }},')
    out('    { .name = NULL },\n};\n')
    out(f'void qmp_init_{c_name(module)}_commands(QmpCommandList *cmds)\n{{')
    out(f'    qmp_register_commands(cmds, "{module}", commands);\n}}')
    out.save()


def handler_signature(c):
    if not c.gen:
        return f'void coroutine_fn qmp_{c_name(c.name)}', \
            ['QDict *args', 'QObject **ret', 'Error **errp']
    ret = c.ret.declaration('') if c.ret else 'void '
    return f'{ret}coroutine_fn qmp_{c_name(c.name)}', \
        parameters(c.args, c.boxed) + ['Error **errp']


def emit_thunk(out, c):
    out(f'static void coroutine_fn call_{c_name(c.name)}(void *args, void *ret, Error **errp)\n{{')
    if not c.gen:
        out(f'    qmp_{c_name(c.name)}(args, ret, errp);\n}}\n')
        return
    values = []
    if c.boxed:
        values.append('args')
    elif c.args and c.args.all_members():
        out(f'    {c_name(c.args.name)} *arg = args;\n')
        for m in c.args.all_members():
            values += ([f'arg->has_{m.c}'] if m.has else []) + [f'arg->{m.c}']
    target = f'*({c.ret.declaration("*")})ret = ' if c.ret else ''
    out(wrapped(f'    {target}qmp_{c_name(c.name)}', values + ['errp'], ';') + '\n}\n')


def command_options(c):
    options = []
    if not c.expr.get('success-response', True):
        options.append('QCO_NO_SUCCESS_RESP')
    if c.expr.get('allow-oob'):
        options.append('QCO_ALLOW_OOB')
    if c.expr.get('allow-preconfig'):
        options.append('QCO_ALLOW_PRECONFIG')
    if not c.gen:
        options.append('QCO_GEN_FALSE')
    if 'deprecated' in c.features:
        options.append('QCO_DEPRECATED')
    if 'unstable' in c.features:
        options.append('QCO_UNSTABLE')
    return ' | '.join(options) or '0'


def emit_events(schema, module, out_c, out_h):
    events = [e for e in schema.events if e.module == module]
    out = header(f'{out_h}/{module}-events.h', module + '-events', '',
                 ['qapi/events.h'] + type_includes(schema, events, module))
    for e in events:
        out(wrapped(f'void qapi_event_send_{c_name(e.name).lower()}',
                    parameters(e.args, e.boxed) or ['void'], ';'))
    out('\n#endif')
    out.save()

    out = Output(f'{out_c}/{module}-events.c', '')
    out(f'#include "qemu/osdep.h"\n#include "qapi/gen/emit-events.h"\n'
        f'#include "qapi/gen/{module}-events.h"\n')
    for e in events:
        if e.args and e.args.implicit:
            argument_struct(out, e.args)
        out(wrapped(f'void qapi_event_send_{c_name(e.name).lower()}',
                    parameters(e.args, e.boxed) or ['void'], ''))
        out('{')
        data, table = 'NULL', 'NULL'
        if e.boxed and e.args:
            data, table = 'arg', '&' + e.args.table
        elif e.args:
            data, table = '&arg', '&' + e.args.table
            out(f'    {c_name(e.args.name)} arg = {{')
            for m in e.args.all_members():
                if m.has:
                    out(f'        .has_{m.c} = has_{m.c},')
                cast = '(char *)' if m.type.name == 'str' else ''
                out(f'        .{m.c} = {cast}{m.c},')
            out('    };\n')
        out(f'    qapi_event_emit(QAPI_EVENT_{c_name(e.name).upper()}, "{e.name}", {data}, '
            f'{table});\n}}\n')
    out.save()


def emit_event_enum(schema, out_c, out_h):
    enum = Enum('QAPIEvent', [Member(e.name, None, False, []) for e in schema.events],
                'QAPI_EVENT')
    out = header(f'{out_h}/emit-events.h', 'emit-events', 'All events.', ['qapi/types.h'])
    TypeEmitter._enum(out, enum)
    out(f'extern const QapiType {enum.table};\n\n#endif')
    out.save()
    out = Output(f'{out_c}/emit-events.c', '')
    out('#include "qemu/osdep.h"\n#include "qapi/gen/emit-events.h"\n')
    enum_table(out, enum)
    out.save()


def emit_init(schema, out_c, out_h):
    with_commands = [m for m in schema.modules if any(c.module == m for c in schema.commands)]
    out = header(f'{out_h}/init-commands.h', 'init-commands', 'All commands at once.',
                 ['qapi/dispatch.h'])
    out('/** Offer every command of the schema; links every handler. */')
    out('void qmp_init_marshal(QmpCommandList *cmds);\n\n#endif')
    out.save()
    out = Output(f'{out_c}/init-commands.c', '')
    out('#include "qemu/osdep.h"\n#include "qapi/gen/init-commands.h"')
    for m in with_commands:
        out(f'#include "qapi/gen/{m}-commands.h"')
    out('\nvoid qmp_init_marshal(QmpCommandList *cmds)\n{')
    for m in with_commands:
        out(f'    qmp_init_{c_name(m)}_commands(cmds);')
    out('}')
    out.save()
