"""The storage of maps: plain dicts, so that generated handlers read and update them without a call.

Keys are canonical Python values (see `lang.typesys`), so that keys which are equal in the language are equal in Python; a scalar map
has the one key 0, which does not exist until it is first assigned. There is one CPU, so per-CPU kinds need nothing special.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from pyprobe.lang.program import MapInfo, Program
from pyprobe.lang.typesys import Aggregate, Type
from pyprobe.runtime import aggregates
from pyprobe.runtime.zeros import zero_of


class MapStorage:
    """One map. `data` is its dict for the whole run (never replaced, since handlers hold it)."""

    __slots__ = ("capacity", "data", "info", "keyed", "lru", "name", "value")

    def __init__(self, info: MapInfo) -> None:
        self.info = info
        self.name = info.name
        self.value: Type = info.value
        self.keyed = info.key is not None
        self.capacity = info.capacity
        self.lru = "lru" in (info.kind or "")
        self.data: dict[Any, Any] = {}

    def __len__(self) -> int:
        return len(self.data)

    @property
    def aggregate(self) -> Aggregate | None:
        return self.value if isinstance(self.value, Aggregate) else None

    def add(self, key: Any, stored: Any) -> bool:
        """Insert a new element; False when the map is full (the kinds that evict make room instead)."""
        data = self.data
        if len(data) >= self.capacity and self.keyed and key not in data:
            if not self.lru:
                return False
            del data[next(iter(data))]
        data[key] = stored
        return True

    def touch(self, key: Any) -> None:
        """Make a key the most recently used one; only maps that evict call this."""
        if key in self.data:
            self.data[key] = self.data.pop(key)

    def zero(self) -> None:
        """Set every value to zero; the keys stay."""
        for key in self.data:
            self.data[key] = aggregates.empty(self.value) if isinstance(self.value, Aggregate) else zero_of(self.value)


class MapStore:
    """All maps of a program, by name with its `@`."""

    def __init__(self, program: Program) -> None:
        self.maps = {name: MapStorage(info) for name, info in program.maps.items()}

    def __getitem__(self, name: str) -> MapStorage:
        return self.maps[name]

    def __iter__(self) -> Iterator[MapStorage]:
        """The maps in alphabetical order, as they are printed at the end."""
        return iter([self.maps[name] for name in sorted(self.maps)])
