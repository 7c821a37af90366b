"""The engine: one emulated processor of an architecture, used for all processes in turn.

The only module (with its callbacks in `twin` and `_native`) that works libunicorn. The rules it follows:

* Address translation is virtual: a fill callback answers from the page table of the current `AddressSpace`.
* One block callback is always installed. It counts time, interrupts the run at the clock's deadline and calls the
  probe at the block's address. Runs are stopped there and in syscalls only: stopping elsewhere repeats an access.
* Translated code looks for a stop as a block begins, and after each access only if something may ask for one in the middle of a block.
* What was interrupted at the beginning of a block has not executed, and is not counted nor fired again. After a fault in
  the middle of a block the bytes that did not execute are taken back, so the clock counts executed code, exactly.
"""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Callable
from ctypes import c_int, c_int64, c_uint32, c_uint64, c_void_p
from typing import TYPE_CHECKING, NoReturn

from pyprobe.runtime.machine import translation, unicorn
from pyprobe.runtime.machine.arch import Arch
from pyprobe.runtime.machine.clock import Clock
from pyprobe.runtime.machine.contexts import Context, Contexts
from pyprobe.runtime.machine.cpu_state import find_registers, verify_word
from pyprobe.runtime.machine.disassembly import instructions
from pyprobe.runtime.machine.memory import CACHED, EXECUTED, SHARED, AddressSpace, R, W, X
from pyprobe.runtime.machine.physical import PAGE, PAGE_MASK, PhysicalMemory
from pyprobe.runtime.machine.state import NOWHERE
from pyprobe.runtime.machine.stepping import Stepping
from pyprobe.runtime.machine.stop import Stop, StopKind
from pyprobe.runtime.machine.unicorn import UnicornError

if TYPE_CHECKING:
    from pyprobe.runtime.machine._native import Translation

__all__ = ["Context", "Engine", "Stop", "StopKind"]

INVALID_OPCODE = 6  # the vector of #UD

_INVALID_ADDRESS = 0x588  # uc_struct.invalid_addr: the fill callback is told the page only, and there is no function for the rest

_EXECUTED = ctypes.CFUNCTYPE(None, c_void_p, c_uint64, c_uint32, c_void_p)
_ACCESSED = ctypes.CFUNCTYPE(None, c_void_p, c_int, c_uint64, c_int, c_int64, c_void_p)
_PORT = ctypes.CFUNCTYPE(c_uint32, c_void_p, c_uint32, c_int, c_void_p, c_void_p)
_INSTRUCTION = ctypes.CFUNCTYPE(c_int, c_void_p, c_void_p)


