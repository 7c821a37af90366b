"""Debug registers of x86-64 tracees: breakpoints and watchpoints that need no change of the program.

References: Intel SDM volume 3, section 17.2; ptrace_write_dr7 and hw_breakpoint.c of arch/x86/kernel. The emulator has no such registers:
while a tracee runs whose registers are in use, the pages they point to are taken away from it for the accesses in question; an instruction
that faults there is executed by itself with them.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from errno import EINVAL, EIO
from typing import TYPE_CHECKING, NamedTuple

from pyprobe.runtime.machine.disassembly import LONGEST, first
from pyprobe.runtime.machine.memory import PAGE, TASK_SIZE, R, W, X
from pyprobe.runtime.machine.stop import Stop, StopKind
from pyprobe.runtime.user.errors import Errno
from pyprobe.runtime.user.signals import Sig, SigInfo, force

if TYPE_CHECKING:
    from pyprobe.runtime.machine.engine import Engine
    from pyprobe.runtime.machine.memory import AddressSpace
    from pyprobe.runtime.user.kernel import Kernel
    from pyprobe.runtime.user.ptrace import Tracing

TRAP_HWBKPT = 4
STATUS, CONTROL = 6, 7
SINGLE_STEP = 1 << 14  # DR6.BS
_DR6_RESERVED = 0xFFFF_0FF0
_ENABLED = 3  # the local and the global bit
_LENGTHS = (1, 2, 8, 4)
_ACCESSES = {0: X, 1: W, 3: R | W}  # 2 is for ports
_SIZES = {"byte": 1, "word": 2, "dword": 4, "qword": 8, "xmmword": 16}
_FURTHEST = 16  # bytes that an access has at most


class Watch(NamedTuple):
    """What one register watches. bit: of DR6; access: of R, W and X."""

    bit: int
    address: int
    length: int
    access: int

    def overlaps(self, address: int, size: int) -> bool:
        """Is any byte of the two the same?"""
        return address < self.address + self.length and self.address < address + size


class DebugRegisters:
    """Those of one task. watches: what is in force. passed: the pc at which an execution has been reported, which may execute now."""

    def __init__(self) -> None:
        self._addresses = [0, 0, 0, 0]
        self.status = self._control = 0
        self.watches: tuple[Watch, ...] = ()
        self.passed = -1

    def get(self, number: int) -> int:
        """A register."""
        if number < 4:
            return self._addresses[number]
        return {STATUS: self.status ^ _DR6_RESERVED, CONTROL: self._control}.get(number, 0)

    def set(self, number: int, value: int) -> None:
        """Set one. Raises Errno: EIO for what is no register, EINVAL for what the processor does not watch."""
        addresses, control, status = list(self._addresses), self._control, self.status
        if number < 4:
            if value >= TASK_SIZE:
                raise Errno(EINVAL)
            addresses[number] = value
        elif number == STATUS:
            status = value ^ _DR6_RESERVED
        elif number == CONTROL:
            control = value
        else:
            raise Errno(EIO)
        self.watches = tuple(_watches(addresses, control))
        self._addresses, self._control, self.status = addresses, control, status


def _watches(addresses: list[int], control: int) -> Iterator[Watch]:
    for i, address in enumerate(addresses):
        if control >> 2 * i & _ENABLED:
            access, length = _ACCESSES.get(control >> 16 + 4 * i & 3), _LENGTHS[control >> 18 + 4 * i & 3]
            if access is None or address % length or (access == X and length != 1):
                raise Errno(EINVAL)
            yield Watch(1 << i, address, length, access)


@contextmanager
def _withheld(space: AddressSpace, watches: tuple[Watch, ...]) -> Iterator[None]:
    """The watched pages do not allow the watched accesses meanwhile."""
    denied: dict[int, int] = {}
    for watch in watches:
        page = watch.address // PAGE
        denied[page] = denied.get(page, 0) | watch.access
    before: dict[int, int] = {}
    for page, access in denied.items():
        entry = space.fault(page * PAGE, W) or space.fault(page * PAGE, R)
        if entry:
            before[page] = space.pages[page]
            space.pages[page] &= ~access
    space.stale = True
    try:
        yield
    finally:
        for page, entry in before.items():
            if page in space.pages:
                space.pages[page] = entry
        space.stale = True


def run(k: Kernel, tracing: Tracing) -> Stop:
    """Run the current task in user mode until something has to be handled, under what its debug registers watch."""
    registers = tracing.debug
    engine, space = tracing.task.process.engine, tracing.task.space
    while True:
        with _withheld(space, registers.watches):
            stop = engine.run()
        on_page = [w for w in registers.watches if stop.access & w.access and w.overlaps(stop.address & ~(PAGE - 1), PAGE + _FURTHEST)]
        if stop.kind is not StopKind.FAULT or not on_page:
            return stop
        pc = engine.get("pc")
        executed = sum(w.bit for w in on_page if w.access == X and w.address == pc and registers.passed != pc)
        if executed:
            registers.passed = pc
            report(k, tracing, executed)
            return Stop(StopKind.STOPPED)
        size = 0 if stop.access == X else _size(engine, space, pc)
        touched = sum(w.bit for w in on_page if size and w.overlaps(stop.address, size))
        stop, done, changed = step(tracing)
        if not done:
            return stop
        if touched | changed:
            report(k, tracing, touched | changed)
            return stop


def step(tracing: Tracing) -> tuple[Stop, bool, int]:
    """Execute one instruction: what Engine.step gives, and the bits of the registers that watch what has changed."""
    engine, space = tracing.task.process.engine, tracing.task.space
    watched = [w for w in tracing.debug.watches if w.access & W]
    before = [space.peek(w.address, w.length) for w in watched]
    stop, done = engine.step()
    if not done:
        return stop, False, 0
    tracing.debug.passed = -1
    return stop, True, sum(w.bit for w, old in zip(watched, before, strict=True) if space.peek(w.address, w.length) != old)


def report(k: Kernel, tracing: Tracing, bits: int) -> None:
    """SIGTRAP for what is watched."""
    tracing.debug.status = bits
    force(k, tracing.task, SigInfo.fault(Sig.TRAP, TRAP_HWBKPT, tracing.task.process.engine.get("pc")))


def _size(engine: Engine, space: AddressSpace, pc: int) -> int:
    """How many bytes the instruction there accesses at a time, at least 1."""
    found = first(engine.arch.name, space.peek(pc, LONGEST[engine.arch.name]))
    words = found[1].partition(" ptr")[0].split() if found is not None else []
    return _SIZES.get(words[-1], _FURTHEST) if words else 1
