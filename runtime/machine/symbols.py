"""Program images: the functions and objects of one ELF file, by name, by wildcard and by address.

An image knows the file only; where it is mapped is the business of the address space. Every address here is a virtual address of the
file. Names of separate debug files are added when one is installed, as GDB finds it (manual, "Debugging Information in Separate Files").
"""

from __future__ import annotations

import os
from binascii import crc32
from bisect import bisect_left, bisect_right
from collections.abc import Iterator
from functools import cached_property
from io import BytesIO
from operator import attrgetter
from typing import TYPE_CHECKING, BinaryIO

from pyprobe.runtime.machine.elf import STB_GLOBAL, STB_WEAK, STT_FUNC, STT_GNU_IFUNC, STT_OBJECT, ElfError, ElfFile, Symbol

if TYPE_CHECKING:
    from pyprobe.runtime.machine.cfi import CallFrames
    from pyprobe.runtime.machine.dwarf import DebugInfo

DEBUG_DIRECTORY = "/usr/lib/debug"


class Image:
    """The symbols of one program or library.

    path: as messages show it; arch, executable, entry, interpreter: of the ELF file. Raises ElfError when the file cannot be used at all.
    """

    def __init__(self, stream: BinaryIO, path: str, *, debug_directory: str = DEBUG_DIRECTORY) -> None:
        self.path = path
        self.elf = ElfFile(stream)
        self.arch = self.elf.arch
        self.executable = self.elf.executable
        self.interpreter = self.elf.interpreter
        self._debug_directory = debug_directory

    @classmethod
    def open(cls, path: str) -> Image:
        """The image of a host file. Raises ElfError, also when it cannot be opened."""
        try:
            stream = open(path, "rb")  # noqa: SIM115 - stays open as long as the image lives
        except OSError as error:
            raise ElfError(error.strerror or str(error)) from error
        try:
            return cls(stream, path)
        except ElfError:
            stream.close()
            raise

    @classmethod
    def of(cls, content: bytes, path: str) -> Image:
        """The image of a file's content."""
        return cls(BytesIO(content), path)

    @cached_property
    def build_id(self) -> str:
        """The build id in hexadecimal, empty if there is none."""
        return self.elf.build_id()

    @cached_property
    def _symbols(self) -> list[Symbol]:
        """The file's own symbols and those of its debug file; none where the tables are damaged."""
        try:
            symbols = self.elf.symbols()
        except ElfError:
            symbols = []
        debug = self._debug_file()
        return symbols + debug if debug else symbols

    def _debug_file(self) -> list[Symbol]:
        for stream in self._debug_candidates():
            with stream:
                try:
                    elf = ElfFile(stream)
                    if elf.arch == self.arch and (not self.build_id or elf.build_id() == self.build_id):
                        return elf.symbols()
                except ElfError:
                    continue  # a damaged debug file is as good as none
        return []

    @cached_property
    def debug_info(self) -> DebugInfo | None:
        """The debug information of the file, or of its debug file; None where there is none that can be used."""
        from pyprobe.runtime.machine.dwarf import DebugInfo

        try:
            if self.elf.has_dwarf():
                return DebugInfo(self.elf)
        except ElfError:
            return None
        for stream in self._debug_candidates():
            try:
                elf = ElfFile(stream)
                if elf.arch == self.arch and elf.has_dwarf():
                    return DebugInfo(elf)  # the stream stays open as long as it is used
            except ElfError:
                pass
            stream.close()
        return None

    @cached_property
    def call_frames(self) -> CallFrames:
        """Where callers' registers are."""
        from pyprobe.runtime.machine.cfi import CallFrames

        return CallFrames(self.elf)

    def _debug_candidates(self) -> Iterator[BinaryIO]:
        """The debug files that may exist, best first: by build id, then by the name in `.gnu_debuglink` with its checksum."""
        if self.build_id:
            yield from _opened(f"{self._debug_directory}/.build-id/{self.build_id[:2]}/{self.build_id[2:]}.debug")
        try:
            link = self.elf.debuglink()
        except ElfError:
            return
        if link is None:
            return
        folder = os.path.dirname(os.path.abspath(self.path))
        for path in (f"{folder}/{link[0]}", f"{folder}/.debug/{link[0]}", f"{self._debug_directory}{folder}/{link[0]}"):
            for stream in _opened(path):
                if _crc(stream) == link[1]:
                    yield stream
                else:
                    stream.close()

    @cached_property
    def functions(self) -> list[Symbol]:
        """All functions in order of their addresses; of several at one address the one that is shown comes last."""
        seen: set[tuple[str, int]] = set()
        functions = []
        for s in self._symbols:
            if s.kind in (STT_FUNC, STT_GNU_IFUNC) and s.address and (s.name, s.address) not in seen:
                seen.add((s.name, s.address))
                functions.append(s)
        functions.sort(key=_address)
        for start, end in _runs(functions):
            functions[start:end] = sorted(functions[start:end], key=_showing)
        return functions

    @cached_property
    def _starts(self) -> list[int]:
        return [s.address for s in self.functions]

    @cached_property
    def _longest(self) -> list[int]:
        """For each function, the highest end among it and all before it: bounds the search for an enclosing one."""
        ends, highest = [], 0
        for s in self.functions:
            highest = max(highest, s.address + s.size)
            ends.append(highest)
        return ends

    @cached_property
    def _by_name(self) -> dict[str, Symbol]:
        names: dict[str, Symbol] = {}
        for s in self._symbols:
            if s.kind in (STT_FUNC, STT_GNU_IFUNC) and s.address:
                known = names.get(s.name)
                if known is None or (known.hidden and not s.hidden):
                    names[s.name] = s
        return names

    @cached_property
    def names(self) -> list[str]:
        """All names of functions, sorted."""
        return sorted(self._by_name)

    def function(self, name: str) -> Symbol | None:
        """The function of that name: where a name is there several times, the default version, else the first in the tables."""
        return self._by_name.get(name)

    def object(self, name: str) -> Symbol | None:
        """The function or variable of that name."""
        found = [s for s in self._symbols if s.name == name and s.kind in (STT_OBJECT, STT_FUNC, STT_GNU_IFUNC)]
        return min(found, key=lambda s: s.hidden, default=None)

    def at(self, address: int) -> Symbol | None:
        """The function that an address lies in, or None. One of unknown size ends where the next begins or its segment ends."""
        functions = self.functions
        i = bisect_right(self._starts, address) - 1
        nearest = i
        while i >= 0 and address < self._longest[i]:
            s = functions[i]
            if address < s.address + s.size:
                return s
            i -= 1
        if nearest >= 0 and not functions[nearest].size and self._same_segment(functions[nearest].address, address):
            return functions[nearest]
        return None

    def _same_segment(self, a: int, b: int) -> bool:
        return any(s.address <= a and b < s.address + s.file_size for s in self.elf.segments if s.address <= b)

    def end(self, function: Symbol) -> int:
        """Where a function ends: by its size or, if that is not known, at the next function or its segment's end."""
        if function.size:
            return function.address + function.size
        following = bisect_right(self._starts, function.address)
        limit = next((s.address + s.file_size for s in self.elf.segments if s.address <= function.address < s.address + s.file_size), 0)
        return min(self._starts[following], limit) if following < len(self._starts) else limit

    def before(self, address: int) -> int:
        """The start of the last function that begins below an address, or 0."""
        i = bisect_left(self._starts, address) - 1
        return self._starts[i] if i >= 0 else 0

    def code(self, function: Symbol) -> bytes:
        """The machine code of a function, as the file has it. Raises ElfError if it cannot be read."""
        return self.elf.at(function.address, self.end(function) - function.address)


_address = attrgetter("address")


def _runs(functions: list[Symbol]) -> Iterator[tuple[int, int]]:
    """First and last (exclusive) index of each group that shares an address."""
    start = 0
    for i in range(1, len(functions) + 1):
        if i == len(functions) or functions[i].address != functions[start].address:
            if i - start > 1:
                yield start, i
            start = i


def _showing(s: Symbol) -> tuple[int, int, int, list[int]]:
    """The order of names for one address, the best known last: default version, global before weak before local, without leading
    underscores, short, then by the alphabet."""
    binding = 2 if s.binding == STB_GLOBAL else s.binding == STB_WEAK
    private = len(s.name) - len(s.name.lstrip("_"))
    return 0 if s.hidden else 1 + binding, -private, -len(s.name), [-ord(c) for c in s.name]


def _opened(path: str) -> Iterator[BinaryIO]:
    try:
        yield open(path, "rb")  # noqa: SIM115 - the receiver closes it
    except OSError:
        return


def _crc(stream: BinaryIO) -> int:
    value = 0
    while block := stream.read(1 << 20):
        value = crc32(block, value)
    return value
