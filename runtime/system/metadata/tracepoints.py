"""Where the kernel's tracepoints are in its code, from its own tables.

A tracepoint is a `struct tracepoint` (include/linux/tracepoint-defs.h). Code passes it by a static branch, a no-op that is a jump while
somebody is attached; the jump table (include/linux/jump_label.h) has the places of all branches, each with the address of its key. Kernels
without symbols for data have no names for the structs, so they are found from what is in every one: the address of its iterator.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from pyprobe.runtime.system.metadata.memory import KernelMemory, Segment
from pyprobe.runtime.system.metadata.scan import data, pointers
from pyprobe.runtime.system.metadata.symbols import Symbols
from pyprobe.runtime.system.metadata.types import KernelTypes

ITERATOR_PREFIX = "__traceiter_"  # of the functions that call who is attached to a tracepoint
_KEY = 0xFFFF_FFFF_FFFF_FFFC  # the low bits of a key in the jump table are flags
_SOFTWARE = "perf_swevent_enabled"
KEY_SIZE = 16  # of a struct static_key
PAGE_FAULTS, MINOR_FAULTS, MAJOR_FAULTS = 2, 5, 6  # PERF_COUNT_SW_* of include/uapi/linux/perf_event.h
_TABLE = "__start___jump_table", "__stop___jump_table"


class Branch(NamedTuple):
    """A static branch: the address of its no-op, and where the jump in its place goes."""

    code: int
    target: int


class Place(NamedTuple):
    """A tracepoint. address: of its `struct tracepoint`; iterator: of the function that calls who is attached; register: of the function
    that the kernel calls before the first one is, 0 without one."""

    name: str
    address: int
    iterator: int
    register: int
    branches: tuple[Branch, ...]


def read(memory: KernelMemory, symbols: Symbols, types: KernelTypes) -> list[Place]:
    """All tracepoints, sorted by name. Empty when the kernel has none (CONFIG_TRACEPOINTS)."""
    try:
        iterator, key = types.offset("tracepoint", "iterator"), types.offset("tracepoint", "key")
    except KeyError:
        return []
    names = {a: name.removeprefix(ITERATOR_PREFIX) for name, a in symbols.functions.items() if name.startswith(ITERATOR_PREFIX)}
    found = {}
    for place in pointers(memory, symbols, set(names)):
        name = names[memory.u64(place)]
        try:
            if memory.cstring(memory.u64(place - iterator)) == name:
                found[name] = place - iterator
        except LookupError:  # an iterator's address in something else
            continue
    all_branches = branches(memory, symbols, {start + key for start in found.values()})
    return [
        Place(name, start, memory.u64(start + iterator), _register(memory, types, start), all_branches.get(start + key, ()))
        for name, start in sorted(found.items())
    ]


def _register(memory: KernelMemory, types: KernelTypes, tracepoint: int) -> int:
    """Since Linux 6.14 the function stands in a struct of its own."""
    try:
        return memory.u64(tracepoint + types.offset("tracepoint", "regfunc"))
    except KeyError:
        extension = memory.u64(tracepoint + types.offset("tracepoint", "ext"))
        return memory.u64(extension + types.offset("tracepoint_ext", "regfunc")) if extension else 0


def branches(memory: KernelMemory, symbols: Symbols, keys: set[int]) -> dict[int, tuple[Branch, ...]]:
    """The static branches that these keys (addresses of a `struct static_key`) switch, by key."""
    found: dict[int, list[Branch]] = {key: [] for key in keys}
    for key, branch in _entries(memory, symbols, keys):
        found[key].append(branch)
    return {key: tuple(sorted(of)) for key, of in found.items() if of}


def software_keys(memory: KernelMemory, symbols: Symbols) -> dict[int, int]:
    """The keys of the software events that page faults are, by their numbers (enum perf_sw_ids). They are an array,
    `perf_swevent_enabled`; where that has no name it is known by the two functions that use them."""
    first = symbols.address(_SOFTWARE)
    if first is None:
        used = []
        for number, function in ((PAGE_FAULTS, "do_page_fault"), (MAJOR_FAULTS, "handle_mm_fault")):
            symbol = symbols.symbol(function)
            code = (symbol.address, symbol.address + symbol.size) if symbol else (0, 0)
            used.append({key - KEY_SIZE * number for key, _ in _all_entries(memory, symbols, code)})
        common = used[0] & used[1]
        if len(common) != 1:
            return {}
        (first,) = common
    return {number: first + KEY_SIZE * number for number in (PAGE_FAULTS, MINOR_FAULTS, MAJOR_FAULTS)}


def _all_entries(memory: KernelMemory, symbols: Symbols, code: tuple[int, int]) -> Iterator[tuple[int, Branch]]:
    """The entries of the jump table for a range of code."""
    start, stop = code
    for segment in _table(memory, symbols):
        words = memory.words(segment)
        at = segment.start
        for i, word in enumerate(words):
            if start <= at + _signed(word) < stop and start <= at + 4 + _signed(word >> 32) < stop and i + 1 < len(words):
                yield at + 8 + words[i + 1] & _KEY, Branch(at + _signed(word), at + 4 + _signed(word >> 32))
            at += 8


def _entries(memory: KernelMemory, symbols: Symbols, keys: set[int]) -> Iterator[tuple[int, Branch]]:
    """The entries of the jump table with one of these keys: distances from themselves to code, target (32 bits each) and key."""
    low, high = min(keys, default=0), max(keys, default=0)
    ranges = symbols.text
    for segment in _table(memory, symbols):
        words = memory.words(segment)
        at = segment.start
        for i, word in enumerate(words):
            key = at + word & _KEY
            if low <= key <= high and key in keys and i:
                places = words[i - 1]
                code, target = at - 8 + _signed(places), at - 4 + _signed(places >> 32)
                if all(any(a <= place < b for a, b in ranges) for place in (code, target)):
                    yield key, Branch(code, target)
            at += 8


def patched(memory: KernelMemory, symbols: Symbols, places: set[int]) -> list[int]:
    """The addresses of all static branches, which the kernel patches, sorted. places: some of them, from which the table is found where no
    symbol tells of it: it is the run of entries around theirs."""

    low, high = symbols.text[0][0], symbols.text[-1][1] + _EXIT_TEXT

    known = symbols.address(_TABLE[0]) is not None
    for segment in _table(memory, symbols):
        words = memory.words(segment)

        def code(i: int, words: memoryview = words, start: int = segment.start) -> int:
            """Of the entry whose first word is number `i`; 0 if it is none."""
            if not 0 <= i < len(words) - 1:
                return 0
            at = start + 8 * i
            found, target = at + _signed(words[i]), at + 4 + _signed(words[i] >> 32)
            return found if low <= found < high and low <= target < high else 0

        first = 0 if known else next((i for i in range(len(words)) if code(i) in places), -1)
        if first < 0:
            continue
        while code(first - 2):
            first -= 2
        found: set[int] = set()
        while first < len(words) and (known or code(first)):
            found.add(code(first))
            first += 2
        return sorted(found)
    return []


def _table(memory: KernelMemory, symbols: Symbols) -> Iterator[Segment]:
    """Where the jump table is, or everything that it may be in."""
    start, stop = (symbols.address(name) for name in _TABLE)
    for segment in data(memory, symbols):
        if start is None or stop is None:
            yield segment
        elif segment.start <= start < segment.end:
            yield Segment(start, segment.buffer, segment.offset + start - segment.start, stop - start)


_EXIT_TEXT = 1 << 20  # bytes, more than enough: what follows the code of initialisation and is never executed in the kernel itself


def _signed(value: int) -> int:
    return ((value & 0xFFFF_FFFF) ^ 0x8000_0000) - 0x8000_0000
