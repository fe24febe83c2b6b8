# SPDX-License-Identifier: GPL-2.0-or-later
"""What a schema defines, and how that is spelt in C."""

import json
import re


# ---- names -------------------------------------------------------------------------------------

RESERVED = set('''auto break case char const continue default do double else enum extern float for
    goto if inline int long register restrict return short signed sizeof static struct switch
    typedef union unsigned void volatile while asm typeof bool errno linux unix i386 and or not
    xor errp ret'''.split())


def c_name(name):
    name = re.sub(r'[^A-Za-z0-9_]', '_', name)
    if name in RESERVED or name[0].isdigit():
        return 'q_' + name
    return name


def upper_name(name):
    """BlockdevOnError -> BLOCKDEV_ON_ERROR, ENUMName -> ENUM_NAME."""
    name = re.sub(r'([a-z0-9])([A-Z])', r'\1_\2', name)
    name = re.sub(r'([A-Z])([A-Z][a-z])', r'\1_\2', name)
    return re.sub(r'[^A-Za-z0-9_]', '_', name).upper()


def c_string(text):
    return json.dumps(text)


# ---- types -------------------------------------------------------------------------------------

FEATURE_BITS = {'deprecated': 'QAPI_FEATURE_DEPRECATED', 'unstable': 'QAPI_FEATURE_UNSTABLE'}


def feature_bits(features):
    return ' | '.join(FEATURE_BITS[f] for f in features if f in FEATURE_BITS) or '0'


class Member:
    def __init__(self, name, type_, optional, features):
        self.name, self.type = name, type_
        self.optional, self.features = optional, features
        self.c = c_name(name)

    @property
    def has(self):
        return self.optional and self.type.needs_has


class Type:
    module = None
    features = ()
    doc = None
    pointer = False

    def __init__(self, name):
        self.name = name

    @property
    def needs_has(self):
        return not self.pointer

    @property
    def table(self):
        return 'qapi_type_' + self.name.replace('-', '_')

    def declaration(self, var, param=False):
        """A C declaration of variable @var of this type."""
        return f'{self.c_type(param)}{"" if self.pointer else " "}{var}'


class Builtin(Type):
    def __init__(self, name, c_type, qtype, json_type):
        super().__init__(name)
        self._c, self.qtype, self.json_type = c_type, qtype, json_type
        self.pointer = c_type.endswith('*')

    def c_type(self, param=False):
        return 'const char *' if param and self.name == 'str' else self._c


BUILTINS = [
    Builtin('str', 'char *', 'QTYPE_QSTRING', 'string'),
    Builtin('number', 'double', 'QTYPE_QNUM', 'number'),
    Builtin('int', 'int64_t', 'QTYPE_QNUM', 'int'),
    *(Builtin(f'{u}int{n}', f'{u}int{n}_t', 'QTYPE_QNUM', 'int')
      for u in ('', 'u') for n in (8, 16, 32, 64)),
    Builtin('size', 'uint64_t', 'QTYPE_QNUM', 'int'),
    Builtin('bool', 'bool', 'QTYPE_QBOOL', 'boolean'),
    Builtin('null', 'QNull *', 'QTYPE_QNULL', 'null'),
    Builtin('any', 'QObject *', None, 'value'),
]


class Enum(Type):
    qtype = 'QTYPE_QSTRING'

    def __init__(self, name, values, prefix):
        super().__init__(name)
        self.values = values  # of Member with type None
        self.prefix = prefix

    def c_type(self, param=False):
        return c_name(self.name)

    def constant(self, value):
        if self.prefix is not None:
            return upper_name_of_value(self.prefix, value)
        return upper_name_of_value(upper_name(self.name), value)


def upper_name_of_value(prefix, value):
    return (prefix + '_' + re.sub(r'[^A-Za-z0-9_]', '_', value)).upper() \
        if not value.startswith('__') else prefix + value


class Struct(Type):
    """A struct or, with a tag, a union.  Also the argument struct of a command or event."""

    pointer = True
    qtype = 'QTYPE_QDICT'
    base = tag = None
    implicit = False

    def __init__(self, name):
        super().__init__(name)
        self.members = []  # own ones
        self.branches = {}  # tag value -> Struct

    def c_type(self, param=False):
        return c_name(self.name) + ' *'

    def all_members(self):
        return (self.base.all_members() if self.base else []) + self.members


class Alternate(Type):
    pointer = True
    qtype = None

    def __init__(self, name):
        super().__init__(name)
        self.members = []

    def c_type(self, param=False):
        return c_name(self.name) + ' *'


class List(Type):
    pointer = True
    needs_has = True
    qtype = 'QTYPE_QLIST'

    def __init__(self, element):
        super().__init__(element.name + 'List')
        self.element = element

    @property
    def module(self):
        return self.element.module

    def c_type(self, param=False):
        return c_name(self.name) + ' *'


class Command:
    def __init__(self, name, module, expr):
        self.name, self.module, self.expr = name, module, expr
        self.args = self.ret = None
        self.boxed = expr.get('boxed', False)
        self.gen = expr.get('gen', True)


class Event:
    def __init__(self, name, module, expr):
        self.name, self.module, self.expr = name, module, expr
        self.args = None
        self.boxed = expr.get('boxed', False)
