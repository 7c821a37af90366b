"""What a processor's exception becomes: a signal, and what the signal's frame says of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from pyprobe.runtime.machine.memory import PAGE, R, W, X
from pyprobe.runtime.user.signals import BUS_ADRERR, SEGV_ACCERR, SEGV_MAPERR, Sig

if TYPE_CHECKING:
    from pyprobe.runtime.machine.engine import Engine, Stop
    from pyprobe.runtime.machine.memory import AddressSpace
    from pyprobe.runtime.user.task import Task


class Raised(NamedTuple):
    """An exception as a program is told of it.

    signo, code, address: of the siginfo. number, error: struct sigcontext's trapno and err of x86-64; arm64 has the syndrome as error.
    fault_address: cr2 or the frame's fault_address; None: it stays what it was.
    """

    signo: Sig
    code: int
    address: int = 0
    number: int = 0
    error: int = 0
    fault_address: int | None = None


def raised(task: Task, stop: Stop) -> Raised | None:
    """Judge why the engine has stopped in user code; the pc is put where the processor would have it. None: the task just goes on."""
    if task.process.arch == "x86_64":
        from pyprobe.runtime.user import exceptions_x86_64 as of_arch
    else:
        from pyprobe.runtime.user import exceptions_arm64 as of_arch  # type: ignore[no-redef]  # two modules with the same functions
    engine: Engine = task.process.engine
    if stop.access:
        return of_arch.memory(engine, task.process.space, stop.address, stop.access)
    return of_arch.trap(engine, task.process.space, stop.number)


def page_fault(space: AddressSpace, address: int, access: int) -> tuple[Sig, int]:
    """The signal and its code for an access that the page tables do not allow (do_user_addr_fault, do_page_fault)."""
    vma = space.find(address)
    if vma is None:
        return Sig.SEGV, SEGV_MAPERR
    allowed = vma.prot | (R if vma.prot & (W | X) else 0)
    return (Sig.BUS, BUS_ADRERR) if allowed & access else (Sig.SEGV, SEGV_ACCERR)  # allowed: behind the end of the file


def present(space: AddressSpace, address: int) -> bool:
    """Is there a page, which allows something?"""
    return bool(space.pages.get(address // PAGE, 0) & (R | W | X))
