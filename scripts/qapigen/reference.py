# SPDX-License-Identifier: GPL-2.0-or-later
"""The QMP reference, from the comments of the schema."""

import re

from .output import Output
from .types import Enum, List, Struct


def type_text(t):
    return f'array of {t.element.name}' if isinstance(t, List) else t.name


def doc_text(lines):
    """Lines of a comment as one Markdown paragraph text, common indentation removed."""
    rest = [l for l in lines[1:] if l.strip()]
    indent = min((len(l) - len(l.lstrip()) for l in rest), default=0)
    return '\n'.join([lines[0].strip()] + [l[indent:] for l in lines[1:]]).strip() if lines else ''


def doc_members(entity):
    if isinstance(entity, Enum):
        return [(v.name, '', v) for v in entity.values]
    holder = getattr(entity, 'args', entity)
    if holder is None:
        return []
    if holder is not entity and not holder.implicit:
        return []
    return [(m.name, f' ({type_text(m.type)}{", optional" if m.optional else ""})', m)
            for m in holder.members]


def emit_doc_entity(out, entity, doc):
    kind = entity.kind
    out.append(f'### {entity.name} ({", ".join([kind, *entity.features])})\n')
    if doc and doc_text(doc.body):
        out.append(doc_text(doc.body) + '\n')
    rows = []
    for name, about, member in doc_members(entity):
        about += ''.join(f' ({feature})' for feature in member.features)
        text = ' '.join(doc_text(doc.args.get(name, [])).split()) if doc else ''
        rows.append(f'- `{name}`{about}' + (f': {text}' if text else ''))
    holder = getattr(entity, 'args', entity)
    if holder is not None and holder is not entity and not holder.implicit:
        rows.append(f'- the members of `{holder.name}`')
    if isinstance(holder, Struct) and holder is entity:
        if holder.base:
            rows.append(f'- the members of `{holder.base.name}`')
        for case, branch in holder.branches.items():
            rows.append(f'- if `{holder.tag.name}` is `{case}`: the members of `{branch.name}`')
    if rows:
        out.append('\n'.join(rows) + '\n')
    if getattr(entity, 'ret', None):
        out.append(f'Returns: {type_text(entity.ret)}\n')
    for tag, lines in doc.sections if doc else []:
        text = doc_text(lines)
        if text:
            out.append((f'{tag}: ' if tag else '') + text + '\n')


def emit_doc(schema, path):
    out = ['# QMP reference\n', 'Generated from qapi/*.json by scripts/qapi-gen.py; do not edit.\n']
    for module in schema.modules:
        entries = [(d, e) for m, d, e in schema.docs if m == module]
        if not entries:
            continue
        out.append(f'## {module}\n')
        for doc, entity in entries:
            if entity is None:
                text = doc_text(doc.body)
                if text:
                    out.append(re.sub(r'^=+ ', '', text) + '\n')
            else:
                emit_doc_entity(out, entity, doc)
    output = Output(path, '')
    output.text = ['<!-- SPDX-License-Identifier: GPL-2.0-or-later -->\n', '\n'.join(out)]
    output.save()
