"""Handlers compiled from typed trees built by hand: the shape of hot code, order of events, faults."""

from __future__ import annotations

import io
from typing import Any

import pytest

from pyprobe.lang import nodes as n
from pyprobe.lang import typesys as t
from pyprobe.lang.attachpoint import AttachPoint
from pyprobe.lang.config import Config
from pyprobe.lang.program import MapInfo, ProbeBody, Program
from pyprobe.lang.source import Source, Span
from pyprobe.runtime.binding import FixedBinding
from pyprobe.runtime.context import NoMachine, RuntimeContext
from pyprobe.runtime.handlers import Handler, HandlerFault, compile_probe
from pyprobe.runtime.machine.bound import Bound
from pyprobe.runtime.maps import MapStore
from pyprobe.runtime.output import TextOutput
from pyprobe.runtime.values import Renderer

SPAN = Span(Source("stdin", "begin { }"), 0, 9)


class Cell:
    value = 0


def integer(value: int) -> n.Integer:
    return n.Integer(value=value, type=t.smallest_integer(value), span=SPAN)


def arg(number: int) -> n.Builtin:
    return n.Builtin(name="arg", args=(number,), type=t.UINT64, span=SPAN)


def assign(name: str, value: n.Expr, key: n.Expr | None = None) -> n.Assign:
    target: Any = n.Map(name=name, type=t.INT64, span=SPAN)
    if key is not None:
        target = n.MapAccess(map=target, key=key, type=t.INT64, span=SPAN)
    return n.Assign(target=target, op="", value=value, span=SPAN)


def call(name: str, *args: n.Expr, type: t.Type = t.VOID) -> n.Call:
    return n.Call(name=name, args=list(args), type=type, span=SPAN)


class Setup:
    """One probe with three argument registers."""

    def __init__(self, statements: list[n.Statement], maps: list[MapInfo]) -> None:
        body = n.Block(statements=statements, type=t.VOID, span=SPAN)
        self.probe = ProbeBody(_point(), body, 0, SPAN)
        self.program = Program([self.probe], {m.name: m for m in maps}, Config())
        self.out, self.err = io.BytesIO(), io.BytesIO()
        machine = NoMachine()
        output = TextOutput(self.out, self.err, Renderer(self.program.config, machine, machine))
        self.context = RuntimeContext(MapStore(self.program), output, self.program.config)
        self.cells = [Cell(), Cell(), Cell()]
        self.binding = FixedBinding({("arg", i): Bound(f"r{i}.value", {f"r{i}": cell}) for i, cell in enumerate(self.cells)})
        self.handler: Handler = compile_probe(self.probe, self.program, self.binding, self.context)

    def fire(self, *values: int) -> None:
        for cell, value in zip(self.cells, values, strict=False):
            cell.value = value
        self.handler()

    def maps(self) -> str:
        self.context.output.maps_at_exit(self.context.maps)
        return self.out.getvalue().decode()


def _point() -> AttachPoint:
    point = AttachPoint("uprobe:x:f")
    point.provider = "uprobe"
    return point


def big() -> Setup:
    """The statement that performance is measured with."""
    compare = n.Binary(op=">", left=arg(0), right=integer(10), type=t.BOOL, span=SPAN)
    key = n.Binary(op="%", left=arg(0), right=integer(16), type=t.UINT64, span=SPAN)
    wide = n.Cast(spec=None, operand=arg(2), type=t.INT64, span=SPAN)
    kinds = {f: t.Aggregate(f, False, (0,) if f == "hist" else ()) for f in ("count", "sum", "hist")}
    then = n.Block(
        statements=[
            assign("@", call("count", type=kinds["count"]), key),
            assign("@s", call("sum", arg(1), type=kinds["sum"])),
            assign("@h", call("hist", wide, type=kinds["hist"])),
        ],
        type=t.VOID,
        span=SPAN,
    )
    statement = n.ExprStatement(expr=n.If(condition=compare, then=then, type=t.VOID, span=SPAN), span=SPAN)
    return Setup(
        [statement],
        [
            MapInfo("@", t.UINT64, kinds["count"], "hash", 4096),
            MapInfo("@s", None, kinds["sum"], "hash", 1),
            MapInfo("@h", None, kinds["hist"], "hash", 1),
        ],
    )


def test_counts_sums_and_histogram() -> None:
    setup = big()
    for i in range(30):
        setup.fire(i, 1 << 63, i - 12 & (1 << 64) - 1)
    text = setup.maps()
    assert "@[11]: 2\n" in text
    assert "@s: 9223372036854775808\n" in text
    assert "(..., 0)               1 |" in text


def test_hot_code_has_no_masks() -> None:
    assert "&" not in big().handler.source


def test_prints_after_the_handler() -> None:
    one, two = integer(1), integer(2)
    setup = Setup(
        [
            assign("@x", one),
            n.ExprStatement(expr=call("print", n.Map(name="@x", type=t.INT64, span=SPAN)), span=SPAN),
            assign("@x", two),
        ],
        [MapInfo("@x", None, t.INT64, "hash", 1)],
    )
    setup.fire()
    assert setup.out.getvalue() == b"@x: 2\n"


def test_map_full_warns() -> None:
    setup = Setup([assign("@m", integer(1), arg(0))], [MapInfo("@m", t.UINT64, t.INT64, "hash", 2)])
    for i in (1, 2, 3, 1):
        setup.fire(i)
    assert len(setup.context.maps["@m"]) == 2
    assert setup.err.getvalue().startswith(b"stdin:1:1-10: WARNING: Map full; can't update element.")
    assert b"Additional Info - helper: map_update_elem, retcode: -7\n" in setup.err.getvalue()


def test_fault_names_the_line() -> None:
    setup = Setup([assign("@m", integer(1), arg(0))], [MapInfo("@m", t.UINT64, t.INT64, "hash", 2)])
    del setup.cells[0].__class__.value
    try:
        with pytest.raises(HandlerFault) as caught:
            setup.handler()
    finally:
        Cell.value = 0
    assert caught.value.span is SPAN
