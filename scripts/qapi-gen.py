#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Generate C types, command marshalling, events, introspection and the QMP reference
from the QAPI schema.

    qapi-gen.py --schema qapi/qapi-schema.json --config config.h --out-c DIR --out-h DIR
                [--out-doc FILE]

The parts are in qapigen/.  The generated types are plain C plus one table each (qapi/types.h says
how values lie in memory); all walking over values is in the run-time engine, none is generated.
Conditions ('if') are resolved here, against the macros that config.h defines, so generated code
has none.  Files are only rewritten if their content changes.
"""

import argparse
import os
import re
import sys

sys.path.insert(0, os.path.dirname(os.path.realpath(__file__)))

from qapigen.code import (                                      # noqa: E402
    TypeEmitter, emit_commands, emit_event_enum, emit_events, emit_init)
from qapigen.introspection import Introspection                 # noqa: E402
from qapigen.parser import SchemaError                          # noqa: E402
from qapigen.reference import emit_doc                          # noqa: E402
from qapigen.schema import Schema                               # noqa: E402


def read_config(path):
    if not path:
        return set()
    with open(path, encoding='utf-8') as f:
        return set(re.findall(r'^#define (\w+)', f.read(), re.MULTILINE))


def main():
    parser = argparse.ArgumentParser(description=__doc__.split('\n')[0])
    parser.add_argument('--schema', required=True, help='the file that includes all others')
    parser.add_argument('--config', help='config.h, whose macros make an if true')
    parser.add_argument('--out-c', required=True, help='folder for .c files')
    parser.add_argument('--out-h', required=True, help='folder for .h files')
    parser.add_argument('--out-doc', help='file for the QMP reference')
    args = parser.parse_args()
    try:
        schema = Schema(args.schema, read_config(args.config))
    except SchemaError as e:
        sys.exit(f'qapi-gen: {e}')
    for module in schema.modules:
        TypeEmitter(schema, module).save(args.out_c, args.out_h)
        emit_commands(schema, module, args.out_c, args.out_h)
        emit_events(schema, module, args.out_c, args.out_h)
    emit_event_enum(schema, args.out_c, args.out_h)
    emit_init(schema, args.out_c, args.out_h)
    Introspection(schema).save(f'{args.out_c}/introspect.c')
    if args.out_doc:
        emit_doc(schema, args.out_doc)


if __name__ == '__main__':
    main()
