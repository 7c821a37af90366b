"""Instructions that run somewhere else than where they were written: what a breakpoint displaces.

Most instructions do the same anywhere and run in a slot. Those that use their own address are moved so that they still mean the old place,
or their effect is worked out here (simulated), as the kernel does in arch/x86/kernel/kprobes/core.c and
arch/arm64/kernel/probes/simulate-insn.c. Some cannot be displaced at all. The rules of each architecture are in displaced_x86_64.py and
displaced_arm64.py; Capstone decodes.
"""

from __future__ import annotations

import errno
from collections.abc import Callable
from typing import NamedTuple, Protocol

from pyprobe.runtime.machine.disassembly import first


class Space(Protocol):
    """Memory that instructions read. Methods raise MemoryFault."""

    def u32(self, address: int) -> int: ...
    def u64(self, address: int) -> int: ...


class Processor(Protocol):
    """Who executes instructions that are simulated: the engine of the user machine, the processor of a booted kernel."""

    @property
    def space(self) -> Space: ...
    def get(self, name: str) -> int: ...
    def set(self, name: str, value: int) -> None: ...
    def store(self, address: int, data: bytes) -> None: ...
    def syscall_instruction(self, after: int) -> int: ...


Simulate = Callable[[Processor, int], int]
"""Does what the instruction at an address does; where the guest goes on. Raises MemoryFault before anything is changed."""
Relocate = Callable[[bytes, int, int], bytes]
"""The instruction's code, moved from one address to another. Raises Refused when that is too far."""


class Refused(Exception):
    """A place where no breakpoint may stand.

    errno: what Linux answers.
    """

    def __init__(self, number: int, reason: str) -> None:
        super().__init__(reason)
        self.errno = number
        self.reason = reason


class Displaced(NamedTuple):
    """One instruction, as it is executed when a breakpoint has taken its place.

    code: its bytes; text: for people.
    simulate: how to do without executing it, where that is needed or possible; leaves: it does not reach what follows it in a slot.
    only_simulated: it must not run in a slot.
    relocate: for a slot; None: the bytes as they are.
    """

    code: bytes
    text: str
    simulate: Simulate | None = None
    leaves: bool = False
    only_simulated: bool = False
    relocate: Relocate | None = None


def displace(arch: str, code: bytes) -> Displaced:
    """The instruction that `code` begins with. Raises Refused where it cannot be displaced."""
    for length in _lengths.get(arch, ()):
        known = _known.get((arch, code[:length]))  # no instruction is the beginning of another one
        if known is not None:
            return known
    instruction = first(arch, code)
    if instruction is None:
        raise Refused(errno.EILSEQ, "there is no valid instruction")
    if len(_known) >= _KEPT:
        _known.clear()
    known = _known[arch, instruction[0]] = _rules(arch)(*instruction)
    lengths = _lengths.setdefault(arch, [])
    if len(known.code) not in lengths:
        lengths.append(len(known.code))
    return known


_KEPT = 65536
_known: dict[tuple[str, bytes], Displaced] = {}
_lengths: dict[str, list[int]] = {}  # those of known instructions, in the order in which they were met


def _rules(arch: str) -> Callable[[bytes, str], Displaced]:
    if arch == "arm64":
        from pyprobe.runtime.machine.displaced_arm64 import rules
    else:
        from pyprobe.runtime.machine.displaced_x86_64 import rules
    return rules
