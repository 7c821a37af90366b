"""Reads of memory without a word about whose it is, the kernel's or a program's: one warning for the whole script."""

from __future__ import annotations

from pyprobe.lang.nodes import Call, Cast, Expr, FieldAccess, Index, Integer, Node, Unary
from pyprobe.lang.passes.infer_builtins import space_of
from pyprobe.lang.passes.unit import Unit
from pyprobe.lang.passes.walk import descend
from pyprobe.lang.typesys import Integer as IntegerType
from pyprobe.lang.typesys import Pointer, Struct

UNKNOWN = "Addrspace is not set"
READERS = frozenset(("str", "buf", "join", "macaddr"))
"""Functions that read at the address which is their first argument."""


def run(unit: Unit) -> None:
    for body in unit.bodies:
        provider = body.point.provider
        if any(_unknown(address, provider) for node in descend(body.block) if (address := _address(node)) is not None):
            unit.diagnostics.warning(UNKNOWN)
            return


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
