"""Names for addresses and ids, for output: `ksym`, `usym`, stacks, `username`.

Output may come after a process has ended or has executed another program, so mappings are remembered per process as they appear; a forked
process starts with its parent's. Where several were at one address, the last one counts.
"""

from __future__ import annotations

import os
from bisect import bisect_right
from collections.abc import Callable
from functools import cache, cached_property, partial
from typing import TYPE_CHECKING, Any

from pyprobe.lang.nodes import Expr
from pyprobe.lang.passes.walk import descend
from pyprobe.lang.typesys import USYM, Stack
from pyprobe.runtime.context import Symbol
from pyprobe.runtime.machine.elf import ElfError
from pyprobe.runtime.machine.physical import FileBacking
from pyprobe.runtime.machine.symbols import Image
from pyprobe.runtime.machine.unwind import unwind_by_tables

if TYPE_CHECKING:
    from pyprobe.lang.program import Program
    from pyprobe.runtime.machine.cfi import Row
    from pyprobe.runtime.machine.memory import AddressSpace, Backing, Vma
    from pyprobe.runtime.probes.description import Description

HEADER = 4096  # bytes of a file that must be equal for two to count as the same


class Mapping:
    """An executable mapping of a file: addresses [start, end) show it from `offset` on."""

    __slots__ = ("end", "file", "offset", "path", "start")

    def __init__(self, start: int, end: int, offset: int, path: bytes, file: Backing | None) -> None:
        self.start = start
        self.end = end
        self.offset = offset
        self.path = path
        self.file = path, file  # at a path there may be another file later


def tells_of_programs(program: Program) -> bool:
    """Whether places in programs are values of a program's: stacks and symbols of theirs."""
    types = (node.type for probe in program.probes for node in descend(probe.body) if isinstance(node, Expr))
    return any(t == USYM or (isinstance(t, Stack) and t.kind == "ustack") for t in types)


