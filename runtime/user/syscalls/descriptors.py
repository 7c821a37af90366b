"""Descriptors as such: close, dup, fcntl, locks."""

from __future__ import annotations

import errno
import struct
from typing import TYPE_CHECKING

from pyprobe.runtime.machine.memory import W
from pyprobe.runtime.user.errors import Errno
from pyprobe.runtime.user.vfs.abi import O_CLOEXEC, O_PATH, SETFL_MASK, guest_open_flags, open_flags
from pyprobe.runtime.user.vfs.content import MappedContent
from pyprobe.runtime.user.vfs.open import limit
from pyprobe.runtime.user.vfs.openfile import OpenFile
from pyprobe.runtime.user.vfs.pipe import PIPE_BUF, PipeFile
from pyprobe.runtime.user.vfs.table import close_file
from pyprobe.runtime.user.vfs.tree import (
    F_SEAL_EXEC,
    F_SEAL_FUTURE_WRITE,
    F_SEAL_GROW,
    F_SEAL_SEAL,
    F_SEAL_SHRINK,
    F_SEAL_WRITE,
    Regular,
)
from pyprobe.runtime.user.words import s32

if TYPE_CHECKING:
    from pyprobe.runtime.user.kernel import Kernel
    from pyprobe.runtime.user.task import Task

F_DUPFD, F_GETFD, F_SETFD, F_GETFL, F_SETFL, F_GETLK, F_SETLK, F_SETLKW, F_SETOWN, F_GETOWN, F_SETSIG, F_GETSIG = range(12)
F_SETOWN_EX, F_GETOWN_EX = 15, 16
F_OFD_GETLK, F_OFD_SETLK, F_OFD_SETLKW = 36, 37, 38
F_SETLEASE, F_GETLEASE, F_NOTIFY, F_DUPFD_QUERY = 1024, 1025, 1026, 1027
F_DUPFD_CLOEXEC = 1030
F_SETPIPE_SZ, F_GETPIPE_SZ, F_ADD_SEALS, F_GET_SEALS = 1031, 1032, 1033, 1034
FD_CLOEXEC = 1
_FLOCK_SIZE = 32
_SEALS = F_SEAL_SEAL | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE | F_SEAL_FUTURE_WRITE | F_SEAL_EXEC
_PIPE_MAX_SIZE = 1 << 20
_CLOSE_RANGE_UNSHARE = 2
_CLOSE_RANGE_CLOEXEC = 4

#: command -> (wait, only test, lock of the open file)
_LOCKS = {
    F_GETLK: (False, True, False),
    F_SETLK: (False, False, False),
    F_SETLKW: (True, False, False),
    F_OFD_GETLK: (False, True, True),
    F_OFD_SETLK: (False, False, True),
    F_OFD_SETLKW: (True, False, True),
}


def sys_close(k: Kernel, t: Task, fd: int) -> int:
    files = t.process.files
    close_file(k, files.remove(s32(fd)), files)
    return 0


def sys_close_range(k: Kernel, t: Task, fd: int, max_fd: int, flags: int) -> int:
    fd, max_fd, flags = fd & 0xFFFFFFFF, max_fd & 0xFFFFFFFF, flags & 0xFFFFFFFF
    if flags & ~(_CLOSE_RANGE_UNSHARE | _CLOSE_RANGE_CLOEXEC) or fd > max_fd:
        raise Errno(errno.EINVAL)
    files = t.process.files
    if flags & _CLOSE_RANGE_UNSHARE and files.users > 1:
        files.users -= 1
        files = t.process.files = files.copy()
    for number, _ in list(files):
        if fd <= number <= max_fd:
            if flags & _CLOSE_RANGE_CLOEXEC:
                files.set_close_on_exec(number, True)
            else:
                close_file(k, files.remove(number), files)
    return 0


def _duplicate(t: Task, file: OpenFile, *, lowest: int = 0, close_on_exec: bool = False) -> int:
    number = t.process.files.add(file, limit=limit(t), lowest=lowest, close_on_exec=close_on_exec)
    file.references += 1
    return number


def sys_dup(k: Kernel, t: Task, fildes: int) -> int:
    return _duplicate(t, t.process.files.get(fildes))


def _dup_to(k: Kernel, t: Task, old: int, new: int, *, close_on_exec: bool) -> int:
    new = s32(new)
    if not 0 <= new < limit(t):
        raise Errno(errno.EBADF)
    file = t.process.files.get(old)
    file.references += 1
    t.process.files.put(k, new, file, close_on_exec=close_on_exec)
    return new


