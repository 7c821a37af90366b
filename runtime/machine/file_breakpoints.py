"""Breakpoints in a file, in every process that maps it: what uprobes do (kernel/events/uprobes.c).

A process sees the file's pages with the breakpoints in them, and has slots near its code.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

from pyprobe.runtime.machine.breakpoints import (
    AREA_NAME,
    FIRST_AREA,
    REACH,
    SLOT,
    Area,
    Call,
    breakpoint_code,
    callback,
    exit_callback,
    near,
)
from pyprobe.runtime.machine.disassembly import LONGEST
from pyprobe.runtime.machine.displaced import Displaced, displace
from pyprobe.runtime.machine.memory import CACHED, PAGE, R, Vma, X
from pyprobe.runtime.machine.physical import Backing

if TYPE_CHECKING:
    from pyprobe.runtime.machine.engine import Engine
    from pyprobe.runtime.machine.memory import AddressSpace
    from pyprobe.runtime.machine.physical import PhysicalMemory


class PatchedBacking(Backing):
    """A file with breakpoints in it, as processes see it that map it privately: pages with one are copies, the others the file's."""

    def __init__(self, memory: PhysicalMemory, file: Backing) -> None:
        self.file = file
        self.own: dict[int, int] = {}
        super().__init__(memory, file.length)

    @property
    def length(self) -> int:
        return self.file.length

    @length.setter
    def length(self, length: int) -> None:
        pass

    def _load(self, index: int) -> int:
        frame = self.file.frame(index)
        for i, known in self.file.frames.items():
            self.frames.setdefault(i, known)
        return frame

    def resize(self, length: int) -> None:
        self.file.resize(length)

    def read(self, offset: int, n: int) -> bytes:
        return self.file.read(offset, n)

    def write(self, offset: int, data: bytes | bytearray | memoryview) -> None:
        self.file.write(offset, data)

    def patch(self, offset: int, code: bytes) -> None:
        """Put code there, for every process. Raises OutOfMemory."""
        for at, byte in enumerate(code, offset):
            index = at // PAGE
            frame = self.own.get(index, 0)
            if not frame and self.frame(index):
                frame = self.own[index] = self.frames[index] = self.memory.copy(self.frame(index))
            if frame:
                self.memory.view[frame + at % PAGE] = byte
                self.memory.written(frame)

    def __del__(self) -> None:
        for frame in self.own.values():
            self.memory.release(frame)


class Layout:
    """Where a file is mapped and its slots are: the same in most processes, which then share it."""

    def __init__(self, engine: Engine, base: int, area: Area, slots: Backing) -> None:
        self.engine = engine
        self.base = base
        self.area = area
        self.slots = slots
        self.origin = area.origin
        self.traps: dict[int, dict[int, Callable[[], int | None]]] = {}  # by offset in the file


