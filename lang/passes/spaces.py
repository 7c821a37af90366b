"""Reads of memory without a word about whose it is, the kernel's or a program's: one warning for the whole script."""

from __future__ import annotations

from pyprobe.lang.nodes import Assign, Builtin, Call, Cast, Expr, FieldAccess, Increment, Index, Integer, Let, Node, Unary, Variable
from pyprobe.lang.passes.infer_builtins import SPACE_MARKS, space_of
from pyprobe.lang.passes.unit import Unit
from pyprobe.lang.passes.walk import descend
from pyprobe.lang.typesys import Integer as IntegerType
from pyprobe.lang.typesys import Pointer, Struct

UNKNOWN = "Addrspace is not set"
SOURCES = frozenset((*SPACE_MARKS, "kaddr", "percpu_kaddr"))
READERS = frozenset(("str", "buf", "join", "macaddr"))
"""Functions that read at the address which is their first argument."""


def run(unit: Unit) -> None:
    told = any(_tells(node) for body in unit.bodies for node in descend(body.block))
    for body in unit.bodies:
        provider = body.point.provider
        own = pointees(body.block)
        addresses = [address for node in descend(body.block) if (address := _address(node)) is not None]
        addresses = [a for a in addresses if not (isinstance(a, Variable) and (a.name, a.slot) in own)]
        if any(_unknown(address, provider) for address in addresses if not told or isinstance(address, Integer)):
            unit.diagnostics.warning(UNKNOWN)
            return


def pointees(body: Node) -> dict[tuple[str, int], Expr]:
    """The variables of a body, by name and slot, that are only ever given the address of one variable or map, and which that is."""
    found: dict[tuple[str, int], Expr | None] = {}
    for node in descend(body):
        if isinstance(node, Let) and node.value is not None:
            variable, value = node.variable, node.value
        elif isinstance(node, Assign) and isinstance(node.target, Variable):
            variable, value = node.target, node.value
        elif isinstance(node, Increment) and isinstance(node.target, Variable):
            variable, value = node.target, node
        else:
            continue
        whose = value.operand if isinstance(value, Unary) and value.op == "&" else None
        key = (variable.name, variable.slot)
        found[key] = None if key in found else whose
    return {key: whose for key, whose in found.items() if whose is not None}


def _tells(node: Node) -> bool:
    """Whether a node gives an address together with its space, which numbers computed from it keep, wherever they are stored."""
    return (isinstance(node, Builtin) and node.name == "curtask") or (isinstance(node, Call) and node.name in SOURCES)


def _address(node: Node) -> Expr | None:
    """The expression whose value is an address that the node reads at, if it reads. A plain value that a pointer leads to is
    not asked about."""
    if isinstance(node, Unary) and node.op == "*":
        number = isinstance(node.operand, Cast) and node.operand.span is node.operand.operand.span  # that the check made a pointer
        return node.operand if number or isinstance(node.type, Struct) else None
    if isinstance(node, (FieldAccess, Index)):
        return node.base if isinstance(node.base.type, Pointer) else None
    if isinstance(node, Call) and node.name in READERS and isinstance(node.args[0], Expr):
        text = node.name == "str" and isinstance(node.args[0], Integer)  # str(123) is "123"
        return None if text else node.args[0]
    return None


def _unknown(address: Expr, provider: str) -> bool:
    """Whether nothing says where an address points. That of a variable or map of the script needs no word."""
    if isinstance(address, Unary) and address.op == "&":
        return False
    return isinstance(address.type, (Pointer, IntegerType)) and space_of(address, provider) is None
