"""Page faults as the kernel counts them: its software events (`perf_sw_event`, include/linux/perf_event.h).

They are behind static branches as tracepoints are, with one function for all to call; as far as the kernel knows, nobody counts.
"""

from __future__ import annotations

from collections.abc import Callable

from pyprobe.runtime.probes.base import AttachError
from pyprobe.runtime.system.metadata.tracepoints import Place
from pyprobe.runtime.system.tracing.tracepoints import Point, Tracepoints

FUNCTION = "__perf_sw_event"  # (event, count, registers, address)


class SoftwarePoint(Point):
    """One software event. number: the kernel's."""

    def __init__(self, owner: Tracepoints, place: Place, number: int) -> None:
        super().__init__(owner, place, place.address, 0)
        self.number = number

    def _attached(self) -> int:
        """The key counts who has an interest."""
        return self._owner.cpu.number(self.place.address) & 0xFFFF_FFFF

    def _pretend(self) -> None:
        """Nothing: nobody asks a second time."""

    def called(self) -> None:
        if self._owner.words_of(self._owner.cpu.general())[0] == self.number:
            super().called()


def attach(tracepoints: Tracepoints, number: int, callback: Callable[[], object]) -> None:
    """Have `callback` called whenever the kernel would count an event. Raises AttachError."""
    name = f"{FUNCTION} {number}"
    point = tracepoints.points.get(name)
    if point is None:
        facts = tracepoints.description.facts
        function = facts.symbols.address(FUNCTION)
        if number not in facts.software or function is None:
            raise AttachError("this kernel does not tell where it counts page faults")
        key, branches = facts.software[number]
        point = tracepoints.points[name] = SoftwarePoint(tracepoints, Place(name, key, function, 0, branches), number)
        tracepoints.add(point)
    point.handlers.append(tracepoints.machine.shown(callback))
