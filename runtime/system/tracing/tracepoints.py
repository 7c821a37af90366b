"""Tracepoints of a running kernel: `machine.tracepoints`.

A tracepoint's static branches are switched on as the kernel does it. Their target, then, evaluates the arguments and calls the iterator, the
function that calls who is attached: there the arguments are, in its registers. An event's record is made of them by the kernel's own code, by
the function that its tracefs would attach (`trace_event_raw_event_*`, include/trace/trace_events.h). It is called aside: the room in the ring
buffer that it asks for is memory that the board keeps from the kernel, and once the record is complete every register is what it was.

The detour costs no virtual time and no interrupt is taken in it, so that the guest goes on as if there had been none. Nobody is attached
as far as the kernel knows; where it traces the event itself, both are served.

Handlers see the state at the tracepoint: the pc is where the branch leads.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from functools import cached_property
from typing import TYPE_CHECKING

from pyprobe.runtime.probes.base import AttachError
from pyprobe.runtime.probes.user import ARGUMENTS
from pyprobe.runtime.system.tracing.branches import Branches
from pyprobe.runtime.system.tracing.syscalls import SystemCalls

if TYPE_CHECKING:
    from pyprobe.runtime.system.machine import SystemMachine
    from pyprobe.runtime.system.metadata.events import Event
    from pyprobe.runtime.system.metadata.tracepoints import Place

Callback = Callable[[], object]

HOLD = 1 << 20  # virtual nanoseconds that a detour may last; then time goes on
REST = 1 << 10  # ... after the arguments are known
DEEPEST = 64  # detours in each other
RECORD_AT = 4096  # in the memory that the board keeps; what lies before stays zero


class Detour:
    """A branch of a tracepoint that was taken, and has not come back.

    task, registers, pc: as they were there; now, deadline: the clock's. native: the kernel itself traces, too.
    """

    __slots__ = ("deadline", "held", "native", "now", "pc", "registers", "task")

    def __init__(self, task: int, registers: bytes, pc: int, now: int, deadline: int, native: bool) -> None:
        self.task = task
        self.registers = registers
        self.pc = pc
        self.now = now
        self.deadline = deadline
        self.held = 0
        self.native = native


class Aside:
    """A call of the function that makes a record. detour: what it is for; registers, pc: where the guest goes on; size: of the record."""

    __slots__ = ("detour", "pc", "point", "registers", "size")

    def __init__(self, point: Point, detour: Detour, registers: bytes, pc: int) -> None:
        self.point = point
        self.detour = detour
        self.registers = registers
        self.pc = pc
        self.size = 0


class Point:
    """One tracepoint that somebody is attached to. probe: the function that makes its event's record, 0 while nobody wants that."""

    def __init__(self, owner: Tracepoints, place: Place, funcs: int) -> None:
        self.place = place
        self.funcs = funcs
        self.probe = 0
        self.handlers: list[Callback] = []
        self.detours: list[Detour] = []
        self._owner = owner

    def begin(self) -> None:
        """The branch was taken."""
        owner = self._owner
        if owner.aside:
            return
        cpu, words = owner.cpu, owner.clock.words
        attached = owner.word(self.funcs)
        native = attached not in (0, owner.nobody)
        detour = Detour(owner.current(), cpu.general(), cpu.state.pc, words.now, words.deadline, native)
        if len(self.detours) >= DEEPEST:
            del self.detours[0]
        self.detours.append(detour)
        if native:
            owner.also(self, attached)
        else:
            owner.hold(detour, HOLD)
            if owner.asks:
                owner.set_word(self.funcs, owner.nobody)

    def _leave(self, *, end: bool) -> Detour | None:
        """The detour that the current task is in; `end`: it is over."""
        detours, task = self.detours, self._owner.current()
        for i in range(len(detours) - 1, -1, -1):
            if detours[i].task == task:
                return detours.pop(i) if end else detours[i]
        return None

    def called(self) -> None:
        """The iterator, or the one that is attached alone, is about to run."""
        owner = self._owner
        if owner.aside:
            return
        detour = self._leave(end=False)
        if detour is None:
            return
        cpu, words = owner.cpu, owner.clock.words
        registers, pc = cpu.general(), cpu.state.pc
        if detour.native:
            detour.now, detour.deadline = words.now, words.deadline
            owner.hold(detour, HOLD)
        aside = Aside(self, detour, registers, pc)
        if not detour.native and owner.asks:
            owner.set_word(self.funcs, 0)
            aside.pc, aside.registers = cpu.returned(registers, 0)
        owner.arguments = owner.words_of(registers)
        if self.probe and not owner.hidden():
            owner.call(aside)
            return
        owner.fire(aside, b"")
        if aside.pc != pc:
            cpu.go(aside.pc, aside.registers)

    def end(self) -> None:
        """Behind the branch."""
        owner = self._owner
        if owner.aside or not self.detours:
            return
        detour = self._leave(end=True)
        if detour is not None and not detour.native:
            owner.release(detour)
            if owner.asks and owner.word(self.funcs) == owner.nobody:
                owner.set_word(self.funcs, 0)


