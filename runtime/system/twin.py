"""The hot callbacks of a processor in plain Python, for where the extension `_native` is missing; every rule stands there too."""

from __future__ import annotations

import ctypes
import struct
from collections.abc import Callable
from ctypes import byref, c_bool, c_int, c_uint32, c_uint64, c_void_p

from pyprobe.runtime.machine.state import NOWHERE

SVC = 2  # EXCP_SWI of the emulator
PAGE = 4096

INSTRUCTION = ctypes.CFUNCTYPE(c_int, c_void_p, c_void_p)
SYSCALL = ctypes.CFUNCTYPE(None, c_void_p, c_void_p)
EXCEPTION = ctypes.CFUNCTYPE(None, c_void_p, c_uint32, c_void_p)
READ = ctypes.CFUNCTYPE(c_uint64, c_void_p, c_void_p)
WRITE = ctypes.CFUNCTYPE(None, c_void_p, c_void_p, c_uint64)


CLAIM = ctypes.PYFUNCTYPE(c_bool, c_void_p, c_uint32, c_void_p)


class Breakpoints:
    """Breakpoints in the kernel's code, once there is one.

    claim: a callback of ../machine that deals with those of ours, with its data. An exception at an instruction that runs in a slot is
    told to `left` first, which makes it one of the place it stands for; True: it is dealt with. pc: where the guest's pc lies. start, size:
    of the slots.
    """

    def __init__(self) -> None:
        self._size = 0

    def breakpoints(self, claim: int, user: int, pc: int, start: int, size: int, left: Callable[[int], bool]) -> None:
        """Breakpoints there are from now on."""
        self._claim, self._user, self._pc = CLAIM(claim), user, c_uint64.from_address(pc)
        self._start, self._size, self._left = start, size, left

    def _dealt_with(self, uc: int, number: int) -> bool:
        if not self._size:
            return False
        return self._claim(uc, number, self._user) or (0 <= self._pc.value - self._start < self._size and self._left(number))


# what SYSCALL sets in the emulator's CPUX86State
CC_OP_EFLAGS, CC_BITS, DIRECTION, RESUME, ALWAYS = 1, 0x8D5, 0x400, 0x1_0000, 2
HF_CPL, HF_CS32, HF_SS32, HF_ADDSEG, HF_CS64 = 3, 1 << 4, 1 << 5, 1 << 6, 1 << 15
CODE_FLAGS = 1 << 23 | 1 << 21 | 1 << 15 | 1 << 12 | 1 << 11 | 1 << 9 | 1 << 8  # DESC_ G L P S CS R A
DATA_FLAGS = 1 << 23 | 1 << 22 | 1 << 15 | 1 << 12 | 1 << 9 | 1 << 8  # DESC_ G B P S W A
SEGMENT = struct.Struct("<IIQII")  # selector, unused, base, limit, flags


class Glue(Breakpoints):
    """The callbacks of one arm64 processor.

    handed: bit n is set: exception n is for Python, which is called as `special(n)`; so is an SVC whose immediate is `trap`.
    syndrome: address of the word that describes the exception being taken. deliver: the emulator's function that takes one, for `cpu`.
    words, shift: the clock's words, and nanoseconds to ticks of the counter.
    uc, translate, invalidate, ram, ram_size: for the cache instructions: the emulator's functions, and where RAM is.
    in_pieces: address of Processor.in_pieces, which the emulator leaves as it is when an exception ends an access that crosses pages; until
    the next run it reports no writes then.
    All but `special` are numbers, addresses as a rule.
    """

    def __init__(
        self,
        handed: int,
        syndrome: int,
        trap: int,
        deliver: int,
        cpu: int,
        special: Callable[[int], None],
        words: int,
        shift: int,
        uc: int,
        translate: int,
        invalidate: int,
        ram: int,
        ram_size: int,
        in_pieces: int,
    ) -> None:
        super().__init__()
        pieces = c_uint32.from_address(in_pieces)
        exception_syndrome = c_uint32.from_address(syndrome)
        now = c_uint64.from_address(words)
        take = ctypes.PYFUNCTYPE(None, c_void_p)(deliver)
        walk = ctypes.PYFUNCTYPE(c_int, c_void_p, c_uint64, c_int, c_void_p)(translate)
        forget = ctypes.PYFUNCTYPE(None, c_void_p, c_uint64, c_uint64)(invalidate)
        cleaned = NOWHERE

        def on_exception(handle: int, number: int, user: int) -> None:
            nonlocal cleaned
            cleaned = NOWHERE
            pieces.value = 0
            if handed >> number & 1 or (number == SVC and exception_syndrome.value & 0xFFFF == trap):
                special(number)
            elif not self._dealt_with(handle, number):
                take(cpu)

        def read_counter(state: int, which: int) -> int:
            return now.value >> shift

        def clean_line(state: int, which: int, address: int) -> None:
            nonlocal cleaned
            page = address & -PAGE
            if page == cleaned and address != page:
                return
            cleaned = page
            physical = c_uint64()
            if walk(uc, page, 1, byref(physical)):
                cleaned = NOWHERE
                return
            start = (physical.value & -PAGE) - ram
            if 0 <= start < ram_size:
                forget(uc, start, start + PAGE)

        self._keep = (EXCEPTION(on_exception), READ(read_counter), WRITE(clean_line))

    def addresses(self) -> tuple[int, int, int, int]:
        """Addresses of the exception callback, the counter's and the cache's, and their data."""
        exception, counter, clean = (ctypes.cast(function, c_void_p).value or 0 for function in self._keep)
        return exception, counter, clean, 0


