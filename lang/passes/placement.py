"""Where aggregations may stand, and maps that a function needs to know by their other uses.

Both are asked before anything else about calls: `count()` somewhere else than on the right side of an assignment to a map is that error
first, and what `len`, `is_scalar` and `delete` do depends on whether the map has keys, which its uses show.
"""

from __future__ import annotations

from pyprobe.lang.functions import FUNCTIONS, is_aggregation
from pyprobe.lang.nodes import Assign, Block, Call, Expr, Map, MapAccess, Node, OffsetOf, SizeOf, TypeInfo, TypeOf, Variable
from pyprobe.lang.passes.unit import Unit
from pyprobe.lang.passes.walk import children, descend

TELL_NOTHING = frozenset(("print", "clear", "zero", "len", "is_scalar", "delete"))
QUERIES: dict[type[Node], str] = {
    SizeOf: "sizeof",
    OffsetOf: "offsetof",
    TypeOf: "typeof or typeinfo",
    TypeInfo: "typeof or typeinfo",
}
NEED_A_USE = frozenset(("len", "is_scalar", "delete"))


def run(unit: Unit) -> None:
    known = {name for block in unit.blocks() for name in _used(block)}
    for block in unit.blocks():
        placed: set[int] = set()
        for node in descend(block):
            if isinstance(node, Assign) and not node.op and not isinstance(node.target, Variable):
                placed.add(id(_value(node.value)))
            elif isinstance(node, (SizeOf, OffsetOf, TypeOf, TypeInfo)):
                _unassigned(unit, node)
            elif isinstance(node, Call) and is_aggregation(node.name) and id(node) not in placed:
                unit.diagnostics.error(f"{node.name}() must be assigned directly to a map", node.span)
            elif isinstance(node, Call) and node.name in NEED_A_USE and len(node.args) == 1:
                first = node.args[0]
                if isinstance(first, Map) and first.name not in known:
                    unit.diagnostics.error(f"Unknown map: {first.name}", node.span)


def _unassigned(unit: Unit, query: SizeOf | OffsetOf | TypeOf | TypeInfo) -> None:
    """What is asked only for its type is not evaluated, so it must not seem to fill a map."""
    for node in descend(query.operand):
        if isinstance(node, Assign) and not isinstance(node.target, Variable):
            unit.diagnostics.error(f"Map assignments not allowed inside of {QUERIES[type(query)]}", node.span)


def _value(value: Expr) -> Expr:
    """What an assignment assigns: the last expression of blocks."""
    while isinstance(value, Block) and value.result is not None:
        value = value.result
    return value


def _used(node: Node) -> list[str]:
    """The maps whose use shows whether they have keys."""
    found: list[str] = []
    stack: list[Node] = [node]
    while stack:
        node = stack.pop()
        if isinstance(node, Map):
            found.append(node.name)
        elif isinstance(node, MapAccess):
            found.append(node.map.name)
        skipped = isinstance(node, Call) and node.name in FUNCTIONS and node.name in TELL_NOTHING and len(node.args) == 1
        stack += [child for child in children(node) if not (skipped and isinstance(child, Map))]
    return found
