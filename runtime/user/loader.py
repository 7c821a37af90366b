"""Putting a program into a new address space: its segments, its interpreter's, and the stack it starts with.

fs/binfmt_elf.c and fs/exec.c; the start of the stack is laid out as the ABI supplements and getauxval(3) say. Nothing is random: programs
go to the addresses Linux uses with address randomisation off, and each mapped file gets one address for the whole machine, so that
what was translated of a library in one process serves in all others.
"""

from __future__ import annotations

import struct
from errno import E2BIG, ENOMEM
from typing import TYPE_CHECKING, NamedTuple
from weakref import WeakKeyDictionary

from pyprobe.runtime.machine.memory import PAGE, AddressSpace, Backing, MemoryFault, R, W, X
from pyprobe.runtime.user.elf import ET_DYN, ET_EXEC, PF_R, PF_W, PF_X, Elf, Segment
from pyprobe.runtime.user.errors import Errno
from pyprobe.runtime.user.words import NANOSECONDS, TICK, U64, align_down, align_up

if TYPE_CHECKING:
    from pyprobe.runtime.user.abi import Abi
    from pyprobe.runtime.user.task import Credentials

MAX_ARG_STRLEN = 32 * PAGE  # one argument, include/uapi/linux/binfmts.h
ARGUMENTS_MIN = 128 << 10  # ARG_MAX: room that is there whatever the stack's limit

AT_NULL, AT_PHDR, AT_PHENT, AT_PHNUM, AT_PAGESZ, AT_BASE, AT_FLAGS, AT_ENTRY = 0, 3, 4, 5, 6, 7, 8, 9
AT_UID, AT_EUID, AT_GID, AT_EGID, AT_PLATFORM, AT_HWCAP, AT_CLKTCK, AT_SECURE, AT_RANDOM = 11, 12, 13, 14, 15, 16, 17, 23, 25
AT_HWCAP2, AT_EXECFN, AT_MINSIGSTKSZ = 26, 31, 51


class FileZone:
    """One address for each mapped file, machine-wide, handed out from the top down in the order of their first mappings."""

    def __init__(self, low: int, high: int) -> None:
        self._low = low
        self._next = high
        self._known: WeakKeyDictionary[Backing, tuple[int, int]] = WeakKeyDictionary()

    def address(self, backing: Backing, length: int) -> int:
        """Where `length` bytes from the start of this file should go; 0: no preference."""
        address, room = self._known.get(backing, (0, 0))
        if room < length:
            room = align_up(length, PAGE)
            if self._next - room < self._low:
                return 0
            address = self._next = self._next - room
            self._known[backing] = (address, room)
        return address


class Image(NamedTuple):
    """A loaded ELF file: `bias` is what was added to its addresses."""

    elf: Elf
    path: bytes
    bias: int

    @property
    def entry(self) -> int:
        """The first instruction."""
        return self.elf.entry + self.bias & U64


class Start(NamedTuple):
    """How a new program begins."""

    pc: int
    sp: int
    auxv: bytes
    arguments: tuple[int, int]


def segment_prot(flags: int) -> int:
    """p_flags as page protection."""
    return (R if flags & PF_R else 0) | (W if flags & PF_W else 0) | (X if flags & PF_X else 0)


def map_image(space: AddressSpace, zone: FileZone, elf: Elf, backing: Backing, path: bytes, base: int | None) -> Image:
    """Map the segments. base: where a position independent file goes; None: its own address of the zone.

    Raises Errno(ENOMEM) where it does not fit, MemoryFault where the file is shorter than its headers say.
    """
    bias = 0
    if elf.type == ET_DYN:
        span = elf.high - elf.low
        if base is None:
            base = zone.address(backing, span)
            if not base or space.free_area(span, base) != base:
                base = space.free_area(span)
        if not base:
            raise Errno(ENOMEM)
        bias = base - elf.low
    for segment in elf.segments:
        if segment.size:
            _map_segment(space, segment, backing, path, bias)
    return Image(elf, path, bias)