class Symbolizer:
    """The names that a machine knows (`runtime.context.Names`). Make it before the machine runs.

    programs: places in programs may be asked for, so that it has to be known what is mapped where. demangle: C++ names are shown as they
    are written.
    """

    def __init__(self, machine: Any, description: Description, *, programs: bool = True, demangle: bool = True) -> None:
        self.machine = machine
        self._description = description
        self._demangle = demangle
        self._mappings: dict[int, list[Mapping]] = {}  # by process id, in the order they appeared
        self._images: dict[tuple[bytes, Backing | None], Callable[[], Image | None]] = {}
        if programs and hasattr(machine, "on_image"):
            machine.on_image.append(self._mapped)
            machine.lives.attach("sched", "sched_process_fork", self._forked)

    # ---- what Names asks

    def kernel(self, address: int) -> Symbol | None:
        """The function of the kernel at an address."""
        if self._description.booted:
            found = self._description.symbol_at(address)
            return Symbol(*found) if found else None
        from pyprobe.runtime.user.functions import FUNCTION_SIZE

        starts, names = self._kernel_symbols
        i = bisect_right(starts, address) - 1
        if i < 0 or address - starts[i] >= FUNCTION_SIZE:
            return None
        return Symbol(names[i], address - starts[i])

    @cached_property
    def _kernel_symbols(self) -> tuple[list[int], list[str]]:
        symbols = sorted((address, name) for name, address in self._description.symbols.items())
        return [address for address, _ in symbols], [name for _, name in symbols]

    def user(self, pid: int, address: int) -> Symbol | None:
        """The function of a program at an address of a process."""
        found = self._locate(pid, address)
        if found is None:
            return None
        image, at, mapping = found
        function = image.at(at)
        if function is None:
            return None
        return Symbol(self._shown(function.name), at - function.address, os.fsdecode(mapping.path))

    def _shown(self, name: str) -> str:
        """A function's name as it is shown."""
        if not self._demangle or not name.startswith("_Z"):
            return name
        from pyprobe.runtime.machine.demangle import demangled

        return demangled(name)

    def source(self, pid: int, address: int, *, returned: bool) -> list[tuple[str, str]]:
        """Where in the source an address of a process is; see `runtime.context.Names`."""
        found = self._locate(pid, address - returned)
        if found is None:
            return []
        image, at, _ = found
        function, debug = image.at(at), image.debug_info
        if function is None or debug is None:
            return []
        try:
            places = debug.places(function.address, at)
        except ElfError:
            return []  # damaged information is as good as none
        return [(self._shown(place.function), f"{place.file}:{place.line}") for place in places]

    def program_stack(self, limit: int) -> tuple[int, ...]:
        """The current task's user stack by call frame information: its pid, then the addresses, innermost first."""
        task = self.machine.current
        if task is None:
            return (0,)
        engine, space = task.process.engine, task.process.space

        def row(address: int) -> Row | None:
            found = self._locate(task.pid, address)
            return found[0].call_frames.row(found[1]) if found else None

        def real(addresses: list[int]) -> list[int]:
            return self.machine.shown_stack(addresses, True) if self.machine.shown_stack is not None else addresses

        return (task.pid, *unwind_by_tables(engine.arch.name, engine.get, space, limit, row, real))

    def build_id(self, pid: int, address: int) -> tuple[str, int] | None:
        """Build id, in hexadecimal, of the file at an address, and the offset in the file."""
        mapping = self._mapping(pid, address)
        image = self._images[mapping.file]() if mapping else None
        if mapping is None or image is None or not image.build_id:
            return None
        return image.build_id, address - mapping.start + mapping.offset

    def username(self, uid: int) -> str | None:
        """The name of a user, by the guest's /etc/passwd."""
        return self._users.get(uid)

    def cgroup(self, identity: int) -> str | None:
        """The path of a control group: there is one, the root of the one (version 2) hierarchy."""
        return "unified:/" if identity == 1 else None

    # ---- images

    def _locate(self, pid: int, address: int) -> tuple[Image, int, Mapping] | None:
        mapping = self._mapping(pid, address)
        image = self._images[mapping.file]() if mapping else None
        if mapping is None or image is None:
            return None
        at = image.elf.address(address - mapping.start + mapping.offset)
        return None if at is None else (image, at, mapping)

    def _mapping(self, pid: int, address: int) -> Mapping | None:
        return next((m for m in reversed(self._mappings.get(pid, ())) if m.start <= address < m.end), None)

    def _mapped(self, space: AddressSpace, vma: Vma) -> None:
        task = self.machine.current
        if task is None:
            return
        mapping = Mapping(vma.start, vma.end, vma.file_offset, vma.path, vma.backing)
        self._mappings.setdefault(task.pid, []).append(mapping)
        if mapping.file not in self._images:
            image = self._images[mapping.file] = cache(partial(self._image, os.fsdecode(vma.path), vma.backing))
            if not isinstance(vma.backing, FileBacking):
                image()  # the guest may change it; what the host's files showed stays, to be read when somebody asks

    def _image(self, path: str, backing: Backing | None) -> Image | None:
        """The image of a mapped file: the host's file, unless the guest has put another in its place."""
        if backing is None:
            return None
        try:
            image = self._description.image(path)
            if image.elf.read(0, HEADER) == backing.read(0, HEADER):
                return image
        except ElfError:
            pass
        try:
            return Image.of(backing.read(0, backing.length), path)
        except ElfError:
            return None

    def _forked(self) -> None:
        """sched_process_fork: a new process has its parent's mappings; a new thread is in its process already."""
        parent = self.machine.current
        child = self.machine.lives.sched_process_fork.values[3]
        if parent is not None and child in self.machine.processes:
            self._mappings[child] = list(self._mappings.get(parent.pid, ()))

    @cached_property
    def _users(self) -> dict[int, str]:
        try:
            with open(self._description.targets.host_path("/etc/passwd"), encoding="utf-8", errors="replace") as lines:
                fields = [line.split(":") for line in lines]
        except OSError:
            fields = []
        users = {0: "root"}
        for name, _, uid, *_ in (f for f in fields if len(f) > 2 and f[2].isdecimal()):
            users.setdefault(int(uid), name)
        return users
