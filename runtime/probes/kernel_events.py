"""tracepoint and rawtracepoint of a booted kernel: their names, and their arguments from the kernel's own tables and types."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial
from typing import TYPE_CHECKING, Any, cast

from pyprobe.lang.attachpoint import AttachPoint
from pyprobe.lang.typesys import Record, Type
from pyprobe.runtime.fields import decoder
from pyprobe.runtime.machine.bound import Bound
from pyprobe.runtime.probes import tracepoint
from pyprobe.runtime.probes.base import AttachError, Listed, MakeHandler, TaskBinding
from pyprobe.runtime.probes.typed import value
from pyprobe.runtime.probes.user import ARGUMENTS
from pyprobe.runtime.wildcard import matcher

if TYPE_CHECKING:
    from pyprobe.runtime.probes.base import PointTable
    from pyprobe.runtime.probes.description import Description
    from pyprobe.runtime.system.description import SystemDescription
    from pyprobe.runtime.system.machine import SystemMachine
    from pyprobe.runtime.system.metadata.events import Event, EventField


def listing(machine: Description, name: str, parts: list[str]) -> Iterable[Listed]:
    """tracepoint:CATEGORY:EVENT or rawtracepoint:MODULE:EVENT; one part alone is the event's."""
    if name == "tracepoint":
        yield from tracepoint.listing(machine, name, parts)
        return
    module, event = parts if len(parts) == 2 else ("*", parts[0] if parts else "*")
    if matcher(module)(machine.module):
        system = cast("SystemDescription", machine)
        for found in filter(matcher(event), system.facts.raw_tracepoints):
            yield Listed(f"{name}:{machine.module}:{found}", partial(_declarations, system, found))


def _declarations(machine: SystemDescription, event: str) -> list[str]:
    found = machine.raw_tracepoint(event)
    return [f"{ctype} {name}" for ctype, name in found.parameters] if found else []


def matches(machine: Description, point: AttachPoint) -> list[AttachPoint]:
    if point.provider == "tracepoint":
        return tracepoint.matches(machine, point)
    if point.target and not matcher(point.target)(machine.module):
        return []
    events = cast("SystemDescription", machine).facts.raw_tracepoints
    return [point.copy(target=machine.module, function=event) for event in filter(matcher(point.function), events)]


def args(machine: Description, point: AttachPoint) -> Record | None:
    system = cast("SystemDescription", machine)
    if point.provider == "tracepoint":
        event = system.event(point.target, point.function)
        return Record(tuple((f.name, field_type(system, point.target, f.type, f.name)) for f in event.fields)) if event else None
    number = system.facts.raw_tracepoints.get(point.function)
    found = system.types.prototype(number) if number else None
    return Record(found[0][1:]) if found else None


def field_type(machine: SystemDescription, category: str, ctype: str, name: str) -> Type:
    """The type of a field of an event: what only this kernel knows, from its types."""
    if category == "syscalls" or ctype.startswith("__data_loc"):
        return tracepoint.field_type(category, ctype, name, machine.type_named)
    return machine.types.written(ctype) or tracepoint.field_type(category, ctype, name, machine.type_named)


class EventBinding(TaskBinding):
    """Builtins at a trace event: `args` are the fields of its record."""

    def __init__(self, machine: SystemMachine, point: AttachPoint, event: Event) -> None:
        super().__init__(cast(Any, machine), point.place, "tracepoint", idle=True)
        self.system = machine
        self.event = event

    def special(self, name: str, literals: tuple[Any, ...]) -> Bound | None:
        if name != "args" or not literals:
            return None
        for i, field in enumerate(self.event.fields):
            if field.name == literals[0]:
                take = field_value(self.system.description, self.event.category, field)
                return Bound(f"_field_{i}(_tracepoints.record)", {f"_field_{i}": take, "_tracepoints": self.system.tracepoints})
        raise KeyError(name)


def field_value(machine: SystemDescription, category: str, field: EventField) -> Callable[[bytes], object]:
    """The function that takes a field out of a record. One of variable length is a word: where it lies, and its size
    (`__data_loc`, include/trace/stages/stage1_struct_define.h)."""
    at = field.offset
    if field.type.startswith("__data_loc"):

        def data(record: bytes) -> bytes:
            word = int.from_bytes(record[at : at + 4], "little")
            return record[word & 0xFFFF : (word & 0xFFFF) + (word >> 16)].partition(b"\0")[0]

        return data
    decode = decoder(field_type(machine, category, field.type, field.name))
    return lambda record: decode(record, at)


class RawBinding(TaskBinding):
    """Builtins at a raw tracepoint: `argN` are the arguments as words, `args` with their types."""

    def __init__(self, machine: SystemMachine, point: AttachPoint) -> None:
        super().__init__(cast(Any, machine), point.place, "rawtracepoint", idle=True)
        self.system = machine
        number = machine.description.facts.raw_tracepoints[point.function]
        found = machine.description.types.prototype(number)
        self.parameters = found[0][1:] if found else ()

    def special(self, name: str, literals: tuple[Any, ...]) -> Bound | None:
        if name == "arg":
            return self._word(literals[0]) if literals[0] < len(self.parameters) else Bound("0", {})
        if name == "args" and literals:
            for i, (argument, type) in enumerate(self.parameters):
                if argument == literals[0]:
                    word = self._word(i)
                    return Bound(value(word.expression, type), word.names)
            raise KeyError(name)
        return None

    def _word(self, number: int) -> Bound:
        """The first argument is not the tracepoint's."""
        tracepoints, registers = self.system.tracepoints, len(ARGUMENTS[self.system.arch])
        if number + 1 < registers:
            return Bound(f"_tracepoints.arguments[{number + 1}]", {"_tracepoints": tracepoints})
        return self.call(f"_argument_{number}", lambda: tracepoints.stacked(number + 1 - registers))


def attach(machine: Any, points: PointTable, point: AttachPoint, make: MakeHandler) -> None:
    system: SystemMachine = machine
    if point.provider == "rawtracepoint":
        system.tracepoints.attach_raw(point.function, make(RawBinding(system, point)))
        return
    event = system.description.event(point.target, point.function)
    if event is None:
        raise AttachError(f"the kernel has no tracepoint {point.target}:{point.function}")
    handler = make(EventBinding(system, point, event))
    if point.target == "syscalls":
        system.tracepoints.system_calls.attach(event, handler)
    elif not event.tracepoint:
        raise AttachError(f"{point.target}:{point.function} is a record of the kernel's own tracers, and no tracepoint")
    else:
        system.tracepoints.attach_event(event, handler)
