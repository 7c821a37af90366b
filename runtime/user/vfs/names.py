"""Making, removing and moving names: the work behind mkdir, link, symlink, mknod, unlink, rmdir and rename.

Each function is what the vfs_* function of fs/namei.c of that name does, checks in the same order.
"""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING

from pyprobe.runtime.user.errors import Errno
from pyprobe.runtime.user.vfs.abi import RENAME_EXCHANGE, RENAME_NOREPLACE, RENAME_WHITEOUT, S_IFREG, S_ISGID, W_OK, X_OK
from pyprobe.runtime.user.vfs.content import MemoryContent
from pyprobe.runtime.user.vfs.inode import Dentry, Inode
from pyprobe.runtime.user.vfs.inotify import IN_CREATE
from pyprobe.runtime.user.vfs.permission import check, check_delete
from pyprobe.runtime.user.vfs.tree import Directory, Regular, Special, Symlink, TreeFileSystem
from pyprobe.runtime.user.vfs.walk import Place

if TYPE_CHECKING:
    from pyprobe.runtime.user.kernel import Kernel
    from pyprobe.runtime.user.task import Task

MAX_LINKS = 65000
NAME_COST = 1024  # bytes that a made name and its inode take of the room for files


def new_name(k: Kernel, t: Task, place: Place) -> Dentry:
    """The negative dentry under which something new is to stand (filename_create).

    Raises:
        Errno: EEXIST, ENOENT (a trailing slash where no directory is made is the caller's matter), EACCES, EROFS.
    """
    if not place.is_entry:
        raise Errno(errno.EEXIST)
    dentry = place.parent.child(k, t, place.name)
    if dentry.inode is not None:
        raise Errno(errno.EEXIST)
    return dentry


def _prepare(k: Kernel, t: Task, dentry: Dentry) -> tuple[TreeFileSystem, Inode]:
    """Check that the directory of a negative dentry takes a new entry; its file system and inode."""
    parent = dentry.parent.require()
    if dentry.parent.removed:
        raise Errno(errno.ENOENT)
    check(t, parent, W_OK | X_OK)
    parent.fs.check_writable()
    assert isinstance(parent.fs, TreeFileSystem)
    return parent.fs, parent


def _owned(t: Task, inode: Inode, parent: Inode) -> None:
    inode.uid, inode.gid = t.cred.fsuid, t.cred.fsgid
    if parent.mode & S_ISGID:  # inode_init_owner
        inode.gid = parent.gid
        if inode.is_directory:
            inode.mode |= S_ISGID


def attach(k: Kernel, dentry: Dentry, inode: Inode) -> None:
    """Let a negative dentry lead to `inode`, and keep it."""
    if isinstance(inode.fs, TreeFileSystem):
        inode.fs.disk.charge(NAME_COST)
        dentry.charged = True
    dentry.inode = inode
    dentry.removed = False
    dentry.parent.children[dentry.name] = dentry
    parent = dentry.parent.require()
    parent.touch(k.clock.wall())
    if inode.is_directory:
        parent.nlink += 1
    if k.vfs.notifier.any:
        k.vfs.notifier.entry(k, dentry, inode, IN_CREATE)


def create(k: Kernel, t: Task, dentry: Dentry, mode: int) -> Inode:
    """A new regular file (vfs_create); `mode` is used as it is."""
    fs, parent = _prepare(k, t, dentry)
    inode = anonymous(k, fs, mode)
    inode.nlink = 1
    _owned(t, inode, parent)
    attach(k, dentry, inode)
    return inode


def anonymous(k: Kernel, fs: TreeFileSystem, mode: int) -> Regular:
    """A new regular file without a name (O_TMPFILE, memfd)."""
    inode = Regular(fs, fs.number(), S_IFREG | mode & 0o7777, k.clock.wall(), MemoryContent(fs.disk))
    inode.nlink = 0
    return inode


def mkdir(k: Kernel, t: Task, dentry: Dentry, mode: int) -> Inode:
    """A new directory (vfs_mkdir)."""
    fs, parent = _prepare(k, t, dentry)
    inode = Directory(fs, fs.number(), mode & 0o1777, k.clock.wall())
    _owned(t, inode, parent)
    attach(k, dentry, inode)
    dentry.children.clear()
    return inode


def symlink(k: Kernel, t: Task, dentry: Dentry, target: bytes) -> Inode:
    """A new symbolic link (vfs_symlink)."""
    fs, parent = _prepare(k, t, dentry)
    inode = Symlink(fs, fs.number(), target, k.clock.wall())
    _owned(t, inode, parent)
    attach(k, dentry, inode)
    return inode


def mknod(k: Kernel, t: Task, dentry: Dentry, mode: int, rdev: int = 0) -> Inode:
    """A new FIFO, socket or device node (vfs_mknod)."""
    fs, parent = _prepare(k, t, dentry)
    inode = Special(fs, fs.number(), mode, k.clock.wall(), rdev=rdev)
    _owned(t, inode, parent)
    attach(k, dentry, inode)
    return inode


def link(k: Kernel, t: Task, old: Dentry, dentry: Dentry) -> None:
    """Another name for a file (vfs_link)."""
    inode = old.require()
    fs, _ = _prepare(k, t, dentry)
    if inode.fs is not fs:
        raise Errno(errno.EXDEV)
    if inode.is_directory:
        raise Errno(errno.EPERM)
    if inode.nlink == 0 and not old.linkable:
        raise Errno(errno.ENOENT)
    if inode.nlink >= MAX_LINKS:
        raise Errno(errno.EMLINK)
    attach(k, dentry, inode)
    inode.nlink += 1
    inode.ctime = k.clock.wall()
    if k.vfs.notifier.any:
        k.vfs.notifier.links(k, inode)


