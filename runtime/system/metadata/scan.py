"""Looking for tables in the kernel's data by what they hold: addresses of functions and of other things that are known."""

from __future__ import annotations

from collections.abc import Iterator

from pyprobe.runtime.system.metadata.memory import KernelMemory, Segment
from pyprobe.runtime.system.metadata.symbols import Symbols


def data(memory: KernelMemory, symbols: Symbols) -> Iterator[Segment]:
    """The parts of the kernel behind its code."""
    after = (symbols.address("_etext") or 0) + 7 & ~7
    for segment in memory.segments:
        start = max(segment.start, after)
        if start < segment.end:
            yield Segment(start, segment.buffer, segment.offset + start - segment.start, segment.end - start)


def pointers(memory: KernelMemory, symbols: Symbols, targets: set[int]) -> Iterator[int]:
    """The addresses of the aligned words behind the kernel's code that hold one of these addresses."""
    for segment in data(memory, symbols):
        start = segment.start
        yield from [start + 8 * i for i, word in enumerate(memory.words(segment)) if word in targets]


def code_pointers(memory: KernelMemory, symbols: Symbols, least: int, *, strict: bool = True) -> Iterator[list[int]]:
    """The runs of at least so many words that are addresses in the kernel's code; not `strict`: anywhere in the kernel's image."""
    ranges = symbols.text if strict else tuple((s.start, s.end) for s in memory.segments)
    step = max(1, least // 2)  # no run can be missed
    for segment in data(memory, symbols):
        words = memory.words(segment)
        count, at = len(words), 0
        while at < count:
            if not any(a <= words[at] < b for a, b in ranges):
                at += step
                continue
            first = last = at
            while first and any(a <= words[first - 1] < b for a, b in ranges):
                first -= 1
            while last + 1 < count and any(a <= words[last + 1] < b for a, b in ranges):
                last += 1
            if last + 1 - first >= least:
                yield words[first : last + 1].tolist()
            at = last + step


def between(memory: KernelMemory, symbols: Symbols, start: str, stop: str) -> list[int] | None:
    """The words of a table between two symbols, None where the kernel does not tell their places."""
    first, last = symbols.address(start), symbols.address(stop)
    if first is None or last is None or first > last:
        return None
    content = memory.read(first, last - first)
    return memoryview(content)[: len(content) & ~7].cast("Q").tolist()
