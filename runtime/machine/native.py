"""The engine's hot callbacks in C: the extension `_native`, dressed like `twin.Twin`."""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from typing import TYPE_CHECKING

from pyprobe.runtime.machine import _native
from pyprobe.runtime.machine._native import Core, Table, Trap
from pyprobe.runtime.machine.extension import require_current
from pyprobe.runtime.machine.unicorn import CTL_TLB_FLUSH

if TYPE_CHECKING:
    from pyprobe.runtime.machine.memory import Points
    from pyprobe.runtime.machine.twin import Host, TrapHost

require_current(_native)


class Native:
    """Callbacks of one engine; see `Twin`."""

    def __init__(self, engine: Host) -> None:
        address = engine.function
        self._core = Core(
            state=ctypes.addressof(engine.state),
            words=ctypes.addressof(engine.words),
            uc=engine.uc,
            emu_start=address("uc_emu_start"),
            emu_stop=address("uc_emu_stop"),
            reg_read=address("uc_reg_read"),
            ctl=address("uc_ctl"),
            tlb_flush=CTL_TLB_FLUSH,
            attend=engine.attend,
            enter=engine.enter,
            miss=engine.miss,
            fail=engine.fail,
        )
        self._pages: dict[int, int] = {}
        self._points: Points | None = None
        self.block, self.code, self.fill, self.syscall, self.interrupt, self.trap, self.user = self._core.addresses()
        self.start, self.flush, self.traces = self._core.start, self._core.flush, self._core.traces
        self.kicks, self.masks = self._core.kicks, self._core.masks

    def breakpoints(self, engine: TrapHost, pc: int) -> None:
        """Have the interrupt callback serve breakpoints; pc: where the guest's pc lies, 0 if that is not known."""
        trap = engine.arch.breakpoint
        asked = engine.interrupted, engine.trap_address, engine.go_to
        self._core.breakpoints(pc, trap.number, trap.advance, engine.trap_cost, *asked, Trap)

    def activate(self, pages: dict[int, int], points: Points) -> None:
        """Page table and probe points of the current space."""
        if points.tables is None:
            traps = {address: _plain(callback) for address, callback in points.traps.items()}
            points.tables = Table(points.blocks), Table(points.exact), Table(traps)
            points.shared = False
        self._pages, self._points = pages, points
        self._core.activate(pages, *points.tables)

    def planted(self, points: Points, address: int, table: int, callback: Callable[[], object] | None) -> None:
        """A point was added, changed or (None) removed in `points`."""
        if points.tables is None:
            return
        if points.shared:
            points.tables = None
            if points is self._points:
                self.activate(self._pages, points)
            return
        if callback is None:
            points.tables[table].delete(address)
        else:
            points.tables[table].set(address, _plain(callback) if table == 2 else callback)
        if table == 0 and points is self._points:
            self._core.activate(self._pages, *points.tables)  # it may be the first one, or the last


def _plain(callback: Callable[[], object]) -> Callable[[], object] | Trap:
    """A trap's callback; as its parts, where it has them (see breakpoints.callback)."""
    parts = getattr(callback, "parts", None)
    return callback if parts is None else Trap(*parts)
