#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""The schema generator: what it refuses and with which words, conditions, stable output."""

import os
import subprocess
import sys
import tempfile

SRC = os.environ.get('SRC', os.path.join(os.path.dirname(os.path.abspath(__file__)), '../../..'))
sys.path.insert(0, os.path.join(SRC, 'tests/emulator'))
from tap import Tap  # noqa: E402

ENUM = "{ 'enum': 'E', 'data': [ 'a', 'b' ] }\n"
STRUCT = "{ 'struct': 'S', 'data': { 'x': 'int' } }\n"

REFUSED = [
    ('stray character', "{ 'enum': 'E', 'data': [ @ ] }", "m.json:1: stray '@'"),
    ('missing comma', "{ 'enum': 'E'\n 'data': [] }", "m.json:2: expected ',', not 'data'"),
    ('doubled comma', "{ 'enum': 'E', 'data': [ 'a',, 'b' ] }", "expected a value, not ','"),
    ('duplicate key', "{ 'enum': 'E', 'enum': 'F' }", "duplicate key 'enum'"),
    ('unknown key', "{ 'enum': 'E', 'data': [], 'color': 'red' }", "unknown key 'color'"),
    ('no kind', "{ 'thing': 'E' }", 'expected one of enum, struct'),
    ('missing data', "{ 'struct': 'S' }", "'data' is missing"),
    ('lower-case type', "{ 'enum': 'e', 'data': [] }", "'e' does not do as a type name"),
    ('list as name', "{ 'enum': 'EList', 'data': [] }", "'EList' does not do as a type name"),
    ('defined twice', ENUM + ENUM, "m.json:2: 'E' is defined already"),
    ('built-in redefined', "{ 'struct': 'QType', 'data': {} }", "'QType' is defined already"),
    ('unknown type', "{ 'struct': 'S', 'data': { 'x': 'Nope' } }", "unknown type 'Nope'"),
    ('list of lists', "{ 'struct': 'S', 'data': { 'x': [ [ 'int' ] ] } }", 'a list type has one'
     ' element type|a list of lists|unknown type'),
    ('member named u', "{ 'struct': 'S', 'data': { 'u': 'int' } }",
     "'u' does not do as a member name"),
    ('member has_', "{ 'struct': 'S', 'data': { 'has-x': 'int' } }",
     "'has-x' does not do as a member name"),
    ('clashing members', "{ 'struct': 'S', 'data': { 'a-b': 'int', 'a_b': 'int' } }",
     "member 'a_b' is there twice"),
    ('clashing with base', STRUCT + "{ 'struct': 'T', 'base': 'S', 'data': { 'x': 'str' } }",
     "member 'x' is there twice"),
    ('base loop', "{ 'struct': 'S', 'base': 'S', 'data': {} }", "'S' contains itself"),
    ('clashing enum values', "{ 'enum': 'E', 'data': [ 'a-b', 'a_b' ] }", "values of 'E' clash"),
    ('discriminator missing', ENUM + STRUCT + "{ 'union': 'U', 'base': { 'k': 'E' }, "
     "'discriminator': 'z', 'data': {} }", "discriminator 'z' must be a mandatory enum"),
    ('discriminator optional', ENUM + "{ 'union': 'U', 'base': { '*k': 'E' }, "
     "'discriminator': 'k', 'data': {} }", "discriminator 'k' must be a mandatory enum"),
    ('branch unknown', ENUM + STRUCT + "{ 'union': 'U', 'base': { 'k': 'E' }, "
     "'discriminator': 'k', 'data': { 'c': 'S' } }", "branch 'c' is not a value of 'E'"),
    ('branch clashes', ENUM + STRUCT + "{ 'union': 'U', 'base': { 'k': 'E', 'x': 'int' }, "
     "'discriminator': 'k', 'data': { 'a': 'S' } }", "member 'x' of branch 'a' is in the base"),
    ('branch no struct', ENUM + "{ 'union': 'U', 'base': { 'k': 'E' }, 'discriminator': 'k', "
     "'data': { 'a': 'int' } }", "branch 'a' is not a struct"),
    ('alternate ambiguous', "{ 'alternate': 'A', 'data': { 's': 'str', 't': 'str' } }",
     "branches 't' and 's' cannot be told apart"),
    ('alternate of any', "{ 'alternate': 'A', 'data': { 's': 'any' } }", 'cannot be told'),
    ('arguments no struct', ENUM + "{ 'command': 'c', 'data': 'E' }", "'E' cannot be arguments"),
    ('boxed without type', "{ 'command': 'c', 'boxed': true, 'data': { 'x': 'int' } }",
     "'boxed' needs a named type"),
    ('unboxed union', ENUM + "{ 'union': 'U', 'base': { 'k': 'E' }, 'discriminator': 'k', "
     "'data': {} }\n{ 'command': 'c', 'data': 'U' }", "a union as arguments needs 'boxed'"),
    ('bad condition', "{ 'enum': 'E', 'data': [], 'if': { 'maybe': [] } }", 'not a condition'),
    ('unfinished doc', "##\n# @E:\n" + ENUM, "must start with '#'"),
    ('doc of another', "##\n# @F:\n##\n" + ENUM, "documentation of 'F' stands before 'E'"),
    ('doc of no member', "##\n# @E:\n#\n# @c: c\n##\n" + ENUM, "'c' is documented but does not"),
    ('doc twice', "##\n# @E:\n#\n# @a: a\n#\n# @a: a\n##\n" + ENUM, "'a' is documented twice"),
    ('doc required', "{ 'pragma': { 'doc-required': true } }\n" + ENUM, "'E' has no documentation"),
    ('member doc required', "{ 'pragma': { 'doc-required': true } }\n##\n# @E:\n#\n# @a: a\n##\n"
     + ENUM, "'b' is not documented"),
    ('unknown pragma', "{ 'pragma': { 'speed': true } }", "unknown pragma 'speed'"),
    ('missing include', "{ 'include': 'none.json' }", 'no such file'),
]


