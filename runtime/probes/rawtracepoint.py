"""rawtracepoint: the tracepoints of the emulated kernel, with the arguments that the kernel's code passes them.

These are objects of the kernel rather than the fields that a tracepoint derives from them; their prototypes are in
include/trace/events/ of the kernel.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial
from typing import TYPE_CHECKING, Any

from pyprobe.lang.attachpoint import AttachPoint
from pyprobe.lang.typesys import Record
from pyprobe.runtime.machine.bound import Bound
from pyprobe.runtime.probes.base import AttachError, Listed, MakeHandler, TaskBinding
from pyprobe.runtime.probes.ctext import c_type
from pyprobe.runtime.probes.trampoline import converted
from pyprobe.runtime.user.objects import IDLE
from pyprobe.runtime.wildcard import matcher

if TYPE_CHECKING:
    from pyprobe.runtime.probes.base import PointTable
    from pyprobe.runtime.probes.description import Description
    from pyprobe.runtime.user.kernel import Kernel
    from pyprobe.runtime.user.tracepoints import Tracepoint

Value = Callable[["Kernel", "Tracepoint"], object]
"""An argument from the tracepoint's fields and the state of the kernel: a number, or one of its objects."""


def _field(index: int) -> Value:
    return lambda k, tp: tp.values[index]


def _task(index: int) -> Value:
    """The task whose thread id a field holds; the idle task is none of ours."""

    def task(k: Kernel, tp: Tracepoint) -> object:
        tid = tp.values[index]
        assert isinstance(tid, int)
        return k.tasks.get(tid) or (k.current if k.current is not None and k.current.tid == tid else IDLE)

    return task


def _current(k: Kernel, tp: Tracepoint) -> object:
    return k.current


def _registers(k: Kernel, tp: Tracepoint) -> object:
    return k.current.registers if k.current is not None else None


EVENTS: dict[str, tuple[str, tuple[tuple[str, str, Value], ...]]] = {
    "sched_process_exec": (
        "sched",
        (
            ("struct task_struct *", "p", _current),
            ("pid_t", "old_pid", _field(2)),
            ("struct linux_binprm *", "bprm", lambda k, tp: tp.values),
        ),
    ),
    "sched_process_exit": ("sched", (("struct task_struct *", "p", _current), ("bool", "group_dead", _field(3)))),
    "sched_process_fork": ("sched", (("struct task_struct *", "parent", _current), ("struct task_struct *", "child", _task(3)))),
    "sched_switch": (
        "sched",
        (
            ("bool", "preempt", lambda k, tp: tp.values[3] == 0 and tp.values[1] != 0),
            ("struct task_struct *", "prev", _task(1)),
            ("struct task_struct *", "next", _task(5)),
            ("unsigned int", "prev_state", _field(3)),
        ),
    ),
    "sys_enter": ("raw_syscalls", (("struct pt_regs *", "regs", _registers), ("long", "id", _field(0)))),
    "sys_exit": ("raw_syscalls", (("struct pt_regs *", "regs", _registers), ("long", "ret", _field(1)))),
}
"""Name: category, and (C type, name, value) of each argument."""


def listing(machine: Description, name: str, parts: list[str]) -> Iterable[Listed]:
    """rawtracepoint:MODULE:EVENT; one part alone is the event's."""
    module, event = parts if len(parts) == 2 else ("*", parts[0] if parts else "*")
    if not matcher(module)(machine.module):
        return
    for found in filter(matcher(event), EVENTS):
        yield Listed(f"{name}:{machine.module}:{found}", partial(declarations, found))


def declarations(event: str) -> list[str]:
    """The arguments as `type name`."""
    return [f"{ctype} {name}" for ctype, name, _ in EVENTS[event][1]]


def matches(machine: Description, point: AttachPoint) -> list[AttachPoint]:
    if point.target and not matcher(point.target)(machine.module):
        return []
    return [point.copy(target=machine.module, function=event) for event in filter(matcher(point.function), EVENTS)]


def args(machine: Description, point: AttachPoint) -> Record | None:
    found = EVENTS.get(point.function)
    return Record(tuple((name, c_type(ctype, "kernel", machine.type_named)) for ctype, name, _ in found[1])) if found else None


class RawBinding(TaskBinding):
    """Builtins at a raw tracepoint: `argN` are the arguments as words, `args` with their types."""

    def __init__(self, machine: Kernel, point: AttachPoint, tracepoint: Tracepoint) -> None:
        super().__init__(machine, point.place, "rawtracepoint", idle=tracepoint.category == "sched")
        self.tracepoint = tracepoint
        self.arguments = EVENTS[point.function][1]

    def special(self, name: str, literals: tuple[Any, ...]) -> Bound | None:
        if name == "arg":
            return self._word(literals[0]) if literals[0] < len(self.arguments) else Bound("0", {})
        if name == "args" and literals:
            for i, (ctype, argument, _) in enumerate(self.arguments):
                if argument == literals[0]:
                    word = self._word(i)
                    return Bound(converted(word.expression, c_type(ctype)), word.names)
            raise KeyError(name)
        return None

    def _word(self, index: int) -> Bound:
        machine, tracepoint, value = self.machine, self.tracepoint, self.arguments[index][2]
        return self.call(f"_argument_{index}", lambda: machine.functions.object_address(value(machine, tracepoint)))


def attach(machine: Kernel, points: PointTable, point: AttachPoint, make: MakeHandler) -> None:
    category = EVENTS[point.function][0]
    tracepoint = machine.tracepoints.get(category, point.function)
    if tracepoint is None:
        raise AttachError(f"the kernel has no tracepoint {point.function}")
    machine.tracepoints.attach(category, point.function, make(RawBinding(machine, point, tracepoint)))
