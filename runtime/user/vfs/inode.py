"""Inodes and dentries: the files themselves, and the names that lead to them.

An `Inode` is one file of any kind, with the attributes of stat(2); its methods are what the file system behind it can
do. A `Dentry` is one name in one directory. As in Linux's ramfs the dentries of changed directories are the only place
where their entries are kept: a dentry without inode says that there is no such name, whatever the host has (a
whiteout). See Documentation/filesystems/vfs.rst.
"""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING

from pyprobe.runtime.user.errors import Errno
from pyprobe.runtime.user.vfs.abi import NAME_MAX, S_IFDIR, S_IFLNK, S_IFMT, S_IFREG
from pyprobe.runtime.user.vfs.stat import Stat, StatFs

if TYPE_CHECKING:
    from pyprobe.runtime.user.kernel import Kernel
    from pyprobe.runtime.user.task import Task
    from pyprobe.runtime.user.vfs.openfile import OpenFile

#: One directory entry as readdir sees it: name, d_type, inode number.
Entry = tuple[bytes, int, int]


class FileSystem:
    """One mounted file system: its device number and what statfs(2) tells.

    Args:
        name: type as in /proc/filesystems.
        dev: device number.
        magic: f_type.
        writable: False: every change of names or attributes fails with `refusal`.
        used: inode numbers that were given out before.
    """

    def __init__(self, name: str, dev: int, magic: int, *, writable: bool = False, refusal: int = errno.EPERM, used: int = 0) -> None:
        self.name = name
        self.dev = dev
        self.magic = magic
        self.writable = writable
        self.refusal = refusal
        self._last = used

    def number(self) -> int:
        """A new inode number, in the order of creation."""
        self._last += 1
        return self._last

    def statfs(self) -> StatFs:
        """Sizes and limits."""
        return StatFs(self.magic, 0, 0, 0, 0, self.dev)

    def check_writable(self) -> None:
        """Raises Errno when nothing can be changed here."""
        if not self.writable:
            raise Errno(self.refusal)


class Inode:
    """One file. Times are nanoseconds since 1970; `users` counts the open files that hold it."""

    __slots__ = ("__weakref__", "atime", "btime", "ctime", "fs", "gid", "ino", "mode", "mtime", "nlink", "rdev", "uid", "users")

    #: Entries are made anew at each look (procfs): no dentry is kept.
    volatile = False

    def __init__(self, fs: FileSystem, ino: int, mode: int, now: int, *, uid: int = 0, gid: int = 0, nlink: int = 1, rdev: int = 0) -> None:
        self.fs = fs
        self.ino = ino
        self.mode = mode
        self.uid = uid
        self.gid = gid
        self.nlink = nlink
        self.rdev = rdev
        self.atime = self.mtime = self.ctime = self.btime = now
        self.users = 0

    @property
    def kind(self) -> int:
        """The type bits of the mode."""
        return self.mode & S_IFMT

    @property
    def is_directory(self) -> bool:
        return self.mode & S_IFMT == S_IFDIR

    @property
    def is_symlink(self) -> bool:
        return self.mode & S_IFMT == S_IFLNK

    @property
    def is_regular(self) -> bool:
        return self.mode & S_IFMT == S_IFREG

    def size(self) -> int:
        """st_size."""
        return 0

    def blocks(self) -> int:
        """st_blocks: units of 512 bytes."""
        return (self.size() + 4095) // 4096 * 8

    def stat(self) -> Stat:
        """All that stat(2) tells."""
        return Stat(
            self.fs.dev,
            self.ino,
            self.mode,
            self.nlink,
            self.uid,
            self.gid,
            self.rdev,
            self.size(),
            self.blocks(),
            self.atime,
            self.mtime,
            self.ctime,
            self.btime,
        )

    def touch(self, now: int) -> None:
        """The content changed."""
        self.mtime = self.ctime = now

    def lookup(self, k: Kernel, t: Task, name: bytes) -> Inode | None:
        """The file behind an entry that no dentry knows; None when there is none.

        Raises:
            Errno: ENOTDIR, or the file system refuses the look.
        """
        raise Errno(errno.ENOTDIR)

    def entries(self, k: Kernel, t: Task) -> list[Entry]:
        """Entries that need no dentry, in any order, without `.` and `..`."""
        raise Errno(errno.ENOTDIR)

    def readlink(self, k: Kernel, t: Task) -> bytes:
        """Text of a symbolic link."""
        raise Errno(errno.EINVAL)

    def jump(self, k: Kernel, t: Task) -> Dentry | None:
        """Where a magic link of procfs leads, whatever its text says; None for ordinary links."""
        return None

    def open(self, k: Kernel, t: Task, dentry: Dentry, flags: int) -> OpenFile:
        """A new open file of the right kind; the work of opening is its `on_open`.

        Raises:
            Errno: ENXIO when nothing stands behind the file.
        """
        raise Errno(errno.ENXIO)

    def truncate(self, k: Kernel, size: int) -> None:
        """Set the size of the content."""
        raise Errno(errno.EISDIR if self.is_directory else errno.EINVAL)

    def unused(self) -> None:
        """No open file holds the inode any more."""


class Dentry:
    """One name in a directory; `inode` None: it leads nowhere. Only whiteouts are kept without an inode."""

    __slots__ = ("__weakref__", "charged", "children", "inode", "linkable", "mounted", "name", "parent", "removed")

    def __init__(self, parent: Dentry | None, name: bytes, inode: Inode | None) -> None:
        self.parent = self if parent is None else parent
        self.name = name
        self.inode = inode
        self.children: dict[bytes, Dentry] = {}
        self.mounted = False
        self.removed = False
        self.linkable = False  # has no name (O_TMPFILE), but may get one
        self.charged = False  # made by the guest: it counts against the room for files

    def require(self) -> Inode:
        """The inode.

        Raises:
            Errno: ENOENT.
        """
        if self.inode is None:
            raise Errno(errno.ENOENT)
        return self.inode

    def child(self, k: Kernel, t: Task, name: bytes) -> Dentry:
        """The dentry of an entry, possibly a negative one.

        Raises:
            Errno: ENOTDIR, ENAMETOOLONG, or the file system refuses the look.
        """
        known = self.children.get(name)
        if known is not None:
            return known
        inode = self.require()
        if len(name) > NAME_MAX:
            raise Errno(errno.ENAMETOOLONG)
        found = Dentry(self, name, inode.lookup(k, t, name))
        if found.inode is not None and not inode.volatile:
            self.children[name] = found
        return found

    def path(self, root: Dentry | None = None) -> bytes:
        """Path from `root` (the top by default), as d_path gives it; files without a place in the tree have a name only."""
        if self.parent is self and self.name != b"/":
            return self.name
        names: list[bytes] = []
        at = self
        while at is not root and at.parent is not at:
            names.append(at.name)
            at = at.parent
        return b"/" + b"/".join(reversed(names)) + (b" (deleted)" if self.removed else b"")

    def is_within(self, other: Dentry) -> bool:
        """Whether `other` is this dentry or one above it."""
        at = self
        while at is not other:
            if at.parent is at:
                return False
            at = at.parent
        return True


