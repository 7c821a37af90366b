"""Open files: what a descriptor refers to (struct file), and those of regular files and directories.

Every kind of file is a subclass of `OpenFile` that overrides what it can do; the rest fails as in Linux. A method that
has to wait raises `Block`, and is called again from the start: it must have changed nothing by then.
"""

from __future__ import annotations

import errno
import struct
from typing import TYPE_CHECKING, Final

from pyprobe.runtime.user.errors import Block, Errno
from pyprobe.runtime.user.task import INFINITY, RLIMIT_FSIZE
from pyprobe.runtime.user.vfs.abi import (
    CREATION_FLAGS,
    DT_DIR,
    MAX_RW_COUNT,
    NAME_MAX,
    O_ACCMODE,
    O_APPEND,
    O_NONBLOCK,
    O_PATH,
    O_RDONLY,
    O_WRONLY,
    READABLE,
    S_IFMT,
    SEEK_CUR,
    SEEK_DATA,
    SEEK_END,
    SEEK_HOLE,
    SEEK_SET,
    WRITABLE,
)
from pyprobe.runtime.user.vfs.content import HostContent
from pyprobe.runtime.user.vfs.inode import Dentry, Entry, Inode
from pyprobe.runtime.user.vfs.views import Views

if TYPE_CHECKING:
    from collections.abc import Callable

    from pyprobe.runtime.machine.physical import Backing
    from pyprobe.runtime.user.kernel import Kernel
    from pyprobe.runtime.user.task import Task
    from pyprobe.runtime.user.vfs.stat import Stat
    from pyprobe.runtime.user.vfs.tree import Regular

MAX_OFFSET: Final = (1 << 63) - 1
IN_CLOSE_WRITE, IN_CLOSE_NOWRITE = 0x8, 0x10  # inotify(7)
#: struct linux_dirent64 in its sizes, which are multiples of 8 bytes: the first with room for a name of 4 and its NUL
_DIRENTS: Final = [struct.Struct(f"<QqHB{room}s") for room in range(5, NAME_MAX + 8, 8)]


class Position:
    """A file position that an operation reads and moves (loff_t *)."""

    __slots__ = ("value",)

    def __init__(self, value: int = 0) -> None:
        self.value = value


