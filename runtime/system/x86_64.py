"""An x86-64 processor for booting: long mode, exceptions and interrupts, SYSCALL, port I/O, CPUID and the time-stamp counter.

The architecture's document is the Intel SDM. The emulator delivers exceptions through its own functions; interrupts it can only take with
vector 0, so that the method by which it takes them is replaced by one that asks the interrupt controller.
"""

from __future__ import annotations

import ctypes
import struct
from collections.abc import Callable
from ctypes import byref, c_bool, c_int, c_uint32, c_uint64, c_void_p
from functools import cache
from typing import TYPE_CHECKING

from pyprobe.runtime.machine import unicorn
from pyprobe.runtime.machine.clock import Clock
from pyprobe.runtime.machine.cpu_state import verify_word
from pyprobe.runtime.machine.library import pointer
from pyprobe.runtime.machine.x86_64 import INS_CPUID, INS_IN, INS_OUT, INS_RDTSC, INS_RDTSCP, INS_SYSCALL, X86_64
from pyprobe.runtime.system import linkage
from pyprobe.runtime.system.cpu import HARD, Processor
from pyprobe.runtime.system.internals import mismatch
from pyprobe.runtime.system.orc import Orc
from pyprobe.runtime.system.ram import Ram
from pyprobe.runtime.system.shortcuts import METHODS

if TYPE_CHECKING:
    from pyprobe.runtime.system.description import SystemDescription
    from pyprobe.runtime.system.devices.uart8250 import Uart8250

QEMU64 = 0  # uc_cpu_x86
TRAP = 0x50_5900  # rax >> 8 of a SYSCALL that is a call to this machine

_DS, _ES, _SS, _CR0, _CR3, _CR4, _IDTR, _GDTR, _MSR = 17, 28, 49, 50, 53, 54, 242, 243, 248  # uc_x86_reg
_LSTAR, _FMASK, _EFER, _STAR, _KERNEL_GS = 0xC000_0082, 0xC000_0084, 0xC000_0080, 0xC000_0081, 0xC000_0102
CS, SS, GS = 1, 2, 5  # segments in the order of CPUX86State
SEGMENT, BASE = 24, 8  # bytes of one, and where in it the base is

IF, SHADOW, CPL = 1 << 9, 1 << 3, 3  # in eflags; in hflags: interrupts wait for one instruction; the privilege level

_SAVED = (
    *("r15", "r14", "r13", "r12", "bp", "bx", "r11", "r10", "r9", "r8", "ax", "cx", "dx", "si", "di"),
    *("orig_ax", "ip", "cs", "flags", "sp", "ss"),
)
PT_REGS = {name: 8 * i for i, name in enumerate(_SAVED)} | {"pc": 8 * _SAVED.index("ip")}
"""Offsets in struct pt_regs (arch/x86/include/asm/ptrace.h)."""
PT_REGS_SIZE = 8 * len(_SAVED)
FRED_PADDING = 16  # above struct pt_regs in kernels that know FRED (TOP_OF_KERNEL_STACK_PADDING)

DIRECT = 0xFFFF_8880_0000_0000  # Documentation/x86/x86_64/mm.rst, without KASLR
ADDRESS = 0x000F_FFFF_FFFF_F000
PRESENT, LARGE = 1, 0x80

PATIENCE_NS = 16_000  # while interrupts are off and one is pending, between two looks at what else there is

TSC_HZ = 1_000_000_000  # the counter is the clock
CRYSTAL_HZ = 25_000_000
_NO_X2APIC_NO_DEADLINE, _HYPERVISOR, _NO_APIC = ~(1 << 21 | 1 << 24), 1 << 31, ~(1 << 9)

IN = ctypes.CFUNCTYPE(c_uint32, c_void_p, c_uint32, c_int, c_void_p)
OUT = ctypes.CFUNCTYPE(None, c_void_p, c_uint32, c_int, c_uint32, c_void_p)
INSTRUCTION = ctypes.CFUNCTYPE(c_int, c_void_p, c_void_p)
TAKE = ctypes.CFUNCTYPE(c_bool, c_void_p, c_int)


class _Table(ctypes.Structure):
    """uc_x86_mmr: a descriptor table's register."""

    _fields_ = [("selector", ctypes.c_uint16), ("base", c_uint64), ("limit", c_uint32), ("flags", c_uint32)]