def _forget(k: Kernel, dentry: Dentry, inode: Inode, *, replaced: bool = False) -> None:
    """Take one name away from `inode`, which `dentry` led to; open files that came through it keep a removed dentry."""
    now = k.clock.wall()
    inode.nlink -= 1
    inode.ctime = now
    if inode.is_directory:
        inode.nlink = 0
        dentry.parent.require().nlink -= 1
    if inode.nlink == 0 and inode.users == 0:
        inode.unused()
    dentry.removed = True
    dentry.parent.require().touch(now)
    if dentry.charged and isinstance(inode.fs, TreeFileSystem):
        inode.fs.disk.charge(-NAME_COST)
        dentry.charged = False
    white_out(dentry.parent, dentry.name)
    if k.vfs.notifier.any and not replaced:
        k.vfs.notifier.unlinked(k, dentry, inode, replaced=False)


def white_out(directory: Dentry, name: bytes) -> Dentry:
    """Let a name lead nowhere; that is kept only where the host has the name, or else would show again."""
    gone = Dentry(directory, name, None)
    inode = directory.require()
    if isinstance(inode, Directory) and inode.shows(name):
        directory.children[name] = gone
    else:
        directory.children.pop(name, None)
    return gone


def unlink(k: Kernel, t: Task, dentry: Dentry) -> None:
    """Remove a name of anything but a directory (vfs_unlink)."""
    inode, parent = dentry.require(), dentry.parent.require()
    check_delete(t, parent, inode)
    if inode.is_directory:
        raise Errno(errno.EISDIR)
    parent.fs.check_writable()
    if dentry.mounted:
        raise Errno(errno.EBUSY)
    _forget(k, dentry, inode)


def is_empty(k: Kernel, t: Task, dentry: Dentry) -> bool:
    """Whether a directory has no entries."""
    if any(child.inode is not None for child in dentry.children.values()):
        return False
    return all(name in dentry.children for name, _, _ in dentry.require().entries(k, t))


def rmdir(k: Kernel, t: Task, dentry: Dentry) -> None:
    """Remove an empty directory (vfs_rmdir)."""
    inode, parent = dentry.require(), dentry.parent.require()
    check_delete(t, parent, inode)
    if not inode.is_directory:
        raise Errno(errno.ENOTDIR)
    parent.fs.check_writable()
    if dentry.mounted or dentry is t.process.fs.root:
        raise Errno(errno.EBUSY)
    if not is_empty(k, t, dentry):
        raise Errno(errno.ENOTEMPTY)
    _forget(k, dentry, inode)


def rename(k: Kernel, t: Task, old: Dentry, new: Dentry, flags: int) -> None:
    """Move `old` to the name of `new` (vfs_rename), replacing or exchanging what is there.

    Raises:
        Errno: EXDEV, EINVAL (a directory into itself), EEXIST, EISDIR, ENOTDIR, ENOTEMPTY, EBUSY, ENOENT.
    """
    source = old.require()
    old_parent, new_parent = old.parent.require(), new.parent.require()
    if old_parent.fs is not new_parent.fs:
        raise Errno(errno.EXDEV)
    target = new.inode
    if flags & RENAME_NOREPLACE and target is not None:
        raise Errno(errno.EEXIST)
    if flags & RENAME_EXCHANGE and target is None:
        raise Errno(errno.ENOENT)
    if new.parent.is_within(old):
        raise Errno(errno.EINVAL)
    if old.parent.is_within(new):
        raise Errno(errno.EINVAL if flags & RENAME_EXCHANGE else errno.ENOTEMPTY)
    if source is target:
        return
    check_delete(t, old_parent, source)
    if target is None:
        _prepare(k, t, new)
    else:
        check_delete(t, new_parent, target)
        new_parent.fs.check_writable()
        if old.mounted or new.mounted:
            raise Errno(errno.EBUSY)
        if not flags & RENAME_EXCHANGE:
            if target.is_directory and not source.is_directory:
                raise Errno(errno.EISDIR)
            if source.is_directory and not target.is_directory:
                raise Errno(errno.ENOTDIR)
            if target.is_directory and not is_empty(k, t, new):
                raise Errno(errno.ENOTEMPTY)
    if old.mounted:
        raise Errno(errno.EBUSY)
    if flags & RENAME_EXCHANGE:
        _exchange(k, old, new)
        return
    if target is not None:
        _forget(k, new, target, replaced=True)
    at, name = old.parent, old.name
    _place_at(k, old, new.parent, new.name)
    if k.vfs.notifier.any:
        k.vfs.notifier.moved(k, old, (at, name))
        if target is not None:
            k.vfs.notifier.unlinked(k, new, target, replaced=True)
    gone = white_out(at, name)
    if flags & RENAME_WHITEOUT:
        mknod(k, t, gone, 0o020000)


def _place_at(k: Kernel, dentry: Dentry, parent: Dentry, name: bytes) -> None:
    """Give a dentry its new place; link counts of the directories follow."""
    now = k.clock.wall()
    inode = dentry.require()
    dentry.parent.require().touch(now)
    if inode.is_directory:
        dentry.parent.require().nlink -= 1
        parent.require().nlink += 1
    dentry.parent, dentry.name = parent, name
    parent.children[name] = dentry
    parent.require().touch(now)
    inode.ctime = now


def _exchange(k: Kernel, one: Dentry, other: Dentry) -> None:
    place, other_place = (one.parent, one.name), (other.parent, other.name)
    _place_at(k, one, *other_place)
    _place_at(k, other, *place)
    if k.vfs.notifier.any:
        k.vfs.notifier.moved(k, one, place)
        k.vfs.notifier.moved(k, other, other_place)
