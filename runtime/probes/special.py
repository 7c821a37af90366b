"""begin and end: no events of the machine; the session runs their handlers before anything is attached and after everything is detached.

They run in the context of pyprobe itself, which to the machine is a process that it does not have.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from pyprobe.lang.attachpoint import AttachPoint
from pyprobe.lang.typesys import Record
from pyprobe.runtime.machine.bound import Bound
from pyprobe.runtime.probes.base import Listed, MakeHandler, TaskBinding

if TYPE_CHECKING:
    from pyprobe.runtime.probes.base import PointTable
    from pyprobe.runtime.probes.description import Description
    from pyprobe.runtime.user.kernel import Kernel

PID = 999  # the id below the first program's
COMM = b"pyprobe"

_VALUES: dict[str, object] = {
    "pid": PID,
    "tid": PID,
    "uid": 0,
    "gid": 0,
    "username": 0,
    "ppid": 0,
    "comm": COMM,
    "usermode": 1,
    "curtask": 0,
    "kstack": (0,),
    "ustack": (PID,),
}


def listing(machine: Description, name: str, parts: list[str]) -> Iterable[Listed]:
    return ()


def matches(machine: Description, point: AttachPoint) -> list[AttachPoint]:
    return [point]


def args(machine: Description, point: AttachPoint) -> Record | None:
    return None


class SpecialBinding(TaskBinding):
    """Builtins in begin and end."""

    def special(self, name: str, literals: tuple[Any, ...]) -> Bound | None:
        return Bound(f"_own_{name}", {f"_own_{name}": _VALUES[name]}) if name in _VALUES else None


def attach(machine: Kernel, points: PointTable, point: AttachPoint, make: MakeHandler) -> None:
    handlers = points.begin if point.provider == "begin" else points.end
    handlers.append(make(SpecialBinding(machine, point.name, "special")))
