"""Calls whose work is done by the output: printf, print, time, join, cat, system, clear, zero, errorf, warnf."""

from __future__ import annotations

from collections.abc import Callable

from pyprobe.lang import nodes
from pyprobe.lang.typesys import HISTOGRAMS, NONE, Aggregate, Type
from pyprobe.runtime import formats, functions
from pyprobe.runtime.handlers import arithmetic, strings
from pyprobe.runtime.handlers.arguments import argument, literal
from pyprobe.runtime.handlers.compiler import Compiler, bare
from pyprobe.runtime.handlers.emitter import Code

STRAIGHT = frozenset({"iter"})
"""Probes whose printf() writes where they are read from, not into the events."""


def formatted(c: Compiler, node: nodes.Call) -> str:
    """The expression that gives the bytes of a format with its arguments."""
    values = [a for a in node.args[1:] if isinstance(a, nodes.Expr)]
    template, conversions = formats.plan(literal(node, 0), [shown_type(c, v) for v in values], c.context.output.renderer)
    if not conversions:
        return c.constant(template % (), "text").text
    codes = c.operands(values)
    parts = [_converted(c, code, how) for code, how in zip(codes, conversions, strict=True)]
    return f"{template!r} % ({', '.join(parts)}{',' if len(parts) == 1 else ''})"


def shown_type(c: Compiler, value: nodes.Expr) -> Type:
    """The type that decides how a value is shown."""
    return value.type


def _converted(c: Compiler, code: Code, how: formats.Conversion) -> str:
    if how.integer is not None:
        code = arithmetic.fit(code, *how.integer)
    if how.apply is not None:
        return f"{c.bind(how.apply, 'show')}({bare(code.text)})"
    return bare(code.text)


def _show(c: Compiler, node: nodes.Call, act: Callable[[bytes], None], *, at_once: bool = False) -> None:
    """Have a function called with the formatted text. A histogram has no text on a line: then only an error tells of the call."""
    for value in node.args[1:]:
        t = value.type if isinstance(value, nodes.Expr) else NONE
        if isinstance(t, Aggregate) and t.function in HISTOGRAMS:
            c.effect(c.context.output.error, "error", repr(f"unable to convert type: {t}".encode()))
            return
    c.effect(act, node.name, formatted(c, node), at_once=at_once)


def _printf(c: Compiler, node: nodes.Call) -> None:
    output = c.context.output
    straight = c.probe.point.provider in STRAIGHT
    _show(c, node, output.straight if straight else output.printf, at_once=straight)


def _message(kind: str) -> Callable[[Compiler, nodes.Call], None]:
    def rule(c: Compiler, node: nodes.Call) -> None:
        _show(c, node, functions.messenger(c.context, kind, node.span))

    return rule


def _print(c: Compiler, node: nodes.Call) -> None:
    first = argument(node, 0)
    output = c.context.output
    if isinstance(first, nodes.Map):
        storage = c.bind(c.storage(first), "map" + first.name.replace("@", "_"))
        c.effect(output.map, "print_map", storage, str(literal(node, 1, 0)), str(literal(node, 2, 0)))
        return
    code = c.expr(first)
    show = output.value(first.type)
    c.effect(show, "print_value", bare(code.text))


def _clear(c: Compiler, node: nodes.Call) -> None:
    first = node.args[0]
    assert isinstance(first, nodes.Map)
    c.effect(c.storage(first).data.clear, "clear", *())


def _zero(c: Compiler, node: nodes.Call) -> None:
    first = node.args[0]
    assert isinstance(first, nodes.Map)
    c.effect(c.storage(first).zero, "zero", *())


def _time(c: Compiler, node: nodes.Call) -> None:
    fmt = literal(node, 0, b"%H:%M:%S\n")
    c.effect(functions.time_printer(c.context, fmt), "print_time")


def _join(c: Compiler, node: nodes.Call) -> None:
    code = arithmetic.unsigned(c.expr(argument(node, 0)))
    separator = literal(node, 1, b" ")
    lost = (strings.read_failure(c, node), strings.read_failure(c, node, "str"))
    joiner = c.bind(functions.joiner(c.context.memory, separator, *lost), "joined")
    c.effect(c.context.output.join, "join", f"{joiner}({bare(code.text)})")


def _cat(c: Compiler, node: nodes.Call) -> None:
    _show(c, node, functions.cat(c.context))


def _system(c: Compiler, node: nodes.Call) -> None:
    _show(c, node, functions.system(c.context))


def _nothing(c: Compiler, node: nodes.Call) -> None:
    """Accepted, without an effect."""


STATEMENTS: dict[str, Callable[[Compiler, nodes.Call], None]] = {
    "printf": _printf,
    "errorf": _message("errorf"),
    "warnf": _message("warnf"),
    "print": _print,
    "clear": _clear,
    "zero": _zero,
    "time": _time,
    "join": _join,
    "cat": _cat,
    "system": _system,
    "unwatch": _nothing,
}
