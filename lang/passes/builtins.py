"""Names of builtin values become Builtin nodes: `pid`, `arg0` (name `arg`, argument 0), `nsecs()`; `__builtin_cpu` is `cpu`.

Calls with an argument (`nsecs(tai)`, `kstack(3)`) stay calls: what their words mean is for the check of calls. The operand of sizeof
and its like may be the name of a type, so there only those names count that the parser itself would take for values.
"""

from __future__ import annotations

import re

from pyprobe.lang.builtins import BUILTINS
from pyprobe.lang.nodes import Builtin, Call, Function, Identifier, Node, OffsetOf, Probe, SizeOf, TypeInfo, TypeOf
from pyprobe.lang.passes.unit import Unit
from pyprobe.lang.passes.walk import replace_children

PARSER_VALUES = frozenset(("args", "ctx", "kstack", "nsecs", "pid", "tid", "ustack"))
FUNCTIONS_ONLY = frozenset(("reg",))  # known as values about the event, but always written with an argument
INTERNAL = "__builtin_"
INTERNAL_VALUES = frozenset(("comm", "cpid", "cpu", "dw_ustack", "elapsed", "func", "ncpus", "probe", "retval", "usermode"))

_ARGUMENT = re.compile(r"arg([0-9]+)")


def run(unit: Unit) -> None:
    for item in unit.script.items:
        if isinstance(item, (Probe, Function)):
            replace_children(item, resolve)


def resolve(node: Node, bare_type: bool = False, in_macro: bool = False) -> Node:
    """Resolve the names in a tree, in place; returns the replacement of `node`. `bare_type`: a bare name here may be that of a type;
    `in_macro`: the tree is the body of a C macro, where the library's values are not known."""
    if isinstance(node, Identifier):
        return _value(node, bare_type or in_macro)
    inside = isinstance(node, (SizeOf, OffsetOf, TypeOf, TypeInfo))
    replace_children(node, lambda child: resolve(child, inside, in_macro))
    if isinstance(node, Call) and not node.args and not in_macro:
        known = BUILTINS.get(node.name)
        if known is not None and (known.library or known.words) and node.name not in FUNCTIONS_ONLY:
            return Builtin(name=node.name, span=node.span)
    return node


def _value(node: Identifier, bare_type: bool) -> Node:
    name = node.name
    if argument := _ARGUMENT.fullmatch(name):
        return Builtin(name="arg", args=(int(argument[1]),), span=node.span)
    if name.startswith(INTERNAL) and name.removeprefix(INTERNAL) in INTERNAL_VALUES:
        return Builtin(name=name.removeprefix(INTERNAL), span=node.span)
    if name in BUILTINS and name not in FUNCTIONS_ONLY and (name in PARSER_VALUES or not bare_type) and name != "arg":
        return Builtin(name=name, span=node.span)
    return node
