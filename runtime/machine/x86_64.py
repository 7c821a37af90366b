"""x86-64: registers, the syscall convention, and the instructions that the machine answers itself.

Register names are those of bpftrace's `reg()`, plus the 64-bit names and the few the kernel needs. The syscall
convention is that of the System V ABI, AMD64 supplement, appendix A.2.1.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pyprobe.runtime.machine.arch import Arch

if TYPE_CHECKING:
    from pyprobe.runtime.machine.engine import Engine

# uc_x86_reg, uc_x86_insn
_GENERAL = ("ax", "cx", "dx", "bx", "sp", "bp", "si", "di")  # in the order of their encoding, which is that of the CPU state
_UC_GENERAL = (35, 38, 40, 37, 44, 36, 43, 39)
_R8, _RIP, _EFLAGS, _CS, _SS, _FS_BASE, _GS_BASE, _FPCW, _MXCSR = 106, 41, 25, 11, 49, 250, 251, 246, 249
INS_CPUID, INS_RDTSC, INS_RDTSCP, INS_SYSCALL = 113, 608, 609, 699

REGISTERS = {
    **dict(zip(_GENERAL, _UC_GENERAL, strict=True)),
    **{"r" + name: number for name, number in zip(_GENERAL, _UC_GENERAL, strict=True)},
    **{f"r{i}": _R8 + i - 8 for i in range(8, 16)},
    "ip": _RIP,
    "pc": _RIP,
    "rip": _RIP,
    "flags": _EFLAGS,
    "cs": _CS,
    "ss": _SS,
    "fs_base": _FS_BASE,
    "gs_base": _GS_BASE,
    "tls": _FS_BASE,
    "fpcw": _FPCW,
    "mxcsr": _MXCSR,
}

STATE = {
    **{name: 8 * i for i, name in enumerate(_GENERAL)},
    **{"r" + name: 8 * i for i, name in enumerate(_GENERAL)},
    **{f"r{i}": 8 * i for i in range(8, 16)},
}


def _setup(engine: Engine) -> None:
    engine.hook_instruction(INS_SYSCALL, engine.callbacks.syscall)
    engine.hook_instruction_skip(INS_RDTSC, lambda: _rdtsc(engine))
    engine.hook_instruction_skip(INS_RDTSCP, lambda: _rdtscp(engine))


def _rdtsc(engine: Engine) -> None:
    """The time-stamp counter runs at 1 GHz, so it is the clock."""
    now = engine.clock.now()
    engine.set("rax", now & 0xFFFF_FFFF)
    engine.set("rdx", now >> 32)


def _rdtscp(engine: Engine) -> None:
    _rdtsc(engine)
    engine.set("rcx", 0)  # IA32_TSC_AUX: node and number of the only CPU


X86_64 = Arch(
    name="x86_64",
    uc_arch=4,
    uc_mode=8,
    cpu_model=19,  # Haswell, which libunicorn has without AVX; the others lack what today's libc wants
    page_size_4k=False,
    registers=REGISTERS,
    state=STATE,
    magic=("rax", "rcx", "rdx", "rbx"),
    number="rax",
    arguments=("rdi", "rsi", "rdx", "r10", "r8", "r9"),
    result="rax",
    pc="rip",
    sp="rsp",
    initial={"mxcsr": 0x1F80, "fpcw": 0x37F},  # what the kernel gives a new process
    invalidate_symbol="tb_invalidate_phys_range_x86_64",
    setup=_setup,
)
