"""Where the engine of the user machine calls somebody: probe points and breakpoints of its address spaces."""

from __future__ import annotations

from collections.abc import Callable

from pyprobe.runtime.machine.arch import Arch
from pyprobe.runtime.machine.clock import Clock
from pyprobe.runtime.machine.emulator import Emulator
from pyprobe.runtime.machine.memory import AddressSpace
from pyprobe.runtime.machine.physical import PAGE, PAGE_MASK, PhysicalMemory
from pyprobe.runtime.machine.points import Points


class Tracing(Emulator):
    """A processor that runs in address spaces of which each has its own points."""

    def __init__(self, arch: Arch, memory: PhysicalMemory, clock: Clock) -> None:
        super().__init__(arch, clock)
        self.memory = memory
        self._space = AddressSpace(memory)
        self._invalidate: Callable[[int, int, int], object]

    # probe points

    def plant(self, space: AddressSpace, address: int, callback: Callable[[], object], *, exact: bool = False) -> None:
        """Call `callback` whenever the instruction at `address` is about to execute in `space`; replaces an earlier one.

        exact: `address` may lie where code falls through into it. Needed in the middle of functions; costs more per hit, and
            all exact points together should be few. Targets of jumps, calls and returns do not need it.
        """
        points = space.points
        where = points.exact if exact else points.blocks
        if exact and address not in where:
            self.hook_exactly(address)
            self.flush_translations(space, address, address + 1)
        if self.arch.repeats(space.peek(address, 4)):
            callback = self._first_round(points, address, callback, exact)
        where[address] = callback
        self.callbacks.planted(points, address, int(exact), callback)

    def _first_round(self, points: Points, address: int, callback: Callable[[], object], exact: bool) -> Callable[[], object]:
        """For an instruction that the emulator repeats by jumping to it: call `callback` in the first round only.

        A round is a further one if it begins a block and the block before it (which `state` still shows when the block's own
        point is called) holds the instruction too.
        """
        state = self.state
        further = False

        def arrived() -> None:
            nonlocal further
            further = state.block <= address < state.block + state.size

        def called_at_block() -> None:
            arrived()
            if not further:
                callback()

        def called_exactly() -> None:
            if state.block != address or not further:
                callback()

        if not exact:
            return called_at_block
        points.blocks[address] = arrived
        self.callbacks.planted(points, address, 0, arrived)
        return called_exactly

    def pull(self, space: AddressSpace, address: int) -> None:
        """Undo `plant`; nothing happens where nothing is planted."""
        points = space.points
        for table, where in enumerate((points.blocks, points.exact)):
            if where.pop(address, None) is not None:
                self.callbacks.planted(points, address, table, None)

    # breakpoints

    @property
    def space(self) -> AddressSpace:
        """The space that runs."""
        return self._space

    def trap(self, space: AddressSpace, address: int, callback: Callable[[], int | None]) -> None:
        """Call `callback` when the breakpoint instruction at `address` has trapped in `space`; replaces an earlier one.

        It returns where the guest goes on, or None when the breakpoint is the guest's own after all. Its attribute `step`, a function too,
        says the same without telling anybody: for when the guest was interrupted between the trap and the displaced instruction.
        Putting the breakpoint instruction into memory is the caller's business.
        """
        space.points.traps[address] = callback
        self.callbacks.planted(space.points, address, 2, callback)

    def untrap(self, space: AddressSpace, address: int) -> None:
        """Undo `trap`; nothing happens where there is none."""
        if space.points.traps.pop(address, None) is not None:
            self.callbacks.planted(space.points, address, 2, None)

    def traps_changed(self, space: AddressSpace) -> None:
        """`space.points.traps` was changed directly, as is cheaper for many."""
        space.points.tables = None
        if space is self._space:
            self.callbacks.activate(space.pages, space.points)

    # translations

    def flush_translations(self, space: AddressSpace, start: int, end: int) -> None:
        """Drop what was translated from these addresses of `space`."""
        for page in range(start // PAGE, -(-end // PAGE)):
            frame = self._frame(space, page)
            if frame:
                low, high = max(start, page * PAGE), min(end, page * PAGE + PAGE)
                self._invalidate(self.uc, frame + low - page * PAGE, frame + high - page * PAGE)

    def _frame(self, space: AddressSpace, page: int) -> int:
        """The frame that a page shows or will show when it is touched, 0 if it is not there yet."""
        entry = space.pages.get(page)
        if entry is not None:
            return entry & PAGE_MASK
        vma = space.find(page * PAGE)
        if vma is None or vma.backing is None:
            return 0
        return vma.backing.frames.get((vma.offset + page * PAGE - vma.start) // PAGE, 0)
