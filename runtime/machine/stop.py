"""Why a run of the engine ended."""

from __future__ import annotations

from enum import Enum, auto
from typing import NamedTuple


class StopKind(Enum):
    """Why a run ended."""

    SYSCALL = auto()
    FAULT = auto()
    TRAP = auto()
    STOPPED = auto()


class Stop(NamedTuple):
    """The end of a run.

    kind: SYSCALL: `on_syscall` asked for it. FAULT: no `access` (R, W or X) to `address`; the pc is at the instruction.
        TRAP: exception `number` of the emulated processor (x86: the vector). STOPPED: `request_stop`.
    """

    kind: StopKind
    address: int = 0
    access: int = 0
    number: int = 0
