"""The words that the engine shares with its callbacks, whichever of the two implementations runs them."""

from __future__ import annotations

import ctypes

NOWHERE = (1 << 64) - 1  # no address

FIRST_GROWTH = 600  # misses until the translation buffer is first given the chance to grow
LAST_GROWTH = 1 << 18


class State(ctypes.Structure):
    """Must match `struct state` in _native.h.

    pc: the address that is about to execute; right within callbacks and between runs.
    block, size: the block of code entered last, whose bytes are counted; size is 0 when they were taken back.
    fired: the address whose probe has fired though its instruction has not executed yet, because the run was stopped there.
    stopping: the run ends at the next beginning of a block.
    left: the run ended in a syscall.
    fills: misses of the translation buffer so far. grow_at: when it is flushed next, which is its only chance to grow;
    growth: how many misses later the time after.
    kick: set while the clock's deadline is attended to: leave this block unexecuted for the emulator's own loop, which looks for
    interrupts and then enters the block again.
    patience: while the clock's deadline is WAITING and interrupts are not accepted, nothing is attended to before this time.
    """

    _fields_ = [
        ("pc", ctypes.c_uint64),
        ("block", ctypes.c_uint64),
        ("size", ctypes.c_uint64),
        ("fired", ctypes.c_uint64),
        ("stopping", ctypes.c_uint64),
        ("left", ctypes.c_uint64),
        ("fills", ctypes.c_uint64),
        ("grow_at", ctypes.c_uint64),
        ("growth", ctypes.c_uint64),
        ("kick", ctypes.c_uint64),
        ("patience", ctypes.c_uint64),
    ]
    pc: int
    block: int
    size: int
    fired: int
    stopping: int
    left: int
    fills: int
    grow_at: int
    growth: int
    kick: int
    patience: int

    def __init__(self) -> None:
        super().__init__(fired=NOWHERE, grow_at=FIRST_GROWTH, growth=FIRST_GROWTH)
