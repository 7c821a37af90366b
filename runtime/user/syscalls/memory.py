"""System calls on the address space (mm/mmap.c, mm/mremap.c, mm/mprotect.c, mm/madvise.c)."""

from __future__ import annotations

from errno import EACCES, EEXIST, EFAULT, EINVAL, ENOMEM, EPERM
from typing import TYPE_CHECKING

from pyprobe.runtime.machine.mappings import LEFT_OUT, WIPED
from pyprobe.runtime.machine.memory import PAGE, AddressSpace, R, Vma, W, X
from pyprobe.runtime.user.capabilities import CAP_SYS_RAWIO
from pyprobe.runtime.user.errors import Errno
from pyprobe.runtime.user.faults import FAULT_FLAG_TRIED, VM_FAULT_MAJOR
from pyprobe.runtime.user.functions import kernel_function
from pyprobe.runtime.user.task import RLIMIT_AS, RLIMIT_DATA
from pyprobe.runtime.user.vfs.tree import F_SEAL_FUTURE_WRITE, F_SEAL_WRITE, Regular
from pyprobe.runtime.user.words import U32, U64, align_down, align_up, s32

if TYPE_CHECKING:
    from collections.abc import Callable

    from pyprobe.runtime.user.kernel import Kernel
    from pyprobe.runtime.user.pt_regs import SavedRegisters
    from pyprobe.runtime.user.task import Process, Task
    from pyprobe.runtime.user.vfs.openfile import OpenFile

PROT_READ, PROT_WRITE, PROT_EXEC, PROT_GROWSDOWN = 1, 2, 4, 0x01000000
MAP_SHARED, MAP_PRIVATE, MAP_SHARED_VALIDATE, MAP_TYPE = 1, 2, 3, 0xF
MAP_FIXED, MAP_ANONYMOUS, MAP_GROWSDOWN, MAP_FIXED_NOREPLACE = 0x10, 0x20, 0x100, 0x100000
MREMAP_MAYMOVE, MREMAP_FIXED, MREMAP_DONTUNMAP = 1, 2, 4
MADV_DONTNEED, MADV_FREE, MADV_REMOVE, MADV_DONTFORK, MADV_DOFORK, MADV_WIPEONFORK, MADV_KEEPONFORK = 4, 8, 9, 10, 11, 18, 19
MADV_DONTNEED_LOCKED = 24
MADV_KNOWN = frozenset({0, 1, 2, 3, 4, 8, *range(10, 26)})
_ON_FORK = {MADV_DONTFORK: (LEFT_OUT, 0), MADV_DOFORK: (0, LEFT_OUT), MADV_WIPEONFORK: (WIPED, 0), MADV_KEEPONFORK: (0, WIPED)}
_WRITE_SEALS = F_SEAL_WRITE | F_SEAL_FUTURE_WRITE
MAX_MAP_COUNT = 65530  # vm.max_map_count
MINIMUM_ADDRESS = 0x10000  # vm.mmap_min_addr
TOP = 0x7FFF_FFFF_F000


def prot_bits(prot: int) -> int:
    """PROT_* as the memory's own bits."""
    return (R if prot & PROT_READ else 0) | (W if prot & PROT_WRITE else 0) | (X if prot & PROT_EXEC else 0)


def mapped_bytes(space: AddressSpace) -> int:
    """The size of all mappings (total_vm)."""
    return sum(v.end - v.start for v in space.vmas())


def _check_limit(process: Process, more: int) -> None:
    limit = process.limits[RLIMIT_AS][0]
    if limit != U64 and mapped_bytes(process.space) + more > limit:
        raise Errno(ENOMEM)


def _range(start: int, length: int) -> int:
    """The length of a range in whole pages. Raises Errno(EINVAL) for a start in mid-page, ENOMEM for one outside user space."""
    if start % PAGE:
        raise Errno(EINVAL)
    length = align_up(length, PAGE)
    if length > TOP or start > TOP - length:
        raise Errno(ENOMEM)
    return length


