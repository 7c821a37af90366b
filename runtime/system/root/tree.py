"""Read-only file trees that the guest sees as its root: of the host, or of memory.

A node says what lstat(2) says and hands out what it holds; it never resolves a path or follows a link: the guest's kernel
does that, inside the tree.
"""

from __future__ import annotations

import errno
import os
import stat
from collections import OrderedDict
from collections.abc import Hashable, Iterable, Mapping
from typing import Final, NamedTuple, Protocol

from pyprobe.runtime.user.errors import Errno
from pyprobe.runtime.user.vfs.host import HostDirectory, HostFile, HostLayer, inode_number

_OPEN_FILES: Final = 128
_BLOCK: Final = 512


class Status(NamedTuple):
    """What lstat(2) tells of a node, without what would differ from host to host: device, access and change times."""

    ino: int
    mode: int
    size: int
    mtime_ns: int = 0
    blocks: int = 0
    nlink: int = 1
    uid: int = 0
    gid: int = 0
    rdev: int = 0


class Entry(NamedTuple):
    """One name in a directory; kind: the d_type of readdir(3)."""

    name: bytes
    kind: int
    ino: int


class Node(Protocol):
    """One file of a tree. Methods raise Errno as the system calls of their names would."""

    status: Status

    @property
    def key(self) -> Hashable:
        """Equal for two nodes of the same file."""

    def lookup(self, name: bytes) -> Node | None:
        """The entry `name` of a directory; None when there is none."""

    def entries(self) -> list[Entry]:
        """All entries of a directory, sorted by name, without `.` and `..`."""

    def readlink(self) -> bytes:
        """The target of a symbolic link."""

    def read(self, offset: int, size: int) -> bytes:
        """Content of a regular file: less than `size` bytes only at its end."""


def resolve(root: Node, names: Iterable[bytes]) -> Node | None:
    """The file at a path in which there are no links and no `..`, below `root`; None when there is none."""
    node: Node | None = root
    try:
        for name in names:
            node = node.lookup(name) if node is not None else None
    except Errno:
        return None
    return node


class HostTree:
    """The tree below a directory of the host, looked at through HostLayer: no link and no `..` leads out of it."""

    def __init__(self, root: bytes) -> None:
        self.layer = HostLayer(root)
        self.linked: dict[tuple[int, int], int] = {}
        self._open: OrderedDict[tuple[int, int], int] = OrderedDict()
        self.root: Node = _HostDirectoryNode(self, self.layer.root, _status(self.layer.root_status, inode_number(self.layer.root, b"")))

    def close(self) -> None:
        """Give back all descriptors."""
        while self._open:
            os.close(self._open.popitem()[1])
        self.layer.close()

    def __del__(self) -> None:
        if hasattr(self, "root"):
            self.close()

    def number(self, directory: HostDirectory, name: bytes, found: os.stat_result) -> int:
        """Inode number of an entry: a hash of its path, of the first path seen where a file has several."""
        if found.st_nlink == 1 or stat.S_ISDIR(found.st_mode):
            return inode_number(directory, name)
        return self.linked.setdefault((found.st_dev, found.st_ino), inode_number(directory, name))

    def descriptor(self, file: HostFile) -> int:
        """A descriptor of a regular file, kept for the next read."""
        key = (file.dev, file.ino)
        held = self._open.get(key)
        if held is None:
            held = self._open[key] = self.layer.open(file)
            if len(self._open) > _OPEN_FILES:
                os.close(self._open.popitem(last=False)[1])
        else:
            self._open.move_to_end(key)
        return held


def _status(found: os.stat_result, ino: int) -> Status:
    return Status(
        ino,
        found.st_mode,
        found.st_size,
        found.st_mtime_ns,
        found.st_blocks,
        found.st_nlink,
        found.st_uid,
        found.st_gid,
        found.st_rdev,
    )


