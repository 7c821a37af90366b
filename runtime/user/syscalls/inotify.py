"""Watching files: inotify(7)."""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING

from pyprobe.runtime.user.errors import Errno
from pyprobe.runtime.user.vfs.abi import O_CLOEXEC, O_NONBLOCK, R_OK
from pyprobe.runtime.user.vfs.inotify import (
    IN_ALL_EVENTS,
    IN_DONT_FOLLOW,
    IN_EXCL_UNLINK,
    IN_MASK_ADD,
    IN_MASK_CREATE,
    IN_ONESHOT,
    IN_ONLYDIR,
    InotifyFile,
)
from pyprobe.runtime.user.vfs.open import install
from pyprobe.runtime.user.vfs.permission import check
from pyprobe.runtime.user.words import U32, s32

if TYPE_CHECKING:
    from pyprobe.runtime.user.kernel import Kernel
    from pyprobe.runtime.user.task import Task

_KNOWN = IN_ALL_EVENTS | IN_ONLYDIR | IN_DONT_FOLLOW | IN_EXCL_UNLINK | IN_MASK_CREATE | IN_MASK_ADD | IN_ONESHOT | 0x40006000


def sys_inotify_init1(k: Kernel, t: Task, flags: int) -> int:
    if flags & U32 & ~(O_CLOEXEC | O_NONBLOCK):
        raise Errno(errno.EINVAL)
    return install(t, InotifyFile(k, flags & O_NONBLOCK), close_on_exec=bool(flags & O_CLOEXEC))


def sys_inotify_init(k: Kernel, t: Task) -> int:
    return sys_inotify_init1(k, t, 0)


def _instance(t: Task, fd: int) -> InotifyFile:
    file = t.process.files.get(fd)
    if not isinstance(file, InotifyFile):
        raise Errno(errno.EINVAL)
    return file


def sys_inotify_add_watch(k: Kernel, t: Task, fd: int, pathname: int, mask: int) -> int:
    mask &= U32
    if not mask & _KNOWN or mask & ~_KNOWN or (mask & IN_MASK_ADD and mask & IN_MASK_CREATE):
        raise Errno(errno.EINVAL)
    file = _instance(t, fd)
    dentry = k.vfs.find(k, t, t.space.cstring(pathname), follow=not mask & IN_DONT_FOLLOW)
    inode = dentry.require()
    if mask & IN_ONLYDIR and not inode.is_directory:
        raise Errno(errno.ENOTDIR)
    check(t, inode, R_OK)
    return file.add(k, inode, mask)


def sys_inotify_rm_watch(k: Kernel, t: Task, fd: int, wd: int) -> int:
    _instance(t, fd).remove(k, s32(wd))
    return 0
