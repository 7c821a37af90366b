"""begin, end, self, test and bench: no events of the machine, but of pyprobe itself, in whose context they run.

The session calls their handlers: `begin` before anything is attached, `end` after everything is detached, `self:signal` when pyprobe
gets the signal, `test` and `bench` in the modes of these names. To the machine, pyprobe is a process that it does not have.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial
from typing import TYPE_CHECKING, Any, cast

from pyprobe.lang.attachpoint import AttachPoint
from pyprobe.lang.signatures import PROBE_TYPES
from pyprobe.lang.typesys import Record
from pyprobe.runtime.machine.bound import Bound
from pyprobe.runtime.probes.base import Listed, MakeHandler, TaskBinding, of_task_function
from pyprobe.runtime.user.objects import Outside
from pyprobe.runtime.wildcard import matcher

if TYPE_CHECKING:
    from pyprobe.runtime.probes.base import PointTable
    from pyprobe.runtime.probes.description import Description
    from pyprobe.runtime.user.kernel import Kernel

PID = 999  # the id below the first program's
COMM = b"pyprobe"
OWN = Outside(PID, COMM)

_VALUES: dict[str, object] = {
    "pid": PID,
    "tid": PID,
    "uid": 0,
    "gid": 0,
    "username": 0,
    "ppid": 1,
    "pcomm": b"init",
    "leader_tid": PID,
    "leader_comm": COMM,
    "comm": COMM,
    "usermode": 1,
    "kstack": (0,),
    "ustack": (PID,),
}


SIGNALS = ("SIGUSR1",)  # that self:signal can wait for


def listing(machine: Description, name: str, parts: list[str]) -> Iterable[Listed]:
    """Only `self` has anything to list: the signals."""
    if name == "self":
        kind, signal = (*parts, "*", "*")[:2]
        return [Listed(f"self:signal:{s}") for s in SIGNALS if matcher(kind or "*")("signal") and matcher(signal or "*")(s)]
    return ()


def matches(machine: Description, point: AttachPoint) -> list[AttachPoint]:
    return [point]


def args(machine: Description, point: AttachPoint) -> Record | None:
    return None


class SpecialBinding(TaskBinding):
    """Builtins in the context of pyprobe."""

    def special(self, name: str, literals: tuple[Any, ...]) -> Bound | None:
        if name in _VALUES:
            return Bound(f"_own_{name}", {f"_own_{name}": _VALUES[name]})
        if name == "curtask":
            return self.call("_own_task", self._task())
        if name == "of_task":
            return self._of_task(str(literals[0]))
        return None

    def _task(self) -> Callable[[], int]:
        """What gives the address of the task that pyprobe is: one outside of the machine; a booted kernel has only its first."""
        machine = self.machine
        if getattr(machine, "booted", False):
            from pyprobe.runtime.system.tracing.registering import idle_task

            return partial(idle_task, cast(Any, machine))
        return lambda: machine.functions.object_address(OWN, "struct task_struct")

    def _of_task(self, name: str) -> Bound:
        """The function from a task's address to something about it, which knows pyprobe's own."""
        of_task = of_task_function(self.machine, name)
        own, value = self._task(), _VALUES[name]
        return Bound(f"_{name}_of", {f"_{name}_of": lambda address: value if address == own() else of_task(address)})


def attach(machine: Kernel, points: PointTable, point: AttachPoint, make: MakeHandler) -> None:
    handler = make(SpecialBinding(machine, point.place, PROBE_TYPES.get(point.provider, point.provider)))
    if point.provider in ("begin", "end"):
        (points.begin if point.provider == "begin" else points.end).append(handler)
    else:
        points.own.setdefault(point.provider, []).append((point.function, handler))