@kernel_function(
    "unsigned long do_mmap(struct file *file, unsigned long addr, unsigned long len, unsigned long prot, unsigned long flags, "
    "vm_flags_t vm_flags, unsigned long pgoff, unsigned long *populate, struct list_head *uf)"
)
def do_mmap(
    k: Kernel, file: OpenFile | None, addr: int, length: int, prot: int, flags: int, vm_flags: int, pgoff: int, populate: int, uf: int
) -> int:
    """Make a mapping; its address. Raises Errno."""
    task = k.current
    assert task is not None
    process, space = task.process, task.process.space
    if length == 0:
        raise Errno(EINVAL)
    length = align_up(length, PAGE)
    if length == 0 or length > TOP:
        raise Errno(ENOMEM)
    shared = flags & MAP_TYPE in (MAP_SHARED, MAP_SHARED_VALIDATE)
    if not shared and flags & MAP_TYPE != MAP_PRIVATE:
        raise Errno(EINVAL)
    backing = None
    if file is not None:
        if not file.readable or (shared and prot & PROT_WRITE and not file.writable):
            raise Errno(EACCES)
        if shared and file.writable and isinstance(file.inode, Regular) and file.inode.seals & _WRITE_SEALS and file.inode.seals > 0:
            if prot & PROT_WRITE:
                raise Errno(EPERM)
            backing = file.backing(shared_writable=False)
        else:
            backing = file.backing(shared_writable=bool(shared and file.writable))
    if flags & (MAP_FIXED | MAP_FIXED_NOREPLACE):
        if addr % PAGE:
            raise Errno(EINVAL)
        if addr > TOP - length:
            raise Errno(ENOMEM)
        if addr < MINIMUM_ADDRESS and not task.cred.capable(CAP_SYS_RAWIO):
            raise Errno(EACCES)
        if addr == 0:
            raise Errno(EACCES)
        if flags & MAP_FIXED_NOREPLACE:
            above = space.next_vma(addr)
            if above is not None and above.start < addr + length:
                raise Errno(EEXIST)
        start = addr
    else:
        hint = align_down(addr, PAGE)
        if not hint and backing is not None and not shared and pgoff == 0:
            hint = k.zone.address(backing, length)
        start = space.free_area(length, hint)
        if not start:
            raise Errno(ENOMEM)
    _check_limit(process, length)
    if space.count >= MAX_MAP_COUNT:
        raise Errno(ENOMEM)
    name = file.path() if file is not None else b"/dev/zero (deleted)" if shared else b""
    space.map(
        start, length, prot_bits(prot), shared=shared, backing=backing, offset=pgoff * PAGE if backing is not None else 0, name=name,
        path=name if file is not None else b"", grows_down=bool(flags & MAP_GROWSDOWN),
    )  # fmt: skip
    if prot & PROT_EXEC and file is not None:
        k.announce_images(space)
    return start


