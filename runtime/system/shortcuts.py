"""Shorter ways through the emulator, for what it does very often and has been asked for in vain by a kernel that is booted here.

* `memory_mapping`, a pointer in uc_struct, is asked at every access that takes the long way what lies at a physical address. Mostly it is
  RAM, which is one region; so here that is said at once.
* A store to a page that may be executed at the address it is stored to takes the long way each time, lest code be changed. Before a kernel
  has set the rights of its memory that is all of it. Here an entry of the translation buffer that is made for a load or a store does not
  allow execution, so that there is another one when something is executed; that code changes is then noticed as for any other page (see
  coherence.py).
* The translation buffer has 256 entries and may grow when it is emptied, which arm64 kernels hardly ever ask for; so here it is emptied
  after 1024 entries were made, after 2048 more, and so on.
* Translated code looks for a request to stop after each load and store. None is made here in the middle of a block, but at exact points;
  so here only the blocks that may have one look (`ExitChecks` has the switch). It is decided for each block, not once for all that
  follow, because looks make long blocks end earlier: probes would change at which instruction interrupts come.

Without the extension the emulator's own ways stay.
"""

from __future__ import annotations

import ctypes
from ctypes import c_uint64, c_void_p
from typing import TYPE_CHECKING

from pyprobe.runtime.machine.library import pointer
from pyprobe.runtime.system import linkage
from pyprobe.runtime.system.internals import mismatch

if TYPE_CHECKING:
    from pyprobe.runtime.system._native import Shortcuts
    from pyprobe.runtime.system.cpu import Processor

_HANDLE = 4096  # bytes of uc_struct looked through
METHODS = 0x100  # bytes of CPUClass in which the methods lie


def install(cpu: Processor) -> Shortcuts:
    """Have a processor take them while the result is kept. Raises UnsupportedLibrary."""
    from pyprobe.runtime.system._native import Shortcuts

    suffix, ram = cpu.suffix, cpu.ram
    set_page, translate = f"tlb_set_page_with_attrs_{suffix}", f"tb_gen_code_{suffix}"
    mapping, fill = cpu.function(f"find_memory_mapping_{suffix}"), cpu.function(cpu.fill_symbol)
    find = ctypes.PYFUNCTYPE(c_void_p, c_void_p, c_uint64)(mapping)
    region, last = (find(cpu.uc, ram.base + at) for at in (0, ram.size - 1))
    if not region or region != last:
        raise mismatch("the region that RAM is", "one", f"{region} and {last}")
    first, second = linkage.places(pointer(cpu.cpu + cpu.offsets.cpu_class), METHODS, fill, 2, "CPUClass.tlb_fill")
    return Shortcuts(
        arch=suffix == "x86_64",
        uc=cpu.uc,
        cpu=cpu.cpu,
        region=region,
        base=ram.base,
        size=ram.size,
        flush=cpu.function(f"tlb_flush_{suffix}"),
        unchecked=cpu.exit_checks.switch,
        mapping=mapping,
        fill=fill,
        set_page=cpu.function(set_page),
        translate=cpu.function(translate),
        mapping_place=linkage.places(cpu.uc, _HANDLE, mapping, 1, "uc_struct.memory_mapping")[0],
        fill_places=(first, second),
        set_page_slot=linkage.slot(cpu, set_page),
        translate_slot=linkage.slot(cpu, translate),
    )
