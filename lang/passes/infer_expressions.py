"""The rules of type inference for expressions: one small function a node class, in the table `RULES`.

A rule infers the types of the parts, then gives the type of the whole. `NONE` is the answer while a part is not known; errors are
recorded through the context and count in the last round only.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from pyprobe.lang import nodes as n
from pyprobe.lang.passes.constant import constant_boolean
from pyprobe.lang.passes.infer_builtins import builtin, default_space, in_space
from pyprobe.lang.passes.walk import descend
from pyprobe.lang.promote import arithmetic, is_integer, join, wide
from pyprobe.lang.source import Span
from pyprobe.lang.typesys import (
    BOOL,
    FLEXIBLE,
    INT8,
    INT64,
    NONE,
    UINT64,
    VOID,
    Aggregate,
    Array,
    Context,
    Enum,
    Integer,
    Pointer,
    Record,
    String,
    Struct,
    Tuple,
    Type,
    smallest_integer,
)

if TYPE_CHECKING:
    from pyprobe.lang.passes.infer import Inference

SHIFTS = frozenset({"<<", ">>"})
COMPARISONS = frozenset({"==", "!=", "<", "<=", ">", ">="})
LOGICAL = frozenset({"&&", "||"})
NOT_INDEXED = "The array index operator [] can only be used on arrays, pointers, and tuples, found {type}."


# ---- literals


def _integer(ctx: Inference, node: n.Integer) -> Type:
    if node.type is not NONE:
        return node.type
    plain = smallest_integer(node.value)
    return FLEXIBLE[plain.size] if node.flexible and node.value >= 0 and plain.signed else plain


def _string(ctx: Inference, node: n.String) -> Type:
    return String(len(node.value) + 1)


def _boolean(ctx: Inference, node: n.Boolean) -> Type:
    return BOOL


def _enum_constant(ctx: Inference, node: n.EnumConstant) -> Type:
    if node.type is not NONE:
        return node.type
    found = ctx.unit.types.constant(node.name)
    return found[1] if found is not None else UINT64


def _identifier(ctx: Inference, node: n.Identifier) -> Type:
    return NONE


# ---- variables and maps


def _variable(ctx: Inference, node: n.Variable) -> Type:
    return ctx.variable(node).type


def read_scalar(ctx: Inference, node: n.Map) -> Type:
    state = ctx.map(node.name)
    ctx.use(state, True, node.span)
    state.read = True
    return state.value


def read_element(ctx: Inference, node: n.MapAccess) -> Type:
    state = ctx.map(node.map.name)
    ctx.use(state, False, node.span)
    ctx.assign_key(state, ctx.expr(node.key), node.span)
    state.read = True
    node.map.type = state.value
    return state.value


def _increment(ctx: Inference, node: n.Increment) -> Type:
    before = ctx.expr(node.target)
    if before is NONE:
        return NONE
    found = before if isinstance(before, Pointer) else INT64 if node.op == "--" else wide(before)
    target = node.target
    if isinstance(target, n.Variable):
        if ctx.variable(target).declared and is_integer(before):
            return before
        ctx.assign_variable(target, found, node.span)
    elif isinstance(target, (n.Map, n.MapAccess)):
        ctx.assign_map(ctx.map(target.name if isinstance(target, n.Map) else target.map.name), found, node.span, None)
    return found


# ---- operators


def _unary(ctx: Inference, node: n.Unary) -> Type:
    op = node.op
    operand = node.operand
    if op == "&":
        t = ctx.expr(operand)
        return NONE if t is NONE else Pointer(t)
    t = ctx.expr(operand)
    if t is NONE:
        return NONE
    if op == "*" and isinstance(t, Pointer):
        return t.to
    if isinstance(t, (Integer, Enum)) or (op == "!" and t is BOOL):
        return BOOL if op == "!" else UINT64 if op == "*" else wide(t)
    ctx.error(f"The {op} operator can not be used on expressions of type '{t}'", node.span)
    return NONE


def _binary(ctx: Inference, node: n.Binary) -> Type:
    left, right = ctx.expr(node.left), ctx.expr(node.right)
    op = node.op
    if left is NONE or right is NONE:
        return NONE
    if op in LOGICAL:
        return BOOL
    if op in COMPARISONS:
        if isinstance(left, Pointer) and isinstance(right, Pointer) and left != right and ctx.reporting:
            _distinct_pointers(ctx, node, left, right)
        return BOOL
    if isinstance(left, Pointer) or isinstance(right, Pointer):
        return _pointer_arithmetic(ctx, node, left, right)
    if left is BOOL and right is BOOL:
        return BOOL
    found = UINT64 if op in SHIFTS and not _whole(left) else arithmetic(left, right)
    if op in ("/", "%") and found.signed and left != right and _whole(left) and _whole(right):
        ctx.warning(f"signed operands for '{op}' can lead to undefined behavior (cast to unsigned to silence warning)", node.span)
    return INT64 if op == "-" and _whole(left) and _whole(right) else found


def _whole(t: Type) -> bool:
    return is_integer(t) or t is BOOL


def _distinct_pointers(ctx: Inference, node: n.Binary, left: Pointer, right: Pointer) -> None:
    warning = ctx.warning(f"comparison of distinct pointer types: {left.to}, {right.to}", node.span)
    if warning is not None and not warning.contexts:
        warning.context(node.left.span, f"left ({left.to})").context(node.right.span, f"right ({right.to})")


def _pointer_arithmetic(ctx: Inference, node: n.Binary, left: Type, right: Type) -> Type:
    if isinstance(left, Pointer) and (isinstance(right, (Integer, Enum)) or right is BOOL) and node.op in ("+", "-"):
        return Pointer(left.to, left.space) if isinstance(left, Context) else left
    if isinstance(right, Pointer) and (isinstance(left, (Integer, Enum)) or left is BOOL) and node.op == "+":
        return Pointer(right.to, right.space) if isinstance(right, Context) else right
    ctx.error(f"The {node.op} operator can not be used on expressions of types {left}, {right}", node.span)
    return NONE


def _branches(ctx: Inference, then: Type, orelse: Type, span: Span) -> Type:
    if isinstance(then, Aggregate) and then != orelse and then.castable:
        then = wide(then)
    if isinstance(orelse, Aggregate) and then != orelse and orelse.castable:
        orelse = wide(orelse)
    joined = join(then, orelse)
    if joined is None:
        ctx.error(f"Branches must return the same type or compatible types: have '{then}' and '{orelse}'", span)
        return NONE
    return joined


def _ternary(ctx: Inference, node: n.Ternary) -> Type:
    condition = ctx.expr(node.condition)
    then = ctx.expr(node.then) if node.then is not None else condition
    return _branches(ctx, then, ctx.expr(node.orelse), node.span)


def _if(ctx: Inference, node: n.If) -> Type:
    ctx.expr(node.condition)
    if node.comptime:
        return _comptime_if(ctx, node)
    then = ctx.expr(node.then)
    return _branches(ctx, then, ctx.expr(node.orelse), node.span) if node.orelse is not None else then


def _comptime_if(ctx: Inference, node: n.If) -> Type:
    """Only the branch that is taken exists; until the condition is known neither does."""
    taken = constant_boolean(node.condition, ctx)
    if taken is None:
        text = node.span.source.text
        start = text.rfind("comptime", node.span.start, node.condition.span.start)
        end = max(part.span.end for part in descend(node.condition) if part.span.source is node.span.source)
        closing = text[end : end + len(text[end:]) - len(text[end:].lstrip(" )"))]
        bare = isinstance(node.condition, (n.Builtin, n.Identifier)) and ")" not in closing  # such a word runs on to what follows
        end = end + len(closing if bare else closing.rstrip()) if start >= 0 else node.span.end  # library code has the place of its call
        start = start if start >= 0 else node.span.start
        ctx.error("Unable to resolve comptime expression", Span(node.span.source, start, end, node.span.outer))
        return NONE
    branch = node.then if taken else node.orelse
    return ctx.expr(branch) if branch is not None else VOID


def _block(ctx: Inference, node: n.Block) -> Type:
    return ctx.block(node)


# ---- access


def _field(ctx: Inference, node: n.FieldAccess) -> Type:
    base = ctx.expr(node.base)
    space = None
    while isinstance(base, Pointer):
        space = base.space
        base = base.to
    if base is NONE:
        return NONE
    if isinstance(base, Struct):
        member = base.fields.get(node.field)
        if member is not None:
            return in_space(member.type, space)
        ctx.error(f"Struct/union of type '{base}' does not contain a field named '{node.field}'", node.span)
    elif isinstance(base, Record):
        found = base.field(node.field)
        if found is not None:
            return found
        ctx.error(_missing_field(ctx, node), node.span)
    else:
        ctx.error(f"Can not access field '{node.field}' on expression of type '{base}'", node.span)
    return NONE


COMMON_FIELDS = frozenset({"common_type", "common_flags", "common_preempt_count", "common_pid"})
"""What every tracepoint's record begins with (`struct trace_entry`)."""


