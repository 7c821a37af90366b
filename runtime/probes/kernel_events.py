"""tracepoint and rawtracepoint of a booted kernel: their names, and their arguments from the kernel's own tables and types."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from functools import partial
from typing import TYPE_CHECKING, Any, cast

from pyprobe.lang.attachpoint import AttachPoint, has_wildcard
from pyprobe.lang.typesys import Record, Type
from pyprobe.runtime.fields import decoder
from pyprobe.runtime.machine.bound import Bound
from pyprobe.runtime.machine.calling import ARGUMENTS
from pyprobe.runtime.probes import tracepoint
from pyprobe.runtime.probes.base import AttachError, Listed, MakeHandler, TaskBinding
from pyprobe.runtime.probes.typed import value
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
    pattern, event = parts if len(parts) == 2 else ("*", parts[0] if parts else "*")
    system = cast("SystemDescription", machine)
    for module, found in _raw(system, pattern, event):
        yield Listed(f"{name}:{module}:{found}", partial(_declarations, system, module, found))


def _raw(machine: SystemDescription, pattern: str, event: str) -> Iterator[tuple[str, str]]:
    """Module and name of the raw tracepoints that two patterns mean; of modules, those that are there early, or the one named."""
    modules = filter(matcher(pattern), [machine.module, *machine.early_eventful]) if has_wildcard(pattern) else [pattern]
    for module in modules:
        yield from ((module, found) for found in filter(matcher(event), machine.raw_tracepoints(module)))


def _declarations(machine: SystemDescription, module: str, event: str) -> list[str]:
    found = machine.raw_tracepoint(event, module)
    return [f"{ctype} {name}" for ctype, name in found.parameters] if found else []


def matches(machine: Description, point: AttachPoint) -> list[AttachPoint]:
    system = cast("SystemDescription", machine)
    if point.provider == "tracepoint":
        found = tracepoint.matches(machine, point)
        return found if found or has_wildcard(point.function) or system.event(point.target, point.function) is None else [point]
    return [point.copy(target=module, function=event) for module, event in _raw(system, point.target or "*", point.function)]


def args(machine: Description, point: AttachPoint) -> Record | None:
    system = cast("SystemDescription", machine)
    if point.provider == "tracepoint":
        event = system.event(point.target, point.function)
        return Record(tuple((f.name, field_type(system, event, f)) for f in event.fields)) if event else None
    found = _prototype(system, point)
    return Record(found[0][1:]) if found else None


def _prototype(machine: SystemDescription, point: AttachPoint) -> tuple[tuple[tuple[str, Type], ...], Type] | None:
    number = machine.raw_tracepoints(point.target).get(point.function)
    return machine.types_of(point.target, "").prototype(number) if number else None


def field_type(machine: SystemDescription, event: Event, field: EventField) -> Type:
    """The type of a field of an event: what only this kernel knows, from its types."""
    category, ctype, name = event.category, field.type, field.name
    if ctype.startswith("__data_loc"):
        return tracepoint.field_type("", ctype, name, machine.type_named)
    if category == "syscalls":
        return tracepoint.field_type(category, ctype, name, machine.type_named)
    return machine.types_of(event.module, "").written(ctype) or tracepoint.field_type(category, ctype, name, machine.type_named)


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
                take = field_value(self.system.description, self.event, field)
                return Bound(f"_field_{i}(_tracepoints.record)", {f"_field_{i}": take, "_tracepoints": self.system.tracepoints})
        raise KeyError(name)


def field_value(machine: SystemDescription, event: Event, field: EventField) -> Callable[[bytes], object]:
    """The function that takes a field out of a record. One of variable length is a word: where it lies, and its size
    (`__data_loc`, include/trace/stages/stage1_struct_define.h)."""
    at = field.offset
    if field.type.startswith("__data_loc"):

        def data(record: bytes) -> bytes:
            word = int.from_bytes(record[at : at + 4], "little")
            return record[word & 0xFFFF : (word & 0xFFFF) + (word >> 16)].partition(b"\0")[0]

        return data
    decode = decoder(field_type(machine, event, field))
    return lambda record: decode(record, at)


class RawBinding(TaskBinding):
    """Builtins at a raw tracepoint: `argN` are the arguments as words, `args` with their types."""

    def __init__(self, machine: SystemMachine, point: AttachPoint) -> None:
        super().__init__(cast(Any, machine), point.place, "rawtracepoint", idle=True)
        self.system = machine
        found = _prototype(machine.description, point)
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
        module = "" if point.target == system.description.module else point.target
        system.tracepoints.attach_raw(point.function, make(RawBinding(system, point)), module)
        return
    event = system.description.event(point.target, point.function)
    if event is None:
        raise AttachError(f"the kernel has no tracepoint {point.target}:{point.function}")
    handler = make(EventBinding(system, point, event))
    if point.target == "syscalls":
        system.tracepoints.system_calls.attach(event, handler)
    elif not event.tracepoint and not event.module:
        raise AttachError(f"{point.target}:{point.function} is a record of the kernel's own tracers, and no tracepoint")
    else:
        system.tracepoints.attach_event(event, handler)
