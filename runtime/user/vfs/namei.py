"""The kernel functions that make, remove and move names: fs/namei.c, from a path in guest memory to the tree."""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING, Final

from pyprobe.runtime.user.capabilities import CAP_MKNOD
from pyprobe.runtime.user.errors import Errno
from pyprobe.runtime.user.functions import kernel_function
from pyprobe.runtime.user.vfs import names
from pyprobe.runtime.user.vfs.abi import (
    AT_EMPTY_PATH,
    AT_SYMLINK_FOLLOW,
    PATH_MAX,
    RENAME_EXCHANGE,
    RENAME_NOREPLACE,
    RENAME_WHITEOUT,
    S_IFBLK,
    S_IFCHR,
    S_IFDIR,
    S_IFIFO,
    S_IFMT,
    S_IFREG,
    S_IFSOCK,
)
from pyprobe.runtime.user.vfs.inode import Dentry, Inode

if TYPE_CHECKING:
    from pyprobe.runtime.user.kernel import Kernel
    from pyprobe.runtime.user.task import Task


class MountIdmap:
    """Stands for the mount's id mapping (struct mnt_idmap), which maps nothing."""


NOP_MNT_IDMAP: Final = MountIdmap()


def _current(k: Kernel) -> Task:
    task = k.current
    assert task is not None
    return task


@kernel_function("int do_mkdirat(int dfd, struct filename *name, umode_t mode)")
def do_mkdirat(k: Kernel, dfd: int, name: bytes, mode: int) -> int:
    """mkdirat(2)."""
    t = _current(k)
    dentry = names.new_name(k, t, k.vfs.walk(k, t, dfd, name).place(name))
    k.vfs_mkdir(NOP_MNT_IDMAP, dentry.parent.inode, dentry, mode & ~t.process.fs.umask)
    return 0


@kernel_function("int vfs_mkdir(struct mnt_idmap *idmap, struct inode *dir, struct dentry *dentry, umode_t mode)")
def vfs_mkdir(k: Kernel, idmap: MountIdmap, dir: Inode, dentry: Dentry, mode: int) -> int:
    """Make a directory."""
    names.mkdir(k, _current(k), dentry, mode)
    return 0


@kernel_function("long do_rmdir(int dfd, struct filename *name)")
def do_rmdir(k: Kernel, dfd: int, name: bytes) -> int:
    """rmdir(2)."""
    t = _current(k)
    place = k.vfs.walk(k, t, dfd, name).place(name)
    if not place.is_entry:
        raise Errno({b"": errno.EBUSY, b".": errno.EINVAL, b"..": errno.ENOTEMPTY}[place.name])
    dentry = place.parent.child(k, t, place.name)
    dentry.require()
    k.vfs_rmdir(NOP_MNT_IDMAP, place.parent.inode, dentry)
    return 0


@kernel_function("int vfs_rmdir(struct mnt_idmap *idmap, struct inode *dir, struct dentry *dentry)")
def vfs_rmdir(k: Kernel, idmap: MountIdmap, dir: Inode, dentry: Dentry) -> int:
    """Remove an empty directory."""
    names.rmdir(k, _current(k), dentry)
    return 0


@kernel_function("long do_unlinkat(int dfd, struct filename *name)")
def do_unlinkat(k: Kernel, dfd: int, name: bytes) -> int:
    """unlinkat(2) without AT_REMOVEDIR."""
    t = _current(k)
    place = k.vfs.walk(k, t, dfd, name).place(name)
    if not place.is_entry:
        raise Errno(errno.EISDIR)
    dentry = place.parent.child(k, t, place.name)
    inode = dentry.require()
    if place.slash:
        raise Errno(errno.EISDIR if inode.is_directory else errno.ENOTDIR)
    k.vfs_unlink(NOP_MNT_IDMAP, place.parent.inode, dentry, None)
    return 0


@kernel_function("int vfs_unlink(struct mnt_idmap *idmap, struct inode *dir, struct dentry *dentry, struct inode **delegated_inode)")
def vfs_unlink(k: Kernel, idmap: MountIdmap, dir: Inode, dentry: Dentry, delegated_inode: None) -> int:
    """Remove a name."""
    names.unlink(k, _current(k), dentry)
    return 0


@kernel_function("int do_symlinkat(struct filename *from, int newdfd, struct filename *to)")
def do_symlinkat(k: Kernel, old: bytes, newdfd: int, to: bytes) -> int:
    """symlinkat(2)."""
    t = _current(k)
    if not old:
        raise Errno(errno.ENOENT)
    if len(old) >= PATH_MAX:
        raise Errno(errno.ENAMETOOLONG)
    place = k.vfs.walk(k, t, newdfd, to).place(to)
    dentry = names.new_name(k, t, place)
    if place.slash:
        raise Errno(errno.ENOENT)
    k.vfs_symlink(NOP_MNT_IDMAP, place.parent.inode, dentry, old)
    return 0


@kernel_function("int vfs_symlink(struct mnt_idmap *idmap, struct inode *dir, struct dentry *dentry, const char *oldname)")
def vfs_symlink(k: Kernel, idmap: MountIdmap, dir: Inode, dentry: Dentry, oldname: bytes) -> int:
    """Make a symbolic link."""
    names.symlink(k, _current(k), dentry, oldname)
    return 0


