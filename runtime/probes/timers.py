"""interval and profile: timers of the machine's virtual clock.

A profile samples whatever runs then, the idle task too; an interval is no sample of anything. With one CPU they fire alike.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from pyprobe.lang.attachpoint import AttachPoint, PointError
from pyprobe.lang.typesys import Record
from pyprobe.runtime.machine.bound import Bound
from pyprobe.runtime.probes.base import NO_SYSCALL, Handler, Listed, MakeHandler, TaskBinding
from pyprobe.runtime.wildcard import matcher

if TYPE_CHECKING:
    from pyprobe.runtime.probes.base import PointTable
    from pyprobe.runtime.probes.description import Description
    from pyprobe.runtime.user.kernel import Kernel

SECOND = 10**9
UNITS = {"hz": None, "ms": 10**6, "s": SECOND, "us": 10**3}  # nanoseconds; hz is a rate
SHORTEST = 1000  # nanoseconds


def listing(machine: Description, name: str, parts: list[str]) -> Iterable[Listed]:
    wanted = matcher(parts[0] if parts and parts[0] else "*")
    return (Listed(f"{name}:{unit}:") for unit in UNITS if wanted(unit))


def matches(machine: Description, point: AttachPoint) -> list[AttachPoint]:
    if point.unit not in UNITS:
        raise PointError(f"{point.unit} is not an accepted unit of time")
    if point.rate <= 0:
        raise PointError(f"{point.provider} frequency should be a positive integer")
    return [point]


def args(machine: Description, point: AttachPoint) -> Record | None:
    return None


def period(point: AttachPoint) -> int:
    """Nanoseconds from one firing to the next."""
    unit = UNITS[point.unit]
    return max(SECOND // point.rate if unit is None else unit * point.rate, SHORTEST)


class TimerBinding(TaskBinding):
    """Builtins when a timer fires: about the task that runs then, if one does."""

    def __init__(self, machine: Kernel, point: AttachPoint) -> None:
        super().__init__(machine, point.place, point.provider, idle=True)

    def special(self, name: str, literals: tuple[Any, ...]) -> Bound | None:
        if name == "reg" and literals[0] == "orig_ax":
            return Bound(str(NO_SYSCALL), {})
        if name == "reg":
            return self.machine.engine_for(self.machine.arch).register(literals[0])
        if name == "usermode":
            machine: Any = self.machine
            if getattr(machine, "booted", False):
                return self.call("_usermode", lambda: int(machine.processor.user_mode))
            return self.call("_usermode", lambda: int(machine.current is not None and machine.current.syscall is None))
        return None


def attach(machine: Kernel, points: PointTable, point: AttachPoint, make: MakeHandler) -> None:
    handler = make(TimerBinding(machine, point))
    system: Any = machine
    if points.description.booted:  # a sample of what runs is none of ours, and what is due then waits for somebody else to run
        handler = system.shown(handler) if point.provider == "profile" else system.put_off(handler)
    start(machine, period(point), handler)


def start(machine: Kernel, every: int, handler: Handler) -> None:
    """Call `handler` every so many nanoseconds from now on; simultaneous timers fire in the order they were started."""
    clock = machine.clock
    due = clock.now() + every

    def fire() -> None:
        nonlocal due
        due += every
        clock.add(due, fire)
        handler()

    clock.add(due, fire)
