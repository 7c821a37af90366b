"""The engine: one emulated processor of an architecture, used for all processes in turn.

The only module (with its callbacks in `twin` and `_native`) that works libunicorn. The rules it follows:

* Address translation is virtual: a fill callback answers from the page table of the current `AddressSpace`.
* One block callback is always installed. It counts time, interrupts the run at the clock's deadline and calls the
  probe at the block's address. Runs are stopped there and in syscalls only: stopping elsewhere repeats an access.
* What was interrupted at the beginning of a block has not executed, and is not counted nor fired again. After a fault in
  the middle of a block the bytes that did not execute are taken back, so the clock counts executed code, exactly.
"""

from __future__ import annotations

import ctypes
import struct
import sys
from collections.abc import Callable
from ctypes import byref, c_int, c_int64, c_uint32, c_uint64, c_void_p
from enum import Enum, auto
from typing import TYPE_CHECKING, NamedTuple, NoReturn, Protocol

from pyprobe.runtime.machine import unicorn
from pyprobe.runtime.machine.arch import Arch
from pyprobe.runtime.machine.bound import Bound
from pyprobe.runtime.machine.clock import Clock
from pyprobe.runtime.machine.cpu_state import find_registers, verify_word
from pyprobe.runtime.machine.memory import CACHED, EXECUTED, SHARED, AddressSpace, Points, R, W, X
from pyprobe.runtime.machine.physical import PAGE, PAGE_MASK, PhysicalMemory
from pyprobe.runtime.machine.state import NOWHERE, State
from pyprobe.runtime.machine.unicorn import Library, UnicornError

if TYPE_CHECKING:
    from pyprobe.runtime.machine.twin import TrapHost

INVALID_OPCODE, GENERAL_PROTECTION = 6, 13  # vectors of x86

TRAP_NS = 1000
"""What a breakpoint costs the guest in virtual time: exception, handler and return. A real one takes about a microsecond."""

_INVALID_ADDRESS = 0x588  # uc_struct.invalid_addr: the fill callback is told the page only, and there is no function for the rest

_EXECUTED = ctypes.CFUNCTYPE(None, c_void_p, c_uint64, c_uint32, c_void_p)
_ACCESSED = ctypes.CFUNCTYPE(None, c_void_p, c_int, c_uint64, c_int, c_int64, c_void_p)
_PORT = ctypes.CFUNCTYPE(c_uint32, c_void_p, c_uint32, c_int, c_void_p, c_void_p)
_INSTRUCTION = ctypes.CFUNCTYPE(c_int, c_void_p, c_void_p)


class StopKind(Enum):
    """Why a run ended."""

    SYSCALL = auto()
    FAULT = auto()
    TRAP = auto()
    STOPPED = auto()


class Stop(NamedTuple):
    """The end of a run.

    kind: SYSCALL: `on_syscall` asked for it. FAULT: no `access` (R, W or X) to `address`; the pc is at the instruction.
        TRAP: exception `number` of the emulated processor (x86: the vector). STOPPED: `request_stop`.
    """

    kind: StopKind
    address: int = 0
    access: int = 0
    number: int = 0


class Context:
    """The registers of a task that is not running. Made by `Engine.new_context`."""

    __slots__ = ("block", "fired", "handle", "library", "pc", "size")

    def __init__(self, library: ctypes.PyDLL, handle: int) -> None:
        self.library = library
        self.handle = handle
        self.pc = self.block = self.size = 0
        self.fired = NOWHERE

    def __del__(self) -> None:
        self.library.uc_context_free(self.handle)


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
    def activate(self, pages: dict[int, int], points: Points) -> None: ...
    def planted(self, points: Points, address: int, table: int, callback: Callable[[], object] | None) -> None: ...


