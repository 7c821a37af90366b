"""User stacks, by frame pointers or by call frame information.

x86-64 (System V ABI, AMD64 supplement, 3.2.2): rbp points at the caller's rbp, the return address lies above it. arm64 (Procedure Call
Standard for the Arm 64-bit Architecture, 6.4.6): x29 points at a frame record, the caller's x29 and then x30. Code that is compiled
without frame pointers shows fewer frames or ends the walk: each frame must lie above the one before, each return address in code.
Where call frame information tells of the callers' registers (`runtime.machine.cfi`), no frame pointer is needed.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import TYPE_CHECKING, Protocol

from pyprobe.runtime.machine.elf import ElfError
from pyprobe.runtime.machine.memory import MemoryFault, OutOfMemory, Vma, X

if TYPE_CHECKING:
    from pyprobe.runtime.machine.cfi import Row

_RECORD = struct.Struct("<QQ")  # caller's frame pointer, return address: the same layout on both architectures
_FRAME = {"x86_64": "bp", "arm64": "r29"}
_LINK = "r30"
_TOP = 1 << 56  # addresses above it are not the user's
_COLUMNS = {
    "x86_64": ("ax", "dx", "cx", "bx", "si", "di", "bp", "sp", *(f"r{n}" for n in range(8, 16))),
    "arm64": (*(f"r{n}" for n in range(31)), "sp"),
}
"""Registers by the numbers that DWARF has for them."""
_SIGNATURE = 0xFFFF << 48  # where a return address that is signed (PAC) has its code


class Stack(Protocol):
    """What is asked of an address space."""

    def read(self, address: int, n: int) -> bytes: ...

    def find(self, address: int) -> Vma | None: ...


def return_address(arch: str, register: Callable[[str], int], memory: Stack) -> int:
    """Where the function returns to whose first instruction is about to execute. Raises MemoryFault."""
    if arch == "arm64":
        return register(_LINK)
    return int.from_bytes(memory.read(register("sp"), 8), "little")


def unwind(arch: str, register: Callable[[str], int], memory: Stack, limit: int, *, entry: bool = False) -> list[int]:
    """Addresses of the current user stack, innermost first: the instruction, then return addresses; at most `limit`.

    register: reads a register by name. entry: the instruction is a function's first, which has no frame of its own yet.
    Ends where a frame cannot be read or does not lie above the one before it.
    """
    addresses = [register("pc")]
    if not addresses[0]:
        return []  # the task has no program yet
    if entry:
        try:
            addresses.append(return_address(arch, register, memory))
        except (MemoryFault, OutOfMemory):
            return addresses[:limit]
    frame, below = register(_FRAME[arch]), 0
    while len(addresses) < limit and below < frame < _TOP and not frame % 8:
        try:
            caller, address = _RECORD.unpack(memory.read(frame, _RECORD.size))
        except (MemoryFault, OutOfMemory):
            break
        code = memory.find(address)
        if code is None or not code.prot & X:
            break
        addresses.append(address)
        frame, below = caller, frame
    return addresses[:limit]


def unwind_by_tables(
    arch: str,
    register: Callable[[str], int],
    memory: Stack,
    limit: int,
    row: Callable[[int], Row | None],
    real: Callable[[list[int]], list[int]],
) -> list[int]:
    """Addresses of the current user stack by call frame information (over code that has none, by frame pointers), innermost first: the
    instruction, then of each caller the byte before the return address, which lies in its call, as bpftrace shows them; at most `limit`.

    row: what is known of an instruction; real: addresses with those put back that probes have replaced on the stack.
    """
    from pyprobe.runtime.machine.cfi import RETURN

    registers = {column: register(name) for column, name in enumerate(_COLUMNS[arch])}
    addresses = [register("pc")]
    if not addresses[0]:
        return []
    if arch == "x86_64":
        registers[RETURN[arch]] = addresses[0]
    word = _words(memory)
    called = 0  # 1: the address is behind the call that the frame is about
    shown, here = addresses[:], addresses[0]
    while len(shown) < limit:
        known = row(here - called)
        try:
            caller = known.caller(arch, registers, word) if known else _by_pointer(arch, registers, memory)
        except (MemoryFault, OutOfMemory, ElfError, LookupError):
            break
        address = caller.get(RETURN[arch], 0) & ~(_SIGNATURE if arch == "arm64" else 0)
        addresses.append(address)
        here = real(addresses)[-1]
        code = memory.find(here)
        stuck = called and caller == registers  # a return address in a register is the innermost function's alone
        if code is None or not code.prot & X or stuck:
            break
        registers, called = caller, int(not (known and known.interrupted))
        lies_in = row(here - called)
        shown.append(here if lies_in is not None and lies_in.interrupted else here - called)  # no call is before a handler's return
    return shown[:limit]


def _words(memory: Stack) -> Callable[[int], int]:
    """What reads 8 bytes at an address."""
    return lambda address: int.from_bytes(memory.read(address, 8), "little")


def _by_pointer(arch: str, registers: dict[int, int], memory: Stack) -> dict[int, int]:
    """The caller's registers, as far as a frame record tells them. Raises LookupError where there is none."""
    from pyprobe.runtime.machine.cfi import RETURN, STACK

    pointer = _COLUMNS[arch].index(_FRAME[arch])
    frame = registers[pointer]
    if not registers[STACK[arch]] <= frame < _TOP or frame % 8:
        raise LookupError(frame)
    caller, address = _RECORD.unpack(memory.read(frame, _RECORD.size))
    return {pointer: caller, STACK[arch]: frame + _RECORD.size, RETURN[arch]: address}
