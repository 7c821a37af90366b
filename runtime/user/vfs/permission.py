"""Who may do what with an inode: the mode bits against a task's file system identity (generic_permission, fs/namei.c)."""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING

from pyprobe.runtime.user.errors import Errno
from pyprobe.runtime.user.vfs.abi import S_ISVTX, W_OK, X_OK

if TYPE_CHECKING:
    from pyprobe.runtime.user.task import Task
    from pyprobe.runtime.user.vfs.inode import Inode


def permitted(inode: Inode, mask: int, uid: int, gid: int, groups: tuple[int, ...] = ()) -> bool:
    """Whether the identity has all of `mask` (R_OK | W_OK | X_OK).

    uid 0 lacks nothing but the execution of a file that nobody may execute.
    """
    mode = inode.mode
    if uid == 0:
        return not mask & X_OK or bool(mode & 0o111) or inode.is_directory
    if uid == inode.uid:
        mode >>= 6
    elif gid == inode.gid or inode.gid in groups:
        mode >>= 3
    return not mask & ~mode & 7


def check(t: Task, inode: Inode, mask: int) -> None:
    """Raises Errno(EACCES) unless the task has all of `mask`."""
    who = t.cred
    if who.fsuid == 0 and (not mask & X_OK or inode.is_directory):
        return
    if not permitted(inode, mask, who.fsuid, who.fsgid, who.groups):
        raise Errno(errno.EACCES)


def check_owner(t: Task, inode: Inode) -> None:
    """Raises Errno(EPERM) unless the task owns the inode or is root (inode_owner_or_capable)."""
    if t.cred.fsuid not in (0, inode.uid):
        raise Errno(errno.EPERM)


def check_delete(t: Task, directory: Inode, inode: Inode) -> None:
    """Raises Errno unless the task may remove `inode`'s name from `directory` (may_delete: write, search, sticky bit)."""
    check(t, directory, W_OK | X_OK)
    if directory.mode & S_ISVTX and t.cred.fsuid not in (0, inode.uid, directory.uid):
        raise Errno(errno.EPERM)
