"""The rules of type inference for expressions: one small function a node class, in the table `RULES`.

A rule infers the types of the parts, then gives the type of the whole. `NONE` is the answer while a part is not known; errors are
recorded through the context and count in the last round only.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from pyprobe.lang import nodes as n
from pyprobe.lang.passes.constant import constant, constant_boolean
from pyprobe.lang.promote import arithmetic, is_integer, join, kind, wide
from pyprobe.lang.signatures import (
    BUILTINS,
    FUNCTIONS,
    PROBE_TYPES,
    USER,
    Signature,
    nanoseconds_type,
    stack_type,
)
from pyprobe.lang.source import Span
from pyprobe.lang.typesys import (
    BOOL,
    FLEXIBLE,
    INT8,
    INT64,
    KSYM,
    NONE,
    UINT64,
    USYM,
    VOID,
    Aggregate,
    Array,
    Enum,
    Flexible,
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
    from pyprobe.lang.passes.infer import Inference, MapState

IMMEDIATE = frozenset({n.Integer, n.String, n.Boolean, n.Builtin, n.Cast, n.EnumConstant, n.Call})
"""The expressions whose type is seen without looking anything up."""

COMPARISONS = frozenset({"==", "!=", "<", "<=", ">", ">="})
LOGICAL = frozenset({"&&", "||"})
_KERNEL_PROBES = frozenset({"kprobe", "kretprobe", "fentry", "fexit", "tracepoint", "rawtracepoint", "iter"})


def default_space(provider: str) -> str | None:
    """The address space that a plain pointer points into, in a probe of this provider."""
    if provider in USER:
        return "user"
    return "kernel" if provider in _KERNEL_PROBES else None


# ---- literals and builtin values


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
    ctx.error(f"Unknown identifier: '{node.name}'", node.span)
    return NONE


def _builtin(ctx: Inference, node: n.Builtin) -> Type:
    known = BUILTINS[node.name].type
    if known is not None:
        return nanoseconds_type(node.args) if node.name == "nsecs" else known
    return node.type if node.type is not NONE else _BUILTINS[node.name](ctx, node)


def _args(ctx: Inference, node: n.Builtin) -> Type:
    return ctx.unit.world.args(ctx.body.point) or Record(())


def _retval(ctx: Inference, node: n.Builtin) -> Type:
    return ctx.unit.world.retval(ctx.body.point) or UINT64


def _func(ctx: Inference, node: n.Builtin) -> Type:
    return USYM if ctx.body.point.provider in USER else KSYM


def _probe(ctx: Inference, node: n.Builtin) -> Type:
    return String(max(len(p.name.encode()) for p in ctx.body.points) + 1)


def _probetype(ctx: Inference, node: n.Builtin) -> Type:
    provider = ctx.body.point.provider
    return String(len(PROBE_TYPES.get(provider, provider)) + 1)


def _curtask(ctx: Inference, node: n.Builtin) -> Type:
    task = ctx.unit.types.named("struct task_struct") or Struct("struct task_struct", 0, list)
    return Pointer(task, "kernel")


def _stack(ctx: Inference, node: n.Builtin) -> Type:
    return stack_type(node.name, node.args, ctx.config)


_BUILTINS: dict[str, Callable[[Inference, n.Builtin], Type]] = {
    "args": _args,
    "retval": _retval,
    "func": _func,
    "probe": _probe,
    "probetype": _probetype,
    "curtask": _curtask,
    "kstack": _stack,
    "ustack": _stack,
    "dw_ustack": _stack,
    "config": lambda ctx, node: Record(()),
}


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
        ctx.assign_variable(target, found, node.span, None)
    elif isinstance(target, (n.Map, n.MapAccess)):
        ctx.assign_map(ctx.map(target.name if isinstance(target, n.Map) else target.map.name), found, node.span, None)
    return found


# ---- operators


def _unary(ctx: Inference, node: n.Unary) -> Type:
    op = node.op
    operand = node.operand
    if op == "&":
        return Pointer(ctx.expr(operand))
    t = ctx.expr(operand)
    if t is NONE:
        return BOOL if op == "!" else NONE
    if op == "*" and isinstance(t, Pointer):
        return t.to
    if isinstance(t, (Integer, Enum)) or (op == "!" and t is BOOL):
        return BOOL if op == "!" else UINT64 if op == "*" else wide(t)
    ctx.error(f"The {op} operator can not be used on expressions of type '{t}'", node.span)
    return NONE


def _binary(ctx: Inference, node: n.Binary) -> Type:
    left, right = ctx.expr(node.left), ctx.expr(node.right)
    op = node.op
    if op in LOGICAL:
        return BOOL
    if op in COMPARISONS:
        if isinstance(left, Pointer) and isinstance(right, Pointer) and left != right and ctx.reporting:
            _distinct_pointers(ctx, node, left, right)
        return BOOL
    if left is NONE or right is NONE:
        return NONE
    if isinstance(left, Pointer) or isinstance(right, Pointer):
        return _pointer_arithmetic(ctx, node, left, right)
    if left is BOOL and right is BOOL:
        return BOOL
    if op in ("<<", ">>"):
        return arithmetic(left, right) if isinstance(left, Flexible) else wide(left)
    found = arithmetic(left, right)
    if op in ("/", "%") and found.signed and left != right:
        ctx.warning(f"signed operands for '{op}' can lead to undefined behavior (cast to unsigned to silence warning)", node.span)
    return INT64 if op == "-" else found


def _distinct_pointers(ctx: Inference, node: n.Binary, left: Pointer, right: Pointer) -> None:
    warning = ctx.warning(f"comparison of distinct pointer types: {left.to}, {right.to}", node.span)
    if warning is not None and not warning.contexts:
        warning.context(node.left.span, f"left ({left.to})").context(node.right.span, f"right ({right.to})")


def _pointer_arithmetic(ctx: Inference, node: n.Binary, left: Type, right: Type) -> Type:
    if isinstance(left, Pointer) and isinstance(right, Integer) and node.op in ("+", "-"):
        return left
    if isinstance(right, Pointer) and isinstance(left, Integer) and node.op == "+":
        return right
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
        end = node.condition.span.end
        end += len(text[end:]) - len(text[end:].lstrip(" )"))
        end = len(text[:end].rstrip())
        ctx.error("Unable to resolve comptime expression", Span(node.span.source, start, end, node.span.outer))
        return NONE
    branch = node.then if taken else node.orelse
    return ctx.expr(branch) if branch is not None else VOID


def _block(ctx: Inference, node: n.Block) -> Type:
    return ctx.block(node)


# ---- access


def _in_space(t: Type, space: str | None) -> Type:
    """A pointer found in memory of an address space points into the same one."""
    return Pointer(t.to, space) if space is not None and isinstance(t, Pointer) and t.space is None else t


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
            return _in_space(member.type, space)
        ctx.error(f"Struct/union of type '{base}' does not contain a field named '{node.field}'", node.span)
    elif isinstance(base, Record):
        found = base.field(node.field)
        if found is not None:
            return found
        ctx.error(_missing_field(ctx, node), node.span)
    else:
        ctx.error(f"Can not access field '{node.field}' on expression of type '{base}'", node.span)
    return NONE


def _missing_field(ctx: Inference, node: n.FieldAccess) -> str:
    if isinstance(node.base, n.Builtin) and node.base.name == "args":
        point = ctx.body.point
        if point.provider != "tracepoint":
            return f"Can't find function parameter {node.field}"
        name = f"struct tracepoint:{point.target}:{point.function}_args"
        return f"Struct/union of type '{name}' does not contain a field named '{node.field}'"
    return f"Record does not contain a field named '{node.field}'"


def _tuple_access(ctx: Inference, node: n.TupleAccess) -> Type:
    return _element(ctx, ctx.expr(node.base), node.index, node.span)


def _element(ctx: Inference, base: Type, index: int, span: Span) -> Type:
    if base is NONE:
        return NONE
    if not isinstance(base, (Tuple, Record)):
        ctx.error(f"Can not access index '{index}' on expression of type '{base}'", span)
        return NONE
    elements = base.elements if isinstance(base, Tuple) else tuple(t for _, t in base.fields)
    if not 0 <= index < len(elements):
        ctx.error(f"Invalid tuple index: {index}. Found {len(elements)} elements in tuple.", span)
        return NONE
    return elements[index]


def _index(ctx: Inference, node: n.Index) -> Type:
    base = ctx.expr(node.base)
    ctx.expr(node.index)
    if isinstance(base, Array):
        return base.element
    if isinstance(base, Pointer):
        return _in_space(base.to, base.space)
    if isinstance(base, String):
        return INT8
    if isinstance(base, Tuple):
        if isinstance(node.index, n.Integer) and node.index.value >= 0:
            return _element(ctx, base, node.index.value, node.span)
        ctx.error("Array-style access for tuples only valid for integer literals", node.span)
    elif base is not NONE:
        ctx.error(f"The array index operator [] can only be used on arrays, pointers, and tuples, found {base}.", node.span)
    return NONE


# ---- making values


def _cast(ctx: Inference, node: n.Cast) -> Type:
    operand = ctx.expr(node.operand)
    if node.spec is None:
        return node.type
    target = ctx.resolve(node.spec, node.span)
    if isinstance(target, Array) and not target.count and target.element.size:
        if operand is NONE:
            return NONE
        whole = not operand.size % target.element.size
        return Array(target.element, operand.size // target.element.size if whole else 0)
    if isinstance(target, String) and not target.size:
        return operand if isinstance(operand, String) else String(max(1, operand.size))
    if isinstance(target, Pointer) and target.space is None:
        space = operand.space if isinstance(operand, Pointer) and operand.space else default_space(ctx.body.point.provider)
        return Pointer(target.to, space)
    return target


def _tuple(ctx: Inference, node: n.Tuple) -> Type:
    elements = tuple(ctx.expr(item) for item in node.items)
    if not elements:
        return NONE
    return _remembered(node, Tuple(elements))


def _record(ctx: Inference, node: n.Record) -> Type:
    return _remembered(node, Record(tuple((name, ctx.expr(value)) for name, value in node.items)))


def _remembered(node: n.Expr, found: Type) -> Type:
    """The type of the last round again where nothing changed, so that joins see the same object."""
    return node.type if node.type is not NONE and join(node.type, found) is node.type and node.type == found else found


# ---- calls


def _call(ctx: Inference, node: n.Call) -> Type:
    signature = FUNCTIONS.get(node.name)
    if signature is None:
        for arg in node.args:
            if isinstance(arg, n.Expr):
                ctx.expr(arg)
        return NONE
    if node.name == "container_of":
        return _container_of(ctx, node)
    map_first = bool(signature.params) and signature.params[0].kinds[:1] == ("map",)
    for position, arg in enumerate(node.args):
        if not isinstance(arg, n.Expr):
            continue
        if position == 0 and isinstance(arg, n.Map) and (map_first or node.name in ("print", "len")):
            arg.type = ctx.map(arg.name).value
        elif position == 0 and isinstance(arg, n.MapAccess) and node.name == "delete":
            state = ctx.map(arg.map.name)
            ctx.use(state, False, arg.map.span)
            ctx.assign_key(state, ctx.expr(arg.key), arg.span)
            arg.type = arg.map.type = state.value
        else:
            ctx.expr(arg)
    if signature.mode == "aggregate":
        return _aggregation(ctx, node, signature)
    special = _CALLS.get(node.name)
    if special is not None:
        special(ctx, node)
    if isinstance(signature.result, Type):
        return signature.result
    if len(node.args) < signature.least:
        return NONE
    found = signature.result(node.args, ctx.config)
    return node.type if node.type == found and not isinstance(found, Integer) else found


def _container_of(ctx: Inference, node: n.Call) -> Type:
    """`container_of(p, typeof(T), member)`: a pointer to the T that the member p points to is in."""
    pointer, spec, member = node.args
    t = ctx.expr(pointer) if isinstance(pointer, n.Expr) else NONE
    found = ctx.resolve(spec) if isinstance(spec, n.TypeSpec) else ctx.expr(spec)
    path = member_path(member)
    if path is None:
        ctx.error("Call to container_of() has arguments that do not match any definition.", node.span)
        return NONE
    member_offset(ctx, found, path, node.span)
    return Pointer(found, t.space if isinstance(t, Pointer) else default_space(ctx.body.point.provider))


def member_path(node: n.Node) -> list[str] | None:
    """`a.b.c` as names, where a is no variable but a member as well."""
    if isinstance(node, n.Identifier):
        return [node.name]
    if isinstance(node, n.FieldAccess):
        before = member_path(node.base)
        return None if before is None else [*before, node.field]
    return None


def _aggregation(ctx: Inference, node: n.Call, signature: Signature) -> Type:
    value = node.args[0] if node.args else None
    if isinstance(value, n.Expr):
        if value.type is NONE:
            return NONE
        if not isinstance(value.type, (Integer, Enum)):
            exact = node.name not in ("hist", "lhist", "tseries")
            wanted, given = ("integer", str(value.type)) if exact else ("int", kind(value.type))
            ctx.error(f"{node.name}() only supports {wanted} arguments ({given} provided)", node.span, 0 if exact else 2)
            return NONE
    found = signature.result if isinstance(signature.result, Type) else signature.result(node.args, ctx.config)
    return node.type if node.type == found else found


def _map_of(ctx: Inference, node: n.Call) -> MapState | None:
    first = node.args[0] if node.args else None
    return ctx.map(first.name) if isinstance(first, n.Map) else None


def _needs_value(ctx: Inference, node: n.Call) -> None:
    """Functions on a whole map want one that gets a value somewhere."""
    state = _map_of(ctx, node)
    if state is not None and state.value is NONE and not state.read:
        word = "Unknown" if node.name == "len" else "Undefined"
        ctx.error(f"{word} map: {state.name}", node.args[0].span)


def _with_key(ctx: Inference, node: n.Call) -> None:
    _needs_value(ctx, node)
    state = _map_of(ctx, node)
    if state is None:
        return
    if len(node.args) == 1:
        if state.scalar is None:
            state.scalar = True
        if not state.scalar:
            ctx.error("call to delete() with a single argument expects a map without explicit keys (scalar map)", node.span)
        return
    if state.scalar:
        with_two = "with two arguments " if node.name == "delete" else ""
        ctx.error(f"call to {node.name}() {with_two}expects a map with explicit keys (non-scalar map)", node.span)
        return
    key = node.args[1]
    if isinstance(key, n.Expr):
        if state.scalar is None and state.value is not NONE:
            state.scalar = False
        ctx.assign_key(state, key.type, node.span)
    if node.name == "find" and len(node.args) == 3 and isinstance(node.args[2], n.Variable):
        ctx.assign_variable(node.args[2], state.value, node.span, None)
        node.args[2].type = ctx.variable(node.args[2]).type


_CALLS: dict[str, Callable[[Inference, n.Call], None]] = {
    "print": _needs_value,
    "clear": _needs_value,
    "zero": _needs_value,
    "len": _needs_value,
    "delete": _with_key,
    "has_key": _with_key,
    "find": _with_key,
}


# ---- compile-time questions


def _size_of(ctx: Inference, node: n.SizeOf) -> Type:
    """The literal that sizeof() is, an unsigned one."""
    size = size_of(ctx, node.operand)
    return next(t for t in _UNSIGNED if size <= t.high)


def size_of(ctx: Inference, operand: n.Expr | n.TypeSpec) -> int:
    """The size in bytes of a type, or of the type of an expression."""
    if isinstance(operand, n.TypeSpec):
        return ctx.resolve(operand).size
    return operand_type(ctx, operand).size


def operand_type(ctx: Inference, operand: n.Expr) -> Type:
    """The type of an expression that is not evaluated; a keyed map used bare stands for its key."""
    if isinstance(operand, n.Map):
        state = ctx.map(operand.name)
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


RULES: dict[type[n.Node], Callable[..., Type]] = {
    n.Integer: _integer,
    n.String: _string,
    n.Boolean: _boolean,
    n.EnumConstant: _enum_constant,
    n.Identifier: _identifier,
    n.Builtin: _builtin,
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
    n.Call: _call,
    n.SizeOf: _size_of,
    n.OffsetOf: _offset_of,
    n.TypeInfo: _type_info,
    n.Comptime: _comptime,
}
