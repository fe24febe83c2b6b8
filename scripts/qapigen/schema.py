# SPDX-License-Identifier: GPL-2.0-or-later
"""Expressions to checked entities."""

import os
import re

from .parser import Parser, SchemaError
from .types import Alternate, BUILTINS, Command, Enum, Event, List, Member, Struct, c_name

COMMON_KEYS = {'if', 'features'}
KEYS = {
    'enum': {'data', 'prefix'},
    'struct': {'data', 'base'},
    'union': {'base', 'discriminator', 'data'},
    'alternate': {'data'},
    'command': {'data', 'returns', 'boxed', 'gen', 'success-response', 'allow-oob',
                'allow-preconfig', 'coroutine'},
    'event': {'data', 'boxed'},
}
REQUIRED = {'enum': {'data'}, 'struct': {'data'}, 'union': {'base', 'discriminator', 'data'},
            'alternate': {'data'}, 'command': set(), 'event': set()}
NAME = re.compile(r'(__[a-z0-9.-]+_)?[A-Za-z][A-Za-z0-9_-]*$')
ENUM_VALUE = re.compile(r'(__[a-z0-9.-]+_)?[A-Za-z0-9][A-Za-z0-9_.-]*$')


class Schema:
    def __init__(self, path, config):
        self.config = config
        self.modules = []  # names in order of inclusion
        self.types = {t.name: t for t in BUILTINS}
        self.lists = {}
        self.commands, self.events = [], []
        self.docs = []  # (module, Doc, entity or None) in order
        self.doc_required = False
        self.doc_exceptions = set()
        self._seen = set()
        self._definitions = []  # (where, kind, expr, doc, module)
        self.types['QType'] = self._qtype()
        self._read(path, None)
        self._declare()
        self._define()

    # -- reading --

    @staticmethod
    def _qtype():
        values = ['none', 'qnull', 'qnum', 'qstring', 'qdict', 'qlist', 'qbool']
        return Enum('QType', [Member(v, None, False, []) for v in values], 'QTYPE')

    def _read(self, path, includer):
        real = os.path.realpath(path)
        if real in self._seen:
            return
        self._seen.add(real)
        if not os.path.exists(path):
            raise SchemaError(includer, f"no such file: '{path}'")
        module = os.path.splitext(os.path.basename(path))[0]
        parser = Parser(path, os.path.relpath(path))
        if includer is not None:
            self.modules.append(module)
        docs = {index: [] for index, _ in parser.free_docs}
        for index, doc in parser.free_docs:
            docs[index].append(doc)
        for index, (where, expr, doc) in enumerate(parser.exprs):
            self.docs += [(module, free, None) for free in docs.get(index, [])]
            self._expression(where, expr, doc, module, path, includer)

    def _expression(self, where, expr, doc, module, path, includer):
        if 'include' in expr:
            self._only_keys(where, expr, {'include'})
            self._read(os.path.join(os.path.dirname(path), expr['include']), where)
        elif 'pragma' in expr:
            self._pragma(where, expr['pragma'])
        else:
            kinds = [k for k in KEYS if k in expr]
            if len(kinds) != 1:
                raise SchemaError(where, 'expected one of ' + ', '.join(KEYS))
            kind = kinds[0]
            self._only_keys(where, expr, KEYS[kind] | COMMON_KEYS | {kind})
            missing = REQUIRED[kind] - expr.keys()
            if missing:
                raise SchemaError(where, f"'{min(missing)}' is missing")
            if includer is None:
                raise SchemaError(where, 'the top file may only include others')
            if self._holds(where, expr.get('if')):
                self._definitions.append((where, kind, expr, doc, module))

    @staticmethod
    def _only_keys(where, expr, allowed):
        unknown = expr.keys() - allowed
        if unknown:
            raise SchemaError(where, f"unknown key '{min(unknown)}'")

    def _pragma(self, where, pragma):
        for key, value in pragma.items():
            if key == 'doc-required':
                self.doc_required = value
            elif key == 'documentation-exceptions':
                self.doc_exceptions |= set(value)
            elif key not in ('command-name-exceptions', 'command-returns-exceptions',
                             'member-name-exceptions'):
                raise SchemaError(where, f"unknown pragma '{key}'")

    def _holds(self, where, cond):
        """Whether an 'if' is true in this configuration."""
        if cond is None:
            return True
        if isinstance(cond, str):
            return cond in self.config
        if isinstance(cond, dict) and len(cond) == 1:
            (op, arg), = cond.items()
            if op == 'not':
                return not self._holds(where, arg)
            if op in ('all', 'any') and isinstance(arg, list):
                return (all if op == 'all' else any)(self._holds(where, c) for c in arg)
        raise SchemaError(where, f"'if' is not a condition: {cond!r}")

    def _features(self, where, expr):
        result = []
        for feature in expr.get('features', []):
            if isinstance(feature, str):
                feature = {'name': feature}
            self._only_keys(where, feature, {'name', 'if'})
            if self._holds(where, feature.get('if')):
                result.append(feature['name'])
        return result

    # -- names first, so that order in the schema does not matter --

    def _declare(self):
        names = {}
        for where, kind, expr, doc, module in self._definitions:
            name = expr[kind]
            if not isinstance(name, str) or not NAME.match(name):
                raise SchemaError(where, f'{name!r} is not a name')
            if name in names or (name in self.types and kind not in ('command', 'event')):
                raise SchemaError(where, f"'{name}' is defined already ({names.get(name)})")
            names[name] = where
            if kind in ('command', 'event'):
                continue
            if not name[0].isupper() or name.endswith('List'):
                raise SchemaError(where, f"'{name}' does not do as a type name")
            entity = Enum(name, [], expr.get('prefix')) if kind == 'enum' else \
                Alternate(name) if kind == 'alternate' else Struct(name)
            entity.module, entity.doc, entity.kind = module, doc, kind
            entity.features = self._features(where, expr)
            self.types[name] = entity

    def _type(self, where, spec):
        if isinstance(spec, list):
            if len(spec) != 1:
                raise SchemaError(where, 'a list type has one element type')
            element = self._type(where, spec[0])
            if isinstance(element, List):
                raise SchemaError(where, 'a list of lists is not supported')
            return self.lists.setdefault(element.name, List(element))
        if not isinstance(spec, str) or spec not in self.types:
            raise SchemaError(where, f'unknown type {spec!r}')
        return self.types[spec]

    def _members(self, where, data, allow_optional=True):
        result = []
        if not isinstance(data, dict):
            raise SchemaError(where, 'members must be an object')
        for key, spec in data.items():
            name = key[1:] if key.startswith('*') else key
            optional = key.startswith('*')
            if not NAME.match(name) or c_name(name).startswith('has_') or name == 'u':
                raise SchemaError(where, f"'{name}' does not do as a member name")
            if optional and not allow_optional:
                raise SchemaError(where, f"'{name}' cannot be optional here")
            if not isinstance(spec, dict):
                spec = {'type': spec}
            self._only_keys(where, spec, {'type', 'if', 'features'})
            if self._holds(where, spec.get('if')):
                result.append(Member(name, self._type(where, spec.get('type')), optional,
                                     self._features(where, spec)))
        return result

    # -- contents --

    def _define(self):
        define = {'enum': self._enum, 'struct': self._struct, 'union': self._union,
                  'alternate': self._alternate}
        checks = []
        for where, kind, expr, doc, module in self._definitions:
            if kind in define:
                entity = self.types[expr[kind]]
                define[kind](where, expr, entity)
            else:
                entity = self._command(where, expr, module) if kind == 'command' else \
                    self._event(where, expr, module)
                entity.features = self._features(where, expr)
                entity.doc, entity.kind = doc, kind
            checks.append((where, entity))
            self.docs.append((module, doc, entity))
        for where, entity in checks:
            self._check(where, entity)

    def _enum(self, where, expr, enum):
        for value in expr['data']:
            if isinstance(value, str):
                value = {'name': value}
            self._only_keys(where, value, {'name', 'if', 'features'})
            if not ENUM_VALUE.match(value['name']):
                raise SchemaError(where, f"'{value['name']}' does not do as an enum value")
            if self._holds(where, value.get('if')):
                enum.values.append(Member(value['name'], None, False,
                                          self._features(where, value)))
        constants = [enum.constant(v.name) for v in enum.values]
        if len(set(constants)) != len(constants):
            raise SchemaError(where, f"two values of '{enum.name}' clash")

    def _struct(self, where, expr, struct):
        struct.members = self._members(where, expr['data'])
        if 'base' in expr:
            struct.base = self._type(where, expr['base'])
            if not isinstance(struct.base, Struct):
                raise SchemaError(where, f"base '{expr['base']}' is not a struct")

    def _union(self, where, expr, union):
        if isinstance(expr['base'], dict):
            union.members = self._members(where, expr['base'])
        else:
            union.base = self._type(where, expr['base'])
        union.tag = expr['discriminator']  # resolved in _check, when all members are known
        for case, spec in expr['data'].items():
            spec = {'type': spec} if isinstance(spec, str) else spec
            self._only_keys(where, spec, {'type', 'if'})
            if self._holds(where, spec.get('if')):
                union.branches[case] = self._type(where, spec['type'])

    def _alternate(self, where, expr, alternate):
        alternate.members = self._members(where, expr['data'], allow_optional=False)

    def _arguments(self, where, entity, kind):
        data = entity.expr.get('data')
        if data is None:
            return None
        if isinstance(data, dict):
            if entity.boxed:
                raise SchemaError(where, "'boxed' needs a named type")
            args = Struct(f'{kind}_{c_name(entity.name)}')
            args.implicit, args.module = True, entity.module
            args.members = self._members(where, data)
            return args
        args = self._type(where, data)
        if not isinstance(args, Struct) and not (entity.boxed and isinstance(args, Alternate)):
            raise SchemaError(where, f"'{data}' cannot be arguments")
        return args

    def _command(self, where, expr, module):
        command = Command(expr['command'], module, expr)
        command.args = self._arguments(where, command, 'QmpArgs')
        if 'returns' in expr:
            command.ret = self._type(where, expr['returns'])
        self.commands.append(command)
        return command

    def _event(self, where, expr, module):
        event = Event(expr['event'], module, expr)
        event.args = self._arguments(where, event, 'EventArgs')
        self.events.append(event)
        return event

    # -- checks that need everything defined --

    def _check(self, where, entity):
        struct = getattr(entity, 'args', entity)
        if isinstance(struct, Struct):
            self._check_struct(where, struct)
            if struct is not entity and struct.tag and not entity.boxed:
                raise SchemaError(where, "a union as arguments needs 'boxed'")
        if isinstance(entity, Alternate):
            self._check_alternate(where, entity)
        self._check_doc(where, entity)

    def _check_struct(self, where, struct):
        base, seen = struct.base, set()
        while base:
            if base is struct or base in seen:
                raise SchemaError(where, f"'{struct.name}' contains itself")
            if base.tag:
                raise SchemaError(where, f"base '{base.name}' is a union")
            seen.add(base)
            base = base.base
        names = set()
        for member in struct.all_members():
            if member.c in names:
                raise SchemaError(where, f"member '{member.name}' is there twice")
            names.add(member.c)
        if struct.tag:
            self._check_union(where, struct, names)

    def _check_union(self, where, union, names):
        if isinstance(union.tag, str):
            found = [m for m in union.all_members() if m.name == union.tag]
            if not found or not isinstance(found[0].type, Enum) or found[0].optional:
                raise SchemaError(where, f"discriminator '{union.tag}' must be a mandatory enum "
                                         'member of the base')
            union.tag = found[0]
        values = {v.name for v in union.tag.type.values}
        for case, branch in union.branches.items():
            if case not in values:
                raise SchemaError(where, f"branch '{case}' is not a value of "
                                         f"'{union.tag.type.name}'")
            if not isinstance(branch, Struct):
                raise SchemaError(where, f"branch '{case}' is not a struct")
            for member in branch.all_members():
                if member.c in names:
                    raise SchemaError(where, f"member '{member.name}' of branch '{case}' is in "
                                             'the base too')

    @staticmethod
    def _check_alternate(where, alternate):
        taken = {}
        for member in alternate.members:
            qtype = member.type.qtype
            if qtype is None:
                raise SchemaError(where, f"branch '{member.name}' cannot be told from others")
            if qtype in taken:
                raise SchemaError(where, f"branches '{member.name}' and '{taken[qtype]}' cannot "
                                         'be told apart')
            taken[qtype] = member.name

    def _check_doc(self, where, entity):
        doc = entity.doc
        if not doc:
            if self.doc_required:
                raise SchemaError(where, f"'{entity.name}' has no documentation")
            return
        if doc.symbol != entity.name:
            raise SchemaError(doc.where, f"documentation of '{doc.symbol}' stands before "
                                         f"'{entity.name}'")
        if isinstance(entity, Enum):
            known = {v.name for v in entity.values}
        else:
            holder = getattr(entity, 'args', entity)
            known = {m.name for m in holder.members} if holder and \
                (holder is entity or holder.implicit) else set()
        for arg in sorted(doc.args.keys() - known):
            if entity.name not in self.doc_exceptions and not self._has_conditions(entity):
                raise SchemaError(doc.where, f"'{arg}' is documented but does not exist")
        for arg in sorted(known - doc.args.keys()):
            if self.doc_required and entity.name not in self.doc_exceptions:
                raise SchemaError(doc.where, f"'{arg}' is not documented")

    def _has_conditions(self, entity):
        """Whether members of @entity may be missing from this configuration only."""
        return any(expr[kind] == entity.name and "'if'" in repr(expr)
                   for _, kind, expr, _, _ in self._definitions)
