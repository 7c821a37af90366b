"""arm64: registers and the syscall convention.

Register names are those of bpftrace's `reg()`, plus x0..x30 and the few the kernel needs. The syscall convention is that
of the kernel (arch/arm64/kernel/syscall.c): number in x8, arguments in x0 to x5, result in x0.
"""

from __future__ import annotations

import ctypes
from ctypes import c_uint32, c_uint64, c_void_p
from typing import TYPE_CHECKING, NamedTuple

from pyprobe.runtime.machine.arch import Arch, BreakpointTrap
from pyprobe.runtime.machine.cpu_state import peek
from pyprobe.runtime.machine.library import HANDLE_CPU

if TYPE_CHECKING:
    from pyprobe.runtime.machine.engine import Engine

# uc_arm64_reg
_X0, _X29, _X30, _SP, _PC, _TPIDR_EL0, _PSTATE, _FPCR, _FPSR, _CPACR = 199, 1, 2, 4, 260, 262, 265, 291, 292, 261

_Q0 = 104
_X = [_X0 + i for i in range(29)] + [_X29, _X30]

REGISTERS = {
    **{f"x{i}": number for i, number in enumerate(_X)},
    **{f"r{i}": number for i, number in enumerate(_X)},
    **{f"regs[{i}]": number for i, number in enumerate(_X)},
    "fp": _X29,
    "lr": _X30,
    "sp": _SP,
    "pc": _PC,
    "pstate": _PSTATE,
    "tls": _TPIDR_EL0,
    "tpidr_el0": _TPIDR_EL0,
    "fpcr": _FPCR,
    "fpsr": _FPSR,
    "cpacr_el1": _CPACR,
}

STATE = {
    **{f"{prefix}{i}{suffix}": 8 * i for prefix, suffix in (("x", ""), ("r", ""), ("regs[", "]")) for i in range(31)},
    "fp": 8 * 29,
    "lr": 8 * 30,
    "sp": 8 * 31,
}


COUNTER_HZ = 62_500_000  # what CNTFRQ_EL0 says
_COUNTER_NS = 1_000_000_000 // COUNTER_HZ
CP_REG = 290  # uc_arm64_reg: any system register, by its operands


class SystemRegister(NamedTuple):
    """The operands by which MRS and MSR name a system register."""

    op0: int
    op1: int
    crn: int
    crm: int
    op2: int


SCTLR_EL1, CNTKCTL_EL1 = SystemRegister(3, 0, 1, 0, 0), SystemRegister(3, 0, 14, 1, 0)
CNTPCT_EL0, CNTVCT_EL0 = SystemRegister(3, 3, 14, 0, 1), SystemRegister(3, 3, 14, 0, 2)
RNDR, RNDRRS = SystemRegister(3, 3, 2, 4, 0), SystemRegister(3, 3, 2, 4, 1)

# As the kernel sets them for programs (INIT_SCTLR_EL1_MMU_ON, arch_timer_set_cntkctl): DC ZVA, CTR_EL0, cache maintenance and the
# virtual counter are allowed in EL0.
_SCTLR_USER = 1 << 14 | 1 << 15 | 1 << 26
_CNTKCTL_USER = 1 << 1

# The emulator's own description of system registers (CPUARMState, ARMCPU, ARMCPRegInfo), for what its interface has no function for.
# Offsets are in bytes, of the table from x0; nothing is touched unless the handle's pointer to the CPU says the same.
_CPU_X0, _TABLE = 0xA350 + 0x40, 0xD510 - 0xA350 - 0x40
_ENTRY_NAME, _ENTRY_ACCESS, _ENTRY_READ = 0, 24, 80
_READ = ctypes.CFUNCTYPE(c_uint64, c_void_p, c_void_p)


class CpReg(ctypes.Structure):
    """uc_arm64_cp_reg"""

    _fields_ = [(name, c_uint32) for name in ("crn", "crm", "op0", "op1", "op2")] + [("val", c_uint64)]


