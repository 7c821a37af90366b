"""Which signal a processor's exception becomes (arch/x86/kernel/traps.c, arch/x86/mm/fault.c, arch/arm64/kernel/traps.c)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pyprobe.runtime.machine.memory import R, W, X
from pyprobe.runtime.user.signals import (
    BUS_ADRERR,
    FPE_INTDIV,
    ILL_ILLOPN,
    SEGV_ACCERR,
    SEGV_MAPERR,
    SI_KERNEL,
    TRAP_BRKPT,
    Sig,
    SigInfo,
)

if TYPE_CHECKING:
    from pyprobe.runtime.machine.memory import AddressSpace

# exception number of the emulated processor -> (signal, si_code); everything else is SIGSEGV, as a general protection fault is
TRAPS: dict[str, dict[int, tuple[Sig, int]]] = {
    "x86_64": {
        0: (Sig.FPE, FPE_INTDIV),
        1: (Sig.TRAP, TRAP_BRKPT),
        3: (Sig.TRAP, SI_KERNEL),
        6: (Sig.ILL, ILL_ILLOPN),
        16: (Sig.FPE, FPE_INTDIV),
        19: (Sig.FPE, FPE_INTDIV),
    },
    "arm64": {1: (Sig.ILL, ILL_ILLOPN), 7: (Sig.TRAP, TRAP_BRKPT)},
}


USER_TOP, KERNEL_BASE = 1 << 47, 0xFFFF_8000_0000_0000


def memory_signal(arch: str, space: AddressSpace, address: int, access: int) -> SigInfo:
    """The signal for an access that the page tables do not allow."""
    if arch == "x86_64" and USER_TOP <= address < KERNEL_BASE:  # no address at all: a general protection fault, which does not tell where
        return SigInfo(Sig.SEGV, SI_KERNEL)
    vma = space.find(address)
    if vma is None:
        return SigInfo.fault(Sig.SEGV, SEGV_MAPERR, address)
    allowed = vma.prot | (R if vma.prot & (W | X) else 0)
    if allowed & access:
        return SigInfo.fault(Sig.BUS, BUS_ADRERR, address)  # behind the end of the file
    return SigInfo.fault(Sig.SEGV, SEGV_ACCERR, address)


def trap_signal(arch: str, number: int, pc: int) -> SigInfo:
    """The signal for an exception that is not a page fault."""
    signo, code = TRAPS[arch].get(number, (Sig.SEGV, SI_KERNEL))
    return SigInfo.fault(signo, code, pc if signo != Sig.SEGV else 0)
