"""tracepoint: events that the emulated kernel reports, with Linux's fields."""

from __future__ import annotations

import struct
from collections.abc import Iterable
from functools import partial
from itertools import starmap
from typing import TYPE_CHECKING, Any

from pyprobe.lang.attachpoint import AttachPoint
from pyprobe.lang.typesys import Array, Integer, Record, String, Type
from pyprobe.runtime.machine.bound import Bound
from pyprobe.runtime.probes.base import AttachError, Listed, MakeHandler, TaskBinding
from pyprobe.runtime.probes.ctext import Named, c_type, declaration, register_type
from pyprobe.runtime.wildcard import matcher

if TYPE_CHECKING:
    from pyprobe.runtime.probes.base import PointTable
    from pyprobe.runtime.probes.description import Description
    from pyprobe.runtime.user.kernel import Kernel
    from pyprobe.runtime.user.tracepoints import Tracepoint


def listing(machine: Description, name: str, parts: list[str]) -> Iterable[Listed]:
    """tracepoint:CATEGORY:EVENT; one part alone is the event's."""
    category, event = parts if len(parts) == 2 else ("*", parts[0] if parts else "*")
    in_category, wanted = matcher(category), matcher(event)
    for (c, e), fields in machine.tracepoints.items():
        if in_category(c) and wanted(e):
            yield Listed(f"{name}:{c}:{e}", partial(starmap, declaration, fields))


def matches(machine: Description, point: AttachPoint) -> list[AttachPoint]:
    in_category, wanted = matcher(point.target), matcher(point.function)
    return [point.copy(target=c, function=e) for c, e in machine.tracepoints if in_category(c) and wanted(e)]


def args(machine: Description, point: AttachPoint) -> Record | None:
    fields = machine.tracepoints.get((point.target, point.function))
    if fields is None:
        return None
    return Record(tuple((name, field_type(point.target, ctype, name, machine.type_named)) for ctype, name in fields))


def field_type(category: str, ctype: str, name: str, named: Named | None = None) -> Type:
    """Arguments of system calls fill a word each, as in the kernel's format files; the other fields have their C types."""
    if category == "syscalls" and name not in ("__syscall_nr", "ret"):
        return register_type(ctype, "user", named)
    return c_type(ctype, "kernel", named)


OF_TASKS = frozenset({"syscalls", "raw_syscalls", "exceptions", "task"})  # what only a task does; the rest may happen while none runs


class TracepointBinding(TaskBinding):
    """Builtins at a tracepoint."""

    def __init__(self, machine: Kernel, point: AttachPoint, tracepoint: Tracepoint) -> None:
        super().__init__(machine, point.place, "tracepoint", idle=tracepoint.category not in OF_TASKS)
        self.tracepoint = tracepoint

    def special(self, name: str, literals: tuple[Any, ...]) -> Bound | None:
        if name != "args" or not literals:
            return None
        for i, (ctype, field) in enumerate(self.tracepoint.fields):
            if field == literals[0]:
                return self._field(i, field_type(self.tracepoint.category, ctype, field))
        raise KeyError(name)

    def _field(self, index: int, type: Type) -> Bound:
        value = f"_tracepoint.values[{index}]"
        if isinstance(type, Array) and isinstance(type.element, Integer):
            code = "bhiq"[type.element.size.bit_length() - 1]
            pack = struct.Struct(f"<{type.count}{code if type.element.signed else code.upper()}").pack
            return Bound(f"_pack_{index}(*{value})", {"_tracepoint": self.tracepoint, f"_pack_{index}": pack})
        if isinstance(type, String):
            return Bound(f"{value}.rstrip(_nul)", {"_tracepoint": self.tracepoint, "_nul": b"\0"})
        return Bound(value, {"_tracepoint": self.tracepoint})


def attach(machine: Kernel, points: PointTable, point: AttachPoint, make: MakeHandler) -> None:
    tracepoint = machine.tracepoints.get(point.target, point.function)
    if tracepoint is None:
        raise AttachError(f"the kernel has no tracepoint {point.target}:{point.function}")
    machine.tracepoints.attach(point.target, point.function, make(TracepointBinding(machine, point, tracepoint)))
