"""One emulated processor with its memory management unit: what the two architectures have in common.

The emulator walks the kernel's own page tables. Time, stops and probes go the way of the user machine's engine: one block callback,
always installed, that leaves to Python at the clock's deadline and at planted addresses. Interrupts join it: a pending one asks for
the deadline, and is delivered as the next block begins, which makes its place in the instruction stream a matter of virtual time
alone. Nothing ever stops the emulator elsewhere: it would execute a load or a device access twice.
"""

from __future__ import annotations

import ctypes
import mmap
import sys
from collections.abc import Callable, Mapping
from ctypes import byref, c_size_t, c_uint32, c_uint64, c_void_p
from typing import TYPE_CHECKING, NoReturn, Protocol

from pyprobe.runtime.machine import unicorn
from pyprobe.runtime.machine.arch import Arch
from pyprobe.runtime.machine.clock import Clock
from pyprobe.runtime.machine.emulator import Emulator
from pyprobe.runtime.machine.library import pointer
from pyprobe.runtime.machine.points import Points
from pyprobe.runtime.machine.state import NOWHERE
from pyprobe.runtime.machine.unicorn import UnicornError
from pyprobe.runtime.system import coherence, shortcuts
from pyprobe.runtime.system.internals import mismatch, offsets
from pyprobe.runtime.system.ram import PAGE, Ram
from pyprobe.runtime.system.virtual import VirtualMemory

if TYPE_CHECKING:
    from pyprobe.runtime.system.description import SystemDescription
    from pyprobe.runtime.system.devices.uart8250 import Uart8250

_CHECK_LIMIT = 10_000  # nanoseconds after which a check has gone wrong
_COUNTER_REACH = 0x40  # bytes before the architecture's state in which the counter lies (CPUNegativeOffsetState)
HARD = 2  # CPU_INTERRUPT_HARD
GO = 2  # state.stopping: only to go on elsewhere
LOCKUP_NS = 10 * 10**9  # that an interrupt is left waiting: watchdog_thresh of kernel/watchdog.c
SPIN_NS = 10**7  # the same where nothing but a branch to itself is executed
SPIN = {"x86_64": b"\xeb\xfe", "arm64": b"\0\0\0\x14"}  # jmp . and b .

MMIO_READ = ctypes.CFUNCTYPE(c_uint64, c_void_p, c_uint64, ctypes.c_uint, c_void_p)
MMIO_WRITE = ctypes.CFUNCTYPE(None, c_void_p, c_uint64, ctypes.c_uint, c_uint64, c_void_p)


class LockedUp(Exception):
    """The guest takes no interrupts any more, though one waits."""


class Exceptions(Protocol):
    """The callbacks that take exceptions. breakpoints: see twin.Breakpoints."""

    def breakpoints(self, claim: int, user: int, pc: int, start: int, size: int, left: Callable[[int], bool], /) -> None: ...


