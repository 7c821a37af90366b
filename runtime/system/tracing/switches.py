"""sched_switch without tasks of ours: while one of them runs, the processor is told to be idle.

A script then sees each task of the guest leave the processor and come back, and none that the machine has for itself.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cached_property
from typing import TYPE_CHECKING

from pyprobe.runtime.system.tracing.registering import idle_task

if TYPE_CHECKING:
    from pyprobe.runtime.system.tracing.tracepoints import Tracepoints

Callback = Callable[[], object]

NAME = "sched_switch"
IDLE = {"prev_pid": 0, "prev_prio": 120, "prev_state": 0}
_PREV, _NEXT = 2, 3  # the words that its functions get: whose data, whether preempted, then struct task_struct *prev, *next


class Switches:
    """tells: whether the switch that is under way is to be told."""

    def __init__(self, owner: Tracepoints) -> None:
        self._owner = owner
        self._machine = owner.machine
        self.tells = True

    @cached_property
    def _idle(self) -> int:
        return idle_task(self._machine)

    def told(self, registers: bytes) -> bytes:
        """The registers of a function that is called with a switch: to the idle task, where it is to one of ours."""
        words = self._owner.words_of(registers)
        before, after = (self._idle if self._machine.hides(words[at]) else words[at] for at in (_PREV, _NEXT))
        self.tells = before != after
        place = self._owner.place_of(_NEXT)  # that it leaves the current task is checked by what makes the record
        return registers[:place] + after.to_bytes(8, "little") + registers[place + 8 :]

    def shown(self, callback: Callback) -> Callback:
        """`callback`, for what is to be told; the current task is then the idle one in place of one of ours."""

        def call() -> object:
            if not self.tells or self._owner.aside:
                return None
            if self._machine.is_hidden():
                with self._leaving_idle(), self._machine.standing_in(self._idle):
                    return callback()
            return callback()

        return call

    @contextmanager
    def _leaving_idle(self) -> Iterator[None]:
        """Meanwhile it is the idle task that is left, in the arguments and in the record."""
        owner = self._owner
        kept = owner.arguments, owner.record
        owner.arguments = (*owner.arguments[:_PREV], self._idle, *owner.arguments[_PREV + 1 :])
        for at, value in self._fields if owner.record else ():
            owner.record = owner.record[:at] + value + owner.record[at + len(value) :]
        try:
            yield
        finally:
            owner.arguments, owner.record = kept

    @cached_property
    def _fields(self) -> list[tuple[int, bytes]]:
        """What a record has of the idle task where it is left: offsets and contents."""
        event = self._owner.description.event("sched", NAME)
        values = {name: value.to_bytes(8, "little") for name, value in IDLE.items()} | {"prev_comm": b"swapper/0".ljust(16, b"\0")}
        return [(f.offset, values[f.name][: f.size]) for f in event.fields if f.name in values] if event is not None else []