class OpenFile:
    """One open file; descriptors and system calls in progress count in `references`.

    Args:
        dentry: the name it was opened by.
        flags: open flags; creation flags are left out.
    """

    #: read and write take a position, lseek works (FMODE_LSEEK, FMODE_PREAD).
    seekable = False
    host: tuple[tuple[int, int], ...] = ()
    """Host descriptors that a waiting task may wait for, with poll(2) masks."""
    #: epoll accepts it: it can be polled.
    pollable = True

    def __init__(self, dentry: Dentry, flags: int) -> None:
        self.dentry = dentry
        self.inode: Inode = dentry.require()
        self.flags = flags & ~CREATION_FLAGS
        self.references = 1
        self.position = Position()
        self.owner = 0  # F_SETOWN
        self.inode.users += 1

    @property
    def readable(self) -> bool:
        return self.flags & O_ACCMODE != O_WRONLY and not self.flags & O_PATH

    @property
    def writable(self) -> bool:
        return self.flags & O_ACCMODE != O_RDONLY and not self.flags & O_PATH

    @property
    def nonblocking(self) -> bool:
        return bool(self.flags & O_NONBLOCK)

    def release(self, k: Kernel) -> None:
        """Drop one reference; the last one closes the file."""
        self.references -= 1
        if self.references == 0:
            ending = k.vfs.ending
            ending.append(self)
            if len(ending) > 1:  # a file that ends gives up this one: its turn comes, however long the chain
                return
            while ending:
                try:
                    ending[0].finish(k)
                finally:
                    ending.popleft()

    def finish(self, k: Kernel) -> None:
        """Close the file, and its inode with the last file that holds it (__fput)."""
        if k.vfs.notifier.any and not self.flags & O_PATH:
            k.vfs.notifier.event(k, self.dentry, IN_CLOSE_WRITE if self.writable else IN_CLOSE_NOWRITE)
        self.close(k)
        inode = self.inode
        inode.users -= 1
        if inode.users == 0:
            inode.unused()
            if k.vfs.notifier.any:
                k.vfs.notifier.gone(k, inode)

    def on_open(self, k: Kernel, t: Task) -> None:
        """The file is being opened (f_op->open).

        Raises:
            Errno, Block.
        """

    def close(self, k: Kernel) -> None:
        """The last reference is gone."""

    def most(self, position: Position) -> int:
        """At least as many bytes as one read from `position` can give, so that no memory is prepared for more."""
        return MAX_RW_COUNT

    def read(self, k: Kernel, t: Task, views: Views, position: Position) -> int:
        """Fill `views`, from `position` on if the file has positions, and move it; 0 at the end.

        Raises:
            Errno, Block.
        """
        raise Errno(errno.EINVAL)

    def write(self, k: Kernel, t: Task, views: Views, position: Position) -> int:
        """Take the bytes of `views`; may take fewer than there are.

        Raises:
            Errno, Block.
        """
        raise Errno(errno.EINVAL)

    def poll(self, k: Kernel, t: Task) -> int:
        """POLL* bits that hold now, whatever was asked for."""
        return READABLE | WRITABLE

    def edges(self) -> tuple[int, int]:
        """How often something came to be read, and room came to be written: two counts that only grow (EPOLLET)."""
        return 0, 0

    def seek(self, k: Kernel, t: Task, offset: int, whence: int) -> int:
        """lseek(2)."""
        raise Errno(errno.ESPIPE)

    def stat(self) -> Stat:
        return self.inode.stat()

    def ioctl(self, k: Kernel, t: Task, request: int, argument: int) -> int:
        """Requests of this kind of file; those that all files know are answered before."""
        raise Errno(errno.ENOTTY)

    def getdents(self, k: Kernel, t: Task, room: int) -> bytes:
        """The next entries as struct linux_dirent64, at most `room` bytes; empty at the end."""
        raise Errno(errno.ENOTDIR)

    def backing(self, *, shared_writable: bool) -> Backing:
        """The bytes as physical memory for mmap."""
        raise Errno(errno.ENODEV)

    def truncate(self, k: Kernel, t: Task, size: int) -> None:
        """ftruncate(2)."""
        raise Errno(errno.EINVAL)

    def path(self, root: Dentry | None = None) -> bytes:
        """What /proc/PID/fd/N links to."""
        return self.dentry.path(root)

    def wait_flags(self, message_flags: int = 0) -> None:
        """Raises Errno(EAGAIN) when the file must not block."""
        if self.flags & O_NONBLOCK or message_flags:
            raise Errno(errno.EAGAIN)

    def write_later(self, t: Task, done: int, ready: Callable[[], object], why: str) -> int:
        """Have the rest of a write, of which `done` bytes are put, wait until `ready`. They are the answer of one that must not wait.

        Raises:
            Block: with them for the answer of one that is interrupted; Errno: EAGAIN.
        """
        if done and self.nonblocking:
            return done
        self.wait_flags()
        t.restart["written"] = done
        raise Block(ready, why=why, interrupted=lambda: done or None)


class PathFile(OpenFile):
    """A file opened with O_PATH: a place in the tree, no access to the content."""

    pollable = False

    def read(self, k: Kernel, t: Task, views: Views, position: Position) -> int:
        raise Errno(errno.EBADF)

    write = read

    def seek(self, k: Kernel, t: Task, offset: int, whence: int) -> int:
        raise Errno(errno.EBADF)

    def ioctl(self, k: Kernel, t: Task, request: int, argument: int) -> int:
        raise Errno(errno.EBADF)

    def getdents(self, k: Kernel, t: Task, room: int) -> bytes:
        raise Errno(errno.EBADF)

    def backing(self, *, shared_writable: bool) -> Backing:
        raise Errno(errno.EBADF)


def generic_seek(position: Position, offset: int, whence: int, size: int) -> int:
    """generic_file_llseek for a file of `size` bytes without holes.

    Raises:
        Errno: EINVAL, ENXIO.
    """
    if whence == SEEK_SET:
        target = offset
    elif whence == SEEK_CUR:
        target = position.value + offset
    elif whence == SEEK_END:
        target = size + offset
    elif whence in (SEEK_DATA, SEEK_HOLE):
        if not 0 <= offset < size:
            raise Errno(errno.ENXIO)
        target = offset if whence == SEEK_DATA else size
    else:
        raise Errno(errno.EINVAL)
    if target < 0:
        raise Errno(errno.EINVAL)
    if target > MAX_OFFSET:
        raise Errno(errno.EOVERFLOW)
    position.value = target
    return target