def _missing_field(ctx: Inference, node: n.FieldAccess) -> str:
    if isinstance(node.base, n.Builtin) and node.base.name == "args":
        point = ctx.body.point
        if point.provider != "tracepoint":
            return f"Can't find function parameter {node.field}"
        if node.field in COMMON_FIELDS:
            return "BPF does not support accessing common tracepoint fields"
        name = f"struct tracepoint:{point.target}:{point.function}_args"
        return f"Struct/union of type '{name}' does not contain a field named '{node.field}'"
    return f"Record does not contain a field named '{node.field}'"


def _tuple_access(ctx: Inference, node: n.TupleAccess) -> Type:
    base = ctx.expr(node.base)
    return NONE if element_error(base, node.index) else elements_of(base)[node.index]  # the check reports it


def _element(ctx: Inference, base: Type, index: int, span: Span) -> Type:
    if base is NONE:
        return NONE
    message = element_error(base, index)
    if message:
        ctx.error(message, span)
        return NONE
    return elements_of(base)[index]


def elements_of(t: Type) -> tuple[Type, ...]:
    """The types of the elements of a tuple or record; none for other types."""
    if isinstance(t, Tuple):
        return t.elements
    return tuple(f for _, f in t.fields) if isinstance(t, Record) else ()


def element_error(base: Type, index: int) -> str:
    """Why a value of a type has no element of this number, or an empty string."""
    if not isinstance(base, Tuple):
        return f"Can not access index '{index}' on expression of type '{base}'"
    count = len(elements_of(base))
    return "" if 0 <= index < count else f"Invalid tuple index: {index}. Found {count} elements in tuple."


