"""Histograms as rows: label, count and a bar of at most 52 characters; and as JSON buckets."""

from __future__ import annotations

import struct

from pyprobe.lang.typesys import Aggregate
from pyprobe.runtime import aggregates, order
from pyprobe.runtime.jsontext import json_integer

WIDTH = 52
_FLOAT = struct.Struct("<f")


def _single(value: float) -> float:
    """`value` rounded to single precision."""
    result: float = _FLOAT.unpack(_FLOAT.pack(value))[0]
    return result


def bar(count: int, most: int) -> str:
    """The bar of a count, scaled so that the largest count fills the width (bpftrace computes in single precision)."""
    length = int(_single(_single(_single(count) / _single(most)) * WIDTH)) if most else 0
    return "@" * length


class Bucket:
    """One row: its label, the inclusive bounds (None where open), and the count."""

    __slots__ = ("count", "high", "label", "low")

    def __init__(self, label: str, low: int | None, high: int | None, count: int) -> None:
        self.label = label
        self.low = low
        self.high = high
        self.count = count


def buckets(kind: Aggregate, stored: list[int], divisor: int) -> list[Bucket]:
    """The rows from the first to the last bucket that is not empty."""
    found = _log2(kind.params[0], stored) if kind.function == "hist" else _linear(kind.params, stored)
    used = [i for i, bucket in enumerate(found) if bucket.count]
    if not used:
        return []
    found = found[used[0] : used[-1] + 1]
    if kind.function == "hist" and divisor > 1:
        for bucket in found:
            bucket.count = order.divided(bucket.count, divisor)
    return found


def _log2(bits: int, stored: list[int]) -> list[Bucket]:
    rows = [Bucket("(..., 0)", None, -1, stored[-1])]
    single = 2 << bits
    for slot, count in enumerate(stored[:-1]):
        low = aggregates.hist_low(slot, bits)
        if slot < single:
            rows.append(Bucket(f"[{low}]", low, low, count))
        else:
            label = f"[{aggregates.hist_label(slot, bits)}, {aggregates.hist_label(slot + 1, bits)})"
            rows.append(Bucket(label, low, aggregates.hist_low(slot + 1, bits) - 1, count))
    return rows


def _linear(params: tuple[int, ...], stored: list[int]) -> list[Bucket]:
    low, high, step = params
    top = low + step * ((high - low) // step)
    rows = [Bucket(f"(..., {_amount(low, step)})", None, low - 1, stored[0])]
    for i, count in enumerate(stored[1:-1]):
        start = low + i * step
        label = f"[{_amount(start, step)}]" if step == 1 else f"[{_amount(start, step)}, {_amount(start + step, step)})"
        rows.append(Bucket(label, start, start + step - 1, count))
    rows.append(Bucket(f"[{_amount(top, step)}, ...)", top, None, stored[-1]))
    return rows


def _amount(value: int, step: int) -> str:
    """A bound of a linear histogram; K and M only where the step is a multiple of 1024."""
    if step % 1024 or not value:
        return str(value)
    if value % (1 << 20) == 0:
        return f"{value >> 20}M"
    if value % 1024 == 0:
        return f"{value >> 10}K"
    return str(value)


def text(kind: Aggregate, stored: list[int], divisor: int) -> str:
    """The rows of a histogram."""
    rows = buckets(kind, stored, divisor)
    most = max((row.count for row in rows), default=0)
    return "".join([f"{row.label:<16}{row.count:8d} |{bar(row.count, most):<{WIDTH}}|\n" for row in rows])


def json(kind: Aggregate, stored: list[int], divisor: int) -> str:
    """The rows as a JSON array."""
    parts = []
    for row in buckets(kind, stored, divisor):
        members = [] if row.low is None else [f'"min": {json_integer(row.low)}']
        members += [] if row.high is None else [f'"max": {json_integer(row.high)}']
        parts.append("{" + ", ".join([*members, f'"count": {row.count}']) + "}")
    return "[" + ",".join(parts) + "]"
