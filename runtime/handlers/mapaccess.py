"""Reading, assigning and counting in maps.

The hot statements become two or three plain operations on a dict: `@[k] = count()` is

    try: m[k] += 1
    except KeyError: new(k, 1)

where `new` inserts, or warns when the map is full.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from pyprobe.lang import nodes
from pyprobe.lang.source import Span
from pyprobe.lang.typesys import INT64, UINT64, Aggregate, Pointer, Type
from pyprobe.runtime import aggregates
from pyprobe.runtime.handlers import arithmetic
from pyprobe.runtime.handlers.arithmetic import fit, limits
from pyprobe.runtime.handlers.compiler import Compiler, bare
from pyprobe.runtime.handlers.emitter import Code, number
from pyprobe.runtime.maps import MapStorage

MAP_FULL = (
    "Map full; can't update element. Try increasing max_map_keys config or manually setting the max entries in a map declaration "
    "e.g. `let @a = hash(5000)`"
)
NO_ELEMENT = "Can't lookup map element because it does not exist."


class Place:
    """A map element about to be used: its storage, the free name of the dict, and the key."""

    __slots__ = ("data", "key", "span", "storage")

    def __init__(self, storage: MapStorage, data: str, key: Code, span: Span) -> None:
        self.storage = storage
        self.data = data
        self.key = key
        self.span = span


def place(c: Compiler, node: nodes.Map | nodes.MapAccess, *, touch: bool = True) -> Place:
    """The element that an expression names; its key is not evaluated yet (use `settle` where it is needed more than once)."""
    access = node.map if isinstance(node, nodes.MapAccess) else node
    storage = c.storage(access)
    data = c.bind(storage.data, "m" + access.name.replace("@", "_"))
    key = c.expr(node.key) if isinstance(node, nodes.MapAccess) else number(0)
    result = Place(storage, data, key, node.span)
    if storage.lru and touch:
        settle(c, result)
        c.emitter.emit(f"{c.bind(storage.touch, 'touch')}({result.key.text})")
    return result


def settle(c: Compiler, p: Place) -> Place:
    """Make the key cheap and safe to repeat."""
    if not p.key.stable and not p.key.text.isidentifier():
        p.key = c.keep(p.key)
    return p


# ---- reading


def read_scalar(c: Compiler, node: nodes.Map) -> Code:
    return _read(c, place(c, node), node.type)


def read_element(c: Compiler, node: nodes.MapAccess) -> Code:
    return _read(c, place(c, node), node.type)


def _read(c: Compiler, p: Place, t: Type) -> Code:
    value = p.storage.value
    get = c.bind(p.storage.data.get, p.data + "_get")
    key = bare(p.key.text)
    if c.context.verbose_helpers:
        settle(c, p)
        key = p.key.text
        helper = "map_lookup_percpu_elem" if isinstance(value, Aggregate) else "map_lookup_elem"
        fail = c.helper_error(p.span, NO_ELEMENT, helper, 0, None)
        c.emitter.emit(f"if {key} not in {p.data}: {fail}()")
    if isinstance(value, Aggregate):
        return _read_aggregate(c, f"{get}({key}", value)
    low, high = limits(value)
    zero = c.zero(value)
    return Code(f"{get}({key}, {zero.text})", low, high, depth=p.key.depth + 1)


def _read_aggregate(c: Compiler, get: str, kind: Aggregate) -> Code:
    """`get` is the beginning of the call that fetches the stored form."""
    if kind.function == "count":
        return Code(f"{get}, 0)", 0, arithmetic.MASK, depth=1)
    if kind.function == "sum":
        total = Code(f"{get}, 0)", -(1 << 200), 1 << 200, depth=1)
        return fit(total, 8, kind.signed)
    if kind.function in ("min", "max"):
        return Code(f"({get}) or 0)", *((-(1 << 63), (1 << 63) - 1) if kind.signed else (0, arithmetic.MASK)), depth=1)
    if kind.function == "stats":
        return Code(f"{c.bind(partial(aggregates.statistics, kind), 'statistics')}({get}))", depth=2)
    if kind.function == "avg":
        read = c.bind(partial(aggregates.as_integer, kind), "average")
        return Code(f"{read}({get}))", *((-(1 << 63), (1 << 63) - 1) if kind.signed else (0, arithmetic.MASK)), depth=2)
    return Code(f"{get})")


def stored_as_value(c: Compiler, text: str, kind: Type) -> Code:
    """The language's value of what a map stores (aggregations are read as integers)."""
    if not isinstance(kind, Aggregate):
        return Code(text, *limits(kind))
    if kind.function == "count":
        return Code(text, 0, arithmetic.MASK)
    return Code(f"{c.bind(partial(aggregates.as_integer, kind), 'as_integer')}({text})", *limits(INT64 if kind.signed else UINT64))


# ---- writing


def insert(c: Compiler, p: Place, stored: str) -> str:
    """The call that adds an element which does not exist yet."""
    fail = c.helper_error(p.span, MAP_FULL, "map_update_elem", -7, None)
    new = c.bind(partial(_new, p.storage, c.emitter.objects[fail]), "new")
    return f"{new}({p.key.text}, {stored})"


