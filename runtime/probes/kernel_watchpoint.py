"""watchpoint of a booted kernel: accesses to an address of the kernel, by whoever makes them.

A probe fires at the instruction that reads or writes, once, with memory as it leaves it; one for execution fires before the instruction.
Unlike a processor's debug registers it sees accesses by whatever other address the same memory is mapped at, too.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pyprobe.lang.attachpoint import AttachPoint
from pyprobe.runtime.machine.memory import R, W
from pyprobe.runtime.probes.base import AttachError, MakeHandler
from pyprobe.runtime.probes.software import EventBinding
from pyprobe.runtime.probes.watchpoint import args, listing, matches

if TYPE_CHECKING:
    from pyprobe.runtime.probes.base import PointTable
    from pyprobe.runtime.system.machine import SystemMachine

_ACCESSES = {"r": R, "w": W}


def attach(machine: Any, points: PointTable, point: AttachPoint, make: MakeHandler) -> None:
    system: SystemMachine = machine
    address, length = point.address, point.length
    if not address >> 63:
        raise AttachError(f"{address:#x} is an address of programs: in a booted kernel only the kernel's can be watched")
    if address % length:
        raise AttachError(f"{address:#x} is not aligned to {length} bytes, as a processor's debug registers need it")
    handler = make(EventBinding(machine, point))
    if point.mode == "x":
        system.functions.attach(address, handler, exact=True)
        return
    wanted = 0
    for letter in point.mode:
        wanted |= _ACCESSES[letter]
    if system.ready and system.read(address, length) is None:
        raise AttachError(f"the kernel has nothing mapped at {address:#x}")
    shown = system.shown(handler)
    system.when_up(lambda: system.processor.on_access(wanted, address, length, shown))


__all__ = ["args", "attach", "listing", "matches"]