class Engine(Stepping, Contexts):
    """One processor.

    native: use the extension (True: or fail, None: if it is there).
    on_syscall: called within the syscall instruction of the guest, registers readable; True to go on in the guest, False to
        leave `run`. Exceptions leave `run`.
    on_step_fault: told the address of an instruction under a breakpoint that has faulted, and how; True: it is to be tried again.
    why_not: why the extension is not used, or "".
    syscall_arguments: gives the number and the six arguments of the syscall that is being made, unsigned.
    cpu_state: look for the emulator's CPU state, to read registers where they lie. Without it everything is slower, x86 code runs
        in ring 0 and RDRAND is not refused. `cpu_state_found` tells; the attribute `cpu_state` is then the address of the first
        general register.
    """

    def __init__(self, arch: Arch, memory: PhysicalMemory, clock: Clock, *, native: bool | None = None, cpu_state: bool = True) -> None:
        super().__init__(arch, memory, clock)
        self.on_syscall: Callable[[], bool] = lambda: False
        self.on_step_fault: Callable[[int, Stop], bool] | None = None
        self._simulated: int | None = None
        self._fault: tuple[int, int] | None = None
        self._trap: int | None = None
        self._trapped_at: int | None = None  # where, if the emulator went on behind it
        self._at_trap: Context | None = None  # the registers there
        self._translate_again = False
        self.translation: Translation | None = None
        self._cut = False  # the run ends at an address, and goes on from there without that
        self._each: list[Callable[[int, int], None]] = []  # of on_instruction
        self._executed_last = NOWHERE
        self.open(arch.cpu_model, 0, memory.size, memory.base, ((unicorn.CTL_TLB_TYPE, unicorn.TLB_VIRTUAL),))
        self.exit_checks.wanted(False)
        self.choose(native)
        self.cpu_state = find_registers(self.uc, arch.magic, self._read, self._write) if cpu_state else 0
        self.cpu_state_found = self.cpu_state != 0
        if self.cpu_state_found:
            self._words_of = {name: c_uint64.from_address(self.cpu_state + offset) for name, offset in arch.state.items()}
            if arch.syscall_traces is not None:
                link, saved_flags, flags = arch.syscall_traces
                base = self.cpu_state
                self.callbacks.traces(base + arch.state[link], base + arch.state[saved_flags], arch.registers[flags])
        self._pc_word = verify_word(self.cpu_state + arch.state_pc, lambda pc: self._write(arch.pc, pc)) if self.cpu_state_found else None
        self.syscall_arguments = self._arguments_reader()
        self.callbacks.breakpoints(self, self.cpu_state + arch.state_pc if self._pc_word is not None else 0)
        self._install()
        for name, value in arch.initial.items():
            self.set(name, value)
        self.translation = translation.install(self)
        if self.translation is None:
            self.arch.without_translation(self)
        self.set(arch.pc, 0)
        self.start_contexts()
        self.activate(self._space)

    def _install(self) -> None:
        api, callbacks, uc = self._api, self.callbacks, self.uc
        api.hook_add(uc, unicorn.HOOK_TLB_FILL, callbacks.fill, callbacks.user)
        api.hook_add(uc, unicorn.HOOK_BLOCK, callbacks.block, callbacks.user)
        self._syscall_interrupt: int | None = None
        self._call_syscall = ctypes.PYFUNCTYPE(None, c_void_p, c_void_p)(callbacks.syscall)
        api.hook_add(uc, unicorn.HOOK_INTR, callbacks.interrupt, callbacks.user)
        self.arch.setup(self)
        invalidate = api.address(self.arch.invalidate_symbol)
        if invalidate:
            self._invalidate = ctypes.PYFUNCTYPE(None, c_void_p, c_uint64, c_uint64)(invalidate)
        else:
            self._invalidate = lambda uc, start, end: api.ctl(uc, unicorn.CTL_TB_FLUSH)
        self.memory.forget_code.append(self._forget)

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

        self.hook_python(unicorn.HOOK_INSN, _INSTRUCTION(call), instruction)

    def hook_port(self, instruction: int, exception: int, mnemonics: frozenset[str]) -> None:
        """An instruction for input or output traps, whatever the ring; for where it is not refused as it is translated.

        The emulator cannot be stopped there: it executes the rest of the block before the run ends. Without memory, though, and the
        registers are put back as they were at the instruction, the first in the block that is one of `mnemonics`.
        """

        def call(uc: int, port: int, size: int, *rest: int) -> int:
            try:
                if self._trap is None:
                    code = self._space.peek(self.state.block, self.state.size)
                    decoded = instructions(self.arch.name, code, self.state.block)
                    self._trapped_at = next((i.address for i in decoded if i.mnemonic.split()[-1] in mnemonics), None)
                    self._trap = exception
                    self._at_trap = self.new_context()
                    self.save(self._at_trap)
                    self.callbacks.activate({}, self._space.points)
                    self.callbacks.flush()
                self.library.uc_emu_stop(uc)
            except BaseException as error:
                self.fail(error)
            return 0

        self.hook_python(unicorn.HOOK_INSN, _PORT(call), instruction)

    def syscall_interrupt(self, number: int) -> None:
        """For an architecture's setup: the exception `number` is the syscall instruction."""
        self._syscall_interrupt = number

    # registers

    def _arguments_reader(self) -> Callable[[], tuple[int, ...]]:
        names = (self.arch.number, *self.arch.arguments)
        if not self.cpu_state_found:
            return lambda: tuple([self._read(name) for name in names])
        n, a, b, c, d, e, f = (self._words_of[name] for name in names)
        return lambda: (n.value, a.value, b.value, c.value, d.value, e.value, f.value)

    def get_by_api(self, name: str) -> int:
        """A register as libunicorn's function gives it; for tests and for where the CPU state is not found."""
        return self._read(name)

    def set_result(self, value: int) -> None:
        """What the syscall returns."""
        self.set(self.arch.result, value)

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

    def miss(self, address: int, access: int) -> int:
        """For the fill callback: the page-table entry for an access the table alone does not allow, or 0."""
        if self._at_trap is not None:
            return 0  # the program has not come here
        plain = address
        if self.arch.tag_bits & address and not address >> 55 & 1 and access != X:  # with a tag: the table alone knows no such page
            plain &= ~self.arch.tag_bits
        try:
            space = self._space
            before = space.pages.get(plain // PAGE, 0)
            entry = space.fault(plain, access)
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

    # breakpoints

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
            self.hook_python(unicorn.HOOK_CODE, _EXECUTED(self._executed))

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
        self.hook_python(kinds, _ACCESSED(accessed))

    # floating point

    def settle_float(self) -> None:
        """Put the flags of floating-point exceptions into the registers that show them. To be called before they are read."""
        if self.translation is not None:
            self.translation.settle()

    def float_loaded(self) -> None:
        """Registers that control floating point were set."""
        if self.translation is not None and self.translation.control_loaded():
            self._translate_again = True

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
                if self._translate_again:
                    self._translate_again = False
                    self._api.ctl(self.uc, unicorn.CTL_TB_FLUSH)
                self._fault = self._trap = self._trapped_at = None
                state.left = 0
                error = self.callbacks.start()
                state.pc = self._pc_word.value if self._pc_word is not None else self._read(self.arch.pc)
                if self._cut:
                    self._cut = False
                    self._end_at()
                elif self._fault is not None and self._runs_off(*self._fault):
                    continue
                if self._error is not None:
                    self._raise()
                stop = self._reason(error)
                if stop is not None:
                    if self._space.points.origins and self._leave_slot(stop):
                        continue
                    return stop
        finally:
            sys.unraisablehook = hook

    def _runs_off(self, page: int, access: int) -> bool:
        """Whether code runs into a page that is not to be executed, and what is before it must be executed first.

        The emulator fetches across the end of a page before it executes anything of the block: then the block is cut there.
        """
        pc = self.state.pc
        if access != X or self._error is not None or page != (pc & PAGE_MASK) + PAGE:
            return False
        end = pc
        for instruction in instructions(self.arch.name, self._space.peek(pc, page - pc), pc):
            if instruction.mnemonic != ".byte":
                end = instruction.address + len(instruction.code)
        if end == pc:
            return False  # the instruction itself lies across
        self._cut = True
        self._end_at(end)
        return True

    def _end_at(self, *addresses: int) -> None:
        """Let the next run end where this address is reached, or nowhere."""
        self._api.set_exits(self.uc, *addresses)
        if self.translation is not None:
            self.translation.ends(addresses[0] if addresses else NOWHERE)

    def _raise(self) -> NoReturn:
        raised, self._error = self._error, None
        self.state.stopping = 0
        if self._fault is not None and self._fault[1] != X:
            self._rewind()
        assert raised is not None
        raise raised

    def _reason(self, error: int) -> Stop | None:
        state = self.state
        if self._at_trap is not None:
            self.restore(self._at_trap)
            self._at_trap = None
            self.callbacks.activate(self._space.pages, self._space.points)
            self.callbacks.flush()
            if self._trapped_at is not None:
                self.set(self.arch.pc, self._trapped_at)
        elif self._fault is not None:
            page, access = self._fault
            if access != X:
                self._rewind()
            address = c_uint64.from_address(self.uc + _INVALID_ADDRESS).value
            if address & PAGE_MASK & NOWHERE != page:
                address = page
            return Stop(StopKind.FAULT, address=address, access=access)
        if self._trap is not None:
            self._rewind()
            if self._trap == translation.TRANSLATE_AGAIN:
                self._translate_again = True
                return None
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

    def attend(self) -> None:
        """For the block callback: the deadline is reached."""
        try:
            self.clock.run_due()
            self._refresh()
        except BaseException as error:
            self.fail(error)

    def enter(self) -> bool:
        """For the syscall callback: whether to go on in the guest."""
        if self._at_trap is not None:
            return False  # the program has not come here
        try:
            go_on = self.on_syscall()
            if self._space.stale:
                self._refresh()
            return go_on
        except BaseException as error:
            self.fail(error)
            return False

    def interrupted(self, number: int) -> None:
        """For the interrupt callback: an exception that is no breakpoint of ours."""
        if number == self._syscall_interrupt:
            self._call_syscall(self.uc, self.callbacks.user)
        else:
            if self._at_trap is None:
                self._trap = number
            self.library.uc_emu_stop(self.uc)

    def close(self) -> None:
        """Free the emulator. The memory stays."""
        if self.uc:
            self.translation = None  # another emulator may get the same place
            if self._forget in self.memory.forget_code:
                self.memory.forget_code.remove(self._forget)
            super().close()

    def __del__(self) -> None:
        if getattr(self, "uc", 0):
            self.close()
