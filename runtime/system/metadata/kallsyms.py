"""kallsyms: the kernel's own table of symbols (scripts/kallsyms.c, kernel/kallsyms.c), found and read without knowing where it is.

Names are sequences of tokens. Three layouts are known, told apart by where a plausible base address stands:

=====  ============  ==============================================================================================
A      to 6.3        offsets, relative base, count, names, markers, [order by name], tokens, index of tokens
B      6.4 to 6.x    count, names, markers, tokens, index of tokens, offsets, relative base, order by name
C      7.x           the same without the relative base: an offset counts from its own place (4-byte alignment)
=====  ============  ==============================================================================================

In A and B an offset counts from the relative base. Where per-cpu variables are absolute (x86 to 6.14), offsets >= 0 are addresses
themselves and negative ones are -1 - (distance from the base).
"""

from __future__ import annotations

import struct
from array import array
from itertools import pairwise
from typing import NamedTuple

from pyprobe.runtime.system.kernels.errors import KernelError
from pyprobe.runtime.system.metadata.memory import Bytes, KernelMemory, Segment

_DIGITS = b"".join(b"%d\0" % d for d in range(10))  # ten tokens in a row that stand for themselves in every kernel
_TOKENS = 256
_BLOCK = 256  # names between two markers
_NAME_LIMIT = 100  # bytes; names are shorter on average, compressed
_SEARCH = 8 << 20  # bytes before the tokens in which names and markers lie


class RawSymbols(NamedTuple):
    """The table in its order, which is by address."""

    addresses: array[int]
    kinds: str  # a letter each, as nm(1) prints them
    names: list[str]
    layout: str


class _Tables(NamedTuple):
    """Positions in a buffer."""

    tokens: list[str]
    token_table: int
    after_index: int
    names: int
    number: int


def read(memory: KernelMemory) -> RawSymbols:
    """Find and read the table. Raises KernelError when there is none, as in a kernel built without CONFIG_KALLSYMS."""
    for segment, at in memory.find(_DIGITS):
        tables = _tables(segment, at)
        if tables is not None:
            names = _names(segment.buffer, tables)
            layout, addresses = _addresses(segment, tables)
            return RawSymbols(addresses, "".join([n[0] for n in names]), [n[1:] for n in names], layout)
    raise KernelError("no symbol table (kallsyms) was found in this kernel", "use one that was built with CONFIG_KALLSYMS")


def _tables(segment: Segment, digits: int) -> _Tables | None:
    buffer = segment.buffer
    table = digits
    for _ in range(ord("0")):  # back over the tokens before the one for "0"
        table = buffer.rfind(b"\0", max(segment.offset, table - 64), table - 1) + 1
        if table <= 0:
            return None
    tokens: list[bytes] = []
    index = bytearray()
    at = table
    for _ in range(_TOKENS):
        end = buffer.find(b"\0", at, at + 64)
        if end < 0:
            return None
        index += struct.pack("<H", at - table & 0xFFFF)
        tokens.append(bytes(buffer[at:end]))
        at = end + 1
    found = buffer.find(bytes(index), at, at + 64 + len(index))
    if found < 0:
        return None
    markers = _markers(segment, table)
    if markers is None:
        return None
    names = _names_start(segment, *markers)
    if names is None:
        return None
    return _Tables([t.decode("latin-1") for t in tokens], table, found + len(index), *names)


def _markers(segment: Segment, table: int) -> tuple[int, list[int]] | None:
    """Position and values of the markers: 32-bit offsets into the names, the first one 0, each a few thousand after the one before."""
    low = max(segment.offset, table - _SEARCH) & ~3
    words = memoryview(bytes(segment.buffer[low : table & ~3])).cast("I")
    values = words.tolist()
    i = len(values) - 1
    while i >= 0:
        if values[i] == 0 and i + 40 < len(values) and all(_step(a, b) for a, b in pairwise(values[i : i + 40])):
            end = i + 1
            while end < len(values) and _step(values[end - 1], values[end]):
                end += 1
            return low + 4 * i, values[i:end]
        i -= 1
    return None


def _step(before: int, after: int) -> bool:
    return 300 < after - before < 20000


def _names_start(segment: Segment, markers: int, values: list[int]) -> tuple[int, int] | None:
    """Position of the first name and number of names: the count stands before the names, which end, less than a block after the last
    marker's place, where the markers begin."""
    buffer = segment.buffer
    low = max(segment.offset, markers - values[-1] - _BLOCK * _NAME_LIMIT) & ~7
    content = bytes(buffer[low:markers])
    last = len(content) - values[-1]
    for at in range(8, last + 1, 4):
        for gap in (4, 8):
            (count,) = struct.unpack_from("<I", content, at - gap)
            full = (len(values) - 1) * _BLOCK
            if full < count <= full + _BLOCK and _agree(content, at, values[:4]):
                return low + at, count
    return None


def _agree(content: bytes, start: int, values: list[int]) -> bool:
    """Whether names that begin at `start` have block boundaries at the markers' values."""
    at = start
    try:
        for value in values[1:]:
            for _ in range(_BLOCK):
                length = content[at]
                at += 1
                if length & 0x80:
                    length = length & 0x7F | content[at] << 7
                    at += 1
                at += length
            if at - start != value:
                return False
    except IndexError:
        return False
    return True


def _names(buffer: Bytes, tables: _Tables) -> list[str]:
    content = bytes(buffer[tables.names : tables.names + tables.number * 600])
    token = tables.tokens.__getitem__
    names = []
    at = 0
    for _ in range(tables.number):
        length = content[at]
        at += 1
        if length & 0x80:
            length = length & 0x7F | content[at] << 7
            at += 1
        names.append("".join(map(token, content[at : at + length])))
        at += length
    return names


def _addresses(segment: Segment, tables: _Tables) -> tuple[str, array[int]]:
    buffer, count = segment.buffer, tables.number
    size = 4 * count
    after = (tables.after_index + 7) & ~7
    base_after = _word(buffer, after + (size + 7 & ~7))
    base_before = _word(buffer, tables.names - 16)
    if _is_kernel(base_after):
        layout, at, base = "B", after, base_after
    elif _is_kernel(base_before):
        layout, at, base = "A", tables.names - 16 - (size + 7 & ~7), base_before
    else:
        layout, at, base = "C", (tables.after_index + 3) & ~3, 0
    offsets = memoryview(bytes(buffer[at : at + size])).cast("i").tolist()
    if layout == "C":
        place = segment.start + at - segment.offset
        return layout, array("Q", [place + 4 * i + o for i, o in enumerate(offsets)])
    if 2 * sum(o < 0 for o in offsets) > count:  # absolute per-cpu variables
        return layout, array("Q", [o if o >= 0 else base - 1 - o for o in offsets])
    return layout, array("Q", [base + (o & 0xFFFF_FFFF) for o in offsets])


def _word(buffer: Bytes, at: int) -> int:
    return int.from_bytes(buffer[at : at + 8], "little")


def _is_kernel(address: int) -> bool:
    return address >> 47 == 0x1FFFF and not address & 0xFFF  # the beginning of a page, as `_text` is
