"""The checks and conversions of expressions, one small function a node class, in the table `RULES`."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from pyprobe.lang import nodes as n
from pyprobe.lang.passes import infer_queries as infer
from pyprobe.lang.passes.casts import convert, final, no_variant, readable
from pyprobe.lang.passes.check_calls import call
from pyprobe.lang.passes.check_operators import binary, unary
from pyprobe.lang.passes.constant import constant, constant_boolean
from pyprobe.lang.passes.infer_expressions import element_error
from pyprobe.lang.passes.walk import descend
from pyprobe.lang.promote import join, kind
from pyprobe.lang.typesys import (
    BOOL,
    HISTOGRAMS,
    NONE,
    UINT64,
    USERNAME,
    VOID,
    Aggregate,
    Array,
    Enum,
    Integer,
    Pointer,
    Record,
    String,
    Struct,
    Tuple,
    Type,
)

if TYPE_CHECKING:
    from pyprobe.lang.passes.check import Checker

_NUMERIC = (Integer, Enum)


# ---- variables and maps


def _identifier(check: Checker, node: n.Identifier) -> n.Expr:
    check.word(node)
    return node


def _map_access(check: Checker, node: n.MapAccess) -> n.Expr:
    node.key = check.key(node.map.name, node.key, node.span)
    node.type = check.map_value(node.map.name)
    node.map.type = node.type
    return node


def _map(check: Checker, node: n.Map) -> n.Expr:
    node.type = check.map_value(node.name)
    return node


def _variable(check: Checker, node: n.Variable) -> n.Expr:
    node.type = final(check.inference.variable(node).type)
    if node.type is NONE:
        check.error("Could not resolve the type of this variable", node.span)
    return node


def _increment(check: Checker, node: n.Increment) -> n.Expr:
    node.target = check.expr(node.target)
    return node


# ---- conditions


def _ternary(check: Checker, node: n.Ternary) -> n.Expr:
    to = final(readable(node.type))
    node.condition = check.condition(node.condition, node.span)
    branches = (node.then or node.condition, node.orelse)
    if to is not NONE and any(isinstance(b, n.Tuple) and not b.items for b in branches):
        have = " and ".join(f"'{b.type}'" for b in branches)
        check.error(f"Branches must return the same type or compatible types: have {have}", node.span)
        return node
    if node.then is not None:
        node.then = check.store(node.then, to)
    node.orelse = check.store(node.orelse, to)
    node.type = to
    return node


def _if(check: Checker, node: n.If) -> n.Expr:
    if node.comptime:
        branch = node.then if constant_boolean(node.condition, check.inference) else node.orelse
        return check.block(branch) if branch is not None else n.Block(statements=[], type=VOID, span=node.span)
    node.condition = check.condition(node.condition, node.span)
    node.then = check.block(node.then)
    node.orelse = check.block(node.orelse) if node.orelse is not None else None
    to = final(readable(node.type))
    if to is VOID or to is NONE:
        return node
    if node.orelse is None:
        node.orelse = n.Block(statements=[], span=node.span)
    for branch in (node.then, node.orelse):
        if branch.result is None:
            branch.result = _zero(to, node)
        branch.result = convert(check.read(branch.result), to, check.diagnostics, branch.result.type)
        branch.type = to
    node.type = to
    return node


def _zero(t: Type, node: n.Expr) -> n.Expr:
    """The value of a branch that gives none although the other one does."""
    if isinstance(t, String):
        return n.String(value=b"", type=t, span=node.span)
    if t is BOOL:
        return n.Boolean(value=False, type=t, span=node.span)
    return convert(n.Integer(value=0, type=UINT64, span=node.span), t, None)


def _block(check: Checker, node: n.Block) -> n.Expr:
    return check.block(node)


# ---- access


def _field(check: Checker, node: n.FieldAccess) -> n.Expr:
    node.base = _dereferenced(check.expr(node.base))
    return node


def _dereferenced(base: n.Expr) -> n.Expr:
    """All but the last step of a chain of pointers made explicit: `p.f` on a pointer to a pointer reads the inner pointer first."""
    while isinstance(base.type, Pointer) and isinstance(base.type.to, Pointer):
        inner = base.type.to
        space = inner.space or base.type.space
        base = n.Unary(op="*", operand=base, type=Pointer(inner.to, space), span=base.span)
    return base


def _tuple_access(check: Checker, node: n.TupleAccess) -> n.Expr:
    message = element_error(node.base.type, node.index)
    node.base = check.expr(node.base)
    if message:
        check.error(message, node.span)
    return node


def _index(check: Checker, node: n.Index) -> n.Expr:
    base, index = node.base.type, node.index
    t = index.type
    node.base = check.expr(node.base)
    node.index = check.expr(index)
    if isinstance(base, Tuple) and isinstance(index, n.Integer):
        return n.TupleAccess(base=node.base, index=index.value, type=node.type, span=node.span)
    good = isinstance(t, _NUMERIC) and not (isinstance(index, n.Integer) and index.value < 0)
    if good and isinstance(t, Integer) and t.signed and type(t) is Integer:
        good = False
    if not good:
        check.error(f"The array index operator [] only accepts non-negative integer indices. Got: {t}", node.span)
    elif isinstance(base, Pointer) and not base.to.size:
        check.error("The array index operator [] cannot be used on a pointer to an unsized type (void *).", node.span)
    elif isinstance(base, (Array, String)) and isinstance(index, n.Integer):
        count = base.count if isinstance(base, Array) else base.size
        if index.value >= count and not (isinstance(base, Array) and not count):
            check.error(f"the index {index.value} is out of bounds for array of size {count}", node.span)
    return node


# ---- making values


def _cast(check: Checker, node: n.Cast) -> n.Expr:
    source = node.operand.type
    number = node.operand.value if isinstance(node.operand, n.Integer) else -1  # a literal as it is written
    node.operand = check.expr(node.operand)
    node.type = target = final(node.type)
    if node.spec is None:
        return node
    if target is NONE:
        for part in descend(node.spec):
            if isinstance(part, n.Identifier):
                check.word(part)
        check.error("Incomplete cast, unknown type", node.span)
        return node
    if source is NONE:
        check.error(f'Cannot cast from "{source}" type', node.span)
        return node
    if isinstance(target, Enum) and (message := no_variant(target, number)):
        check.error(message, node.span)
        if target.names:
            return node
    if isinstance(node.spec, n.NamedType) and isinstance(target, String) and not node.spec.size:
        check.error(f'Cannot cast from "{source}" to "string"', node.span)
        return node
    if isinstance(target, String) and not check.size(target, node.span):
        return node
    if source == target and not isinstance(source, Struct) and node.quiet:
        return node.operand
    if source == target and not isinstance(source, Struct):
        check.warning(f"Unnecessary cast: expression is already of type {target}", node.span)
    elif not _castable(check, node, source, target):
        return node
    if isinstance(source, Aggregate):
        node.operand = check.read(node.operand)
    node.spec = None
    if isinstance(target, Integer) and isinstance(node.operand, n.Integer):
        return n.Integer(value=target.wrap(node.operand.value), flexible=False, type=target, span=node.span)
    return node


def _castable(check: Checker, node: n.Cast, source: Type, target: Type) -> bool:
    """Whether the cast can be made; reports what is wrong with it."""
    number = isinstance(source, (Integer, Enum)) or source is BOOL
    readable_as_number = number or isinstance(source, Pointer) or (isinstance(source, Aggregate) and source.castable)
    good = False
    if isinstance(source, Struct):
        check.error(f'Cannot cast from C type "{source}"', node.span)
        return False
    if isinstance(target, (Integer, Enum)):
        good = readable_as_number
        if isinstance(source, Array) and isinstance(source.element, Integer):
            good = source.size == target.size
    elif target is BOOL:
        good = readable_as_number or isinstance(source, String)
    elif isinstance(target, Pointer):
        good = not isinstance(source, Array)
    elif isinstance(target, Array):
        fits = _to_array(check, node, source, target)
        if fits is None:
            return False
        good = fits
    elif isinstance(target, String):
        good = isinstance(source, String) and target.size >= source.size
    elif target is USERNAME:
        good = isinstance(source, (Integer, Enum))
    elif isinstance(target, (Tuple, Record)):
        good = join(source, target) is not None
    if not good:
        check.error(f'Cannot cast from "{source}" to "{target}"', node.span)
    return good


def _to_array(check: Checker, node: n.Cast, source: Type, target: Array) -> bool | None:
    """From a number or a string to an array of integers; None after an error of its own."""
    if isinstance(source, Array):
        return source == target
    if isinstance(source, String):
        return isinstance(target.element, Integer) and target.size == source.size
    if not isinstance(source, (Integer, Enum)) or not (isinstance(target.element, Integer) or target.element is BOOL):
        return False
    if not target.count:
        check.error("Cannot determine array size: the element size is incompatible with the cast integer size", node.span)
        return None
    return target.size == source.size or (source.size < target.size <= 8)


def _tuple(check: Checker, node: n.Tuple) -> n.Expr:
    for item in node.items:
        if isinstance(item.type, Aggregate) and item.type.function in HISTOGRAMS:
            check.error(f"Map type {item.type} cannot exist inside a tuple.", item.span)
    node.items = [check.read(check.expr(item)) for item in node.items]
    elements = tuple(item.type for item in node.items)
    node.type = NONE if not elements or NONE in elements else Tuple(elements)
    return node


def _record(check: Checker, node: n.Record) -> n.Expr:
    node.items = [(name, check.read(check.expr(item))) for name, item in node.items]
    node.type = Record(tuple((name, item.type) for name, item in node.items))
    return node


# ---- compile-time questions


def _is_unknown(check: Checker, node: n.SizeOf | n.OffsetOf | n.TypeInfo) -> bool:
    """Whether the operand holds words that nothing defines, which are reported; the question has no answer then."""
    words = [part for part in descend(node.operand) if isinstance(part, n.Identifier)]
    for word in words:
        check.word(word)
        node.type = NONE
    return bool(words)


def _number(value: int, node: n.Expr) -> n.Expr:
    return n.Integer(value=value, flexible=True, type=node.type, span=node.span)


def _size_of(check: Checker, node: n.SizeOf) -> n.Expr:
    if _is_unknown(check, node):
        return node
    return _number(infer.size_of(check.inference, node.operand), node)


def _offset_of(check: Checker, node: n.OffsetOf) -> n.Expr:
    if _is_unknown(check, node):
        return node
    return _number(infer.offset_of(check.inference, node) or 0, node)


def _type_info(check: Checker, node: n.TypeInfo) -> n.Expr:
    if _is_unknown(check, node):
        return node
    operand = node.operand
    t = check.inference.resolve(operand) if isinstance(operand, n.TypeSpec) else infer.operand_type(check.inference, operand)
    if not isinstance(node.type, Record):
        return node  # the operand has no type, and what uses this says so
    types = [f for _, f in node.type.fields]
    values: list[n.Expr] = [
        n.Integer(value=0, type=final(types[0]), span=node.span),
        n.String(value=kind(t).encode(), type=types[1], span=node.span),
        n.String(value=str(t).encode(), type=types[2], span=node.span),
    ]
    return n.Record(items=list(zip(("btf_id", "base_type", "full_type"), values, strict=True)), type=final(node.type), span=node.span)


def _comptime(check: Checker, node: n.Comptime) -> n.Expr:
    value = constant(node.operand, check.inference)
    if isinstance(value, bool):
        return n.Boolean(value=value, type=BOOL, span=node.span)
    if isinstance(value, bytes):
        return n.String(value=value, type=node.type, span=node.span)
    return n.Integer(value=value or 0, type=node.type, span=node.span)


RULES: dict[type[n.Node], Callable[..., n.Expr]] = {
    n.Identifier: _identifier,
    n.Map: _map,
    n.MapAccess: _map_access,
    n.Variable: _variable,
    n.Increment: _increment,
    n.Unary: unary,
    n.Binary: binary,
    n.Ternary: _ternary,
    n.If: _if,
    n.Block: _block,
    n.FieldAccess: _field,
    n.TupleAccess: _tuple_access,
    n.Index: _index,
    n.Cast: _cast,
    n.Tuple: _tuple,
    n.Record: _record,
    n.Call: call,
    n.SizeOf: _size_of,
    n.OffsetOf: _offset_of,
    n.TypeInfo: _type_info,
    n.Comptime: _comptime,
}
