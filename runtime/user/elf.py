"""Reading what exec needs of an ELF file: the header and the program headers, distrusting every number.

fs/binfmt_elf.c decides what is acceptable; everything else is ENOEXEC. (Symbols and notes are read elsewhere, with pyelftools.)
"""

from __future__ import annotations

import re
import struct
from collections.abc import Callable
from errno import EINVAL, ENOEXEC
from typing import NamedTuple

from pyprobe.runtime.user.abi import BY_MACHINE, Abi
from pyprobe.runtime.user.errors import Errno

ET_EXEC, ET_DYN = 2, 3
PT_LOAD, PT_INTERP, PT_PHDR, PT_GNU_STACK = 1, 3, 6, 0x6474E551
PF_X, PF_W, PF_R = 1, 2, 4
PHDR_SIZE = 56
PHDRS_MAX = 65536 // PHDR_SIZE  # ELF_MIN_ALIGN's bound on the table
PATH_MAX = 4096
PAGE = 4096
SHEBANG_SIZE = 256  # BINPRM_BUF_SIZE

Pread = Callable[[int, int], bytes]  # (offset, length) -> at most that many bytes


class Segment(NamedTuple):
    """One program header."""

    type: int
    flags: int
    offset: int
    address: int
    file_size: int
    size: int
    align: int


class Elf(NamedTuple):
    """An executable's header.

    entry, phdr_offset: as in the file; segments: the PT_LOAD ones; interpreter: PT_INTERP's path or None.
    """

    abi: Abi
    type: int
    entry: int
    phdr_offset: int
    phdr_count: int
    segments: tuple[Segment, ...]
    interpreter: bytes | None
    stack_executable: bool

    @property
    def low(self) -> int:
        """The page of the lowest address it wants."""
        return min(s.address for s in self.segments) & -PAGE

    @property
    def high(self) -> int:
        """The end of the highest page it wants."""
        return (max(s.address + s.size for s in self.segments) + PAGE - 1) & -PAGE

    @property
    def phdr_address(self) -> int:
        """Where the program headers lie in memory, before the load bias; 0: in no segment."""
        for s in self.segments:
            if s.offset <= self.phdr_offset < s.offset + s.file_size:
                return s.address + self.phdr_offset - s.offset
        return 0


def is_elf(head: bytes) -> bool:
    """Does a file that begins like this claim to be ELF?"""
    return head.startswith(b"\x7fELF")


def read_elf(pread: Pread) -> Elf:
    """Read and check an executable's headers.

    Raises Errno: ENOEXEC for what Linux does not take for an executable of a 64-bit machine we emulate, EINVAL for impossible segments.
    """
    head = pread(0, 64)
    if len(head) < 64 or not is_elf(head) or head[4:6] != b"\x02\x01":
        raise Errno(ENOEXEC)
    kind, machine, _, entry, phdr_offset, _, _, _, entry_size, count = struct.unpack_from("<HHIQQQIHHH", head, 16)
    abi = BY_MACHINE.get(machine)
    if abi is None or kind not in (ET_EXEC, ET_DYN) or entry_size != PHDR_SIZE or not 1 <= count <= PHDRS_MAX:
        raise Errno(ENOEXEC)
    table = pread(phdr_offset, count * PHDR_SIZE) if phdr_offset < 1 << 62 else b""
    if len(table) < count * PHDR_SIZE:
        raise Errno(ENOEXEC)
    headers = [Segment(t, f, o, v, fs, ms, al) for t, f, o, v, _, fs, ms, al in struct.iter_unpack("<IIQQQQQQ", table)]
    segments = tuple(h for h in headers if h.type == PT_LOAD)
    if not segments:
        raise Errno(ENOEXEC)
    for s in segments:
        check_segment(s, abi)
    return Elf(
        abi, kind, entry, phdr_offset, count, segments, _interpreter(headers, pread),
        any(h.type == PT_GNU_STACK and h.flags & PF_X for h in headers),
    )  # fmt: skip


def check_segment(s: Segment, abi: Abi) -> None:
    """Raise Errno(EINVAL) for a PT_LOAD that could not be mapped: outside user space, more file than memory, or misaligned."""
    if s.file_size > s.size or s.address >= abi.top or s.size > abi.top - s.address or s.offset >= 1 << 62:
        raise Errno(EINVAL)
    if s.file_size and (s.address - s.offset) % PAGE:
        raise Errno(EINVAL)


def _interpreter(headers: list[Segment], pread: Pread) -> bytes | None:
    for h in headers:
        if h.type == PT_INTERP:
            if not 2 <= h.file_size <= PATH_MAX or h.offset >= 1 << 62:
                raise Errno(ENOEXEC)
            path = pread(h.offset, h.file_size)
            if len(path) < h.file_size or path[-1]:
                raise Errno(ENOEXEC)
            return path.split(b"\0", 1)[0]
    return None


def shebang(head: bytes) -> tuple[bytes, bytes | None] | None:
    """The interpreter and its one argument, of a file that begins like this (its first SHEBANG_SIZE bytes); None: not a script.

    fs/binfmt_script.c. Raises Errno(ENOEXEC) for a first line without an interpreter, or with a truncated one.
    """
    if not head.startswith(b"#!"):
        return None
    line, newline, _ = head[2:].partition(b"\n")
    if not newline:
        line = line.split(b"\0", 1)[0]
    interpreter, *argument = re.split(rb"[ \t]+", line.strip(b" \t"), maxsplit=1)
    truncated = not newline and len(head) >= SHEBANG_SIZE and not argument
    if not interpreter or truncated:
        raise Errno(ENOEXEC)
    return interpreter, argument[0] if argument else None
