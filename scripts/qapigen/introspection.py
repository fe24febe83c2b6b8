# SPDX-License-Identifier: GPL-2.0-or-later
"""What query-qmp-schema answers."""

import json

from .output import Output
from .types import Alternate, Builtin, Enum, List, Struct, c_string


class Introspection:
    """SchemaInfo of everything reachable from a command or event, type names masked."""

    def __init__(self, schema):
        self.schema = schema
        self.entities = []  # [kind, name, module, info, refs]
        self.index = {}  # type key -> entity index
        self.masked = {}
        self.todo = []
        self.empty = Struct('q_empty')
        for c in schema.commands:
            self._command(c)
        for e in schema.events:
            refs = []
            info = {'name': e.name, 'meta-type': 'event',
                    'arg-type': self._ref(e.args or self.empty, refs)}
            self._add('EVENT', e.name, e.module, self._with_features(info, e.features), refs)
        while self.todo:
            key, build = self.todo.pop(0)
            refs = []
            self.index[key] = len(self.entities)
            self._add('TYPE', None, None, build(refs), refs)

    def _add(self, kind, name, module, info, refs):
        self.entities.append([kind, name, module, info, refs])

    @staticmethod
    def _with_features(info, features):
        if features:
            info['features'] = list(features)
        return info

    def _command(self, c):
        refs = []
        info = {'name': c.name, 'meta-type': 'command',
                'arg-type': self._ref(c.args or self.empty, refs),
                'ret-type': self._ref(c.ret or self.empty, refs)}
        if c.expr.get('allow-oob'):
            info['allow-oob'] = True
        self._add('COMMAND', c.name, c.module, self._with_features(info, c.features), refs)

    def _key(self, t):
        if isinstance(t, List):
            return f'[{self._key(t.element)}]'
        if isinstance(t, Builtin):
            return 'int' if t.json_type == 'int' else t.name
        return self.masked.setdefault(t, str(len(self.masked)))

    def _ref(self, t, refs):
        """The name of @t in the schema info; sees to it that it is described."""
        if self.masked == {}:
            self.masked[self.empty] = '0'
        key = self._key(t)
        if key not in self.index:
            self.index[key] = None
            self.todo.append((key, lambda refs: self._describe(t, key, refs)))
        refs.append(key)
        return key

    def _describe(self, t, key, refs):
        info = {'name': key}
        if isinstance(t, Builtin):
            info.update({'meta-type': 'builtin', 'json-type': t.json_type})
        elif isinstance(t, List):
            info.update({'meta-type': 'array', 'element-type': self._ref(t.element, refs)})
        elif isinstance(t, Enum):
            members = [self._with_features({'name': v.name}, v.features) for v in t.values]
            info.update({'meta-type': 'enum', 'members': members,
                         'values': [v.name for v in t.values]})
        elif isinstance(t, Alternate):
            info.update({'meta-type': 'alternate',
                         'members': [{'type': self._ref(m.type, refs)} for m in t.members]})
        else:
            info.update({'meta-type': 'object',
                         'members': [self._member(m, refs) for m in t.all_members()]})
            if t.tag:
                info['tag'] = t.tag.name
                info['variants'] = [
                    {'case': v.name, 'type': self._ref(t.branches.get(v.name, self.empty), refs)}
                    for v in t.tag.type.values]
        return self._with_features(info, t.features)

    def _member(self, m, refs):
        info = {'name': m.name, 'type': self._ref(m.type, refs)}
        if m.optional:
            info['default'] = None
        return self._with_features(info, m.features)

    def save(self, path):
        out = Output(path, '')
        out('#include "qemu/osdep.h"\n#include "qapi/introspect.h"\n')
        for i, (_, _, _, _, refs) in enumerate(self.entities):
            numbers = [str(n) for n in sorted({self.index[key] for key in refs})]
            out(f'static const uint16_t refs{i}[] = {{ {", ".join(numbers + ["UINT16_MAX"])} }};')
        out('\nstatic const QapiEntity entities[] = {')
        for i, (kind, name, module, info, _) in enumerate(self.entities):
            out(f'    {{ QAPI_ENTITY_{kind}, {c_string(name) if name else "NULL"}, '
                f'{c_string(module) if module else "NULL"},')
            text = json.dumps(info)
            pieces = [text[k:k + 76] for k in range(0, len(text), 76)]
            out('\n'.join(f'      {c_string(p)}' for p in pieces) + f', refs{i} }},')
        if not self.entities:
            out('    { .json = NULL },')
        out('};\n\nconst QapiSchemaData qapi_schema_data = {')
        out(f'    .entities = entities,\n    .n = {len(self.entities)},\n}};')
        out.save()