class Processor(VirtualMemory, Emulator):
    """One processor; `arm64.Arm64` and `x86_64.X86` are the real ones.

    pt_regs: where struct pt_regs of the kernel has registers, in bytes.
    native: use the extensions (True: or fail, None: if they are there). why_not: why they are not used, or "".
    suffix: of the names of libunicorn's functions for the architecture. fill_symbol: the one that fills its translation buffer.
    on_attend: called before what is due.
    on_trap: called when the guest executes the trap instruction; registers can be read and set then.
        False: it goes the way of a system call.
    on_power: called with "off" or "reset" when the guest asks for it.
    halted: it waits for an interrupt.
    line: what the interrupt controller says: one waits. since: when that began.
    """

    arch: Arch
    suffix: str
    fill_symbol: str
    pt_regs: Mapping[str, int]
    glue: Exceptions

    def __init__(self, ram: Ram, clock: Clock, *, model: int, native: bool | None = None) -> None:
        super().__init__(self.arch, clock)
        self.ram = ram
        self.halted = self.line = False
        self.since = 0
        self._going: tuple[int, bytes] | None = None
        self.on_attend: Callable[[], None] = lambda: None
        self.on_trap: Callable[[], bool] = lambda: False
        self.on_power: Callable[[str], None] = lambda what: None
        self.offsets = offsets()
        self.open(model, ram.base, ram.size, ram.address)
        self.cpu = pointer(self.uc + self.offsets.cpu)
        self.interrupt_request = c_uint32.from_address(self.cpu + self.offsets.interrupt_request)
        self._halted = c_uint32.from_address(self.cpu + self.offsets.halted)
        self.in_pieces = c_uint32.from_address(self.uc + self.offsets.in_pieces)
        self.points = Points()
        self.choose(native, "pyprobe.runtime.system._native")
        counter = pointer(self.cpu + self.offsets.icount)
        if not 0 < pointer(self.cpu + self.offsets.env) - counter <= _COUNTER_REACH:
            raise mismatch("CPUState.icount_decr_ptr", "just before the registers", hex(counter))
        self.callbacks.kicks(counter + 2)
        self.callbacks.activate({}, self.points)
        invalidate = self.function(f"tb_invalidate_phys_range_{self.suffix}")
        self._invalidate = ctypes.PYFUNCTYPE(None, c_void_p, c_uint64, c_uint64)(invalidate)
        self._api.hook_add(self.uc, unicorn.HOOK_BLOCK, self.callbacks.block, self.callbacks.user)
        self.diverted: dict[int, int] = {}  # real return addresses, by where on the stack a kretprobe has put another (x86-64)
        self.slots = range(0)  # where displaced instructions of the kernel run, once there are any (see breakpoints.py)
        self._coherence = coherence.install(self)
        self._shortcuts = shortcuts.install(self) if self.native else None
        self._general = self._general_size = 0  # where the general registers lie, and how many bytes of them

    def function(self, name: str) -> int:
        """The address of a function of libunicorn. Raises UnsupportedLibrary when it does not export it."""
        address = self._api.address(name)
        if not address:
            raise mismatch(f"the function {name}", "exported", "missing")
        return address

    def map_device(
        self, base: int, size: int, read: Callable[[int, int], int], write: Callable[[int, int, int], None], console: Uart8250 | None = None
    ) -> None:
        """Registers of a device at a physical address: `read(offset, size)` gives a value, `write(offset, size, value)` takes one.

        console: the device is that serial port.
        """

        def on_read(uc: int, offset: int, width: int, user: int) -> int:
            try:
                return read(offset, width)
            except BaseException as error:
                self.fail(error)
                return 0

        def on_write(uc: int, offset: int, width: int, value: int, user: int) -> None:
            try:
                write(offset, width, value)
            except BaseException as error:
                self.fail(error)

        reader, writer = MMIO_READ(on_read), MMIO_WRITE(on_write)
        self._keep += [reader, writer]
        self.library.uc_mmio_map.argtypes = [c_void_p, c_uint64, c_size_t, c_void_p, c_void_p, c_void_p, c_void_p]
        at, to, user = ctypes.cast(reader, c_void_p).value, ctypes.cast(writer, c_void_p).value, None
        if console is not None and self.native:
            at, to, _, _, user = self._console(console, 0, at or 0, to or 0)
        error = self.library.uc_mmio_map(self.uc, base, size, at, user, to, user)
        self._api.check(error, "uc_mmio_map")

    def _console(self, uart: Uart8250, port: int, read: int, write: int) -> tuple[int, int, int, int, int]:
        """The addresses of _native.Console, which passes on what is not a console's business to C functions."""
        from pyprobe.runtime.system._native import Console

        console = Console(uart.sent, ctypes.addressof(uart.plain), port, read, write)
        self._keep += [console, uart.plain]
        return console.addresses()

    # registers

    def _store(self, number: int, value: int | ctypes.Structure) -> None:
        """Set a register by the emulator's number; some have structures for values. Raises UnicornError."""
        word = value if isinstance(value, ctypes.Structure) else c_uint64(value & NOWHERE)
        self._api.check(self.library.uc_reg_write(self.uc, number, byref(word)), "uc_reg_write")

    def _write(self, name: str, value: int) -> None:
        self._store(self.arch.registers[name], value)

    # what the kernel's calling conventions put where

    def current_task(self, kernel: SystemDescription) -> Callable[[], int]:
        """A function that gives the address of the running task's task_struct. kernel: knows the kernel's symbols and types."""
        raise NotImplementedError

    def stack_pointer(self) -> int:
        """The stack pointer in use."""
        raise NotImplementedError

    def return_place(self) -> tuple[int, int]:
        """At a function's first instruction: the stack pointer after its return, and the return address."""
        raise NotImplementedError

    def kernel_stack(self, limit: int, kernel: SystemDescription) -> tuple[int, ...]:
        """The pc and the return addresses on the kernel's stack, innermost first; none while a program runs. kernel: knows its code."""
        raise NotImplementedError

    def saved_register(self, top: int, name: str, kernel: SystemDescription) -> int:
        """A register of the program that entered the kernel, from struct pt_regs at the upper end, `top`, of a task's stack; 0 where it
        is not kept."""
        raise NotImplementedError

    @property
    def user_mode(self) -> bool:
        """Whether the processor executes a program, not the kernel."""
        raise NotImplementedError

    # probe points

    def plant(self, address: int, callback: Callable[[], object], *, exact: bool = False) -> None:
        """Call `callback` whenever the instruction at a virtual address is about to execute; replaces an earlier one.

        exact: `address` may lie where code falls through into it. All exact points together should be few.
        """
        where = self.points.exact if exact else self.points.blocks
        if exact and self.hook_exactly(address):
            self.forget(address)
        where[address] = callback
        self.callbacks.planted(self.points, address, exact, callback)

    def on_access(self, access: int, address: int, length: int, function: Callable[[], object]) -> None:
        """Call `function` when an instruction reads (R) or writes (W) any of the bytes at a virtual address, which lie in one page that
        stays where it is. `state.pc` is the instruction, memory what it is behind it; once for an instruction that does both. Raises
        LookupError where nothing is mapped.

        While there is one of these, every access of any memory takes the long way.
        """
        from pyprobe.runtime.system.watchpoints import Watchpoint

        self._keep.append(Watchpoint(self, access, address, length, function))
        self._invalidate(self.uc, 0, self.ram.size)  # what was translated before does not look

    def watch_lines(self, cleared: Callable[[int, int], None]) -> None:
        """Have `cleared(address, size)` called before an instruction that zeroes memory without writing to it, for architectures that have
        one."""

    def expect_stop(self, address: int) -> None:
        if self._shortcuts is not None:
            self._shortcuts.expect_stop(address)

    def pull(self, address: int, *, exact: bool | None = None) -> None:
        """Undo `plant`, or only that with the same `exact`; nothing happens where nothing is planted."""
        for where, kind in ((self.points.blocks, False), (self.points.exact, True)):
            if exact in (None, kind) and where.pop(address, None) is not None:
                self.callbacks.planted(self.points, address, kind, None)

    def forget(self, address: int) -> None:
        """Drop what was translated from the instruction at a virtual address."""
        start = self.translate(address)
        if start >= 0:
            self.forget_place(start)

    def forget_place(self, offset: int) -> None:
        """The same for an instruction by its offset in RAM."""
        self._invalidate(self.uc, offset, offset + 1)

    def forget_all(self) -> None:
        """Translate everything anew, as hooks want it that were installed since."""
        self._api.ctl(self.uc, unicorn.CTL_TB_FLUSH)

    # breakpoints

    def trap(self, address: int, callback: Callable[[], int | None]) -> None:
        """As Engine.trap: call `callback` when the breakpoint instruction at a virtual address has trapped. After `displace_to`."""
        self.points.traps[address] = callback
        self.callbacks.planted(self.points, address, 2, callback)

    def untrap(self, address: int) -> None:
        """Undo `trap`; nothing happens where there is none."""
        if self.points.traps.pop(address, None) is not None:
            self.callbacks.planted(self.points, address, 2, None)

    def displace_to(self, slots: range, left: Callable[[int], bool]) -> None:
        """Breakpoints trap from now on, and no interrupt is taken in `slots`. left: told the number of an exception there; True: it is not
        to be taken."""
        self.slots = slots
        self.callbacks.breakpoints(self, self.pc_place)
        self.glue.breakpoints(self.callbacks.trap, self.callbacks.user, self.pc_place, slots.start, len(slots), left)

    def add_memory(self, physical: int, memory: mmap.mmap) -> Callable[[int, int], None]:
        """Have `memory` at a physical address beyond the RAM, one such piece at most; what has to be told of a change of it, by offset and
        size, so that nothing stays of what was translated from there."""
        address = ctypes.addressof(ctypes.c_char.from_buffer(memory))
        error = self.library.uc_mem_map_ptr(self.uc, c_uint64(physical), c_size_t(len(memory)), unicorn.PROT_ALL, c_void_p(address))
        self._api.check(error, "uc_mem_map_ptr")
        after = self.ram.size  # the emulator numbers its memory in the order in which it was given
        return lambda offset, size: self._invalidate(self.uc, after + offset, after + offset + size)

    def map_code(self, below: int, physical: int, size: int) -> int:
        """Make `size` bytes of physical memory, which a large page holds, code of the kernel at a free place next below an address; that
        place. Raises LookupError without one."""
        raise NotImplementedError

    def trap_address(self) -> int:
        """For the callbacks: the address of the breakpoint instruction that has trapped."""
        return c_uint64.from_address(self.pc_place).value - self.arch.breakpoint.advance

    def go_to(self, address: int) -> None:
        """Within the callback of an exception: go on there."""
        c_uint64.from_address(self.pc_place).value = address

    def interrupted(self, number: int) -> None:
        """For the callbacks: exceptions that are not ours are the kernel's, which `deliver` of the extension sees to."""

    @property
    def pc_place(self) -> int:
        """Where the guest's pc lies in this process."""
        raise NotImplementedError

    def exception(self, number: int) -> int:
        """Within the callback of an exception: what the kernel is told of it, the vector or the syndrome."""
        return number

    # running

    def interrupt(self, level: bool) -> None:
        """The line of the interrupt controller."""
        if level and not self.line:
            self.since = self.words.now
        self.line = level

    @property
    def awake(self) -> bool:
        """Whether something is there to end a wait for interrupts."""
        return bool(self.interrupt_request.value & HARD)

    @property
    def dead(self) -> bool:
        """Whether it waits and no interrupt could end that."""
        return False

    def run(self) -> bool:
        """Run until somebody asks for a stop (True) or the processor waits for an interrupt (False).

        Raises whatever a callback raised, LockedUp, KeyboardInterrupt when Ctrl-C was pressed, UnicornError; may be called again after the
        first two.
        """
        state = self.state
        hook, sys.unraisablehook = sys.unraisablehook, self._lost
        try:
            while True:
                if self.halted:
                    if not self.awake:
                        return False
                    self.halted = False
                if self._error is not None:
                    self._raise()
                error = self.callbacks.start()
                state.pc = self._read(self.arch.pc)
                self.halted = bool(self._halted.value)
                if self._error is not None:
                    self._raise()
                if error:
                    raise UnicornError(f"at {state.pc:#x}: {self.library.uc_strerror(error).decode()}")
                if self._going is not None:
                    state.pc, registers = self._going
                    self._going = None
                    self.set_general(registers)
                    state.fired = state.pc
                if state.stopping == GO:
                    state.stopping = 0
                if state.stopping:
                    state.stopping = 0
                    return True
        finally:
            sys.unraisablehook = hook

    def _raise(self) -> NoReturn:
        raised, self._error = self._error, None
        self.state.stopping = 0
        assert raised is not None
        raise raised

    def go(self, address: int, registers: bytes) -> None:
        """From within a point's callback, which the block it was called for does not outlive: go on at `address`, whose own points are
        passed by, with these general registers (see `general`)."""
        self._going = address, registers
        if not self.state.stopping:
            self.state.stopping = GO

    def attend(self) -> None:
        """For the block callback: the deadline is reached."""
        try:
            self.on_attend()
            self.clock.run_due()
            self.deliver()
            if self.line:
                self._look_for_lockup()
        except BaseException as error:
            self.fail(error)

    def _look_for_lockup(self) -> None:
        """Raises LockedUp. With the host's time nothing can be told: we may have been stopped ourselves."""
        waited = self.words.now - self.since
        if waited < SPIN_NS or self.clock.real:
            return
        spin = SPIN[self.arch.name]
        if waited >= LOCKUP_NS or self.read(self.state.pc, len(spin)) == spin:
            raise LockedUp("the guest accepts no interrupts any more")

    def deliver(self) -> None:
        """A block begins, and time was attended to: have a pending interrupt taken here, or at the next block if this one is in a slot."""
        raise NotImplementedError

    def enter(self) -> bool:
        """For the callbacks: system calls are the kernel's own."""
        return True

    def miss(self, address: int, access: int) -> int:
        """For the callbacks: page tables are the kernel's own."""
        return 0

    def check(self, code: bytes, size: int, pend: Callable[[bool], None]) -> None:
        """Run a trap instruction and a wait for interrupts with an interrupt pending, and see that every private word is what it is taken
        for. Leaves everything as it was. Raises UnsupportedLibrary.

        code: begins with the two, `size` bytes of them; what follows is where exceptions lead, and waits too.
        pend: makes an interrupt pending that the processor is asked to take and does not get, or takes that back.
        """
        traps: list[int] = []

        def trap() -> bool:
            traps.append(self.words.now)
            pend(False)
            return True

        view, old, now = self.ram.view, bytes(self.ram.view[: len(code)]), self.words.now
        view[: len(code)] = code
        self.on_trap, former = trap, self.on_trap
        self.state.pc = self.ram.base
        waited = self._halted.value
        limit = self.clock.add(now + _CHECK_LIMIT, self.request_stop)
        pend(True)
        self.in_pieces.value = 8  # a run begins with none
        error = self.callbacks.start()
        found = (error, len(traps), waited, self._halted.value, self.in_pieces.value, self.words.now - now)
        expected = (0, 1, 0, 1, 0, size)
        self.clock.cancel(limit)
        self.state.stopping = 0
        self.on_trap = former
        view[: len(code)] = old
        self._invalidate(self.uc, 0, PAGE)
        self.words.now = now
        self.state.block = self.state.size = self.state.pc = 0
        self.clock.arm()
        if found != expected or self._error is not None:
            raise mismatch("a run of two instructions (error, traps, halted before and after, accesses in pieces, bytes)", expected, found)

    def close(self) -> None:
        self._shortcuts = self._coherence = None  # they know the emulator by its address, which another may get
        super().close()

    # contexts

    def general(self) -> bytes:
        """The general registers and the stack pointer, as 64-bit words in the order of the emulator."""
        return ctypes.string_at(self._general, self._general_size)

    def set_general(self, registers: bytes) -> None:
        """Make them what `general` gave."""
        ctypes.memmove(self._general, registers, self._general_size)

    def general_index(self, name: str) -> int:
        """Which of the words of `general` a register is."""
        return (ctypes.addressof(self._words_of[name]) - self._general) // 8

    def returned(self, registers: bytes, result: int) -> tuple[int, bytes]:
        """Where a function whose first instruction was about to execute with these registers returns to, and the registers then."""
        raise NotImplementedError

    def calling(self, registers: bytes, back: int) -> bytes:
        """The registers of a function's first instruction with another return address, `back`."""
        raise NotImplementedError

    def inside(self, registers: bytes) -> bytes:
        """Registers from the middle of a function, as `kernel_stack` expects them at its beginning."""
        return registers

    def linear(self, physical: int) -> int:
        """Where the kernel's mapping of all memory has a physical address. Raises LookupError."""
        raise NotImplementedError

    @property
    def _registers(self) -> tuple[int, int]:
        """Where the registers lie in this process, and how many bytes of them are a program's and the kernel's to see."""
        size = self.library.uc_context_size(self.uc) - self.offsets.context_header & ~15
        return pointer(self.cpu + self.offsets.env), size

    def save(self) -> bytes:
        """The processor's registers, to be loaded by the same build of libunicorn."""
        return ctypes.string_at(*self._registers)

    def load(self, data: bytes) -> None:
        """Make what `save` gave the processor's registers. Raises ValueError when it is of another size."""
        address, size = self._registers
        if len(data) != size:
            raise ValueError("registers of another processor")
        ctypes.memmove(address, data, size)
        self.state.pc = self._read(self.arch.pc)
