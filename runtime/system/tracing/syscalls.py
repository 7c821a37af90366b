"""syscalls:sys_enter_* and sys_exit_*: the two tracepoints that all system calls share, sorted by number.

Their records are made here as kernel/trace/trace_syscalls.c makes them, from the registers that the program had.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import TYPE_CHECKING

from pyprobe.runtime.system.metadata import events, userdata

if TYPE_CHECKING:
    from pyprobe.runtime.system.metadata.events import Event
    from pyprobe.runtime.system.metadata.userdata import UserData
    from pyprobe.runtime.system.tracing.tracepoints import Tracepoints

Callback = Callable[[], object]
ENTER, EXIT = "sys_enter", "sys_exit"
_ARGUMENTS = {"x86_64": ("di", "si", "dx", "r10", "r8", "r9"), "arm64": ("orig_x0", *("regs",) * 5)}  # in struct pt_regs
_NUMBER = {"x86_64": "orig_ax", "arm64": "syscallno"}
_TS_COMPAT = 2  # arch/x86/include/asm/thread_info.h: a call of the 32-bit interface, which has no events
_HEAD = struct.Struct("<8xi4x")  # what all records begin with, the number of the call


class SystemCalls:
    """Handlers by the number of the call."""

    def __init__(self, tracepoints: Tracepoints) -> None:
        self._owner = tracepoints
        machine, description = tracepoints.machine, tracepoints.description
        arch = machine.arch
        facts = description.facts
        self._numbers = {name: i for i, name in enumerate(events.syscall_table(facts.memory, facts.symbols))}
        self._handlers: dict[str, dict[int, list[Callback]]] = {}
        self._user_data: dict[int, tuple[int, UserData]] = {}  # number of arguments, and what is copied of them
        self._read = machine.processor.read
        offsets = [description.offset("pt_regs", name) for name in _ARGUMENTS[arch]]
        if arch == "arm64":
            offsets = [offsets[0], *(at + 8 * (i + 1) for i, at in enumerate(offsets[1:]))]
        self._offsets = offsets
        self._size = max(*offsets, description.offset("pt_regs", _NUMBER[arch])) + 8
        self._number = description.offset("pt_regs", _NUMBER[arch])
        self._status = description.offset("task_struct", "thread_info", "status") if arch == "x86_64" else -1

    def attach(self, event: Event, callback: Callback) -> None:
        """Have `callback` called at every entry or exit of one call. Raises AttachError."""
        way, name = ENTER if event.name.startswith(ENTER) else EXIT, event.name.split("_", 2)[2]
        handlers = self._handlers.get(way)
        if handlers is None:
            handlers = self._handlers[way] = {}
            self._owner.attach_raw(way, lambda: self._happened(way))
        number = self._numbers[name]
        handlers.setdefault(number, []).append(callback)
        if event.fields[-1].type == userdata.FIELD:
            data = userdata.table()[name]
            self._user_data[number] = len(event.fields) - 1 - len(data.pointers), data

    def _happened(self, way: str) -> None:
        """sys_enter(regs, id), sys_exit(regs, ret)"""
        owner = self._owner
        registers = self._read(owner.arguments[1], self._size)
        if registers is None:
            return
        number = int.from_bytes(registers[self._number : self._number + 4], "little", signed=True)
        handlers = self._handlers[way].get(number)
        if handlers is None or self._compatible():
            return
        words = [registers[at : at + 8] for at in self._offsets] if way == ENTER else [owner.arguments[2].to_bytes(8, "little")]
        if way == ENTER and number in self._user_data:
            words = self._with_user_data(words, *self._user_data[number])
        owner.record = b"".join((_HEAD.pack(number), *words))
        for handler in handlers:
            handler()

    def _with_user_data(self, words: list[bytes], count: int, data: UserData) -> list[bytes]:
        """What comes behind the head of a record, with what the first `count` words point to."""
        numbers = [int.from_bytes(one, "little") for one in words]
        texts = userdata.copied(data, numbers, self._read, self._owner.cpu.read_string)
        return [*words[:count], userdata.packed(_HEAD.size + 8 * count, texts)]

    def _compatible(self) -> bool:
        if self._status < 0:
            return False
        status = self._read(self._owner.current() + self._status, 4)
        return status is not None and bool(status[0] & _TS_COMPAT)
