"""An arm64 processor (Cortex-A53) for booting: reset into EL1, exceptions, the generic timer's registers, cache maintenance.

The architecture's documents are the Arm ARM (DDI 0487) and, for how Linux is entered, Documentation/arch/arm64/booting.rst. The model is
the Cortex-A53 because nothing in it comes from the host: the emulator's richer ones have RNDR, which does.
"""

from __future__ import annotations

import ctypes
import struct
from collections.abc import Callable
from ctypes import c_uint32, c_uint64, c_void_p
from functools import cache
from typing import TYPE_CHECKING

from pyprobe.runtime.machine import unicorn
from pyprobe.runtime.machine.arm64 import ARM64, CNTPCT_EL0, CNTVCT_EL0, CP_REG, CpReg, SystemRegister
from pyprobe.runtime.machine.clock import Clock
from pyprobe.runtime.machine.cpu_state import verify_word
from pyprobe.runtime.machine.library import pointer
from pyprobe.runtime.system.code_arm64 import entry_task, frameless
from pyprobe.runtime.system.cpu import HARD, Processor
from pyprobe.runtime.system.internals import mismatch
from pyprobe.runtime.system.ram import PAGE, Ram

if TYPE_CHECKING:
    from pyprobe.runtime.system.description import SystemDescription

CORTEX_A53 = 1  # uc_cpu_arm64
COUNTER_SHIFT = 4  # 16 ns a tick: 62.5 MHz, what CNTFRQ_EL0 says
TRAP = 0x7070  # the immediate of the SVC that is a call to this machine
HVC, SMC, SVC = 11, 13, 2  # exception numbers of the emulator

_PSTATE, _SP_EL0 = 265, 270  # uc_arm64_reg
_EL1H_MASKED = 0x3C5  # PSTATE: EL1 with its own stack, all interrupts masked

# ARMCPRegInfo: name, type, opaque, fieldoffset, readfn, writefn
_NAME, _TYPE, _OPAQUE, _FIELD, _READ, _WRITE = 0, 20, 32, 48, 80, 88

ADDRESS = 0xFFFF_FFFF_F000  # of a table or page, in a descriptor
VALID, TABLE = 1, 2
KERNEL = 1 << 63  # and above: addresses that TTBR1_EL1 translates
LINEAR = (0xFFFF_0000_0000_0000, 0xFFF0_0000_0000_0000)  # with addresses of 48 bits, and of 52

SP_EL0 = SystemRegister(3, 0, 4, 1, 0)
TTBR0_EL1 = SystemRegister(3, 0, 2, 0, 0)
TTBR1_EL1 = SystemRegister(3, 0, 2, 0, 1)
TPIDR_EL1 = SystemRegister(3, 0, 13, 0, 4)
CNTV_TVAL_EL0, CNTV_CTL_EL0, CNTV_CVAL_EL0 = (SystemRegister(3, 3, 14, 3, n) for n in range(3))
CNTP = tuple(SystemRegister(3, 3, 14, 2, n) for n in range(3))
VBAR_EL3 = SystemRegister(3, 6, 12, 0, 0)
SCR_EL3, CPTR_EL3 = SystemRegister(3, 6, 1, 1, 0), SystemRegister(3, 6, 1, 1, 2)
HCR_EL2, CPTR_EL2 = SystemRegister(3, 4, 1, 1, 0), SystemRegister(3, 4, 1, 1, 2)
CNTHCTL_EL2, CNTVOFF_EL2 = SystemRegister(3, 4, 14, 1, 0), SystemRegister(3, 4, 14, 0, 3)
DC_ZVA = SystemRegister(1, 3, 7, 4, 1)
DC_CVAU, IC_IVAU = SystemRegister(1, 3, 7, 11, 1), SystemRegister(1, 3, 7, 5, 1)

