"""The kernel functions that tell about files: fs/stat.c, fs/readdir.c, and access checks of fs/open.c."""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING

from pyprobe.runtime.user.errors import Errno
from pyprobe.runtime.user.functions import kernel_function
from pyprobe.runtime.user.vfs.abi import (
    AT_EACCESS,
    AT_EMPTY_PATH,
    AT_FDCWD,
    AT_NO_AUTOMOUNT,
    AT_STATX_SYNC_TYPE,
    AT_SYMLINK_NOFOLLOW,
)
from pyprobe.runtime.user.vfs.inode import Dentry
from pyprobe.runtime.user.vfs.inotify import IN_ACCESS
from pyprobe.runtime.user.vfs.openfile import OpenFile
from pyprobe.runtime.user.vfs.permission import permitted
from pyprobe.runtime.user.vfs.stat import Stat
from pyprobe.runtime.user.words import s32

if TYPE_CHECKING:
    from pyprobe.runtime.user.kernel import Kernel


class KStat:
    """struct kstat: where an answer is put."""

    __slots__ = ("value",)

    def __init__(self) -> None:
        self.value: Stat | None = None

    def result(self) -> Stat:
        """The answer."""
        assert self.value is not None
        return self.value


class DirContext:
    """struct dir_context: what iterate_dir fills; `room` in bytes."""

    __slots__ = ("data", "room")

    def __init__(self, room: int) -> None:
        self.room = room
        self.data = b""


@kernel_function("int vfs_getattr(const struct path *path, struct kstat *stat, u32 request_mask, unsigned int query_flags)")
def vfs_getattr(k: Kernel, path: Dentry | OpenFile, stat: KStat, request_mask: int, query_flags: int) -> int:
    """Attributes of a file, by a resolved path or an open file."""
    stat.value = path.stat() if isinstance(path, OpenFile) else path.require().stat()
    return 0


@kernel_function("int vfs_fstat(int fd, struct kstat *stat)")
def vfs_fstat(k: Kernel, fd: int, stat: KStat) -> int:
    """fstat(2)."""
    t = k.current
    assert t is not None
    k.vfs_getattr(t.process.files.get(fd), stat, 0x7FF, 0)
    return 0


@kernel_function("int vfs_fstatat(int dfd, const char *filename, struct kstat *stat, int flags)")
def vfs_fstatat(k: Kernel, dfd: int, filename: int, stat: KStat, flags: int) -> int:
    """newfstatat(2), stat(2) and lstat(2); `filename` is in guest memory."""
    t = k.current
    assert t is not None
    path = t.space.cstring(filename)
    k.vfs_statx(dfd, path, flags | AT_NO_AUTOMOUNT, stat, 0x7FF)
    return 0


@kernel_function("int vfs_statx(int dfd, struct filename *filename, int flags, struct kstat *stat, u32 request_mask)")
def vfs_statx(k: Kernel, dfd: int, filename: bytes, flags: int, stat: KStat, request_mask: int) -> int:
    """Attributes of the file that a path names.

    Raises:
        Errno: EINVAL for unknown flags; as path_resolution(7).
    """
    t = k.current
    assert t is not None
    if flags & ~(AT_SYMLINK_NOFOLLOW | AT_NO_AUTOMOUNT | AT_EMPTY_PATH | AT_STATX_SYNC_TYPE):
        raise Errno(errno.EINVAL)
    if not filename and flags & AT_EMPTY_PATH:
        target = t.process.fs.cwd if s32(dfd) == AT_FDCWD else t.process.files.get(dfd)
    elif not filename:
        raise Errno(errno.ENOENT)
    else:
        target = k.vfs.walk(k, t, dfd, filename).find(filename, follow=not flags & AT_SYMLINK_NOFOLLOW)
    k.vfs_getattr(target, stat, request_mask, flags)
    return 0


@kernel_function("int iterate_dir(struct file *file, struct dir_context *ctx)")
def iterate_dir(k: Kernel, file: OpenFile, ctx: DirContext) -> int:
    """The next entries of an open directory."""
    assert k.current is not None
    ctx.data = file.getdents(k, k.current, ctx.room)
    if k.vfs.notifier.any:
        k.vfs.notifier.event(k, file.dentry, IN_ACCESS)
    return 0


@kernel_function("long do_faccessat(int dfd, struct filename *filename, int mode, int flags)")
def do_faccessat(k: Kernel, dfd: int, filename: bytes, mode: int, flags: int) -> int:
    """access(2) and its relatives: with the real ids unless AT_EACCESS is given.

    Raises:
        Errno: EACCES, EINVAL; as path_resolution(7).
    """
    t = k.current
    assert t is not None
    if mode & ~7 or flags & ~(AT_EACCESS | AT_SYMLINK_NOFOLLOW | AT_EMPTY_PATH):
        raise Errno(errno.EINVAL)
    if not filename and flags & AT_EMPTY_PATH:
        dentry = k.vfs.start(t, dfd, filename)
    else:
        dentry = k.vfs.walk(k, t, dfd, filename).find(filename, follow=not flags & AT_SYMLINK_NOFOLLOW)
    who = t.cred
    if not flags & AT_EACCESS and (who.uid != who.fsuid or who.gid != who.fsgid or who.cap_effective != who.cap_permitted):
        who = who.copy()  # access_override_creds
        who.fsuid, who.fsgid = who.uid, who.gid
        who.cap_effective = 0 if who.uid else who.cap_permitted
    if mode and not permitted(who, dentry.require(), mode):
        raise Errno(errno.EACCES)
    return 0


@kernel_function("int do_readlinkat(int dfd, struct filename *name, char *buf, int bufsiz)")
def do_readlinkat(k: Kernel, dfd: int, name: bytes, buf: int, bufsiz: int) -> int:
    """readlinkat(2): an empty path reads the link that `dfd` was opened on."""
    t = k.current
    assert t is not None
    if s32(bufsiz) <= 0:
        raise Errno(errno.EINVAL)
    dentry = k.vfs.walk(k, t, dfd, name).find(name, follow=False) if name else k.vfs.start(t, dfd, name)
    inode = dentry.require()
    if not inode.is_symlink:
        raise Errno(errno.EINVAL if name else errno.ENOENT)
    text = inode.readlink(k, t)[: s32(bufsiz)]
    t.space.write(buf, text)
    return len(text)