class Engine:
    """One processor.

    native: use the extension (True: or fail, None: if it is there).
    on_syscall: called within the syscall instruction of the guest, registers readable; True to go on in the guest, False to
        leave `run`. Exceptions leave `run`.
    on_step_fault: told the address of an instruction under a breakpoint that has faulted, and how; True: it is to be tried again.
    why_not: why the extension is not used, or "".
    cpu_state: look for the emulator's CPU state, to read registers where they lie. Without it everything is slower, x86 code runs
        in ring 0 and RDRAND is not refused. `cpu_state_found` tells; the attribute `cpu_state` is then the address of the first
        general register.
    """

    def __init__(self, arch: Arch, memory: PhysicalMemory, clock: Clock, *, native: bool | None = None, cpu_state: bool = True) -> None:
        self.arch = arch
        self.memory = memory
        self.clock = clock
        self.words = clock.words
        self.state = State()
        self.on_syscall: Callable[[], bool] = lambda: False
        self.on_step_fault: Callable[[int, Stop], bool] | None = None
        self._simulated: int | None = None
        self._api = Library()
        self.library = self._api.library
        self._space = AddressSpace(memory)
        self._context_save, self._context_restore = self.library.uc_context_save, self.library.uc_context_restore
        self._error: BaseException | None = None
        self._fault: tuple[int, int] | None = None
        self._trap: int | None = None
        self._hooks: set[int] = set()  # addresses that have an exact hook
        self._each: list[Callable[[int, int], None]] = []  # of on_instruction
        self._executed_last = NOWHERE
        self._keep: list[object] = []  # C callbacks must outlive the hooks
        self._word = c_uint64()
        count = len(arch.vectors)
        self._vector_bytes = (ctypes.c_ubyte * (16 * count))()
        self._vector_numbers = (c_int * count)(*arch.vectors)
        self._vector_places = (c_void_p * count)(*[ctypes.addressof(self._vector_bytes) + 16 * i for i in range(count)])
        self.trap_cost = TRAP_NS - arch.breakpoint.size - arch.breakpoint.jump
        self.uc = self._open()
        self.callbacks, self.why_not = self._choose(native)
        self.native = not self.why_not
        self._words_of: dict[str, c_uint64] = {}
        self.cpu_state = find_registers(self.uc, arch.magic, self._read, self._write) if cpu_state else 0
        self.cpu_state_found = self.cpu_state != 0
        if self.cpu_state_found:
            self._words_of = {name: c_uint64.from_address(self.cpu_state + offset) for name, offset in arch.state.items()}
            if arch.syscall_traces is not None:
                link, saved_flags, flags = arch.syscall_traces
                base = self.cpu_state
                self.callbacks.traces(base + arch.state[link], base + arch.state[saved_flags], arch.registers[flags])
        self._pc_word = verify_word(self.cpu_state + arch.state_pc, lambda pc: self._write(arch.pc, pc)) if self.cpu_state_found else None
        self._arguments = self._arguments_reader()
        self.callbacks.breakpoints(self, self.cpu_state + arch.state_pc if self._pc_word is not None else 0)
        self._pending_at: int | None = None
        self._install()
        for name, value in arch.initial.items():
            self.set(name, value)
        self.set(arch.pc, 0)
        self._pristine = self._new_context()
        self.activate(self._space)

    # opening

    def _open(self) -> int:
        api, arch, memory = self._api, self.arch, self.memory
        handle = c_void_p()
        api.check(self.library.uc_open(arch.uc_arch, arch.uc_mode, byref(handle)), "uc_open")
        uc = handle.value or 0
        api.ctl(uc, unicorn.CTL_CPU_MODEL, arch.cpu_model)
        if arch.page_size_4k:
            api.ctl(uc, unicorn.CTL_PAGE_SIZE, PAGE)
        api.ctl(uc, unicorn.CTL_TLB_TYPE, unicorn.TLB_VIRTUAL)
        api.ctl(uc, unicorn.CTL_USE_EXITS, 1)  # with no exits at all: a run ends when it is stopped
        api.check(self.library.uc_mem_map_ptr(uc, 0, memory.size, unicorn.PROT_ALL, memory.base), "uc_mem_map_ptr")
        return uc

    def _choose(self, native: bool | None) -> tuple[Callbacks, str]:
        why_not = "not wanted"
        if native is not False:
            try:
                from pyprobe.runtime.machine.native import Native

                return Native(self), ""
            except ImportError as error:
                if native:
                    raise
                why_not = f"the extension was not built: {error}"
        from pyprobe.runtime.machine.twin import Twin

        return Twin(self), why_not

    def function(self, name: str) -> int:
        """For the callbacks: the address of a function of libunicorn."""
        return self._api.address(name)

    def _install(self) -> None:
        api, callbacks, uc = self._api, self.callbacks, self.uc
        api.hook_add(uc, unicorn.HOOK_TLB_FILL, callbacks.fill, callbacks.user)
        api.hook_add(uc, unicorn.HOOK_BLOCK, callbacks.block, callbacks.user)
        self._syscall_interrupt: int | None = None
        self._call_syscall = ctypes.PYFUNCTYPE(None, c_void_p, c_void_p)(callbacks.syscall)
        api.hook_add(uc, unicorn.HOOK_INTR, callbacks.interrupt, callbacks.user)
        self.arch.setup(self)
        invalidate = api.address(self.arch.invalidate_symbol)
        self._invalidate: Callable[[int, int, int], object]
        if invalidate:
            self._invalidate = ctypes.PYFUNCTYPE(None, c_void_p, c_uint64, c_uint64)(invalidate)
        else:
            self._invalidate = lambda uc, start, end: api.ctl(uc, unicorn.CTL_TB_FLUSH)
        self.memory.forget_code.append(self._forget)

    def _hook_python(self, kind: int, function: ctypes._FuncPointer, instruction: int | None = None) -> None:
        self._keep.append(function)
        self._api.hook_add(self.uc, kind, ctypes.cast(function, c_void_p).value or 0, instruction=instruction)

    def hook_instruction(self, instruction: int, function: int) -> None:
        """For an architecture's setup: the C function at `function` runs in place of the instruction (uc_x86_insn)."""
        self._api.hook_add(self.uc, unicorn.HOOK_INSN, function, self.callbacks.user, instruction=instruction)

    def hook_instruction_skip(self, instruction: int, function: Callable[[], None]) -> None:
        """For an architecture's setup: `function` runs in place of an instruction that would ask the host (uc_x86_insn)."""

        def call(uc: int, user: int) -> int:
            try:
                function()
            except BaseException as error:
                self.fail(error)
            return 1  # the instruction is done

        self._hook_python(unicorn.HOOK_INSN, _INSTRUCTION(call), instruction)

    def hook_port(self, instruction: int, exception: int) -> None:
        """For an architecture's setup: an instruction for input or output traps (the emulator would ask a device that is not there)."""

        def call(uc: int, port: int, size: int, *rest: int) -> int:
            self._trap = exception
            self.library.uc_emu_stop(uc)
            return 0

        self._hook_python(unicorn.HOOK_INSN, _PORT(call), instruction)

    def keep(self, function: object) -> None:
        """For an architecture's setup: a C callback that must live as long as the engine."""
        self._keep.append(function)

    def syscall_interrupt(self, number: int) -> None:
        """For an architecture's setup: the exception `number` is the syscall instruction."""
        self._syscall_interrupt = number

    # registers

    def _read(self, name: str) -> int:
        self._word.value = 0
        self.library.uc_reg_read(self.uc, self.arch.registers[name], byref(self._word))
        return self._word.value

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

    def vectors(self) -> bytes:
        """The vector registers of the running task, 16 bytes each, in the order of the architecture's table."""
        self.library.uc_reg_read_batch(self.uc, self._vector_numbers, self._vector_places, len(self._vector_numbers))
        return bytes(self._vector_bytes)

    def set_vectors(self, data: bytes) -> None:
        """Set the vector registers of the running task."""
        ctypes.memmove(self._vector_bytes, data, len(self._vector_bytes))
        self.library.uc_reg_write_batch(self.uc, self._vector_numbers, self._vector_places, len(self._vector_numbers))

    def _arguments_reader(self) -> Callable[[], tuple[int, ...]]:
        names = (self.arch.number, *self.arch.arguments)
        if not self.cpu_state_found:
            return lambda: tuple([self._read(name) for name in names])
        n, a, b, c, d, e, f = (self._words_of[name] for name in names)
        return lambda: (n.value, a.value, b.value, c.value, d.value, e.value, f.value)

    def register(self, name: str) -> Bound:
        """A register as source for a handler. Raises KeyError for an unknown name."""
        number = self.arch.registers[name]
        word = self._words_of.get(name)
        if word is not None:
            return Bound(f"_register_{number}.value", {f"_register_{number}": word})
        if number == self.arch.registers[self.arch.pc]:
            return Bound("_engine_state.pc", {"_engine_state": self.state})
        return Bound(f"_register_{number}()", {f"_register_{number}": lambda: self._read(name)})

    def get_by_api(self, name: str) -> int:
        """A register as libunicorn's function gives it; for tests and for where the CPU state is not found."""
        return self._read(name)

    def syscall_arguments(self) -> tuple[int, ...]:
        """The number and the six arguments of the syscall that is being made, unsigned."""
        return self._arguments()

    def set_result(self, value: int) -> None:
        """What the syscall returns."""
        self.set(self.arch.result, value)

    # contexts

    def _new_context(self) -> Context:
        handle = c_void_p()
        self._api.check(self.library.uc_context_alloc(self.uc, byref(handle)), "uc_context_alloc")
        context = Context(self.library, handle.value or 0)
        self.save(context)
        return context

    def new_context(self) -> Context:
        """The registers of a new program: zeros, and what the kernel initializes. Raises UnicornError."""
        handle = c_void_p()
        self._api.check(self.library.uc_context_alloc(self.uc, byref(handle)), "uc_context_alloc")
        context = Context(self.library, handle.value or 0)
        ctypes.memmove(context.handle, self._pristine.handle, self.library.uc_context_size(self.uc))
        context.pc = self._pristine.pc
        return context

    def save(self, context: Context) -> None:
        """Put the registers of the running task into `context`."""
        self._context_save(self.uc, context.handle)
        state = self.state
        context.pc, context.fired, context.block, context.size = state.pc, state.fired, state.block, state.size

    def restore(self, context: Context) -> None:
        """Make `context` the registers of the running task."""
        self._context_restore(self.uc, context.handle)
        state = self.state
        state.pc, state.fired, state.block, state.size = context.pc, context.fired, context.block, context.size

    def context_get(self, context: Context, name: str) -> int:
        """A register of a task that is not running."""
        if self.arch.registers[name] == self.arch.registers[self.arch.pc]:
            return context.pc
        self._word.value = 0
        self.library.uc_context_reg_read(context.handle, self.arch.registers[name], byref(self._word))
        return self._word.value

    def context_set(self, context: Context, name: str, value: int) -> None:
        """Set a register of a task that is not running."""
        self._word.value = value & NOWHERE
        self.library.uc_context_reg_write(context.handle, self.arch.registers[name], byref(self._word))
        if self.arch.registers[name] == self.arch.registers[self.arch.pc]:
            context.pc = value & NOWHERE

    def forget_exception(self, number: int) -> None:
        """For an architecture's `trapped`: the exception `number` is handled, nothing is being delivered any more.

        The word that says so has no name in the interface. It is the one that was -1 in the fresh CPU and holds `number` now.
        """
        now = self._new_context()
        if self._pending_at is None:
            size = self.library.uc_context_size(self.uc)
            fresh, current = ctypes.string_at(self._pristine.handle, size), ctypes.string_at(now.handle, size)
            none, pending = b"\xff" * 4, struct.pack("<i", number)
            found = [at for at in range(0, size - 3, 4) if fresh[at : at + 4] == none and current[at : at + 4] == pending]
            if len(found) != 1:
                return
            self._pending_at = found[0]
        ctypes.memset(now.handle + self._pending_at, 0xFF, 4)
        self.restore(now)

    @property
    def misses(self) -> int:
        """Misses of the translation buffer so far."""
        return self.state.fills

    # memory

    def activate(self, space: AddressSpace) -> None:
        """Run in `space` from now on."""
        if space is not self._space or space.stale:
            space.stale = False
            self.callbacks.flush()
        self._space = space
        self.callbacks.activate(space.pages, space.points)

    def _refresh(self) -> None:
        if self._space.stale:
            self._space.stale = False
            self.callbacks.flush()

    def _forget(self, frame: int) -> None:
        """Drop what was translated from a frame."""
        self._invalidate(self.uc, frame, frame + PAGE)

    def flush_translations(self, space: AddressSpace, start: int, end: int) -> None:
        """Drop what was translated from these addresses of `space`."""
        for page in range(start // PAGE, -(-end // PAGE)):
            frame = self._frame(space, page)
            if frame:
                low, high = max(start, page * PAGE), min(end, page * PAGE + PAGE)
                self._invalidate(self.uc, frame + low - page * PAGE, frame + high - page * PAGE)

    def _frame(self, space: AddressSpace, page: int) -> int:
        """The frame that a page shows or will show when it is touched, 0 if it is not there yet."""
        entry = space.pages.get(page)
        if entry is not None:
            return entry & PAGE_MASK
        vma = space.find(page * PAGE)
        if vma is None or vma.backing is None:
            return 0
        return vma.backing.frames.get((vma.offset + page * PAGE - vma.start) // PAGE, 0)

    def miss(self, address: int, access: int) -> int:
        """For the fill callback: the page-table entry for an access the table alone does not allow, or 0."""
        try:
            space = self._space
            before = space.pages.get(address // PAGE, 0)
            entry = space.fault(address, access)
            if not entry:
                self._fault = (address, access)
                return 0
            if access == X and not before & EXECUTED and (not entry & CACHED or entry & SHARED):
                self.callbacks.flush()  # translations through other addresses must begin to notice stores
            if entry & SHARED and access == W and entry & PAGE_MASK in self.memory.executed:
                entry |= EXECUTED
            return entry
        except BaseException as error:
            self._fault = (address, access)
            self.fail(error)
            return 0

    # probe points

    def plant(self, space: AddressSpace, address: int, callback: Callable[[], object], *, exact: bool = False) -> None:
        """Call `callback` whenever the instruction at `address` is about to execute in `space`; replaces an earlier one.

        exact: `address` may lie where code falls through into it. Needed in the middle of functions; costs more per hit, and
            all exact points together should be few. Targets of jumps, calls and returns do not need it.
        """
        points = space.points
        where = points.exact if exact else points.blocks
        if exact and address not in where:
            if address not in self._hooks:
                # Hooks stay: one that no space uses costs a lookup, and nobody has to count the spaces that fork and exit.
                self._hooks.add(address)
                self._api.hook_add(self.uc, unicorn.HOOK_CODE, self.callbacks.code, self.callbacks.user, address, address)
            self.flush_translations(space, address, address + 1)
        if self.arch.repeats(space.peek(address, 4)):
            callback = self._first_round(points, address, callback, exact)
        where[address] = callback
        self.callbacks.planted(points, address, int(exact), callback)

    def _first_round(self, points: Points, address: int, callback: Callable[[], object], exact: bool) -> Callable[[], object]:
        """For an instruction that the emulator repeats by jumping to it: call `callback` in the first round only.

        A round is a further one if it begins a block and the block before it (which `state` still shows when the block's own
        point is called) holds the instruction too.
        """
        state = self.state
        further = False

        def arrived() -> None:
            nonlocal further
            further = state.block <= address < state.block + state.size

        def called_at_block() -> None:
            arrived()
            if not further:
                callback()

        def called_exactly() -> None:
            if state.block != address or not further:
                callback()

        if not exact:
            return called_at_block
        points.blocks[address] = arrived
        self.callbacks.planted(points, address, 0, arrived)
        return called_exactly

    def pull(self, space: AddressSpace, address: int) -> None:
        """Undo `plant`; nothing happens where nothing is planted."""
        points = space.points
        for table, where in enumerate((points.blocks, points.exact)):
            if where.pop(address, None) is not None:
                self.callbacks.planted(points, address, table, None)

    # breakpoints

    @property
    def space(self) -> AddressSpace:
        """The space that runs."""
        return self._space

    def trap(self, space: AddressSpace, address: int, callback: Callable[[], int | None]) -> None:
        """Call `callback` when the breakpoint instruction at `address` has trapped in `space`; replaces an earlier one.

        It returns where the guest goes on, or None when the breakpoint is the guest's own after all. Its attribute `step`, a function too,
        says the same without telling anybody: for when the guest was interrupted between the trap and the displaced instruction.
        Putting the breakpoint instruction into memory is the caller's business.
        """
        space.points.traps[address] = callback
        self.callbacks.planted(space.points, address, 2, callback)

    def untrap(self, space: AddressSpace, address: int) -> None:
        """Undo `trap`; nothing happens where there is none."""
        if space.points.traps.pop(address, None) is not None:
            self.callbacks.planted(space.points, address, 2, None)

    def traps_changed(self, space: AddressSpace) -> None:
        """`space.points.traps` was changed directly, as is cheaper for many."""
        space.points.tables = None
        if space is self._space:
            self.callbacks.activate(space.pages, space.points)

    def store(self, address: int, data: bytes) -> None:
        """For callbacks: store in the running task's memory. Raises MemoryFault, OutOfMemory."""
        self._space.write(address, data)
        self._refresh()

    def faulted(self, address: int, access: int) -> int:
        """For a trap's callback that does an instruction's work: the instruction faults. Where it goes on: nowhere else."""
        self._fault = (address, access)
        self._simulated = self.state.pc
        self.state.left = 1
        return self.state.pc

    def trap_address(self) -> int:
        """For the interrupt callback: the address of the breakpoint instruction that has trapped."""
        pc = self._pc_word.value if self._pc_word is not None else self._read(self.arch.pc)
        return pc - self.arch.breakpoint.advance

    def go_to(self, address: int) -> None:
        """For the interrupt callback: go on there."""
        if self._pc_word is not None:
            self._pc_word.value = address
        else:
            self._write(self.arch.pc, address)

    def syscall_instruction(self, after: int) -> int:
        """For a trap's callback: do what a system call instruction in front of `after` does; where to go on."""
        state = self.state
        state.pc = after
        if self.arch.syscall_traces is not None:
            link, saved_flags, flags = self.arch.syscall_traces
            self.set(saved_flags, self._read(flags))
            self.set(link, after)
        if not self.enter():
            state.left = 1
        return after

    def _leave_slot(self, stop: Stop) -> bool:
        """If the run has ended within displaced code, the task is where that code comes from. True: go on, a fault was dealt with."""
        state = self.state
        faulted = stop.kind in (StopKind.FAULT, StopKind.TRAP) and self.on_step_fault is not None
        simulated, self._simulated = self._simulated, None
        if simulated is not None and faulted and self._step_fault(simulated, stop):
            state.fired = simulated
            return True
        for origin in self._space.points.origins:
            found = origin(state.pc)
            if found is not None:
                address, begun = found
                if faulted and not begun and self._step_fault(address, stop):
                    return True
                if stop.kind is StopKind.STOPPED and not begun:
                    state.fired = address
                self.set(self.arch.pc, address)
                break
        return False

    def _step_fault(self, address: int, stop: Stop) -> bool:
        return self.on_step_fault is not None and self.on_step_fault(address, stop)

    # every instruction

    def on_instruction(self, function: Callable[[int, int], None]) -> None:
        """Call `function(address, size)` before each instruction that is executed, from now on. Costs a call from C for each.

        An instruction that the emulator repeats by jumping to it counts once, as in processors. To be asked for before the first run.
        """
        self._each.append(function)
        if len(self._each) == 1:
            self._hook_python(unicorn.HOOK_CODE, _EXECUTED(self._executed))

    def _executed(self, uc: int, address: int, size: int, user: int) -> None:
        state = self.state
        if state.stopping:
            return  # it is not going to be executed now
        try:
            again = address == self._executed_last and self.arch.repeats(self._space.peek(address, 4))
            self._executed_last = address
            if not again:
                state.pc = address
                for function in self._each:
                    function(address, size)
        except BaseException as error:
            self.fail(error)

    def on_access(self, access: int, function: Callable[[int, int], None]) -> None:
        """Call `function(physical address, size)` when an instruction is about to read (R) or write (W) memory, from now on."""

        def accessed(uc: int, kind: int, address: int, size: int, value: int, user: int) -> None:
            try:
                function(address & NOWHERE, size)
            except BaseException as error:
                self.fail(error)

        kinds = (unicorn.HOOK_MEM_READ if access & R else 0) | (unicorn.HOOK_MEM_WRITE if access & W else 0)
        self._hook_python(kinds, _ACCESSED(accessed))

    # running

    def run(self) -> Stop:
        """Run the guest from its pc until something has to be handled.

        Raises whatever a callback raised, KeyboardInterrupt when Ctrl-C was pressed, OutOfMemory; the run may be continued
        after each of them.
        """
        state = self.state
        hook, sys.unraisablehook = sys.unraisablehook, self._lost
        try:
            while True:
                self._refresh()
                self._fault = self._trap = None
                state.left = 0
                error = self.callbacks.start()
                state.pc = self._pc_word.value if self._pc_word is not None else self._read(self.arch.pc)
                if self._error is not None:
                    self._raise()
                stop = self._reason(error)
                if stop is not None:
                    if self._space.points.origins and self._leave_slot(stop):
                        continue
                    return stop
        finally:
            sys.unraisablehook = hook

    def _raise(self) -> NoReturn:
        raised, self._error = self._error, None
        self.state.stopping = 0
        if self._fault is not None and self._fault[1] != X:
            self._rewind()
        assert raised is not None
        raise raised

    def _lost(self, unraisable: sys.UnraisableHookArgs) -> None:
        """Ctrl-C may raise at the very entrance of a callback, where ctypes would print and forget it."""
        if unraisable.exc_value is not None and "ctypes callback" in (unraisable.err_msg or ""):
            self.fail(unraisable.exc_value)
        else:
            sys.__unraisablehook__(unraisable)

    def _reason(self, error: int) -> Stop | None:
        state = self.state
        if self._fault is not None:
            page, access = self._fault
            if access != X:
                self._rewind()
            address = c_uint64.from_address(self.uc + _INVALID_ADDRESS).value
            if address & PAGE_MASK & NOWHERE != page:
                address = page
            return Stop(StopKind.FAULT, address=address, access=access)
        if self._trap is not None:
            self._rewind()
            self.arch.trapped(self, self._trap)
            return Stop(StopKind.TRAP, number=self._trap)
        if error == unicorn.ERR_INSN_INVALID:
            self._rewind()
            return Stop(StopKind.TRAP, number=INVALID_OPCODE)
        if error:
            raise UnicornError(f"at {state.pc:#x}: {self.library.uc_strerror(error).decode()}")
        if state.left:
            return Stop(StopKind.SYSCALL)
        if state.stopping:
            state.stopping = 0
            return Stop(StopKind.STOPPED)
        return None

    def _rewind(self) -> None:
        """Take back the bytes of the block that were counted but not executed."""
        state = self.state
        end = state.block + state.size
        if state.block <= state.pc < end:
            self.words.now -= end - state.pc
            state.size = 0

    def request_stop(self) -> None:
        """End the run at the next block; from within a probe's callback, before the probed instruction executes."""
        self.state.stopping = 1
        self.clock.interrupt()

    def attend(self) -> None:
        """For the block callback: the deadline is reached."""
        try:
            self.clock.run_due()
            self._refresh()
        except BaseException as error:
            self.fail(error)

    def enter(self) -> bool:
        """For the syscall callback: whether to go on in the guest."""
        try:
            go_on = self.on_syscall()
            if self._space.stale:
                self._refresh()
            return go_on
        except BaseException as error:
            self.fail(error)
            return False

    def fail(self, error: BaseException) -> None:
        """For callbacks: keep an exception (the first one) and stop."""
        if self._error is None:
            self._error = error
        self.state.stopping = 1
        self.clock.interrupt()

    def interrupted(self, number: int) -> None:
        """For the interrupt callback: an exception that is no breakpoint of ours."""
        if number == self._syscall_interrupt:
            self._call_syscall(self.uc, self.callbacks.user)
        else:
            self._trap = number
            self.library.uc_emu_stop(self.uc)

    def close(self) -> None:
        """Free the emulator. The memory stays."""
        if self.uc:
            if self._forget in self.memory.forget_code:
                self.memory.forget_code.remove(self._forget)
            self.library.uc_close(self.uc)
            self.uc = 0

    def __del__(self) -> None:
        if getattr(self, "uc", 0):
            self.close()
