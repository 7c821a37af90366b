"""The changeable tree: the host's files below, everything the guest does to them above, in memory.

Directories, regular files, links and special files of the root file system and of /dev. What comes from the host is
loaded at the first look and keeps its modes, owners, sizes and modification times; inode and device numbers are our own
and depend on the path below the view's root alone (or on the order of creation), so that the host's never show.
Reference for the semantics: fs/namei.c, fs/libfs.c and Documentation/filesystems/overlayfs.rst.
"""

from __future__ import annotations

import errno
import os
from typing import TYPE_CHECKING, Final

from pyprobe.runtime.user.errors import Errno
from pyprobe.runtime.user.vfs.abi import (
    BLOCK_SIZE,
    O_ACCMODE,
    O_RDONLY,
    S_IFBLK,
    S_IFCHR,
    S_IFDIR,
    S_IFIFO,
    S_IFLNK,
    S_IFMT,
    S_IFREG,
)
from pyprobe.runtime.user.vfs.content import PAGE, Content, Disk, HostContent, MappedContent, MemoryContent, map_content
from pyprobe.runtime.user.vfs.host import HASH_BITS, HostDirectory, HostFile, HostLayer, inode_number
from pyprobe.runtime.user.vfs.inode import Dentry, Entry, FileSystem, Inode
from pyprobe.runtime.user.vfs.stat import StatFs
from pyprobe.runtime.user.vfs.views import Views

if TYPE_CHECKING:
    from pyprobe.runtime.machine.physical import Backing, PhysicalMemory
    from pyprobe.runtime.user.kernel import Kernel
    from pyprobe.runtime.user.task import Task
    from pyprobe.runtime.user.vfs.openfile import OpenFile
    from pyprobe.runtime.user.vfs.pipe import Pipe

F_SEAL_SEAL, F_SEAL_SHRINK, F_SEAL_GROW, F_SEAL_WRITE, F_SEAL_FUTURE_WRITE, F_SEAL_EXEC = 1, 2, 4, 8, 16, 32
_CREATED: Final = 1 << HASH_BITS
MAX_FILE_SIZE: Final = (1 << 44) - BLOCK_SIZE  # ext4's


class TreeFileSystem(FileSystem):
    """A file system whose files are changed in memory, on top of a host directory or of nothing.

    Args:
        host: the layer that host directories of this tree belong to.
        disk: what created and changed files are counted against.
        memory: where mapped files live.

    linked: host files with several names that were loaded, by device and inode number on the host.
    """

    def __init__(self, name: str, dev: int, magic: int, host: HostLayer, disk: Disk, memory: PhysicalMemory) -> None:
        super().__init__(name, dev, magic, writable=True)
        self.host = host
        self.disk = disk
        self.memory = memory
        self.linked: dict[tuple[int, int], Inode] = {}

    def number(self) -> int:
        return _CREATED + super().number()

    def statfs(self) -> StatFs:
        blocks = self.disk.limit // BLOCK_SIZE
        free = max(0, self.disk.limit - self.disk.used) // BLOCK_SIZE
        return StatFs(self.magic, blocks, free, 1 << 20, 1 << 19, self.dev)

    def numbered(self, directory: HostDirectory, name: bytes, dev: int, ino: int) -> int:
        """Inode number of a host entry that may not have been loaded."""
        linked = self.linked.get((dev, ino))
        return linked.ino if linked is not None else inode_number(directory, name)

    def load(self, directory: HostDirectory, name: bytes) -> Inode | None:
        """The host's file of that name as an inode; None when there is none."""
        status = self.host.status(directory, name)
        if status is None:
            return None
        kind = status.st_mode & S_IFMT
        if kind == S_IFDIR:
            inode: Inode = Directory(self, inode_number(directory, name), status.st_mode, status.st_mtime_ns)
            assert isinstance(inode, Directory)
            inode.adopt(self.host.directory(directory, name, status), status)
        else:
            identity = (status.st_dev, status.st_ino)
            known = self.linked.get(identity)
            if known is not None:
                return known
            ino = inode_number(directory, name)
            file = HostFile(directory, name, *identity)
            if kind == S_IFREG:
                content = HostContent(status.st_size, lambda: self.host.open(file))
                inode = Regular(self, ino, status.st_mode, status.st_mtime_ns, content, status.st_blocks)
            elif kind == S_IFLNK:
                inode = Symlink(self, ino, self.host.readlink(file), status.st_mtime_ns, status.st_blocks)
            else:
                inode = Special(self, ino, status.st_mode, status.st_mtime_ns, rdev=status.st_rdev)
            if status.st_nlink > 1:
                self.linked[identity] = inode
        inode.uid, inode.gid, inode.nlink = status.st_uid, status.st_gid, status.st_nlink
        return inode