class RegularFile(OpenFile):
    """An open regular file of the tree."""

    seekable = True
    pollable = False

    inode: Regular

    def on_open(self, k: Kernel, t: Task) -> None:
        content = self.inode.content
        if isinstance(content, HostContent):
            content.descriptor()  # the host may refuse: better now than at the first read

    def most(self, position: Position) -> int:
        return max(0, self.inode.content.size - position.value)

    def read(self, k: Kernel, t: Task, views: Views, position: Position) -> int:
        count = self.inode.content.read(views, position.value)
        position.value += count
        return count

    def write(self, k: Kernel, t: Task, views: Views, position: Position) -> int:
        inode = self.inode
        if self.flags & O_APPEND:
            position.value = inode.content.size
        room = t.process.limits[RLIMIT_FSIZE][0] - position.value
        if room < INFINITY - position.value and sum(map(len, views)) > room:
            views = cut(k, t, views, room)
        count = inode.write(views, position.value)
        position.value += count
        inode.touch(k.clock.wall())
        return count

    def seek(self, k: Kernel, t: Task, offset: int, whence: int) -> int:
        content = self.inode.content
        if whence in (SEEK_DATA, SEEK_HOLE) and 0 <= offset < content.size:
            found = content.next_data(offset) if whence == SEEK_DATA else content.next_hole(offset)
            if whence == SEEK_DATA and found >= content.size:
                raise Errno(errno.ENXIO)
            offset, whence = found, SEEK_SET
        return generic_seek(self.position, offset, whence, content.size)

    def backing(self, *, shared_writable: bool) -> Backing:
        return self.inode.backing(writable=shared_writable)

    def truncate(self, k: Kernel, t: Task, size: int) -> None:
        self.inode.truncate(k, size)


def cut(k: Kernel, t: Task, views: Views, room: int) -> Views:
    """What RLIMIT_FSIZE leaves of a write, `room` bytes. Raises Errno(EFBIG), with SIGXFSZ, when that is nothing."""
    if room <= 0:
        from pyprobe.runtime.user.signals import Sig, SigInfo

        k.do_send_sig_info(Sig.XFSZ, SigInfo.from_user(Sig.XFSZ, t), t, 0)
        raise Errno(errno.EFBIG)
    kept: list[memoryview] = []
    for view in views:
        kept.append(view[:room])
        room -= len(kept[-1])
    return kept


def newsize_ok(k: Kernel, t: Task, size: int, new: int) -> None:
    """May a file of `size` bytes become one of `new`? Raises Errno(EFBIG), with SIGXFSZ, where RLIMIT_FSIZE forbids it to grow."""
    if new > size and new > t.process.limits[RLIMIT_FSIZE][0]:
        cut(k, t, (), 0)


class DirectoryFile(OpenFile):
    """An open directory; its listing is taken when it is read from the start, sorted by name."""

    seekable = True
    pollable = False

    def __init__(self, dentry: Dentry, flags: int) -> None:
        super().__init__(dentry, flags)
        self._listing: list[Entry] = []

    def read(self, k: Kernel, t: Task, views: Views, position: Position) -> int:
        raise Errno(errno.EISDIR)

    def seek(self, k: Kernel, t: Task, offset: int, whence: int) -> int:
        if whence == SEEK_END:
            raise Errno(errno.EINVAL)
        return generic_seek(self.position, offset, whence, MAX_OFFSET)

    def getdents(self, k: Kernel, t: Task, room: int) -> bytes:
        index = self.position.value
        if self.dentry.removed:
            raise Errno(errno.ENOENT)
        if index == 0:
            self._listing = listing(k, t, self.dentry)
        dirents, records = _DIRENTS, list[bytes]()
        used = 0
        for name, kind, ino in self._listing[index:]:
            layout = dirents[len(name) + 3 >> 3]
            length = layout.size
            if used + length > room:
                if not records:
                    raise Errno(errno.EINVAL)
                break
            index += 1
            used += length
            records.append(layout.pack(ino, index, length, kind, name))
        self.position.value = index
        return b"".join(records)


def listing(k: Kernel, t: Task, dentry: Dentry) -> list[Entry]:
    """All entries of a directory, `.` and `..` first, then by name."""
    inode = dentry.require()
    found = {entry[0]: entry for entry in inode.entries(k, t)}
    for name, child in dentry.children.items():
        if child.inode is None:
            found.pop(name, None)
        else:
            found[name] = (name, (child.inode.mode & S_IFMT) >> 12, child.inode.ino)
    own = [(b".", DT_DIR, inode.ino), (b"..", DT_DIR, dentry.parent.require().ino)]
    return own + [found[name] for name in sorted(found)]
