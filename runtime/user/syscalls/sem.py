"""System V semaphores: semget(2), semop(2), semctl(2) (ipc/sem.c)."""

from __future__ import annotations

import errno
import struct
from typing import TYPE_CHECKING, Final

from pyprobe.runtime.user.errors import Block, Errno
from pyprobe.runtime.user.hrtimers import sleeper
from pyprobe.runtime.user.ipc import IPC_INFO, IPC_NOWAIT, IPC_RMID, IPC_SET, IPC_STAT, READ, WRITE, IpcObject, seconds
from pyprobe.runtime.user.words import NANOSECONDS, read_timespec, s32

if TYPE_CHECKING:
    from pyprobe.runtime.user.kernel import Kernel
    from pyprobe.runtime.user.task import Process, Task

GETPID, GETVAL, GETALL, GETNCNT, GETZCNT, SETVAL, SETALL, SEM_STAT, SEM_INFO, SEM_STAT_ANY = range(11, 21)
SEM_UNDO: Final = 0x1000
SEMMNI, SEMMSL, SEMOPM, SEMVMX = 32000, 32000, 500, 32767
SEMMNS: Final = SEMMNI * SEMMSL
SEMAEM: Final = SEMVMX
_OPERATION: Final = struct.Struct("<Hhh")  # struct sembuf
_INFO: Final = struct.Struct("<10i")  # struct seminfo


class SemaphoreSet(IpcObject):
    """A set; waiting holds (semaphore, wants it to be zero) of every task that waits; undo: what exit gives back, by process."""

    def __init__(self, k: Kernel, t: Task, key: int, count: int, mode: int) -> None:
        super().__init__(k, t, key, mode)
        self.values = [0] * count
        self.pids = [0] * count
        self.operated_at = 0
        self.waiting: list[tuple[int, bool]] = []
        self.undo: dict[Process, dict[int, int]] = {}

    def stat(self, arch: str) -> bytes:
        """struct semid64_ds."""
        layout = "<q8xq8xQ16x" if arch == "x86_64" else "<qqQ16x"
        return self.perm() + struct.pack(layout, self.operated_at, self.changed, len(self.values))

    def blocked_by(self, operations: list[tuple[int, int, int]]) -> tuple[int, int, int] | None:
        """The first operation that would have to wait; all are tried on a copy. Raises Errno(ERANGE)."""
        values = list(self.values)
        for number, change, flags in operations:
            if change == 0:
                if values[number]:
                    return number, change, flags
            elif values[number] + change < 0:
                return number, change, flags
            values[number] += change
            if values[number] > SEMVMX:
                raise Errno(errno.ERANGE)
        return None


def sys_semget(k: Kernel, t: Task, key: int, nsems: int, semflg: int) -> int:
    nsems = s32(nsems)
    if not 0 <= nsems <= SEMMSL:
        raise Errno(errno.EINVAL)
    found = k.sem.existing(t, s32(key), semflg)
    if found is not None:
        if nsems > len(found.values):
            raise Errno(errno.EINVAL)
        return found.id
    if not nsems:
        raise Errno(errno.EINVAL)
    return k.sem.add(SemaphoreSet(k, t, s32(key), nsems, semflg))


def sys_semtimedop(k: Kernel, t: Task, semid: int, tsops: int, nsops: int, timeout: int) -> int:
    if not 1 <= nsops <= SEMOPM:
        raise Errno(errno.EINVAL if not nsops else errno.E2BIG)
    known = t.restart.get("set")
    found = known if isinstance(known, SemaphoreSet) else k.sem.get(semid)
    if found.removed:
        raise Errno(errno.EIDRM)
    operations = list(_OPERATION.iter_unpack(t.space.read(tsops, _OPERATION.size * nsops)))
    if any(number >= len(found.values) for number, _, _ in operations):
        raise Errno(errno.EFBIG)
    found.check(t, WRITE if any(change for _, change, _ in operations) else READ)
    blocking = found.blocked_by(operations)
    if blocking is not None:
        _wait(k, t, found, operations, blocking, timeout)
    undo = found.undo.setdefault(t.process, {}) if any(flags & SEM_UNDO for _, _, flags in operations) else {}
    for number, change, flags in operations:
        found.values[number] += change
        found.pids[number] = t.pid
        if flags & SEM_UNDO:
            undo[number] = undo.get(number, 0) - change
    found.operated_at = seconds(k)
    return 0


