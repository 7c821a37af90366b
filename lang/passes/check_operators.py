"""The checks and conversions of operators: what both sides must be, and the type in which the machine computes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pyprobe.lang import nodes as n
from pyprobe.lang.passes.casts import convert, final
from pyprobe.lang.passes.infer_builtins import default_space
from pyprobe.lang.passes.infer_expressions import COMPARISONS, LOGICAL, SHIFTS
from pyprobe.lang.promote import integer, is_integer, is_signed, join, kind, meeting, wide
from pyprobe.lang.typesys import (
    BOOL,
    INT64,
    NONE,
    UINT64,
    Aggregate,
    Array,
    Enum,
    Integer,
    Pointer,
    Record,
    Simple,
    Stack,
    String,
    Struct,
    Tuple,
    Type,
)

if TYPE_CHECKING:
    from pyprobe.lang.passes.check import Checker

_NUMERIC = (Integer, Enum)


def unary(check: Checker, node: n.Unary) -> n.Expr:
    """Check an expression with one operand."""
    node.operand = check.expr(node.operand)
    op, t = node.op, node.operand.type
    if t is NONE:
        node.type = NONE
    elif op == "&":
        node.type = Pointer(t)
        if isinstance(node.operand, n.Map) and check.inference.map(node.operand.name).defaulted:
            check.error(f"Undefined map: {node.operand.name}", node.operand.span)
    elif op in ("-", "~"):
        if isinstance(t, Enum):
            node.operand = convert(node.operand, UINT64, None)
        elif isinstance(t, Integer) and t.signed:
            node.operand = convert(node.operand, INT64, None)
        elif isinstance(t, Integer) and t.size < 8:  # an unsigned one works in its own width
            node.type = integer(t.size, False)
            return convert(node, UINT64, None)
    elif op == "*" and isinstance(t, _NUMERIC):
        cell = Pointer(integer(t.size, False), default_space(check.inference.body.point.provider))
        node.operand = convert(node.operand, cell, None)
        node.type = cell.to
        return convert(node, UINT64, None)
    return node


def _mismatch(check: Checker, node: n.Binary, left: Type, right: Type) -> None:
    """Two sides that have nothing to do with each other."""
    plain = NONE in (left, right) or isinstance(left, String) or isinstance(right, String)
    left, right = _as_literal(node.left, left), _as_literal(node.right, right)
    if node.op not in COMPARISONS | LOGICAL and not plain:
        left, right = _widened(node, node.left, left, right), _widened(node, node.right, right, left)
    error = check.error(f"Type mismatch for '{node.op}': comparing {left} with {right}", node.span)
    error.context(node.left.span, f"left ({left})").context(node.right.span, f"right ({right})")


def _as_literal(operand: n.Expr, t: Type) -> Type:
    """The type that is shown: sizeof() and offsetof() are literals, which are unsigned only in what they are assigned to."""
    if not (isinstance(operand, n.Integer) and operand.flexible and is_integer(t)) or is_signed(t):
        return t
    return next((fit for fit in (integer(size, True) for size in (1, 2, 4, 8)) if operand.value <= fit.high), t)


def _widened(node: n.Binary, operand: n.Expr, t: Type, other: Type) -> Type:
    """In arithmetic with what is no number, a number reads as the 64 bits it was widened to: signed if a side is, in shifts the left."""
    if not is_integer(t):
        return t
    right_of_shift = node.op in SHIFTS and operand is node.right
    if (is_signed(t) and not right_of_shift) or is_signed(other):
        return INT64
    return t if right_of_shift and isinstance(operand, n.Integer) and operand.value < 0 else UINT64


def _unusable(check: Checker, node: n.Binary, left: Type, right: Type) -> None:
    check.error(f"The {node.op} operator can not be used on expressions of types {left}, {right}", node.span)


def _without_type(check: Checker, node: n.Binary, left: Type, right: Type) -> n.Expr:
    """An operation on a value that has no type."""
    if left is not right:
        _mismatch(check, node, left, right)
    elif node.op not in ("==", "!="):
        _unusable(check, node, left, right)
    node.type = NONE
    return node


def binary(check: Checker, node: n.Binary) -> n.Expr:
    """Check an expression with two operands."""
    if node.op in LOGICAL:
        return _logical(check, node)
    left, right = node.left.type, node.right.type
    node.left, node.right = check.expr(node.left), check.expr(node.right)
    left, right = (NONE if node.left.type is NONE else left), (NONE if node.right.type is NONE else right)
    if left is NONE or right is NONE:
        return _without_type(check, node, left, right)
    whole_left, whole_right = is_integer(left) or left is BOOL, is_integer(right) or right is BOOL
    if node.op in COMPARISONS:
        _comparison(check, node, left, right, whole_left and whole_right)
    elif isinstance(left, Pointer) or isinstance(right, Pointer):
        pass  # inference has refused what cannot be
    elif whole_left and whole_right:
        _arithmetic(check, node, left, right)
    elif isinstance(left, Array) and isinstance(right, Array):
        check.error(f"The {node.op} operator cannot be used on arrays.", node.span)
    elif _same_family(left, right) and (join(left, right) is not None or not isinstance(left, (Tuple, Record))):
        _unusable(check, node, left, right)
    else:
        _mismatch(check, node, left, right)
    return node


def _logical(check: Checker, node: n.Binary) -> n.Expr:
    left, right = node.left.type, node.right.type
    node.left, node.right = check.read(check.expr(node.left)), check.read(check.expr(node.right))
    other_kinds = Pointer if _with_pointer(left, right) else Aggregate
    left, right = (NONE if node.left.type is NONE else left), (NONE if node.right.type is NONE else right)
    if left is NONE or right is NONE:
        return _without_type(check, node, left, right)
    if not all(t is BOOL or isinstance(t, _NUMERIC) or (isinstance(t, other_kinds) and _has_truth(t)) for t in (left, right)):
        alike = left == right or (isinstance(left, String) and isinstance(right, String)) or _with_pointer(left, right)
        (_unusable if alike else _mismatch)(check, node, left, right)
    return node


def _has_truth(t: Type) -> bool:
    return is_integer(t) or isinstance(t, Pointer)


def _with_pointer(left: Type, right: Type) -> bool:
    """Whether one side is a pointer: the other one must be a pointer or a plain number then."""
    return isinstance(left, Pointer) or isinstance(right, Pointer)


def _arithmetic(check: Checker, node: n.Binary, left: Type, right: Type) -> None:
    to = node.type
    if to is BOOL:
        return
    node.left = convert(check.read(node.left), to, check.diagnostics, left)
    node.right = convert(check.read(node.right), to, check.diagnostics, right)


def _same_family(left: Type, right: Type) -> bool:
    return kind(left) == kind(right) or (isinstance(left, Pointer) and isinstance(right, Pointer))


_EXACT = (Simple, Stack, Struct)  # kinds whose values compare only with the very same type


def _comparison(check: Checker, node: n.Binary, left: Type, right: Type, whole: bool) -> None:
    if whole:
        if left is BOOL and right is BOOL:
            return
        common = meeting(wide(left) if left is BOOL else left, wide(right) if right is BOOL else right)
        _both_to(check, node, common, left, right)
    elif isinstance(left, Pointer) and isinstance(right, Pointer):
        return
    elif isinstance(left, Pointer) and (isinstance(right, _NUMERIC) or right is BOOL):
        node.right = convert(check.read(node.right), final(left), None)
    elif isinstance(right, Pointer) and (isinstance(left, _NUMERIC) or left is BOOL):
        node.left = convert(check.read(node.left), final(right), None)
    elif isinstance(left, Pointer) or isinstance(right, Pointer):
        _unusable(check, node, left, right)
    elif isinstance(left, Array) and isinstance(right, Array):
        if node.op not in ("==", "!="):
            check.error(f"The {node.op} operator cannot be used on arrays.", node.span)
        elif left != right:
            if left.count != right.count:
                check.error("Only arrays of same size support comparison operators.", node.span)
            if left.element != right.element or left.count != right.count:
                check.error("Only arrays of same sized integer support comparison operators.", node.span)
    elif not _same_family(left, right) or (isinstance(left, _EXACT) and left != right):
        _mismatch(check, node, left, right)
    elif node.op not in ("==", "!="):
        _unusable(check, node, left, right)
    elif isinstance(left, (Tuple, Record)):
        common = join(left, right)
        if common is None:
            _mismatch(check, node, left, right)
        else:
            _both_to(check, node, common, left, right)


def _both_to(check: Checker, node: n.Binary, common: Type | None, left: Type, right: Type) -> None:
    if common is None:
        return
    to = final(common)
    node.left = convert(check.read(node.left), to, check.diagnostics, left)
    node.right = convert(check.read(node.right), to, check.diagnostics, right)
