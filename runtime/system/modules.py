"""Modules of a running kernel: which are loaded, their symbols, and probes that wait for one.

What is loaded is seen where the kernel does it (kernel/module/main.c): as `do_init_module` is about to call a module's own init function,
and in `free_module`. Symbols are those that the kernel itself keeps for /proc/kallsyms.
"""

from __future__ import annotations

import struct
from array import array
from bisect import bisect_right
from collections.abc import Callable
from functools import cached_property
from typing import TYPE_CHECKING

from pyprobe.runtime.machine.calling import ARGUMENTS
from pyprobe.runtime.system.metadata.symbols import Symbols

if TYPE_CHECKING:
    from pyprobe.runtime.system.description import SystemDescription
    from pyprobe.runtime.system.machine import SystemMachine

_NAME = 56  # MODULE_NAME_LEN
_SYMBOL = struct.Struct("<IBBHQQ")  # Elf64_Sym
_MOST = 1 << 20  # symbols
_REACH = 1 << 20  # bytes behind the start of its last function that are a module's at most


class Module:
    """A loaded module. address: of its struct module; symbols: its functions, with those that are gone after its init."""

    def __init__(self, modules: Modules, address: int) -> None:
        self.address = address
        self.loaded = True
        self._modules = modules
        self.name = (modules.read(address + modules.offset("name"), _NAME) or b"").partition(b"\0")[0].decode("ascii", "replace")

    def while_loaded(self, handler: Callable[[], object]) -> Callable[[], None]:
        """`handler`, for a point that stays where others may come."""

        def call() -> None:
            if self.loaded:
                handler()

        return call

    def symbol_at(self, address: int) -> tuple[str, int]:
        """The name of the function at or before an address, and the distance to it."""
        i = bisect_right(self.symbols.addresses, address) - 1
        return (self.symbols.names[i], address - self.symbols.addresses[i]) if i >= 0 else ("", 0)

    @cached_property
    def symbols(self) -> Symbols:
        m, known = self._modules, self._modules.kernel
        table = m.number(self.address + m.offset("kallsyms"))
        symtab, strtab = (m.number(table + known.offset("mod_kallsyms", name)) for name in ("symtab", "strtab"))
        count = min(m.number(table + known.offset("mod_kallsyms", "num_symtab")) & 0xFFFF_FFFF, _MOST)
        found: list[tuple[int, str]] = []
        for name, info, _, _, value, _ in _SYMBOL.iter_unpack(m.read(symtab, count * _SYMBOL.size) or b""):
            if value >> 63 and info & 15 == STT_FUNC:
                text = m.machine.read_string(strtab + name, 512)
                found.append((value, (text or b"").decode("ascii", "replace")))
        found.sort()
        return Symbols(array("Q", [a for a, _ in found]), "t" * len(found), [n for _, n in found], self.name, ordered=True)


class Modules:
    """Those of one machine. found: in the order in which they were loaded, with those that are gone: what was seen in them keeps its
    names. on_change: called when the code of one is about to run for the first time, and when it is about to go."""

    def __init__(self, machine: SystemMachine, kernel: SystemDescription) -> None:
        self.machine = machine
        self.kernel = kernel
        self.read, self.number = machine.processor.read, machine.processor.number
        self.found: list[Module] = []
        self.on_change: Callable[[Module], object] = lambda module: None
        self._waiting: dict[str, list[Callable[[Module], object]]] = {}
        for name, callback in (("do_init_module", self._loading), ("free_module", self._freeing)):
            address = kernel.symbols.get(name)
            if address is not None:
                machine.functions.attach(address, callback, exact=False, ours=True)

    def offset(self, member: str) -> int:
        """Of a member of struct module."""
        return self.kernel.offset("module", member)

    @property
    def loaded(self) -> list[Module]:
        """The loaded modules in their order."""
        return [module for module in self.found if module.loaded]

    def save(self) -> list[int]:
        """For a snapshot."""
        return [module.address for module in self.loaded]

    def load(self, state: list[int]) -> None:
        """Go on from a snapshot's."""
        self.found = [Module(self, address) for address in state]

    def when_loaded(self, name: str, callback: Callable[[Module], object]) -> None:
        """Call `callback` whenever a module is there: now, if it is loaded, and before its init function each time it will be loaded."""
        self._waiting.setdefault(name, []).append(callback)
        for module in self.loaded:
            if module.name == name:
                callback(module)

    def symbol_at(self, address: int) -> tuple[str, int] | None:
        """The name of the function of a module that an address belongs to, and the distance to it."""
        module = self.module_at(address)
        return module.symbol_at(address) if module is not None else None

    def module_at(self, address: int) -> Module | None:
        """The module whose code an address is in, or was in."""
        best, reach = None, _REACH
        for module in (*self.loaded, *(m for m in reversed(self.found) if not m.loaded)):
            name, distance = module.symbol_at(address)
            if name and distance < reach:
                best, reach = module, distance
        return best

    def lookup(self, function: str, name: str = "") -> int:
        """The address of a function of a loaded module, of the one with a name if that is given; 0 without one."""
        found = (m.symbols.by_name.get(function, 0) for m in self.loaded if name in ("", m.name))
        return next((address for address in found if address), 0)

    def _loading(self) -> None:
        module = Module(self, self._argument())
        assert module.symbols is not None  # read while the kernel still has those of its init
        self.found.append(module)
        self.on_change(module)
        for callback in self._waiting.get(module.name, ()):
            callback(module)

    def _freeing(self) -> None:
        address = self._argument()
        for module in self.loaded:
            if module.address == address:
                self.on_change(module)
                module.loaded = False

    def _argument(self) -> int:
        return self.machine.processor.get(ARGUMENTS[self.machine.arch][0])


STT_FUNC = 2
