"""Opening and closing: fs/open.c and the end of fs/namei.c's path to an open file."""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING

from pyprobe.runtime.user.errors import Block, Errno
from pyprobe.runtime.user.functions import kernel_function
from pyprobe.runtime.user.vfs import names
from pyprobe.runtime.user.vfs.abi import (
    O_ACCMODE,
    O_CLOEXEC,
    O_CREAT,
    O_DIRECTORY,
    O_EXCL,
    O_NOATIME,
    O_NOFOLLOW,
    O_PATH,
    O_RDONLY,
    O_TMPFILE,
    O_TRUNC,
    R_OK,
    RESOLVE_CACHED,
    W_OK,
    X_OK,
)
from pyprobe.runtime.user.vfs.inode import Dentry, Inode
from pyprobe.runtime.user.vfs.inotify import IN_MODIFY, IN_OPEN
from pyprobe.runtime.user.vfs.openfile import OpenFile, PathFile, newsize_ok
from pyprobe.runtime.user.vfs.permission import check, check_owner
from pyprobe.runtime.user.vfs.table import FileTable
from pyprobe.runtime.user.vfs.tree import TreeFileSystem
from pyprobe.runtime.user.vfs.walk import Walk

if TYPE_CHECKING:
    from pyprobe.runtime.user.kernel import Kernel
    from pyprobe.runtime.user.task import Task

_O_TMPFILE_BIT = O_TMPFILE & ~O_DIRECTORY
_PATH_FLAGS = O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC
_RLIMIT_NOFILE = 7
_ACCESS = {0: R_OK, 1: W_OK, 2: R_OK | W_OK, 3: R_OK | W_OK}


class OpenHow:
    """struct open_how: flags, mode and resolution restrictions of one open."""

    __slots__ = ("flags", "mode", "resolve")

    def __init__(self, flags: int, mode: int = 0, resolve: int = 0) -> None:
        self.flags = flags
        self.mode = mode
        self.resolve = resolve


def limit(t: Task) -> int:
    """How many descriptors the task's process may have."""
    return t.process.limits[_RLIMIT_NOFILE][0]


def install(t: Task, file: OpenFile, *, close_on_exec: bool) -> int:
    """A descriptor for a new open file; without one the file is closed again by the caller's error path."""
    return t.process.files.add(file, limit=limit(t), close_on_exec=close_on_exec)


@kernel_function("long do_sys_openat2(int dfd, const char *filename, struct open_how *how)")
def do_sys_openat2(k: Kernel, dfd: int, filename: int, how: OpenHow) -> int:
    """Open the file that a path in guest memory names; the new descriptor.

    Raises:
        Errno: as open(2).
    """
    t = k.current
    assert t is not None
    if how.flags & _O_TMPFILE_BIT and (how.flags & O_TMPFILE != O_TMPFILE or how.flags & O_ACCMODE == O_RDONLY):
        raise Errno(errno.EINVAL)
    path = t.space.cstring(filename)
    if not path:
        raise Errno(errno.ENOENT)
    if len(t.process.files) >= limit(t):
        raise Errno(errno.EMFILE)
    file: OpenFile = k.do_filp_open(dfd, path, how)
    try:
        return install(t, file, close_on_exec=bool(how.flags & O_CLOEXEC))
    except Errno:
        file.release(k)
        raise


@kernel_function("struct file *do_filp_open(int dfd, struct filename *pathname, const struct open_flags *op)")
def do_filp_open(k: Kernel, dfd: int, pathname: bytes, op: OpenHow) -> OpenFile:
    """Resolve a path and open what it names, making it first if asked (path_openat).

    Raises:
        Errno: as open(2).
    """
    t = k.current
    assert t is not None
    flags = op.flags
    if flags & O_PATH:
        flags &= _PATH_FLAGS
    if op.resolve & RESOLVE_CACHED:
        raise Errno(errno.EAGAIN)
    walk = k.vfs.walk(k, t, dfd, pathname, op.resolve)
    created = False
    if flags & O_TMPFILE == O_TMPFILE:
        dentry = _tmpfile(k, t, walk.find(pathname), op.mode)
        dentry.linkable = not flags & O_EXCL
        created = True
    elif flags & O_CREAT and not flags & O_PATH:
        dentry, created = _create(k, t, walk, pathname, flags, op.mode)
    else:
        dentry = walk.find(pathname, follow=not flags & O_NOFOLLOW)
    return _do_open(k, t, dentry, flags, created=created)


def _tmpfile(k: Kernel, t: Task, directory: Dentry, mode: int) -> Dentry:
    inode = directory.require()
    if not inode.is_directory:
        raise Errno(errno.ENOTDIR)
    check(t, inode, W_OK | X_OK)
    if not isinstance(inode.fs, TreeFileSystem):
        raise Errno(errno.EOPNOTSUPP)
    file = names.anonymous(k, inode.fs, mode & ~t.process.fs.umask)
    file.uid, file.gid = t.cred.fsuid, t.cred.fsgid
    dentry = Dentry(directory, b"#%d" % file.ino, file)
    dentry.removed = True
    return dentry


