"""Files that the guest has made, in memory, as its page cache holds them: tmpfs, on which what is written beside the host's files lies too.

A file's pages are in an xarray (include/linux/xarray.h), as pointers to their struct page. These lie in one array for all of memory, whose
place differs between architectures and versions (Documentation/arch/arm64/memory.rst, Documentation/arch/x86/x86_64/mm.rst). Where a task
is known the pages of its stack tell it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from pyprobe.runtime.system.ram import PAGE

if TYPE_CHECKING:
    from pyprobe.runtime.system.cpu import Processor
    from pyprobe.runtime.system.description import SystemDescription

_VMEMMAP = {  # where the array may begin
    "x86_64": (0xFFFF_EA00_0000_0000,),
    "arm64": (0xFFFF_FC00_0000_0000, (1 << 64) - (1 << 30) - (1 << 41)),  # until 6.8, since then
}
_SLOTS_BITS, _SLOTS = 6, 64  # XA_CHUNK_SHIFT
_DEEPEST = 11
MAGIC = b"\x7fELF"
LIMIT = 1 << 28  # bytes of a file that are looked at


class PageLayout(NamedTuple):
    """Offsets of members, and the size of struct page, in bytes."""

    mapping: int
    size: int
    number: int
    generation: int
    head: int
    shift: int
    slots: int
    page: int

    @classmethod
    def of(cls, kernel: SystemDescription) -> PageLayout:
        """Raises KeyError when the kernel's types lack a member."""
        return cls(
            kernel.offset("inode", "i_mapping"),
            kernel.offset("inode", "i_size"),
            kernel.offset("inode", "i_ino"),
            kernel.offset("inode", "i_generation"),
            kernel.offset("address_space", "i_pages") + kernel.offset("xarray", "xa_head"),
            kernel.offset("xa_node", "shift"),
            kernel.offset("xa_node", "slots"),
            kernel.size("struct page"),
        )


class PageCache:
    """Reads the kernel's structs of pages."""

    def __init__(self, cpu: Processor, layout: PageLayout) -> None:
        self.cpu = cpu
        self.layout = layout

    def size(self, inode: int) -> int:
        """Of a file, in bytes."""
        return self.word(inode + self.layout.size)

    def mapping(self, inode: int) -> int:
        """The struct address_space of a file."""
        return self.word(inode + self.layout.mapping)

    def page(self, mapping: int, index: int) -> int:
        """The struct page of a page of a file, 0 if it has none (xas_load() of lib/xarray.c)."""
        layout = self.layout
        entry = self.word(mapping + layout.head)
        if index >> (self._shift(entry) + _SLOTS_BITS if _is_node(entry) else 0):
            return 0  # behind all that the root has room for
        first = 0  # the index that the entry begins at
        for _ in range(_DEEPEST):
            if not _is_node(entry):
                break
            node, shift = entry - 2, self._shift(entry)
            slot = index >> shift & _SLOTS - 1
            entry = self.word(node + layout.slots + 8 * slot)
            if entry & 3 == 2 and entry < PAGE:  # a sibling: the page is part of the one in an earlier slot
                slot = entry >> 2
                entry = self.word(node + layout.slots + 8 * slot)
            first = index >> shift + _SLOTS_BITS << shift + _SLOTS_BITS | slot << shift
        if not entry or entry & 3:
            return 0
        return entry + (index - first) * layout.page

    def _shift(self, node: int) -> int:
        return (self.cpu.read(node - 2 + self.layout.shift, 1) or b"\0")[0]

    def content(self, page: int, start: int) -> bytes:
        """What the page of a struct page holds, where the array of these begins at `start`; b"" when it cannot be one."""
        ram = self.cpu.ram
        at = (page - start) // self.layout.page * PAGE
        return bytes(ram.view[at : at + PAGE]) if page >= start and at + PAGE <= ram.size else b""

    def word(self, address: int) -> int:
        """The 64-bit word at an address; 0 where nothing is."""
        return self.cpu.number(address & (1 << 64) - 1)


def _is_node(entry: int) -> bool:
    """xa_is_node()."""
    return entry & 3 == 2 and entry > PAGE


class GuestFile:
    """One file (machine.physical.Backing, as far as symbols ask for it). inode: the address of its struct inode."""

    def __init__(self, cache: PageCache, inode: int) -> None:
        self._cache = cache
        self._mapping = cache.mapping(inode)
        self.length = min(cache.size(inode), LIMIT)
        first = cache.page(self._mapping, 0)
        starts = [at for at in _VMEMMAP[cache.cpu.arch.name] if cache.content(first, at)[: len(MAGIC)] == MAGIC]
        self._start = starts[0] if starts else 0
        number, generation = (cache.word(inode + at) for at in (cache.layout.number, cache.layout.generation))
        self._identity = inode, number, generation & 0xFFFF_FFFF, self.length, self.read(0, PAGE)  # it may have been written anew

    def __eq__(self, other: object) -> bool:
        return isinstance(other, GuestFile) and self._identity == other._identity

    def __hash__(self) -> int:
        return hash(self._identity)

    @property
    def readable(self) -> bool:
        """Whether this is a program or library whose content can be told."""
        return self._start != 0

    def read(self, offset: int, size: int) -> bytes:
        """Content, with zeros where no page is in memory."""
        cache, end = self._cache, min(offset + size, self.length)
        pages = range(offset // PAGE, -(-end // PAGE))
        content = b"".join(cache.content(cache.page(self._mapping, i), self._start) or bytes(PAGE) for i in pages)
        return content[offset % PAGE :][: max(end - offset, 0)]
