"""User stacks by frame pointers.

x86-64 (System V ABI, AMD64 supplement, 3.2.2): rbp points at the caller's rbp, the return address lies above it. arm64 (Procedure Call
Standard for the Arm 64-bit Architecture, 6.4.6): x29 points at a frame record, the caller's x29 and then x30. Code that is compiled
without frame pointers shows fewer frames or ends the walk: each frame must lie above the one before, each return address in code.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import Protocol

from pyprobe.runtime.machine.memory import MemoryFault, OutOfMemory, Vma, X

_RECORD = struct.Struct("<QQ")  # caller's frame pointer, return address: the same layout on both architectures
_FRAME = {"x86_64": "bp", "arm64": "r29"}
_LINK = "r30"
_TOP = 1 << 56  # addresses above it are not the user's


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
