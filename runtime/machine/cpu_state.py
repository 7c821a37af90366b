"""Finding what libunicorn keeps to itself: the CPU state, to read registers where they lie, and a switch that makes accesses cheap.

libunicorn has no function that tells the address. It is found by content: registers are set to unlikely values, and these
are looked for behind the pointers that the handle's structure holds. More values must then show up at the same place,
which rules out stale copies. Whoever is not found is read through the interface, twenty times slower.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from ctypes import addressof, c_bool, c_uint64

_NO_EXIT_REQUEST = 0x7F2  # uc_struct.no_exit_request, and behind it uc_struct.init_done

_HANDLE = 4096  # bytes of uc_struct looked through; the pointer to the CPU is near its beginning
_REACH = 0x10000  # how far the registers are behind a pointer, at most
_TRIES = tuple(tuple((0x5A17_C0DE_0000_1111 * k + 0x1_0001 * i) & (1 << 64) - 1 for i in range(1, 5)) for k in (1, 3, 1))


def peek(address: int, size: int) -> bytes:
    """Memory of this very process, as much as there is; b"" where there is none."""
    try:
        with open("/proc/self/mem", "rb", buffering=0) as mem:
            mem.seek(address)
            return mem.read(size)
    except (OSError, ValueError, OverflowError):
        return b""


def find_registers(handle: int, names: tuple[str, ...], read: Callable[[str], int], write: Callable[[str, int], None]) -> int:
    """The address of the register names[0], which the others (four in all) follow; 0 if it is not found.

    handle: the address of uc_struct. read, write: a register through the interface; all are left as they were.
    """

    def set_all(values: tuple[int, ...]) -> None:
        for name, value in zip(names, values, strict=True):
            write(name, value)

    def shows(address: int, values: tuple[int, ...]) -> bool:
        set_all(values)
        return peek(address, 32) == struct.pack("<4Q", *values)

    old = tuple(read(name) for name in names)
    try:
        set_all(_TRIES[0])
        pattern = struct.pack("<4Q", *_TRIES[0])
        words = peek(handle, _HANDLE)
        for (pointer,) in dict.fromkeys(struct.iter_unpack("<Q", words[: len(words) & ~7])):
            if pointer < 0x10000 or pointer >> 47 or pointer & 7:
                continue
            block = peek(pointer, _REACH)
            at = block.find(pattern)
            while at >= 0:
                if all(shows(pointer + at, values) for values in _TRIES[1:]):
                    return int(pointer) + at
                set_all(_TRIES[0])
                at = block.find(pattern, at + 8)
        return 0
    finally:
        set_all(old)


def verify_word(address: int, write: Callable[[int], None]) -> c_uint64 | None:
    """The word at `address` if it shows what `write` sets, else None. It is left at what was written last."""
    word = c_uint64.from_address(address)
    for value in (0x5A17_C0DE_0000, 0x1234_5678):
        write(value)
        if word.value != value:
            return None
    return word


class ExitChecks:
    """Whether translated code looks for a request to stop after each load and store, and not as a block begins only.

    A machine that asks for stops in blocks and system calls alone is a third faster without. What was translated stays as it is. Where
    an exact hook may ask for a stop, the look that follows it is needed, which the same switch takes away.

    handle: the address of uc_struct, before the emulator is initialized, which it is by any use of it; `found` is to be called afterwards.
    """

    def __init__(self, handle: int) -> None:
        self._switch, self._initialized = (c_bool.from_address(handle + _NO_EXIT_REQUEST + i) for i in (0, 1))
        self._plausible = not self._switch.value and not self._initialized.value

    def found(self) -> bool:
        """Whether the switch is where it is thought to be: its neighbour has changed as it should. Without it nothing is switched."""
        self._plausible = self._plausible and self._initialized.value and not self._switch.value
        return self._plausible

    @property
    def switch(self) -> int:
        """Where the switch lies, 0 if that is not known: a byte, 1 for no such looks in what is translated from then on."""
        return addressof(self._switch) if self._plausible else 0

    def wanted(self, after_accesses: bool) -> None:
        """For what is translated from now on."""
        if self._plausible:
            self._switch.value = not after_accesses
