"""Constants that only the types decide: the conditions of `if comptime` and what `comptime` asks for.

Literals and operators on them were folded long before; here are the questions about types (sizeof, typeinfo, is_str ...), answered once
inference knows the types.
"""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from pyprobe.lang import nodes as n
from pyprobe.lang.promote import kind
from pyprobe.lang.typesys import NONE

if TYPE_CHECKING:
    from pyprobe.lang.passes.infer import Inference

Value = int | bool | bytes

_OPERATORS: dict[str, Callable[[Any, Any], Value]] = {
    "==": operator.eq,
    "!=": operator.ne,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
    "&&": lambda a, b: bool(a) and bool(b),
    "||": lambda a, b: bool(a) or bool(b),
}


def constant(node: n.Expr, ctx: Inference) -> Value | None:
    """The value of an expression that is known now, or None."""
    if isinstance(node, (n.Integer, n.Boolean, n.String)):
        return node.value
    if isinstance(node, n.SizeOf):
        from pyprobe.lang.passes.infer_queries import size_of  # the two modules ask each other

        return size_of(ctx, node.operand) or None
    if isinstance(node, n.Block) and not node.statements and node.result is not None:
        return constant(node.result, ctx)
    if isinstance(node, n.Comptime):
        return constant(node.operand, ctx)
    if isinstance(node, n.Unary) and node.op == "!":
        value = constant(node.operand, ctx)
        return None if value is None else not value
    if isinstance(node, n.Binary) and node.op in _OPERATORS:
        left, right = constant(node.left, ctx), constant(node.right, ctx)
        if left is None or right is None or isinstance(left, bytes) != isinstance(right, bytes):
            return None
        return _OPERATORS[node.op](left, right)
    if isinstance(node, n.FieldAccess) and isinstance(node.base, n.TypeInfo):
        return _type_info(node.base, node.field, ctx)
    return _call(node, ctx) if isinstance(node, n.Call) else None


def _call(node: n.Call, ctx: Inference) -> Value | None:
    first = node.args[0] if node.args else None
    if node.name == "is_scalar" and isinstance(first, n.Map):
        return ctx.map(first.name).scalar is not False
    if node.name == "is_literal":
        return isinstance(first, (n.Integer, n.String, n.Boolean))
    return None


def _type_info(node: n.TypeInfo, field: str, ctx: Inference) -> Value | None:
    from pyprobe.lang.passes.infer_queries import operand_type  # the two modules ask each other

    t = ctx.resolve(node.operand) if isinstance(node.operand, n.TypeSpec) else operand_type(ctx, node.operand)
    if t is NONE:
        return None
    values: dict[str, Value] = {"btf_id": 0, "base_type": kind(t).encode(), "full_type": str(t).encode()}
    return values.get(field)


def constant_boolean(node: n.Expr, ctx: Inference) -> bool | None:
    """The truth of a condition that is known now, or None."""
    value = constant(node, ctx)
    return None if value is None else bool(value)