def _index(ctx: Inference, node: n.Index) -> Type:
    base = ctx.expr(node.base)
    ctx.expr(node.index)
    if isinstance(base, Array):
        return base.element
    if isinstance(base, Pointer):
        return in_space(base.to, base.space)
    if isinstance(base, String):
        return INT8
    if isinstance(base, Tuple):
        if isinstance(node.index, n.Integer) and node.index.value >= 0:
            return _element(ctx, base, node.index.value, node.span)
        ctx.error("Array-style access for tuples only valid for integer literals", node.span)
    elif base is not NONE:
        ctx.error(NOT_INDEXED.format(type=base), node.span)
    return NONE


# ---- making values


def _cast(ctx: Inference, node: n.Cast) -> Type:
    operand = ctx.expr(node.operand)
    if node.spec is None:
        return node.type
    target = ctx.resolve(node.spec)
    if isinstance(target, Array) and not target.count and target.element.size:
        if operand is NONE:
            return NONE
        whole = not operand.size % target.element.size
        return Array(target.element, operand.size // target.element.size if whole else 0)
    if isinstance(target, String) and not target.size:
        return operand if isinstance(operand, String) else String(max(1, operand.size))
    if isinstance(target, Pointer) and target.space is None:
        space = operand.space if isinstance(operand, Pointer) and operand.space else default_space(ctx.body.point.provider)
        return (Context if isinstance(operand, Context) else Pointer)(target.to, space)
    return target


def _tuple(ctx: Inference, node: n.Tuple) -> Type:
    elements = tuple(ctx.expr(item) for item in node.items)
    if not elements or (ctx.stepwise and NONE in elements):
        return NONE
    return _remembered(node, Tuple(elements))


def _record(ctx: Inference, node: n.Record) -> Type:
    fields = tuple((name, ctx.expr(value)) for name, value in node.items)
    if ctx.stepwise and any(t is NONE for _, t in fields):
        return NONE
    return _remembered(node, Record(fields))


def _remembered(node: n.Expr, found: Type) -> Type:
    """The type of the last round again where nothing changed, so that joins see the same object."""
    return node.type if node.type is not NONE and join(node.type, found) is node.type and node.type == found else found


RULES: dict[type[n.Node], Callable[..., Type]] = {
    n.Integer: _integer,
    n.String: _string,
    n.Boolean: _boolean,
    n.EnumConstant: _enum_constant,
    n.Identifier: _identifier,
    n.Builtin: builtin,
    n.Variable: _variable,
    n.Map: read_scalar,
    n.MapAccess: read_element,
    n.Increment: _increment,
    n.Unary: _unary,
    n.Binary: _binary,
    n.Ternary: _ternary,
    n.If: _if,
    n.Block: _block,
    n.FieldAccess: _field,
    n.TupleAccess: _tuple_access,
    n.Index: _index,
    n.Cast: _cast,
    n.Tuple: _tuple,
    n.Record: _record,
}
