"""Attributes of files: mode, owner, times, extended attributes (fs/attr.c, fs/utimes.c, fs/xattr.c)."""

from __future__ import annotations

import errno
import struct
from typing import TYPE_CHECKING

from pyprobe.runtime.user.errors import Errno
from pyprobe.runtime.user.vfs.abi import (
    AT_EMPTY_PATH,
    AT_FDCWD,
    AT_SYMLINK_NOFOLLOW,
    O_PATH,
    S_ISGID,
    S_ISUID,
    W_OK,
)
from pyprobe.runtime.user.vfs.inode import Dentry, Inode
from pyprobe.runtime.user.vfs.inotify import IN_ACCESS, IN_ATTRIB, IN_MODIFY
from pyprobe.runtime.user.vfs.permission import check, check_owner
from pyprobe.runtime.user.words import NANOSECONDS, s32

if TYPE_CHECKING:
    from pyprobe.runtime.user.kernel import Kernel
    from pyprobe.runtime.user.task import Task

TIME_MIN, TIME_MAX = -(1 << 31), (1 << 34) - (1 << 31) - 1  # seconds that ext4 can keep (fs/ext4/ext4.h); others become these
_UTIME_NOW = (1 << 30) - 1
_UTIME_OMIT = (1 << 30) - 2
NO_ID = 0xFFFFFFFF


def _opened(t: Task, fd: int) -> Dentry:
    file = t.process.files.get(fd)
    if file.flags & O_PATH:
        raise Errno(errno.EBADF)
    return file.dentry


def _at(k: Kernel, t: Task, dfd: int, filename: int, flags: int) -> Dentry:
    if flags & 0xFFFFFFFF & ~(AT_SYMLINK_NOFOLLOW | AT_EMPTY_PATH):
        raise Errno(errno.EINVAL)
    path = t.space.cstring(filename)
    if not path and flags & AT_EMPTY_PATH:
        return k.vfs.start(t, dfd, path)
    return k.vfs.find(k, t, path, descriptor=dfd, follow=not flags & AT_SYMLINK_NOFOLLOW)


def _writable(inode: Inode) -> None:
    """Pipes and sockets have attributes too, though no file system to write to."""
    if inode.fs.name in ("proc", "sysfs"):
        inode.fs.check_writable()


def _changed(k: Kernel, dentry: Dentry, event: int) -> None:
    """An attribute has changed; event: how inotify(7) calls that."""
    dentry.require().ctime = k.clock.wall()
    if k.vfs.notifier.any:
        k.vfs.notifier.event(k, dentry, event)


def _chmod(k: Kernel, t: Task, dentry: Dentry, mode: int) -> int:
    inode = dentry.require()
    _writable(inode)
    check_owner(t, inode)
    if inode.is_symlink:
        raise Errno(errno.EOPNOTSUPP)
    mode &= 0o7777
    if t.cred.fsuid != 0 and inode.gid != t.cred.fsgid and inode.gid not in t.cred.groups:
        mode &= ~S_ISGID
    inode.mode = inode.kind | mode
    _changed(k, dentry, IN_ATTRIB)
    return 0


def sys_chmod(k: Kernel, t: Task, filename: int, mode: int) -> int:
    return _chmod(k, t, _at(k, t, AT_FDCWD, filename, 0), mode)


def sys_fchmod(k: Kernel, t: Task, fd: int, mode: int) -> int:
    return _chmod(k, t, _opened(t, fd), mode)


def sys_fchmodat(k: Kernel, t: Task, dfd: int, filename: int, mode: int) -> int:
    return _chmod(k, t, _at(k, t, dfd, filename, 0), mode)


def sys_fchmodat2(k: Kernel, t: Task, dfd: int, filename: int, mode: int, flags: int) -> int:
    return _chmod(k, t, _at(k, t, dfd, filename, flags), mode)


def _chown(k: Kernel, t: Task, dentry: Dentry, user: int, group: int) -> int:
    inode = dentry.require()
    _writable(inode)
    user &= NO_ID
    group &= NO_ID
    if t.cred.fsuid != 0:
        mine = inode.uid == t.cred.fsuid
        own_group = mine and (group == t.cred.fsgid or group in t.cred.groups)
        if user not in (NO_ID, inode.uid) or (group not in (NO_ID, inode.gid) and not own_group):
            raise Errno(errno.EPERM)
    if user != NO_ID:
        inode.uid = user
    if group != NO_ID:
        inode.gid = group
    if not inode.is_directory:
        inode.mode &= ~(S_ISUID | (S_ISGID if inode.mode & 0o10 else 0))
    _changed(k, dentry, IN_ATTRIB)
    return 0


def sys_chown(k: Kernel, t: Task, filename: int, user: int, group: int) -> int:
    return _chown(k, t, _at(k, t, AT_FDCWD, filename, 0), user, group)


def sys_lchown(k: Kernel, t: Task, filename: int, user: int, group: int) -> int:
    return _chown(k, t, _at(k, t, AT_FDCWD, filename, AT_SYMLINK_NOFOLLOW), user, group)


def sys_fchown(k: Kernel, t: Task, fd: int, user: int, group: int) -> int:
    return _chown(k, t, _opened(t, fd), user, group)


