"""The registers of a stopped tracee, in the layouts that ptrace(2) gives them.

References: arch/x86/include/asm/user_64.h, arch/x86/kernel/{ptrace,fpu/regset}.c, Intel SDM volume 1, section 10.5.1 (FXSAVE);
arch/arm64/include/uapi/asm/ptrace.h, arch/arm64/kernel/ptrace.c.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from errno import EIO
from typing import TYPE_CHECKING, NamedTuple

from pyprobe.runtime.machine.memory import TASK_SIZE
from pyprobe.runtime.user.errors import Errno
from pyprobe.runtime.user.pt_regs import ARM64, USER_SEGMENTS, X86_64
from pyprobe.runtime.user.signal_frames import register_tags, registers_used
from pyprobe.runtime.user.words import U32, U64, s32, s64

if TYPE_CHECKING:
    from pyprobe.runtime.user.ptrace import Tracing

# include/uapi/linux/elf.h
NT_PRSTATUS, NT_PRFPREG, NT_X86_XSTATE, NT_ARM_TLS, NT_ARM_HW_BREAK, NT_ARM_HW_WATCH, NT_ARM_SYSTEM_CALL = (
    1, 2, 0x202, 0x401, 0x402, 0x403, 0x404,
)  # fmt: skip

USER_REGS = (*X86_64, "fs_base", "gs_base", "ds", "es", "fs", "gs")  # struct user_regs_struct
USER_SIZE, DEBUG_REGISTERS = 912, 848  # struct user, and where u_debugreg begins
_NO_SELECTORS = ("ds", "es", "fs", "gs")
_BASES = ("fs_base", "gs_base")
_FLAGS_SETTABLE = 0x54DD5  # FLAG_MASK
_PSTATE_SETTABLE = 0xF000_0000

_FX_HEAD = struct.Struct("<HHBxHQQII")
_FX_SIZE = 512
_MXCSR_MASK = 0xFFFF
_XFEATURES = 3  # x87 and SSE, as CPUID says
_XSAVE_XCR0, _XSAVE_HEADER = 464, 512
_DEBUG_ARCH = 6 << 8  # of ARMv8.0, with no registers for breakpoints


class Regset(NamedTuple):
    """One set: its unit in bytes, how it is read, and how it is set from as many bytes as there are (None: read only)."""

    unit: int
    read: Callable[[Tracing], bytes]
    write: Callable[[Tracing, bytes], None] | None


def get_register(tracing: Tracing, name: str) -> int:
    """A register of struct user_regs_struct."""
    task = tracing.task
    if name == "orig_ax":
        return tracing.number & U64
    if name in USER_SEGMENTS:
        return USER_SEGMENTS[name]
    if name in _NO_SELECTORS:
        return 0
    return task.process.engine.context_get(task.context, name)


def set_register(tracing: Tracing, name: str, value: int) -> None:
    """Set one. Raises Errno(EIO) for a selector or base that no program can have."""
    task = tracing.task
    engine = task.process.engine
    if name == "orig_ax":
        tracing.number = s64(value)
    elif name in USER_SEGMENTS or name in _NO_SELECTORS:
        if value & 0xFFFF and value & 3 != 3:
            raise Errno(EIO)
    elif name in _BASES and value >= TASK_SIZE:
        raise Errno(EIO)
    elif name == "flags":
        kept = engine.context_get(task.context, name) & ~_FLAGS_SETTABLE
        engine.context_set(task.context, name, kept | value & _FLAGS_SETTABLE)
    else:
        engine.context_set(task.context, name, value)


def _general_x86_64(tracing: Tracing) -> bytes:
    return struct.pack("<27Q", *(get_register(tracing, name) for name in USER_REGS))


def _set_general_x86_64(tracing: Tracing, data: bytes) -> None:
    for name, (value,) in zip(USER_REGS, struct.iter_unpack("<Q", data), strict=False):
        set_register(tracing, name, value)


def _fxsave(tracing: Tracing) -> bytes:
    task = tracing.task
    engine, context = task.process.engine, task.context
    control, status, tags, mxcsr = (engine.context_get(context, name) for name in ("fpcw", "fpsw", "fptag", "mxcsr"))
    head = _FX_HEAD.pack(control & 0xFFFF, status & 0xFFFF, registers_used(tags), 0, 0, 0, mxcsr & U32, _MXCSR_MASK)
    return (head + engine.context_vectors(context)).ljust(_FX_SIZE, b"\0")


def _set_fxsave(tracing: Tracing, data: bytes) -> None:
    task = tracing.task
    engine, context = task.process.engine, task.context
    data = data + _fxsave(tracing)[len(data) :]
    control, status, used, _, _, _, mxcsr, _ = _FX_HEAD.unpack_from(data)
    for name, value in (("fpcw", control), ("fpsw", status), ("fptag", register_tags(used)), ("mxcsr", mxcsr & _MXCSR_MASK)):
        engine.context_set(context, name, value)
    engine.context_set_vectors(context, data[_FX_HEAD.size :])


def _xsave(tracing: Tracing) -> bytes:
    area = bytearray(_fxsave(tracing) + bytes(64))
    struct.pack_into("<Q", area, _XSAVE_XCR0, _XFEATURES)
    struct.pack_into("<Q", area, _XSAVE_HEADER, _XFEATURES)
    return bytes(area)


def _set_xsave(tracing: Tracing, data: bytes) -> None:
    _set_fxsave(tracing, data[:_FX_SIZE])


def _general_arm64(tracing: Tracing) -> bytes:
    task = tracing.task
    return struct.pack("<34Q", *(task.process.engine.context_get(task.context, name) for name in ARM64))


def _set_general_arm64(tracing: Tracing, data: bytes) -> None:
    task = tracing.task
    for name, (value,) in zip(ARM64, struct.iter_unpack("<Q", data), strict=False):
        task.process.engine.context_set(task.context, name, value & _PSTATE_SETTABLE if name == "pstate" else value)


def _fpsimd(tracing: Tracing) -> bytes:
    task = tracing.task
    engine, context = task.process.engine, task.context
    return engine.context_vectors(context) + struct.pack("<II8x", *(engine.context_get(context, name) & U32 for name in ("fpsr", "fpcr")))


def _set_fpsimd(tracing: Tracing, data: bytes) -> None:
    task = tracing.task
    engine, context = task.process.engine, task.context
    data = data + _fpsimd(tracing)[len(data) :]
    engine.context_set_vectors(context, data[:512])
    for name, value in zip(("fpsr", "fpcr"), struct.unpack_from("<II", data, 512), strict=True):
        engine.context_set(context, name, value)


def _tls(tracing: Tracing) -> bytes:
    return tracing.task.process.engine.context_get(tracing.task.context, "tls").to_bytes(8, "little")


def _set_tls(tracing: Tracing, data: bytes) -> None:
    if len(data) == 8:
        tracing.task.process.engine.context_set(tracing.task.context, "tls", int.from_bytes(data, "little"))


def _set_call(tracing: Tracing, data: bytes) -> None:
    if len(data) == 4:
        tracing.number = s32(int.from_bytes(data, "little"))


_NO_DEBUG = Regset(8, lambda tracing: struct.pack("<Q", _DEBUG_ARCH), None)

REGSETS: dict[str, dict[int, Regset]] = {
    "x86_64": {
        NT_PRSTATUS: Regset(8, _general_x86_64, _set_general_x86_64),
        NT_PRFPREG: Regset(8, _fxsave, _set_fxsave),
        NT_X86_XSTATE: Regset(8, _xsave, _set_xsave),
    },
    "arm64": {
        NT_PRSTATUS: Regset(8, _general_arm64, _set_general_arm64),
        NT_PRFPREG: Regset(4, _fpsimd, _set_fpsimd),
        NT_ARM_TLS: Regset(8, _tls, _set_tls),
        NT_ARM_HW_BREAK: _NO_DEBUG,
        NT_ARM_HW_WATCH: _NO_DEBUG,
        NT_ARM_SYSTEM_CALL: Regset(4, lambda tracing: (tracing.number & U32).to_bytes(4, "little"), _set_call),
    },
}
