"""How runs and programs end, told to people: exit statuses, crashes, why a command cannot be started."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from errno import EACCES, ELIBBAD, ENOENT, ENOEXEC
from typing import TYPE_CHECKING

from pyprobe.runtime.user.crash import code_around
from pyprobe.runtime.user.words import printable

if TYPE_CHECKING:
    from pyprobe.runtime.user.kernel import Kernel
    from pyprobe.runtime.user.task import Task


class Crash:
    """A process that a signal ended: for the report of the run.

    registers: by name, as they were; pc: the instruction; text: the code around it, where it begins and its bytes.
    """

    def __init__(self, task: Task, signo: int, code: int, address: int | None, registers: dict[str, int], pc: int) -> None:
        self.pid = task.pid
        self.tid = task.tid
        self.comm = task.comm
        self.signal = signo
        self.code = code
        self.address = address
        self.registers = registers
        self.arch = task.process.arch
        self.pc = pc
        self.text = code_around(task.process.space, pc)


def exec_message(name: bytes, errno: int) -> str:
    """Why a command cannot be started, as a shell would say it."""
    shown = printable(name)
    special = {
        ENOENT: "no such file, or its interpreter is missing",
        EACCES: "permission denied (not an executable file?)",
        ENOEXEC: "not a program this machine can run (damaged, or for another processor)",
        ELIBBAD: "its interpreter is damaged or for another processor",
    }
    return f"{shown}: {special.get(errno) or os.strerror(errno)}"


def shell_status(word: int) -> int:
    """A wait(2) status word as a shell's exit status."""
    return 128 + (word & 0x7F) if word & 0x7F else word >> 8 & 0xFF


def limits_met(k: Kernel) -> Iterator[str]:
    """Which bounds of the machine the guest ran into, and how to move them."""
    if k.memory_exhausted:
        yield "WARNING: the machine's memory was used up, and the process that wanted more was killed (--limit memory=BYTES)"
    if k.tasks_exhausted:
        yield f"WARNING: no more than {k.task_limit} tasks at a time: fork failed with EAGAIN (--limit tasks=N)"
    if k.vfs.disk.full:
        yield "WARNING: the room for the guest's files was used up: writing failed with ENOSPC (--limit disk=BYTES)"


def ending(k: Kernel) -> Iterator[str]:
    """How the first process ended, if it did."""
    first = k.first
    if first is not None and first.exit_status is not None:
        name = printable(first.argv[0]) if first.argv else str(first.pid)
        number = first.exit_status & 0x7F
        if number:
            yield f"{name} was ended by {signal.Signals(number).name if number in set(signal.Signals) else f'signal {number}'}"
        else:
            yield f"{name} ended with exit status {first.exit_status >> 8 & 0xFF}"
