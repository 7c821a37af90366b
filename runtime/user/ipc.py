"""System V IPC: what shared memory segments, semaphore sets and message queues have in common (sysvipc(7), ipc/util.c)."""

from __future__ import annotations

import errno
import struct
from typing import TYPE_CHECKING, Final, Generic, TypeVar

from pyprobe.runtime.user.capabilities import CAP_IPC_OWNER, CAP_SYS_ADMIN
from pyprobe.runtime.user.errors import Errno
from pyprobe.runtime.user.words import NANOSECONDS, s32

if TYPE_CHECKING:
    from pyprobe.runtime.user.kernel import Kernel
    from pyprobe.runtime.user.task import Task

IPC_PRIVATE: Final = 0
IPC_CREAT, IPC_EXCL, IPC_NOWAIT = 0o1000, 0o2000, 0o4000
IPC_RMID, IPC_SET, IPC_STAT, IPC_INFO = range(4)
READ, WRITE = 0o444, 0o222

_SEQUENCE: Final = 1 << 15  # ids are index + sequence number * this (IPCMNI)
_PERM: Final = struct.Struct("<iIIIIIHxxxxxx16x")  # struct ipc64_perm
_OWNER: Final = struct.Struct("<4xII8xI")  # what IPC_SET takes of it


class IpcObject:
    """struct kern_ipc_perm and the time of the last change; `removed`: who waits for it must give up with EIDRM."""

    def __init__(self, k: Kernel, t: Task, key: int, mode: int) -> None:
        self.key = key
        self.id = -1
        self.sequence = 0
        self.mode = mode & 0o777
        self.uid = self.cuid = t.cred.euid
        self.gid = self.cgid = t.cred.egid
        self.changed = seconds(k)
        self.removed = False

    def perm(self) -> bytes:
        """struct ipc64_perm."""
        return _PERM.pack(self.key, self.uid, self.gid, self.cuid, self.cgid, self.mode, self.sequence)

    def check(self, t: Task, wanted: int) -> None:
        """Raises Errno(EACCES) unless the task has all of the permission bits in `wanted` (ipcperms)."""
        granted = self.mode
        cred = t.cred
        if cred.euid in (self.cuid, self.uid):
            granted >>= 6
        elif self.gid in (cred.egid, *cred.groups) or self.cgid in (cred.egid, *cred.groups):
            granted >>= 3
        asked = wanted >> 6 | wanted >> 3 | wanted
        if asked & ~granted & 7 and not cred.capable(CAP_IPC_OWNER):
            raise Errno(errno.EACCES)

    def check_owner(self, t: Task) -> None:
        """Raises Errno(EPERM) unless the task may change or remove the object."""
        if t.cred.euid not in (self.uid, self.cuid) and not t.cred.capable(CAP_SYS_ADMIN):
            raise Errno(errno.EPERM)

    def set(self, k: Kernel, t: Task, raw: bytes) -> None:
        """IPC_SET: owner and mode from a struct ipc64_perm."""
        self.check_owner(t)
        self.uid, self.gid, mode = _OWNER.unpack_from(raw)
        self.mode = self.mode & ~0o777 | mode & 0o777
        self.changed = seconds(k)


Kind = TypeVar("Kind", bound=IpcObject)


class IpcIds(Generic[Kind]):
    """All objects of one kind (struct ipc_ids). limit: how many there may be."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.objects: dict[int, Kind] = {}  # by index
        self._sequence = 0

    def find_key(self, key: int) -> Kind | None:
        """The object with a key."""
        return next((one for one in self.objects.values() if one.key == key), None) if key != IPC_PRIVATE else None

    def get(self, identity: int) -> Kind:
        """The object behind an id. Raises Errno(EINVAL)."""
        identity = s32(identity)
        found = self.objects.get(identity % _SEQUENCE) if identity >= 0 else None
        if found is None or found.id != identity:
            raise Errno(errno.EIDRM if found is not None else errno.EINVAL)
        return found

    def at(self, index: int) -> Kind:
        """The object at an index, for the *_STAT commands of ipcs(1). Raises Errno(EINVAL)."""
        found = self.objects.get(s32(index))
        if found is None:
            raise Errno(errno.EINVAL)
        return found

    def add(self, one: Kind) -> int:
        """Give a new object its id. Raises Errno(ENOSPC)."""
        if len(self.objects) >= self.limit:
            raise Errno(errno.ENOSPC)
        index = next(n for n in range(self.limit) if n not in self.objects)
        one.sequence = self._sequence
        one.id = index + one.sequence * _SEQUENCE
        self.objects[index] = one
        return one.id

    def remove(self, one: Kind) -> None:
        """The id is free again; the next object that gets its place has another one."""
        one.removed = True
        self.objects.pop(one.id % _SEQUENCE, None)
        self._sequence = (self._sequence + 1) % 0xFFFF

    @property
    def highest(self) -> int:
        """The highest index in use, which the *_INFO commands return."""
        return max(self.objects, default=0)

    def existing(self, t: Task, key: int, flags: int) -> Kind | None:
        """The object that semget(2) and its like found by its key, None: a new one is to be made. Raises Errno(EEXIST, ENOENT, EACCES)."""
        if key == IPC_PRIVATE:
            return None
        found = self.find_key(key)
        if found is None:
            if not flags & IPC_CREAT:
                raise Errno(errno.ENOENT)
            return None
        if flags & IPC_CREAT and flags & IPC_EXCL:
            raise Errno(errno.EEXIST)
        found.check(t, flags & 0o777)
        return found


def seconds(k: Kernel) -> int:
    """The time that goes into the structures."""
    return k.clock.wall() // NANOSECONDS
