"""The engine's hot callbacks in plain Python, for where the extension `_native` is missing.

Every rule here stands in _native_callbacks.c too, in the same order, and one set of tests runs both: same clock, same events.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from ctypes import POINTER, byref, c_bool, c_int, c_uint16, c_uint32, c_uint64, c_void_p
from typing import TYPE_CHECKING, Protocol

from pyprobe.runtime.machine.clock import WAITING
from pyprobe.runtime.machine.memory import EXECUTED, SHARED, W, X
from pyprobe.runtime.machine.physical import PAGE_MASK
from pyprobe.runtime.machine.state import LAST_GROWTH, NOWHERE
from pyprobe.runtime.machine.unicorn import CTL_TLB_FLUSH, MEM_READ

if TYPE_CHECKING:
    from pyprobe.runtime.machine.arch import Arch
    from pyprobe.runtime.machine.clock import ClockWords
    from pyprobe.runtime.machine.memory import Points
    from pyprobe.runtime.machine.state import State

BLOCK = ctypes.CFUNCTYPE(None, c_void_p, c_uint64, c_uint32, c_void_p)
FILL = ctypes.CFUNCTYPE(c_bool, c_void_p, c_uint64, c_int, POINTER(c_uint64), c_void_p)
SYSCALL = ctypes.CFUNCTYPE(None, c_void_p, c_void_p)
INTERRUPT = ctypes.CFUNCTYPE(None, c_void_p, c_uint32, c_void_p)
TRAP = ctypes.CFUNCTYPE(c_bool, c_void_p, c_uint32, c_void_p)


class Host(Protocol):
    """Whom the callbacks serve: the engine of the user machine, the processor of a booted kernel. The methods are called back."""

    uc: int
    state: State
    words: ClockWords
    library: ctypes.PyDLL

    def function(self, name: str) -> int: ...
    def attend(self) -> None: ...
    def enter(self) -> bool: ...
    def miss(self, address: int, access: int) -> int: ...
    def fail(self, error: BaseException) -> None: ...


class TrapHost(Host, Protocol):
    """Whom breakpoints serve, too. trap_cost: what a hit adds to the clock."""

    arch: Arch
    trap_cost: int

    def interrupted(self, number: int) -> None: ...
    def trap_address(self) -> int: ...
    def go_to(self, address: int) -> None: ...


class Twin:
    """Callbacks of one engine. The attributes that end in the C functions' addresses go to uc_hook_add."""

    def __init__(self, engine: Host) -> None:
        self._engine = engine
        self._host: TrapHost
        self._blocks: dict[int, Callable[[], object]] = {}
        self._exact: dict[int, Callable[[], object]] = {}
        self._traps: dict[int, Callable[[], int | None]] = {}
        self._pages: dict[int, int] = {}
        self._exit_request = c_uint16()
        self._accepts: c_uint64 | None = None
        self._accepted = 0
        self._traces: tuple[c_uint64, c_uint64, int, c_uint64] | None = None
        called = BLOCK(self._block), BLOCK(self._code), FILL(self._fill), SYSCALL(self._syscall)
        self._keep = (*called, INTERRUPT(self._interrupt), TRAP(self._trap))
        addresses = [ctypes.cast(function, c_void_p).value or 0 for function in self._keep]
        self.block, self.code, self.fill, self.syscall, self.interrupt, self.trap = addresses
        self.user = 0

    def start(self) -> int:
        """Run from state.pc; returns libunicorn's error."""
        engine = self._engine
        error: int = engine.library.uc_emu_start(engine.uc, engine.state.pc, 0, 0, 0)
        return error

    def flush(self) -> None:
        """Empty the translation buffer."""
        self._engine.library.uc_ctl(c_void_p(self._engine.uc), CTL_TLB_FLUSH)

    def traces(self, link: int, saved_flags: int, flags: int) -> None:
        """Where the syscall instruction leaves the pc and the flags: addresses of two registers, number of the flags."""
        self._traces = c_uint64.from_address(link), c_uint64.from_address(saved_flags), flags, c_uint64()

    def kicks(self, address: int) -> None:
        """The 16-bit word to fill with ones when state.kick asks for it."""
        self._exit_request = c_uint16.from_address(address)

    def masks(self, address: int, bit: int) -> None:
        """The 64-bit word in which the bit says that interrupts are accepted."""
        self._accepts, self._accepted = c_uint64.from_address(address), bit

    def _waits_on(self) -> bool:
        """An interrupt is pending that the processor does not accept yet, and time has not come to look at what else there is."""
        words, accepts = self._engine.words, self._accepts
        if words.deadline != WAITING or accepts is None:
            return False
        return words.now < self._engine.state.patience and not accepts.value & self._accepted

    def breakpoints(self, engine: TrapHost, pc: int) -> None:
        """Have the interrupt callback serve breakpoints; pc: where the guest's pc lies, 0 if that is not known."""
        self._host = engine

    def activate(self, pages: dict[int, int], points: Points) -> None:
        """Page table and probe points of the current space."""
        self._pages = pages
        self._blocks = points.blocks
        self._exact = points.exact
        self._traps = points.traps

    def planted(self, points: Points, address: int, table: int, callback: Callable[[], object] | None) -> None:
        """A point was added, changed or (None) removed in `points`; the dictionaries say it all."""

    def _block(self, uc: int, address: int, size: int, user: int) -> None:
        engine = self._engine
        state, words = engine.state, engine.words
        state.pc = address
        if words.now >= words.deadline and not self._waits_on():
            engine.attend()
            if state.stopping:
                engine.library.uc_emu_stop(uc)
                return
            if state.kick:
                state.kick = 0
                self._exit_request.value = 0xFFFF
                return
        callback = self._blocks.get(address)
        if callback is not None:
            if state.fired != address:
                self._call(callback)
                if state.stopping:
                    state.fired = address
                    engine.library.uc_emu_stop(uc)
                    return
            state.fired = NOWHERE
        elif state.fired != address:
            state.fired = NOWHERE
        state.block = address
        state.size = size
        words.now += size

    def _code(self, uc: int, address: int, size: int, user: int) -> None:
        engine = self._engine
        state = engine.state
        callback = self._exact.get(address)
        if callback is None:
            return
        if state.fired == address:
            state.fired = NOWHERE
            return
        state.pc = address
        self._call(callback)
        if state.stopping:
            state.fired = address
            engine.words.now -= state.block + state.size - address
            state.size = 0
            engine.library.uc_emu_stop(uc)

    def _call(self, callback: Callable[[], object]) -> None:
        try:
            callback()
        except BaseException as error:
            self._engine.fail(error)

    def _fill(self, uc: int, address: int, kind: int, entry: ctypes._Pointer[c_uint64], user: int) -> bool:
        engine = self._engine
        state = engine.state
        access = 1 << kind - MEM_READ
        state.fills += 1
        if state.fills > state.grow_at:
            state.growth = min(2 * state.growth, LAST_GROWTH)
            state.grow_at = state.fills + state.growth
            self.flush()
        found = self._pages.get(address >> 12, 0)
        if not found & access or (access == X and not found & EXECUTED) or (access == W and found & SHARED):
            found = engine.miss(address, access)
            if not found:
                return False
        entry[0] = found & PAGE_MASK
        entry[1] = permissions(found, access)
        return True

    def _syscall(self, uc: int, user: int) -> None:
        engine = self._engine
        state = engine.state
        state.pc = state.block + state.size
        if self._traces is not None:
            link, saved_flags, number, flags = self._traces
            engine.library.uc_reg_read(uc, number, byref(flags))
            link.value = state.pc
            saved_flags.value = flags.value
        if not engine.enter():
            state.left = 1
        if state.left or state.stopping:
            engine.library.uc_emu_stop(uc)

    def _interrupt(self, uc: int, number: int, user: int) -> None:
        if not self._trap(uc, number, user):
            self._host.interrupted(number)

    def _trap(self, uc: int, number: int, user: int) -> bool:
        """Whether the exception is a breakpoint of ours, which is dealt with then."""
        engine = self._host
        state = engine.state
        if number != engine.arch.breakpoint.number:
            return False
        address = engine.trap_address()
        callback = self._traps.get(address)
        if callback is None:
            return False
        state.pc = address
        if not self._hit(callback, address):
            return False
        if state.stopping or state.left:
            engine.library.uc_emu_stop(uc)
        return True

    def _hit(self, callback: Callable[[], int | None], address: int) -> bool:
        """Whether the breakpoint was ours."""
        engine = self._host
        state = engine.state
        if state.fired == address:
            callback = callback.step  # type: ignore[attr-defined]  # see Engine.trap
        state.fired = NOWHERE
        try:
            going = callback()
        except BaseException as error:
            engine.fail(error)
            going, state.fired = address, address
        if going is None:
            return False
        engine.words.now += engine.trap_cost
        engine.go_to(going)
        return True


def permissions(entry: int, access: int) -> int:
    """What a translation allows that was asked for by `access`.

    A page counts as code only once it was executed, because stores to code are slow; then it must, or they go unnoticed.
    Shared pages are not writable before they are written, when it can be asked whether somebody executes them.
    """
    rights = entry & 7
    if entry & EXECUTED:
        if rights & W:
            rights |= X
    elif access != X:
        rights &= ~X
    if entry & SHARED and access != W:
        rights &= ~W
    return rights | access