def _create(k: Kernel, t: Task, walk: Walk, path: bytes, flags: int, mode: int) -> tuple[Dentry, bool]:
    """The dentry for an open with O_CREAT, and whether it is new (open_last_lookups, lookup_open)."""
    if flags & O_DIRECTORY:
        raise Errno(errno.EINVAL)
    place = walk.place(path)
    for _ in range(64):
        if not place.is_entry or place.slash:
            raise Errno(errno.EISDIR if place.is_entry or not flags & O_EXCL else errno.EEXIST)
        dentry = walk.finish(place, follow=False)
        inode = dentry.inode
        if inode is None:
            names.create(k, t, dentry, mode & 0o7777 & ~t.process.fs.umask)
            return dentry, True
        if flags & O_EXCL:
            raise Errno(errno.EEXIST)
        if not inode.is_symlink or flags & O_NOFOLLOW:
            return dentry, False
        # a link to a file that does not exist yet makes that file
        place = walk.through(place.parent, dentry)
        if place.name == b"" and place.parent.inode is not None and not place.parent.inode.is_directory:
            return place.parent, False
    raise Errno(errno.ELOOP)


def _do_open(k: Kernel, t: Task, dentry: Dentry, flags: int, *, created: bool) -> OpenFile:
    inode = dentry.require()
    if inode.is_symlink and not flags & O_PATH:
        raise Errno(errno.ELOOP)
    if flags & O_DIRECTORY and not inode.is_directory:
        if flags & O_TMPFILE != O_TMPFILE:
            raise Errno(errno.ENOTDIR)
    elif inode.is_directory and (flags & O_ACCMODE != O_RDONLY or flags & O_CREAT) and not flags & O_PATH:
        raise Errno(errno.EISDIR)
    if flags & O_PATH:
        return PathFile(dentry, flags)
    if not created:
        may_open(t, inode, flags)
        if inode.is_regular and (flags & O_ACCMODE != O_RDONLY or flags & O_TRUNC):
            deny_busy(k, inode)
    file = inode.open(k, t, dentry, flags)
    try:
        k.vfs_open(dentry, file)
        if flags & O_TRUNC and not created and inode.is_regular:
            inode.truncate(k, 0)
            if k.vfs.notifier.any:
                k.vfs.notifier.event(k, dentry, IN_MODIFY)
    except Block:
        raise
    except Errno:
        file.release(k)
        raise
    return file


def may_open(t: Task, inode: Inode, flags: int) -> None:
    """Check an open against the inode's permissions."""
    wanted = _ACCESS[flags & O_ACCMODE]
    if flags & O_TRUNC:
        wanted |= W_OK
    check(t, inode, wanted)
    if flags & O_NOATIME:
        check_owner(t, inode)


def deny_busy(k: Kernel, inode: Inode) -> None:
    """Raises Errno(ETXTBSY) for the file of a program that runs (deny_write_access)."""
    if any(process.exe_inode is inode and process.alive for process in k.processes.values()):
        raise Errno(errno.ETXTBSY)


@kernel_function("int vfs_open(const struct path *path, struct file *file)")
def vfs_open(k: Kernel, path: Dentry, file: OpenFile) -> int:
    """Let the file system do its part of an open.

    Raises:
        Errno, Block.
    """
    assert k.current is not None
    file.on_open(k, k.current)
    if k.vfs.notifier.any:
        k.vfs.notifier.event(k, path, IN_OPEN)
    return 0


@kernel_function("int filp_close(struct file *filp, fl_owner_t id)")
def filp_close(k: Kernel, filp: OpenFile, id: FileTable) -> int:
    """Give up a descriptor's reference to an open file."""
    locks = k.vfs.locks
    if locks.any:
        locks.close(filp, id)
    return 0


@kernel_function("int vfs_truncate(const struct path *path, loff_t length)")
def vfs_truncate(k: Kernel, path: Dentry, length: int) -> int:
    """truncate(2) on a resolved path.

    Raises:
        Errno: EISDIR, EINVAL, EACCES, EROFS, ENOSPC.
    """
    t, inode = k.current, path.require()
    assert t is not None
    if inode.is_directory:
        raise Errno(errno.EISDIR)
    if not inode.is_regular:
        raise Errno(errno.EINVAL)
    check(t, inode, W_OK)
    inode.fs.check_writable()
    deny_busy(k, inode)
    newsize_ok(k, t, inode.size(), length)
    inode.truncate(k, length)
    if k.vfs.notifier.any:
        k.vfs.notifier.event(k, path, IN_MODIFY)
    return 0
