"""x86-64: registers, the syscall convention, and the instructions that the machine answers itself.

Register names are those of bpftrace's `reg()`, plus the 64-bit names and the few the kernel needs. The syscall
convention is that of the System V ABI, AMD64 supplement, appendix A.2.1.
"""

from __future__ import annotations

import ctypes
import struct
from typing import TYPE_CHECKING

from pyprobe.runtime.machine.arch import Arch, BreakpointTrap
from pyprobe.runtime.machine.cpu_state import peek

if TYPE_CHECKING:
    from pyprobe.runtime.machine.engine import Engine

# uc_x86_reg, uc_x86_insn
_GENERAL = ("ax", "cx", "dx", "bx", "sp", "bp", "si", "di")  # in the order of their encoding, which is that of the CPU state
_UC_GENERAL = (35, 38, 40, 37, 44, 36, 43, 39)
_R8, _RIP, _EFLAGS, _CS, _SS, _FS_BASE, _GS_BASE, _FPCW, _MXCSR = 106, 41, 25, 11, 49, 250, 251, 246, 249
_FPSW, _FPTAG, _ST0, _XMM0, _CR0 = 31, 247, 114, 122, 50
INS_CPUID, INS_RDTSC, INS_RDTSCP, INS_SYSCALL, INS_IN, INS_OUT = 113, 608, 609, 699, 218, 500
GENERAL_PROTECTION = 13  # the vector of #GP
_CR0_MP, _CR0_NE = 1 << 1, 1 << 5  # x87 errors are exceptions

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
    "fpsw": _FPSW,
    "fptag": _FPTAG,
    "mxcsr": _MXCSR,
    "cr0": _CR0,
}

STATE = {
    **{name: 8 * i for i, name in enumerate(_GENERAL)},
    **{"r" + name: 8 * i for i, name in enumerate(_GENERAL)},
    **{f"r{i}": 8 * i for i in range(8, 16)},
}


# CPUID, answered from this table so that a program sees one processor on every host: the Haswell model, less RDRAND (host
# randomness), less BMI1 and BMI2 (the emulator computes some of them wrongly: BEXTR, BZHI, the carry of BLSI), as Haswells without AVX
# are, less the hypervisor bit, XSAVE without the AVX state. (leaf, subleaf) -> eax, ebx, ecx, edx; subleaf None: any.
_BRAND = b"Intel Core Processor (Haswell)".ljust(48, b"\0")
CPUID: dict[tuple[int, int | None], tuple[int, int, int, int]] = {
    (0x0, None): (0xD, 0x756E_6547, 0x6C65_746E, 0x4965_6E69),
    (0x1, None): (0x306C4, 0x800, 0x0ED8_2203, 0x078B_FBFD),
    (0x2, None): (0x1, 0, 0, 0x2C_307D),
    (0x4, 0): (0x121, 0x1C0_003F, 0x3F, 0x1),
    (0x4, 1): (0x122, 0x1C0_003F, 0x3F, 0x1),
    (0x4, 2): (0x143, 0x3C0_003F, 0xFFF, 0x1),
    (0x5, None): (0, 0, 3, 0),
    (0x6, None): (4, 0, 0, 0),
    (0x7, 0): (0, 0x281, 0, 0),
    (0xD, 0): (0x3, 0x240, 0x240, 0),
    (0xD, 1): (0x1, 0, 0, 0),
    (0x8000_0000, None): (0x8000_0008, 0x756E_6547, 0x6C65_746E, 0x4965_6E69),
    (0x8000_0001, None): (0x306C4, 0, 0x21, 0x2810_0800),
    **{(0x8000_0002 + i, None): struct.unpack("<4I", _BRAND[16 * i : 16 * i + 16]) for i in range(3)},
    (0x8000_0005, None): (0x1FF_01FF, 0x1FF_01FF, 0x4002_0140, 0x4002_0140),
    (0x8000_0006, None): (0, 0x4200_4200, 0x200_8140, 0),
    (0x8000_0008, None): (0x3028, 0, 0, 0),
}

# The CPU state of the emulator (CPUX86State), for two things its interface has no function for. Offsets are in bytes from
# the first general register, and nothing is touched unless the content is what it must be.
_HFLAGS, _HF_CPL, _HF_CS64 = 176, 3, 1 << 15
_FEATURES_END = 0x4000
_FEATURE_WORDS = (0x078B_FBFD, 0xC6D8_2203)  # CPUID leaf 1, edx and ecx, as the decoder of instructions knows them
_REFUSED = ((1, 1 << 30), (2, 1 << 3 | 1 << 8))  # words of features, and bits: RDRAND; BMI1, BMI2
_USER_CS, _USER_DS = 0x33, 0x2B  # __USER_CS, __USER_DS of the kernel

