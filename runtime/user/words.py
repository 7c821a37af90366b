"""Conversions between Python integers and the machine words that system calls carry."""

import struct
from typing import Protocol

U32 = 0xFFFF_FFFF
U64 = 0xFFFF_FFFF_FFFF_FFFF
NANOSECONDS = 1_000_000_000
TICK = NANOSECONDS // 100
"""A clock tick of times(2) and siginfo_t, in ns: USER_HZ is 100."""


class Memory(Protocol):
    """What these helpers need of an address space."""

    def read(self, address: int, n: int) -> bytes: ...

    def write(self, address: int, data: bytes) -> None: ...


def s32(word: int) -> int:
    """The low 32 bits as a C int."""
    word &= U32
    return word - (1 << 32) if word >> 31 else word


def s64(word: int) -> int:
    """The low 64 bits as a C long."""
    word &= U64
    return word - (1 << 64) if word >> 63 else word


def align_up(value: int, unit: int) -> int:
    """The next multiple of `unit` (a power of two)."""
    return (value + unit - 1) & ~(unit - 1)


def align_down(value: int, unit: int) -> int:
    """The multiple of `unit` (a power of two) at or below."""
    return value & ~(unit - 1)


def read_timespec(memory: Memory, address: int) -> tuple[int, int]:
    """struct __kernel_timespec: (seconds, nanoseconds), both signed and unchecked."""
    seconds, nanoseconds = struct.unpack("<qq", memory.read(address, 16))
    return seconds, nanoseconds


def timespec(ns: int) -> bytes:
    """struct __kernel_timespec of a time in ns."""
    return struct.pack("<qq", *divmod(ns, NANOSECONDS))


def timeval(ns: int) -> bytes:
    """struct __kernel_old_timeval of a time in ns."""
    seconds, rest = divmod(ns, NANOSECONDS)
    return struct.pack("<qq", seconds, rest // 1000)


def printable(text: bytes) -> str:
    """A name that the guest chose, for the user's terminal: what is no printable character is shown as an escape sequence."""
    shown = text.decode("utf-8", "backslashreplace")
    return shown if shown.isprintable() else "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in shown)