def _setup(engine: Engine) -> None:
    engine.syscall_interrupt(2)  # EXCP_SWI of the emulator: SVC
    _change(engine, SCTLR_EL1, _SCTLR_USER)
    _change(engine, CNTKCTL_EL1, _CNTKCTL_USER)
    engine.set("pstate", 0)  # EL0, so that privileged instructions are undefined; the emulator starts in EL1
    _change(engine, CNTKCTL_EL1, 0)  # a write of a system register makes the emulator notice the new exception level
    _provide(engine)


def _change(engine: Engine, register: SystemRegister, bits: int) -> None:
    """Set bits of a system register."""
    op0, op1, crn, crm, op2 = register
    operand = CpReg(crn, crm, op0, op1, op2, 0)
    engine.library.uc_reg_read(engine.uc, CP_REG, ctypes.byref(operand))
    operand.val |= bits
    engine.library.uc_reg_write(engine.uc, CP_REG, ctypes.byref(operand))


def _provide(engine: Engine) -> None:
    """The counter is the clock, not the host's; RNDR, which would be the host's randomness, is undefined, as AT_HWCAP2 says."""
    cpu = engine.cpu_state - _CPU_X0
    if not engine.cpu_state_found or _word(engine.uc + HANDLE_CPU) != cpu:
        return
    table = _word(engine.cpu_state + _TABLE)
    lookup = ctypes.PYFUNCTYPE(c_void_p, c_void_p, c_uint32)(engine.function("get_arm_cp_reginfo_aarch64"))

    def entry(register: SystemRegister, name: bytes) -> int:
        op0, op1, crn, crm, op2 = register
        found: int = lookup(table, 1 << 28 | 0x13 << 16 | op0 << 14 | op1 << 11 | crn << 7 | crm << 3 | op2) or 0
        return found if found and peek(_word(found + _ENTRY_NAME), len(name) + 1) == name + b"\0" else 0

    reader = _READ(lambda env, which: engine.clock.now() // _COUNTER_NS)
    engine.keep(reader)
    for register, name in ((CNTPCT_EL0, b"CNTPCT_EL0"), (CNTVCT_EL0, b"CNTVCT_EL0")):
        at = entry(register, name)
        if at:
            c_uint64.from_address(at + _ENTRY_READ).value = ctypes.cast(reader, c_void_p).value or 0
    for register, name in ((RNDR, b"RNDR"), (RNDRRS, b"RNDRRS")):
        at = entry(register, name)
        if at:
            c_uint32.from_address(at + _ENTRY_ACCESS).value = 0


def _word(address: int) -> int:
    return int.from_bytes(peek(address, 8), "little")


ARM64 = Arch(
    name="arm64",
    uc_arch=2,
    uc_mode=0,
    cpu_model=3,  # the model with every feature the emulator has
    page_size_4k=True,
    registers=REGISTERS,
    state=STATE,
    state_pc=0x100,
    magic=("x0", "x1", "x2", "x3"),
    number="x8",
    arguments=("x0", "x1", "x2", "x3", "x4", "x5"),
    result="x0",
    pc="pc",
    sp="sp",
    initial={"cpacr_el1": 3 << 20},  # floating point is not trapped
    vectors=tuple(range(_Q0, _Q0 + 32)),
    invalidate_symbol="tb_invalidate_phys_range_aarch64",
    repeats=lambda code: False,
    setup=_setup,
    without_translation=lambda engine: None,
    syscall_traces=None,
    trapped=lambda engine, number: None,
    breakpoint=BreakpointTrap(number=7, size=4, advance=0, jump=4),  # BRK (EXCP_BKPT of the emulator); B
    tag_bits=0xFF << 56,  # TCR_EL1.TBI0, which the kernel sets (Documentation/arm64/tagged-pointers.rst)
)