def sys_fchownat(k: Kernel, t: Task, dfd: int, filename: int, user: int, group: int, flag: int) -> int:
    return _chown(k, t, _at(k, t, dfd, filename, flag), user, group)


def _set_times(k: Kernel, t: Task, dentry: Dentry, times: tuple[int | None, int | None] | None) -> int:
    """Set access and modification time, ns since 1970; None leaves one alone, or (no pair) sets both to now."""
    inode = dentry.require()
    _writable(inode)
    now = k.clock.wall()
    if times is None:
        if t.cred.fsuid not in (0, inode.uid):
            check(t, inode, W_OK)
        times = (now, now)
    elif times != (None, None):
        check_owner(t, inode)
    access, modification = times
    if access is not None:
        inode.atime = access
    if modification is not None:
        inode.mtime = modification
    _changed(k, dentry, IN_ATTRIB if None not in times else IN_ACCESS if modification is None else IN_MODIFY)
    return 0


def _time(k: Kernel, seconds: int, fraction: int, unit: int) -> int | None:
    if unit == 1:
        if fraction == _UTIME_NOW:
            return k.clock.wall()
        if fraction == _UTIME_OMIT:
            return None
    if not 0 <= fraction < NANOSECONDS // unit:
        raise Errno(errno.EINVAL)
    return max(TIME_MIN, min(seconds, TIME_MAX)) * NANOSECONDS + fraction * unit


def _times(k: Kernel, t: Task, address: int, unit: int) -> tuple[int | None, int | None] | None:
    """Two struct timespec (unit 1) or timeval (unit 1000) in guest memory."""
    if not address:
        return None
    first, first_part, second, second_part = struct.unpack("<4q", t.space.read(address, 32))
    return _time(k, first, first_part, unit), _time(k, second, second_part, unit)


def sys_utimensat(k: Kernel, t: Task, dfd: int, filename: int, times: int, flags: int) -> int:
    wanted = _times(k, t, times, 1)
    if not filename:
        if s32(dfd) == AT_FDCWD:
            raise Errno(errno.EFAULT)
        return _set_times(k, t, t.process.files.get(dfd).dentry, wanted)
    return _set_times(k, t, _at(k, t, dfd, filename, flags), wanted)


def sys_futimesat(k: Kernel, t: Task, dfd: int, filename: int, times: int) -> int:
    return _set_times(k, t, _at(k, t, dfd, filename, 0), _times(k, t, times, 1000))


def sys_utimes(k: Kernel, t: Task, filename: int, times: int) -> int:
    return _set_times(k, t, _at(k, t, AT_FDCWD, filename, 0), _times(k, t, times, 1000))


def sys_utime(k: Kernel, t: Task, filename: int, times: int) -> int:
    wanted = None
    if times:
        access, modification = struct.unpack("<2q", t.space.read(times, 16))
        wanted = (_time(k, access, 0, 1), _time(k, modification, 0, 1))
    return _set_times(k, t, _at(k, t, AT_FDCWD, filename, 0), wanted)


# extended attributes: no file has any, none can be set


def _no_attribute(k: Kernel, t: Task, path: int, follow: bool) -> int:
    k.vfs.find(k, t, t.space.cstring(path), follow=follow)
    raise Errno(errno.ENODATA)


def sys_getxattr(k: Kernel, t: Task, path: int, name: int, value: int, size: int) -> int:
    return _no_attribute(k, t, path, True)


def sys_lgetxattr(k: Kernel, t: Task, path: int, name: int, value: int, size: int) -> int:
    return _no_attribute(k, t, path, False)


def sys_fgetxattr(k: Kernel, t: Task, fd: int, name: int, value: int, size: int) -> int:
    t.process.files.get(fd)
    raise Errno(errno.ENODATA)


def sys_listxattr(k: Kernel, t: Task, path: int, names: int, size: int) -> int:
    k.vfs.find(k, t, t.space.cstring(path))
    return 0


def sys_llistxattr(k: Kernel, t: Task, path: int, names: int, size: int) -> int:
    k.vfs.find(k, t, t.space.cstring(path), follow=False)
    return 0


def sys_flistxattr(k: Kernel, t: Task, fd: int, names: int, size: int) -> int:
    t.process.files.get(fd)
    return 0


def sys_setxattr(k: Kernel, t: Task, path: int, name: int, value: int, size: int, flags: int) -> int:
    k.vfs.find(k, t, t.space.cstring(path))
    raise Errno(errno.EOPNOTSUPP)


def sys_lsetxattr(k: Kernel, t: Task, path: int, name: int, value: int, size: int, flags: int) -> int:
    k.vfs.find(k, t, t.space.cstring(path), follow=False)
    raise Errno(errno.EOPNOTSUPP)


def sys_fsetxattr(k: Kernel, t: Task, fd: int, name: int, value: int, size: int, flags: int) -> int:
    t.process.files.get(fd)
    raise Errno(errno.EOPNOTSUPP)


def sys_removexattr(k: Kernel, t: Task, path: int, name: int) -> int:
    return _no_attribute(k, t, path, True)


def sys_lremovexattr(k: Kernel, t: Task, path: int, name: int) -> int:
    return _no_attribute(k, t, path, False)


def sys_fremovexattr(k: Kernel, t: Task, fd: int, name: int) -> int:
    t.process.files.get(fd)
    raise Errno(errno.ENODATA)
