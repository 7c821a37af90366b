"""Every instruction that a booted kernel and its programs execute, for who counts them.

One whose memory is not there yet is executed again once the kernel has seen to that, and counts then only; one that the emulator repeats by
jumping to it counts once, as in processors. What our init does does not count.
"""

from __future__ import annotations

import ctypes
from ctypes import c_uint32, c_uint64, c_void_p
from typing import TYPE_CHECKING

from pyprobe.runtime.machine import unicorn
from pyprobe.runtime.machine.disassembly import is_branch
from pyprobe.runtime.machine.state import NOWHERE

if TYPE_CHECKING:
    from pyprobe.runtime.probes.base import Handler
    from pyprobe.runtime.system.machine import SystemMachine

_EXECUTED = ctypes.CFUNCTYPE(None, c_void_p, c_uint64, c_uint32, c_void_p)
_KERNEL_HALF = 1 << 63
_PATCHING = ("__text_poke", "__aarch64_insn_write", "aarch64_insn_write")  # what changes the kernel's code
_SYNCHRONOUS = (0x000, 0x200, 0x400)  # from the vectors on: exceptions of instructions, in the kernel and in programs (DDI 0487, D1.3)
_DATA_ABORT = (0x24, 0x25)  # exception classes (DDI 0487, ESR_EL1)
_FETCH = 1 << 4  # in the error code of a page fault: of the instruction itself, which was not begun (SDM volume 3, 4.7)


class Counter:
    """Calls a handler at each `period`-th instruction, or at each `period`-th branch."""

    __slots__ = ("branches", "handler", "left", "period")

    def __init__(self, period: int, handler: Handler, *, branches: bool) -> None:
        self.period = self.left = period
        self.handler = handler
        self.branches = branches


class Instructions:
    """All counters of one machine. What was translated before is translated anew, so that nothing is missed."""

    def __init__(self, machine: SystemMachine) -> None:
        self._machine = machine
        self._cpu = cpu = machine.processor
        self._state = cpu.state
        self._counters: list[Counter] = []
        self._unfinished: set[tuple[int, int]] = set()  # instructions that were counted and will be executed again, by task and address
        self._last = NOWHERE
        self._current = machine.current_address
        self._hidden = machine.hidden
        self._kernel: dict[int, bool] = {}  # whether the instruction at an address is a branch
        self._program: dict[int, bool] = {}  # the same for the program with these page tables
        self._tables = 0
        symbols = machine.description.symbols
        self._faults = self._entries()
        for name in _PATCHING:
            if name in symbols:
                machine.functions.attach(symbols[name], self._kernel.clear, exact=False, ours=True)
        cpu.hook_python(unicorn.HOOK_CODE, _EXECUTED(self._executed))
        cpu.forget_all()

    def count(self, period: int, handler: Handler, *, branches: bool) -> None:
        """Call `handler` at each `period`-th instruction from now on, or at each `period`-th branch, before it executes."""
        self._counters.append(Counter(period, handler, branches=branches))

    def _entries(self) -> frozenset[int]:
        """Where the kernel is entered when memory is not there."""
        symbols = self._machine.description.symbols
        if self._machine.arch == "arm64":
            return frozenset(symbols["vectors"] + at for at in _SYNCHRONOUS)
        return frozenset(symbols[name] for name in ("asm_exc_page_fault",) if name in symbols)

    def _again(self) -> bool:
        """Whether the instruction before the one that the kernel was entered with will be executed once more."""
        cpu = self._cpu
        if self._machine.arch == "arm64":
            return cpu.exception(0) >> 26 in _DATA_ABORT
        return not cpu.number(cpu.stack_pointer()) & _FETCH

    def _executed(self, uc: int, address: int, size: int, user: int) -> None:
        state = self._state
        if state.stopping:
            return  # it is not going to be executed now
        try:
            task = self._current()
            if address in self._faults and self._again():
                self._unfinished.add((task, self._last))
            repeated, self._last = address == self._last, address
            if self._unfinished and (task, address) in self._unfinished:
                self._unfinished.discard((task, address))
                return
            if repeated and self._cpu.arch.repeats(self._cpu.read(address, 4) or b""):
                return
            machine = self._machine
            ours = self._hidden.get(task)
            if not (machine.aside or (machine.is_hidden() if ours is None else ours)):
                self._count(address, size)
        except BaseException as error:
            self._cpu.fail(error)

    def _count(self, address: int, size: int) -> None:
        for counter in self._counters:
            if counter.branches and not self._is_branch(address, size):
                continue
            counter.left -= 1
            if not counter.left:
                counter.left = counter.period
                self._state.pc = address
                counter.handler()

    def _is_branch(self, address: int, size: int) -> bool:
        known = self._kernel
        if address < _KERNEL_HALF:
            tables = self._cpu.address_space()
            if tables != self._tables:
                self._tables = tables
                self._program = {}
            known = self._program
        found = known.get(address)
        if found is None:
            found = known[address] = is_branch(self._machine.arch, self._cpu.read(address, size) or b"")
        return found
