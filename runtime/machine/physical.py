"""Physical memory of the machine: frames in one sparse host mapping, and the page caches of mapped files.

A frame is named by its physical address, which is its offset in the host mapping; engines map the whole of it at
physical address 0. Frames are handed out on demand and counted by reference, so a fork copies nothing.

Translated code is kept per physical page. A frame that was executed therefore keeps stale translations when somebody
other than the guest changes its content; `executed` knows these frames, and `forget_code` has every engine drop what it
translated from one.
"""

from __future__ import annotations

import ctypes
import mmap
import os
from bisect import bisect_left
from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pyprobe.runtime.machine.memory import AddressSpace

PAGE = 4096
PAGE_MASK = ~(PAGE - 1)

_READ_AROUND = 16  # pages fetched together from a host file
_ZERO = bytes(PAGE)


class OutOfMemory(Exception):
    """The machine's limit on memory is reached."""


class Backing:
    """What a mapping shows: numbered pages shared by everyone who maps it.

    Anonymous backings (shared memory, files that live in memory) start as zeros and may be resized. Those of a host file
    are read on demand; what was read stays as it was, whatever happens to the file meanwhile, and a part that is gone
    when it is first touched behaves like the space behind the end of the file.
    """

    def __init__(self, memory: PhysicalMemory, length: int) -> None:
        self.memory = memory
        self.length = length
        self.frames: dict[int, int] = {}
        self._order: list[int] = []  # the numbers of pages with a frame, as long as there are as many

    def frame(self, index: int) -> int:
        """The frame of page `index`, or 0 behind the end. Raises OutOfMemory."""
        if index < 0 or index * PAGE >= self.length:
            return 0
        frame = self.frames.get(index)
        if frame is None:
            frame = self._load(index)
        return frame

    def _load(self, index: int) -> int:
        frame = self.frames[index] = self.memory.allocate()
        return frame

    def present(self, index: int) -> bool:
        """Has page `index` bytes of its own? Pages that nobody has touched are holes."""
        return index in self.frames

    def next_present(self, index: int) -> int:
        """The first page from `index` on that has bytes of its own; the number of pages if there is none."""
        order = self._order
        if len(order) != len(self.frames):
            order = self._order = sorted(self.frames)
        at = bisect_left(order, index)
        return order[at] if at < len(order) else self.pages

    @property
    def pages(self) -> int:
        """How many pages the length makes."""
        return -(-self.length // PAGE)

    def resize(self, length: int) -> None:
        """Grow with zeros or cut off. Pages behind a cut are zeros where they are still mapped."""
        if length < self.length:
            view = self.memory.view
            cut = length // PAGE
            for index, frame in self.frames.items():
                if index >= cut:
                    start = max(length - index * PAGE, 0)
                    if start < PAGE:
                        view[frame + start : frame + PAGE] = bytes(PAGE - start)
                        self.memory.written(frame)
        self.length = length

    def punch(self, first: int, last: int) -> int:
        """Make holes of the pages from `first` up to `last`, which nobody may have in a page table; how many have been given back."""
        freed = [index for index in range(first, last) if index in self.frames] if last - first < len(self.frames) else [
            index for index in self.frames if first <= index < last
        ]
        self._order = []
        for index in freed:
            self.memory.release(self.frames.pop(index))
        return len(freed)

    def read(self, offset: int, n: int) -> bytes:
        """Up to `n` bytes at `offset`, short at the end."""
        n = min(n, self.length - offset)
        parts = []
        while n > 0:
            index, start = divmod(offset, PAGE)
            size = min(PAGE - start, n)
            frame = self.frame(index)
            if not frame:
                break
            parts.append(bytes(self.memory.view[frame + start : frame + start + size]))
            offset += size
            n -= size
        return b"".join(parts)

    def write(self, offset: int, data: bytes | bytearray | memoryview) -> None:
        """Put `data` at `offset`, growing as needed; everyone who maps it sees it."""
        if offset + len(data) > self.length:
            self.resize(offset + len(data))
        done = 0
        while done < len(data):
            index, start = divmod(offset + done, PAGE)
            size = min(PAGE - start, len(data) - done)
            frame = self.frame(index)
            self.memory.view[frame + start : frame + start + size] = data[done : done + size]
            self.memory.written(frame)
            done += size

    def __del__(self) -> None:
        release = self.memory.release
        for frame in self.frames.values():
            release(frame)


class FileBacking(Backing):
    """The page cache of one host file."""

    def __init__(self, memory: PhysicalMemory, fd: int, length: int) -> None:
        super().__init__(memory, length)
        self._fd = os.dup(fd)
        self._missing = self._host_pages = -(-length // PAGE)

    def present(self, index: int) -> bool:
        return index < self._host_pages or index in self.frames

    def next_present(self, index: int) -> int:
        return index if index < self._host_pages else super().next_present(index)

    def punch(self, first: int, last: int) -> int:
        """Zeros, which stay: what is not there would be read from the host again."""
        for index in range(first, min(last, self.pages)):
            self.write(index * PAGE, _ZERO[: self.length - index * PAGE])
        return 0

    def _load(self, index: int) -> int:
        # Read into place rather than mapped: a mapped host file that shrinks would kill this process with SIGBUS.
        memory = self.memory
        first = index - index % _READ_AROUND
        last = min(first + _READ_AROUND, -(-self.length // PAGE))
        frames = [memory.allocate() for _ in range(first, last)]
        views = [memory.view[frame : frame + min(PAGE, self.length - i * PAGE)] for i, frame in enumerate(frames, first)]
        os.preadv(self._fd, views, first * PAGE)
        self.frames.update(enumerate(frames, first))
        self._missing -= len(frames)
        if not self._missing:
            self._close()
        return self.frames[index]

    def _close(self) -> None:
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def __del__(self) -> None:
        self._close()
        super().__del__()


class PhysicalMemory:
    """All memory of a machine.

    limit: bytes of frames that may be in use at once; more is OutOfMemory. The default is 4 GiB.
    size: bytes of address space reserved on the host for it; costs nothing until used.
    """

    def __init__(self, limit: int = 4 << 30, size: int | None = None) -> None:
        self.limit = limit
        self.size = size if size is not None else max(4 * limit, 16 << 30)
        self.base = _reserve(self.size)
        self.view = memoryview((ctypes.c_char * self.size).from_address(self.base)).cast("B")
        self.used = 0  # bytes of frames in use
        self.executed: set[int] = set()
        self.forget_code: list[Callable[[int], None]] = []  # of each engine: drop what was translated from this frame
        self.on_fault: tuple[Callable[[AddressSpace, int, bool, int], object], ...] = ()  # page faults: space, address, file read?, access
        self.resolve_fault: Callable[[AddressSpace, int, bool, int, Callable[[], None]], object] | None = None
        """Told before `on_fault`: what is told there, and what is to be called for the page to be there."""
        self._next = PAGE  # frame 0 is never used: a page-table entry of 0 means "none"
        self._free: list[int] = []
        self._references: dict[int, int] = {}  # only of frames with more than one
        self._files: dict[tuple[int, int, int, int], FileBacking] = {}

    @property
    def watched(self) -> bool:
        """Does anybody want to be told of page faults?"""
        return self.resolve_fault is not None or bool(self.on_fault)

    def __del__(self) -> None:
        try:
            self.view.release()
        except (AttributeError, BufferError):
            return  # never mapped; or somebody still holds a part of it, and gets to keep it
        _unreserve(self.base, self.size)

    def allocate(self) -> int:
        """A frame of zeros with one reference. Raises OutOfMemory."""
        if self.used >= self.limit:
            raise OutOfMemory(f"the machine has {self.limit >> 20} MiB of memory")
        self.used += PAGE
        if self._free:
            frame = self._free.pop()
            self.view[frame : frame + PAGE] = _ZERO
            return frame
        frame = self._next
        if frame + PAGE > self.size:
            raise OutOfMemory(f"the machine has {self.size >> 20} MiB of physical address space")
        self._next = frame + PAGE
        return frame

    def share(self, frame: int) -> None:
        """Count one more reference."""
        self._references[frame] = self._references.get(frame, 1) + 1

    def shared(self, frame: int) -> bool:
        """Whether the frame has more than one reference."""
        return frame in self._references

    def release(self, frame: int) -> None:
        """Count one reference less; the last one frees the frame and what was translated from it."""
        count = self._references.get(frame)
        if count is None:
            if frame in self.executed:
                self.written(frame)
                self.executed.discard(frame)
            self._free.append(frame)
            self.used -= PAGE
        elif count == 2:
            del self._references[frame]
        else:
            self._references[frame] = count - 1

    def copy(self, frame: int) -> int:
        """A new frame with the same content. Raises OutOfMemory."""
        new = self.allocate()
        self.view[new : new + PAGE] = self.view[frame : frame + PAGE]
        return new

    def written(self, frame: int) -> None:
        """The frame's content was changed by somebody other than the guest."""
        if frame in self.executed:
            for forget in self.forget_code:
                forget(frame)

    def file(self, fd: int) -> Backing:
        """The page cache of an open host file; the same one for the same content (device, inode, time of change, size)."""
        status = os.fstat(fd)
        key = (status.st_dev, status.st_ino, status.st_mtime_ns, status.st_size)
        backing = self._files.get(key)
        if backing is None:
            backing = self._files[key] = FileBacking(self, fd, status.st_size)
        return backing

    def anonymous(self, length: int) -> Backing:
        """A new backing of zeros, to be shared between mappings."""
        return Backing(self, length)


_libc = ctypes.CDLL(None, use_errno=True)
_libc.mmap.restype = ctypes.c_void_p
_libc.mmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int, ctypes.c_int, ctypes.c_int, ctypes.c_long]
_libc.munmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t]
_MAP_NORESERVE = 0x4000
_ROOM = 3 << 29  # for libunicorn and the 1 GiB it reserves for translated code, which then reach the libraries that are loaded already


def _reserve(size: int) -> int:
    """Address space on the host, backed when touched. (The mmap module has no way to its address that survives closing.)

    The host places mappings below each other. One of this size must not come between the callbacks and the code that calls them for each
    block it executes: a call to an address within 2 GiB is direct, another goes through a pointer.
    """
    flags = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | _MAP_NORESERVE
    base = _libc.mmap(None, size + _ROOM, mmap.PROT_READ | mmap.PROT_WRITE, flags, -1, 0)
    if base is None or base == ctypes.c_void_p(-1).value:
        raise OutOfMemory(f"the host refuses {size >> 30} GiB of address space: {os.strerror(ctypes.get_errno())}")
    _unreserve(base + size, _ROOM)
    return int(base)


def _unreserve(base: int, size: int) -> None:
    _libc.munmap(base, size)
