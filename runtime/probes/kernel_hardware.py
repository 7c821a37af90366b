"""hardware events of a booted kernel: the instructions and the branches that it and its programs execute, counted exactly.

The processor has nothing else to count, as on the user machine; while one of these probes is attached every instruction is looked at.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pyprobe.lang.attachpoint import AttachPoint
from pyprobe.lang.perf_events import EVENT_ALIASES, HARDWARE
from pyprobe.runtime.probes.base import MakeHandler
from pyprobe.runtime.probes.hardware import args, counted, listing, matches
from pyprobe.runtime.probes.software import EventBinding

if TYPE_CHECKING:
    from pyprobe.runtime.probes.base import PointTable
    from pyprobe.runtime.system.machine import SystemMachine


def attach(machine: Any, points: PointTable, point: AttachPoint, make: MakeHandler) -> None:
    system: SystemMachine = machine
    event = counted(EVENT_ALIASES.get(point.function, point.function))
    handler = make(EventBinding(machine, point))
    system.instructions.count(point.rate or HARDWARE[event], handler, branches=event == "branch-instructions")


__all__ = ["args", "attach", "listing", "matches"]
