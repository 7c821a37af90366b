"""Directories and files that are made up when they are looked at: the parts procfs and sysfs consist of."""

from __future__ import annotations

import errno
from collections.abc import Callable
from typing import TYPE_CHECKING
from zlib import crc32

from pyprobe.runtime.user.errors import Errno
from pyprobe.runtime.user.vfs.abi import S_IFDIR, S_IFLNK, S_IFMT, S_IFREG
from pyprobe.runtime.user.vfs.inode import Dentry, Entry, FileSystem, Inode
from pyprobe.runtime.user.vfs.openfile import DirectoryFile, OpenFile, Position, generic_seek
from pyprobe.runtime.user.vfs.views import Views

if TYPE_CHECKING:
    from pyprobe.runtime.user.kernel import Kernel
    from pyprobe.runtime.user.task import Task

Maker = Callable[["Kernel", "Task"], bytes]
Taker = Callable[["Kernel", "Task", bytes], None]


def proc_number(*parts: object) -> int:
    """A stable inode number for a path in /proc, apart from those of fixed files."""
    return 1 << 32 | crc32("/".join(map(str, parts)).encode())


class SyntheticDirectory(Inode):
    """A directory whose entries come from `make` and `names`."""

    __slots__ = ()

    volatile = True

    def __init__(self, fs: FileSystem, mode: int, now: int, ino: int | None = None) -> None:
        super().__init__(fs, fs.number() if ino is None else ino, S_IFDIR | mode, now, nlink=2)

    def blocks(self) -> int:
        return 0

    def open(self, k: Kernel, t: Task, dentry: Dentry, flags: int) -> OpenFile:
        return DirectoryFile(dentry, flags)


class Table(SyntheticDirectory):
    """A directory with fixed entries."""

    __slots__ = ("children",)

    volatile = False

    def __init__(self, fs: FileSystem, mode: int, now: int, ino: int | None = None) -> None:
        super().__init__(fs, mode, now, ino)
        self.children: dict[bytes, Inode] = {}

    def lookup(self, k: Kernel, t: Task, name: bytes) -> Inode | None:
        return self.children.get(name)

    def entries(self, k: Kernel, t: Task) -> list[Entry]:
        return [(name, (inode.mode & S_IFMT) >> 12, inode.ino) for name, inode in self.children.items()]


class TextFile(Inode):
    """A file whose content is made when it is opened and handed out from there.

    Args:
        make: the content.
        take: what a write does; None: it cannot be written.
    """

    __slots__ = ("make", "take")

    def __init__(self, fs: FileSystem, mode: int, now: int, make: Maker, take: Taker | None = None, ino: int | None = None) -> None:
        super().__init__(fs, fs.number() if ino is None else ino, S_IFREG | mode, now)
        self.make = make
        self.take = take

    def blocks(self) -> int:
        return 0

    def open(self, k: Kernel, t: Task, dentry: Dentry, flags: int) -> OpenFile:
        return SyntheticFile(dentry, flags, self.make(k, t))

    def truncate(self, k: Kernel, size: int) -> None:
        """Opening with O_TRUNC is how shells write to such files; there is nothing to cut."""


class SyntheticFile(OpenFile):
    """An open `TextFile`; read from the start it is made anew, as seq_file does."""

    seekable = True
    pollable = False

    inode: TextFile

    def __init__(self, dentry: Dentry, flags: int, text: bytes) -> None:
        super().__init__(dentry, flags)
        self._text = text
        self._fresh = True

    def read(self, k: Kernel, t: Task, views: Views, position: Position) -> int:
        if position.value == 0 and not self._fresh:
            self._text = self.inode.make(k, t)
        self._fresh = False
        done = 0
        for view in views:
            piece = self._text[position.value + done : position.value + done + len(view)]
            view[: len(piece)] = piece
            done += len(piece)
        position.value += done
        return done

    def write(self, k: Kernel, t: Task, views: Views, position: Position) -> int:
        if self.inode.take is None:
            raise Errno(errno.EIO)
        data = b"".join(views)
        self.inode.take(k, t, data)
        return len(data)

    def seek(self, k: Kernel, t: Task, offset: int, whence: int) -> int:
        return generic_seek(self.position, offset, whence, len(self._text))


class SyntheticLink(Inode):
    """A link whose text is made when it is read, and that may lead where no path does (magic links).

    Args:
        make: the text.
        target: where it leads; None: the text is resolved as a path.
    """

    __slots__ = ("make", "target")

    def __init__(
        self,
        fs: FileSystem,
        now: int,
        make: Maker,
        target: Callable[[Kernel, Task], Dentry | None] | None = None,
        ino: int | None = None,
        mode: int = 0o777,
    ) -> None:
        super().__init__(fs, fs.number() if ino is None else ino, S_IFLNK | mode, now)
        self.make = make
        self.target = target

    def blocks(self) -> int:
        return 0

    def readlink(self, k: Kernel, t: Task) -> bytes:
        return self.make(k, t)

    def jump(self, k: Kernel, t: Task) -> Dentry | None:
        return None if self.target is None else self.target(k, t)
