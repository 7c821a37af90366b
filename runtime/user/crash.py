"""What is said of a program that a signal ended: signal, place, registers and the code around it."""

from __future__ import annotations

import signal
from collections.abc import Iterable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pyprobe.runtime.user.kernel import Crash


def describe(crash: Crash) -> Iterable[str]:
    """Lines for the user."""
    name = signal.Signals(crash.signal).name if crash.signal in set(signal.Signals) else f"signal {crash.signal}"
    comm = crash.comm.decode("utf-8", "backslashreplace")
    where = f" at address {crash.address:#x}" if crash.address else ""
    yield f"WARNING: process {crash.pid} ({comm}) was ended by {name}{where}"
