"""software events of a booted kernel: what the kernel itself counts, and clocks.

With one processor nothing migrates; unaligned accesses are the processor's business, and nothing is emulated: these never happen.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from pyprobe.lang.attachpoint import AttachPoint
from pyprobe.lang.perf_events import EVENT_ALIASES, SOFTWARE
from pyprobe.runtime.probes.base import Handler, MakeHandler
from pyprobe.runtime.probes.software import SHORTEST, EventBinding, args, every, listing, matches
from pyprobe.runtime.probes.timers import start
from pyprobe.runtime.system.metadata.tracepoints import MAJOR_FAULTS, MINOR_FAULTS, PAGE_FAULTS

if TYPE_CHECKING:
    from pyprobe.runtime.probes.base import PointTable
    from pyprobe.runtime.system.machine import SystemMachine


def _clock(machine: SystemMachine, count: int, handler: Handler) -> None:
    kernel: Any = machine
    start(kernel, max(count, SHORTEST), machine.shown(handler))


def _switches(machine: SystemMachine, count: int, handler: Handler) -> None:
    machine.tracepoints.attach_raw("sched_switch", every(count, handler))


def _faults(number: int) -> Callable[[SystemMachine, int, Handler], None]:
    def attach_faults(machine: SystemMachine, count: int, handler: Handler) -> None:
        from pyprobe.runtime.system.tracing import software

        software.attach(machine.tracepoints, number, every(count, handler))

    return attach_faults


EVENTS: dict[str, Callable[[SystemMachine, int, Handler], None]] = {
    "context-switches": _switches,
    "cpu-clock": _clock,
    "major-faults": _faults(MAJOR_FAULTS),
    "minor-faults": _faults(MINOR_FAULTS),
    "page-faults": _faults(PAGE_FAULTS),
    "task-clock": _clock,
}


def attach(machine: Any, points: PointTable, point: AttachPoint, make: MakeHandler) -> None:
    event = EVENT_ALIASES.get(point.function, point.function)
    handler = make(EventBinding(machine, point))
    if event in EVENTS:
        EVENTS[event](machine, point.rate or SOFTWARE[event], handler)


__all__ = ["args", "attach", "listing", "matches"]
