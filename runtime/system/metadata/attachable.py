"""Which functions the kernel itself lets one trace, and which it forbids to put a kprobe into.

Traceable ones have a place for a call at their beginning, which `__mcount_loc` lists (kernel/trace/ftrace.c). Forbidden ones are those
marked NOKPROBE_SYMBOL, which a table lists, and those in certain sections (populate_kprobe_blacklist() in kernel/kprobes.c,
arch_populate_kprobe_blacklist() of the architectures). Kernels without symbols for data do not say where the tables are: then they are
the runs of addresses of functions that are long enough, or hold a function that is marked in every kernel.
"""

from __future__ import annotations

from pyprobe.runtime.system.metadata.memory import KernelMemory
from pyprobe.runtime.system.metadata.scan import between, code_pointers
from pyprobe.runtime.system.metadata.symbols import Symbol, Symbols

_AREAS = {
    "x86_64": ("__kprobes_text", "__noinstr_text", "__entry_text"),
    "arm64": ("__kprobes_text", "__noinstr_text", "__entry_text", "__irqentry_text", "__idmap_text", "__hyp_text", "__hyp_idmap_text"),
}
_MARKED = ("get_kprobe", "register_kprobe")  # the first is on the list, the second is not
_MANY = 4096  # traceable functions; every kernel with function tracing has more, no other table of functions is as long
_BEFORE = {"x86_64": (0, -4), "arm64": (0, -4, 8)}
"""From the listed place to its function: at it, after a landing pad (ENDBR, BTI), or behind the two words before a function to which
arm64 kernels with per-function operations have their calls refer."""


def traceable(memory: KernelMemory, symbols: Symbols) -> frozenset[str]:
    """The functions that `available_filter_functions` lists once the kernel has booted: those of initialisation are gone by then."""
    places = between(memory, symbols, "__start_mcount_loc", "__stop_mcount_loc")
    if places is None:
        places = max(code_pointers(memory, symbols, _MANY), key=len, default=[])
    first = symbols.first_at
    start, end = symbols.text[0] if symbols.text else (0, 0)
    places = [place for place in places if start <= place < end]
    # the way that is most common first: before a function may be the mark where a group of functions begins
    ways = sorted(_BEFORE[memory.arch], key=lambda d: -sum(place + d in first for place in places))
    found = (next((n for d in ways if (n := first.get(place + d))), "") for place in places)
    return frozenset(found) - {""}


def forbidden(memory: KernelMemory, symbols: Symbols) -> list[Symbol]:
    """The functions that the kernel refuses kprobes for, as `kprobes/blacklist` in its debugfs lists them, by address."""
    found: dict[int, Symbol] = {}
    for area in _AREAS[memory.arch]:
        start, end = symbols.address(f"{area}_start") or 0, symbols.address(f"{area}_end") or 0
        while start < end and symbols.is_text(start):
            symbol = symbols.at(start)
            if symbol is None or not symbol.size:
                break
            found.setdefault(symbol.address, symbol)
            start = symbol.address + symbol.size
    for address in _marked(memory, symbols):
        symbol = symbols.at(address)
        if symbol is not None:
            found.setdefault(symbol.address, symbol)
    return [found[address] for address in sorted(found)]


def _marked(memory: KernelMemory, symbols: Symbols) -> list[int]:
    """The addresses marked NOKPROBE_SYMBOL."""
    listed = between(memory, symbols, "__start_kprobe_blacklist", "__stop_kprobe_blacklist")
    if listed is not None:
        return [a for a in listed if symbols.is_text(a)]
    inside, outside = (symbols.address(name) for name in _MARKED)
    # some of the marked functions are in arm64's identity mapping, which is no code for the kernel; it leaves them out, too
    runs = [run for run in code_pointers(memory, symbols, 16, strict=False) if inside in run and outside not in run]
    return [a for a in max(runs, key=len, default=[]) if symbols.is_text(a)]
