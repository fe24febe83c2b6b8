# SPDX-License-Identifier: GPL-2.0-or-later
"""Generator of the QAPI code; qapi-gen.py says what it makes.

Reading order: parser (text -> expressions), types and schema (expressions -> checked entities),
then one emitter per output: code, introspection, reference.
"""