def sys_mmap(k: Kernel, t: Task, addr: int, length: int, prot: int, flags: int, fd: int, off: int) -> int:
    """mmap(2)."""
    if off % PAGE:
        raise Errno(EINVAL)
    file = None
    if not flags & MAP_ANONYMOUS:
        file = t.process.files.get(s32(fd))
    result: int = k.do_mmap(file, addr, length, prot, flags, 0, off // PAGE, 0, 0)
    return result


@kernel_function("int __vm_munmap(unsigned long start, size_t len, bool downgrade)")
def __vm_munmap(k: Kernel, start: int, length: int, downgrade: int) -> int:
    """Take mappings away. Raises Errno."""
    task = k.current
    assert task is not None
    if start % PAGE or length == 0 or start > TOP or length > TOP - start:
        raise Errno(EINVAL)
    task.space.unmap(start, align_up(length, PAGE))
    return 0


@kernel_function(
    "vm_fault_t handle_mm_fault(struct vm_area_struct *vma, unsigned long address, unsigned int flags, struct pt_regs *regs)"
)
def handle_mm_fault(k: Kernel, vma: Vma | None, address: int, flags: int, regs: SavedRegisters, resolve: Callable[[], None]) -> int:
    """Give a page to a program that touches it (AddressSpace.fault, which calls here while somebody watches)."""
    resolve()
    return VM_FAULT_MAJOR if flags & FAULT_FLAG_TRIED else 0


def sys_munmap(k: Kernel, t: Task, addr: int, length: int) -> int:
    """munmap(2)."""
    result: int = k.__vm_munmap(addr, length, 1)  # type: ignore[attr-defined]  # two underscores: no class can declare it
    return result


def _covered(space: AddressSpace, start: int, end: int) -> bool:
    """Is there a mapping everywhere between?"""
    at = start
    while at < end:
        vma = space.find(at)
        if vma is None:
            return False
        at = vma.end
    return True


def sys_mprotect(k: Kernel, t: Task, start: int, length: int, prot: int) -> int:
    """mprotect(2)."""
    length = _range(start, length)
    if prot & ~(PROT_READ | PROT_WRITE | PROT_EXEC | 8 | PROT_GROWSDOWN):
        raise Errno(EINVAL)
    space = t.space
    if prot & PROT_GROWSDOWN:
        vma = space.find(start)
        if vma is None or not vma.grows_down:
            raise Errno(EINVAL)
        length += start - vma.start
        start = vma.start
    if not _covered(space, start, start + length):
        raise Errno(ENOMEM)
    if length:
        space.protect(start, length, prot_bits(prot))
        if prot & PROT_EXEC:
            k.announce_images(space)
    return 0


def sys_brk(k: Kernel, t: Task, brk: int) -> int:
    """brk(2): the new end of the heap, or the old one if it cannot move."""
    space = t.space
    if brk < space.start_brk:
        return space.brk
    old, new = align_up(space.brk, PAGE), align_up(brk, PAGE)
    if new > old:
        above = space.next_vma(old)
        limit = t.process.limits[RLIMIT_DATA][0]
        if (above is not None and above.start < new + PAGE) or new > space.mmap_base or brk - space.start_brk > limit:
            return space.brk
        try:
            _check_limit(t.process, new - old)
        except Errno:
            return space.brk
        space.map(old, new - old, R | W, name=b"[heap]")
    elif new < old:
        space.unmap(new, old - new)
    space.brk = brk
    return brk


def _move_pages(space: AddressSpace, old: int, new: int, length: int) -> None:
    """Give the page-table entries of one range to another."""
    pages = space.pages
    for page in [p for p in range(old // PAGE, (old + length) // PAGE) if p in pages] if length // PAGE < len(pages) else [
        p for p in list(pages) if old <= p * PAGE < old + length
    ]:
        pages[page + (new - old) // PAGE] = pages.pop(page)
    space.stale = True


def _map_like(space: AddressSpace, vma: Vma, start: int, length: int, offset: int) -> None:
    space.map(start, length, vma.prot, shared=vma.shared, backing=vma.backing, offset=offset, name=vma.name, path=vma.path)
    if vma.on_fork:
        space.inherit(start, length, vma.on_fork)


def sys_mremap(k: Kernel, t: Task, addr: int, old_len: int, new_len: int, flags: int, new_addr: int) -> int:
    """mremap(2)."""
    space = t.space
    if addr % PAGE or flags & ~7 or (flags & MREMAP_FIXED and not flags & MREMAP_MAYMOVE) or new_len == 0:
        raise Errno(EINVAL)
    if flags & MREMAP_DONTUNMAP and (not flags & MREMAP_MAYMOVE or old_len != new_len):
        raise Errno(EINVAL)
    old_len, new_len = align_up(old_len, PAGE), align_up(new_len, PAGE)
    vma = space.find(addr)
    if vma is None or vma.end < addr + old_len:
        raise Errno(EFAULT)
    if new_len > TOP:
        raise Errno(ENOMEM)
    offset = vma.offset + (addr - vma.start) if vma.backing is not None else 0
    if flags & MREMAP_FIXED:
        if new_addr % PAGE or new_addr > TOP - new_len or (new_addr < addr + old_len and addr < new_addr + new_len):
            raise Errno(EINVAL)
        space.unmap(new_addr, new_len)
        if new_len < old_len:
            space.unmap(addr + new_len, old_len - new_len)
            old_len = new_len
    elif not flags & MREMAP_DONTUNMAP:
        if new_len <= old_len:
            if new_len < old_len:
                space.unmap(addr + new_len, old_len - new_len)
            return addr
        above = space.next_vma(addr + old_len)
        if vma.end == addr + old_len and (above is None or above.start >= addr + new_len):
            _check_limit(t.process, new_len - old_len)
            _map_like(space, vma, addr + old_len, new_len - old_len, offset + old_len if vma.backing is not None else 0)
            return addr
        if not flags & MREMAP_MAYMOVE:
            raise Errno(ENOMEM)
    _check_limit(t.process, new_len - old_len)
    target = new_addr if flags & MREMAP_FIXED else space.free_area(new_len, 0)
    if not target:
        raise Errno(ENOMEM)
    _map_like(space, vma, target, new_len, offset)
    if old_len:
        _move_pages(space, addr, target, old_len)
        if not flags & MREMAP_DONTUNMAP:
            space.unmap(addr, old_len)
    if vma.prot & X and vma.path:
        k.announce_images(space)
    return target


def sys_madvise(k: Kernel, t: Task, start: int, length: int, behavior: int) -> int:
    """madvise(2): only what changes the content, here or in a new process, has an effect."""
    behavior = s32(behavior)
    if behavior == MADV_REMOVE:
        return _remove(k, t.space, start, _range(start, length))
    return advise(t.space, start, length, behavior)


def _remove(k: Kernel, space: AddressSpace, start: int, length: int) -> int:
    """MADV_REMOVE: punch a hole into the file behind a shared mapping."""
    at, end = start, start + length
    while at < end:
        vma = space.find(at)
        if vma is None:
            raise Errno(ENOMEM)
        if vma.backing is None:
            raise Errno(EINVAL)
        if not vma.shared or not vma.prot & W:
            raise Errno(EACCES)
        high = min(end, vma.end)
        first = (vma.offset + at - vma.start) // PAGE
        last = first + (high - at) // PAGE
        k.unmap_mapping_range(vma.backing, first, last)
        vma.backing.punch(first, last)
        at = high
    return 0


def advise(space: AddressSpace, start: int, length: int, behavior: int) -> int:
    """What madvise(2) and process_madvise(2) do in common. Raises Errno."""
    if behavior not in MADV_KNOWN:
        raise Errno(EINVAL)
    length = _range(start, length)
    at, end, hole = start, start + length, False
    while at < end:
        vma = space.next_vma(at)
        if vma is None or vma.start >= end:
            hole = True
            break
        hole = hole or vma.start > at
        low, high = max(at, vma.start), min(end, vma.end)
        if behavior in (MADV_DONTNEED, MADV_DONTNEED_LOCKED) and not vma.shared:
            _map_again(space, vma, low, high)
        elif behavior in (MADV_WIPEONFORK, MADV_FREE) and (vma.shared or vma.path):
            raise Errno(EINVAL)
        elif behavior in _ON_FORK:
            space.inherit(low, high - low, *_ON_FORK[behavior])
        at = high
    if hole:
        raise Errno(ENOMEM)
    return 0


def _map_again(space: AddressSpace, vma: Vma, start: int, end: int) -> None:
    """Drop the pages of a part of a private mapping: it reads as when it was new."""
    offset = vma.offset + start - vma.start if vma.backing is not None else 0
    grows_down, on_fork = vma.grows_down, vma.on_fork
    space.map(start, end - start, vma.prot, backing=vma.backing, offset=offset, name=vma.name, path=vma.path, grows_down=grows_down)
    if on_fork:
        space.inherit(start, end - start, on_fork)


def sys_msync(k: Kernel, t: Task, start: int, length: int, flags: int) -> int:
    """msync(2): mappings and files are one here."""
    length = _range(start, length)
    if flags & ~7 or flags & 5 == 5:
        raise Errno(EINVAL)
    if not _covered(t.space, start, start + length):
        raise Errno(ENOMEM)
    return 0


def sys_mlock(k: Kernel, t: Task, start: int, length: int) -> int:
    """mlock(2): nothing is ever swapped out."""
    length = align_up(length + start % PAGE, PAGE)
    if not _covered(t.space, align_down(start, PAGE), align_down(start, PAGE) + length):
        raise Errno(ENOMEM)
    return 0


def sys_mlock2(k: Kernel, t: Task, start: int, length: int, flags: int) -> int:
    """mlock2(2)."""
    if flags & ~1:
        raise Errno(EINVAL)
    return sys_mlock(k, t, start, length)


sys_munlock = sys_mlock


def sys_mlockall(k: Kernel, t: Task, flags: int) -> int:
    """mlockall(2)."""
    return 0


def sys_munlockall(k: Kernel, t: Task) -> int:
    """munlockall(2)."""
    return 0


def sys_mincore(k: Kernel, t: Task, start: int, length: int, vec: int) -> int:
    """mincore(2): what has been touched, and every page of a file, is there."""
    length = _range(start, length)
    space = t.space
    if not _covered(space, start, start + length):
        raise Errno(ENOMEM)
    out = bytearray()
    for at in range(start, start + length, PAGE):
        vma = space.find(at)
        out.append(1 if at // PAGE in space.pages or (vma is not None and vma.backing is not None) else 0)
    space.write(vec, bytes(out))
    return 0


def sys_remap_file_pages(k: Kernel, t: Task, start: int, size: int, prot: int, pgoff: int, flags: int) -> int:
    """remap_file_pages(2): another mapping of the same file in the place of one."""
    start, size = align_down(start, PAGE), align_down(size, PAGE)
    if prot or not size or start + size > TOP or pgoff + size // PAGE > U64 // PAGE:
        raise Errno(EINVAL)
    vma = t.space.find(start)
    if vma is None or not vma.shared or vma.backing is None or start + size > vma.end:
        raise Errno(EINVAL)
    t.space.map(start, size, vma.prot, shared=True, backing=vma.backing, offset=pgoff * PAGE, name=vma.name, path=vma.path)
    return 0


# include/uapi/linux/membarrier.h
_QUERY, _KNOWN, _RSEQ, _FLAG_CPU = 0, 0x1FF, 1 << 7, 1
_REGISTERED_BY = {1 << 3: 1 << 4, 1 << 5: 1 << 6, _RSEQ: 1 << 8}  # the private expedited commands, and those that register for them
_REGISTERS = frozenset({1 << 2, *_REGISTERED_BY.values()})


def sys_membarrier(k: Kernel, t: Task, cmd: int, flags: int, cpu_id: int) -> int:
    """membarrier(2): with one CPU every order is kept; a process registers for some commands first, as on others."""
    cmd, flags = s32(cmd), flags & U32
    if flags and not (cmd == _RSEQ and flags == _FLAG_CPU):
        raise Errno(EINVAL)
    if cmd == _QUERY:
        return _KNOWN
    if cmd < 0 or cmd & ~_KNOWN or cmd & (cmd - 1):
        raise Errno(EINVAL)
    if cmd in _REGISTERS:
        t.process.membarrier |= cmd
    elif cmd in _REGISTERED_BY and not t.process.membarrier & _REGISTERED_BY[cmd]:
        raise Errno(EPERM)
    return 0
