"""The code of a booted kernel, for kprobes (the Text of a SystemMachine)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pyprobe.runtime.kprobes.text import MachineCode
from pyprobe.runtime.machine.calling import ARGUMENTS
from pyprobe.runtime.system.breakpoints import KernelBreakpoints

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable

    from pyprobe.runtime.kprobes.text import Hit
    from pyprobe.runtime.system.machine import SystemMachine
    from pyprobe.runtime.system.modules import Module

FLUSH = ("rethook_flush_task", "kprobe_flush_task")
"""What the kernel calls with a task that is gone, to free what return probes keep of it (delayed_put_task_struct() in kernel/exit.c)."""


_TRACING = bytes.fromhex("e9031eaa1f2003d5")  # mov x9, x30; nop: the second becomes a call (arch/arm64/kernel/ftrace.c)


class KernelCode(MachineCode):
    """The kernel's code with breakpoints in it; the tasks that are ours do not hit them."""

    def __init__(self, machine: SystemMachine) -> None:
        self.machine = machine
        self.description = machine.description
        self.table = machine.description.table
        breakpoints = KernelBreakpoints(machine.processor, range(*self.table.text[0]))
        super().__init__(breakpoints.engine, breakpoints)
        breakpoints.on_step_fault = self._fault
        facts = self.description.facts
        self._reserved = facts.forbidden_addresses | facts.patched | facts.static_calls | facts.bugs
        self._asked = -1
        self._found: tuple[str, int, int] | None = None

    def lookup(self, name: str) -> int:
        found = self.description.symbols.get(name, 0)
        return found or self.machine.modules.lookup(*reversed(name.split(":", 1)))

    def count(self, name: str) -> int:
        return self.table.names.count(name) or int(self.lookup(name) != 0)

    def function(self, address: int) -> tuple[str, int, int] | None:
        if address != self._asked:
            found = self.table.at(address) if self.table.is_text(address) else None
            self._asked, self._found = address, (found.name, found.address, found.size) if found is not None else self._in_module(address)
        return self._found

    def _in_module(self, address: int) -> tuple[str, int, int] | None:
        """The same for the code of a module."""
        module = self.machine.modules.module_at(address)
        name, distance = module.symbol_at(address) if module is not None else ("", 0)
        file = self.description.module_file(module.name) if module is not None else None
        code = file.functions.get(name) if file is not None else None
        return (name, address - distance, code.size) if code is not None and distance < code.size else None

    def module(self, address: int) -> str:
        if self.table.is_text(address):
            return ""
        module = self.machine.modules.module_at(address)
        return module.name if module is not None else ""

    def task(self) -> Hashable:
        current = self.machine.current
        return current.address if current is not None else 0

    def refused(self, name: str, address: int) -> str:
        found = self.function(address)
        plain = found is not None and found[1] == address and address not in self._reserved and self.table.is_text(address)
        if plain:
            return ""
        if self.arch == "arm64" and self.breakpoints.read(address - 4, 8) == _TRACING:
            return f"{name}+{address - found[1]:#x} is where function tracing puts its call" if found else ""
        if self.table.is_text(address):
            return self.description.refused(address)
        file = self.description.module_file(self.module(address)) if found is not None else None
        return self.description.refused_in(file, name, address - found[1]) if file is not None and found is not None else ""

    def arm(self, address: int, hit: Hit, post: Hit | None, fault: Callable[[int], bool] | None) -> None:
        shown = self.machine.shown
        super().arm(address, shown(hit), shown(post) if post is not None else None, fault)

    def divert_return(self, returned: Callable[[], int]) -> int:
        before = super().divert_return(returned)
        if self.arch == "x86_64" and not self.returns_here(before):
            self.machine.processor.diverted[self.engine.get("sp")] = before
        return before

    def returning(self, address: int) -> None:
        self.machine.processor.diverted.pop(self.engine.get("sp") - 8, None)
        super().returning(address)

    def on_code_gone(self, told: Callable[[Callable[[int], bool]], object]) -> None:
        """Where a module comes, the code of an earlier one's init was, of whose end nobody is told."""

        def changed(module: Module) -> None:
            self._asked = -1
            told(lambda address: not self.table.is_text(address) and self.machine.modules.module_at(address) is module)

        self.machine.modules.on_change = changed

    def on_task_gone(self, told: Callable[[int], object]) -> None:
        """Have `told` called with the address of every task that is gone for good."""
        name = next((n for n in FLUSH if n in self.description.symbols), None)
        if name is None:
            return
        regs, argument = self.regs, ARGUMENTS[self.arch][0]
        address = self.description.symbols[name]
        self.machine.functions.attach(address, lambda: told(int(getattr(regs, argument))), exact=False, ours=True)

    def _fault(self, address: int, number: int) -> bool:
        fault = self._faults.get(address)
        if fault is None:
            return False
        self.regs.pointer = address
        return fault(number)
