"""hardware: what the processor counts. This one counts the instructions and the branches that programs execute, exactly.

It has no clock cycles, caches or pipeline of its own, so there is nothing behind the other events. While one of these probes is
attached every instruction is looked at, which makes programs slow.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING
from weakref import WeakKeyDictionary

from pyprobe.lang.attachpoint import AttachPoint
from pyprobe.lang.perf_events import EVENT_ALIASES, HARDWARE
from pyprobe.lang.typesys import Record
from pyprobe.runtime.machine.disassembly import is_branch
from pyprobe.runtime.probes.base import AttachError, Handler, Listed, MakeHandler
from pyprobe.runtime.probes.software import EventBinding, every
from pyprobe.runtime.wildcard import matcher

if TYPE_CHECKING:
    from pyprobe.runtime.machine.memory import AddressSpace
    from pyprobe.runtime.probes.base import PointTable
    from pyprobe.runtime.probes.description import Description
    from pyprobe.runtime.user.kernel import Kernel

COUNTED = ("instructions", "branch-instructions")


def listing(machine: Description, name: str, parts: list[str]) -> Iterable[Listed]:
    names = [*HARDWARE, *(alias for alias, event in EVENT_ALIASES.items() if event in HARDWARE)]
    return (Listed(f"{name}:{event}:") for event in filter(matcher(parts[0] if parts and parts[0] else "*"), names))


def matches(machine: Description, point: AttachPoint) -> list[AttachPoint]:
    return [point]


def args(machine: Description, point: AttachPoint) -> Record | None:
    return None


def counted(event: str) -> str:
    """The event, which must be one that is counted. Raises AttachError."""
    if event not in COUNTED:
        raise AttachError(f"the emulated processor counts {' and '.join(COUNTED)} only")
    return event


def branches_only(machine: Kernel, handler: Handler) -> Callable[[int, int], None]:
    """Calls `handler` for instructions that may go elsewhere than on."""
    engine = machine.engine_for(machine.arch)
    known: WeakKeyDictionary[AddressSpace, dict[tuple[int, int], bool]] = WeakKeyDictionary()

    def executed(address: int, size: int) -> None:
        task = machine.current
        if task is None:
            return
        space = task.process.space
        decided = known.setdefault(space, {})
        branch = decided.get((address, size))
        if branch is None:
            branch = decided[address, size] = is_branch(engine.arch.name, space.peek(address, size))
        if branch:
            handler()

    return executed


def attach(machine: Kernel, points: PointTable, point: AttachPoint, make: MakeHandler) -> None:
    event = counted(EVENT_ALIASES.get(point.function, point.function))
    handler = every(point.rate or HARDWARE[event], make(EventBinding(machine, point)))

    def executed(address: int, size: int) -> None:
        handler()

    counting = branches_only(machine, handler) if event == "branch-instructions" else executed
    machine.engine_for(machine.arch).on_instruction(counting)
