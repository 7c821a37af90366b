"""The emulated Linux as the machine that probes observe; see runtime.machine.interface."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from pyprobe.runtime.machine.memory import AddressSpace, MemoryFault, OutOfMemory, Vma
from pyprobe.runtime.user.images import images
from pyprobe.runtime.user.kernel import Kernel

if TYPE_CHECKING:
    from pyprobe.runtime.machine.interface import Machine


class UserMachine(Kernel):
    """A kernel that also answers what handlers ask of the current task's memory."""

    def read(self, address: int, size: int) -> bytes | None:
        """Memory of the current task; None where it is not readable, or while no task runs."""
        task = self.current
        if task is None or size < 0:
            return None
        try:
            return task.process.space.read(address, size)
        except (MemoryFault, OutOfMemory):
            return None

    def read_string(self, address: int, limit: int) -> bytes | None:
        """The bytes up to the first NUL, at most `limit`; what is readable of them where memory ends. None: nothing is."""
        task = self.current
        if task is None:
            return None
        space = task.process.space
        try:
            return space.cstring(address, limit)
        except OutOfMemory:
            return None
        except MemoryFault as fault:
            return self.read(address, fault.address - address) if fault.address > address else None

    def spaces(self) -> Iterator[AddressSpace]:
        """The address spaces of all living processes, each once, by process id."""
        seen: set[int] = set()
        for process in list(self.processes.values()):
            if process.alive and id(process.space) not in seen:
                seen.add(id(process.space))
                yield process.space

    def images(self, space: AddressSpace) -> list[Vma]:
        """The executable mappings of files in a space."""
        return images(space)


if TYPE_CHECKING:

    def _is_a_machine(machine: UserMachine) -> Machine:
        return machine
