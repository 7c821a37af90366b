"""The texts of attach points, cut out by the scanner, become checked attach points (`lang.attachpoint`).

Nothing is checked while any of them cannot be read. Where the machine says at once that a point can never be (a program that does not
exist), it is asked here; what its other points stand for is found out when they are expanded.
"""

from __future__ import annotations

from pyprobe.lang import providers
from pyprobe.lang.attachpoint import AttachPoint, NoMatch, PointError, parse_point
from pyprobe.lang.nodes import Probe
from pyprobe.lang.passes.unit import Unit
from pyprobe.lang.source import Span

TESTS = {"test": "TEST", "bench": "BENCH"}
"""Providers whose names are given once, and the word for them in the message."""

BESIDE_ITERATORS = frozenset(("begin", "end", "iter", *TESTS))
ALONE = "The program ends when the iteration is done: only begin and end can stand beside it."

PERF = frozenset(("software", "hardware"))
"""Providers that a wildcard may bring with a name that is no event of theirs, which is found out when points are expanded."""

ASKED_EARLY = frozenset(("uprobe", "uretprobe", "usdt", "iter", "watchpoint"))
REMOVED = "Probe has no valid attach points. It is being removed which may cause issues with program behavior."


def run(unit: Unit) -> None:
    for probe in [item for item in unit.script.items if isinstance(item, Probe)]:
        _read(unit, probe)
    if unit.diagnostics.failed:
        return
    named: dict[tuple[str, str], AttachPoint] = {}
    others: list[AttachPoint] = []
    for item in unit.script.items:
        if not isinstance(item, Probe):
            continue
        for point in item.points:
            _check(unit, point)
            if point.provider in TESTS:
                first = named.setdefault((point.provider, point.function), point)
                if first is not point:
                    _twice(unit, point, first)
        iterators = [point for point in item.points if point.provider == "iter"]
        others += iterators[:1] + [point for point in item.points if point.provider not in BESIDE_ITERATORS]
    for point in others if len(others) > 1 else ():
        if point.provider == "iter":
            unit.diagnostics.error("iter probe must be the only probe of the program.", point.span).hint(ALONE)
            break


def _read(unit: Unit, probe: Probe) -> None:
    """The points of one clause; a clause without any is an error, or goes away, as `missing_probes` says."""
    span = whole(probe.points)
    before = len(unit.diagnostics.items)
    points = [parsed for point in probe.points for parsed in _parse(unit, point)]
    for point in [point for point in points if point.provider == "iter"][1:]:
        unit.diagnostics.error("iter probe only supports one attach point.", point.span)
    probe.points = points
    if points or len(unit.diagnostics.items) > before:
        return
    if unit.config.missing_probes == "error":
        unit.diagnostics.error("No attach points for probe", span)
        return
    unit.script.items.remove(probe)
    if unit.config.missing_probes == "warn":
        unit.diagnostics.warning(REMOVED, span)


def whole(points: list[AttachPoint]) -> Span:
    """The place of all the points of a clause."""
    first = points[0].span
    return Span(first.source, first.start, max(point.span.end for point in points), first.outer)


def _parse(unit: Unit, point: AttachPoint) -> list[AttachPoint]:
    return parse_point(point.text, point.span, unit.options.params, unit.diagnostics, unsafe=unit.options.unsafe)


def _check(unit: Unit, point: AttachPoint) -> None:
    errors = [] if point.expanded and point.provider in PERF else providers.check(point)
    if not errors and point.provider in ASKED_EARLY:
        try:
            unit.places[point] = list(unit.world.matches(point))
        except NoMatch as miss:
            unit.places[point] = miss
        except PointError as error:
            errors = [error]
    for found in errors:
        unit.diagnostics.error(found.message, point.span).hints += found.hints


def _twice(unit: Unit, point: AttachPoint, first: AttachPoint) -> None:
    text = f'"{point.function}" was used as the name for more than one {TESTS[point.provider]} probe'
    unit.diagnostics.error(text, point.span).context(first.span, "this is the other instance")
