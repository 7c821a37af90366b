"""Address spaces: the page tables of the guest's processes and the mappings behind them.

`AddressSpace.pages` is the page table, page number to entry, and the only copy of the truth: the engine's fill callback
looks an address up there when the translation buffer misses and calls `fault` when that is not enough. An entry is the
physical address of the frame plus the bits below.

Semantics of mappings follow Linux: mmap(2), mprotect(2), and mm/memory.c for copy-on-write. Like there, memory that may
be written or executed may also be read.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial

from pyprobe.runtime.machine.mappings import LEFT_OUT, TASK_SIZE, Mappings, R, Vma, W, X
from pyprobe.runtime.machine.physical import PAGE, PAGE_MASK, Backing, OutOfMemory, PhysicalMemory
from pyprobe.runtime.machine.points import Points

__all__ = ["PAGE", "TASK_SIZE", "AddressSpace", "Backing", "MemoryFault", "OutOfMemory", "PhysicalMemory", "Points", "R", "Vma", "W", "X"]

PRESENT = 256  # told of a fault besides the access: the page was there, but not for this access

COW = 8  # somebody else may see the frame: copy before the first write, if the mapping allows one
CACHED = 16  # the frame belongs to a Backing, which holds the reference
EXECUTED = 32  # the frame is in PhysicalMemory.executed
SHARED = 64  # others may write the frame through mappings of their own

_AHEAD = 8
_AROUND = 16
_ZEROS = memoryview(bytes(1 << 20))  # of larger reads, what nobody has touched


class MemoryFault(Exception):
    """An access from the host side to guest memory that is not there or not allowed.

    address: the first byte that could not be accessed.
    access: R, W or X.
    """

    def __init__(self, address: int, access: int) -> None:
        super().__init__(f"no {'read' if access == R else 'write' if access == W else 'execute'} access to {address:#x}")
        self.address = address
        self.access = access


class AddressSpace(Mappings):
    """The memory of one process (mm_struct). `users` counts the processes that share it (CLONE_VM).

    stale: set when an entry was taken away or restricted, so that the engine forgets its translations.
    start_brk, brk: the heap, for brk(2).
    """

    def __init__(self, memory: PhysicalMemory) -> None:
        super().__init__(memory)
        self.pages: dict[int, int] = {}
        self.points = Points()
        self.users = 1
        self._missing = -1  # the page whose fault is being told
        self.stale = False
        self.start_brk = self.brk = 0

    # page-table entries of mappings that change

    def _present(self, start: int, end: int) -> list[int]:
        """The numbers of the pages that have an entry."""
        first, last = start // PAGE, end // PAGE
        if last - first <= len(self.pages):
            return [page for page in range(first, last) if page in self.pages]
        return sorted(page for page in self.pages if first <= page < last)

    def _drop(self, start: int, end: int) -> None:
        for page in self._present(start, end):
            entry = self.pages.pop(page)
            self.stale = True
            if not entry & CACHED:
                self.memory.release(entry & PAGE_MASK)

    def forget_pages(self, backing: Backing, first: int, last: int, *, copies: bool = False) -> None:
        """Drop the entries that show pages `first` up to `last` of a backing: the next access asks it again.

        copies: private copies of them too.
        """
        for vma in self.vmas():
            if vma.backing is backing:
                low = vma.start + max(first * PAGE - vma.offset, 0)
                high = min(vma.end, vma.start + last * PAGE - vma.offset)
                for page in self._present(low, high) if low < high else ():
                    entry = self.pages[page]
                    if copies or entry & CACHED:
                        del self.pages[page]
                        self.stale = True
                        if not entry & CACHED:
                            self.memory.release(entry & PAGE_MASK)

    def _allow(self, start: int, end: int, prot: int) -> None:
        pages = self.pages
        rights = _rights(prot)
        for page in self._present(start, end):
            entry = pages[page]
            if entry & CACHED:
                del pages[page]
            else:
                allowed = rights & ~W if entry & COW else rights
                pages[page] = entry & ~(R | W | X) | allowed
            self.stale = True

    # page faults

    def fault(self, address: int, access: int) -> int:
        """The page-table entry that allows `access` to `address`, made if need be; 0 where it is not allowed.

        Raises OutOfMemory.
        """
        page = address // PAGE
        entry = self.pages.get(page, 0)
        if not entry:
            vma = self.find(address) or self._grow(address)
            if vma is None or not _rights(vma.prot) & access:
                return 0
            if not self.memory.watched:
                self._give(vma, page)
            elif page == self._missing:  # who is told of the fault looks at its page
                return 0
            else:
                major = vma.backing is not None and (vma.offset // PAGE + page - vma.start // PAGE) not in vma.backing.frames
                self._tell(address, major, access, partial(self._give, vma, page))
            entry = self.pages.get(page, 0)
            if not entry:
                return 0
        if access == W and not entry & W:
            vma = self.find(address)
            if not entry & COW or vma is None or not vma.prot & W:
                return 0
            if not self.memory.watched:
                self._take(page)
            else:
                self._tell(address, False, access | PRESENT, partial(self._take, page))
            entry = self.pages[page]
        if access == X and entry & X and not entry & EXECUTED:
            self.memory.executed.add(entry & PAGE_MASK)
            entry = self.pages[page] = entry | EXECUTED
        return entry if entry & access else 0

    def _tell(self, address: int, major: bool, access: int, resolve: Callable[[], None]) -> None:
        """Have a fault told, and resolved by who is told."""
        memory = self.memory
        if memory.resolve_fault is None:
            resolve()
        else:
            before, self._missing = self._missing, address // PAGE
            try:
                memory.resolve_fault(self, address, major, access, resolve)
            finally:
                self._missing = before
        if address // PAGE in self.pages:
            for happened in memory.on_fault:
                happened(self, address, major, access)

    def _give(self, vma: Vma, page: int) -> None:
        """Enter a page that is not there, and those around it."""
        self._missing = -1
        entry = 0 if page in self.pages else self._populate(vma, page)  # there already: what was read meanwhile lay around it
        if entry:
            self.pages[page] = entry
            self._populate_around(vma, page)

    def _take(self, page: int) -> None:
        """Give a page that is shared until it is written its own frame."""
        if self.pages[page] & COW:
            self.pages[page] = self._own(self.pages[page])

    def _populate(self, vma: Vma, page: int) -> int:
        rights = _rights(vma.prot)
        if vma.backing is None:
            return self.memory.allocate() | rights
        frame = vma.backing.frame((vma.offset + page * PAGE - vma.start) // PAGE)
        if not frame:
            return 0
        if vma.shared:
            return frame | rights | CACHED | SHARED
        return frame | (rights & ~W) | CACHED | COW

    def _populate_around(self, vma: Vma, page: int) -> None:
        """Enter more pages that are likely to be touched, to be spared their faults.

        For files, what was read together (fault-around of the kernel); for zeros, the next ones of a sequence.
        """
        pages = self.pages
        rights = _rights(vma.prot)
        if vma.backing is None:
            last = min(page + _AHEAD, vma.end // PAGE)
            if page - 1 in pages and self.memory.used + _AHEAD * PAGE <= self.memory.limit:
                for i in range(page + 1, last):
                    if i not in pages:
                        pages[i] = self.memory.allocate() | rights
        elif not vma.shared:
            bits = rights & ~W | CACHED | COW
            if rights & X:
                bits |= EXECUTED
            frames = vma.backing.frames
            shift = vma.offset // PAGE - vma.start // PAGE
            first = page - (page + shift) % _AROUND
            for i in range(max(first, vma.start // PAGE), min(first + _AROUND, vma.end // PAGE)):
                frame = frames.get(i + shift)
                if frame is not None and i not in pages:
                    pages[i] = frame | bits
                    if rights & X:
                        self.memory.executed.add(frame)

    def _own(self, entry: int) -> int:
        """The entry of a page that is written for the first time since it was shared."""
        frame = entry & PAGE_MASK
        if not entry & CACHED and not self.memory.shared(frame):
            return entry & ~COW | W
        new = self.memory.copy(frame)
        if not entry & CACHED:
            self.memory.release(frame)
        return new | R | W | (entry & X)

    # access from the host side

    def _runs(self, address: int, n: int, access: int) -> Iterator[tuple[int, int]]:
        """Physical address and length of each page-wise part."""
        pages = self.pages
        while n > 0:
            entry = pages.get(address // PAGE, 0)
            if not entry & access:
                entry = self.fault(address, access)
                if not entry:
                    raise MemoryFault(address, access)
                if access == W:
                    self.stale = True  # the frame may have changed under the engine's translation
            if access == W and (frame := entry & PAGE_MASK) in self.memory.executed:
                self.memory.written(frame)
            start = address & (PAGE - 1)
            size = min(PAGE - start, n)
            yield (entry & PAGE_MASK) + start, size
            address += size
            n -= size

    def read(self, address: int, n: int) -> bytes:
        """`n` bytes. Raises MemoryFault, OutOfMemory."""
        if 0 <= n <= PAGE - (address & (PAGE - 1)):
            entry = self.pages.get(address // PAGE, 0)
            if entry & R:
                physical = (entry & PAGE_MASK) + (address & (PAGE - 1))
                return bytes(self.memory.view[physical : physical + n])
        view = self.memory.view
        return b"".join([view[p : p + size] for p, size in self._runs(address, n, R)])

    def peek(self, address: int, n: int) -> bytes:
        """`n` bytes, or as many of them as there are; never raises MemoryFault."""
        parts = []
        try:
            for physical, size in self._runs(address, n, R):
                parts.append(bytes(self.memory.view[physical : physical + size]))
        except MemoryFault:
            pass
        return b"".join(parts)

    def write(self, address: int, data: bytes | bytearray | memoryview) -> None:
        """Store `data`. Raises MemoryFault (pages before the faulting one are written), OutOfMemory."""
        view = self.memory.view
        start, n = address & (PAGE - 1), len(data)
        if start + n <= PAGE:
            entry = self.pages.get(address // PAGE, 0)
            frame = entry & PAGE_MASK
            if entry & W and frame not in self.memory.executed:
                view[frame + start : frame + start + n] = data
                return
        done = 0
        for physical, size in self._runs(address, n, W):
            view[physical : physical + size] = data[done : done + size]
            done += size

    def poke(self, address: int, data: bytes) -> None:
        """Store `data` whatever the protection, as a debugger does: in private copies of the pages unless they are shared memory.

        Raises MemoryFault where nothing is mapped, OutOfMemory.
        """
        for start in range(address & PAGE_MASK, address + len(data), PAGE):
            low, high = max(start, address), min(start + PAGE, address + len(data))
            frame = self._private(start // PAGE)
            self.memory.view[frame + low - start : frame + high - start] = data[low - address : high - address]
            self.memory.written(frame)

    def _private(self, page: int) -> int:
        """The frame of a page that belongs to this space alone, copied if it did not."""
        address = page * PAGE
        entry = self.pages.get(page, 0) or self.fault(address, X) or self.fault(address, R)
        vma = self.find(address)
        if not entry or vma is None:
            raise MemoryFault(address, W)
        frame = entry & PAGE_MASK
        if entry & SHARED or not entry & (CACHED | COW):
            return frame
        if entry & CACHED or self.memory.shared(frame):
            new = self.memory.copy(frame)
            if not entry & CACHED:
                self.memory.release(frame)
            frame = new
        self.pages[page] = frame | _rights(vma.prot)
        self.stale = True
        return frame

    def views(self, address: int, n: int, access: int) -> list[memoryview]:
        """The memory itself, page by page, to be used at once. Raises MemoryFault, OutOfMemory."""
        if access == R and n > len(_ZEROS):
            return list(self._views_and_zeros(address, address + n))
        view, pages, executed = self.memory.view, self.pages, self.memory.executed
        found: list[memoryview] = []
        while n > 0:
            entry = pages.get(address // PAGE, 0)
            frame = entry & PAGE_MASK
            if not entry & access or (access == W and frame in executed):
                return found + [view[p : p + size] for p, size in self._runs(address, n, access)]
            start = address & (PAGE - 1)
            size = min(PAGE - start, n)
            found.append(view[frame + start : frame + start + size])
            address += size
            n -= size
        return found

    def _views_and_zeros(self, address: int, end: int) -> Iterator[memoryview]:
        """Views for reading; memory that nobody has touched yet is read as zeros, and stays so."""
        view = self.memory.view
        while address < end:
            untouched = self._untouched(address, min(end, address + len(_ZEROS)))
            if untouched:
                yield _ZEROS[:untouched]
                address += untouched
                continue
            for physical, size in self._runs(address, min(end, (address & PAGE_MASK) + PAGE) - address, R):
                yield view[physical : physical + size]
                address += size

    def _untouched(self, address: int, end: int) -> int:
        """How many bytes from `address` on are zeros without a frame."""
        vma = self.find(address)
        if vma is None or vma.backing is not None or not _rights(vma.prot) & R:
            return 0
        end = min(end, vma.end)
        at = address
        while at < end and at // PAGE not in self.pages:
            at = (at & PAGE_MASK) + PAGE
        return min(at, end) - address

    def cstring(self, address: int, limit: int = 4096) -> bytes:
        """The bytes up to a NUL, or the first `limit`. Raises MemoryFault, OutOfMemory."""
        parts = []
        while limit > 0:
            size = min(PAGE - (address & (PAGE - 1)), limit)
            part = self.read(address, size)
            end = part.find(0)
            if end >= 0:
                parts.append(part[:end])
                break
            parts.append(part)
            address += size
            limit -= size
        return b"".join(parts)

    def u8(self, address: int) -> int:
        """The byte at `address`. Raises MemoryFault."""
        return self.read(address, 1)[0]

    def u16(self, address: int) -> int:
        """The unsigned 16-bit word at `address`. Raises MemoryFault."""
        return int.from_bytes(self.read(address, 2), "little")

    def u32(self, address: int) -> int:
        """The unsigned 32-bit word at `address`. Raises MemoryFault."""
        return int.from_bytes(self.read(address, 4), "little")

    def u64(self, address: int) -> int:
        """The unsigned 64-bit word at `address`. Raises MemoryFault."""
        return int.from_bytes(self.read(address, 8), "little")

    def put_u32(self, address: int, value: int) -> None:
        """Store the low 32 bits of `value`. Raises MemoryFault."""
        self.write(address, (value & 0xFFFF_FFFF).to_bytes(4, "little"))

    def put_u64(self, address: int, value: int) -> None:
        """Store the low 64 bits of `value`. Raises MemoryFault."""
        self.write(address, (value & 0xFFFF_FFFF_FFFF_FFFF).to_bytes(8, "little"))

    # life

    def fork(self) -> AddressSpace:
        """A copy for a new process: private memory is shared until one of the two writes. Probe points are copied."""
        child = AddressSpace(self.memory)
        child.start_brk, child.brk, child.mmap_base, child.stack_limit = self.start_brk, self.brk, self.mmap_base, self.stack_limit
        child._vmas = [vma.part(vma.start, vma.end) for vma in self._vmas if not vma.on_fork & LEFT_OUT]
        child._starts = [vma.start for vma in child._vmas]
        child.points = self.points.copy()
        share = self.memory.share
        pages = self.pages
        for page, entry in pages.items():
            if not entry & CACHED:
                share(entry & PAGE_MASK)
                pages[page] = entry & ~W | COW
        child.pages = dict(pages)
        self.stale = True
        for vma in self._vmas:
            if vma.on_fork:
                child._drop(vma.start, vma.end)
        return child

    def destroy(self) -> None:
        """Give everything back; the space is empty afterwards, its probe points gone."""
        release = self.memory.release
        for entry in self.pages.values():
            if not entry & CACHED:
                release(entry & PAGE_MASK)
        self.pages.clear()
        self._vmas.clear()
        self._starts.clear()
        self.points = Points()
        self.stale = True


def _rights(prot: int) -> int:
    """What a protection allows: on these processors writing or executing implies reading."""
    return prot | R if prot & (W | X) else prot
