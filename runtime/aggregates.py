"""What the aggregations keep per key, how it is read, and how histograms number their buckets.

The stored forms are chosen so that generated handlers update them with one or two plain operations:

=========  ===================================================================================================
function   stored per key
=========  ===================================================================================================
count      int
sum        int, the exact total; it is reduced to 64 bits when it is read
min, max   int, or None after zero()
avg,stats  [exact total, count]
hist       list of counts by slot, see `hist_slots`
lhist      list of counts by bucket
tseries    Series
=========  ===================================================================================================
"""

from __future__ import annotations

from typing import Any

from pyprobe.lang.typesys import INT64, UINT64, Aggregate

MASK = (1 << 64) - 1


def empty(kind: Aggregate) -> Any:
    """The stored form of an element that was set to zero."""
    function = kind.function
    if function in ("count", "sum"):
        return 0
    if function in ("min", "max"):
        return None
    if function in ("avg", "stats"):
        return [0, 0]
    if function == "hist":
        return [0] * hist_slots(kind.params[0])
    if function == "lhist":
        return [0] * lhist_slots(*kind.params)
    return Series(kind)


def wrap(kind: Aggregate, value: int) -> int:
    """`value` as the 64 bits that the aggregation really has."""
    return (INT64 if kind.signed and kind.function != "count" else UINT64).wrap(value)


def average(kind: Aggregate, stored: list[int]) -> int:
    """Total divided by count, truncated toward zero; 0 when nothing was counted."""
    total, count = wrap(kind, stored[0]), stored[1]
    if not count:
        return 0
    return total // count if total >= 0 else -(-total // count)


def statistics(kind: Aggregate, stored: list[int] | None) -> tuple[int, int, int]:
    """The value of stats: count, average and total; zeros for an element that does not exist."""
    stored = stored or [0, 0]
    return stored[1], average(kind, stored), wrap(kind, stored[0])


def as_integer(kind: Aggregate, stored: Any) -> int:
    """The current value of a count, sum, min, max or avg (also the average of stats)."""
    if stored is None:
        return 0
    if kind.function in ("avg", "stats"):
        return average(kind, stored)
    return wrap(kind, stored)


# ---- log2 histograms


def hist_slots(bits: int) -> int:
    """How many slots a log2 histogram has: slot s < 2^bits holds the value s, slot `((p - bits + 1) << bits) + next bits` the values
    whose top bit is p, and the last slot the negative ones. With bits = 0 a slot is the value's bit length."""
    return ((64 - bits) << bits) + 1


def hist_slot(value: int, bits: int) -> int:
    """The slot of a signed 64-bit value."""
    if value < 0:
        return hist_slots(bits) - 1
    if value < 1 << bits:
        return value
    shift = value.bit_length() - 1 - bits
    return ((shift + 1) << bits) + ((value >> shift) & ((1 << bits) - 1))


def hist_low(slot: int, bits: int) -> int:
    """The smallest value of a slot that is not the negative one."""
    if slot < 2 << bits:
        return slot
    shift = (slot >> bits) - 1
    return ((1 << bits) + (slot & ((1 << bits) - 1))) << shift


def hist_label(slot: int, bits: int) -> str:
    """The smallest value as shown: a suffix stands for each full ten powers of two of the bucket's own exponent."""
    if slot < 2 << bits:
        return str(slot)
    power, suffix = (slot >> bits) - 1, 0
    while power >= 10:
        power -= 10
        suffix += 1
    return f"{((1 << bits) + (slot & ((1 << bits) - 1))) << power}{' KMGTPE'[suffix].strip()}"


# ---- linear histograms


def lhist_slots(low: int, high: int, step: int) -> int:
    """Buckets of a linear histogram: below `low`, one per step, and from the last full step on."""
    return (high - low) // step + 2


# ---- time series


class Series:
    """The newest intervals of one key of a tseries map: interval number -> value (last, or aggregated)."""

    __slots__ = ("cells", "combine", "limit", "width")

    def __init__(self, kind: Aggregate) -> None:
        self.width, self.limit, self.combine = kind.params
        self.cells: dict[int, list[int]] = {}

    def add(self, value: int, now: int) -> None:
        """Record a value at a time in nanoseconds since 1970; intervals that fall out of the ring are dropped."""
        interval = now // self.width
        cell = self.cells.get(interval)
        if cell is None:
            self.cells[interval] = [value, 1]
            for old in [i for i in self.cells if i <= interval - self.limit]:
                del self.cells[old]
        elif self.combine == "sum" or self.combine == "avg":
            cell[0] += value
            cell[1] += 1
        elif self.combine == "max":
            cell[0] = max(cell[0], value)
        elif self.combine == "min":
            cell[0] = min(cell[0], value)
        else:
            cell[0] = value

    def value(self, interval: int, kind: Aggregate) -> int | None:
        """The value of an interval, None when nothing was recorded in it."""
        cell = self.cells.get(interval)
        if cell is None:
            return None
        return average(kind, cell) if self.combine == "avg" else wrap(kind, cell[0])
