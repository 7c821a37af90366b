"""The kernel's trace events and their fields, from the tables that the kernel itself builds its format files from.

An event is a `struct trace_event_call`, which points to its class, which has the category and an array of fields
(include/linux/trace_events.h, kernel/trace/trace_events.c). Kernels without symbols for data have no names for these, so they are found
from what is in every class: the address of the function that switches its events on. System calls have no fields in the class; theirs
are in their `struct syscall_metadata` (include/trace/syscall.h).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from pyprobe.runtime.system.metadata.btf import TYPEDEF, Btf
from pyprobe.runtime.system.metadata.memory import KernelMemory
from pyprobe.runtime.system.metadata.scan import pointers
from pyprobe.runtime.system.metadata.symbols import Symbols
from pyprobe.runtime.system.metadata.types import KernelTypes

RAW_PREFIX = "btf_trace_"  # of the types by which BTF knows the arguments of raw tracepoints
ITERATOR_PREFIX = "__traceiter_"  # of the functions that call who is attached to a tracepoint
_COMMON = 8  # bytes of the fields that every event begins with (struct trace_entry)
_REGISTER = ("trace_event_reg", "syscall_enter_register", "syscall_exit_register")
_FIELDS_LIMIT = 128
_SYSCALL_PREFIX = {"x86_64": "__x64_sys_", "arm64": "__arm64_sys_"}
_ARRAY = re.compile(r"(.*)\[(.+)\]")


class EventField(NamedTuple):
    """A field of an event's record: its type in C, offset and size in bytes."""

    type: str
    name: str
    offset: int
    size: int
    signed: bool


class Event(NamedTuple):
    """A trace event. call: the address of its `struct trace_event_call`; tracepoint: that of its `struct tracepoint`, 0 for those of
    system calls; module: whose it is, "" for the kernel itself. A module's addresses are known when it is loaded."""

    category: str
    name: str
    fields: tuple[EventField, ...]
    call: int
    tracepoint: int
    module: str = ""


class _Layout:
    """Offsets of the structs' members in this kernel."""

    def __init__(self, types: KernelTypes) -> None:
        at = types.offset
        self.system = at("trace_event_class", "system")
        self.reg = at("trace_event_class", "reg")
        self.fields = at("trace_event_class", "fields_array")
        self.call_class = at("trace_event_call", "class")
        self.call_name = at("trace_event_call", "name")
        self.call_data = at("trace_event_call", "data")
        self.call_flags = at("trace_event_call", "flags")
        self.field_type = at("trace_event_fields", "type")
        self.field_name = at("trace_event_fields", "name")
        self.field_size = at("trace_event_fields", "size")
        self.field_align = at("trace_event_fields", "align")
        self.field_signed = at("trace_event_fields", "is_signed")
        made = types.named("struct trace_event_fields")
        self.field = made.size if made else 0
        self.tracepoint_name = at("tracepoint", "name")
        self.syscall_number = at("syscall_metadata", "nb_args")
        self.syscall_types = at("syscall_metadata", "types")
        self.syscall_names = at("syscall_metadata", "args")
        flag = types.constant("TRACE_EVENT_FL_TRACEPOINT")
        self.has_tracepoint = flag[0] if flag else 0


def read(memory: KernelMemory, symbols: Symbols, types: KernelTypes) -> list[Event]:
    """All events, sorted by category and name. Empty when the kernel has none (CONFIG_EVENT_TRACING)."""
    try:
        layout = _Layout(types)
    except KeyError:
        return []
    mapped = set(syscall_table(memory, symbols)) - {"ni_syscall"}  # the kernel disables events of calls that are not in its table
    registers = {a for name in _REGISTER if (a := symbols.address(name)) is not None}
    wanted = {address - layout.reg for address in pointers(memory, symbols, registers)}
    classes = {c: name for c in wanted if (name := memory.cstring(_word(memory, c + layout.system)))}
    found: dict[tuple[str, str], Event] = {}
    for place in pointers(memory, symbols, set(classes)):
        call = place - layout.call_class
        event = _event(memory, types, layout, call, classes)
        if event is not None and (event.category != "syscalls" or event.name.split("_", 2)[2] in mapped):
            found.setdefault((event.category, event.name), event)
    return [found[key] for key in sorted(found)]


def of_calls(memory: KernelMemory, types: KernelTypes, calls: Iterable[int], module: str) -> list[Event]:
    """The events of a module, sorted, of whose `struct trace_event_call` the addresses are known."""
    try:
        layout = _Layout(types)
    except KeyError:
        return []
    found = {}
    for call in calls:
        of = _word(memory, call + layout.call_class)
        event = _event(memory, types, layout, call, {of: memory.cstring(_word(memory, of + layout.system))})
        if event is not None:
            found[event.category, event.name] = event._replace(call=0, tracepoint=0, module=module)
    return [found[key] for key in sorted(found)]