class Directory(Inode):
    """A directory: its dentry's children, and behind them the host directory `lower` if there is one."""

    __slots__ = ("_blocks", "_size", "lower")

    fs: TreeFileSystem

    def __init__(self, fs: TreeFileSystem, ino: int, mode: int, now: int, *, uid: int = 0, gid: int = 0) -> None:
        super().__init__(fs, ino, S_IFDIR | mode & 0o7777, now, uid=uid, gid=gid, nlink=2)
        self.lower: HostDirectory | None = None
        self._size = BLOCK_SIZE
        self._blocks = BLOCK_SIZE // 512

    def adopt(self, lower: HostDirectory, status: os.stat_result) -> None:
        """Stand on a host directory."""
        self.lower = lower
        self._size = status.st_size
        self._blocks = status.st_blocks

    def size(self) -> int:
        return self._size

    def blocks(self) -> int:
        return self._blocks

    def lookup(self, k: Kernel, t: Task, name: bytes) -> Inode | None:
        return None if self.lower is None else self.fs.load(self.lower, name)

    def shows(self, name: bytes) -> bool:
        """Whether the host has an entry of this name here."""
        if self.lower is None:
            return False
        try:
            return self.fs.host.status(self.lower, name) is not None
        except Errno:
            return True

    def entries(self, k: Kernel, t: Task) -> list[Entry]:
        lower = self.lower
        if lower is None:
            return []
        linked = self.fs.linked
        return [
            (name, kind, linked[identity].ino if identity in linked else inode_number(lower, name))
            for name, kind, identity in self.fs.host.names(lower)
        ]

    def open(self, k: Kernel, t: Task, dentry: Dentry, flags: int) -> OpenFile:
        from pyprobe.runtime.user.vfs.openfile import DirectoryFile

        return DirectoryFile(dentry, flags)


