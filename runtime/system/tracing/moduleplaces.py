"""Where the tracepoints of a loaded module are, from the lists that the kernel keeps of them (struct module).

They are complete when the module's own code is about to run for the first time: its static branches are no-ops by then.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pyprobe.runtime.system.metadata.reserved import JUMP_ENTRY
from pyprobe.runtime.system.metadata.tracepoints import Branch, Place

if TYPE_CHECKING:
    from pyprobe.runtime.system.machine import SystemMachine
    from pyprobe.runtime.system.modules import Module

_MOST = 1 << 16  # entries of a list
_KEY = 0xFFFF_FFFF_FFFF_FFFC  # the low bits of a key in the jump table are flags


class ModulePlaces:
    """Reads the lists of one module."""

    def __init__(self, machine: SystemMachine, module: Module) -> None:
        self._machine = machine
        self._module = module
        self._number = machine.processor.number

    def place(self, name: str) -> Place | None:
        """The tracepoint of that name."""
        of = self._machine.description.offset
        listed, count = self._list("tracepoints_ptrs", "num_tracepoints")
        for at in range(listed, listed + 4 * count, 4):
            address = at + self._signed(at, 4)
            if self._text(self._number(address + of("tracepoint", "name"))) == name:
                iterator = self._number(address + of("tracepoint", "iterator"))
                return Place(name, address, iterator, self._register(address), self._branches(address + of("tracepoint", "key")))
        return None

    def probe(self, tracepoint: int) -> int:
        """The function that makes the record of the event of a tracepoint, 0 without one."""
        of = self._machine.description.offset
        listed, count = self._list("trace_events", "num_trace_events")
        for at in range(listed, listed + 8 * count, 8):
            call = self._number(at)
            if self._number(call + of("trace_event_call", "name")) == tracepoint:
                return self._number(self._number(call + of("trace_event_call", "class")) + of("trace_event_class", "probe"))
        return 0

    def _branches(self, key: int) -> tuple[Branch, ...]:
        listed, count = self._list("jump_entries", "num_jump_entries")
        found = []
        for at in range(listed, listed + JUMP_ENTRY * count, JUMP_ENTRY):
            if (at + 8 + self._signed(at + 8, 8)) & _KEY == key:
                found.append(Branch(at + self._signed(at, 4), at + 4 + self._signed(at + 4, 4)))
        return tuple(sorted(found))

    def _register(self, tracepoint: int) -> int:
        """Since Linux 6.14 the function stands in a struct of its own."""
        of = self._machine.description.offset
        try:
            return self._number(tracepoint + of("tracepoint", "regfunc"))
        except KeyError:
            extension = self._number(tracepoint + of("tracepoint", "ext"))
            return self._number(extension + of("tracepoint_ext", "regfunc")) if extension else 0

    def _list(self, first: str, count: str) -> tuple[int, int]:
        """Address and length of a list by the members of struct module that have them; an empty one where there are none."""
        of = self._machine.description.offset
        try:
            at = self._module.address
            return self._number(at + of("module", first)), min(self._number(at + of("module", count)) & 0xFFFF_FFFF, _MOST)
        except KeyError:
            return 0, 0

    def _signed(self, address: int, size: int) -> int:
        return int.from_bytes(self._machine.read(address, size) or b"", "little", signed=True)

    def _text(self, address: int) -> str:
        return (self._machine.read_string(address, 256) or b"").decode("ascii", "replace")