RESET = (
    (SCR_EL3, 0x531 | 3 << 16),  # below: non-secure, 64-bit, HVC allowed
    (HCR_EL2, 1 << 31 | 3 << 40),  # EL1 is 64-bit
    (CNTHCTL_EL2, 3),  # counter and timer belong to EL1
    (CNTVOFF_EL2, 0),
    (CPTR_EL3, 0x100),  # floating point is not trapped
    (CPTR_EL2, 0x32FF),
)
"""The processor starts in EL3; this is what firmware and a hypervisor set before they enter a kernel."""

PT_REGS = {**ARM64.state, "pc": 8 * 32, "pstate": 8 * 33}
"""Offsets in struct user_pt_regs, with which struct pt_regs begins (arch/arm64/include/uapi/asm/ptrace.h)."""

READ = ctypes.CFUNCTYPE(c_uint64, c_void_p, c_void_p)
WRITE = ctypes.CFUNCTYPE(None, c_void_p, c_void_p, c_uint64)
SYS = ctypes.CFUNCTYPE(c_uint32, c_void_p, ctypes.c_int, c_void_p, c_void_p)
INS_SYS = 3  # uc_arm64_insn
ZVA_BLOCK = 64  # bytes that DC ZVA zeroes: 4 << DCZID_EL0.BS
BLOCK, _CONTIGUOUS = 1 << 21, 1 << 52  # what an entry of the second level maps, in bytes; its bit for entries that belong together
STACK = 4 * PAGE  # THREAD_SIZE with pages of 4 KB
_WAIT = 0xD503_207F  # wfi
_TRAP_AND_WAIT = struct.pack("<2I504xI", 0xD400_0001 | TRAP << 5, _WAIT, _WAIT)  # svc #TRAP; the last one is the exception vector


