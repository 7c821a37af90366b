"""A kernel's own memory at its virtual addresses: from an image file, or from the RAM of a machine that booted it.

Image formats: `pyprobe.runtime.system.kernels.image`. An arm64 Image is linked for a fixed address (KIMAGE_VADDR,
arch/arm64/include/asm/memory.h, which moved twice) but may hold nothing where pointers belong: RELA relocations at its end say what the
kernel writes there first of all. Where relocations are kept as RELR, the pointers are in place but for the few that are not aligned.
"""

from __future__ import annotations

import mmap
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from pyprobe.runtime.system.kernels.errors import KernelError

ARM64_BASES = (0xFFFF_8000_8000_0000, 0xFFFF_8000_0800_0000, 0xFFFF_8000_1000_0000)  # Linux 6.5, 5.17 and 5.4 on, 48-bit addresses
_RELATIVE = struct.pack("<Q", 1027)  # R_AARCH64_RELATIVE (ELF for the Arm 64-bit Architecture)
_FEW = 3  # entries that tell a table from chance
_RELA = struct.Struct("<QQq")

Bytes = bytes | bytearray | mmap.mmap


class Segment(NamedTuple):
    """A part of the kernel: where it begins, and its bytes from `offset` of a buffer, `size` of them."""

    start: int
    buffer: Bytes
    offset: int
    size: int

    @property
    def end(self) -> int:
        return self.start + self.size


class KernelMemory:
    """The kernel's linked memory. Reading outside gives zeros where the kernel has uninitialised data, and raises LookupError elsewhere.

    base: the address of `_text`'s page, which symbols that the kernel exports as offsets are relative to.
    """

    def __init__(self, arch: str, segments: list[Segment]) -> None:
        self.arch = arch
        self.segments = segments

    @property
    def base(self) -> int:
        return min(s.start for s in self.segments if s.start >> 63)

    def read(self, address: int, size: int) -> bytes:
        """Bytes at a virtual address. Raises LookupError when the kernel's image does not hold them."""
        for segment in self.segments:
            if segment.start <= address < segment.end:
                at = segment.offset + address - segment.start
                return bytes(segment.buffer[at : min(at + size, segment.offset + segment.size)]).ljust(size, b"\0")
        raise LookupError(f"the kernel's image has nothing at {address:#x}")

    def u32(self, address: int) -> int:
        return int.from_bytes(self.read(address, 4), "little")

    def u64(self, address: int) -> int:
        return int.from_bytes(self.read(address, 8), "little")

    def cstring(self, address: int, limit: int = 512) -> str:
        """The text at an address, empty where there is none."""
        try:
            return self.read(address, limit).partition(b"\0")[0].decode("utf-8", "replace")
        except LookupError:
            return ""

    def find(self, pattern: bytes) -> Iterator[tuple[Segment, int]]:
        """Where a pattern occurs: the segment, and the position in its buffer."""
        for segment in self.segments:
            end = segment.offset + segment.size
            at = segment.buffer.find(pattern, segment.offset, end)
            while at >= 0:
                yield segment, at
                at = segment.buffer.find(pattern, at + 1, end)

    def words(self, segment: Segment) -> memoryview:
        """A segment's aligned 64-bit words."""
        return memoryview(segment.buffer)[segment.offset : segment.offset + (segment.size & ~7)].cast("Q")


def of_image(path: Path, arch: str) -> KernelMemory:
    """The memory of a kernel from its image in the cache. Raises KernelError when it is not what it should be."""
    try:
        with open(path, "rb") as stream:
            content = mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ)
    except (OSError, ValueError) as error:
        raise KernelError(f"can't read {path}: {error}") from None
    return KernelMemory(arch, _elf_segments(content) if arch == "x86_64" else [_arm64_segment(content)])


def of_ram(ram: Bytes, offset: int, size: int, virtual: int, arch: str) -> KernelMemory:
    """The memory of a booted kernel.

    ram: the machine's RAM; offset, size: the part of it where the kernel lies, from `_text` on, in bytes; virtual: `_text`'s address.
    """
    return KernelMemory(arch, [Segment(virtual, ram, offset, size)])


def _elf_segments(content: mmap.mmap) -> list[Segment]:
    headers, size, count = struct.unpack_from("<Q14xHH", content, 32)
    segments = []
    for i in range(count):
        kind, _, offset, address, _, length, _ = struct.unpack_from("<IIQQQQQ", content, headers + i * size)
        if kind == 1 and length and address >> 63:  # the area of per-cpu variables, linked at 0, holds nothing to find
            segments.append(Segment(address, content, offset, min(length, len(content) - offset)))
    return segments


def _arm64_segment(content: mmap.mmap) -> Segment:
    table = _relocations(content)
    size = len(content)
    if table is None:
        return Segment(_arm64_base(memoryview(content)[: size & ~7].cast("Q"), size), content, 0, size)
    start, count = table
    base = _arm64_base(memoryview(content)[start : start + 24 * count].cast("Q"), size)
    relocated = bytearray(content)
    put = struct.Struct("<q").pack_into
    for place, _, value in _RELA.iter_unpack(content[start : start + 24 * count]):
        if 0 <= place - base <= size - 8:
            put(relocated, place - base, value)
    return Segment(base, relocated, 0, size)


def _arm64_base(words: memoryview, size: int) -> int:
    """Where an Image of `size` bytes is linked: the base that most of the words point behind."""
    sample = words[:: max(1, len(words) >> 18)].tolist()
    found = {base: sum(base <= w < base + size for w in sample) for base in ARM64_BASES}
    base = max(found, key=lambda b: found[b])
    if not found[base]:
        raise KernelError("this arm64 kernel is linked for an address that is not known here; its symbols can't be read from its file")
    return base


def _is_relocation(content: mmap.mmap, at: int) -> bool:
    place, kind, value = content[at : at + 8], content[at + 8 : at + 16], content[at + 16 : at + 24]
    return kind == _RELATIVE and place[5:] == value[5:] == b"\x80\xff\xff"


def _relocations(content: mmap.mmap) -> tuple[int, int] | None:
    """Offset and number of the RELA entries: a place, R_AARCH64_RELATIVE and a value each, without gaps."""
    at = content.find(_RELATIVE)
    while at >= 0:
        if at % 8 == 0 and all(_is_relocation(content, at - 8 + 24 * i) for i in range(_FEW)):
            start = at - 8
            count = _FEW
            while content[at + 24 * count : at + 24 * count + 8] == _RELATIVE:
                count += 1
            return start, count
        at = content.find(_RELATIVE, at + 1)
    return None
