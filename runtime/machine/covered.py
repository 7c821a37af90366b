"""Code as debuggers within the guest see and change it: without the breakpoints of probes.

A debugger reads an instruction, puts its own breakpoint there and later the instruction back. Where a probe's breakpoint stands, it reads
the instruction that was displaced; its own breakpoint traps for both, the probe first; and what it puts back leaves the probe's.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pyprobe.runtime.machine.engine import Engine
    from pyprobe.runtime.machine.memory import AddressSpace

_BRK, _BRK_MASK = 0xD420_0000, 0xFFE0_001F  # BRK with any immediate


class Shared:
    """The callback of a breakpoint that is the guest's too: the probe is told, then the guest."""

    def __init__(self, alone: Callable[[], int | None]) -> None:
        self.alone = alone

    def __call__(self) -> None:
        self.alone()

    def step(self) -> None:
        """The probe has been told before."""


def read(engine: Engine, space: AddressSpace, address: int, n: int) -> bytes:
    """`n` bytes, or as many of them as there are; never raises MemoryFault."""
    return uncovered(engine, space, address, space.peek(address, n))


def uncovered(engine: Engine, space: AddressSpace, address: int, data: bytes) -> bytes:
    """What was read at an address, without breakpoints."""
    if not space.points.traps:
        return data
    shown = bytearray(data)
    for at, code in _displaced(engine, space, address, len(data)):
        if not isinstance(space.points.traps[at], Shared):
            _overlay(shown, at - address, code)
    return bytes(shown)


def write(engine: Engine, space: AddressSpace, address: int, data: bytes) -> None:
    """Store bytes whatever the protection. Raises MemoryFault where nothing is mapped, OutOfMemory."""
    stored = bytearray(data)
    traps = space.points.traps
    for at, code in _displaced(engine, space, address, len(data)) if traps else ():
        new = bytearray(space.peek(at, len(code)) if isinstance(traps[at], Shared) else code)
        _overlay(new, address - at, data)
        callback = traps[at]
        alone = callback.alone if isinstance(callback, Shared) else callback
        if new == code:
            _overlay(stored, at - address, _breakpoint(engine))
            engine.trap(space, at, alone)
        elif _is_breakpoint(engine.arch.name, bytes(new)):
            engine.trap(space, at, Shared(alone))
        else:
            engine.untrap(space, at)  # another instruction now
    space.poke(address, bytes(stored))


def _displaced(engine: Engine, space: AddressSpace, address: int, n: int) -> Iterator[tuple[int, bytes]]:
    """The probes' breakpoints in files that touch a range: where, and the bytes of the file that they cover."""
    from pyprobe.runtime.machine.file_breakpoints import PatchedBacking  # here: only where probes have breakpoints

    size = len(_breakpoint(engine))
    traps = space.points.traps
    reached = range(address - size + 1, address + n)
    for at in [at for at in traps if at in reached] if len(traps) < n else [at for at in reached if at in traps]:
        vma = space.find(at)
        if vma is not None and isinstance(vma.backing, PatchedBacking):
            yield at, vma.backing.read(vma.offset + at - vma.start, size)


def _breakpoint(engine: Engine) -> bytes:
    from pyprobe.runtime.machine.breakpoints import breakpoint_code  # here: only where probes have breakpoints

    return breakpoint_code(engine.arch.name)


def _overlay(data: bytearray, offset: int, part: bytes) -> None:
    """Put `part` at an offset, as far as it lies within."""
    low, high = max(offset, 0), min(offset + len(part), len(data))
    if low < high:
        data[low:high] = part[low - offset : high - offset]


def _is_breakpoint(arch: str, code: bytes) -> bool:
    return code[:1] == b"\xcc" if arch == "x86_64" else int.from_bytes(code, "little") & _BRK_MASK == _BRK
