"""What is said of a program that a signal ended: signal, place, the code around it, with -v the registers."""

from __future__ import annotations

import signal
from collections.abc import Iterable
from typing import TYPE_CHECKING

from pyprobe.runtime.machine.memory import AddressSpace, MemoryFault, OutOfMemory
from pyprobe.runtime.user.words import printable

if TYPE_CHECKING:
    from pyprobe.runtime.context import Names
    from pyprobe.runtime.user.outcome import Crash

BEFORE, AFTER = 256, 64  # bytes of code kept around the place


def code_around(space: AddressSpace, pc: int) -> tuple[int, bytes]:
    """Address and bytes of the readable memory around a place; no bytes if the place itself is not readable."""
    for before in (BEFORE, pc % 4096, 0):
        for after in (AFTER, 4096 - pc % 4096):
            try:
                return pc - before, space.read(pc - before, before + after)
            except (MemoryFault, OutOfMemory):
                continue
    return pc, b""


def describe(crash: Crash, names: Names, *, verbose: bool = False) -> Iterable[str]:
    """Lines for the user."""
    name = signal.Signals(crash.signal).name if crash.signal in set(signal.Signals) else f"signal {crash.signal}"
    comm = printable(crash.comm)
    where = f" at address {crash.address:#x}" if crash.address is not None else ""
    symbol = names.user(crash.pid, crash.pc)
    place = f" in {symbol.name}+{symbol.offset} ({symbol.module})" if symbol else ""
    yield f"WARNING: process {crash.pid} ({comm}) was ended by {name}{where}{place}"
    yield from _listing(crash, names)
    if verbose:
        yield "    " + " ".join(f"{register}={value:#x}" for register, value in crash.registers.items())


def _listing(crash: Crash, names: Names) -> Iterable[str]:
    """The instructions around the place. Decoding begins where one surely begins: at the function's start, if that was kept."""
    from pyprobe.runtime.machine.disassembly import listing

    start, code = crash.text
    symbol = names.user(crash.pid, crash.pc)
    first = crash.pc - symbol.offset if symbol else crash.pc
    if first < start:
        first = crash.pc

    def name(address: int) -> str:
        found = names.user(crash.pid, address)
        return f"{found.name}+{found.offset}" if found else ""

    return listing(crash.arch, code[first - start :], first, crash.pc, name=name) if code else ()