class Regular(Inode):
    """A regular file; `content` changes its form as the file is written and mapped."""

    __slots__ = ("_host_blocks", "content", "seals")

    fs: TreeFileSystem

    def __init__(self, fs: TreeFileSystem, ino: int, mode: int, now: int, content: Content, host_blocks: int = -1) -> None:
        super().__init__(fs, ino, S_IFREG | mode & 0o7777, now)
        self.content = content
        self._host_blocks = host_blocks
        self.seals = -1  # F_SEAL_*, of files of memfd_create(2); -1: others take none

    def size(self) -> int:
        return self.content.size

    def blocks(self) -> int:
        return self._host_blocks if self._host_blocks >= 0 else self.content.blocks()

    def _own(self, size: int | None = None) -> Content:
        """The content in a form that can be changed; the first `size` bytes of a host file are enough."""
        content = self.content
        if isinstance(content, HostContent):
            own: MemoryContent | MappedContent
            if content.backing is None:
                own = content.copy(self.fs.disk, size)
            else:
                # Mappings show pages of the machine's copy of the host file: that copy becomes the file.
                self.fs.disk.charge(content.size)
                own = MappedContent(self.fs.disk, content.backing, content.size)
            content.release()
            self.content = content = own
            self._host_blocks = -1
        return content

    def write(self, views: Views, offset: int) -> int:
        """Put bytes at `offset`.

        Raises:
            Errno: ENOSPC, EFBIG.
        """
        if self.seals > 0 and self.seals & (F_SEAL_WRITE | F_SEAL_FUTURE_WRITE):
            raise Errno(errno.EPERM)
        if self.seals > 0 and self.seals & F_SEAL_GROW and offset + sum(map(len, views)) > self.size():
            raise Errno(errno.EPERM)
        return self._reaching(offset, None).write(views, offset)

    def _reaching(self, size: int, kept: int | None) -> Content:
        """The content in a form that can have `size` bytes; `kept`: the first ones that are needed, None: all."""
        if size > MAX_FILE_SIZE:
            raise Errno(errno.EFBIG)
        if self.seals > 0 and size > self.size() and self.seals & F_SEAL_GROW:
            raise Errno(errno.EPERM)
        content = self._own(kept)
        if isinstance(content, MemoryContent) and size >= (content.size + PAGE - 1) // PAGE * PAGE + PAGE:
            self.content = content = map_content(self.fs.memory, self.fs.disk, content)
        return content

    def truncate(self, k: Kernel, size: int) -> None:
        if self.seals > 0 and self.seals & F_SEAL_SHRINK and size < self.size():
            raise Errno(errno.EPERM)
        if size != self.content.size or not isinstance(self.content, HostContent):
            before, content = self.size(), self._reaching(size, size)
            if isinstance(content, MappedContent) and size < before:
                k.unmap_mapping_range(content.backing, -(-size // PAGE), -(-before // PAGE), even_cows=True)
            content.truncate(size)
        self.touch(k.clock.wall())

    def punch(self, k: Kernel, offset: int, end: int) -> None:
        """Make a hole of a part of the file within its size: the whole pages in it take no room any more.

        Raises:
            Errno: EPERM, ENOSPC.
        """
        if self.seals > 0 and self.seals & (F_SEAL_WRITE | F_SEAL_FUTURE_WRITE):
            raise Errno(errno.EPERM)
        first, last = -(-offset // PAGE), (end if end < self.size() else end + PAGE - 1) // PAGE
        for low, high in ((offset, min(end, first * PAGE)), (max(offset, last * PAGE), end)) if first < last else ((offset, end),):
            while low < high:
                low += self.write((memoryview(bytes(min(PAGE, high - low))),), low)
        if first < last:
            content = self._own()
            if isinstance(content, MemoryContent):
                self.content = content = map_content(self.fs.memory, self.fs.disk, content)
            assert isinstance(content, MappedContent)
            k.unmap_mapping_range(content.backing, first, last)
            content.punch(first, last)
        self.touch(k.clock.wall())

    def backing(self, *, writable: bool) -> Backing:
        """The bytes as physical memory, for mappings; `writable`: stores through a shared mapping are to reach the file.

        Raises:
            Errno: ENOSPC, or the host does not read the file.
        """
        content = self._own() if writable else self.content
        if isinstance(content, HostContent):
            if content.backing is None:
                content.backing = self.fs.memory.file(content.descriptor())
            return content.backing
        if isinstance(content, MemoryContent):
            self.content = content = map_content(self.fs.memory, self.fs.disk, content)
        assert isinstance(content, MappedContent)
        return content.backing

    def open(self, k: Kernel, t: Task, dentry: Dentry, flags: int) -> OpenFile:
        from pyprobe.runtime.user.vfs.openfile import RegularFile

        return RegularFile(dentry, flags)

    def unused(self) -> None:
        if self.nlink == 0:
            self.content.release()
        elif isinstance(self.content, HostContent):
            self.content.let_go()


class Symlink(Inode):
    """A symbolic link."""

    __slots__ = ("_blocks", "target")

    def __init__(self, fs: FileSystem, ino: int, target: bytes, now: int, blocks: int = 0) -> None:
        super().__init__(fs, ino, S_IFLNK | 0o777, now)
        self.target = target
        self._blocks = blocks

    def size(self) -> int:
        return len(self.target)

    def blocks(self) -> int:
        return self._blocks

    def readlink(self, k: Kernel, t: Task) -> bytes:
        return self.target


class Special(Inode):
    """A FIFO, socket or device node. FIFOs are the machine's own pipes, whoever made the name; host devices stay closed."""

    __slots__ = ("pipe", "socket")

    def __init__(self, fs: FileSystem, ino: int, mode: int, now: int, *, rdev: int = 0) -> None:
        super().__init__(fs, ino, mode, now, rdev=rdev)
        self.pipe: Pipe | None = None
        self.socket: object = None

    def blocks(self) -> int:
        return 0

    def open(self, k: Kernel, t: Task, dentry: Dentry, flags: int) -> OpenFile:
        kind = self.mode & S_IFMT
        if kind == S_IFCHR:
            return k.vfs.devices.open(k, t, dentry, flags, self.rdev)
        if kind == S_IFIFO:
            from pyprobe.runtime.user.vfs.pipe import fifo_file

            return fifo_file(t, self, dentry, flags)
        raise Errno(errno.ENXIO if kind != S_IFBLK or flags & O_ACCMODE == O_RDONLY else errno.EACCES)
