"""software: events that the kernel counts. A probe fires once for each so many events, its sample period.

Processors do not change under a task here, nothing emulates instructions that the processor lacks, and unaligned accesses are allowed:
these events are known and never happen, as on most machines.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

from pyprobe.lang.attachpoint import AttachPoint
from pyprobe.lang.perf_events import EVENT_ALIASES, SOFTWARE
from pyprobe.lang.typesys import Record
from pyprobe.runtime.probes.base import Handler, Listed, MakeHandler
from pyprobe.runtime.probes.timers import TimerBinding, start
from pyprobe.runtime.wildcard import matcher

if TYPE_CHECKING:
    from pyprobe.runtime.machine.memory import AddressSpace
    from pyprobe.runtime.probes.base import PointTable
    from pyprobe.runtime.probes.description import Description
    from pyprobe.runtime.user.kernel import Kernel

SHORTEST = 10_000  # nanoseconds between two samples of a clock: perf_swevent_start_hrtimer() of kernel/events/core.c


def listing(machine: Description, name: str, parts: list[str]) -> Iterable[Listed]:
    names = [*SOFTWARE, *(alias for alias, event in EVENT_ALIASES.items() if event in SOFTWARE)]
    return (Listed(f"{name}:{event}:") for event in filter(matcher(parts[0] if parts and parts[0] else "*"), names))


def matches(machine: Description, point: AttachPoint) -> list[AttachPoint]:
    return [point]


def args(machine: Description, point: AttachPoint) -> Record | None:
    return None


class EventBinding(TimerBinding):
    """Builtins when a counted event happens: about the task that it happens to."""


def every(count: int, handler: Handler) -> Handler:
    """`handler`, called at each `count`-th call."""
    if count == 1:
        return handler
    left = count

    def counted() -> None:
        nonlocal left
        left -= 1
        if not left:
            left = count
            handler()

    return counted


def _clock(machine: Kernel, count: int, handler: Handler) -> None:
    start(machine, max(count, SHORTEST), handler)


def _switches(machine: Kernel, count: int, handler: Handler) -> None:
    machine.tracepoints.attach("sched", "sched_switch", every(count, handler))


def _faults(wanted: Callable[[bool], bool]) -> Callable[[Kernel, int, Handler], None]:
    """Page faults; `wanted` says whether one that had to read a file (a major one) counts."""

    def attach_faults(machine: Kernel, count: int, handler: Handler) -> None:
        counted = every(count, handler)
        busy = False

        def happened(space: AddressSpace, address: int, major: bool, access: int) -> None:
            nonlocal busy
            if not busy and machine.current is not None and wanted(major):
                busy = True  # what the handler reads is no fault of the program's
                try:
                    counted()
                finally:
                    busy = False

        machine.memory.on_fault += (happened,)

    return attach_faults


def _never(machine: Kernel, count: int, handler: Handler) -> None:
    """The event does not happen here."""


EVENTS: dict[str, Callable[[Kernel, int, Handler], None]] = {
    "context-switches": _switches,
    "cpu-clock": _clock,
    "major-faults": _faults(lambda major: major),
    "minor-faults": _faults(lambda major: not major),
    "page-faults": _faults(lambda major: True),
    "task-clock": _clock,
}


def attach(machine: Kernel, points: PointTable, point: AttachPoint, make: MakeHandler) -> None:
    event = EVENT_ALIASES.get(point.function, point.function)
    EVENTS.get(event, _never)(machine, point.rate or SOFTWARE[event], make(EventBinding(machine, point)))
