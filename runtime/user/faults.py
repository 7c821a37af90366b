"""Page faults, told to probes; and which signal a processor's exception becomes (arch/*/mm/fault.c, arch/*/kernel/traps.c)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pyprobe.runtime.machine.memory import PRESENT, R, W, X
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
    from pyprobe.runtime.user.kernel import Kernel

# include/linux/mm_types.h, arch/x86/include/asm/trap_pf.h
VM_FAULT_MAJOR = 4
FAULT_FLAG_WRITE, FAULT_FLAG_TRIED, FAULT_FLAG_USER, FAULT_FLAG_INSTRUCTION = 0x1, 0x20, 0x40, 0x100
X86_PF_PROT, X86_PF_WRITE, X86_PF_USER, X86_PF_INSTR = 1, 2, 4, 16

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


def happened(k: Kernel, space: AddressSpace, address: int, major: bool, access: int) -> None:
    """A program, or the kernel on its behalf, has been given a page it touched."""
    task = k.current
    if task is None or task.space is not space or k.looking:
        return
    k.looking = True  # what a probe's handler reads is no fault of the program's
    try:
        tp = k.tracepoints.page_fault_user
        if tp.callbacks and task.syscall is None:
            error = X86_PF_USER | (access & W and X86_PF_WRITE) | (access & X and X86_PF_INSTR) | (access & PRESENT and X86_PF_PROT)
            tp.fire(address, task.process.engine.get("pc"), error)
        flags = FAULT_FLAG_USER if task.syscall is None else 0
        flags |= (access & W and FAULT_FLAG_WRITE) | (access & X and FAULT_FLAG_INSTRUCTION) | (major and FAULT_FLAG_TRIED)
        k.handle_mm_fault(space.find(address), address, flags, task.registers)
    finally:
        k.looking = False
