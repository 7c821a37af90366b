"""The tracepoints and trace events in a module's file, from the same tables as the kernel's own.

The file is laid out as if it were loaded: pointers get their values by its relocations (AMD64 ABI 4.4; ELF for the Arm 64-bit
Architecture 5.7), as far as they lead into the module itself.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pyprobe.runtime.system.kernels.errors import KernelError
from pyprobe.runtime.system.metadata import events
from pyprobe.runtime.system.metadata.memory import KernelMemory, Segment

if TYPE_CHECKING:
    from pyprobe.runtime.system.metadata.events import Event
    from pyprobe.runtime.system.metadata.modulefile import ModuleFile
    from pyprobe.runtime.system.metadata.types import KernelTypes

TRACEPOINTS, EVENTS = "__tracepoints_ptrs", "_ftrace_events"  # sections: of distances from themselves, of addresses
_BASE = 0xFFFF_F800_0000_0000  # where nothing of a kernel is
_ALIGN = 1 << 12
_ABSOLUTE, _RELATIVE = {"x86_64": 1, "arm64": 257}, {"x86_64": 2, "arm64": 261}  # R_X86_64_64, _PC32; R_AARCH64_ABS64, _PREL32


class ModuleEvents:
    """names: of the tracepoints, sorted; events: by category and name, sorted. Raises KernelError for a damaged file."""

    def __init__(self, file: ModuleFile | None, types: KernelTypes | None, arch: str) -> None:
        self._starts: dict[int, int] = {}
        self.names: list[str] = []
        self.events: dict[tuple[str, str], Event] = {}
        if file is not None and types is not None and file.section(TRACEPOINTS):
            memory = self._laid_out(file, arch)
            self.names = sorted(self._tracepoints(file, memory, types))
            found = events.of_calls(memory, types, self._calls(file, memory), file.name)
            self.events = {(event.category, event.name): event for event in found}

    def _laid_out(self, file: ModuleFile, arch: str) -> KernelMemory:
        at, segments, contents = _BASE, [], {}
        for number, content in file.loaded():
            self._starts[number] = at
            contents[number] = bytearray(content)
            segments.append(Segment(at, contents[number], 0, len(content)))
            at += -(-len(content) // _ALIGN) * _ALIGN + _ALIGN
        kinds = {_ABSOLUTE[arch]: 8, _RELATIVE[arch]: 4}
        for section, place, kind, target, value in file.relocations():
            size, buffer = kinds.get(kind), contents.get(section)
            if size is None or buffer is None or target not in self._starts or place + size > len(buffer):
                continue
            address = self._starts[target] + value - (0 if size == 8 else self._starts[section] + place)
            buffer[place : place + size] = (address & (1 << 8 * size) - 1).to_bytes(size, "little")
        return KernelMemory(arch, segments)

    def _tracepoints(self, file: ModuleFile, memory: KernelMemory, types: KernelTypes) -> list[str]:
        name, start = types.offset("tracepoint", "name"), self._starts[file.number(TRACEPOINTS)]
        places = range(start, start + len(file.section(TRACEPOINTS)) & ~3, 4)
        try:
            return [memory.cstring(memory.u64(place + _signed(memory.u32(place)) + name)) for place in places]
        except LookupError:
            raise KernelError(f"module {file.name}: its file is damaged") from None

    def _calls(self, file: ModuleFile, memory: KernelMemory) -> list[int]:
        number = file.number(EVENTS)
        if number not in self._starts:
            return []
        start = self._starts[number]
        return [memory.u64(place) for place in range(start, start + len(file.section(EVENTS)) & ~7, 8)]


NO_EVENTS = ModuleEvents(None, None, "")


def _signed(value: int) -> int:
    return (value ^ 0x8000_0000) - 0x8000_0000
