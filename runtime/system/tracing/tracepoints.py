"""Tracepoints of a running kernel: `machine.tracepoints`.

A tracepoint's static branches are switched on as the kernel does it. Their target, then, evaluates the arguments and calls who is
attached, by the iterator or, where the compiler put that in line, directly. Nobody is; until that call the list says that the iterator
itself is, and when it is called the arguments are in the registers. An event's record is made of them by the kernel's own code, by the
function that its tracefs would attach (`trace_event_raw_event_*`, include/trace/trace_events.h). It is called aside: the room in the ring
buffer that it asks for is memory that the board keeps from the kernel, and when it has returned every register is what it was.

The detour costs no virtual time and no interrupt is taken in it, so that the guest goes on as if there had been none. Nobody is attached
as far as the kernel knows; where it traces the event itself, both are served.

Handlers see the state at the tracepoint: the pc is where the branch leads.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from functools import cached_property
from typing import TYPE_CHECKING

from pyprobe.runtime.machine.calling import ARGUMENTS
from pyprobe.runtime.probes.base import AttachError
from pyprobe.runtime.system.tracing import switches
from pyprobe.runtime.system.tracing.branches import Branches
from pyprobe.runtime.system.tracing.syscalls import SystemCalls

if TYPE_CHECKING:
    from pyprobe.runtime.system.machine import SystemMachine
    from pyprobe.runtime.system.metadata.events import Event
    from pyprobe.runtime.system.metadata.tracepoints import Place
    from pyprobe.runtime.system.modules import Module
    from pyprobe.runtime.system.tracing.moduleplaces import ModulePlaces

Callback = Callable[[], object]

BEFORE = 1 << 16  # virtual nanoseconds from the branch to the call; longer, and it was a question whether anybody is attached
HOLD = 1 << 20  # ... that making a record may last
AFTER = 1 << 10  # ... from there to the end; then time goes on
REGISTER = ("tracepoint_add_func", "tracepoint_probe_unregister")  # of kernel/tracepoint.c: they look at the list
DEEPEST = 64  # detours in each other
LISTS_AT, LIST = 0x1000, 32  # in the memory that the board keeps, behind zeros: who is attached, one list for each tracepoint
RECORD_AT = 0xC000  # ... and the record that is being made


class Detour:
    """A branch of a tracepoint that was taken, and has not come back.

    task, registers, pc: as they were there; now, deadline: the clock's. native: the kernel itself traces, too. done: it was reported.
    """

    __slots__ = ("deadline", "done", "held", "native", "now", "pc", "registers", "task")

    def __init__(self, task: int, registers: bytes, pc: int, now: int, deadline: int, native: bool) -> None:
        self.task = task
        self.registers = registers
        self.pc = pc
        self.now = now
        self.deadline = deadline
        self.done = False
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

    def __init__(self, owner: Tracepoints, place: Place, funcs: int, number: int) -> None:
        self.place = place
        self.funcs = funcs
        self._list_at = LISTS_AT + LIST * number
        self._list = 0
        self.probe = 0
        self.handlers: list[Callback] = []
        self.detours: list[Detour] = []
        self._owner = owner

    def _attached(self) -> int:
        """Who the kernel itself has attached: a list of them, 0 for nobody."""
        attached = self._owner.cpu.number(self.funcs)
        return 0 if attached == self._list else attached

    def _pretend(self) -> None:
        """Have the iterator called, whichever way the code calls."""
        owner = self._owner
        if not self._list:
            self._list = owner.memory + self._list_at
            owner.set_word(self._list, self.place.iterator)
        owner.set_word(self.funcs, self._list)

    def _admit(self) -> None:
        """Undo `_pretend`."""
        if self._list and self._owner.cpu.number(self.funcs) == self._list:
            self._owner.set_word(self.funcs, 0)

    def begin(self) -> None:
        """The branch was taken."""
        owner = self._owner
        if owner.aside:
            return
        cpu, words = owner.cpu, owner.clock.words
        attached = self._attached()
        native = attached != 0
        detour = Detour(owner.current(), cpu.general(), cpu.state.pc, words.now, words.deadline, native)
        if len(self.detours) >= DEEPEST:
            del self.detours[0]
        self.detours.append(detour)
        if native:
            owner.also(self, attached)
        else:
            owner.hold(detour, BEFORE)
            owner.held.add(self)
            self._pretend()

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
            owner.made(self)
            return
        detour = self._leave(end=False)
        if detour is None or detour.done:
            return
        detour.done = True
        cpu, words = owner.cpu, owner.clock.words
        registers, pc = cpu.general(), cpu.state.pc
        if detour.native:
            detour.now, detour.deadline = words.now, words.deadline
            owner.hold(detour, HOLD)
        aside = Aside(self, detour, registers, pc)
        if not detour.native:
            self._admit()
            aside.pc, aside.registers = cpu.returned(registers, 0)
        told, tells = owner.told(self, registers)
        owner.called_with(told)
        if self.probe and tells:
            owner.call(aside, told)
            return
        owner.fire(aside, b"")
        if aside.pc != pc:
            cpu.go(aside.pc, aside.registers)

    def give_up(self) -> None:
        """What was begun has not come to an end, and will not."""
        self.detours = [detour for detour in self.detours if detour.native]
        self._admit()

    def end(self) -> None:
        """Behind the branch."""
        owner = self._owner
        if owner.aside or not self.detours:
            return
        detour = self._leave(end=True)
        if detour is not None and not detour.native:
            owner.release(detour)
            self._admit()


class InModule:
    """A tracepoint of a module that somebody waits for. number: of its list; record: its event's are wanted, too; places, address: where
    it is now."""

    def __init__(self, name: str, number: int) -> None:
        self.name = name
        self.number = number
        self.handlers: list[Callback] = []
        self.record = False
        self.places: ModulePlaces | None = None
        self.address = 0


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
        self.branches = Branches(machine)
        self.switches = switches.Switches(self)
        self.held: set[Point] = set()
        self._limit = 0  # when the last hold is over
        self.cpu.on_attend = self._attend
        for name in REGISTER:
            if name in self.description.symbols:
                machine.functions.attach(self.description.symbols[name], self._give_up, exact=False, ours=True)
        self.points: dict[str, Point] = {}
        self._also: set[tuple[str, int]] = set()
        self._in_modules: dict[str, InModule] = {}
        self._lists = 0  # how many there are
        self._records = False
        self._memory = 0
        self._top = 0  # where the arguments on the stack begin
        indexes = [self.cpu.general_index(name) for name in ARGUMENTS[machine.arch]]
        self._unpack = struct.Struct(f"<{max(indexes) + 1}Q").unpack_from
        self._indexes = indexes
        self._stack = self.cpu.general_index(machine.processor.arch.sp)

    # attaching

    def attach_raw(self, name: str, callback: Callback, module: str = "") -> None:
        """Have `callback` called with `arguments`. Raises AttachError."""
        if module:
            self._attach_in_module(module, name, callback, record=False)
            return
        self._point(name).handlers.append(self._shown(name, callback))

    def attach_event(self, event: Event, callback: Callback) -> None:
        """Have `callback` called with `record`. Raises AttachError."""
        if event.module:
            self._attach_in_module(event.module, event.name, callback, record=True)
            return
        memory, offset = self.description.facts.memory, self.description.offset
        point = self._point(memory.cstring(memory.u64(event.tracepoint + offset("tracepoint", "name"))))
        of = memory.u64(event.call + offset("trace_event_call", "class"))
        point.probe = memory.u64(of + offset("trace_event_class", "probe"))
        self._make_records()
        point.handlers.append(self._shown(point.place.name, callback))

    def _shown(self, name: str, callback: Callback) -> Callback:
        """`callback`, where what it is told of concerns the guest."""
        return self.switches.shown(callback) if name == switches.NAME else self.machine.shown(callback)

    def _make_records(self) -> None:
        if not self._records:
            self._records = True
            for name, function in (("trace_event_buffer_reserve", self._reserve), ("trace_event_buffer_commit", self._commit)):
                self.machine.functions.attach(self.description.symbols[name], function, exact=False, ours=True)

    def _attach_in_module(self, module: str, name: str, callback: Callback, *, record: bool) -> None:
        """The module's tracepoint is switched on each time that the module is loaded."""
        key = f"{module}:{name}"
        waiting = self._in_modules.get(key)
        if waiting is None:
            waiting = self._in_modules[key] = InModule(name, self._number())
            self.machine.modules.when_loaded(module, lambda loaded: self._loaded(loaded, waiting))
        waiting.handlers.append(self.machine.shown(callback))
        if record:
            waiting.record = True
            self._make_records()
            if key in self.points:
                self.points[key].probe = self._probe(waiting)

    def _loaded(self, module: Module, waiting: InModule) -> None:
        from pyprobe.runtime.system.tracing.moduleplaces import ModulePlaces

        waiting.places = ModulePlaces(self.machine, module)
        place = waiting.places.place(waiting.name)
        if place is not None:
            point = Point(self, place, place.address + self.description.offset("tracepoint", "funcs"), waiting.number)
            point.handlers = waiting.handlers
            waiting.address = place.address
            point.probe = self._probe(waiting) if waiting.record else 0
            self.points[f"{module.name}:{waiting.name}"] = point
            self.add(point, module.while_loaded)

    def _probe(self, waiting: InModule) -> int:
        return waiting.places.probe(waiting.address) if waiting.places is not None else 0

    def _point(self, name: str) -> Point:
        point = self.points.get(name)
        if point is None:
            place = self.description.facts.tracepoints.get(name)
            if place is None:
                raise AttachError(f"the kernel has no tracepoint {name}")
            funcs = place.address + self.description.offset("tracepoint", "funcs")
            point = self.points[name] = Point(self, place, funcs, self._number())
            self.add(point)
        return point

    def _number(self) -> int:
        """Of the list for another tracepoint. Raises AttachError when there is no room for one."""
        number = self._lists
        self._lists += 1
        if LISTS_AT + LIST * self._lists > RECORD_AT:
            raise AttachError(f"no more than {number} tracepoints can be attached to at a time")
        return number

    def add(self, point: Point, valid: Callable[[Callback], Callback] = lambda callback: callback) -> None:
        """Switch a tracepoint on. valid: makes a callback one that is not called when the code is no longer there."""
        self.machine.functions.attach(point.place.iterator, valid(point.called), exact=False, ours=True)
        self.machine.when_up(lambda: self._switch(point, valid))

    def _switch(self, point: Point, valid: Callable[[Callback], Callback]) -> None:
        from pyprobe.runtime.system.tracing.registering import register

        attach = self.machine.functions.attach
        for branch in point.place.branches:
            behind = self.branches.take(branch)
            if behind:
                attach(behind, valid(point.end), exact=False, ours=True)
        for target in sorted({branch.target for branch in point.place.branches}):
            attach(target, valid(point.begin), exact=False, ours=True)
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

    def set_word(self, address: int, value: int) -> None:
        self.cpu.write(address, value.to_bytes(8, "little"))

    def called_with(self, registers: bytes) -> None:
        """Somebody attached is called: that is where the arguments are."""
        self.arguments = self.words_of(registers)
        at = 8 * self._stack
        self._top = int.from_bytes(registers[at : at + 8], "little") + (8 if self.machine.arch == "x86_64" else 0)

    def words_of(self, registers: bytes) -> tuple[int, ...]:
        """The arguments of a function at its first instruction, those on the stack not."""
        words = self._unpack(registers)
        return tuple([words[i] for i in self._indexes])

    def place_of(self, argument: int) -> int:
        """Where the register for an argument lies in the general registers."""
        return 8 * self._indexes[argument]

    def told(self, point: Point, registers: bytes) -> tuple[bytes, bool]:
        """The registers of whoever is attached, as scripts are to see the arguments, and whether they are to see them."""
        if point.place.name == switches.NAME:
            return self.switches.told(registers), self.switches.tells
        return registers, not self.machine.is_hidden()

    def stacked(self, number: int) -> int:
        """An argument on the stack, by its number among those there."""
        return self.cpu.number(self._top + 8 * number)

    def also(self, point: Point, attached: int) -> None:
        """The kernel has attached somebody: the first one may be called without the iterator."""
        function = self.cpu.number(attached)
        key = point.place.name, function
        if function and key not in self._also:
            self._also.add(key)
            if function != point.place.iterator:
                self.machine.functions.attach(function, point.called, exact=False, ours=True)

    def hold(self, detour: Detour, limit: int) -> None:
        """No interrupt and no timer for so long."""
        words = self.clock.words
        words.deadline = detour.held = self._limit = words.now + limit

    def _attend(self) -> None:
        if self.held and not self.aside and self.clock.words.now >= self._limit:
            self._give_up()

    def _give_up(self) -> None:
        for point in self.held:
            point.give_up()
        self.held.clear()

    def release(self, detour: Detour) -> None:
        """The detour took no time."""
        words = self.clock.words
        words.now = detour.now
        words.deadline = detour.deadline if words.deadline == detour.held else min(words.deadline, detour.deadline)

    def call(self, aside: Aside, registers: bytes) -> None:
        """Have a record made of the arguments in `registers`. It returns to the iterator, which it could not come to otherwise."""
        self.aside.append(aside)
        registers = self.cpu.calling(registers, aside.point.place.iterator)
        at = self.place_of(0)
        file = self.memory.to_bytes(8, "little")  # a trace_event_file of which nothing is set
        self.cpu.go(aside.point.probe, registers[:at] + file + registers[at + 8 :])

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
        if self.aside:
            self.cpu.go(*self.cpu.returned(self.cpu.general(), 0))

    def made(self, point: Point) -> None:
        """A record is complete."""
        aside = self.aside[-1]
        if aside.point is point:
            self.aside.pop()
            if aside.size:
                self.fire(aside, self.cpu.read(self.memory + RECORD_AT, aside.size) or b"")
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
                self.hold(detour, AFTER)
