"""How runs and programs end, told to people: exit statuses, crashes, why a command cannot be started."""

from __future__ import annotations

import os
from errno import EACCES, ELIBBAD, ENOENT, ENOEXEC
from typing import TYPE_CHECKING

from pyprobe.runtime.user.crash import code_around

if TYPE_CHECKING:
    from pyprobe.runtime.user.task import Task


class Crash:
    """A process that a signal ended: for the report of the run.

    address: what a fault was about, None where the signal was sent. registers: by name, as they were; pc: the instruction; text: the code around it, where it begins and its bytes.
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
    shown = name.decode(errors="backslashreplace")
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
