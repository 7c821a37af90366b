"""Filters on system calls: seccomp(2), and the classic BPF they are written in (kernel/seccomp.c, net/core/filter.c)."""

from __future__ import annotations

import struct
from collections.abc import Callable
from errno import EINVAL, ENOSYS
from typing import TYPE_CHECKING

from pyprobe.runtime.user.errors import MAX_ERRNO, Errno
from pyprobe.runtime.user.signals import Sig, SigInfo, force
from pyprobe.runtime.user.words import U32

if TYPE_CHECKING:
    from pyprobe.runtime.user.kernel import Kernel
    from pyprobe.runtime.user.task import Task

BPF_MAXINSNS = 4096
MEMWORDS = 16
ARCHES = {"x86_64": 0xC000003E, "arm64": 0xC00000B7}  # AUDIT_ARCH_*
KILL_PROCESS, KILL_THREAD, TRAP, ERRNO, USER_NOTIF, TRACE, LOG, ALLOW = (
    0x80000000, 0, 0x00030000, 0x00050000, 0x7FC00000, 0x7FF00000, 0x7FFC0000, 0x7FFF0000,
)  # fmt: skip
ACTIONS = (KILL_PROCESS, KILL_THREAD, TRAP, ERRNO, LOG, ALLOW)
ACTION_MASK, DATA_MASK = 0xFFFF0000, 0xFFFF
SYS_SECCOMP = 1  # si_code

Instruction = tuple[int, int, int, int]

# include/uapi/linux/bpf_common.h; those seccomp allows
_LD_ABS, _LD_LEN, _LDX_LEN, _RET_K, _RET_A, _LD_IMM, _LDX_IMM = 0x20, 0x80, 0x81, 0x06, 0x16, 0x00, 0x01
_LD_MEM, _LDX_MEM, _ST, _STX, _TAX, _TXA, _NEG, _JA = 0x60, 0x61, 0x02, 0x03, 0x07, 0x87, 0x84, 0x05
_ALU: dict[int, Callable[[int, int], int]] = {
    0x00: lambda a, b: a + b, 0x10: lambda a, b: a - b, 0x20: lambda a, b: a * b, 0x30: lambda a, b: a // b,
    0x40: lambda a, b: a | b, 0x50: lambda a, b: a & b, 0x60: lambda a, b: a << b, 0x70: lambda a, b: a >> b,
    0xA0: lambda a, b: a ^ b,
}  # fmt: skip
_JUMP: dict[int, Callable[[int, int], object]] = {
    0x10: lambda a, b: a == b, 0x20: lambda a, b: a > b, 0x30: lambda a, b: a >= b, 0x40: lambda a, b: a & b,
}  # fmt: skip
_SIMPLE = frozenset((_LD_LEN, _LDX_LEN, _RET_K, _RET_A, _LD_IMM, _LDX_IMM, _TAX, _TXA, _NEG))
DATA_SIZE = 64  # struct seccomp_data


class Filter:
    """A checked program and the older ones that run too."""

    def __init__(self, program: tuple[Instruction, ...], older: Filter | None) -> None:
        self.program = program
        self.older = older


def check(program: tuple[Instruction, ...]) -> None:
    """Raise Errno(EINVAL) for a program that the kernel would refuse (bpf_check_classic, seccomp_check_filter)."""
    size = len(program)
    if not 0 < size <= BPF_MAXINSNS or program[-1][0] not in (_RET_K, _RET_A):
        raise Errno(EINVAL)
    for at, (code, yes, no, k) in enumerate(program):
        kind = code & 7
        if code == _LD_ABS:
            good = k < DATA_SIZE and k % 4 == 0
        elif code in (_LD_MEM, _LDX_MEM, _ST, _STX):
            good = k < MEMWORDS
        elif code == _JA:
            good = k < size - at - 1
        elif kind == 4 and code != _NEG:
            operation, constant = code & 0xF0, not code & 8
            good = operation in _ALU and not (constant and ((operation == 0x30 and not k) or (operation in (0x60, 0x70) and k > 31)))
        elif kind == 5:
            good = code & 0xF0 in _JUMP and at + max(yes, no) + 1 < size
        else:
            good = code in _SIMPLE
        if not good:
            raise Errno(EINVAL)