class Arm64(Processor):
    """`on_call` answers HVC and SMC: it gets the function's number and first argument and returns x0."""

    arch = ARM64
    suffix = "aarch64"
    fill_symbol = "arm_cpu_tlb_fill_aarch64"
    pt_regs = PT_REGS

    def __init__(self, ram: Ram, clock: Clock, *, native: bool | None = None) -> None:
        super().__init__(ram, clock, model=CORTEX_A53, native=native)
        self.on_call: Callable[[int, int], int] = lambda function, argument: -1
        self._clears: list[Callable[[int, int], None]] = []
        offsets = self.offsets
        self.env = pointer(self.cpu + offsets.env)
        if self.env != self.cpu + offsets.arm_state:
            raise mismatch("CPUState.env_ptr", hex(self.cpu + offsets.arm_state), hex(self.env))
        self._check_registers()
        self._table = pointer(self.cpu + offsets.arm_registers)
        self._find = ctypes.PYFUNCTYPE(c_void_p, c_void_p, c_uint32)(self.function("get_arm_cp_reginfo_aarch64"))
        self.sp_el0 = self.word(SP_EL0, "SP_EL0")
        self._ttbr0, self._ttbr1 = self.word(TTBR0_EL1, "TTBR0_EL1"), self.word(TTBR1_EL1, "TTBR1_EL1")
        self._install()
        self.set_system(VBAR_EL3, ram.base)
        self.check(_TRAP_AND_WAIT, 8, self.interrupt)
        self.set_system(VBAR_EL3, 0)

    def _check_registers(self) -> None:
        first = self.env + self.offsets.arm_x0
        for name, offset in ARM64.state.items():
            if offset < 8 * 31 and verify_word(first + offset, lambda value, name=name: self._write(name, value)) is None:  # type: ignore[misc]  # binds the loop's value
                raise mismatch(f"register {name}", "in its place", "elsewhere")
            self._write(name, 0) if offset < 8 * 31 else None
        self._words_of = {name: c_uint64.from_address(first + offset) for name, offset in ARM64.state.items()}
        self._general, self._general_size = first, 8 * 32

    def _entry(self, register: SystemRegister, name: str = "") -> int:
        """The emulator's description of a system register. name: what it must be called there."""
        op0, op1, crn, crm, op2 = register
        key = 1 << 28 | 0x13 << 16 | op0 << 14 | op1 << 11 | crn << 7 | crm << 3 | op2
        entry: int | None = self._find(self._table, key)
        if not entry:
            raise mismatch(f"system register {name or register}", "known", "missing")
        if name:
            found = ctypes.string_at(pointer(entry + _NAME))
            if found != name.encode():
                raise mismatch(f"system register {register}", name, found.decode("ascii", "replace"))
        return entry

    def word(self, register: SystemRegister, name: str) -> c_uint64:
        """Where the value of a plain system register lies. name: what the emulator calls it, to be sure."""
        return c_uint64.from_address(self.env + pointer(self._entry(register, name) + _FIELD))

    def set_system(self, register: SystemRegister, value: int) -> None:
        """Write a system register as software would."""
        op0, op1, crn, crm, op2 = register
        self._store(CP_REG, CpReg(crn, crm, op0, op1, op2, value))

    def provide(
        self,
        register: SystemRegister,
        read: Callable[[], int] | None = None,
        write: Callable[[int], None] | None = None,
    ) -> None:
        """Have a system register answered by a device."""
        entry = self._entry(register)

        def on_read(env: int, which: int) -> int:
            try:
                return read() if read else 0
            except BaseException as error:
                self.fail(error)
                return 0

        def on_write(env: int, which: int, value: int) -> None:
            try:
                if write:
                    write(value)
            except BaseException as error:
                self.fail(error)

        reader, writer = READ(on_read), WRITE(on_write)
        self._keep += [reader, writer]
        c_uint64.from_address(entry + _READ).value = ctypes.cast(reader, c_void_p).value or 0
        c_uint64.from_address(entry + _WRITE).value = ctypes.cast(writer, c_void_p).value or 0

    def _install(self) -> None:
        deliver = self.function("arm_cpu_do_interrupt_aarch64")
        self._deliver = ctypes.PYFUNCTYPE(None, c_void_p)(deliver)
        settings = {
            "handed": 1 << HVC | 1 << SMC,
            "syndrome": self.env + self.offsets.arm_syndrome,
            "trap": TRAP,
            "deliver": deliver,
            "cpu": self.cpu,
            "special": self._special,
            "words": ctypes.addressof(self.words),
            "shift": COUNTER_SHIFT,
            "uc": self.uc,
            "translate": self.function("uc_vmem_translate"),
            "invalidate": self.function(f"tb_invalidate_phys_range_{self.suffix}"),
            "ram": self.ram.base,
            "ram_size": self.ram.size,
            "in_pieces": ctypes.addressof(self.in_pieces),
        }
        if self.native:
            from pyprobe.runtime.system._native import Glue
        else:
            from pyprobe.runtime.system.twin import Glue  # type: ignore[assignment]  # the same, in Python
        self.glue = glue = Glue(**settings)  # type: ignore[arg-type]  # numbers, and one function
        exception, counter, clean, user = glue.addresses()
        self._api.hook_add(self.uc, unicorn.HOOK_INTR, exception, user)
        for register in (CNTPCT_EL0, CNTVCT_EL0):
            entry = self._entry(register)
            c_uint64.from_address(entry + _OPAQUE).value = user
            c_uint64.from_address(entry + _READ).value = counter
        for register in (IC_IVAU, DC_CVAU):
            entry = self._entry(register)
            c_uint32.from_address(entry + _TYPE).value = 0  # no longer "does nothing"
            c_uint64.from_address(entry + _OPAQUE).value = user
            c_uint64.from_address(entry + _WRITE).value = clean
        for register in CNTP:
            self.provide(register)  # the physical timer is a hypervisor's; it never fires

    def watch_lines(self, cleared: Callable[[int, int], None]) -> None:
        """For DC ZVA, with which the kernel clears pages and more. The emulator asks one hook alone."""
        self._clears.append(cleared)
        if len(self._clears) > 1:
            return

        def executed(uc: int, register: int, operands: int, user: int) -> int:
            try:
                found = CpReg.from_address(operands)
                if (found.op0, found.op1, found.crn, found.crm, found.op2) == DC_ZVA and not self.state.stopping:
                    for tell in self._clears:
                        tell(found.val & -ZVA_BLOCK, ZVA_BLOCK)
            except BaseException as error:
                self.fail(error)
            return 0  # it is still to be executed

        self.hook_python(unicorn.HOOK_INSN, SYS(executed), INS_SYS)

    def _special(self, number: int) -> None:
        try:
            if number == SVC:
                if not self.on_trap():
                    self._deliver(self.cpu)
            else:
                function, argument = self._words_of["x0"].value & 0xFFFF_FFFF, self._words_of["x1"].value
                self._words_of["x0"].value = self.on_call(function, argument) & 0xFFFF_FFFF_FFFF_FFFF
        except BaseException as error:
            self.fail(error)

    def reset(self, entry: int, device_tree: int) -> None:
        """Be as a boot loader leaves the processor: EL1, interrupts masked, MMU off, at the kernel's entry, the device tree in x0."""
        for register, value in RESET:
            self.set_system(register, value)
        self._store(_PSTATE, _EL1H_MASKED)
        self.set_system(CNTVOFF_EL2, 0)  # a write of a system register makes the emulator notice the new exception level
        for i in range(31):
            self.set(f"x{i}", 0)
        self.set("x0", device_tree)
        self.set("pc", entry)

    def interrupt(self, level: bool) -> None:
        super().interrupt(level)
        if level:
            self.interrupt_request.value |= HARD
            self.clock.interrupt()
        else:
            self.interrupt_request.value &= ~HARD

    def deliver(self) -> None:
        if not self.line:
            return
        if self.state.pc in self.slots:
            self.interrupt_request.value &= ~HARD
            self.clock.interrupt()
        else:
            self.interrupt_request.value |= HARD
            self.state.kick = 1

    @property
    def awake(self) -> bool:
        if self.line:
            self.interrupt_request.value |= HARD
        return self.line

    @property
    def user_mode(self) -> bool:
        """Whether the processor executes a program, not the kernel."""
        return self._fetch(_PSTATE) & 0xC == 0

    def current_task(self, kernel: SystemDescription) -> Callable[[], int]:
        """The kernel keeps its address in SP_EL0 (arch/arm64/include/asm/current.h). That is the program's stack while a program runs;
        then the per-cpu variable `__entry_task` has it, which the kernel's entry reads."""
        word, cpu_offset, view = self.sp_el0, self.word(TPIDR_EL1, "TPIDR_EL1"), self.ram.view
        find = cache(lambda: entry_task(kernel))  # when it is needed: many a script asks for nothing while a program runs

        def current() -> int:
            address = word.value
            if address >= KERNEL:
                return address
            entry = find()
            if not entry:
                return address
            start = self.translate(entry + cpu_offset.value & 0xFFFF_FFFF_FFFF_FFFF)
            return int.from_bytes(view[start : start + 8], "little") if start >= 0 else 0

        return current

    def stack_pointer(self) -> int:
        """The stack pointer in use."""
        return self._words_of["sp"].value

    def return_place(self) -> tuple[int, int]:
        """At a function's first instruction: the stack pointer after its return, and the return address."""
        words = self._words_of
        return words["sp"].value, words["lr"].value

    def returned(self, registers: bytes, result: int) -> tuple[int, bytes]:
        at = 8 * self.general_index("lr")
        return int.from_bytes(registers[at : at + 8], "little"), struct.pack("<Q", result) + registers[8:]

    def calling(self, registers: bytes, back: int) -> bytes:
        at = 8 * self.general_index("lr")
        return registers[:at] + struct.pack("<Q", back) + registers[at + 8 :]

    def inside(self, registers: bytes) -> bytes:
        """The link register holds anything there; the caller is in the frame record."""
        at = 8 * self.general_index("fp")
        link = self.read(int.from_bytes(registers[at : at + 8], "little") + 8 & (1 << 64) - 1, 8) or bytes(8)
        return registers[: at + 8] + link + registers[at + 16 :]

    def linear(self, physical: int) -> int:
        """Where linear mappings begin depends on the size of virtual addresses (PAGE_OFFSET, arch/arm64/include/asm/memory.h)."""
        offset = physical - self.ram.base
        for base in LINEAR:
            if self.translate(base + offset) == offset:
                return base + offset
        raise LookupError(f"{physical:#x} is not mapped")

    def kernel_stack(self, limit: int, kernel: SystemDescription) -> tuple[int, ...]:
        """By the frame records (AAPCS64, 6.4.6). Where a function has made none yet, its caller is in the link register alone."""
        if self.user_mode:
            return ()
        words, pc, word = self._words_of, self.state.pc, self.word_reader()
        frames = [pc]
        if words["lr"].value >> 63 and frameless(kernel, pc):
            frames.append(words["lr"].value)
        record = words["fp"].value
        stacks: set[int] = set()  # those that the walk has been on, by number
        while record >> 63 and len(frames) < limit:
            above, address = word(record), word(record + 8)
            if not address >> 63:
                break
            frames.append(address)
            stacks.add(record // STACK)
            if above <= record and above // STACK in stacks:
                break
            record = above
        return tuple(frames[:limit])

    def saved_register(self, top: int, name: str, kernel: SystemDescription) -> int:
        place = PT_REGS.get(name)
        size = kernel.size("struct pt_regs")
        return self.number(top - size + place) if place is not None and size else 0

    def address_space(self) -> int:
        return self._ttbr0.value & ADDRESS

    def translate(self, address: int, tables: int | None = None) -> int:
        """The walk of a 4 KB granule with four levels, as Linux sets it up with 48-bit addresses (DDI 0487, D8.3)."""
        ram, base = self.ram, self.ram.base
        if tables is None or address >> 63:
            tables = (self._ttbr1 if address >> 63 else self._ttbr0).value & ADDRESS
        table = tables
        shift = 39
        while True:
            offset = table - base + (address >> shift & 511) * 8
            if not 0 <= offset < ram.size:
                return -1
            entry = int.from_bytes(ram.view[offset : offset + 8], "little")
            if not entry & VALID:
                return -1
            if shift == 12 or not entry & TABLE:
                size = 1 << shift
                found = (entry & ADDRESS & -size) + (address & size - 1) - base
                return found if 0 <= found < ram.size else -1
            table = entry & ADDRESS
            shift -= 9

    # breakpoints

    @property
    def pc_place(self) -> int:
        return self.env + self.offsets.arm_pc

    def exception(self, number: int) -> int:
        return c_uint32.from_address(self.env + self.offsets.arm_syndrome).value

    def map_code(self, below: int, physical: int, size: int) -> int:
        """In the region of modules, which ends where the kernel's image begins and is filled from its other end. The attributes are those
        of the image's own code."""
        view, base, root = self.ram.view, self.ram.base, self._ttbr1.value & ADDRESS
        assert size == BLOCK

        def entry(table: int, shift: int, address: int) -> tuple[int, int]:
            offset = table - base + (address >> shift & 511) * 8
            return offset, int.from_bytes(view[offset : offset + 8], "little")

        def directory(address: int) -> int:
            table = root
            for shift in (39, 30):
                _, found = entry(table, shift, address)
                if found & (VALID | TABLE) != VALID | TABLE:
                    raise LookupError("no page tables where the kernel is")
                table = found & ADDRESS
            return table

        _, attributes = entry(directory(below), 21, below)
        if attributes & TABLE:
            _, attributes = entry(attributes & ADDRESS, 12, below)
        attributes &= ~(ADDRESS | TABLE | _CONTIGUOUS)
        for place in range((below & -BLOCK) - BLOCK, (below & -BLOCK) - 16 * BLOCK, -BLOCK):
            offset, found = entry(directory(place), 21, place)
            if not found:
                view[offset : offset + 8] = (attributes | physical).to_bytes(8, "little")
                return place
        raise LookupError("no free place near the kernel's code")