_STRING_OPCODES = [bytes([opcode]) for opcode in (0xA4, 0xA5, 0xA6, 0xA7, 0xAA, 0xAB, 0xAC, 0xAD, 0xAE, 0xAF)]
_INPUT, _OUTPUT = frozenset({"in", "insb", "insw", "insd"}), frozenset({"out", "outsb", "outsw", "outsd"})
_CONTRIBUTORY = (0, 8, 10, 11, 12, 13)


def _repeats(code: bytes) -> bool:
    """A string instruction with a REP prefix, behind an operand-size and before a REX prefix perhaps."""
    code = code.lstrip(b"\x66")
    if code[:1] not in (b"\xf2", b"\xf3"):
        return False
    code = code[1:].lstrip(b"\x66")
    opcode = code[1:2] if code and 0x40 <= code[0] <= 0x4F else code[:1]
    return opcode in _STRING_OPCODES


def _setup(engine: Engine) -> None:
    engine.hook_instruction(INS_SYSCALL, engine.callbacks.syscall)
    engine.hook_instruction_skip(INS_CPUID, lambda: _cpuid(engine))
    engine.hook_instruction_skip(INS_RDTSC, lambda: _rdtsc(engine))
    engine.hook_instruction_skip(INS_RDTSCP, lambda: _rdtscp(engine))
    engine.set("cr0", engine.get("cr0") | _CR0_MP | _CR0_NE)
    engine.set("cs", _USER_CS)
    engine.set("ss", _USER_DS)
    if engine.cpu_state_found:
        _drop_privileges(engine)
        _refuse(engine)


def _refuse_ports(engine: Engine) -> None:
    for instruction, mnemonics in ((INS_IN, _INPUT), (INS_OUT, _OUTPUT)):
        engine.hook_port(instruction, GENERAL_PROTECTION, mnemonics)


def _drop_privileges(engine: Engine) -> None:
    """Ring 3, so that `hlt`, `cli` and their like fault; the emulator starts in ring 0 and has no function to leave it."""
    hflags = ctypes.c_uint32.from_address(engine.cpu_state + _HFLAGS)
    if hflags.value & (_HF_CS64 | _HF_CPL) == _HF_CS64:
        hflags.value |= _HF_CPL


def _refuse(engine: Engine) -> None:
    """Make undefined what CPUID says is not there."""
    state = peek(engine.cpu_state, _FEATURES_END)
    at = state.find(struct.pack("<2Q", *_FEATURE_WORDS))
    for word, bits in _REFUSED if at >= 0 else ():
        ctypes.c_uint64.from_address(engine.cpu_state + at + 8 * word).value &= ~bits


def _trapped(engine: Engine, number: int) -> None:
    """The emulator believes that an exception is still being delivered, and would make the next one a double fault."""
    if number in _CONTRIBUTORY:
        engine.forget_exception(number)


def _cpuid(engine: Engine) -> None:
    leaf, subleaf = engine.get("rax") & 0xFFFF_FFFF, engine.get("rcx") & 0xFFFF_FFFF
    answer = CPUID.get((leaf, None)) or CPUID.get((leaf, subleaf), (0, 0, 0, 0))
    for name, value in zip(("rax", "rbx", "rcx", "rdx"), answer, strict=True):
        engine.set(name, value)


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
    state_pc=128,
    magic=("rax", "rcx", "rdx", "rbx"),
    number="rax",
    arguments=("rdi", "rsi", "rdx", "r10", "r8", "r9"),
    result="rax",
    pc="rip",
    sp="rsp",
    initial={"mxcsr": 0x1F80, "fpcw": 0x37F, "fptag": 0xFFFF, "flags": 0x202},  # as a new process finds them: IF is set, bit 1 always
    vectors=(*range(_ST0, _ST0 + 8), *range(_XMM0, _XMM0 + 16)),  # as FXSAVE stores them
    invalidate_symbol="tb_invalidate_phys_range_x86_64",
    repeats=_repeats,
    setup=_setup,
    without_translation=_refuse_ports,
    syscall_traces=("rcx", "r11", "flags"),  # Intel SDM, SYSCALL; the emulator leaves it out, and a program can see it
    trapped=_trapped,
    breakpoint=BreakpointTrap(number=3, size=1, advance=1, jump=5),  # INT3; JMP rel32
    tag_bits=0,
)
