"""One handle of libunicorn: what the processor of the user machine and that of a booted kernel have in common.

Opening it, hooks that lead into Python, registers, stops and errors. Nothing of how memory is translated.
"""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Callable
from ctypes import byref, c_uint64, c_void_p
from importlib import import_module
from typing import TYPE_CHECKING, Protocol

from pyprobe.runtime.machine import unicorn
from pyprobe.runtime.machine.arch import Arch
from pyprobe.runtime.machine.bound import Bound
from pyprobe.runtime.machine.clock import Clock
from pyprobe.runtime.machine.cpu_state import ExitChecks
from pyprobe.runtime.machine.extension import require_current
from pyprobe.runtime.machine.physical import PAGE
from pyprobe.runtime.machine.points import Points
from pyprobe.runtime.machine.state import NOWHERE, State
from pyprobe.runtime.machine.unicorn import Library

if TYPE_CHECKING:
    from pyprobe.runtime.machine.twin import TrapHost


TRAP_NS = 1000
"""What a breakpoint costs the guest in virtual time: exception, handler and return. A real one takes about a microsecond."""


class Callbacks(Protocol):
    """What the twin and the extension have in common: C functions for uc_hook_add, and the tables they consult."""

    block: int
    code: int
    fill: int
    syscall: int
    interrupt: int
    trap: int
    user: int

    def start(self) -> int: ...
    def flush(self) -> None: ...
    def traces(self, link: int, saved_flags: int, flags: int) -> None: ...
    def breakpoints(self, engine: TrapHost, pc: int) -> None: ...
    def kicks(self, address: int) -> None: ...
    def masks(self, address: int, bit: int) -> None: ...
    def activate(self, pages: dict[int, int], points: Points) -> None: ...
    def planted(self, points: Points, address: int, table: int, callback: Callable[[], object] | None) -> None: ...