class _Msr(ctypes.Structure):
    """uc_x86_msr"""

    _fields_ = [("rid", c_uint32), ("value", c_uint64)]


class X86(Processor):
    """`acknowledge` gives the vector of the interrupt that the controller wants taken, or -1."""

    arch = X86_64
    suffix = "x86_64"
    fill_symbol = "x86_cpu_tlb_fill_x86_64"
    pt_regs = PT_REGS

    def __init__(self, ram: Ram, clock: Clock, *, native: bool | None = None) -> None:
        super().__init__(ram, clock, model=QEMU64, native=native)
        self.acknowledge: Callable[[], int] = lambda: -1
        self.port_in: Callable[[int, int], int] = lambda port, size: (1 << 8 * size) - 1
        self.port_out: Callable[[int, int, int], None] = lambda port, size, value: None
        self.orc: Orc | None = None
        offsets = self.offsets
        self.env = pointer(self.cpu + offsets.env)
        if self.env != self.cpu + offsets.x86_state:
            raise mismatch("CPUState.env_ptr", hex(self.cpu + offsets.x86_state), hex(self.env))
        self._check_registers()
        self._eflags = c_uint64.from_address(self.env + offsets.x86_eflags)
        self._hflags = c_uint32.from_address(self.env + offsets.x86_hflags)
        self.callbacks.masks(self.env + offsets.x86_eflags, IF)
        self._gs = c_uint64.from_address(self.env + offsets.x86_segments + SEGMENT * GS + BASE)
        self._kernel_gs = c_uint64.from_address(self.env + offsets.x86_kernel_gs)
        self._install()
        self.set("rax", TRAP << 8)
        self._write("flags", IF | 2)
        asked: list[int] = []
        self.acknowledge = lambda: asked.append(0) or -1  # type: ignore[func-returns-value]  # None
        self.check(b"\x0f\x05\xf4", 3, self.interrupt)  # syscall; hlt
        if not asked:
            raise mismatch("CPUState.interrupt_request", "a place that makes the processor ask for a vector", "another")
        self.acknowledge = lambda: -1
        self.interrupt_request.value = 0
        self.set("rax", 0)
        self._write("flags", 2)

    def _check_registers(self) -> None:
        for name, offset in X86_64.state.items():
            if verify_word(self.env + offset, lambda value, name=name: self._write(name, value)) is None:  # type: ignore[misc]  # binds the loop's value
                raise mismatch(f"register {name}", "in its place", "elsewhere")
            self._write(name, 0)
        self._words_of = {name: c_uint64.from_address(self.env + offset) for name, offset in X86_64.state.items()}
        self._general, self._general_size = self.env, 8 * 16
        o = self.offsets
        for number, offset in ((_STAR, o.x86_star), (_LSTAR, o.x86_lstar), (_FMASK, o.x86_fmask), (_KERNEL_GS, o.x86_kernel_gs)):
            if verify_word(self.env + offset, lambda value, number=number: self.set_msr(number, value)) is None:  # type: ignore[misc]  # binds the loop's value
                raise mismatch(f"model-specific register {number:#x}", "in its place", "elsewhere")
            self.set_msr(number, 0)
        cr3 = verify_word(self.env + o.x86_cr3, lambda value: self._store(_CR3, value))
        if cr3 is None:
            raise mismatch("CR3", "in its place", "elsewhere")
        self._cr3 = cr3
        self._store(_CR3, 0)
        gs = self.env + o.x86_segments + SEGMENT * GS + BASE
        if verify_word(gs, lambda value: self._write("gs_base", value)) is None:
            raise mismatch("segment GS", "in its place", "elsewhere")
        self._write("gs_base", 0)

    def set_msr(self, number: int, value: int) -> None:
        """Write a model-specific register."""
        self._store(_MSR, _Msr(number, value))

    def _install(self) -> None:
        o, general = self.offsets, X86_64.state
        offsets = [general[name] for name in ("rax", "rcx", "rdx", "r11")]
        offsets += [o.x86_eip, o.x86_eflags, o.x86_cc_src, o.x86_cc_op, o.x86_df, o.x86_hflags]
        offsets += [o.x86_segments + SEGMENT * CS, o.x86_segments + SEGMENT * SS, o.x86_star, o.x86_lstar, o.x86_fmask]
        if self.native:
            from pyprobe.runtime.system._native import Entry
        else:
            from pyprobe.runtime.system.twin import Entry  # type: ignore[assignment]  # the same, in Python
        self.glue = glue = Entry(
            state=self.env,
            offsets=struct.pack(f"<{len(offsets)}I", *offsets),
            deliver=self.function("x86_cpu_do_interrupt_x86_64"),
            cpu=self.cpu,
            reg_read=self.function("uc_reg_read"),
            flags=X86_64.registers["flags"],
            words=ctypes.addressof(self.words),
            trap=TRAP,
            special=self._special,
            in_pieces=ctypes.addressof(self.in_pieces),
        )
        exception, syscall, rdtsc, rdtscp, user = glue.addresses()
        self._api.hook_add(self.uc, unicorn.HOOK_INTR, exception, user)
        for instruction, function in ((INS_SYSCALL, syscall), (INS_RDTSC, rdtsc), (INS_RDTSCP, rdtscp)):
            self._api.hook_add(self.uc, unicorn.HOOK_INSN, function, user, instruction=instruction)
        self.hook_python(unicorn.HOOK_INSN, INSTRUCTION(self._cpuid), INS_CPUID)
        self._ask = ctypes.PYFUNCTYPE(None, c_void_p, c_uint32, c_uint32, *[c_void_p] * 4)(self.function("cpu_x86_cpuid_x86_64"))
        self._enter = ctypes.PYFUNCTYPE(None, c_void_p, c_int, c_int)(self.function("do_interrupt_x86_hardirq_x86_64"))
        self._replace_method(self.function("x86_cpu_exec_interrupt_x86_64"), TAKE(self._take))

    def _replace_method(self, old: int, new: ctypes._FuncPointer) -> None:
        self._keep.append(new)
        methods = pointer(self.cpu + self.offsets.cpu_class)
        (place,) = linkage.places(methods, METHODS, old, 1, "CPUClass.cpu_exec_interrupt")
        c_uint64.from_address(place).value = ctypes.cast(new, c_void_p).value or 0

    def connect(self, port_in: Callable[[int, int], int], port_out: Callable[[int, int, int], None], uart: Uart8250, port: int) -> None:
        """Ports: IN is answered by `port_in(port, size)`, OUT by `port_out(port, size, value)`. uart: the console, at `port` and above."""
        self.port_in, self.port_out = port_in, port_out
        functions = IN(self._in), OUT(self._out)
        self._keep += functions
        came, went = (ctypes.cast(function, c_void_p).value or 0 for function in functions)
        user = 0
        if self.native:
            _, _, came, went, user = self._console(uart, port, came, went)
        self._api.hook_add(self.uc, unicorn.HOOK_INSN, came, user, instruction=INS_IN)
        self._api.hook_add(self.uc, unicorn.HOOK_INSN, went, user, instruction=INS_OUT)

    # what the guest does

    def _in(self, uc: int, port: int, size: int, user: int) -> int:
        try:
            return self.port_in(port, size)
        except BaseException as error:
            self.fail(error)
            return 0

    def _out(self, uc: int, port: int, size: int, value: int, user: int) -> None:
        try:
            self.port_out(port, size, value)
        except BaseException as error:
            self.fail(error)

    def _cpuid(self, uc: int, user: int) -> int:
        """The model's answers, but: time is known, there is no APIC, and nobody is asked about hypervisors."""
        try:
            words = self._words_of
            leaf, subleaf = words["rax"].value & 0xFFFF_FFFF, words["rcx"].value & 0xFFFF_FFFF
            a, b, c, d = (c_uint32() for _ in range(4))
            if leaf == 0x15:
                a.value, b.value, c.value = 1, TSC_HZ // CRYSTAL_HZ, CRYSTAL_HZ
            elif leaf == 0x16:
                a.value, b.value, c.value = TSC_HZ // 10**6, TSC_HZ // 10**6, 100
            elif not 0x4000_0000 <= leaf < 0x4000_0100:
                self._ask(self.env, leaf, subleaf, byref(a), byref(b), byref(c), byref(d))
                if leaf == 0:
                    a.value = max(a.value, 0x16)
                elif leaf == 1:
                    c.value = c.value & _NO_X2APIC_NO_DEADLINE | _HYPERVISOR
                    d.value &= _NO_APIC
            for name, value in (("rax", a), ("rbx", b), ("rcx", c), ("rdx", d)):
                words[name].value = value.value
        except BaseException as error:
            self.fail(error)
        return 1  # the instruction is done

    def _special(self, number: int) -> bool:
        try:
            return self.on_trap() is not False
        except BaseException as error:
            self.fail(error)
            return True

    # interrupts

    def interrupt(self, level: bool) -> None:
        super().interrupt(level)
        if level:
            self.clock.interrupt()

    def deliver(self) -> None:
        """An interrupt is taken at the first block at which the processor accepts it; until then the callback looks at every block."""
        if not self.line:
            return
        if self._eflags.value & IF and not self._hflags.value & SHADOW and self.state.pc not in self.slots:
            self.interrupt_request.value |= HARD
            self.state.kick = 1
        else:
            self.state.patience = min(self.clock.deadline, self.clock.words.now + PATIENCE_NS)
            self.clock.wait()

    @property
    def awake(self) -> bool:
        if not (self.line and self._eflags.value & IF):
            return False
        self.interrupt_request.value |= HARD
        return True

    @property
    def dead(self) -> bool:
        """HLT with interrupts off, which is how a PC without power management is halted."""
        return self.halted and not self._eflags.value & IF

    def _take(self, cpu: int, request: int) -> bool:
        """CPUClass.cpu_exec_interrupt"""
        try:
            if not (request & HARD and self._eflags.value & IF) or self._hflags.value & SHADOW:
                return False
            self.interrupt_request.value &= ~HARD
            vector = self.acknowledge()
            if vector < 0:
                return False
            self._enter(self.env, vector, 1)
            return True
        except BaseException as error:
            self.fail(error)
            return False

    # state

    def reset(self, entry: int, parameters: int, *, stack: int, tables: int, descriptors: int) -> None:
        """Be as a boot loader leaves the processor (Documentation/x86/boot.rst, 64-bit boot protocol): long mode, interrupts off.

        Physical addresses: of the kernel's entry, of the boot parameters, of a stack, of identity page tables, of a descriptor table with
        code at 0x10 and data at 0x18.
        """
        for register, table in ((_GDTR, _Table(0, descriptors, 31, 0)), (_IDTR, _Table(0, 0, 0, 0))):
            self._store(register, table)
        self._store(_CR4, 0x20)  # PAE
        self._store(_CR3, tables)
        self.set_msr(_EFER, 0x100)  # LME
        self._store(_CR0, 0x8000_0011)  # PG, ET, PE
        for register in (_DS, _ES, _SS):
            self._store(register, 0x18)
        at = self.env + self.offsets.x86_segments + SEGMENT * CS
        ctypes.memmove(at, struct.pack("<IIQII", 0x10, 0, 0, 0xFFFF_FFFF, _LONG_CODE), SEGMENT)
        self.set("rsi", parameters)
        self.set("rsp", stack)
        self._write("flags", 2)
        self.set("pc", entry)

    @property
    def user_mode(self) -> bool:
        return self._hflags.value & CPL == CPL

    def current_task(self, kernel: SystemDescription) -> Callable[[], int]:
        """The per-cpu variable `current_task` (arch/x86/include/asm/current.h), for a time a member of `pcpu_hot`; per-cpu variables lie
        behind the kernel's GS, which SWAPGS swaps with the program's."""

        @cache  # when it is needed first
        def variable() -> int:
            at = kernel.symbols.get("current_task")
            return kernel.symbols["pcpu_hot"] + kernel.offset("pcpu_hot", "current_task") if at is None else at

        gs, kernel_gs, ram = self._gs, self._kernel_gs, self.ram
        known = -1  # the base whose variable `word` is
        word = c_uint64()

        def current() -> int:
            nonlocal known, word
            base = gs.value
            if not base >> 63:
                base = kernel_gs.value
            if base != known:
                start = self.translate(base + variable() & 0xFFFF_FFFF_FFFF_FFFF)
                if start < 0:
                    return 0
                known, word = base, c_uint64.from_address(ram.address + start)
            return word.value

        return current

    def stack_pointer(self) -> int:
        return self._words_of["rsp"].value

    def return_place(self) -> tuple[int, int]:
        sp = self._words_of["rsp"].value
        return sp + 8, self.number(sp)

    def returned(self, registers: bytes, result: int) -> tuple[int, bytes]:
        words = bytearray(registers)
        at = 8 * self.general_index("rsp")
        sp = int.from_bytes(words[at : at + 8], "little")
        words[at : at + 8] = struct.pack("<Q", sp + 8)
        at = 8 * self.general_index("rax")
        words[at : at + 8] = struct.pack("<Q", result)
        return self.number(sp), bytes(words)

    def calling(self, registers: bytes, back: int) -> bytes:
        """The stack pointer moves by 16 bytes, to be aligned as before."""
        at = 8 * self.general_index("rsp")
        sp = int.from_bytes(registers[at : at + 8], "little") - 16
        self.write(sp, struct.pack("<Q", back))
        return registers[:at] + struct.pack("<Q", sp) + registers[at + 8 :]

    def linear(self, physical: int) -> int:
        if self.translate(DIRECT + physical) != physical - self.ram.base:
            raise LookupError(f"{physical:#x} is not mapped")
        return DIRECT + physical

    def kernel_stack(self, limit: int, kernel: SystemDescription) -> tuple[int, ...]:
        if self.user_mode:
            return ()
        if self.orc is None:
            self.orc = Orc.of(kernel)
        if kernel.modules is not None:
            self.orc.follow(kernel.modules)
        return self.orc.unwind(self.get, self._stack_reader(), limit)

    def _stack_reader(self) -> Callable[[int], int]:
        """Reads words of memory, with the real return addresses where kretprobes wait for returns."""
        word = self.word_reader()
        if not self.diverted:
            return word

        def real(address: int) -> int:
            found = word(address)
            return self.diverted.get(address, found) if found in self.slots else found

        return real

    def saved_register(self, top: int, name: str, kernel: SystemDescription) -> int:
        place = PT_REGS.get(name)
        for padding in (0, FRED_PADDING):
            regs = top - padding - PT_REGS_SIZE
            if place is not None and self.number(regs + PT_REGS["cs"]) & CPL == CPL:
                return self.number(regs + place)
        return 0

    def address_space(self) -> int:
        """The physical address of the page tables of the program that runs."""
        return self._cr3.value & ADDRESS

    def translate(self, address: int, tables: int | None = None) -> int:
        """The direct mapping at once, everything else by the walk of four levels (SDM volume 3, 4.5)."""
        ram = self.ram
        if DIRECT <= address < DIRECT + ram.size:
            return address - DIRECT
        table = self._cr3.value & ADDRESS if tables is None else tables
        shift = 39
        while True:
            offset = table + (address >> shift & 511) * 8
            if offset >= ram.size:
                return -1
            entry = int.from_bytes(ram.view[offset : offset + 8], "little")
            if not entry & PRESENT:
                return -1
            if shift == 12 or (entry & LARGE and shift < 39):
                size = 1 << shift
                found = (entry & ADDRESS & -size) + (address & size - 1)
                return found if found < ram.size else -1
            table = entry & ADDRESS
            shift -= 9

    # breakpoints

    @property
    def pc_place(self) -> int:
        return self.env + self.offsets.x86_eip

    def map_code(self, below: int, physical: int, size: int) -> int:
        """In the hole below the kernel's image, which cleanup_highmap() of the kernel leaves empty."""
        view, table = self.ram.view, self.address_space()
        assert size == LARGE_PAGE
        for shift in (39, 30):
            offset = table + (below >> shift & 511) * 8
            entry = int.from_bytes(view[offset : offset + 8], "little")
            if not entry & PRESENT or entry & LARGE:
                raise LookupError("no page tables where the kernel is")
            table = entry & ADDRESS
        first = below >> 21 & 511
        for index in range(first - 1, -1, -1):
            offset = table + index * 8
            if not any(view[offset : offset + 8]):
                view[offset : offset + 8] = (physical | _CODE_PAGE).to_bytes(8, "little")
                return (below & -LARGE_PAGE) - (first - index) * LARGE_PAGE
        raise LookupError("no free place near the kernel's code")


LARGE_PAGE = 1 << 21
_CODE_PAGE = LARGE | 1 << 6 | 1 << 5 | PRESENT  # dirty, accessed; read-only, the kernel's
_LONG_CODE = 1 << 23 | 1 << 21 | 1 << 15 | 1 << 12 | 1 << 11 | 1 << 9 | 1 << 8  # DESC_ G L P S CS R A
