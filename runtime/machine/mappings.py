"""The mappings of an address space, in the order of their addresses.

Semantics follow Linux: mmap(2), munmap(2), mprotect(2), and mm/mmap.c for where a mapping is placed. What a change means for pages that
have an entry in the page table already is left to `memory.AddressSpace`.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right

from pyprobe.runtime.machine.physical import PAGE, PAGE_MASK, Backing, PhysicalMemory

R, W, X = 1, 2, 4
"""Protections, and the bits of an access."""

TASK_SIZE = 0x7FFF_FFFF_F000  # TASK_SIZE_MAX of x86-64 with 4-level paging; arm64's 48 bits are cut to the same
STACK_GUARD_GAP = 256 * PAGE  # stack_guard_gap in mm/mmap.c
STACK_LIMIT = 8 << 20  # RLIMIT_STACK of a usual login
MMAP_MIN = 0x10000  # vm.mmap_min_addr
COPIED, WIPED, LEFT_OUT = 0, 1, 2
"""What a new process gets of a mapping: all, or by bits: zeros (VM_WIPEONFORK), nothing (VM_DONTCOPY)."""


class Vma:
    """One mapping (vm_area_struct): `start` to `end` shows `backing` from `offset` on, or private zeros without one.

    name: what /proc/PID/maps shows. path, file_offset: the file behind it, for symbols; b"" for none. The offset in the
    backing and in the file are the same. on_fork: what a new process gets of it.
    """

    __slots__ = ("backing", "end", "grows_down", "name", "offset", "on_fork", "path", "prot", "shared", "start")

    def __init__(
        self,
        start: int,
        end: int,
        prot: int,
        shared: bool = False,
        backing: Backing | None = None,
        offset: int = 0,
        name: bytes = b"",
        path: bytes = b"",
        grows_down: bool = False,
        on_fork: int = COPIED,
    ) -> None:
        self.start = start
        self.end = end
        self.prot = prot
        self.shared = shared
        self.backing = backing
        self.offset = offset
        self.name = name
        self.path = path
        self.grows_down = grows_down
        self.on_fork = on_fork

    @property
    def file_offset(self) -> int:
        """Offset of `start` in the file, in bytes."""
        return self.offset

    def part(self, start: int, end: int) -> Vma:
        """The same mapping cut to `start`..`end`."""
        offset = self.offset + (start - self.start) if self.backing is not None else self.offset
        return Vma(start, end, self.prot, self.shared, self.backing, offset, self.name, self.path, self.grows_down, self.on_fork)

    def continues(self, other: Vma) -> bool:
        """Whether `other`, which begins where this ends, is more of the same."""
        return (
            self.end == other.start
            and self.prot == other.prot
            and self.shared == other.shared
            and self.backing is other.backing
            and self.name == other.name
            and self.path == other.path
            and self.grows_down == other.grows_down
            and self.on_fork == other.on_fork
            and (self.backing is None or self.offset + (self.end - self.start) == other.offset)
        )

    def __repr__(self) -> str:
        prot = "".join(c if self.prot & bit else "-" for c, bit in (("r", R), ("w", W), ("x", X)))
        return f"<Vma {self.start:x}-{self.end:x} {prot}{'s' if self.shared else 'p'} {self.name!r}>"


class Mappings:
    """Mappings that do not overlap. mmap_base: new ones are placed below it. stack_limit: how far a stack grows, in bytes."""

    def __init__(self, memory: PhysicalMemory) -> None:
        self.memory = memory
        self.mmap_base = TASK_SIZE
        self.stack_limit = STACK_LIMIT
        self._full_above = (TASK_SIZE, 0)  # above this address no gap has that many bytes, as far as `free_area` has looked
        self._vmas: list[Vma] = []
        self._starts: list[int] = []

    def _drop(self, start: int, end: int) -> None:
        """What the pages in between show is not mapped any more."""
        raise NotImplementedError

    def _allow(self, start: int, end: int, prot: int) -> None:
        """The pages in between may be used in other ways than before."""
        raise NotImplementedError

    def vmas(self) -> list[Vma]:
        """All mappings in the order of their addresses."""
        return list(self._vmas)

    @property
    def count(self) -> int:
        """How many mappings there are."""
        return len(self._vmas)

    def find(self, address: int) -> Vma | None:
        """The mapping that `address` lies in."""
        i = bisect_right(self._starts, address) - 1
        if i >= 0 and address < self._vmas[i].end:
            return self._vmas[i]
        return None

    def next_vma(self, address: int) -> Vma | None:
        """The first mapping that ends above `address` (find_vma of the kernel)."""
        i = bisect_right(self._starts, address) - 1
        if i >= 0 and address < self._vmas[i].end:
            return self._vmas[i]
        return self._vmas[i + 1] if i + 1 < len(self._vmas) else None

    def map(
        self,
        start: int,
        length: int,
        prot: int,
        *,
        shared: bool = False,
        backing: Backing | None = None,
        offset: int = 0,
        name: bytes = b"",
        path: bytes = b"",
        grows_down: bool = False,
    ) -> Vma:
        """Map `length` bytes (rounded up to pages) at `start`, in place of what is there.

        offset: where in `backing` it begins, a multiple of the page size. shared without a backing: new shared memory.
        grows_down: a stack, extended on access below it down to `stack_limit` bytes.
        """
        end = start + length + PAGE - 1 & PAGE_MASK
        if start & (PAGE - 1) or offset & (PAGE - 1) or end <= start:
            raise ValueError(f"mapping {start:#x}+{length:#x} offset {offset:#x}")
        if shared and backing is None:
            backing = self.memory.anonymous(end - start)
        self.unmap(start, end - start)
        return self._insert(Vma(start, end, prot, shared, backing, offset, name, path, grows_down))

    def unmap(self, start: int, length: int) -> None:
        """Take away every mapping of these pages (rounded outwards)."""
        end = start + length + PAGE - 1 & PAGE_MASK
        i, j = self._range(start & PAGE_MASK, end)
        if i < j:
            gone = self._vmas[i:j]
            self._full_above = (TASK_SIZE, 0)
            del self._vmas[i:j], self._starts[i:j]
            for vma in gone:
                self._drop(vma.start, vma.end)

    def protect(self, start: int, length: int, prot: int) -> None:
        """Set the protection of whatever is mapped there; the caller checks for holes."""
        end = start + length + PAGE - 1 & PAGE_MASK
        i, j = self._range(start, end)
        for vma in self._vmas[i:j]:
            if vma.prot == prot:
                continue
            vma.prot = prot
            self._allow(vma.start, vma.end, prot)
        self._merge(i, j)

    def inherit(self, start: int, length: int, add: int, remove: int = 0) -> None:
        """Change what a new process gets of whatever is mapped there, by bits."""
        i, j = self._range(start & PAGE_MASK, start + length + PAGE - 1 & PAGE_MASK)
        for vma in self._vmas[i:j]:
            vma.on_fork = vma.on_fork & ~remove | add
        self._merge(i, j)

    def free_area(self, length: int, hint: int = 0) -> int:
        """An unmapped range of `length` bytes: at `hint` if that is free, else as high as possible below `mmap_base`; 0 for none."""
        length = length + PAGE - 1 & PAGE_MASK
        hint &= PAGE_MASK
        if hint >= MMAP_MIN and hint + length <= TASK_SIZE:
            above = self.next_vma(hint)
            if above is None or above.start - (STACK_GUARD_GAP if above.grows_down else 0) >= hint + length:
                return hint
        searched, shortest = self._full_above
        searched = min(searched, self.mmap_base)
        top = searched if length >= shortest else self.mmap_base
        vmas = self._vmas
        for i in range(bisect_left(self._starts, top) - 1, -1, -1):
            vma = vmas[i]
            if vma.end + length <= top:
                break
            top = min(top, vma.start - (STACK_GUARD_GAP if vma.grows_down else 0))
        self._full_above = top, length if top != searched or length < shortest else shortest
        return top - length if top - length >= MMAP_MIN else 0

    def _insert(self, vma: Vma) -> Vma:
        i = bisect_right(self._starts, vma.start)
        self._vmas.insert(i, vma)
        self._starts.insert(i, vma.start)
        self._merge(i, i + 1)
        found = self.find(vma.start)
        assert found is not None
        return found

    def _range(self, start: int, end: int) -> tuple[int, int]:
        """Indices of the mappings within `start`..`end`, after cutting those that stick out."""
        self._split(start)
        self._split(end)
        return bisect_left(self._starts, start), bisect_left(self._starts, end)

    def _split(self, address: int) -> None:
        i = bisect_right(self._starts, address) - 1
        if i < 0:
            return
        vma = self._vmas[i]
        if vma.start < address < vma.end:
            self._vmas.insert(i + 1, vma.part(address, vma.end))
            self._starts.insert(i + 1, address)
            vma.end = address

    def _merge(self, i: int, j: int) -> None:
        """Join the mappings i to j with their neighbours where they continue each other."""
        k = min(j, len(self._vmas) - 1)
        while k > max(i - 1, 0):
            left, right = self._vmas[k - 1], self._vmas[k]
            if left.continues(right):
                left.end = right.end
                del self._vmas[k], self._starts[k]
            k -= 1

    def _grow(self, address: int) -> Vma | None:
        """Extend a stack downwards to `address` (expand_stack of the kernel)."""
        vma = self.next_vma(address)
        if vma is None or not vma.grows_down or vma.end - (address & PAGE_MASK) > self.stack_limit or address < MMAP_MIN:
            return None
        i = bisect_left(self._starts, vma.start)
        start = address & PAGE_MASK
        if i > 0 and self._vmas[i - 1].end + STACK_GUARD_GAP > start and self._vmas[i - 1].prot:
            return None
        vma.start = self._starts[i] = start
        return vma
