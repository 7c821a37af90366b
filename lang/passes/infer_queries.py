"""Questions that are answered while compiling: sizeof, offsetof, typeinfo, comptime."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from pyprobe.lang import nodes as n
from pyprobe.lang.passes.constant import constant
from pyprobe.lang.promote import kind
from pyprobe.lang.source import Span
from pyprobe.lang.typesys import FLEXIBLE, NONE, Integer, Record, String, Struct, Type

if TYPE_CHECKING:
    from pyprobe.lang.passes.infer import Inference


def _size_of(ctx: Inference, node: n.SizeOf) -> Type:
    """The literal that sizeof() is, an unsigned one."""
    size = size_of(ctx, node.operand)
    return next(t for t in _UNSIGNED if size <= t.high)


def size_of(ctx: Inference, operand: n.Expr | n.TypeSpec) -> int:
    """The size in bytes of a type, or of the type of an expression."""
    found = ctx.resolve(operand) if isinstance(operand, n.TypeSpec) else operand_type(ctx, operand)
    return found.size % (1 << 64)


def operand_type(ctx: Inference, operand: n.Expr) -> Type:
    """The type of an expression that is not evaluated; a keyed map used bare stands for its key."""
    if isinstance(operand, n.Map):
        state = ctx.map(operand.name)
        state.read = True
        return state.value if state.scalar is not False else state.key
    return ctx.expr(operand)


def _offset_of(ctx: Inference, node: n.OffsetOf) -> Type:
    offset = offset_of(ctx, node)
    return next(t for t in _UNSIGNED if (offset or 0) <= t.high)


def offset_of(ctx: Inference, node: n.OffsetOf) -> int | None:
    """The offset in bytes of a member, or None after reporting that there is no such member."""
    t = ctx.resolve(node.operand) if isinstance(node.operand, n.TypeSpec) else ctx.expr(node.operand)
    return member_offset(ctx, t, node.path, node.span)


def member_offset(ctx: Inference, t: Type, path: list[str], span: Span) -> int | None:
    """The offset in bytes of a member of a member ... of a struct, or None after reporting that there is none."""
    offset = 0
    for name in path:
        if not isinstance(t, Struct):
            if t is not NONE:
                ctx.error(f"'{t}' is not a C type.", span)
            return None
        member = t.fields.get(name)
        if member is None:
            ctx.error(f"'{t}' has no field named '{name}'", span)
            return None
        offset += member.offset
        t = member.type
    return offset


_UNSIGNED = tuple(Integer(size, False) for size in (1, 2, 4, 8))


def _type_info(ctx: Inference, node: n.TypeInfo) -> Type:
    t = ctx.resolve(node.operand) if isinstance(node.operand, n.TypeSpec) else operand_type(ctx, node.operand)
    if t is NONE:
        return NONE
    return Record((("btf_id", FLEXIBLE[1]), ("base_type", String(len(kind(t)) + 1)), ("full_type", String(len(str(t)) + 1))))


def _comptime(ctx: Inference, node: n.Comptime) -> Type:
    found = ctx.expr(node.operand)
    if constant(node.operand, ctx) is None:
        ctx.error("Unable to resolve comptime expression", node.span)
    return found


QUERIES: dict[type[n.Node], Callable[..., Type]] = {
    n.SizeOf: _size_of,
    n.OffsetOf: _offset_of,
    n.TypeInfo: _type_info,
    n.Comptime: _comptime,
}
