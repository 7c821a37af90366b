"""The RAM of a booted machine: one private host mapping, of zeros or of a snapshot's file."""

from __future__ import annotations

import ctypes
import mmap

PAGE = 4096
MB = 1 << 20
KEPT = 1 << 16  # bytes of RAM that a board keeps from its kernel, though it maps them


class Ram:
    """`size` bytes at the physical address `base`. `view` is indexed by offset from `base`, and holds what the guest sees.

    file, offset: a file descriptor, and where in it `size` bytes lie to begin with; pages are read when they are touched and never written
    back. The descriptor is not needed afterwards.
    """

    def __init__(self, base: int, size: int, file: int | None = None, offset: int = 0) -> None:
        self.base = base
        self.size = size
        if file is None:
            self.map = mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
        else:
            self.map = mmap.mmap(file, size, flags=mmap.MAP_PRIVATE, prot=mmap.PROT_READ | mmap.PROT_WRITE, offset=offset)
        self.view = memoryview(self.map)
        self.address = ctypes.addressof(ctypes.c_char.from_buffer(self.map))

    def write(self, address: int, data: bytes | memoryview) -> None:
        """Put `data` at a physical address. Raises ValueError where that is not RAM."""
        start = address - self.base
        if not 0 <= start <= start + len(data) <= self.size:
            raise ValueError(f"{address:#x}..{address + len(data):#x} is not RAM")
        self.view[start : start + len(data)] = data

    def discard(self) -> None:
        """Give back the host's memory: what is in it is lost."""
        self.map.madvise(mmap.MADV_DONTNEED)

    def u64(self, offset: int) -> int:
        """The 64-bit word at an offset."""
        return int.from_bytes(self.view[offset : offset + 8], "little")
