"""arm64: registers and the syscall convention.

Register names are those of bpftrace's `reg()`, plus x0..x30 and the few the kernel needs. The syscall convention is that
of the kernel (arch/arm64/kernel/syscall.c): number in x8, arguments in x0 to x5, result in x0.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pyprobe.runtime.machine.arch import Arch, BreakpointTrap

if TYPE_CHECKING:
    from pyprobe.runtime.machine.engine import Engine

# uc_arm64_reg
_X0, _X29, _X30, _SP, _PC, _TPIDR_EL0, _PSTATE, _FPCR, _FPSR, _CPACR = 199, 1, 2, 4, 260, 262, 265, 291, 292, 261

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


def _setup(engine: Engine) -> None:
    engine.syscall_interrupt(2)  # EXCP_SWI of the emulator: SVC


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
    invalidate_symbol="tb_invalidate_phys_range_aarch64",
    repeats=lambda code: False,
    setup=_setup,
    syscall_traces=None,
    trapped=lambda engine, number: None,
    breakpoint=BreakpointTrap(number=7, size=4, advance=0, jump=4),  # BRK (EXCP_BKPT of the emulator); B
)