def run(program: tuple[Instruction, ...], data: bytes) -> int:
    """What a checked program returns for a struct seccomp_data."""
    a = x = 0
    memory = [0] * MEMWORDS
    at = 0
    while True:
        code, yes, no, k = program[at]
        at += 1
        kind = code & 7
        if code == _LD_ABS:
            a = int.from_bytes(data[k : k + 4], "little")
        elif kind == 5:
            if code == _JA:
                at += k
            else:
                at += yes if _JUMP[code & 0xF0](a, x if code & 8 else k) else no
        elif kind == 6:
            return k if code == _RET_K else a
        elif code == _NEG:
            a = -a & U32
        elif kind == 4:
            operand = x if code & 8 else k
            if code & 0xF0 == 0x30 and not operand:
                return 0
            a = _ALU[code & 0xF0](a, operand & 31 if code & 0xF0 in (0x60, 0x70) else operand) & U32
        elif kind in (0, 1):
            value = {_LD_LEN: DATA_SIZE, _LDX_LEN: DATA_SIZE, _LD_IMM: k, _LDX_IMM: k}.get(code)
            value = memory[k] if value is None else value
            a, x = (value, x) if kind == 0 else (a, value)
        elif kind in (2, 3):
            memory[k] = a if kind == 2 else x
        elif code == _TAX:
            x = a
        else:
            a = x


def decide(k: Kernel, t: Task, number: int, arguments: tuple[int, ...]) -> int | None:
    """Do what the task's filters say of a system call: None to make it, else its result. A signal may be forced."""
    from pyprobe.runtime.user import ptrace  # here, because that module needs this one

    engine = t.process.engine
    pc = engine.get(engine.arch.pc)
    data = struct.pack("<IIQ6Q", number, ARCHES[t.process.arch], pc, *arguments)
    worst = ALLOW
    at = t.seccomp
    while at is not None:
        result = run(at.program, data)
        action = result & ACTION_MASK
        if _order(action) < _order(worst & ACTION_MASK):
            worst = result
        at = at.older
    action, of = worst & ACTION_MASK, worst & DATA_MASK
    if action in (ALLOW, LOG):
        return None
    if action == ERRNO:
        return -min(of, MAX_ERRNO)
    if action == TRAP:
        force(k, t, SigInfo(Sig.SYS, SYS_SECCOMP, struct.pack("<QiI", pc, number, ARCHES[t.process.arch]) + b"\0" * 8))
        return number if t.process.arch == "x86_64" else arguments[0]
    if action == TRACE and t.tracing is not None and t.tracing.enabled(ptrace.EVENT_SECCOMP):
        if t.tracing.phase is not ptrace.Phase.FILTERED:
            t.tracing.phase = ptrace.Phase.FILTERED
            ptrace.event(k, t.tracing, ptrace.EVENT_SECCOMP, of)
        return None
    if action in (TRACE, USER_NOTIF):
        return -ENOSYS  # nobody listens
    if action == KILL_THREAD and len(t.process.threads) > 1:
        k.do_exit(Sig.SYS)
    k.note_death(t, SigInfo(Sig.SYS, SYS_SECCOMP))
    k.begin_group_exit(t.process, Sig.SYS)
    return -ENOSYS


def _order(action: int) -> int:
    """Actions by precedence: the kernel compares them as signed numbers."""
    return action - (1 << 32) if action >> 31 else action


def install(k: Kernel, t: Task, address: int, everywhere: bool) -> None:
    """Add the program of a struct sock_fprog. everywhere: to all threads. Raises Errno, MemoryFault."""
    length, pointer = struct.unpack("<H6xQ", t.space.read(address, 16))
    if not 0 < length <= BPF_MAXINSNS:
        raise Errno(EINVAL)
    program: tuple[Instruction, ...] = tuple((c, j, n, v) for c, j, n, v in struct.iter_unpack("<HBBI", t.space.read(pointer, 8 * length)))
    check(program)
    t.seccomp = Filter(program, t.seccomp)
    if everywhere:
        for other in t.process.threads.values():
            other.seccomp = t.seccomp
    k.entry.watched = True


STRICT = ("read", "write", "exit", "rt_sigreturn")


def strict(k: Kernel, t: Task) -> None:
    """SECCOMP_MODE_STRICT as a filter: four calls, and death for every other."""
    table = k.syscalls.table(t.process.arch)
    numbers = sorted(number for number, syscall in table.items() if syscall.name in STRICT)
    tests = [(0x15, len(numbers) - i, 0, number) for i, number in enumerate(numbers)]
    t.seccomp = Filter(((_LD_ABS, 0, 0, 0), *tests, (_RET_K, 0, 0, KILL_THREAD), (_RET_K, 0, 0, ALLOW)), t.seccomp)
    k.entry.watched = True
