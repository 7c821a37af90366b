"""File locks: flock(2) locks of open files, and the record locks of fcntl(2), traditional and of open files: fs/locks.c."""

from __future__ import annotations

import errno
import struct
from typing import TYPE_CHECKING, Final

from pyprobe.runtime.user.errors import Block, Errno
from pyprobe.runtime.user.vfs.abi import LOCK_EX, LOCK_NB, LOCK_SH, LOCK_UN, SEEK_CUR, SEEK_END, SEEK_SET
from pyprobe.runtime.user.vfs.openfile import MAX_OFFSET, OpenFile

if TYPE_CHECKING:
    from pyprobe.runtime.user.task import Task
    from pyprobe.runtime.user.vfs.inode import Inode

F_RDLCK: Final = 0
F_WRLCK: Final = 1
F_UNLCK: Final = 2
_FLOCK: Final = struct.Struct("<hh4xqqi4x")  # struct flock


class Lock:
    """One lock on the bytes from `start` to `end` (inclusive)."""

    __slots__ = ("end", "exclusive", "owner", "pid", "start")

    def __init__(self, owner: object, pid: int, exclusive: bool, start: int = 0, end: int = MAX_OFFSET) -> None:
        self.owner = owner
        self.pid = pid
        self.exclusive = exclusive
        self.start = start
        self.end = end

    def conflicts(self, other: Lock) -> bool:
        """Whether both cannot be held by different owners."""
        return self.owner is not other.owner and (self.exclusive or other.exclusive) and self.start <= other.end and other.start <= self.end


class Locks:
    """All locks of a machine, by inode. `any`: there has been one, so that closing has to look."""

    def __init__(self) -> None:
        self.any = False
        self._flocks: dict[Inode, list[Lock]] = {}
        self._records: dict[Inode, list[Lock]] = {}
        self._waiting: dict[object, tuple[Lock, list[Lock]]] = {}  # by owner: the record lock it waits for, and those of that file

    def flock(self, t: Task, file: OpenFile, operation: int) -> None:
        """flock(2).

        Raises:
            Errno: EINVAL, EAGAIN (EWOULDBLOCK).
            Block: somebody else holds the lock.
        """
        held = self._flocks.setdefault(file.inode, [])
        kind = operation & ~LOCK_NB
        if kind not in (LOCK_SH, LOCK_EX, LOCK_UN):
            raise Errno(errno.EINVAL)
        if kind == LOCK_UN:
            held[:] = [lock for lock in held if lock.owner is not file]
            return
        wanted = Lock(file, t.process.pid, kind == LOCK_EX)
        if any(wanted.conflicts(lock) for lock in held):
            if operation & LOCK_NB:
                raise Errno(errno.EAGAIN)
            held[:] = [lock for lock in held if lock.owner is not file]  # converting a lock gives the old one up first
            raise Block(lambda: not any(wanted.conflicts(lock) for lock in held), why="a file lock")
        held[:] = [lock for lock in held if lock.owner is not file]
        held.append(wanted)
        self.any = True

    def record(self, t: Task, file: OpenFile, argument: bytes, *, wait: bool, test: bool, by_file: bool) -> bytes:
        """fcntl(2) F_SETLK, F_SETLKW and F_GETLK, or their F_OFD_ forms; the struct flock to hand back.

        Raises:
            Errno: EINVAL, EBADF, EAGAIN.
            Block: somebody else holds a lock that conflicts.
        """
        kind, whence, start, length, pid = _FLOCK.unpack(argument)
        if kind not in (F_RDLCK, F_WRLCK, F_UNLCK) or (by_file and pid):
            raise Errno(errno.EINVAL)
        base = {SEEK_SET: 0, SEEK_CUR: file.position.value, SEEK_END: file.inode.size()}.get(whence)
        if base is None:
            raise Errno(errno.EINVAL)
        start += base
        end = start + length - 1 if length > 0 else MAX_OFFSET
        if length < 0:
            start, end = start + length, start - 1
        if start < 0:
            raise Errno(errno.EINVAL)
        held = self._records.setdefault(file.inode, [])
        wanted = Lock(file if by_file else t.process.files, -1 if by_file else t.process.pid, kind == F_WRLCK, start, end)
        self._stop_waiting(wanted.owner)
        blocking = next((lock for lock in held if wanted.conflicts(lock)), None)
        if test:
            if kind == F_UNLCK or blocking is None:
                return _FLOCK.pack(F_UNLCK, whence, argument_start(argument), length, pid)
            found = F_WRLCK if blocking.exclusive else F_RDLCK
            length = 0 if blocking.end == MAX_OFFSET else blocking.end - blocking.start + 1
            return _FLOCK.pack(found, SEEK_SET, blocking.start, length, blocking.pid)
        if kind != F_UNLCK:
            if not (file.writable if kind == F_WRLCK else file.readable):
                raise Errno(errno.EBADF)
            if blocking is not None:
                if not wait:
                    raise Errno(errno.EAGAIN)
                if not by_file:
                    self._wait(wanted, held)
                raise Block(
                    lambda: not any(wanted.conflicts(lock) for lock in held),
                    why="a record lock",
                    interrupted=lambda: self._stop_waiting(wanted.owner),
                )
        kept: list[Lock] = []
        for lock in held:
            if lock.owner is not wanted.owner or lock.end < start or lock.start > end:
                kept.append(lock)
                continue
            if lock.start < start:
                kept.append(Lock(lock.owner, lock.pid, lock.exclusive, lock.start, start - 1))
            if lock.end > end:
                kept.append(Lock(lock.owner, lock.pid, lock.exclusive, end + 1, lock.end))
        if kind != F_UNLCK:
            kept.append(wanted)
            self.any = True
        held[:] = sorted(kept, key=lambda lock: lock.start)
        return argument

    def _wait(self, wanted: Lock, held: list[Lock]) -> None:
        """An owner begins to wait. Raises Errno(EDEADLK) if whoever has the lock waits for this owner, perhaps through others."""
        at: tuple[Lock, list[Lock]] | None = (wanted, held)
        for _ in range(len(self._waiting) + 1):
            if at is None:
                break
            lock, others = at
            holder = next((other.owner for other in others if lock.conflicts(other)), None)
            if holder is wanted.owner:
                raise Errno(errno.EDEADLK)
            at = self._waiting.get(holder)
        self._waiting[wanted.owner] = (wanted, held)

    def _stop_waiting(self, owner: object) -> None:
        self._waiting.pop(owner, None)

    def close(self, file: OpenFile, table: object) -> None:
        """A descriptor of `file` is closed: its process's record locks go, and with the last one the file's own."""
        last = file.references == 1
        for locks in (self._flocks, self._records):
            held = locks.get(file.inode)
            if held is not None:
                held[:] = [lock for lock in held if lock.owner is not table and not (last and lock.owner is file)]
                if not held:
                    del locks[file.inode]


def argument_start(argument: bytes) -> int:
    """l_start of a struct flock."""
    return int(_FLOCK.unpack(argument)[2])