class Tracepoints:
    """All tracepoints. Handlers of one are called in the order they were attached.

    arguments: during a callback, the words that the kernel's code passes: first the data of who is attached, then the tracepoint's own.
    record: during a callback of an event, its record.
    """

    def __init__(self, machine: SystemMachine) -> None:
        self.machine = machine
        self.description = machine.description
        self.cpu = machine.processor
        self.clock = machine.clock
        self.current = machine.current_address
        self.aside: list[Aside] = machine.aside
        self.arguments: tuple[int, ...] = ()
        self.record = b""
        self.asks = machine.arch == "x86_64"  # whether code looks if somebody is attached before it calls
        self.branches = Branches(machine)
        self._points: dict[str, Point] = {}
        self._also: set[tuple[str, int]] = set()
        self._records = False
        self._memory = 0
        indexes = [self.cpu.general_index(name) for name in ARGUMENTS[machine.arch]]
        self._unpack = struct.Struct(f"<{max(indexes) + 1}Q").unpack_from
        self._indexes = indexes
        self._stack = self.cpu.general_index("rsp") if self.asks else 0

    # attaching

    def attach_raw(self, name: str, callback: Callback) -> None:
        """Have `callback` called with `arguments`. Raises AttachError."""
        self._point(name).handlers.append(self.machine.shown(callback))

    def attach_event(self, event: Event, callback: Callback) -> None:
        """Have `callback` called with `record`. Raises AttachError."""
        memory, offset = self.description.facts.memory, self.description.offset
        point = self._point(memory.cstring(memory.u64(event.tracepoint + offset("tracepoint", "name"))))
        of = memory.u64(event.call + offset("trace_event_call", "class"))
        point.probe = memory.u64(of + offset("trace_event_class", "probe"))
        if not self._records:
            self._records = True
            for name, function in (("trace_event_buffer_reserve", self._reserve), ("trace_event_buffer_commit", self._commit)):
                self.machine.functions.attach(self.description.symbols[name], function, exact=False, ours=True)
        point.handlers.append(self.machine.shown(callback))

    def _point(self, name: str) -> Point:
        point = self._points.get(name)
        if point is None:
            place = self.description.facts.tracepoints.get(name)
            if place is None:
                raise AttachError(f"the kernel has no tracepoint {name}")
            point = self._points[name] = Point(self, place, place.address + self.description.offset("tracepoint", "funcs"))
            self.machine.functions.attach(place.iterator, point.called, exact=False, ours=True)
            self.machine.when_up(lambda: self._switch(point))
        return point

    def _switch(self, point: Point) -> None:
        from pyprobe.runtime.system.tracing.registering import register

        attach = self.machine.functions.attach
        for branch in point.place.branches:
            behind = self.branches.take(branch)
            if behind:
                attach(behind, point.end, exact=False, ours=True)
        for target in sorted({branch.target for branch in point.place.branches}):
            attach(target, point.begin, exact=False, ours=True)
        if point.place.register:
            register(self.machine, self.branches, point.place.register)

    @cached_property
    def system_calls(self) -> SystemCalls:
        """The events of single system calls."""
        return SystemCalls(self)

    # during a detour

    @property
    def memory(self) -> int:
        """Where the guest sees the memory that the board keeps."""
        if not self._memory:
            self._memory = self.cpu.linear(self.machine.board.kept)
        return self._memory

    nobody = memory
    """A list of who is attached with nobody in it: zeros."""

    def word(self, address: int) -> int:
        return int.from_bytes(self.cpu.read(address, 8) or b"", "little")

    def set_word(self, address: int, value: int) -> None:
        self.cpu.write(address, value.to_bytes(8, "little"))

    def words_of(self, registers: bytes) -> tuple[int, ...]:
        """The arguments of a function at its first instruction, those on the stack not."""
        words = self._unpack(registers)
        return tuple([words[i] for i in self._indexes])

    def stacked(self, number: int) -> int:
        """An argument on the stack, by its number among those there."""
        at = 8 * self._stack
        return self.word(int.from_bytes(self._called[at : at + 8], "little") + 8 + 8 * number) if self.asks else 0

    _called = b""  # registers at the first instruction of who is called

    def hidden(self) -> bool:
        """Whether the current task is one of ours."""
        return self.machine.is_hidden()

    def also(self, point: Point, attached: int) -> None:
        """The kernel has attached somebody: one alone is called without the iterator."""
        if not self.asks:
            return
        function = self.word(attached)
        key = point.place.name, function
        if function and key not in self._also:
            self._also.add(key)
            if function != point.place.iterator:
                self.machine.functions.attach(function, point.called, exact=False, ours=True)

    def hold(self, detour: Detour, limit: int) -> None:
        """No interrupt and no timer for so long."""
        words = self.clock.words
        words.deadline = detour.held = words.now + limit

    def release(self, detour: Detour) -> None:
        """The detour took no time."""
        words = self.clock.words
        words.now = detour.now
        words.deadline = detour.deadline if words.deadline == detour.held else min(words.deadline, detour.deadline)

    def call(self, aside: Aside) -> None:
        """Have a record made."""
        self.aside.append(aside)
        registers = bytearray(self.cpu.general())
        at = 8 * self._indexes[0]
        registers[at : at + 8] = self.memory.to_bytes(8, "little")  # a trace_event_file of which nothing is set
        self._called = bytes(registers)
        self.cpu.go(aside.point.probe, self._called)

    def _reserve(self) -> None:
        """trace_event_buffer_reserve(fbuffer, file, length)"""
        if not self.aside:
            return
        registers = self.cpu.general()
        _, file, size = self.words_of(registers)[:3]
        if file == self.memory:
            self.aside[-1].size = size
            self.cpu.write(self.memory + RECORD_AT, bytes(size))
            self.cpu.go(*self.cpu.returned(registers, self.memory + RECORD_AT))

    def _commit(self) -> None:
        """trace_event_buffer_commit(fbuffer)"""
        if not self.aside:
            return
        aside = self.aside.pop()
        record = self.cpu.read(self.memory + RECORD_AT, aside.size) or b""
        self.fire(aside, record)
        self.cpu.go(aside.pc, aside.registers)

    def fire(self, aside: Aside, record: bytes) -> None:
        """Call the handlers, with the state as it was where the branch led."""
        cpu, state, detour = self.cpu, self.cpu.state, aside.detour
        registers, pc = cpu.general(), state.pc
        self.clock.words.now = detour.now
        self.record = record
        cpu.set_general(cpu.inside(detour.registers))
        state.pc = detour.pc
        try:
            for handler in aside.point.handlers:
                handler()
        finally:
            cpu.set_general(registers)
            state.pc = pc
        if detour.native:
            self.release(detour)
        else:
            words = self.clock.words
            if words.deadline == detour.held:
                self.hold(detour, REST)
