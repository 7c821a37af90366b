"""In which order the elements of a map are printed, and how `top` and `div` act."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from pyprobe.lang.typesys import BOOL, Aggregate, Enum, Integer, Pointer, Record, String, Tuple, Type
from pyprobe.runtime import aggregates
from pyprobe.runtime.maps import MapStorage

Element = tuple[Any, Any]


def elements(storage: MapStorage, top: int) -> list[Element]:
    """(key, stored value) in the order of printing; with `top` only the last so many."""
    items = list(storage.data.items())
    rank = ranking(storage.value, storage.info.key)
    if rank is not None:
        items.sort(key=rank)
    return items[-top:] if top > 0 else items


def ranking(value: Type, key: Type | None) -> Callable[[Element], Any] | None:
    """The sort key of an element: numbers go by value, everything else by key; None leaves the order of insertion."""
    if isinstance(value, Aggregate):
        function = value.function
        if function in ("hist", "lhist"):
            return lambda item: sum(item[1])
        if function in ("min", "max"):
            return lambda item: (item[1] or 0) & aggregates.MASK
        if function == "tseries":
            return lambda item: max(item[1].cells, default=-1)
        return lambda item: aggregates.as_integer(value, item[1])
    if isinstance(value, (Integer, Enum)):
        return lambda item: item[1]
    if key is None:
        return None
    by_key = key_ranking(key)
    return None if by_key is None else lambda item: by_key(item[0])


def key_ranking(t: Type) -> Callable[[Any], Any] | None:
    """The sort key of a map key."""
    if isinstance(t, (Integer, Enum, String, Pointer)) or t is BOOL:
        return lambda key: key
    if isinstance(t, (Tuple, Record)):
        parts = t.elements if isinstance(t, Tuple) else tuple(e for _, e in t.fields)
        ranks = [(i, key_ranking(e)) for i, e in enumerate(parts)]
        known = [(i, rank) for i, rank in ranks if rank is not None]
        return lambda key: tuple(rank(key[i]) for i, rank in known)
    return None


def divided(value: int, divisor: int) -> int:
    """`value` divided as C does, toward zero."""
    if divisor in (0, 1):
        return value
    return value // divisor if value >= 0 else -(-value // divisor)
