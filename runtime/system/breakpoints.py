"""Breakpoints in the code of a booted kernel.

As Linux's own kprobes do it (kernel/kprobes.c): the instruction's first bytes are replaced in the kernel's text, what they displaced runs
in slots that are mapped near it, read-only and executable. The machine takes the exception before the kernel does, so that handlers run
without the kernel's knowing; an exception of a displaced instruction is the kernel's again, as if at the place it was written for, which
is what kprobe_fault_handler() of the architectures brings about.
"""

from __future__ import annotations

import errno
import mmap
from collections.abc import Callable
from typing import TYPE_CHECKING

from pyprobe.runtime.machine.breakpoints import KPROBES_BRK_IMM, SLOT, Area, Breakpoints
from pyprobe.runtime.machine.displaced import Displaced, Refused
from pyprobe.runtime.machine.memory import MemoryFault, R, W
from pyprobe.runtime.system.ram import PAGE

if TYPE_CHECKING:
    from pyprobe.runtime.system.cpu import Processor

SLOTS = 1 << 21  # bytes: one entry of the kernel's page tables


class KernelMemory:
    """The kernel's memory, whatever its permissions (machine.breakpoints.Memory, machine.displaced.Space).

    text: the kernel's own code, which is never mapped elsewhere, so that its pages are looked up once.
    """

    def __init__(self, cpu: Processor, text: range) -> None:
        self._cpu = cpu
        self._text = text
        self._pages: dict[int, int] = {}
        self._view = cpu.ram.view
        self.points = cpu.points

    def _place(self, address: int, n: int) -> int:
        """Where in RAM a piece of the kernel's code is, if it is in one page; -1."""
        if address not in self._text or (address & PAGE - 1) + n > PAGE:
            return -1
        page = self._pages.get(address // PAGE)
        if page is None:
            page = self._cpu.translate(address & -PAGE)
            if page < 0:
                return -1
            self._pages[address // PAGE] = page
        return page + (address & PAGE - 1)

    def peek(self, address: int, n: int) -> bytes:
        """Shorter where it ends."""
        place = self._place(address, n)
        if place >= 0:
            return bytes(self._view[place : place + n])
        found = self._cpu.read(address, n)
        if found is not None or not n:
            return found or b""
        here = PAGE - (address & PAGE - 1)
        return self.peek(address, here) if here < n else b""

    def poke(self, address: int, data: bytes) -> None:
        place = self._place(address, len(data))
        if place >= 0:
            self._view[place : place + len(data)] = data
            self._cpu.forget_place(place)
        elif self._cpu.write(address, data):
            self._cpu.forget(address)

    def u32(self, address: int) -> int:
        return int.from_bytes(self._read(address, 4), "little")

    def u64(self, address: int) -> int:
        return int.from_bytes(self._read(address, 8), "little")

    def _read(self, address: int, n: int) -> bytes:
        found = self._cpu.read(address, n)
        if found is None:
            raise MemoryFault(address, R)
        return found


class Stepping:
    """The processor as breakpoints in the kernel work with it (machine.breakpoints.Host). slot: of the breakpoint at an address."""

    def __init__(self, cpu: Processor, text: range, slot: Callable[[int], int]) -> None:
        self.cpu = cpu
        self.arch, self.state, self.words = cpu.arch, cpu.state, cpu.words
        self.get, self.set = cpu.get, cpu.set
        self.space = KernelMemory(cpu, text)
        self._slot = slot

    def trap(self, space: object, address: int, callback: Callable[[], int | None]) -> None:
        self.cpu.trap(address, callback)

    def untrap(self, space: object, address: int) -> None:
        self.cpu.untrap(address)

    def store(self, address: int, data: bytes) -> None:
        if not self.cpu.write(address, data):
            raise MemoryFault(address, W)

    def faulted(self, address: int, access: int) -> int:
        """An instruction that was to be simulated runs in its slot after all, to fault there."""
        return self._slot(self.state.pc)

    def syscall_instruction(self, after: int) -> int:
        return self._slot(self.state.pc)


class KernelBreakpoints(Breakpoints):
    """The breakpoints in the kernel. text: its own code.

    on_step_fault: told the address of an instruction that has faulted in its slot, and what the kernel would be told, the vector or the
    syndrome; True: it is tried again.
    """

    def __init__(self, cpu: Processor, text: range) -> None:
        self.cpu = cpu
        self.text = text
        self.on_step_fault: Callable[[int, int], bool] | None = None
        stepping = Stepping(cpu, text, lambda address: self.table[address].slot)
        super().__init__(stepping, stepping.space, KPROBES_BRK_IMM)

    def code(self, code: bytes) -> int:
        """Put code of ours into a slot; its address. Raises Refused."""
        slot, _ = self._area(self.text.start).add(Displaced(code, ""), self.text.start, stop=True)
        return slot

    def _area(self, address: int) -> Area:
        """The one area, which is large. What no jump reaches from there ends with a breakpoint."""
        if not self._areas:
            self._areas.append(self._map())
        area = self._areas[0]
        if area.full:
            raise Refused(errno.ENOMEM, "no free slot")
        return area

    def _map(self) -> Area:
        """Map the slots: memory beyond what the kernel knows of."""
        cpu = self.cpu
        physical = -(-(cpu.ram.base + cpu.ram.size) // SLOTS) * SLOTS
        memory = mmap.mmap(-1, SLOTS, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
        try:
            start = cpu.map_code(self.text.start, physical, SLOTS)
        except LookupError as error:
            raise Refused(errno.ENOMEM, str(error)) from None
        forget = cpu.add_memory(physical, memory)

        used = 0

        def write(at: int, code: bytes) -> None:
            nonlocal used
            first, last = at - start, at - start + len(code)
            memory[first:last] = code
            if first < used:
                forget(first, len(code))
            used = max(used, last)

        cpu.displace_to(range(start, start + SLOTS), self._left)
        area = Area(self.arch, start, SLOTS // SLOT, write)
        self.space.points.origins += (area.origin,)
        return area

    def _left(self, number: int) -> bool:
        """An exception of displaced code: it becomes one of the place that the code comes from."""
        cpu = self.cpu
        found = self._areas[0].origin(cpu.trap_address() + cpu.arch.breakpoint.advance)
        if found is None:
            return False
        address, done = found
        try:
            if not done and self.on_step_fault is not None and self.on_step_fault(address, cpu.exception(number)):
                return True
        except BaseException as error:
            cpu.fail(error)
        cpu.go_to(address)
        return False
