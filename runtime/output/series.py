"""Time series as a chart and as JSON."""

from __future__ import annotations

from pyprobe.lang.typesys import Aggregate
from pyprobe.runtime import order
from pyprobe.runtime.aggregates import Series
from pyprobe.runtime.times import format_time
from pyprobe.runtime.values import Renderer

WIDTH = 53
NOTHING = "<no data>\n"
FORMATS = {"s": b"%H:%M:%S", "ms": b"%H:%M:%S.%l", "us": b"%H:%M:%S.%f", "ns": b"%H:%M:%S.%k"}


def newest(items: list[order.Element]) -> int:
    """The last interval of any key: all keys share it."""
    return max((max(stored.cells) for _, stored in items if stored.cells), default=-1)


def points(kind: Aggregate, stored: Series, last: int) -> list[tuple[int, int | None]]:
    """(interval, value or None) from the first interval with data that is still in the ring to the newest one."""
    known = [i for i in stored.cells if i > last - stored.limit]
    if not known:
        return [(last, None)] if stored.cells else []
    return [(i, stored.value(i, kind)) for i in range(min(known), last + 1)]


def _time(ns: int, renderer: Renderer, unit: str) -> str:
    return format_time(FORMATS[unit], ns, renderer.tz).decode()


def text(kind: Aggregate, stored: Series, last: int, renderer: Renderer) -> str:
    """The chart: header with the range, one row per interval, footer."""
    rows = points(kind, stored, last)
    if not rows:
        return NOTHING
    width = stored.width
    unit = "s" if width >= 10**9 else "ms" if width >= 10**6 else "us" if width >= 10**3 else "ns"
    if len(rows) == 1:
        unit = "ns"
    title = {"s": "hh:mm:ss", "ms": "hh:mm:ss.ms", "us": "hh:mm:ss.μs", "ns": "hh:mm:ss.ns"}[unit]
    values = [v for _, v in rows if v is not None]
    low, high = (min(values), max(values)) if values else (0, 0)
    if low == high:
        low, high = low - 1, high + 1
    shown = (str(low), str(high)) if values else ("null", "null")
    times = [_time(interval * width, renderer, unit) for interval, _ in rows]
    indent = len(times[0]) + 1
    bounds = f"{' ' * indent}{shown[0]:<21}{shown[1]:>32}"
    zero = (WIDTH * -low) // (high - low) if values and low < 0 < high else -1
    lines = [bounds, title + " " * (indent - len(title.encode())) + "|" + "_" * (WIDTH - 2) + "|"]
    for at, (_, value) in zip(times, rows, strict=True):
        cells = ["|", *" " * (WIDTH - 2), "|"]
        if 0 < zero < WIDTH - 1:
            cells[zero] = "."
        if value is not None:
            cells[(WIDTH - 1) * (value - low) // (high - low)] = "*"
        lines.append(f"{at} {''.join(cells)} {'-' if value is None else value}")
    lines += [" " * indent + "v" + "_" * (WIDTH - 2) + "v", bounds]
    return "\n".join(lines) + "\n"


def json(kind: Aggregate, stored: Series, last: int) -> str:
    """The intervals that have data, with their starting time in UTC."""
    parts = []
    for interval, value in points(kind, stored, last):
        if value is not None:
            start = format_time(b"%Y-%m-%d %H:%M:%S.%k", interval * stored.width).decode()
            parts.append(f'{{"interval_start":"{start}","value":{value}}}')
    return "[" + ",".join(parts) + "]"
