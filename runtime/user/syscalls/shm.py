"""System V shared memory: shmget(2), shmat(2), shmctl(2) (ipc/shm.c)."""

from __future__ import annotations

import errno
import struct
from typing import TYPE_CHECKING, Final

from pyprobe.runtime.machine.memory import PAGE, R, W, X
from pyprobe.runtime.user.errors import Errno
from pyprobe.runtime.user.ipc import IPC_INFO, IPC_RMID, IPC_SET, IPC_STAT, READ, WRITE, IpcIds, IpcObject, seconds
from pyprobe.runtime.user.words import s32

if TYPE_CHECKING:
    from pyprobe.runtime.machine.memory import AddressSpace, Vma
    from pyprobe.runtime.user.kernel import Kernel
    from pyprobe.runtime.user.task import Task

SHM_RDONLY, SHM_RND, SHM_REMAP, SHM_EXEC = 0o10000, 0o20000, 0o40000, 0o100000
SHM_LOCK, SHM_UNLOCK, SHM_STAT, SHM_INFO, SHM_STAT_ANY = 11, 12, 13, 14, 15
SHM_DEST, SHM_LOCKED = 0o1000, 0o2000
SHMMNI: Final = 4096
SHMMAX: Final = (1 << 64) - 1 - (1 << 24)
_TIMES: Final = struct.Struct("<QqqqiiQ16x")  # struct shmid64_ds after its shm_perm
_INFO: Final = struct.Struct("<9Q")  # struct shminfo64
_USE: Final = struct.Struct("<i4x5Q")  # struct shm_info


class Segment(IpcObject):
    """One shared memory segment; how often it is attached follows from the address spaces themselves."""

    def __init__(self, k: Kernel, t: Task, key: int, size: int, mode: int) -> None:
        super().__init__(k, t, key, mode)
        self.size = size
        self.backing = k.memory.anonymous((size + PAGE - 1) // PAGE * PAGE)
        self.attached_at = self.detached_at = 0
        self.creator = t.pid
        self.last = 0

    def places(self, space: AddressSpace) -> list[int]:
        """Where a space shows it; a mapping that mprotect(2) has split counts once."""
        return sorted({_base(vma) for vma in space.vmas() if vma.backing is self.backing})

    def attachments(self, k: Kernel) -> int:
        """shm_nattch."""
        spaces = {id(p.space): p.space for p in k.processes.values() if p.alive}
        return sum(len(self.places(space)) for space in spaces.values())


def _base(vma: Vma) -> int:
    return vma.start - vma.offset


def _segments(k: Kernel) -> IpcIds[Segment]:
    """All segments; one that was removed while it was attached goes when nobody has it any more."""
    for segment in [s for s in k.shm.objects.values() if s.mode & SHM_DEST and not s.attachments(k)]:
        k.shm.remove(segment)
    return k.shm


def sys_shmget(k: Kernel, t: Task, key: int, size: int, shmflg: int) -> int:
    segments = _segments(k)
    found = segments.existing(t, s32(key), shmflg)
    if found is not None:
        if size > found.size:
            raise Errno(errno.EINVAL)
        return found.id
    if not 0 < size <= SHMMAX:
        raise Errno(errno.EINVAL)
    if size > k.memory.limit:
        raise Errno(errno.ENOMEM)
    return segments.add(Segment(k, t, s32(key), size, shmflg))


def sys_shmat(k: Kernel, t: Task, shmid: int, shmaddr: int, shmflg: int) -> int:
    segment = _segments(k).get(shmid)
    prot = R if shmflg & SHM_RDONLY else R | W
    if shmflg & SHM_EXEC:
        prot |= X
    segment.check(t, READ if shmflg & SHM_RDONLY else READ | WRITE)
    space, length = t.space, segment.backing.length
    start = shmaddr
    if shmaddr:
        if shmaddr % PAGE:
            if not shmflg & SHM_RND:
                raise Errno(errno.EINVAL)
            start = shmaddr - shmaddr % PAGE
        above = space.next_vma(start)
        if above is not None and above.start < start + length and not shmflg & SHM_REMAP:
            raise Errno(errno.EINVAL)
    else:
        start = space.free_area(length)
    if not start:
        raise Errno(errno.ENOMEM)
    name = b"/SYSV%08x (deleted)" % (segment.key & 0xFFFFFFFF)
    space.map(start, length, prot, shared=True, backing=segment.backing, offset=0, name=name)
    segment.attached_at, segment.last = seconds(k), t.pid
    return start


def sys_shmdt(k: Kernel, t: Task, shmaddr: int) -> int:
    space = t.space
    first = space.find(shmaddr)
    segment = next((s for s in k.shm.objects.values() if first is not None and s.backing is first.backing), None)
    if segment is None or first is None or _base(first) != shmaddr:
        raise Errno(errno.EINVAL)
    for vma in [v for v in space.vmas() if v.backing is segment.backing and _base(v) == shmaddr]:
        space.unmap(vma.start, vma.end - vma.start)
    segment.detached_at, segment.last = seconds(k), t.pid
    _segments(k)
    return 0


def sys_shmctl(k: Kernel, t: Task, shmid: int, cmd: int, buf: int) -> int:
    segments, cmd = _segments(k), s32(cmd) & ~0x100
    if cmd == IPC_INFO:
        t.space.write(buf, _INFO.pack(SHMMAX, 1, SHMMNI, SHMMNI, SHMMAX, 0, 0, 0, 0))
        return segments.highest
    if cmd == SHM_INFO:
        pages = sum(s.backing.length // PAGE for s in segments.objects.values())
        resident = sum(len(s.backing.frames) for s in segments.objects.values())
        t.space.write(buf, _USE.pack(len(segments.objects), pages, resident, 0, 0, 0))
        return segments.highest
    segment = segments.at(shmid) if cmd in (SHM_STAT, SHM_STAT_ANY) else segments.get(shmid)
    if cmd in (IPC_STAT, SHM_STAT, SHM_STAT_ANY):
        if cmd != SHM_STAT_ANY:
            segment.check(t, READ)
        rest = _TIMES.pack(
            segment.size, segment.attached_at, segment.detached_at, segment.changed, segment.creator, segment.last, segment.attachments(k)
        )
        t.space.write(buf, segment.perm() + rest)
        return 0 if cmd == IPC_STAT else segment.id
    if cmd == IPC_SET:
        segment.set(k, t, t.space.read(buf, 48))
    elif cmd == IPC_RMID:
        segment.check_owner(t)
        segment.key = 0
        segment.mode |= SHM_DEST
        _segments(k)
    elif cmd in (SHM_LOCK, SHM_UNLOCK):
        segment.check_owner(t)
        segment.mode = segment.mode | SHM_LOCKED if cmd == SHM_LOCK else segment.mode & ~SHM_LOCKED
    else:
        raise Errno(errno.EINVAL)
    return 0