def sys_dup2(k: Kernel, t: Task, old: int, new: int) -> int:
    if s32(old) == s32(new):
        t.process.files.get(old)
        return s32(new)
    return _dup_to(k, t, old, new, close_on_exec=False)


def sys_dup3(k: Kernel, t: Task, old: int, new: int, flags: int) -> int:
    if s32(old) == s32(new) or flags & 0xFFFFFFFF & ~O_CLOEXEC:
        raise Errno(errno.EINVAL)
    return _dup_to(k, t, old, new, close_on_exec=bool(flags & O_CLOEXEC))


def sys_fcntl(k: Kernel, t: Task, fd: int, cmd: int, arg: int) -> int:
    files = t.process.files
    file = files.get(fd)
    fd, cmd = s32(fd), cmd & 0xFFFFFFFF
    if file.flags & O_PATH and cmd not in (F_DUPFD, F_DUPFD_CLOEXEC, F_GETFD, F_SETFD, F_GETFL):
        raise Errno(errno.EBADF)
    if cmd in (F_DUPFD, F_DUPFD_CLOEXEC):
        if arg & 0xFFFFFFFF >= limit(t):
            raise Errno(errno.EINVAL)
        return _duplicate(t, file, lowest=arg & 0xFFFFFFFF, close_on_exec=cmd == F_DUPFD_CLOEXEC)
    if cmd == F_GETFD:
        return FD_CLOEXEC if files.closes_on_exec(fd) else 0
    if cmd == F_SETFD:
        files.set_close_on_exec(fd, bool(arg & FD_CLOEXEC))
        return 0
    if cmd == F_GETFL:
        return guest_open_flags(t.process.arch, file.flags)
    if cmd == F_SETFL:
        file.flags = file.flags & ~SETFL_MASK | open_flags(t.process.arch, arg) & SETFL_MASK
        return 0
    if cmd in _LOCKS:
        wait, test, by_file = _LOCKS[cmd]
        answer = k.vfs.locks.record(t, file, t.space.read(arg, _FLOCK_SIZE), wait=wait, test=test, by_file=by_file)
        if test:
            t.space.write(arg, answer)
        return 0
    if cmd in (F_SETOWN, F_SETOWN_EX, F_SETSIG):
        file.owner = s32(arg) if cmd == F_SETOWN else file.owner
        return 0
    if cmd in (F_GETOWN, F_GETSIG):
        return file.owner if cmd == F_GETOWN else 0
    if cmd == F_GETOWN_EX:
        t.space.write(arg, struct.pack("<ii", 1, file.owner))
        return 0
    if cmd == F_GETLEASE:
        return 2  # F_UNLCK
    if cmd == F_DUPFD_QUERY:
        return int(files.get(arg) is file)
    if cmd in (F_GETPIPE_SZ, F_SETPIPE_SZ):
        return _pipe_size(file, arg if cmd == F_SETPIPE_SZ else None)
    if cmd in (F_GET_SEALS, F_ADD_SEALS):
        return _seals(k, file, arg if cmd == F_ADD_SEALS else None)
    raise Errno(errno.EINVAL)


def _pipe_size(file: OpenFile, wanted: int | None) -> int:
    if not isinstance(file, PipeFile):
        raise Errno(errno.EBADF)
    pipe = file.pipe
    if wanted is not None:
        size = max(PIPE_BUF, 1 << (wanted - 1).bit_length() if wanted > 1 else 0)
        if size > _PIPE_MAX_SIZE:
            raise Errno(errno.EPERM if size < 1 << 31 else errno.EINVAL)
        if size < len(pipe.data):
            raise Errno(errno.EBUSY)
        pipe.capacity = size
    return pipe.capacity


def _seals(k: Kernel, file: OpenFile, added: int | None) -> int:
    inode = file.inode
    if not isinstance(inode, Regular) or inode.seals < 0:
        raise Errno(errno.EINVAL)
    if added is None:
        return inode.seals
    if not file.writable:
        raise Errno(errno.EPERM)
    if added & ~_SEALS:
        raise Errno(errno.EINVAL)
    if inode.seals & F_SEAL_SEAL:
        raise Errno(errno.EPERM)
    if added & F_SEAL_WRITE and isinstance(inode.content, MappedContent):
        backing = inode.content.backing
        spaces = [process.space for process in k.processes.values() if process.alive]
        if any(vma.backing is backing and vma.shared and vma.prot & W for space in spaces for vma in space.vmas()):
            raise Errno(errno.EBUSY)
    inode.seals |= added
    return 0


def sys_flock(k: Kernel, t: Task, fd: int, cmd: int) -> int:
    k.vfs.locks.flock(t, t.process.files.get(fd), cmd & 0xFFFFFFFF)
    return 0
