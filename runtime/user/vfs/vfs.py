"""The file world of one machine: its mounts, and opening files."""

from __future__ import annotations

import errno
from collections import deque
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, Final

from pyprobe.runtime.user.errors import Errno
from pyprobe.runtime.user.task import Credentials
from pyprobe.runtime.user.vfs import attributes, namei, names, procfs, readwrite, sysfs
from pyprobe.runtime.user.vfs import open as opening
from pyprobe.runtime.user.vfs.abi import (
    ANON_INODE_FS_MAGIC,
    AT_FDCWD,
    MQUEUE_MAGIC,
    NSFS_MAGIC,
    O_LARGEFILE,
    O_RDONLY,
    O_RDWR,
    OVERLAYFS_SUPER_MAGIC,
    PIPEFS_MAGIC,
    RESOLVE_IN_ROOT,
    SOCKFS_MAGIC,
    TMPFS_MAGIC,
    makedev,
)
from pyprobe.runtime.user.vfs.content import Disk
from pyprobe.runtime.user.vfs.devices import Devices, populate, terminal_name
from pyprobe.runtime.user.vfs.host import HostLayer, View, inode_number
from pyprobe.runtime.user.vfs.inet import Network
from pyprobe.runtime.user.vfs.inode import Dentry, FileSystem, Inode
from pyprobe.runtime.user.vfs.inotify import Notifier
from pyprobe.runtime.user.vfs.locks import Locks
from pyprobe.runtime.user.vfs.stdio import Stream, open_stream
from pyprobe.runtime.user.vfs.synthetic import TextFile
from pyprobe.runtime.user.vfs.table import FileTable, FsContext
from pyprobe.runtime.user.vfs.tree import F_SEAL_SEAL, Directory, Regular, TreeFileSystem
from pyprobe.runtime.user.vfs.walk import Walk
from pyprobe.runtime.user.words import s32

if TYPE_CHECKING:
    from pyprobe.runtime.machine.physical import PhysicalMemory
    from pyprobe.runtime.user.kernel import Kernel
    from pyprobe.runtime.user.task import Task
    from pyprobe.runtime.user.vfs.openfile import OpenFile

#: Modules with kernel functions: imported here, so that whoever has a Vfs has them all.
KERNEL_FUNCTIONS: Final = (attributes, namei, opening, readwrite)

DISK_LIMIT: Final = 1 << 30
#: Device numbers of the mounts, in the order in which a small Linux system would have mounted them.
ROOT_DEV, DEV_DEV, PROC_DEV, SYS_DEV, PIPE_DEV, SOCK_DEV, ANON_DEV, SHM_DEV, MQUEUE_DEV, NS_DEV = (
    makedev(0, n) for n in (30, 5, 21, 20, 13, 8, 14, 1, 19, 4)
)


_USED: Final = 10_000  # pipes and sockets that a system has seen as it boots; net-tools know no socket whose number is short


