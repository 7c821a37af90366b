"""The texts of attach points, cut out by the scanner, become checked attach points (`lang.attachpoint`)."""

from __future__ import annotations

from pyprobe.lang.attachpoint import AttachPoint, parse_point
from pyprobe.lang.nodes import Probe
from pyprobe.lang.passes.unit import Unit

TESTS = {"test": "TEST", "bench": "BENCH"}
"""Providers whose names are given once, and the word for them in the message."""

BESIDE_ITERATORS = frozenset(("begin", "end", "iter", *TESTS))
ALONE = "The program ends when the iteration is done: only begin and end can stand beside it."


def run(unit: Unit) -> None:
    named: dict[tuple[str, str], AttachPoint] = {}
    others: list[AttachPoint] = []
    for item in unit.script.items:
        if not isinstance(item, Probe):
            continue
        item.points = [parsed for point in item.points for parsed in _parse(unit, point)]
        iterators = [point for point in item.points if point.provider == "iter"]
        for point in iterators[1:]:
            unit.diagnostics.error("iter probe only supports one attach point.", point.span)
        others += iterators[:1] + [point for point in item.points if point.provider not in BESIDE_ITERATORS]
        for point in item.points:
            if point.provider not in TESTS:
                continue
            first = named.setdefault((point.provider, point.target or point.function), point)
            if first is not point:
                _twice(unit, point, first)
    for point in others if len(others) > 1 else ():
        if point.provider == "iter":
            unit.diagnostics.error("iter probe must be the only probe of the program.", point.span).hint(ALONE)
            break


def _parse(unit: Unit, point: AttachPoint) -> list[AttachPoint]:
    before = len(unit.diagnostics.items)
    parsed = parse_point(point.text, point.span, unit.options.params, unit.diagnostics)
    if not parsed and len(unit.diagnostics.items) == before:
        unit.diagnostics.error("No attach points for probe", point.span)
    return parsed


def _twice(unit: Unit, point: AttachPoint, first: AttachPoint) -> None:
    text = f'"{point.target or point.function}" was used as the name for more than one {TESTS[point.provider]} probe'
    unit.diagnostics.error(text, point.span).context(first.span, "this is the other instance")
