"""Type inference for calls: what the table of signatures says, and what functions on maps tell about the maps."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from pyprobe.lang import nodes as n
from pyprobe.lang.functions import FUNCTIONS
from pyprobe.lang.promote import kind
from pyprobe.lang.signatures import Signature
from pyprobe.lang.typesys import HISTOGRAMS, INTEGERS, NONE, UINT64, VOID, Aggregate, Enum, Integer, Pointer, Record, Stack, Struct, Type

if TYPE_CHECKING:
    from pyprobe.lang.passes.infer import Inference, MapState
    from pyprobe.lang.source import Span


def call(ctx: Inference, node: n.Call) -> Type:
    signature = FUNCTIONS.get(node.name)
    if signature is None:
        for arg in node.args:
            if isinstance(arg, n.Expr):
                ctx.expr(arg)
        if node.name == "nsecs":
            if isinstance(node.args[0], n.Identifier):
                ctx.error(f"Invalid timestamp mode: {node.args[0].name}", node.args[0].span, 0)
            return UINT64  # the check refuses what else it was given
        ctx.error(f"Unknown function: '{node.name}'", node.span, 0)
        return NONE
    map_first = bool(signature.params) and signature.params[0].kinds[:1] == ("map",)
    for position, arg in enumerate(node.args):
        if not isinstance(arg, n.Expr):
            continue
        if position == 0 and isinstance(arg, n.Map) and (map_first or node.name in ("print", "len")):
            arg.type = ctx.map(arg.name).value
        elif position == 0 and isinstance(arg, n.MapAccess) and node.name == "delete":
            state = ctx.map(arg.map.name)
            ctx.use(state, False, arg.map.span)
            ctx.assign_key(state, ctx.expr(arg.key), node.span)
            arg.type = arg.map.type = state.value
            _want_value(ctx, state, node.name, arg.map.span)
        else:
            ctx.expr(arg)
    if signature.mode == "aggregate":
        return _aggregation(ctx, node, signature)
    special = _STATEFUL.get(node.name)
    if special is not None:
        special(ctx, node)
    if node.name == "len" and not isinstance(node.args[0], n.Map) and _given(node) is not NONE and not isinstance(_given(node), Stack):
        return VOID  # the check refuses it
    if node.name == "uaddr":
        return _pointer_to_symbol(ctx, node, signature)
    if isinstance(signature.result, Type):
        return signature.result
    if len(node.args) < signature.least:
        return NONE
    found = signature.result(node.args, ctx.config)
    return node.type if node.type == found and not isinstance(found, Integer) else found


def _pointer_to_symbol(ctx: Inference, node: n.Call, signature: Signature) -> Type:
    """uaddr(): a pointer to a signed integer of the symbol's size."""
    assert isinstance(signature.result, Type)
    symbol = node.args[0] if node.args else None
    found = ctx.unit.world.user_symbol(ctx.body.point, symbol.value.decode(errors="replace")) if isinstance(symbol, n.String) else None
    kept = INTEGERS.get(f"int{found[1] * 8}") if found is not None else None
    return Pointer(kept, "user") if kept is not None else signature.result


def _aggregation(ctx: Inference, node: n.Call, signature: Signature) -> Type:
    value = node.args[0] if node.args else None
    if isinstance(value, n.Expr):
        if value.type is NONE:
            return NONE
        if not isinstance(value.type, (Integer, Enum)):
            exact = node.name not in HISTOGRAMS
            if not exact and isinstance(value.type, Aggregate) and value.type.castable:
                return _result(ctx, node, signature)
            wanted, given = ("integer", str(value.type)) if exact else ("int", kind(value.type))
            ctx.error(f"{node.name}() only supports {wanted} arguments ({given} provided)", node.span, 0 if exact else 2)
            return NONE
    return _result(ctx, node, signature)


def _result(ctx: Inference, node: n.Call, signature: Signature) -> Type:
    found = signature.result if isinstance(signature.result, Type) else signature.result(node.args, ctx.config)
    return node.type if node.type == found else found


def _map_of(ctx: Inference, node: n.Call) -> MapState | None:
    first = node.args[0] if node.args else None
    return ctx.map(first.name) if isinstance(first, n.Map) else None


def _needs_value(ctx: Inference, node: n.Call) -> None:
    """Functions on a whole map want one that gets a value somewhere."""
    state = _map_of(ctx, node)
    if state is not None:
        _want_value(ctx, state, node.name, node.args[0].span)


def _want_value(ctx: Inference, state: MapState, function: str, span: Span) -> None:
    if state.value is NONE and not state.read:
        word = "Unknown" if function == "len" else "Undefined"
        ctx.error(f"{word} map: {state.name}", span, 5)


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
        if node.name == "find":
            ctx.use(state, False, node.span)
            return
        with_two = "with two arguments " if node.name == "delete" else ""
        ctx.error(f"call to {node.name}() {with_two}expects a map with explicit keys (non-scalar map)", node.span)
        return
    key = node.args[1]
    if isinstance(key, n.Expr):
        if state.scalar is None and state.value is not NONE:
            state.scalar = False
        ctx.assign_key(state, key.type, node.span)
    if node.name == "find" and len(node.args) == 3 and isinstance(node.args[2], n.Variable):
        ctx.assign_variable(node.args[2], state.value, node.span)
        node.args[2].type = ctx.variable(node.args[2]).type


def says_nothing(arg: n.Node) -> bool:
    """Whether an expression that has no value is right in itself; of other ones it is said elsewhere what is wrong with them."""
    match arg:
        case n.Tuple():
            return not arg.items
        case n.Call():
            return arg.name in FUNCTIONS
        case n.Index():
            return says_nothing(arg.base)
        case n.Block():
            return arg.result is None or says_nothing(arg.result)
        case n.If():
            return arg.orelse is None or says_nothing(arg.then)
        case n.Ternary():
            return arg.then is not None and says_nothing(arg.then)
    return False


def _comm(ctx: Inference, node: n.Call) -> None:
    if _given(node) is NONE:
        ctx.error("Unable to resolve comptime expression", node.span)


def _given(node: n.Call) -> Type:
    first = node.args[0]
    return first.type if isinstance(first, n.Expr) else NONE


def _task(ctx: Inference, node: n.Call) -> None:
    """What is asked of a task goes through a member of its struct."""
    member = "real_parent" if node.name in ("ppid", "pcomm") else "group_leader"
    t = _given(node)
    while isinstance(t, Pointer):
        t = t.to
    if isinstance(t, Struct) and t.name != "struct task_struct" and member not in t.fields:
        ctx.error(f"Struct/union of type '{t}' does not contain a field named '{member}'", node.span)
    elif isinstance(t, Record):
        ctx.error(f"Record does not contain a field named '{member}'", node.span)
    elif not isinstance(t, Struct) and (t is not NONE or says_nothing(node.args[0])):
        ctx.error(f"Can not access field '{member}' on expression of type '{t}'", node.span)


_STATEFUL: dict[str, Callable[[Inference, n.Call], None]] = {
    "comm": _comm,
    **dict.fromkeys(("ppid", "pcomm", "leader_tid", "leader_comm"), _task),
    "print": _needs_value,
    "clear": _needs_value,
    "zero": _needs_value,
    "len": _needs_value,
    "delete": _with_key,
    "has_key": _with_key,
    "find": _with_key,
}
