"""/proc/PID/smaps and smaps_rollup: how much of each mapping is there, and whose it is (fs/proc/task_mmu.c, proc(5))."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from pyprobe.runtime.machine.memory import CACHED, PAGE, R, W, X
from pyprobe.runtime.machine.physical import PAGE_MASK
from pyprobe.runtime.user.vfs.proctext import maps

if TYPE_CHECKING:
    from pyprobe.runtime.machine.memory import AddressSpace, Vma
    from pyprobe.runtime.user.kernel import Kernel
    from pyprobe.runtime.user.task import Process

KIB = 1024
_NEVER = ("LazyFree", "AnonHugePages", "ShmemPmdMapped", "FilePmdMapped", "Shared_Hugetlb", "Private_Hugetlb", "Swap", "SwapPss", "Locked")
_FLAGS = ((R, b"rd"), (W, b"wr"), (X, b"ex"))


class Sizes(NamedTuple):
    """Bytes that are there, by whether others have them too and whether they differ from what is on the disk."""

    shared_clean: int = 0
    shared_dirty: int = 0
    private_clean: int = 0
    private_dirty: int = 0
    anonymous: int = 0

    def plus(self, other: Sizes) -> Sizes:
        """The sum."""
        return Sizes(*map(sum, zip(self, other, strict=True)))

    def rows(self) -> list[tuple[str, int]]:
        """As they are listed; what is shared counts half."""
        resident = sum(self[:4])
        dirty = self.private_dirty + self.shared_dirty // 2
        return [
            ("Rss", resident), ("Pss", self.private_clean + self.private_dirty + (self.shared_clean + self.shared_dirty) // 2),
            ("Pss_Dirty", dirty), ("Shared_Clean", self.shared_clean), ("Shared_Dirty", self.shared_dirty),
            ("Private_Clean", self.private_clean), ("Private_Dirty", self.private_dirty), ("Referenced", resident),
            ("Anonymous", self.anonymous), *((name, 0) for name in _NEVER),
        ]  # fmt: skip


def sizes(space: AddressSpace, vma: Vma) -> Sizes:
    """What is there of a mapping."""
    counts = [0, 0, 0, 0]
    anonymous = 0
    first, last = vma.start // PAGE, vma.end // PAGE
    pages = space.pages
    for page in range(first, last) if last - first < len(pages) else [page for page in pages if first <= page < last]:
        entry = pages.get(page, 0)
        if not entry:
            continue
        own = not entry & CACHED
        shared = space.memory.shared(entry & PAGE_MASK) if own else True
        dirty = own or (vma.shared and not vma.path)
        anonymous += own
        counts[(0 if shared else 2) + dirty] += PAGE
    return Sizes(counts[0], counts[1], counts[2], counts[3], anonymous * PAGE)


def _text(rows: list[tuple[str, int]]) -> bytes:
    return b"".join(b"%-16s%8d kB\n" % (name.encode() + b":", size // KIB) for name, size in rows)


def _flags(vma: Vma) -> bytes:
    names = [name for bit, name in _FLAGS if vma.prot & bit]
    names += [b"sh"] * vma.shared + [b"mr", b"mw", b"me"] + ([b"ms"] if vma.shared else []) + ([b"gd"] if vma.grows_down else [])
    return b"VmFlags: " + b" ".join([*names, *([b"ac"] if vma.prot & W and not vma.shared else [])]) + b" \n"


def smaps(k: Kernel, process: Process) -> bytes:
    """Every mapping with its sizes."""
    if not process.alive:
        return b""
    parts = []
    for line, vma in zip(maps(k, process).splitlines(keepends=True), process.space.vmas(), strict=True):
        head = [("Size", vma.end - vma.start), ("KernelPageSize", PAGE), ("MMUPageSize", PAGE)]
        parts += [line, _text(head + sizes(process.space, vma).rows()), b"THPeligible:    0\n", _flags(vma)]
    return b"".join(parts)


def smaps_rollup(k: Kernel, process: Process) -> bytes:
    """The sums of all mappings."""
    vmas = list(process.space.vmas()) if process.alive else []
    if not vmas:
        return b""
    total = Sizes()
    for vma in vmas:
        total = total.plus(sizes(process.space, vma))
    head = b"%08x-%08x ---p 00000000 00:00 0" % (vmas[0].start, vmas[-1].end)
    return head.ljust(73) + b"[rollup]\n" + _text(total.rows())