class _Leaf:
    """What is no directory has no entries, what is no link no target, and so on."""

    __slots__ = ("status",)

    def __init__(self, status: Status) -> None:
        self.status = status

    def lookup(self, name: bytes) -> Node | None:
        raise Errno(errno.ENOTDIR)

    def entries(self) -> list[Entry]:
        raise Errno(errno.ENOTDIR)

    def readlink(self) -> bytes:
        raise Errno(errno.EINVAL)

    def read(self, offset: int, size: int) -> bytes:
        raise Errno(errno.EISDIR if stat.S_ISDIR(self.status.mode) else errno.EINVAL)


class _HostDirectoryNode(_Leaf):
    __slots__ = ("directory", "tree")

    def __init__(self, tree: HostTree, directory: HostDirectory, status: Status) -> None:
        super().__init__(status)
        self.tree = tree
        self.directory = directory

    @property
    def key(self) -> Hashable:
        return self.status.ino

    def lookup(self, name: bytes) -> Node | None:
        found = self.tree.layer.status(self.directory, name)
        if found is None:
            return None
        status = _status(found, self.tree.number(self.directory, name, found))
        if stat.S_ISDIR(found.st_mode):
            return _HostDirectoryNode(self.tree, self.tree.layer.directory(self.directory, name, found), status)
        return _HostFileNode(self.tree, HostFile(self.directory, name, found.st_dev, found.st_ino), status)

    def entries(self) -> list[Entry]:
        linked = self.tree.linked
        found = self.tree.layer.names(self.directory)
        return sorted(Entry(name, kind, linked.get(key) or inode_number(self.directory, name)) for name, kind, key in found)


class _HostFileNode(_Leaf):
    __slots__ = ("file", "tree")

    def __init__(self, tree: HostTree, file: HostFile, status: Status) -> None:
        super().__init__(status)
        self.tree = tree
        self.file = file

    @property
    def key(self) -> Hashable:
        return self.status.ino

    def readlink(self) -> bytes:
        if not stat.S_ISLNK(self.status.mode):
            raise Errno(errno.EINVAL)
        return self.tree.layer.readlink(self.file)

    def read(self, offset: int, size: int) -> bytes:
        try:
            return os.pread(self.tree.descriptor(self.file), size, offset)
        except OSError as error:
            raise Errno(error.errno or errno.EIO) from None


class MemoryFile(_Leaf):
    """A regular file whose bytes are at hand."""

    __slots__ = ("content", "key")

    def __init__(self, ino: int, content: bytes, mode: int) -> None:
        super().__init__(Status(ino, stat.S_IFREG | mode, len(content), blocks=-(-len(content) // _BLOCK)))
        self.content = content
        self.key = ino

    def read(self, offset: int, size: int) -> bytes:
        return self.content[offset : offset + size]


class MemoryDirectory(_Leaf):
    """A directory of such files."""

    __slots__ = ("children", "key")

    def __init__(self, ino: int, children: Mapping[bytes, MemoryDirectory | MemoryFile], mode: int) -> None:
        below = sum(isinstance(child, MemoryDirectory) for child in children.values())
        super().__init__(Status(ino, stat.S_IFDIR | mode, 4096, blocks=8, nlink=2 + below))
        self.children = children
        self.key = ino

    def lookup(self, name: bytes) -> Node | None:
        return self.children.get(name)

    def entries(self) -> list[Entry]:
        return sorted(Entry(name, child.status.mode >> 12, child.status.ino) for name, child in self.children.items())


class Content(NamedTuple):
    """A file to be put into a memory tree."""

    data: bytes
    mode: int = 0o644


Folder = Mapping[bytes, "Content | Folder"]


def memory_tree(folder: Folder) -> Node:
    """The root of a tree in memory: nested mappings of names to contents."""
    numbers = iter(range(1, 1 << 31))

    def build(at: Folder) -> MemoryDirectory:
        ino = next(numbers)
        children: dict[bytes, MemoryDirectory | MemoryFile] = {}
        for name, child in sorted(at.items()):
            children[name] = MemoryFile(next(numbers), child.data, child.mode) if isinstance(child, Content) else build(child)
        return MemoryDirectory(ino, children, 0o755)

    return build(folder)
