"""The registers that a probe's handler gets: `struct pt_regs`, with its field names (arch/*/include/asm/ptrace.h)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from pyprobe.runtime.machine.calling import ARGUMENTS, RESULT

FIELDS = {
    "x86_64": (*(f"r{i}" for i in range(8, 16)), "ax", "bx", "cx", "dx", "si", "di", "bp", "sp", "ip", "cs", "ss", "flags"),
    "arm64": (*(f"r{i}" for i in range(31)), "sp", "pc", "pstate"),
}
POINTER = {"x86_64": "ip", "arm64": "pc"}
U64 = (1 << 64) - 1


class General:
    """arm64's `regs.regs[i]`."""

    def __init__(self, regs: PtRegs) -> None:
        self._regs = regs

    def __getitem__(self, number: int) -> int:
        return int(getattr(self._regs, f"r{number}"))

    def __setitem__(self, number: int, value: int) -> None:
        setattr(self._regs, f"r{number}", value)


class PtRegs:
    """The registers at a probe, read and set where they are. Valid during a handler.

    pointer: the instruction pointer that handlers see; setting it counts when a pre_handler returns 1.
    """

    def __init__(self, arch: str, get: Callable[[str], int], put: Callable[[str, int], None]) -> None:
        object.__setattr__(self, "arch", arch)
        object.__setattr__(self, "_get", get)
        object.__setattr__(self, "_put", put)
        object.__setattr__(self, "pointer", 0)

    arch: str
    pointer: int
    _get: Callable[[str], int]
    _put: Callable[[str, int], None]

    def __getattr__(self, name: str) -> Any:
        if name == POINTER[self.arch]:
            return self.pointer
        if name in FIELDS[self.arch]:
            return self._get(name)
        if name == "regs" and self.arch == "arm64":
            return General(self)
        raise AttributeError(name)

    def __setattr__(self, name: str, value: int) -> None:
        if name in ("pointer", POINTER[self.arch]):
            object.__setattr__(self, "pointer", value & U64)
        elif name in FIELDS[self.arch]:
            self._put(name, value & U64)
        else:
            raise AttributeError(name)


def instruction_pointer(regs: PtRegs) -> int:
    """The instruction pointer."""
    return regs.pointer


def regs_return_value(regs: PtRegs) -> int:
    """What a function has returned, as 64 bits."""
    return int(getattr(regs, RESULT[regs.arch]))


def regs_get_kernel_argument(regs: PtRegs, n: int) -> int:
    """Argument `n` at a function's entry; 0 for those that are not in registers."""
    names = ARGUMENTS[regs.arch]
    return int(getattr(regs, names[n])) if n < len(names) else 0


def kernel_stack_pointer(regs: PtRegs) -> int:
    """The stack pointer."""
    return int(regs.sp)
