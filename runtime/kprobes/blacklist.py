"""The functions that Linux refuses to probe.

In a booted kernel: those of the section .kprobes.text and what NOKPROBE_SYMBOL and the noinstr, entry and irqentry sections
name, between the symbols that mark their beginnings and ends (arch_populate_kprobe_blacklist and populate_kprobe_blacklist of
kernel/kprobes.c). In the emulated kernel, whose functions are few: those of its entry code.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pyprobe.runtime.probes.description import Description

SECTIONS = (
    ("__kprobes_text_start", "__kprobes_text_end"),
    ("__entry_text_start", "__entry_text_end"),
    ("__noinstr_text_start", "__noinstr_text_end"),
    ("__irqentry_text_start", "__irqentry_text_end"),
    ("__softirqentry_text_start", "__softirqentry_text_end"),
    ("__hyp_text_start", "__hyp_text_end"),
    ("__hyp_idmap_text_start", "__hyp_idmap_text_end"),
    ("__idmap_text_start", "__idmap_text_end"),
    ("__cpuidle_text_start", "__cpuidle_text_end"),
    ("__reboot_text_start", "__reboot_text_end"),
)
TABLE = ("__start_kprobe_blacklist", "__stop_kprobe_blacklist")  # addresses of functions, as NOKPROBE_SYMBOL puts them there

EMULATED = frozenset(
    {"do_syscall_64", "entry_SYSCALL_64_after_hwframe", "invoke_syscall", "el0_svc_common.constprop.0", "do_el0_svc", "el0_svc",
     "el0t_64_sync_handler", "el0t_64_sync"}
)  # fmt: skip


def ranges(lookup: Callable[[str], int], read: Callable[[int, int], bytes | None], size: Callable[[int], int]) -> list[tuple[int, int]]:
    """The address ranges that a kernel refuses, sorted.

    lookup: the address of a symbol, 0 without one; read: memory; size: of the function at an address, in bytes.
    """
    found = [(start, end) for a, b in SECTIONS for start, end in ((lookup(a), lookup(b)),) if start and start < end]
    first, last = (lookup(name) for name in TABLE)
    content = read(first, last - first) if first and first < last else None
    for at in range(0, len(content or b"") // 8 * 8, 8):
        address = int.from_bytes((content or b"")[at : at + 8], "little")
        if address:
            found.append((address, address + max(size(address), 1)))
    return sorted(found)


def lines(machine: Description) -> list[str]:
    """What is refused on a described machine, as /sys/kernel/debug/kprobes/blacklist shows it: address range and name, sorted."""
    symbols = machine.symbols
    if not machine.booted:
        from pyprobe.runtime.user.functions import FUNCTION_SIZE

        found = [(symbols[name], symbols[name] + FUNCTION_SIZE, name) for name in EMULATED if name in symbols]
    else:
        from typing import cast

        from pyprobe.runtime.system.description import SystemDescription

        system = cast(SystemDescription, machine)
        table = system.table

        def size(address: int) -> int:
            symbol = table.at(address)
            return symbol.size if symbol is not None else 1

        refused = ranges(lambda name: table.address(name) or 0, system.code, size)
        starts = [start for start, _ in refused]
        found = []
        for name, address in table.functions.items():
            place = bisect_right(starts, address) - 1
            if place >= 0 and address < refused[place][1]:
                found.append((address, address + size(address), name))
    return [f"0x{start:016x}-0x{end:016x}\t{name}" for start, end, name in sorted(found)]
