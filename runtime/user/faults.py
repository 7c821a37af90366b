"""Page faults, told to probes (handle_mm_fault, exceptions:page_fault_user)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pyprobe.runtime.machine.memory import PRESENT, W, X

if TYPE_CHECKING:
    from collections.abc import Callable

    from pyprobe.runtime.machine.memory import AddressSpace
    from pyprobe.runtime.user.kernel import Kernel

# include/linux/mm_types.h, arch/x86/include/asm/trap_pf.h
VM_FAULT_MAJOR = 4
FAULT_FLAG_WRITE, FAULT_FLAG_TRIED, FAULT_FLAG_USER, FAULT_FLAG_INSTRUCTION = 0x1, 0x20, 0x40, 0x100
X86_PF_PROT, X86_PF_WRITE, X86_PF_USER, X86_PF_INSTR = 1, 2, 4, 16


def happened(k: Kernel, space: AddressSpace, address: int, major: bool, access: int, resolve: Callable[[], None]) -> None:
    """A program, or the kernel on its behalf, touches a page that is not there, and is given it: `resolve`."""
    task = k.current
    if task is None or task.space is not space or k.looking:
        resolve()
        return
    k.looking = True  # what a probe's handler reads is no fault of the program's
    try:
        tp = k.tracepoints.page_fault_user
        if tp.callbacks and task.syscall is None:
            error = X86_PF_USER | (access & W and X86_PF_WRITE) | (access & X and X86_PF_INSTR) | (access & PRESENT and X86_PF_PROT)
            tp.fire(address, task.process.engine.get("pc"), error)
        flags = FAULT_FLAG_USER if task.syscall is None else 0
        flags |= (access & W and FAULT_FLAG_WRITE) | (access & X and FAULT_FLAG_INSTRUCTION) | (major and FAULT_FLAG_TRIED)
        k.handle_mm_fault(space.find(address), address, flags, task.registers, resolve)
    finally:
        k.looking = False