def _event(memory: KernelMemory, types: KernelTypes, layout: _Layout, call: int, classes: dict[int, str]) -> Event | None:
    try:
        of = memory.u64(call + layout.call_class)
        named = memory.u64(call + layout.call_name)
        has_tracepoint = memory.u32(call + layout.call_flags) & layout.has_tracepoint
        name = memory.cstring(memory.u64(named + layout.tracepoint_name) if has_tracepoint else named)
        if not re.fullmatch(r"[A-Za-z_]\w*", name) or (classes[of] != "syscalls") != bool(has_tracepoint):
            return None  # the words that look like an event's are something else
        if classes[of] == "syscalls":
            fields = _syscall_fields(memory, layout, name, memory.u64(call + layout.call_data))
        else:
            fields = tuple(_fields(memory, types, layout, memory.u64(of + layout.fields)))
    except LookupError:  # a pointer to a class that is not part of an event
        return None
    return Event(classes[of], name, fields, call, named if has_tracepoint else 0)


def _fields(memory: KernelMemory, types: KernelTypes, layout: _Layout, at: int) -> Iterator[EventField]:
    """The fields of a class, placed as trace_event_define_fields() does."""
    offset = _COMMON
    for _ in range(_FIELDS_LIMIT):
        kind = memory.u64(at + layout.field_type)
        if not kind or kind == (1 << 64) - 1:  # the end, or a function that defines more, which no class with fields has
            return
        align = max(1, memory.u32(at + layout.field_align))
        size = memory.u32(at + layout.field_size)
        offset = -(-offset // align) * align
        signed = bool(memory.u32(at + layout.field_signed) & 1)
        name = memory.cstring(memory.u64(at + layout.field_name))
        yield EventField(_sized(types, memory.cstring(kind), size), name, offset, size, signed)
        offset += size
        at += layout.field


def _sized(types: KernelTypes, text: str, size: int) -> str:
    """`char[TASK_COMM_LEN]` or `u8[0x20]` with the plain number of elements, which the size in bytes tells."""
    array = _ARRAY.fullmatch(text)
    if array is None or array[2].isdecimal():
        return text
    element = types.named(array[1].strip())
    return f"{array[1]}[{size // element.size}]" if element and element.size else text


def _syscall_fields(memory: KernelMemory, layout: _Layout, name: str, metadata: int) -> tuple[EventField, ...]:
    number = EventField("int", "__syscall_nr", _COMMON, 4, True)
    if name.startswith("sys_exit_"):
        return number, EventField("long", "ret", _COMMON + 8, 8, True)
    count = memory.u32(metadata + layout.syscall_number)
    kinds, names = memory.u64(metadata + layout.syscall_types), memory.u64(metadata + layout.syscall_names)
    texts = [(memory.cstring(memory.u64(kinds + 8 * i)), memory.cstring(memory.u64(names + 8 * i))) for i in range(min(count, 6))]
    return number, *(EventField(kind, argument, _COMMON + 8 + 8 * i, 8, False) for i, (kind, argument) in enumerate(texts))


def syscall_table(memory: KernelMemory, symbols: Symbols) -> list[str]:
    """The kernel's names of the system calls by number (`openat`; `ni_syscall` where there is none): its own table, which is the
    longest run of pointers to their entry functions."""
    prefix = _SYSCALL_PREFIX[memory.arch]
    entries = {address: name.removeprefix(prefix) for name, address in symbols.functions.items() if name.startswith(prefix)}
    longest: list[int] = []
    run: list[int] = []
    for place in pointers(memory, symbols, set(entries)):
        run = [*run, place] if run and place == run[-1] + 8 else [place]
        longest = max(longest, run, key=len)
    return [entries[memory.u64(place)] for place in longest]


def _word(memory: KernelMemory, address: int) -> int:
    try:
        return memory.u64(address)
    except LookupError:
        return 0


def raw_tracepoints(btf: Btf) -> dict[str, int]:
    """The function types of raw tracepoints by name, sorted by name; their first parameter is the kernel's own. The type that stands for
    a tracepoint may leave out the names of parameters, the function that calls who is attached has them."""
    found = {}
    for name, number in btf.names(TYPEDEF).items():
        if name.startswith(RAW_PREFIX):
            event = name.removeprefix(RAW_PREFIX)
            caller = btf.functions.get(ITERATOR_PREFIX + event)
            found[event] = btf.record(caller).size if caller else btf.record(btf.record(number).size).size
    return found