class Vfs:
    """Everything behind paths and descriptors that all processes share.

    Args:
        memory: where mapped files live.
        now: wall time at boot, ns: the times of files that the machine makes itself.
        root: host directory that the guest sees as `/`, read only.
        view: which host files appear; None: all.
        limit: bytes that files made or changed by the guest may take.

    Raises:
        OSError: `root` cannot be opened.
    """

    def __init__(self, memory: PhysicalMemory, now: int, *, root: bytes = b"/", view: View = None, limit: int = DISK_LIMIT) -> None:
        self.host = HostLayer(root, view)
        self.disk = Disk(limit)
        self.boot = now
        self.rootfs = TreeFileSystem("overlay", ROOT_DEV, OVERLAYFS_SUPER_MAGIC, self.host, self.disk, memory)
        self.devfs = TreeFileSystem("devtmpfs", DEV_DEV, TMPFS_MAGIC, self.host, self.disk, memory)
        self.shmfs = TreeFileSystem("tmpfs", SHM_DEV, TMPFS_MAGIC, self.host, self.disk, memory)
        self.pipefs = FileSystem("pipefs", PIPE_DEV, PIPEFS_MAGIC, used=_USED)
        self.sockfs = FileSystem("sockfs", SOCK_DEV, SOCKFS_MAGIC, used=_USED)
        self.anonfs = FileSystem("anon_inodefs", ANON_DEV, ANON_INODE_FS_MAGIC)
        self.nsfs = FileSystem("nsfs", NS_DEV, NSFS_MAGIC)
        self.namespaces: dict[bytes, Dentry] = {}  # those that somebody has looked at, by their names
        self.mqueuefs = FileSystem("mqueue", MQUEUE_DEV, MQUEUE_MAGIC)
        self.queues: dict[bytes, Dentry] = {}  # POSIX message queues by their names
        self.devices = Devices()
        self.locks = Locks()
        self.in_flight = 0  # open files that wait in queues of sockets
        self.ending: deque[OpenFile] = deque()  # files whose last reference is gone, until they are closed
        self.network = Network()
        self.notifier = Notifier()

        status = self.host.root_status
        top = Directory(self.rootfs, inode_number(self.host.root, b""), status.st_mode, status.st_mtime_ns)
        top.adopt(self.host.root, status)
        top.uid, top.gid, top.nlink = status.st_uid, status.st_gid, status.st_nlink
        self.root = Dentry(None, b"/", top)
        self.mount(b"dev", Directory(self.devfs, self.devfs.number(), 0o755, now))
        populate(self.root.children[b"dev"], self.devfs, now)
        self.mount(b"proc", procfs.root(PROC_DEV, now))
        self.mount(b"sys", sysfs.root(SYS_DEV, now))

    def mount(self, name: bytes, inode: Inode) -> None:
        """Put a file system's root at a name in the top directory, over whatever the host has there."""
        dentry = Dentry(self.root, name, inode)
        dentry.mounted = True
        self.root.children[name] = dentry

    def close(self) -> None:
        """Let go of the host's files."""
        self.host.close()

    def context(self, cwd: bytes = b"/", umask: int = 0o022) -> FsContext:
        """Root, working directory and umask of a first process.

        Raises:
            Errno: `cwd` cannot be reached, or is no directory.
        """
        context = FsContext(self.root, self.root, umask)
        nobody: Any = SimpleNamespace(cred=Credentials(), process=SimpleNamespace(fs=context))  # there is no task yet
        context.cwd = Walk(nobody, nobody, self.root).find(cwd)
        if not context.cwd.require().is_directory:
            raise Errno(errno.ENOTDIR)
        return context

    def content(self, k: Kernel, path: bytes, limit: int) -> bytes:
        """The first `limit` bytes of a regular or synthetic file as a superuser outside all processes sees it; no probed function is
        called and no time passes.

        Raises:
            Errno: it cannot be reached or read.
        """
        context = FsContext(self.root, self.root, 0)
        observer: Any = SimpleNamespace(cred=Credentials(), pid=0, tid=0, process=SimpleNamespace(fs=context, pid=0))
        dentry = Walk(k, observer, self.root).find(path)
        inode = dentry.require()
        if inode.is_directory:
            raise Errno(errno.EISDIR)
        if not isinstance(inode, (Regular, TextFile)):
            raise Errno(errno.EINVAL)
        file = inode.open(k, observer, dentry, O_RDONLY)
        try:
            found = bytearray(limit)
            at = 0
            while at < limit and (count := file.read(k, observer, [memoryview(found)[at:]], file.position)):
                at += count
            return bytes(found[:at])
        finally:
            file.release(k)

    def identity(self, path: bytes) -> tuple[int, int]:
        """(device, inode number) of the file at a path as it was when it was mapped; (0, 0) if nobody looked at it by that path."""
        at: Dentry | None = self.root
        for name in path.split(b"/"):
            if name and at is not None:
                at = at.children.get(name)
        return (at.inode.fs.dev, at.inode.ino) if at is not None and at.inode is not None else (0, 0)

    def stdio(self, k: Kernel, streams: tuple[Stream, Stream, Stream] = (0, 1, 2)) -> FileTable:
        """Descriptors 0, 1 and 2 of a first process."""
        table = FileTable()
        for number, stream in enumerate(streams):
            file = open_stream(k, stream, write=number > 0)
            table.add(file, limit=3)
        return table

    @property
    def pts(self) -> Dentry:
        """The directory of the pseudoterminals."""
        return self.root.children[b"dev"].children[b"pts"]

    def terminal(self) -> Dentry:
        """The terminal that the run stands on, by its name in /dev/pts."""
        return terminal_name(self.pts, self.devfs, self.boot)

    def start(self, t: Task, descriptor: int, path: bytes) -> Dentry:
        """Where a path given with a directory descriptor begins.

        Raises:
            Errno: EBADF, ENOTDIR.
        """
        if path.startswith(b"/"):
            return t.process.fs.root
        if s32(descriptor) == AT_FDCWD:
            return t.process.fs.cwd
        file = t.process.files.get(descriptor)
        if path and not file.inode.is_directory:
            raise Errno(errno.ENOTDIR)
        return file.dentry

    def walk(self, k: Kernel, t: Task, descriptor: int, path: bytes, resolve: int = 0) -> Walk:
        """A path resolution from a directory descriptor (AT_FDCWD: the working directory)."""
        begin = path.lstrip(b"/") or b"." if resolve & RESOLVE_IN_ROOT else path  # there the directory is the root of all paths
        return Walk(k, t, self.start(t, descriptor, begin), resolve)

    def find(self, k: Kernel, t: Task, path: bytes, *, descriptor: int = AT_FDCWD, follow: bool = True) -> Dentry:
        """The dentry of an existing file.

        Raises:
            Errno: as path_resolution(7).
        """
        return self.walk(k, t, descriptor, path).find(path, follow=follow)

    def memfd(self, k: Kernel, t: Task, name: bytes, *, close_on_exec: bool, sealing: bool) -> int:
        """A descriptor of a new file that lives in memory and has no name (memfd_create(2)).

        Raises:
            Errno: EMFILE.
        """
        inode = names.anonymous(k, self.shmfs, 0o777)
        inode.uid, inode.gid = t.cred.fsuid, t.cred.fsgid
        inode.seals = 0 if sealing else F_SEAL_SEAL
        dentry = Dentry(None, b"/memfd:" + name + b" (deleted)", inode)
        file = inode.open(k, t, dentry, O_RDWR | O_LARGEFILE)
        return opening.install(t, file, close_on_exec=close_on_exec)

    def open(self, k: Kernel, t: Task, path: bytes, flags: int, mode: int = 0, *, descriptor: int = AT_FDCWD) -> OpenFile:
        """A new open file for the kernel itself (a program to run); the caller releases it.

        Raises:
            Errno: as open(2).
        """
        file: OpenFile = k.do_filp_open(descriptor, path, opening.OpenHow(flags, mode))
        return file
