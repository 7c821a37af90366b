"""Translations that follow what is written to RAM.

The emulator translates code once and must notice when the code is written to. A translation buffer entry by which a page may be written has
a mark; a store through it then drops what was translated from the bytes stored to, and, unless the page may be executed at that very
address, takes the mark away. Two things are missing, which only a kernel brings out, because it writes its own code and the pages it fills
with programs at other addresses than they are executed at:

* The first store drops what was translated from the bytes it changes; all later ones, to the rest of the page, drop nothing.
  So here the first store to a page drops everything that was translated from it.
* The mark is put back, when something is translated from the page again, for entries of the address it is executed at only.
  So here, when the first thing is translated from a page, all entries by which that page may be written get their mark. That comes before
  anything else is translated from it, so that the emulator need not look for entries each time (`tlb_reset_dirty_by_vaddr`).

The emulator has a function for each of the two moments, `tb_invalidate_phys_page_fast` and `tlb_protect_code`, and calls them through its
procedure linkage table, where ours are put in. x86-64 has no instruction that says when code has changed. arm64 has those for
addresses, which `Glue` listens to as well, but a kernel that patches itself as it boots tells of all code at once (IC IALLUIS).
"""

from __future__ import annotations

import ctypes
from ctypes import c_int, c_uint64, c_void_p
from typing import TYPE_CHECKING
from weakref import WeakValueDictionary

from pyprobe.runtime.system import linkage
from pyprobe.runtime.system.ram import PAGE

if TYPE_CHECKING:
    from pyprobe.runtime.system.cpu import Processor

PROTECT = ctypes.CFUNCTYPE(None, c_void_p, c_uint64)
WRITTEN = ctypes.CFUNCTYPE(None, c_void_p, c_void_p, c_uint64, c_int, c_uint64)

_twins: WeakValueDictionary[int, Twin] = WeakValueDictionary()  # another emulator may get the address of one that was closed


def install(cpu: Processor) -> object:
    """Keep a processor's translations in step with its RAM while the result is kept. Raises UnsupportedLibrary."""
    suffix = cpu.suffix
    protect, written = f"tlb_protect_code_{suffix}", f"tb_invalidate_phys_page_fast_{suffix}"
    mark = f"tlb_reset_dirty_by_vaddr_{suffix}"
    settings = {
        "uc": cpu.uc,
        "cpu": cpu.cpu,
        "host": cpu.ram.address,
        "size": cpu.ram.size,
        "reset_dirty": cpu.function(f"tlb_reset_dirty_{suffix}"),
        "invalidate": cpu.function(f"tb_invalidate_phys_range_{suffix}"),
        "protect": cpu.function(protect),
        "written": cpu.function(written),
        "protect_slot": linkage.slot(cpu, protect),
        "written_slot": linkage.slot(cpu, written),
    }
    if not cpu.native:
        return Twin(**settings)
    from pyprobe.runtime.system._native import Coherence

    return Coherence(arch=suffix == "x86_64", mark=cpu.function(mark), mark_slot=linkage.slot(cpu, mark), **settings)


class Twin:
    """`_native.Coherence` in plain Python. One thing is less exact: a block of code that writes to itself is executed to its end."""

    def __init__(
        self,
        uc: int,
        cpu: int,
        host: int,
        size: int,
        reset_dirty: int,
        invalidate: int,
        protect: int,
        written: int,
        protect_slot: int,
        written_slot: int,
    ) -> None:
        self.cpu = cpu
        self.host = host
        self.coded = bytearray(size // PAGE)
        self.reset_dirty = ctypes.PYFUNCTYPE(None, c_void_p, c_uint64, c_uint64)(reset_dirty)
        self.invalidate = ctypes.PYFUNCTYPE(None, c_void_p, c_uint64, c_uint64)(invalidate)
        plain_protect = ctypes.PYFUNCTYPE(None, c_void_p, c_uint64)(protect)
        plain_written = ctypes.PYFUNCTYPE(None, c_void_p, c_void_p, c_uint64, c_int, c_uint64)(written)

        def on_protect(uc: int, address: int) -> None:
            plain_protect(uc, address)
            machine = _twins.get(uc)
            page = address // PAGE
            if machine is not None and page < len(machine.coded):
                machine.coded[page] = 1
                machine.reset_dirty(machine.cpu, machine.host + page * PAGE, PAGE)

        def on_written(uc: int, pages: int, start: int, length: int, origin: int) -> None:
            plain_written(uc, pages, start, length, 0)  # it does not return to `origin`, over the interpreter's head
            machine = _twins.get(uc)
            page = start // PAGE
            if machine is not None and page < len(machine.coded) and machine.coded[page]:
                machine.coded[page] = 0
                machine.invalidate(uc, page * PAGE, page * PAGE + PAGE)

        _twins[uc] = self
        linkage.put(protect_slot, PROTECT(on_protect))
        linkage.put(written_slot, WRITTEN(on_written))
