"""Translations that follow what is written to RAM, for x86-64, which has no instruction that says when code has changed.

The emulator translates code once and must notice when the code is written to. A translation buffer entry by which a page may be written has
a mark; a store through it then drops what was translated from the bytes stored to, and, unless the page may be executed at that very
address, takes the mark away. Two things are missing, which only a kernel brings out, because it writes the pages it fills with programs at
other addresses than the programs are executed at:

* The first store drops what was translated from the bytes it changes; all later ones, to the rest of the page, drop nothing.
  So here the first store to a page drops everything that was translated from it.
* The mark is not put back when something is translated from the page again.
  So here, when the first thing is translated from a page, all entries by which that page may be written get their mark.

The emulator has a function for each of the two moments, `tb_invalidate_phys_page_fast` and `tlb_protect_code`, and calls them through its
procedure linkage table, where ours are put in.
"""

from __future__ import annotations

import ctypes
import os
from ctypes import c_int, c_uint64, c_void_p
from typing import TYPE_CHECKING

from pyprobe.runtime.system.internals import mismatch, pointer
from pyprobe.runtime.system.ram import PAGE

if TYPE_CHECKING:
    from pyprobe.runtime.system.cpu import Processor

PROTECT = ctypes.CFUNCTYPE(None, c_void_p, c_uint64)
WRITTEN = ctypes.CFUNCTYPE(None, c_void_p, c_void_p, c_uint64, c_int, c_uint64)

_twins: dict[int, Twin] = {}
_own: list[object] = []  # the functions in the slots; they stay, whoever comes and goes


def install(cpu: Processor) -> object:
    """Keep a processor's translations in step with its RAM while the result is kept. Raises UnsupportedLibrary."""
    settings = {
        "uc": cpu.uc,
        "cpu": cpu.cpu,
        "host": cpu.ram.address,
        "size": cpu.ram.size,
        "reset_dirty": cpu.function("tlb_reset_dirty_x86_64"),
        "invalidate": cpu.function("tb_invalidate_phys_range_x86_64"),
        "protect": cpu.function("tlb_protect_code_x86_64"),
        "written": cpu.function("tb_invalidate_phys_page_fast_x86_64"),
    }
    settings["protect_slot"] = settings["protect"] + cpu.offsets.x86_protect_slot
    settings["written_slot"] = settings["written"] + cpu.offsets.x86_written_slot
    path = os.fsencode(cpu.library._name)
    for what in ("protect", "written"):
        found = pointer(settings[f"{what}_slot"])
        if not _ours_or_the_library(found, path):
            raise mismatch(f"the slot of {what}", f"a function of {os.fsdecode(path)}", hex(found))
    if cpu.native:
        from pyprobe.runtime.system._native import Coherence

        return Coherence(**settings)
    return Twin(**settings)


class _Info(ctypes.Structure):
    """Dl_info of dladdr(3)."""

    _fields_ = [("file", ctypes.c_char_p), ("base", c_void_p), ("name", ctypes.c_char_p), ("address", c_void_p)]


def _ours_or_the_library(address: int, path: bytes) -> bool:
    """Whether an address is of the library's code, as before the first of us came, or of a function that we put in."""
    info = _Info()
    dladdr = ctypes.CDLL(None).dladdr
    dladdr.argtypes = [c_void_p, c_void_p]
    if dladdr(address, ctypes.byref(info)) and info.file is not None:
        return info.file == path or b"_native" in os.path.basename(info.file)
    return any(ctypes.cast(function, c_void_p).value == address for function in _own)  # type: ignore[arg-type]  # C functions


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

        functions = PROTECT(on_protect), WRITTEN(on_written)
        _own.extend(functions)
        _twins[uc] = self
        for slot, function in zip((protect_slot, written_slot), functions, strict=True):
            c_uint64.from_address(slot).value = ctypes.cast(function, c_void_p).value or 0
