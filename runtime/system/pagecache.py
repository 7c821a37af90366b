"""Files that the guest has made, in memory, as its page cache holds them: tmpfs, on which what is written beside the host's files lies too.

A file's pages are in an xarray (include/linux/xarray.h), as pointers to their struct page. These lie in one array for all of memory, whose
place differs between architectures and versions (Documentation/arch/arm64/memory.rst, Documentation/arch/x86/x86_64/mm.rst).
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


class Layout(NamedTuple):
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
    def of(cls, kernel: SystemDescription) -> Layout:
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


class GuestFile:
    """One file (machine.physical.Backing, as far as symbols ask for it). inode: the address of its struct inode."""

    def __init__(self, cpu: Processor, layout: Layout, inode: int) -> None:
        self._cpu = cpu
        self._layout = layout
        self._mapping = self._word(inode + layout.mapping)
        self.length = min(self._word(inode + layout.size), LIMIT)
        first = self._page(0)
        starts = [at for at in _VMEMMAP[cpu.arch.name] if self._content(first, at)[: len(MAGIC)] == MAGIC]
        self._start = starts[0] if starts else 0
        number, generation = self._word(inode + layout.number), self._word(inode + layout.generation) & 0xFFFF_FFFF
        self._identity = inode, number, generation, self.length, self.read(0, PAGE)  # it may have been written anew

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
        end = min(offset + size, self.length)
        pages = range(offset // PAGE, -(-end // PAGE))
        content = b"".join(self._content(self._page(i), self._start) or bytes(PAGE) for i in pages)
        return content[offset % PAGE :][: max(end - offset, 0)]

    def _word(self, address: int) -> int:
        return int.from_bytes(self._cpu.read(address & (1 << 64) - 1, 8) or b"", "little")

    def _content(self, page: int, start: int) -> bytes:
        """What the page of a struct page holds, b"" when it cannot be one."""
        at = (page - start) // self._layout.page * PAGE
        return bytes(self._cpu.ram.view[at : at + PAGE]) if page >= start and at + PAGE <= self._cpu.ram.size else b""

    def _page(self, index: int) -> int:
        """The struct page of a page of the file, 0 if it has none."""
        entry = self._word(self._mapping + self._layout.head)
        first = 0  # the index that the entry begins at
        for _ in range(_DEEPEST):
            if entry & 3 != 2 or entry < PAGE:
                break
            node = entry - 2
            shift = (self._cpu.read(node + self._layout.shift, 1) or b"\0")[0]
            slot = index >> shift & _SLOTS - 1
            entry = self._word(node + self._layout.slots + 8 * slot)
            if entry & 3 == 2 and entry < PAGE:  # a sibling: the page is part of the one in an earlier slot
                slot = entry >> 2
                entry = self._word(node + self._layout.slots + 8 * slot)
            first = index >> shift + _SLOTS_BITS << shift + _SLOTS_BITS | slot << shift
        if not entry or entry & 3:
            return 0
        return entry + (index - first) * self._layout.page