class Entry(Breakpoints):
    """The callbacks of one x86-64 processor.

    state: address of the emulator's CPUX86State; offsets: where in it the words lie that SYSCALL reads and sets, 32 bits each, in the order
    of the enum in _native_x86_64.c. deliver: the emulator's function that takes an exception, for `cpu`. reg_read, flags: its function that
    reads a register, and the number of the flags. words: the clock's. trap: a SYSCALL with this above the low byte of rax is for Python,
    which is called as `special(0)` and says whether it was; if not, it is a system call like others.
    in_pieces: see Glue.
    """

    def __init__(
        self,
        state: int,
        offsets: bytes,
        deliver: int,
        cpu: int,
        reg_read: int,
        flags: int,
        words: int,
        trap: int,
        special: Callable[[int], bool],
        in_pieces: int,
    ) -> None:
        super().__init__()
        pieces = c_uint32.from_address(in_pieces)
        at = struct.unpack("<15I", offsets)
        rax, rcx, rdx, r11, rip, eflags, cc_src = (c_uint64.from_address(state + o) for o in at[:7])
        cc_op, direction, hflags = (c_uint32.from_address(state + o) for o in at[7:10])
        cs, ss = ((ctypes.c_char * SEGMENT.size).from_address(state + o) for o in at[10:12])
        star, lstar, fmask = (c_uint64.from_address(state + o) for o in at[12:])
        take = ctypes.PYFUNCTYPE(None, c_void_p)(deliver)
        read = ctypes.PYFUNCTYPE(c_int, c_void_p, c_int, c_void_p)(reg_read)
        now = c_uint64.from_address(words)

        def on_exception(uc: int, number: int, user: int) -> None:
            pieces.value = 0
            if not self._dealt_with(uc, number):
                take(cpu)

        def on_syscall(uc: int, user: int) -> None:
            if rax.value >> 8 == trap and special(0):
                return
            word = c_uint64()
            read(uc, flags, byref(word))
            selector = star.value >> 32 & 0xFFFF
            rcx.value = rip.value + 2
            r11.value = word.value & ~RESUME
            value = word.value & ~(fmask.value | RESUME)
            cc_op.value = CC_OP_EFLAGS
            cc_src.value = value & CC_BITS
            direction.value = 0xFFFF_FFFF if value & DIRECTION else 1
            eflags.value = value & ~(CC_BITS | DIRECTION) | ALWAYS
            cs.raw = SEGMENT.pack(selector & 0xFFFC, 0, 0, 0xFFFF_FFFF, CODE_FLAGS)
            ss.raw = SEGMENT.pack(selector + 8 & 0xFFFC, 0, 0, 0xFFFF_FFFF, DATA_FLAGS)
            hflags.value = hflags.value & ~(HF_CPL | HF_ADDSEG) | HF_CS32 | HF_SS32 | HF_CS64
            rip.value = lstar.value - 2  # the emulator adds the length of SYSCALL

        def on_rdtsc(uc: int, user: int) -> int:
            rax.value = now.value & 0xFFFF_FFFF
            rdx.value = now.value >> 32
            return 1  # the instruction is done

        def on_rdtscp(uc: int, user: int) -> int:
            rcx.value = 0  # IA32_TSC_AUX: node and number of the only processor
            return on_rdtsc(uc, user)

        self._keep = (EXCEPTION(on_exception), SYSCALL(on_syscall), INSTRUCTION(on_rdtsc), INSTRUCTION(on_rdtscp))

    def addresses(self) -> tuple[int, int, int, int, int]:
        """Addresses of the exception, syscall, rdtsc and rdtscp callbacks, and their data."""
        exception, syscall, rdtsc, rdtscp = (ctypes.cast(function, c_void_p).value or 0 for function in self._keep)
        return exception, syscall, rdtsc, rdtscp, 0