def _map_segment(space: AddressSpace, s: Segment, backing: Backing, path: bytes, bias: int) -> None:
    prot = segment_prot(s.flags)
    start = align_down(s.address + bias, PAGE)
    file_end = s.address + bias + s.file_size
    end = align_up(s.address + bias + s.size, PAGE)
    if start < PAGE or (end > space.mmap_base and end > 0x7FFF_FFFF_F000):
        raise Errno(ENOMEM)
    file_top = align_up(file_end, PAGE) if s.file_size else start
    if file_top > start:
        space.map(start, file_top - start, prot, backing=backing, offset=align_down(s.offset, PAGE), name=path, path=path)
        if s.size > s.file_size and file_end < file_top and prot & W:
            space.write(file_end, bytes(file_top - file_end))
    if end > file_top:
        space.map(file_top, end - file_top, prot)


def check_arguments(argv: tuple[bytes, ...], envp: tuple[bytes, ...], stack_limit: int) -> None:
    """Raise Errno(E2BIG) for arguments that execve(2) does not take."""
    total = 0
    for text in (*argv, *envp):
        if len(text) >= MAX_ARG_STRLEN:
            raise Errno(E2BIG)
        total += len(text) + 1 + 8
    if total > max(min(stack_limit, 24 << 20) // 4, ARGUMENTS_MIN):
        raise Errno(E2BIG)


def make_stack(space: AddressSpace, abi: Abi, limit: int, executable: bool) -> None:
    """The main thread's stack, which grows down to its limit (bytes)."""
    space.stack_limit = min(limit, 1 << 36)
    first = 33 * PAGE  # what exec leaves below the arguments
    space.map(abi.top - first, first, R | W | (X if executable else 0), name=b"[stack]", grows_down=True)


def fill_stack(
    space: AddressSpace,
    image: Image,
    interpreter: Image | None,
    argv: tuple[bytes, ...],
    envp: tuple[bytes, ...],
    filename: bytes,
    cred: Credentials,
    random: bytes,
) -> Start:
    """Put arguments, environment and the auxiliary vector on the stack; random: 16 bytes for AT_RANDOM."""
    abi = image.elf.abi
    sp = abi.top - 8

    def push(data: bytes) -> int:
        nonlocal sp
        sp -= len(data)
        space.write(sp, data)
        return sp

    try:
        execfn = push(filename + b"\0")
        strings = [text + b"\0" for text in (*argv, *envp)]
        at = push(b"".join(strings))
        addresses = []
        for text in strings:
            addresses.append(at)
            at += len(text)
        arguments_end = addresses[len(argv)] if envp else at
        arguments = (addresses[0] if argv else at, arguments_end)
        platform = push(abi.platform + b"\0")
        random_at = push(random)
        sp = align_down(sp, 16)
        secure = cred.uid != cred.euid or cred.gid != cred.egid
        entries = (
            (AT_MINSIGSTKSZ, abi.minsigstksz), (AT_HWCAP, abi.hwcap), (AT_PAGESZ, PAGE), (AT_CLKTCK, NANOSECONDS // TICK),
            (AT_PHDR, image.elf.phdr_address + image.bias), (AT_PHENT, 56), (AT_PHNUM, image.elf.phdr_count),
            (AT_BASE, interpreter.bias if interpreter else 0), (AT_FLAGS, 0), (AT_ENTRY, image.entry),
            (AT_UID, cred.uid), (AT_EUID, cred.euid), (AT_GID, cred.gid), (AT_EGID, cred.egid), (AT_SECURE, secure),
            (AT_RANDOM, random_at), (AT_HWCAP2, abi.hwcap2), (AT_EXECFN, execfn), (AT_PLATFORM, platform), (AT_NULL, 0),
        )  # fmt: skip
        auxv = b"".join(struct.pack("<QQ", key, value & U64) for key, value in entries)
        argc = len(argv)
        words = [argc, *addresses[:argc], 0, *addresses[argc:], 0]
        block = struct.pack(f"<{len(words)}Q", *words) + auxv
        sp = align_down(sp - len(block), 16)
        space.write(sp, block)
    except MemoryFault:
        raise Errno(E2BIG) from None
    return Start(interpreter.entry if interpreter else image.entry, sp, auxv, arguments)


def heap_start(image: Image) -> int:
    """Where brk begins: the page after the program's last."""
    return align_up(image.elf.high + image.bias, PAGE)


def program_base(elf: Elf) -> int | None:
    """Where a position independent program goes; one that is its own interpreter goes among the libraries."""
    if elf.type == ET_EXEC or elf.interpreter is None:
        return None
    return elf.abi.pie_base
