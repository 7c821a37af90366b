"""The functions that Linux refuses to probe.

In a booted kernel: those of the section .kprobes.text and what NOKPROBE_SYMBOL and the noinstr, entry and irqentry sections name, between the
symbols that mark their beginnings and ends (arch_populate_kprobe_blacklist and populate_kprobe_blacklist of kernel/kprobes.c). In the
emulated kernel, whose functions are few: those of its entry code.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

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


def names(symbols: Iterable[tuple[str, int]], blacklist: list[tuple[int, int]]) -> list[str]:
    """The functions that lie in a blacklist, sorted by name."""
    return sorted({name for name, address in symbols if any(start <= address < end for start, end in blacklist)})