def _new(storage: MapStorage, complain: Any, key: Any, stored: Any) -> None:
    if not storage.add(key, stored):
        complain()


def assign(c: Compiler, node: nodes.Assign) -> None:
    """`@m[k] = value`. As in bpftrace the value is evaluated before the key, except by the aggregations that are a number each."""
    assert isinstance(node.target, (nodes.Map, nodes.MapAccess))
    storage = c.storage(node.target.map if isinstance(node.target, nodes.MapAccess) else node.target)
    kind = storage.value
    call = node.value
    prefix: list[nodes.Statement] = []
    while isinstance(call, nodes.Block) and call.result is not None:
        prefix += call.statements
        call = call.result
    if isinstance(kind, Aggregate) and isinstance(call, nodes.Call) and call.name == kind.function:
        if kind.function in HISTOGRAMS:
            c.statements(prefix)
            value = c.keep(c.expr(_plain(_first(call)) if kind.function == "hist" and not kind.params[0] else _first(call)))
            p = settle(c, place(c, node.target))
            p.span = call.span
            HISTOGRAMS[kind.function](c, p, kind, value)
            return
        p = place(c, node.target)
        p.span = call.span
        if prefix:
            settle(c, p)
            c.statements(prefix)
        UPDATES[kind.function](c, p, kind, call)
        return
    value = c.expr(node.value)
    mark = len(c.emitter.lines)
    p = place(c, node.target, touch=False)
    p.span = node.span
    if len(c.emitter.lines) > mark and not value.stable:
        name = c.emitter.temporary()
        c.emitter.insert(mark, f"{name} = {bare(value.text)}")
        value = Code(name, value.low, value.high, stable=True)
    store(c, p, value)


def store(c: Compiler, p: Place, value: Code) -> None:
    """Emit the assignment of a plain value to an element."""
    storage = p.storage
    if not storage.keyed:
        c.emitter.emit(f"{p.data}[0] = {bare(value.text)}")
    elif storage.lru:
        settle(c, p)
        c.emitter.emit(insert(c, p, bare(value.text)))
        c.emitter.emit(f"{c.bind(storage.touch, 'touch')}({p.key.text})")
    else:
        settle(c, p)
        with c.emitter.block(f"if len({p.data}) < {storage.capacity} or {p.key.text} in {p.data}:"):
            c.emitter.emit(f"{p.data}[{bare(p.key.text)}] = {bare(value.text)}")
        with c.emitter.block("else:"):
            fail = c.helper_error(p.span, MAP_FULL, "map_update_elem", -7, None)
            c.emitter.emit(f"{fail}()")


def increment(c: Compiler, node: nodes.Increment) -> Code:
    """`@m[k]++` and its relatives; a missing element counts as 0."""
    assert isinstance(node.target, (nodes.Map, nodes.MapAccess))
    p = settle(c, place(c, node.target))
    p.span = node.span
    t = p.storage.value
    by = max(1, t.to.size) if isinstance(t, Pointer) else 1
    if isinstance(t, Aggregate):
        with c.emitter.block("try:"):
            c.emitter.emit(f"{p.data}[{p.key.text}] {node.op[0]}= 1")
        with c.emitter.block("except KeyError:"):
            c.emitter.emit(insert(c, p, "1" if node.op == "++" else "-1"))
        return Code(f"{p.data}[{p.key.text}]")
    old = c.emitter.temporary()
    get = c.bind(p.storage.data.get, p.data + "_get")
    c.emitter.emit(f"{old} = {get}({p.key.text}, 0)")
    if c.context.verbose_helpers:
        fail = c.helper_error(p.span, NO_ELEMENT, "map_lookup_elem", 0, None)
        c.emitter.emit(f"if {p.key.text} not in {p.data}: {fail}()")
    new = arithmetic.step(node.op, Code(old, *limits(t)), t, by)
    kept = c.emitter.temporary()
    c.emitter.emit(f"{kept} = {bare(new.text)}")
    store(c, p, Code(kept, stable=True))
    low, high = limits(t)
    return Code(kept if node.prefix else old, low, high, stable=True)


# ---- aggregations


def _plain(value: nodes.Expr) -> nodes.Expr:
    """An argument without the conversion to int64, for functions that look at the bits themselves."""
    while isinstance(value, nodes.Cast) and value.spec is None and value.type == INT64 and value.operand.type.size == 8:
        value = value.operand
    return value


def _first(call: nodes.Call) -> nodes.Expr:
    first = call.args[0]
    assert isinstance(first, nodes.Expr)
    return first


def _bump(c: Compiler, p: Place, hot: str, start: str) -> None:
    """Update in place, or insert the first value."""
    with c.emitter.block("try:"):
        c.emitter.emit(hot)
    with c.emitter.block("except KeyError:"):
        c.emitter.emit(insert(c, p, start))


