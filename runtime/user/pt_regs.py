"""struct pt_regs: the registers of a program that is in the kernel, as they lie on its kernel stack."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pyprobe.runtime.user.kernel import Kernel
    from pyprobe.runtime.user.task import Task

U64 = (1 << 64) - 1
ENOSYS_RESULT = -38 & U64  # what rax holds on x86-64 until the call has its result

# arch/x86/include/asm/ptrace.h, by the names of reg(); "orig_ax" is made up from the call's number
X86_64 = (
    "r15", "r14", "r13", "r12", "bp", "bx", "r11", "r10", "r9", "r8", "ax", "cx", "dx", "si", "di", "orig_ax", "ip", "cs", "flags",
    "sp", "ss",
)  # fmt: skip
USER_SEGMENTS = {"cs": 0x33, "ss": 0x2B}
ARM64 = (*(f"r{i}" for i in range(31)), "sp", "pc", "pstate")


class SavedRegisters:
    """The registers of one task."""

    __slots__ = ("__weakref__", "task")

    def __init__(self, task: Task) -> None:
        self.task = task

    def image(self, k: Kernel) -> bytes:
        """The bytes of the struct; zeros for a task that does not run."""
        task = self.task
        engine = task.process.engine
        if task is not k.current:
            return b""
        number = task.syscall.number if task.syscall is not None else -1
        if task.process.arch == "arm64":
            values = [engine.get(name) for name in ARM64]
            return struct.pack("<34QQi4x", *values, values[0], number)
        special = {**USER_SEGMENTS, "orig_ax": number & U64}
        if task.syscall is not None:
            special["ax"] = ENOSYS_RESULT
        return struct.pack("<21Q", *(special[name] if name in special else engine.get(name) for name in X86_64))
