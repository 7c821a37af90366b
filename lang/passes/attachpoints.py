"""The texts of attach points, cut out by the scanner, become checked attach points (`lang.attachpoint`)."""

from __future__ import annotations

from pyprobe.lang.attachpoint import AttachPoint, PointError
from pyprobe.lang.nodes import Probe
from pyprobe.lang.passes.unit import Unit

TEMP = {
    "begin": "begin",
    "end": "end",
    "k": "kprobe",
    "kr": "kretprobe",
    "u": "uprobe",
    "ur": "uretprobe",
    "t": "tracepoint",
    "p": "profile",
    "i": "interval",
    "s": "software",
    "h": "hardware",
}


def parse_point(point: AttachPoint, params: list[str]) -> AttachPoint:
    parts = point.text.split(":")
    provider = parts[0].lower()
    provider = TEMP.get(provider, provider)
    new = point.copy(provider=provider)
    rest = parts[1:]
    if provider in ("begin", "end") and rest:
        raise PointError(f"{provider} probe type requires 0 arguments, found {len(rest)}")
    if provider in ("interval", "profile"):
        new.unit = rest[0]
    elif provider in ("uprobe", "uretprobe", "tracepoint"):
        if len(rest) < 2:
            raise PointError(f"{provider} probe type requires 2 arguments, found {len(rest)}")
        new.target, new.function = rest[0], rest[-1]
    elif rest:
        new.function = rest[-1]
    return new


def run(unit: Unit) -> None:
    for item in unit.script.items:
        if isinstance(item, Probe):
            item.points = [parsed for point in item.points if (parsed := _parse(unit, point)) is not None]


def _parse(unit: Unit, point: AttachPoint) -> AttachPoint | None:
    try:
        return parse_point(point, unit.options.params)
    except PointError as e:
        unit.diagnostics.error(e.message, point.span).hints += e.hints
        return None
