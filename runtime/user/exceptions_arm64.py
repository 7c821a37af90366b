"""Exceptions of arm64 processors as signals: arch/arm64/mm/fault.c, arch/arm64/kernel/traps.c; syndromes: arch/arm64/include/asm/esr.h."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pyprobe.runtime.machine.memory import TASK_SIZE, W, X
from pyprobe.runtime.user.exceptions import Raised, page_fault, present
from pyprobe.runtime.user.signals import BUS_ADRALN, ILL_ILLOPC, TRAP_BRKPT, Sig

if TYPE_CHECKING:
    from pyprobe.runtime.machine.engine import Engine
    from pyprobe.runtime.machine.memory import AddressSpace

# exceptions of the emulator (target/arm/cpu.h)
UDEF, PREFETCH_ABORT, DATA_ABORT, BKPT = 1, 3, 4, 7

EC_IABT_LOW, EC_DABT_LOW, EC_PC_ALIGN, EC_SP_ALIGN = 0x20, 0x24, 0x22, 0x26
IL, WNR = 1 << 25, 1 << 6
FSC_TRANSLATION_0, FSC_TRANSLATION_3, FSC_PERMISSION_3 = 0x04, 0x07, 0x0F


def memory(engine: Engine, space: AddressSpace, address: int, access: int) -> Raised:
    """An access that the page tables do not allow."""
    error = (EC_IABT_LOW if access == X else EC_DABT_LOW) << 26 | IL | (access & W and WNR)
    if address >= TASK_SIZE:
        error |= FSC_TRANSLATION_0  # set_thread_esr: programs do not learn what the kernel has mapped
    else:
        error |= FSC_PERMISSION_3 if present(space, address) else FSC_TRANSLATION_3
    return Raised(*page_fault(space, address, access), address, 0, error, address)


def trap(engine: Engine, space: AddressSpace, number: int) -> Raised:
    """Any other exception."""
    pc = engine.get("pc")
    if number == BKPT:
        return Raised(Sig.TRAP, TRAP_BRKPT, pc)
    if number == PREFETCH_ABORT and pc % 4:
        return Raised(Sig.BUS, BUS_ADRALN, pc, 0, EC_PC_ALIGN << 26 | IL, 0)
    return Raised(Sig.ILL, ILL_ILLOPC, pc, 0, 0, 0)