@kernel_function("int do_linkat(int olddfd, struct filename *old, int newdfd, struct filename *new, int flags)")
def do_linkat(k: Kernel, olddfd: int, old: bytes, newdfd: int, new: bytes, flags: int) -> int:
    """linkat(2)."""
    t = _current(k)
    if flags & ~(AT_SYMLINK_FOLLOW | AT_EMPTY_PATH):
        raise Errno(errno.EINVAL)
    if not old and flags & AT_EMPTY_PATH:
        source = k.vfs.start(t, olddfd, old)
    else:
        source = k.vfs.walk(k, t, olddfd, old).find(old, follow=bool(flags & AT_SYMLINK_FOLLOW))
    place = k.vfs.walk(k, t, newdfd, new).place(new)
    dentry = names.new_name(k, t, place)
    if place.slash:
        raise Errno(errno.ENOENT)
    k.vfs_link(source, NOP_MNT_IDMAP, place.parent.inode, dentry, None)
    return 0


@kernel_function(
    "int vfs_link(struct dentry *old_dentry, struct mnt_idmap *idmap, struct inode *dir, struct dentry *new_dentry, "
    "struct inode **delegated_inode)"
)
def vfs_link(k: Kernel, old_dentry: Dentry, idmap: MountIdmap, dir: Inode, new_dentry: Dentry, delegated_inode: None) -> int:
    """Give a file another name."""
    names.link(k, _current(k), old_dentry, new_dentry)
    return 0


@kernel_function("int do_mknodat(int dfd, struct filename *name, umode_t mode, unsigned int dev)")
def do_mknodat(k: Kernel, dfd: int, name: bytes, mode: int, dev: int) -> int:
    """mknodat(2)."""
    t = _current(k)
    kind = mode & S_IFMT
    if kind == S_IFDIR:
        raise Errno(errno.EPERM)
    if kind not in (0, S_IFREG, S_IFCHR, S_IFBLK, S_IFIFO, S_IFSOCK):
        raise Errno(errno.EINVAL)
    if kind in (S_IFCHR, S_IFBLK) and not t.cred.capable(CAP_MKNOD):
        raise Errno(errno.EPERM)
    place = k.vfs.walk(k, t, dfd, name).place(name)
    dentry = names.new_name(k, t, place)
    if place.slash:
        raise Errno(errno.ENOENT)
    mode = kind | mode & 0o7777 & ~t.process.fs.umask
    if kind in (0, S_IFREG):
        k.vfs_create(NOP_MNT_IDMAP, place.parent.inode, dentry, mode, 1)
    else:
        k.vfs_mknod(NOP_MNT_IDMAP, place.parent.inode, dentry, mode, dev)
    return 0


@kernel_function("int vfs_create(struct mnt_idmap *idmap, struct inode *dir, struct dentry *dentry, umode_t mode, bool want_excl)")
def vfs_create(k: Kernel, idmap: MountIdmap, dir: Inode, dentry: Dentry, mode: int, want_excl: int) -> int:
    """Make a regular file (mknod; open makes its own)."""
    names.create(k, _current(k), dentry, mode)
    return 0


@kernel_function("int vfs_mknod(struct mnt_idmap *idmap, struct inode *dir, struct dentry *dentry, umode_t mode, dev_t dev)")
def vfs_mknod(k: Kernel, idmap: MountIdmap, dir: Inode, dentry: Dentry, mode: int, dev: int) -> int:
    """Make a FIFO, socket or device node."""
    names.mknod(k, _current(k), dentry, mode, dev)
    return 0


class RenameData:
    """struct renamedata: what vfs_rename works on."""

    __slots__ = ("flags", "new_dentry", "old_dentry")

    def __init__(self, old_dentry: Dentry, new_dentry: Dentry, flags: int) -> None:
        self.old_dentry = old_dentry
        self.new_dentry = new_dentry
        self.flags = flags


@kernel_function("int do_renameat2(int olddfd, struct filename *from, int newdfd, struct filename *to, unsigned int flags)")
def do_renameat2(k: Kernel, olddfd: int, old: bytes, newdfd: int, new: bytes, flags: int) -> int:
    """renameat2(2)."""
    t = _current(k)
    if flags & ~(RENAME_NOREPLACE | RENAME_EXCHANGE | RENAME_WHITEOUT) or (
        flags & RENAME_EXCHANGE and flags & (RENAME_NOREPLACE | RENAME_WHITEOUT)
    ):
        raise Errno(errno.EINVAL)
    source = k.vfs.walk(k, t, olddfd, old).place(old)
    target = k.vfs.walk(k, t, newdfd, new).place(new)
    if source.parent.require().fs is not target.parent.require().fs:
        raise Errno(errno.EXDEV)
    if not source.is_entry:
        raise Errno(errno.EBUSY)
    if not target.is_entry:
        raise Errno(errno.EEXIST if flags & RENAME_NOREPLACE else errno.EBUSY)
    old_dentry = source.parent.child(k, t, source.name)
    inode = old_dentry.require()
    new_dentry = target.parent.child(k, t, target.name)
    if flags & RENAME_NOREPLACE and new_dentry.inode is not None:
        raise Errno(errno.EEXIST)
    if flags & RENAME_EXCHANGE:
        if new_dentry.require().is_directory is False and target.slash:
            raise Errno(errno.ENOTDIR)
    elif not inode.is_directory and target.slash:
        raise Errno(errno.ENOTDIR)
    if not inode.is_directory and source.slash:
        raise Errno(errno.ENOTDIR)
    k.vfs_rename(RenameData(old_dentry, new_dentry, flags))
    return 0


@kernel_function("int vfs_rename(struct renamedata *rd)")
def vfs_rename(k: Kernel, rd: RenameData) -> int:
    """Move a name."""
    names.rename(k, _current(k), rd.old_dentry, rd.new_dentry, rd.flags)
    return 0
