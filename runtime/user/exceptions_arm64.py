"""Exceptions of arm64 processors as signals: arch/arm64/mm/fault.c, arch/arm64/kernel/traps.c; syndromes: arch/arm64/include/asm/esr.h."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pyprobe.runtime.machine.memory import PAGE, TASK_SIZE, W, X
from pyprobe.runtime.machine.translation import STACK_ALIGNMENT
from pyprobe.runtime.user.exceptions import Raised, page_fault, present
from pyprobe.runtime.user.signals import BUS_ADRALN, ILL_ILLOPC, TRAP_BRKPT, Sig

if TYPE_CHECKING:
    from pyprobe.runtime.machine.engine import Engine
    from pyprobe.runtime.machine.memory import AddressSpace

# exceptions of the emulator (target/arm/cpu.h)
DATA_ABORT, BKPT = 4, 7

EC_IABT_LOW, EC_DABT_LOW, EC_PC_ALIGN, EC_SP_ALIGN = 0x20, 0x24, 0x22, 0x26
IL, WNR = 1 << 25, 1 << 6
FSC_TRANSLATION_0, FSC_TRANSLATION_3, FSC_PERMISSION_3, FSC_ALIGNMENT = 0x04, 0x07, 0x0F, 0x21
TAGS = 0xFF << 56
_TABLES = (9, 18, 27)  # pages below an entry of the tables of levels 2, 1 and 0, as powers of two

# MRS of the registers that tell of the processor, which the kernel answers in its place (emulate_mrs): by CRm and op2.
# The rest of them reads as zero: no feature beyond those that HWCAP tells of; but those of CRm 0 are all that there are.
_MRS_ID, _MRS_ID_MASK = 0xD538_0000, 0xFFFF_F000
ID_REGISTERS = {
    (0, 0): 0x000F_0510,  # MIDR_EL1, as /proc/cpuinfo has it
    (0, 5): 1 << 31,  # MPIDR_EL1
    (0, 6): 0,  # REVIDR_EL1
    (4, 0): 0x11,  # ID_AA64PFR0_EL1: 64-bit only; floating point
    (5, 0): 0x6,  # ID_AA64DFR0_EL1
    (6, 0): 0x21_1120,  # ID_AA64ISAR0_EL1: AES and PMULL, SHA1, SHA2, CRC32, atomics
    (7, 0): 0x111_FF00_0000,  # ID_AA64MMFR0_EL1: no translation granules
}

_EXCLUSIVE, _EXCLUSIVE_MASK, _LOAD = 0x0800_0000, 0x3F00_0000, 1 << 22


def memory(engine: Engine, space: AddressSpace, address: int, access: int) -> Raised:
    """An access that the page tables do not allow."""
    error = (EC_IABT_LOW if access == X else EC_DABT_LOW) << 26 | IL | (access & W and WNR)
    if access != X and not address >> 55 & 1:
        address &= ~TAGS
    if address >= TASK_SIZE:
        error |= FSC_TRANSLATION_0  # set_thread_esr: programs do not learn what the kernel has mapped
    else:
        error |= FSC_PERMISSION_3 if present(space, address) else _level(space, address)
    return Raised(*page_fault(space, address, access), address, 0, error, address)


def _level(space: AddressSpace, address: int) -> int:
    """A translation fault's status: the level of the table that has no entry."""
    page = address // PAGE
    for missing, shift in enumerate(_TABLES):
        if any(known >> shift == page >> shift for known in space.pages):
            return FSC_TRANSLATION_3 - missing
    return FSC_TRANSLATION_0


def trap(engine: Engine, space: AddressSpace, number: int) -> Raised | None:
    """Any other exception. None: the kernel has done what the instruction asks for."""
    pc = engine.get("pc")
    if pc % 4:
        return Raised(Sig.BUS, BUS_ADRALN, pc, 0, EC_PC_ALIGN << 26 | IL, 0)
    if number == STACK_ALIGNMENT:
        return Raised(Sig.BUS, BUS_ADRALN, engine.get("sp"), 0, EC_SP_ALIGN << 26 | IL, 0)
    if number == BKPT:
        return Raised(Sig.TRAP, TRAP_BRKPT, pc)
    instruction = int.from_bytes(space.peek(pc, 4), "little")
    if number == DATA_ABORT:  # of those that need it; they name their address by a register alone
        base = instruction >> 5 & 31
        address = engine.get("sp" if base == 31 else f"r{base}") & ~TAGS
        store = instruction & _EXCLUSIVE_MASK == _EXCLUSIVE and not instruction & _LOAD
        return Raised(Sig.BUS, BUS_ADRALN, address, 0, EC_DABT_LOW << 26 | IL | FSC_ALIGNMENT | (WNR if store else 0), address)
    crm, op2 = instruction >> 8 & 15, instruction >> 5 & 7
    if instruction & _MRS_ID_MASK == _MRS_ID and (1 < crm < 8 or (crm, op2) in ID_REGISTERS):
        register = instruction & 31
        if register != 31:
            engine.set(f"r{register}", ID_REGISTERS.get((crm, op2), 0))
        engine.set("pc", pc + 4)
        return None
    return Raised(Sig.ILL, ILL_ILLOPC, pc, 0, 0, 0)