class FileBreakpoints:
    """The breakpoints of one file, by offset, in every process that maps it executable.

    read: reads the file, offset and size; returned: what Engine.trap is given for the trampolines.
    """

    def __init__(self, engine: Engine, read: Callable[[int, int], bytes], returned: Callable[[], int | None] | None = None) -> None:
        self.engine = engine
        self._returned = returned
        self.arch = engine.arch.name
        self.table: dict[int, tuple[Displaced, Call]] = {}
        self._file = read
        self._breakpoint = breakpoint_code(self.arch)
        self._patched: dict[int, PatchedBacking] = {}
        self._layouts: list[Layout] = []

    def insert(self, offset: int, call: Call) -> Displaced:
        """Plant a breakpoint; `sync` brings it to who has mapped the file already. Raises Refused."""
        displaced = displace(self.arch, self._file(offset, LONGEST[self.arch]))
        self.table[offset] = displaced, call
        for patched in self._patched.values():
            patched.patch(offset, self._breakpoint)
        for layout in self._layouts:
            layout.traps.pop(offset, None)
        return displaced

    def remove(self, offset: int, mappings: Iterable[tuple[AddressSpace, Vma]]) -> None:
        """Put the instruction back, here and where it is mapped. Raises KeyError where there is no breakpoint."""
        displaced, _ = self.table.pop(offset)
        code = displaced.code[: len(self._breakpoint)]
        for patched in self._patched.values():
            patched.patch(offset, code)
        for layout in self._layouts:
            layout.traps.pop(offset, None)
        for space, vma in mappings:
            if vma.offset <= offset < vma.offset + vma.end - vma.start:
                address = vma.start + offset - vma.offset
                self._patch_private(space, address, code)
                self.engine.untrap(space, address)

    def sync(self, space: AddressSpace, vma: Vma) -> None:
        """The file is mapped there: let its breakpoints be seen. Shared mappings are left alone, as Linux leaves them (valid_vma)."""
        if vma.shared or vma.backing is None:
            return
        first, last = vma.offset, vma.offset + vma.end - vma.start
        offsets = [offset for offset in self.table if first <= offset < last]
        if not offsets:
            return
        vma.backing = self._backing(vma.backing)
        layout = self._layout(space, vma.start - vma.offset, vma)
        traps = space.points.traps
        for offset in offsets:
            found = layout.traps.get(offset)
            if found is None:
                found = layout.traps[offset] = self._traps(layout, offset)
            traps.update(found)
        if self._returned is not None:
            traps[layout.area.trampoline] = self._returned
        self.engine.traps_changed(space)
        pages = space.pages
        for page in sorted({offset // PAGE for offset in offsets}):
            number = vma.start // PAGE + page - vma.offset // PAGE
            entry = pages.get(number, 0)
            if entry & CACHED:
                del pages[number]
                space.stale = True
            elif entry:
                for offset in offsets:
                    if offset // PAGE == page:
                        space.poke(vma.start + offset - vma.offset, self._breakpoint)

    def trampoline(self, space: AddressSpace, address: int) -> int:
        """The trampoline of the mapping that `address` lies in; 0 without one."""
        for layout in self._layouts:
            vma = space.find(layout.area.start)
            if vma is not None and vma.backing is layout.slots and abs(layout.area.start - address) < REACH[self.arch]:
                return layout.area.trampoline
        return 0

    def _patch_private(self, space: AddressSpace, address: int, code: bytes) -> None:
        entry = space.pages.get(address // PAGE, 0)
        if entry and not entry & CACHED:
            space.poke(address, code)

    def _backing(self, file: Backing) -> PatchedBacking:
        if isinstance(file, PatchedBacking):
            return file
        patched = self._patched.get(id(file))
        if patched is None:
            patched = self._patched[id(file)] = PatchedBacking(self.engine.memory, file)
            for offset in self.table:
                patched.patch(offset, self._breakpoint)
        return patched

    def _layout(self, space: AddressSpace, base: int, vma: Vma) -> Layout:
        """The layout for a mapping: one that the space has, else a known one whose place is free, else a new one."""
        free = None
        for layout in self._layouts:
            if layout.base != base or (layout.area.full and not self.table.keys() <= layout.traps.keys()):
                continue
            there = space.find(layout.area.start)
            if there is not None and there.backing is layout.slots:
                return layout
            if free is None and space.free_area(layout.area.size, layout.area.start) == layout.area.start:
                free = layout
        if free is None:
            free = self._new_layout(space, base, vma)
            self._layouts.append(free)
        space.map(free.area.start, free.area.size, R | X, backing=free.slots, name=AREA_NAME)
        space.points.origins += (free.origin,)
        return free

    def _new_layout(self, space: AddressSpace, base: int, vma: Vma) -> Layout:
        capacity = max(FIRST_AREA, 2 * len(self.table)) + 1
        slots = self.engine.memory.anonymous(capacity * SLOT)
        start = near(space, vma.start, vma.end, capacity * SLOT, REACH[self.arch])
        area = Area(self.arch, start, capacity, lambda address, code: slots.write(address - start, code))
        return Layout(self.engine, base, area, slots)

    def _traps(self, layout: Layout, offset: int) -> dict[int, Callable[[], int | None]]:
        displaced, call = self.table[offset]
        address = layout.base + offset
        slot, end = layout.area.add(displaced, address, stop=False)
        found = {address: callback(self.engine, displaced, address, slot, call, None, False)}
        if end:
            found[end] = exit_callback(self.engine, address + len(displaced.code), None)
        return found
