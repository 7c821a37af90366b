"""tracepoint and rawtracepoint of a booted kernel: their names, and their arguments from the kernel's own tables and types."""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial
from typing import TYPE_CHECKING, Any, cast

from pyprobe.lang.attachpoint import AttachPoint
from pyprobe.lang.typesys import Record, Type
from pyprobe.runtime.probes import tracepoint
from pyprobe.runtime.probes.base import AttachError, Listed, MakeHandler
from pyprobe.runtime.wildcard import matcher

if TYPE_CHECKING:
    from pyprobe.runtime.probes.base import PointTable
    from pyprobe.runtime.probes.description import Description
    from pyprobe.runtime.system.description import SystemDescription


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
        return tracepoint.field_type(category, ctype, name)
    return machine.types.written(ctype) or tracepoint.field_type(category, ctype, name)


def attach(machine: Any, points: PointTable, point: AttachPoint, make: MakeHandler) -> None:
    raise AttachError(f"{point.provider} probes can't be attached in a booted kernel yet; kprobe, kretprobe, fentry and fexit can")
