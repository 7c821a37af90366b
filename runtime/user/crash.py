"""What is said of a program that a signal ended: signal, place, and the code around it."""

from __future__ import annotations

import signal
from collections.abc import Iterable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pyprobe.runtime.symbolizer import Symbolizer
    from pyprobe.runtime.user.kernel import Crash

PER_LINE = 4  # registers


def describe(crash: Crash, names: Symbolizer, *, verbose: bool) -> Iterable[str]:
    """Lines for the user: one that says what happened, then the code, and with `verbose` the registers."""
    name = signal.Signals(crash.signal).name if crash.signal in set(signal.Signals) else f"signal {crash.signal}"
    comm = crash.comm.decode("utf-8", "backslashreplace")
    touched = f" at address {crash.address:#x}" if crash.address else ""
    pc = crash.registers.get("ip", crash.registers.get("pc", 0))
    symbol = names.user(crash.pid, pc)
    where = f"{symbol.name}+{symbol.offset}" if symbol else f"{pc:#x}"
    yield f"WARNING: process {crash.pid} ({comm}) was ended by {name}{touched}, in {where}"
    yield from (f"    {line}" for line in names.around(crash.pid, pc))
    if verbose:
        cells = [f"{register:>5} {value:#018x}" for register, value in crash.registers.items()]
        yield from ("    " + "  ".join(cells[i : i + PER_LINE]) for i in range(0, len(cells), PER_LINE))
