"""watchpoint: accesses to an address of the command's memory, by the command and the threads it makes.

As with a processor's debug registers, a probe fires after the instruction that read or wrote; one for execution, before. Accesses by the
kernel for the program are not seen. While one is attached every instruction is looked at, which makes programs slow.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from pyprobe.lang.attachpoint import AttachPoint, PointError
from pyprobe.lang.typesys import Record
from pyprobe.runtime.machine.memory import R, W
from pyprobe.runtime.machine.physical import PAGE, PAGE_MASK
from pyprobe.runtime.probes.base import AttachError, Handler, Listed, MakeHandler
from pyprobe.runtime.probes.software import EventBinding

if TYPE_CHECKING:
    from pyprobe.runtime.probes.base import PointTable
    from pyprobe.runtime.probes.description import Description
    from pyprobe.runtime.user.kernel import Kernel

ACCESSES = {"r": R, "w": W}
MODES = {"x86_64": ("x", "w", "rw"), "arm64": ("r", "w", "rw", "x")}  # of the debug registers


def listing(machine: Description, name: str, parts: list[str]) -> Iterable[Listed]:
    return ()


def matches(machine: Description, point: AttachPoint) -> list[AttachPoint]:
    if point.mode not in MODES[machine.arch]:
        raise PointError(f"invalid watchpoint mode: {point.mode}", f"supported modes: {','.join(MODES[machine.arch])}")
    return [point]


def args(machine: Description, point: AttachPoint) -> Record | None:
    return None


def attach(machine: Kernel, points: PointTable, point: AttachPoint, make: MakeHandler) -> None:
    if point.address >> 63:
        raise AttachError("the emulated kernel has no memory of its own that could be watched")
    handler = make(EventBinding(machine, point))
    if point.mode == "x":
        _execution(machine, point.address, handler)
    else:
        _accesses(machine, point, handler)


def _ours(machine: Kernel) -> bool:
    return machine.current is not None and machine.current.process is machine.first


def _execution(machine: Kernel, watched: int, handler: Handler) -> None:
    def executed(address: int, size: int) -> None:
        if address == watched and _ours(machine):
            handler()

    machine.engine_for(machine.arch).on_instruction(executed)


def _accesses(machine: Kernel, point: AttachPoint, handler: Handler) -> None:
    page, within = divmod(point.address, PAGE)
    pending = False

    def accessed(physical: int, size: int) -> None:
        nonlocal pending
        if not pending and machine.current is not None:
            entry = machine.current.process.space.pages.get(page, 0)
            pending = entry != 0 and -size < physical - (entry & PAGE_MASK) - within < point.length

    def executed(address: int, size: int) -> None:
        nonlocal pending
        if pending:
            pending = False
            if _ours(machine):
                handler()

    engine = machine.engine_for(machine.arch)
    wanted = 0
    for letter in point.mode:
        wanted |= ACCESSES[letter]
    engine.on_access(wanted, accessed)
    engine.on_instruction(executed)
