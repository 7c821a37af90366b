"""Watchpoints: who reads or writes some bytes of the kernel's memory.

The emulator's hooks for memory are told physical addresses, so accesses are seen whatever virtual address they use. Those of devices and of
the processor's walks through page tables are not, as with a processor's debug registers. Three things need care:

* An access that crosses pages is reported first as a whole, with the address in the first page, and then, if it reads, in pieces.
* While such an access is under way the emulator reports no writes, and it forgets that it has ended if the second page is not there; the
  callbacks for exceptions mend that (see twin.py).
* DC ZVA of arm64 zeroes memory without writing to it.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from ctypes import c_int, c_int64, c_uint64, c_void_p
from typing import TYPE_CHECKING

from pyprobe.runtime.machine import unicorn
from pyprobe.runtime.machine.disassembly import LONGEST, rewrites
from pyprobe.runtime.machine.memory import R, W
from pyprobe.runtime.machine.state import NOWHERE
from pyprobe.runtime.system.ram import PAGE

if TYPE_CHECKING:
    from pyprobe.runtime.system.cpu import Processor

_WIDEST = 8  # bytes of the widest access that is reported at once
_ACCESSED = ctypes.CFUNCTYPE(None, c_void_p, c_int, c_uint64, c_int, c_int64, c_void_p)


class Watchpoint:
    """What Processor.on_access installs. Raises LookupError where nothing is mapped."""

    def __init__(self, processor: Processor, access: int, address: int, length: int, function: Callable[[], object]) -> None:
        start = processor.translate(address)
        if start < 0:
            raise LookupError(f"nothing is mapped at {address:#x}")
        self._processor = processor
        self._access = access
        self._start, self._length = start, length
        self._function = function
        self._page = start & -PAGE
        before = processor.translate((address & -PAGE) - 1 & NOWHERE)
        self._page_before = before & -PAGE if before >= 0 else -1
        self._last = (NOWHERE, 0, 0)
        self._rewriting: dict[int, bool] = {}  # by their addresses, whether instructions that read write to the same place
        self._callback = _ACCESSED(self._accessed)
        self._hook(start - _WIDEST + 1, start + length)
        if self._page_before >= 0 and start - self._page < _WIDEST - 1:
            end = self._page_before + PAGE
            if end != self._page:
                self._hook(end - _WIDEST + 1, end)
        if access & W:
            processor.watch_lines(self._cleared)

    def _hook(self, first: int, end: int) -> None:
        kinds = (unicorn.HOOK_MEM_READ if self._access & R else 0) | (unicorn.HOOK_MEM_WRITE if self._access & W else 0)
        processor = self._processor
        base, address = processor.ram.base, ctypes.cast(self._callback, c_void_p).value or 0
        processor._api.hook_add(processor.uc, kinds, address, 0, base + max(first, 0), base + end - 1)

    def _accessed(self, uc: int, kind: int, physical: int, size: int, value: int, user: int) -> None:
        processor = self._processor
        if processor.state.stopping or processor.in_pieces.value:
            return
        try:
            at = (physical & NOWHERE) - processor.ram.base
            page, data = at & -PAGE, (value & (1 << 8 * size) - 1).to_bytes(size, "little")
            here = page + PAGE - at
            if page == self._page:
                data = data[:here]
            elif page == self._page_before and here < size:
                at, data = self._page, data[here:]
            else:
                return
            if at < self._start + self._length and self._start < at + len(data):
                self._matched(kind, at, data)
        except BaseException as error:
            processor.fail(error)

    def _cleared(self, address: int, size: int) -> None:
        at = self._processor.translate(address)
        if 0 <= at <= self._start < at + size:
            self._matched(unicorn.MEM_WRITE, self._start, bytes(self._length))

    def _matched(self, kind: int, at: int, data: bytes) -> None:
        """An instruction is about to access watched bytes. data: what it writes at `at`."""
        processor = self._processor
        state = processor.state
        before, state.pc = state.pc, processor._read(processor.arch.pc)
        this = (state.pc, processor.words.now, kind)
        if kind == unicorn.MEM_WRITE:
            processor.ram.view[at : at + len(data)] = data
        if this != self._last and (kind == unicorn.MEM_WRITE or not self._rewrites(state.pc)):
            self._last = this
            self._function()
        state.pc = before

    def _rewrites(self, pc: int) -> bool:
        """Whether the write of the instruction will be its access; it is looked for: x86 has no watchpoints for reads only."""
        found = self._rewriting.get(pc)
        if found is None:
            arch = self._processor.arch.name
            found = self._rewriting[pc] = rewrites(arch, self._processor.read(pc, LONGEST[arch]) or b"")
        return found
