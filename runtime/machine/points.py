"""The probe points of an address space."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any


class Points:
    """The probe points of one address space: what is called when an address is about to execute.

    blocks: for addresses where a block of code begins (every target of a jump, call or return).
    exact: for addresses anywhere.
    traps: for addresses that hold a breakpoint instruction; what is called says where to go on.
    origins: where code was displaced to: function from an address to the place it stands for, or None (see breakpoints.py).
    tables: the extension's own form of the three, or None; shared: a fork uses the same tables until one of the two changes.
    """

    __slots__ = ("blocks", "exact", "origins", "shared", "tables", "traps")

    def __init__(self) -> None:
        self.blocks: dict[int, Callable[[], object]] = {}
        self.exact: dict[int, Callable[[], object]] = {}
        self.traps: dict[int, Callable[[], int | None]] = {}
        self.origins: tuple[Callable[[int], tuple[int, bool] | None], ...] = ()
        self.tables: Any = None
        self.shared = False

    def copy(self) -> Points:
        """The points of a forked child."""
        new = Points()
        new.blocks.update(self.blocks)
        new.exact.update(self.exact)
        new.traps.update(self.traps)
        new.origins = self.origins
        new.tables = self.tables
        new.shared = self.shared = True
        return new
