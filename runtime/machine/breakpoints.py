"""Breakpoints as Linux plants them: code in guest memory is replaced, what it displaced runs in a slot.

The first bytes of an instruction become `int3` (x86-64) or `brk` (arm64). When that traps, the table of the address space, keyed by
address, says whose it is; the displaced instruction then runs in a slot, from where a jump leads back, or is simulated (see displaced.py).
The immediates of `brk` are the kernel's (arch/arm64/include/asm/brk-imm.h). `Breakpoints` is for one address space; for files in every
process that maps them see file_breakpoints.py.
"""

from __future__ import annotations

import errno
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Protocol, cast

from pyprobe.runtime.machine.disassembly import LONGEST
from pyprobe.runtime.machine.displaced import Displaced, Processor, Refused, displace
from pyprobe.runtime.machine.memory import PAGE, MemoryFault, R, X

if TYPE_CHECKING:
    from pyprobe.runtime.machine.arch import Arch
    from pyprobe.runtime.machine.clock import ClockWords
    from pyprobe.runtime.machine.memory import AddressSpace, Points
    from pyprobe.runtime.machine.state import State

Call = Callable[[], object]
"""Told of a hit. An int that it returns is where the guest goes on instead; bool and anything else mean nothing."""

KPROBES_BRK_IMM, UPROBES_BRK_IMM, KPROBES_BRK_SS_IMM, KRETPROBES_BRK_IMM = 4, 5, 6, 7

AREA_NAME = b"[uprobes]"  # where the slots are, as a mapping (kernel/events/uprobes.c)
SLOT = 32  # bytes: the longest instruction and the jump back
REACH = {"x86_64": 1 << 30, "arm64": 1 << 26}  # how far from the code a slot is put, in bytes: half of what a jump reaches
FIRST_AREA = 64  # slots at least


def breakpoint_code(arch: str, immediate: int = UPROBES_BRK_IMM) -> bytes:
    """The breakpoint instruction; the immediate is arm64's."""
    return b"\xcc" if arch == "x86_64" else (0xD4200000 | immediate << 5).to_bytes(4, "little")


def jump_code(arch: str, source: int, target: int) -> bytes | None:
    """A jump, or None when that is too far."""
    if arch == "x86_64":
        distance = target - (source + 5)
        return b"\xe9" + distance.to_bytes(4, "little", signed=True) if -(1 << 31) <= distance < 1 << 31 else None
    distance = target - source
    return (0x14000000 | distance >> 2 & 0x3FFFFFF).to_bytes(4, "little") if -(1 << 27) <= distance < 1 << 27 else None


class Memory(Protocol):
    """Memory with code: what breakpoints need of an address space. poke: whatever its permissions; code there is translated anew."""

    points: Points

    def peek(self, address: int, n: int, /) -> bytes: ...
    def poke(self, address: int, data: bytes, /) -> None: ...


class Host(Processor, Protocol):
    """A processor on which breakpoints trap: see Engine, whose methods these are."""

    arch: Arch
    state: State
    words: ClockWords

    def trap(self, space: Any, address: int, callback: Callable[[], int | None]) -> None: ...
    def untrap(self, space: Any, address: int) -> None: ...
    def faulted(self, address: int, access: int) -> int: ...


class Area:
    """Slots in a stretch of memory; the first one holds a breakpoint that functions return to (the trampoline of return probes).

    write: puts code there, at an address.
    """

    def __init__(self, arch: str, start: int, capacity: int, write: Callable[[int, bytes], None]) -> None:
        self.arch = arch
        self.start = start
        self.size = capacity * SLOT
        self._write = write
        self._free = deque(range(1, capacity))  # what was used last is used again last: a task may still be there
        self._places: list[tuple[int, int, bool] | None] = [None] * capacity  # address, length, whether a breakpoint ends the slot
        self.trampoline = start
        write(start, breakpoint_code(arch, KRETPROBES_BRK_IMM))

    def add(self, displaced: Displaced, address: int, *, stop: bool) -> tuple[int, int]:
        """A slot with the instruction of `address`: where it is, and where a breakpoint ends it (0: a jump does).

        stop: end it with a breakpoint. Raises Refused when no slot is free or near enough.
        """
        if not self._free:
            raise Refused(errno.ENOMEM, "no free slot")
        slot = self.start + self._free[0] * SLOT
        code = displaced.code if displaced.relocate is None else displaced.relocate(displaced.code, address, slot)
        end = slot + len(code)
        back = None if stop else jump_code(self.arch, end, address + len(code))
        self._write(slot, code + (back or breakpoint_code(self.arch, KPROBES_BRK_SS_IMM)))
        self._places[self._free.popleft()] = address, len(code), back is None
        return slot, end if back is None else 0

    def release(self, slot: int) -> None:
        """The slot is used no more."""
        number = (slot - self.start) // SLOT
        self._places[number] = None
        self._free.append(number)

    @property
    def full(self) -> bool:
        """Whether no slot is free."""
        return not self._free

    def origin(self, pc: int) -> tuple[int, bool] | None:
        """The address that code of a slot stands for, and whether the displaced instruction is done; None for what is not displaced."""
        number, offset = divmod(pc - self.start, SLOT)
        if not 0 < number < len(self._places):
            return None
        place = self._places[number]
        if place is None or (offset and place[2]):
            return None
        address, length, _ = place
        return (address + length, True) if offset else (address, False)


class InSlot:
    """The callback of a breakpoint whose instruction runs in a slot. parts: for the extension, which needs nothing else."""

    __slots__ = ("parts",)

    def __init__(self, call: Call, slot: int) -> None:
        self.parts = call, slot

    def __call__(self) -> int:
        call, slot = self.parts
        call()
        return slot

    def step(self) -> int:
        """Go on without telling anybody."""
        return self.parts[1]