def _wait(
    k: Kernel, t: Task, found: SemaphoreSet, operations: list[tuple[int, int, int]], blocking: tuple[int, int, int], timeout: int
) -> None:
    """Raises Errno(EAGAIN), Block."""
    number, change, flags = blocking
    if flags & IPC_NOWAIT:
        raise Errno(errno.EAGAIN)
    deadline = t.restart.get("deadline")
    if timeout and deadline is None:
        whole, fraction = read_timespec(t.space, timeout)
        if whole < 0 or not 0 <= fraction < NANOSECONDS:
            raise Errno(errno.EINVAL)
        deadline = t.restart["deadline"] = k.clock.now() + whole * NANOSECONDS + fraction
    assert deadline is None or isinstance(deadline, int)
    if "set" in t.restart and deadline is not None and k.clock.now() >= deadline:
        raise Errno(errno.EAGAIN)
    t.restart["set"] = found
    place = (number, change == 0)
    found.waiting.append(place)

    def leave() -> None:
        if place in found.waiting:
            found.waiting.remove(place)

    def ready() -> bool:
        over = deadline is not None and k.clock.now() >= deadline
        blocked = not found.removed and found.blocked_by(operations) is not None
        if over or not blocked:
            leave()
        return not blocked

    why = f"semaphore {number} of set {found.id}"
    raise Block(ready, deadline, why=why, restart=False, interrupted=leave, timer=sleeper(k, deadline))


def sys_semop(k: Kernel, t: Task, semid: int, tsops: int, nsops: int) -> int:
    return sys_semtimedop(k, t, semid, tsops, nsops, 0)


def sys_semctl(k: Kernel, t: Task, semid: int, semnum: int, cmd: int, arg: int) -> int:
    cmd = s32(cmd) & ~0x100
    if cmd in (IPC_INFO, SEM_INFO):
        used, total = len(k.sem.objects), sum(len(s.values) for s in k.sem.objects.values())
        tail = (20, SEMVMX, SEMAEM) if cmd == IPC_INFO else (used, SEMVMX, total)
        t.space.write(arg, _INFO.pack(SEMMNS, SEMMNI, SEMMNS, SEMMNS, SEMMSL, SEMOPM, SEMOPM, *tail))
        return k.sem.highest
    found = k.sem.at(semid) if cmd in (SEM_STAT, SEM_STAT_ANY) else k.sem.get(semid)
    if cmd in (IPC_STAT, SEM_STAT, SEM_STAT_ANY):
        if cmd != SEM_STAT_ANY:
            found.check(t, READ)
        t.space.write(arg, found.stat(t.process.arch))
        return 0 if cmd == IPC_STAT else found.id
    if cmd == IPC_SET:
        found.set(k, t, t.space.read(arg, 48))
        return 0
    if cmd == IPC_RMID:
        found.check_owner(t)
        k.sem.remove(found)
        return 0
    if cmd in (GETALL, SETALL):
        return _all(k, t, found, cmd, arg)
    number = s32(semnum)
    if not 0 <= number < len(found.values):
        raise Errno(errno.EINVAL)
    if cmd == SETVAL:
        found.check(t, WRITE)
        if not 0 <= s32(arg) <= SEMVMX:
            raise Errno(errno.ERANGE)
        found.values[number], found.pids[number] = s32(arg), t.pid
        _forget_undo(found, number)
        found.changed = seconds(k)
        return 0
    found.check(t, READ)
    if cmd == GETVAL:
        return found.values[number]
    if cmd == GETPID:
        return found.pids[number]
    if cmd in (GETNCNT, GETZCNT):
        return found.waiting.count((number, cmd == GETZCNT))
    raise Errno(errno.EINVAL)


def _all(k: Kernel, t: Task, found: SemaphoreSet, cmd: int, address: int) -> int:
    layout = f"<{len(found.values)}H"
    if cmd == GETALL:
        found.check(t, READ)
        t.space.write(address, struct.pack(layout, *found.values))
        return 0
    found.check(t, WRITE)
    values = struct.unpack(layout, t.space.read(address, struct.calcsize(layout)))
    if max(values) > SEMVMX:
        raise Errno(errno.ERANGE)
    found.values = list(values)
    found.pids = [t.pid] * len(values)
    for number in range(len(values)):
        _forget_undo(found, number)
    found.changed = seconds(k)
    return 0


def _forget_undo(found: SemaphoreSet, number: int) -> None:
    for undo in found.undo.values():
        undo.pop(number, None)


def exit_sem(k: Kernel, process: Process) -> None:
    """A process ends: undo what it did with SEM_UNDO."""
    for found in k.sem.objects.values():
        for number, change in found.undo.pop(process, {}).items():
            found.values[number] = max(0, min(SEMVMX, found.values[number] + change))
            found.pids[number] = process.pid
