"""struct pt_regs of the event that is being handled (`ctx`): the registers as they are, in memory that the board keeps from the kernel."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pyprobe.runtime.user.pt_regs import ARM64, USER_SEGMENTS, X86_64

if TYPE_CHECKING:
    from pyprobe.runtime.system.machine import SystemMachine

PT_REGS_AT = 0xE000  # in the kept memory, behind what tracepoints have there
_MASK = (1 << 64) - 1
_NO_CALL = _MASK  # orig_ax outside of system calls
KERNEL_SEGMENTS = {"cs": 0x10, "ss": 0x18}  # arch/x86/include/asm/segment.h


class EventRegisters:
    """Writes the struct where handlers can read it."""

    def __init__(self, machine: SystemMachine) -> None:
        self._machine = machine
        self._names = ARM64 if machine.arch == "arm64" else X86_64
        self._at = machine.processor.linear(machine.board.kept) + PT_REGS_AT

    def address(self) -> int:
        """The address of the struct, with the registers of now."""
        cpu = self._machine.processor
        made = {"orig_ax": _NO_CALL, **(USER_SEGMENTS if cpu.user_mode else KERNEL_SEGMENTS)}
        values = (made[name] if name in made else cpu.get(name) for name in self._names)
        cpu.write(self._at, b"".join((value & _MASK).to_bytes(8, "little") for value in values))
        return self._at