def _argument(c: Compiler, p: Place, value: nodes.Expr, kind: Aggregate | None = None) -> Code:
    """The aggregated value, evaluated after the key; with `kind` as the 64 bits that this aggregation compares."""
    mark = len(c.emitter.lines)
    code = c.expr(value) if kind is None else fit(c.expr(value), 8, kind.signed)
    if not p.key.stable:
        name = c.emitter.temporary()
        c.emitter.insert(mark, f"{name} = {bare(p.key.text)}")
        p.key = Code(name, stable=True)
    return c.keep(code)


def _count(c: Compiler, p: Place, kind: Aggregate, call: nodes.Call) -> None:
    settle(c, p)
    _bump(c, p, f"{p.data}[{bare(p.key.text)}] += 1", "1")


def _sum(c: Compiler, p: Place, kind: Aggregate, call: nodes.Call) -> None:
    value = _argument(c, p, _plain(_first(call)))
    _bump(c, p, f"{p.data}[{p.key.text}] += {value.text}", value.text)


def _extreme(c: Compiler, p: Place, kind: Aggregate, call: nodes.Call) -> None:
    value = _argument(c, p, _first(call), kind)
    old = c.emitter.temporary()
    c.emitter.emit(f"{old} = {c.bind(p.storage.data.get, p.data + '_get')}({p.key.text})")
    with c.emitter.block(f"if {old} is None:"):
        c.emitter.emit(insert(c, p, value.text))
    with c.emitter.block(f"elif {value.text} {'<' if kind.function == 'min' else '>'} {old}:"):
        c.emitter.emit(f"{p.data}[{p.key.text}] = {value.text}")


def _average(c: Compiler, p: Place, kind: Aggregate, call: nodes.Call) -> None:
    value = _argument(c, p, _first(call))
    cell = c.emitter.temporary()
    c.emitter.emit(f"{cell} = {c.bind(p.storage.data.get, p.data + '_get')}({p.key.text})")
    with c.emitter.block(f"if {cell} is None:"):
        c.emitter.emit(insert(c, p, f"[{value.text}, 1]"))
    with c.emitter.block("else:"):
        c.emitter.emit(f"{cell}[0] += {value.text}")
        c.emitter.emit(f"{cell}[1] += 1")


def _histogram(c: Compiler, p: Place, slot: str, slots: int) -> None:
    with c.emitter.block("try:"):
        c.emitter.emit(f"{p.data}[{p.key.text}][{slot}] += 1")
    with c.emitter.block("except KeyError:"):
        first = c.bind(partial(_first_count, slots), "first_count")
        c.emitter.emit(insert(c, p, f"{first}({slot})"))


def _first_count(slots: int, slot: int) -> list[int]:
    counts = [0] * slots
    counts[slot] = 1
    return counts


def _hist(c: Compiler, p: Place, kind: Aggregate, value: Code) -> None:
    bits = kind.params[0]
    if bits:
        slot = f"{c.bind(aggregates.hist_slot, 'hist_slot')}({value.text}, {bits})"
    else:
        low = value.low if value.low is not None else -1
        # A value's bit length is its slot; an unsigned value of 64 bits is a negative one, and 64 is the slot of those.
        slot = f"{value.text}.bit_length()" if low >= 0 else f"{value.text}.bit_length() if {value.text} >= 0 else 64"
        if value.constant is not None:
            slot = str(aggregates.hist_slot(INT64.wrap(value.constant), 0))
    _histogram(c, p, slot, aggregates.hist_slots(bits))


def _lhist(c: Compiler, p: Place, kind: Aggregate, value: Code) -> None:
    low, high, step = kind.params
    slot = c.emitter.temporary()
    v = value.text
    most = 1 + (high - low) // step
    over = "" if step == 1 else f" // {step}"
    c.emitter.emit(f"{slot} = 0 if {v} < {low} else {most} if {v} > {high} else 1 + ({v} - {low}){over}")
    _histogram(c, p, slot, aggregates.lhist_slots(low, high, step))


def _tseries(c: Compiler, p: Place, kind: Aggregate, call: nodes.Call) -> None:
    value = _argument(c, p, _first(call))
    settle(c, p)
    cell = c.emitter.temporary()
    c.emitter.emit(f"{cell} = {c.bind(p.storage.data.get, p.data + '_get')}({p.key.text})")
    with c.emitter.block(f"if {cell} is None:"):
        c.emitter.emit(f"{cell} = {c.bind(partial(aggregates.Series, kind), 'Series')}()")
        c.emitter.emit(insert(c, p, cell))
    c.emitter.emit(f"{cell}.add({value.text}, {c.bind(c.context.clock.wall, 'wall')}())")


UPDATES: dict[str, Callable[[Compiler, Place, Aggregate, nodes.Call], None]] = {
    "count": _count,
    "sum": _sum,
    "min": _extreme,
    "max": _extreme,
    "avg": _average,
    "stats": _average,
    "tseries": _tseries,
}
HISTOGRAMS: dict[str, Callable[[Compiler, Place, Aggregate, Code], None]] = {"hist": _hist, "lhist": _lhist}
