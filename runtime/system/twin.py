"""The hot callbacks of an arm64 processor in plain Python, for where the extension `_native` is missing; every rule stands there too."""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from ctypes import byref, c_int, c_uint32, c_uint64, c_void_p

from pyprobe.runtime.machine.state import NOWHERE

SVC = 2  # EXCP_SWI of the emulator
PAGE = 4096

EXCEPTION = ctypes.CFUNCTYPE(None, c_void_p, c_uint32, c_void_p)
READ = ctypes.CFUNCTYPE(c_uint64, c_void_p, c_void_p)
WRITE = ctypes.CFUNCTYPE(None, c_void_p, c_void_p, c_uint64)


class Glue:
    """The callbacks of one processor.

    handed: bit n is set: exception n is for Python, which is called as `special(n)`; so is an SVC whose immediate is `trap`.
    syndrome: address of the word that describes the exception being taken. deliver: the emulator's function that takes one, for `cpu`.
    words, shift: the clock's words, and nanoseconds to ticks of the counter.
    uc, translate, invalidate, ram, ram_size: for the cache instructions: the emulator's functions, and where RAM is.
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
    ) -> None:
        exception_syndrome = c_uint32.from_address(syndrome)
        now = c_uint64.from_address(words)
        take = ctypes.PYFUNCTYPE(None, c_void_p)(deliver)
        walk = ctypes.PYFUNCTYPE(c_int, c_void_p, c_uint64, c_int, c_void_p)(translate)
        forget = ctypes.PYFUNCTYPE(None, c_void_p, c_uint64, c_uint64)(invalidate)
        cleaned = NOWHERE

        def on_exception(handle: int, number: int, user: int) -> None:
            nonlocal cleaned
            cleaned = NOWHERE
            if handed >> number & 1 or (number == SVC and exception_syndrome.value & 0xFFFF == trap):
                special(number)
            else:
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