def generate(folder, schema, config='#define CONFIG_YES 1\n'):
    """Run the generator on module m with text @schema."""
    for name, text in (('m.json', schema), ('top.json', "{ 'include': 'm.json' }\n"),
                       ('config.h', config)):
        with open(os.path.join(folder, name), 'w', encoding='utf-8') as f:
            f.write(text)
    return subprocess.run(
        [sys.executable, os.path.join(SRC, 'scripts/qapi-gen.py'), '--schema', 'top.json',
         '--config', 'config.h', '--out-c', 'c', '--out-h', 'h', '--out-doc', 'doc.md'],
        cwd=folder, capture_output=True, text=True, check=False)


def read(folder, name):
    with open(os.path.join(folder, name), encoding='utf-8') as f:
        return f.read()


def test_refused(tap):
    for name, schema, words in REFUSED:
        with tempfile.TemporaryDirectory() as folder:
            run = generate(folder, schema)
            good = run.returncode == 1 and any(w in run.stderr for w in words.split('|')) \
                and run.stderr.startswith('qapi-gen: ') and run.stderr.count('\n') == 1 \
                and not os.path.exists(os.path.join(folder, 'c'))
            tap.ok(good, f'/qapi-gen/refuses/{name.replace(" ", "-")}', run.stderr)


def test_conditions(tap):
    schema = ("{ 'enum': 'E', 'data': [ 'a', { 'name': 'b', 'if': 'CONFIG_YES' },\n"
              "  { 'name': 'c', 'if': { 'not': 'CONFIG_YES' } },\n"
              "  { 'name': 'd', 'if': { 'any': [ 'CONFIG_NO', 'CONFIG_YES' ] } },\n"
              "  { 'name': 'e', 'if': { 'all': [ 'CONFIG_NO', 'CONFIG_YES' ] } } ] }\n"
              "{ 'struct': 'Gone', 'data': {}, 'if': 'CONFIG_NO' }\n")
    with tempfile.TemporaryDirectory() as folder:
        run = generate(folder, schema)
        text = read(folder, 'h/m-types.h') if run.returncode == 0 else ''
        values = [v for v in 'ABCDE' if f'    E_{v},\n' in text]
        tap.ok(values == ['A', 'B', 'D'] and 'Gone' not in text,
               '/qapi-gen/if/resolved-by-config', run.stderr or values)


def test_names(tap):
    schema = ("{ 'enum': 'BlockdevOnError', 'data': [ 'no-space' ] }\n"
              "{ 'enum': 'Qcow2Mode', 'data': [ '2fast' ] }\n"
              "{ 'enum': 'TLSCredsKind', 'prefix': 'TLS', 'data': [ 'x' ] }\n"
              "{ 'struct': 'S', 'data': { 'static': 'bool', '*a-b': 'int', '*c': 'str' } }\n")
    expected = ['BLOCKDEV_ON_ERROR_NO_SPACE,', 'QCOW2_MODE_2FAST,', 'TLS_X,', 'bool q_static;',
                'bool has_a_b;\n    int64_t a_b;\n    char *c;']
    with tempfile.TemporaryDirectory() as folder:
        run = generate(folder, schema)
        text = read(folder, 'h/m-types.h') if run.returncode == 0 else ''
        tap.ok(all(e in text for e in expected), '/qapi-gen/names/c-spelling',
               run.stderr + text)


def test_unchanged_files_stay(tap):
    with tempfile.TemporaryDirectory() as folder:
        generate(folder, ENUM)
        path = os.path.join(folder, 'h/m-types.h')
        os.utime(path, (1000, 1000))
        generate(folder, ENUM + STRUCT.replace("'S'", "'S'"))
        changed = os.stat(path).st_mtime
        os.utime(path, (1000, 1000))
        generate(folder, ENUM + STRUCT)
        tap.ok(changed != 1000 and os.stat(path).st_mtime == 1000,
               '/qapi-gen/output/rewritten-only-if-changed')


def test_reference(tap):
    schema = ("##\n# = Things\n#\n# About things.\n##\n\n##\n# @fetch:\n#\n# Get a thing.\n#\n"
              "# @name: which one,\n#     exactly\n#\n# Returns: the thing\n#\n# Since: 9.1\n##\n"
              "{ 'command': 'fetch', 'data': { 'name': 'str', '*n': 'int' }, 'returns': 'str' }\n")
    with tempfile.TemporaryDirectory() as folder:
        run = generate(folder, schema)
        text = read(folder, 'doc.md') if run.returncode == 0 else ''
        good = all(e in text for e in (
            '## m\n\nThings\n\nAbout things.\n', '### fetch (command)\n\nGet a thing.\n',
            '- `name` (str): which one, exactly\n- `n` (int, optional)\n', 'Since: 9.1\n'))
        tap.ok(good, '/qapi-gen/reference/from-doc-comments', run.stderr + text)


def main():
    tap = Tap()
    test_refused(tap)
    test_conditions(tap)
    test_names(tap)
    test_unchanged_files_stay(tap)
    test_reference(tap)
    return tap.finish()


sys.exit(main())