def callback(
    engine: Host, displaced: Displaced, address: int, slot: int, call: Call, post: Call | None, diverts: bool
) -> Callable[[], int | None]:
    """What Engine.trap is given for a breakpoint: tells `call`, then goes on in the slot or simulates.

    post: told when the instruction is done, if it is simulated; at the end of a slot that is the business of another trap.
    diverts: `call` may say where to go on.
    """
    simulate = displaced.simulate
    if simulate is None or (not displaced.only_simulated and post is None):
        plain = InSlot(call, slot)
        if not diverts:
            return plain

        def hit_in_slot() -> int:
            going = call()
            return going if type(going) is int else slot

        hit_in_slot.step = plain.step  # type: ignore[attr-defined]  # see Engine.trap
        return hit_in_slot
    more = len(displaced.code) + engine.arch.breakpoint.jump
    words = engine.words

    def step() -> int:
        try:
            going = simulate(engine, address)
        except MemoryFault as fault:
            return engine.faulted(fault.address, fault.access)
        words.now += more
        if post is not None:
            engine.state.pc = going
            post()
        return going

    def hit() -> int:
        going = call()
        return going if diverts and type(going) is int else step()

    hit.step = step  # type: ignore[attr-defined]  # see Engine.trap
    return hit


def exit_callback(engine: Host, after: int, post: Call | None) -> Callable[[], int | None]:
    """For the breakpoint at the end of a slot: the instruction before `after` is done."""

    def step() -> int:
        return after

    def hit() -> int:
        if post is not None:
            engine.state.pc = after
            post()
        return after

    hit.step = step  # type: ignore[attr-defined]  # see Engine.trap
    return hit


def near(space: AddressSpace, low: int, high: int, length: int, reach: int) -> int:
    """A free range of `length` bytes from which `low` to `high` is within `reach`; below it rather than above. Raises Refused."""
    length = -(-length // PAGE) * PAGE
    vmas = space.vmas()
    below = [vma.start - length for vma in reversed(vmas) if low - reach < vma.start - length and vma.start <= low]
    above = [vma.end for vma in vmas if vma.end >= high and vma.end + length < high + reach]
    for hint in (*below, *above):
        if hint > 0 and space.free_area(length, hint) == hint:
            return hint
    raise Refused(errno.ENOMEM, "no memory for a slot is near enough")


class Planted:
    """One breakpoint of `Breakpoints`."""

    __slots__ = ("area", "displaced", "end", "slot")

    def __init__(self, displaced: Displaced, area: Area, slot: int, end: int) -> None:
        self.displaced = displaced
        self.area = area
        self.slot = slot
        self.end = end


class Breakpoints:
    """The breakpoints of one address space, keyed by address."""

    def __init__(self, engine: Host, space: Memory, immediate: int = UPROBES_BRK_IMM) -> None:
        self.engine = engine
        self.space = space
        self.arch = engine.arch.name
        self.table: dict[int, Planted] = {}
        self._breakpoint = breakpoint_code(self.arch, immediate)
        self._areas: list[Area] = []

    def read(self, address: int, size: int) -> bytes:
        """Memory as it is without the breakpoints. Shorter where it ends."""
        found = self.space.peek(address, size)
        if self._breakpoint[:1] not in found:
            return found
        content = bytearray(found)
        for at in range(address, address + len(content)):
            planted = self.table.get(at)
            if planted is not None:
                code = planted.displaced.code[: len(content) - (at - address)]
                content[at - address : at - address + len(code)] = code
        return bytes(content)

    def insert(self, address: int, call: Call, post: Call | None = None, *, diverts: bool = False) -> Displaced:
        """Plant a breakpoint. post: told when the instruction has been executed; diverts: `call` may say where to go on.

        Raises Refused.
        """
        if address in self.table:
            raise Refused(errno.EBUSY, "there is a breakpoint already")
        displaced = displace(self.arch, self.read(address, LONGEST[self.arch]))
        area = self._area(address)
        slot, end = area.add(displaced, address, stop=post is not None)
        self.table[address] = Planted(displaced, area, slot, end)
        if end:
            self.engine.trap(self.space, end, exit_callback(self.engine, address + len(displaced.code), post))
        self.engine.trap(self.space, address, callback(self.engine, displaced, address, slot, call, post, diverts))
        self.space.poke(address, self._breakpoint)
        return displaced

    def remove(self, address: int) -> None:
        """Put the instruction back, unless the guest has put something else there. Raises KeyError where there is no breakpoint."""
        planted = self.table.pop(address)
        if self.space.peek(address, len(self._breakpoint)) == self._breakpoint:
            self.space.poke(address, planted.displaced.code[: len(self._breakpoint)])
        self.engine.untrap(self.space, address)
        if planted.end:
            self.engine.untrap(self.space, planted.end)
        planted.area.release(planted.slot)

    def trampoline(self, near_to: int) -> int:
        """An address with a breakpoint of nobody, for functions to return to."""
        return self._area(near_to).trampoline

    def _area(self, address: int) -> Area:
        reach = REACH[self.arch]
        for area in self._areas:
            if not area.full and abs(area.start - address) < reach:
                return area
        area = self._new_area(address, max(FIRST_AREA, len(self.table)), reach)
        self._areas.append(area)
        return area

    def _new_area(self, address: int, capacity: int, reach: int) -> Area:
        """Memory for slots within reach of an address. Raises Refused."""
        space = cast("AddressSpace", self.space)
        start = near(space, address, address, capacity * SLOT, reach)
        space.map(start, capacity * SLOT, R | X, name=AREA_NAME)
        area = Area(self.arch, start, capacity, space.poke)
        space.points.origins += (area.origin,)
        return area
