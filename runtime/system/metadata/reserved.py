"""Instructions that the kernel replaces or gives a meaning by their address, so that no kprobe may stand there (check_kprobe_address_safe()
in kernel/kprobes.c): the sites of static calls, and those of BUG() and WARN().

Both tables hold distances from themselves (kernel/static_call_inline.c; lib/bug.c with CONFIG_GENERIC_BUG_RELATIVE_POINTERS). Kernels
without symbols for data are arm64's, which have no static calls, and whose BUG() is a breakpoint instruction, no place for another.
"""

from __future__ import annotations

import struct

from pyprobe.runtime.system.metadata.memory import KernelMemory
from pyprobe.runtime.system.metadata.symbols import Symbols

JUMP_ENTRY = 16  # bytes of an entry of the jump table: distances from itself to code and target (32 bits each), to the key (64)
STATIC_CALL_SITE = 8  # bytes: two distances

REFUSALS = {
    "forbidden": "{} is on the list of functions that no kprobe may enter",
    "patched": "{} is a static branch, which the kernel itself patches",
    "static call": "{} is a static call, which the kernel itself patches",
    "bug": "{} is that of a BUG() or WARN(), which the kernel knows by its address",
}
"""Why no kprobe may stand somewhere; the function or the place is filled in."""


def static_calls(memory: KernelMemory, symbols: Symbols) -> list[int]:
    """The addresses of the calls and jumps that the kernel makes lead elsewhere as it runs."""
    return _relative(memory, symbols, "__start_static_call_sites", "__stop_static_call_sites", STATIC_CALL_SITE)


def bugs(memory: KernelMemory, symbols: Symbols, size: int) -> list[int]:
    """The addresses of the instructions of BUG() and WARN(). size: of a struct bug_entry, in bytes."""
    return _relative(memory, symbols, "__start___bug_table", "__stop___bug_table", size)


def _relative(memory: KernelMemory, symbols: Symbols, start: str, stop: str, size: int) -> list[int]:
    first, last = symbols.address(start), symbols.address(stop)
    if not first or not last or not size:
        return []
    content = memory.read(first, last - first)
    found = (first + at + struct.unpack_from("<i", content, at)[0] for at in range(0, len(content) - size + 1, size))
    return sorted({address for address in found if symbols.is_text(address)})
