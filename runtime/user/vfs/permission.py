"""Who may do what with an inode: the mode bits against a task's file system identity (generic_permission, fs/namei.c)."""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING

from pyprobe.runtime.user.capabilities import CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH, CAP_FOWNER
from pyprobe.runtime.user.errors import Errno
from pyprobe.runtime.user.vfs.abi import S_ISVTX, W_OK, X_OK

if TYPE_CHECKING:
    from pyprobe.runtime.user.task import Credentials, Task
    from pyprobe.runtime.user.vfs.inode import Inode


def permitted(who: Credentials, inode: Inode, mask: int) -> bool:
    """Whether somebody has all of `mask` (R_OK | W_OK | X_OK); nobody may execute a file that has no such bit."""
    if who.capable(CAP_DAC_OVERRIDE) and (not mask & X_OK or inode.is_directory or inode.mode & 0o111):
        return True
    mode = inode.mode
    if who.fsuid == inode.uid:
        mode >>= 6
    elif who.fsgid == inode.gid or inode.gid in who.groups:
        mode >>= 3
    if not mask & ~mode & 7:
        return True
    return not mask & W_OK and (not mask & X_OK or inode.is_directory) and who.capable(CAP_DAC_READ_SEARCH)


def check(t: Task, inode: Inode, mask: int) -> None:
    """Raises Errno(EACCES) unless the task has all of `mask`."""
    if not permitted(t.cred, inode, mask):
        raise Errno(errno.EACCES)


def check_owner(t: Task, inode: Inode) -> None:
    """Raises Errno(EPERM) unless the task owns the inode or may act as its owner (inode_owner_or_capable)."""
    if t.cred.fsuid != inode.uid and not t.cred.capable(CAP_FOWNER):
        raise Errno(errno.EPERM)


def check_delete(t: Task, directory: Inode, inode: Inode) -> None:
    """Raises Errno unless the task may remove `inode`'s name from `directory` (may_delete: write, search, sticky bit)."""
    check(t, directory, W_OK | X_OK)
    if directory.mode & S_ISVTX and t.cred.fsuid not in (inode.uid, directory.uid) and not t.cred.capable(CAP_FOWNER):
        raise Errno(errno.EPERM)