class Emulator:
    """One processor; a subclass opens it and chooses its callbacks.

    callbacks: in C or in Python, see `choose`. native: whether they are in C. why_not: why not, or "".
    exit_checks_found: translated code may be spared to look for stops after each access (see `ExitChecks`).
    """

    callbacks: Callbacks

    def __init__(self, arch: Arch, clock: Clock) -> None:
        self.arch = arch
        self.clock = clock
        self.trap_cost = TRAP_NS - arch.breakpoint.size - arch.breakpoint.jump
        self.words = clock.words
        self.state = State()
        self.uc = 0
        self.native = False
        self.why_not = ""
        self.exit_checks_found = False
        self._api = Library()
        self.library = self._api.library
        self._error: BaseException | None = None
        self._hooks: set[int] = set()  # addresses that have an exact hook
        self._keep: list[object] = []  # C callbacks must outlive the hooks
        self._word = c_uint64()
        self._words_of: dict[str, c_uint64] = {}

    # opening

    def open(self, model: int, base: int, size: int, host: int, settings: tuple[tuple[int, int], ...] = ()) -> None:
        """Make a processor of a model, with `size` bytes of memory at the physical address `base`, which lie at `host` in this process.

        settings: control words of uc_ctl and their arguments. Raises UnicornError.
        """
        api, arch = self._api, self.arch
        handle = c_void_p()
        api.check(self.library.uc_open(arch.uc_arch, arch.uc_mode, byref(handle)), "uc_open")
        self.uc = uc = handle.value or 0
        self.exit_checks = ExitChecks(uc)
        api.ctl(uc, unicorn.CTL_CPU_MODEL, model)
        pages = ((unicorn.CTL_PAGE_SIZE, PAGE),) if arch.page_size_4k else ()
        for control, argument in (*pages, *settings):
            api.ctl(uc, control, argument)
        api.ctl(uc, unicorn.CTL_USE_EXITS, 1)  # with no exits at all: a run ends when it is stopped
        api.check(self.library.uc_mem_map_ptr(uc, base, size, unicorn.PROT_ALL, host), "uc_mem_map_ptr")
        self.exit_checks_found = self.exit_checks.found()

    def choose(self, native: bool | None, *needed: str) -> None:
        """Take the callbacks in C (native: True, or fail; None: if they are there) or in Python.

        needed: other extensions without which there is no use for the one. Raises ImportError.
        """
        why_not = "not wanted"
        if native is not False:
            try:
                from pyprobe.runtime.machine.native import Native

                for name in needed:
                    require_current(import_module(name))
                self.callbacks, self.native = Native(self), True
                return
            except ImportError as error:
                if native:
                    raise
                why_not = f"the extension was not built: {error}"
        from pyprobe.runtime.machine.twin import Twin

        self.callbacks, self.why_not = Twin(self), why_not

    def function(self, name: str) -> int:
        """The address of a function of libunicorn, 0 when it does not export it."""
        return self._api.address(name)

    # hooks

    def hook_python(self, kind: int, function: ctypes._FuncPointer, instruction: int | None = None) -> None:
        """Install a C function made of a Python one, and keep it."""
        self._keep.append(function)
        self._api.hook_add(self.uc, kind, ctypes.cast(function, c_void_p).value or 0, instruction=instruction)

    def keep(self, function: object) -> None:
        """For an architecture's setup: a C callback that must live as long as the engine."""
        self._keep.append(function)

    def hook_exactly(self, address: int) -> bool:
        """Have the callback for single instructions called at `address`, from when it is translated next. False: it is already so.

        Hooks stay: one that nobody uses costs a lookup, and nobody has to count who does.
        """
        if address in self._hooks:
            return False
        self._hooks.add(address)
        self.expect_stop(address)
        self._api.hook_add(self.uc, unicorn.HOOK_CODE, self.callbacks.code, self.callbacks.user, address, address)
        return True

    def expect_stop(self, address: int) -> None:
        """A stop may be asked for before the instruction at `address` is executed, from when it is translated next."""
        self.exit_checks.wanted(True)

    # registers

    def _fetch(self, number: int) -> int:
        """A register by the emulator's number."""
        self._word.value = 0
        self.library.uc_reg_read(self.uc, number, byref(self._word))
        return self._word.value

    def _read(self, name: str) -> int:
        return self._fetch(self.arch.registers[name])

    def _write(self, name: str, value: int) -> None:
        self._word.value = value & NOWHERE
        self.library.uc_reg_write(self.uc, self.arch.registers[name], byref(self._word))

    def get(self, name: str) -> int:
        """A register of the running task, unsigned. Raises KeyError for an unknown name."""
        word = self._words_of.get(name)
        if word is not None:
            return word.value
        if self.arch.registers[name] == self.arch.registers[self.arch.pc]:
            return self.state.pc
        return self._read(name)

    def set(self, name: str, value: int) -> None:
        """Set a register of the running task (low 64 bits of `value`). The pc may be set between runs only."""
        word = self._words_of.get(name)
        if word is not None:
            word.value = value & NOWHERE
            return
        self._write(name, value)
        if self.arch.registers[name] == self.arch.registers[self.arch.pc]:
            self.state.pc = value & NOWHERE

    def register(self, name: str) -> Bound:
        """A register as source for a handler. Raises KeyError for an unknown name."""
        number = self.arch.registers[name]
        word = self._words_of.get(name)
        if word is not None:
            return Bound(f"_register_{number}.value", {f"_register_{number}": word})
        if number == self.arch.registers[self.arch.pc]:
            return Bound("_emulator_state.pc", {"_emulator_state": self.state})
        return Bound(f"_register_{number}()", {f"_register_{number}": lambda: self._read(name)})

    # stops and errors

    def _lost(self, unraisable: sys.UnraisableHookArgs) -> None:
        """Ctrl-C may raise at the very entrance of a callback, where ctypes would print and forget it."""
        if unraisable.exc_value is not None and "ctypes callback" in (unraisable.err_msg or ""):
            self.fail(unraisable.exc_value)
        else:
            sys.__unraisablehook__(unraisable)

    def request_stop(self) -> None:
        """End the run at the next block; from within a probe's callback, before the probed instruction executes."""
        self.state.stopping = 1
        self.clock.interrupt()

    def fail(self, error: BaseException) -> None:
        """For callbacks: keep an exception (the first one) and stop."""
        if self._error is None:
            self._error = error
        self.state.stopping = 1
        self.clock.interrupt()

    def attend(self) -> None:
        """For the block callback: the deadline is reached."""
        raise NotImplementedError

    def enter(self) -> bool:
        """For the syscall callback: whether to go on in the guest."""
        raise NotImplementedError

    def miss(self, address: int, access: int) -> int:
        """For the fill callback: the page-table entry for an access the table alone does not allow, or 0."""
        raise NotImplementedError

    def close(self) -> None:
        """Free the emulator. The memory stays."""
        if self.uc:
            self.library.uc_close(self.uc)
            self.uc = 0
