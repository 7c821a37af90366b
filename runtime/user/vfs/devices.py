"""Character devices of the machine and the tree of /dev: null(4), zero(4), full(4), random(4), tty(4)."""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING, Final

from pyprobe.runtime.user.errors import Errno
from pyprobe.runtime.user.vfs.abi import S_IFCHR, SEEK_HOLE, major, makedev, minor
from pyprobe.runtime.user.vfs.inode import Dentry
from pyprobe.runtime.user.vfs.openfile import OpenFile, Position
from pyprobe.runtime.user.vfs.tree import Directory, Special, Symlink, TreeFileSystem
from pyprobe.runtime.user.vfs.views import Views

if TYPE_CHECKING:
    from pyprobe.runtime.machine.physical import Backing
    from pyprobe.runtime.user.kernel import Kernel
    from pyprobe.runtime.user.task import Task
    from pyprobe.runtime.user.vfs.pty import Pty
    from pyprobe.runtime.user.vfs.stdio import HostTerminal
    from pyprobe.runtime.user.vfs.tty import Terminal


_ADDRESS_SPACE: Final = 1 << 47  # longer than any mapping; pages come when they are touched


class DeviceFile(OpenFile):
    """An open character device that takes everything and has no positions (null_lseek)."""

    seekable = True

    def read(self, k: Kernel, t: Task, views: Views, position: Position) -> int:
        return 0

    def write(self, k: Kernel, t: Task, views: Views, position: Position) -> int:
        return sum(map(len, views))

    def seek(self, k: Kernel, t: Task, offset: int, whence: int) -> int:
        if whence > SEEK_HOLE:
            raise Errno(errno.EINVAL)
        return 0


class Null(DeviceFile):
    """/dev/null"""

    def most(self, position: Position) -> int:
        return 0


class Zero(DeviceFile):
    """/dev/zero; each mapping of it is new memory."""

    def backing(self, *, shared_writable: bool) -> Backing:
        assert isinstance(self.inode.fs, TreeFileSystem)
        return self.inode.fs.memory.anonymous(_ADDRESS_SPACE)

    def read(self, k: Kernel, t: Task, views: Views, position: Position) -> int:
        for view in views:
            view[:] = bytes(len(view))
        return sum(map(len, views))


class Full(Zero):
    """/dev/full"""

    def write(self, k: Kernel, t: Task, views: Views, position: Position) -> int:
        raise Errno(errno.ENOSPC)


class Random(DeviceFile):
    """/dev/random and /dev/urandom: the machine's seeded generator."""

    def read(self, k: Kernel, t: Task, views: Views, position: Position) -> int:
        for view in views:
            view[:] = k.rng.randbytes(len(view))
        return sum(map(len, views))


#: name, mode, (major, minor), class: Documentation/admin-guide/devices.txt
DEVICES: Final = (
    (b"null", 0o666, (1, 3), Null),
    (b"zero", 0o666, (1, 5), Zero),
    (b"full", 0o666, (1, 7), Full),
    (b"random", 0o666, (1, 8), Random),
    (b"urandom", 0o666, (1, 9), Random),
)
_CLASSES: Final = {makedev(*numbers): device for _, _, numbers, device in DEVICES}
TTY: Final = makedev(5, 0)
CONSOLE: Final = makedev(5, 1)
TERMINAL: Final = makedev(136, 0)
PTMX: Final = makedev(5, 2)

LINKS: Final = ((b"fd", b"/proc/self/fd"), (b"stdin", b"/proc/self/fd/0"), (b"stdout", b"/proc/self/fd/1"), (b"stderr", b"/proc/self/fd/2"))


class Devices:
    """What stands behind device numbers.

    terminal: the terminal that the run stands on, if a standard stream is one; ptys: the pseudoterminals by their numbers.
    """

    def __init__(self) -> None:
        self.terminal: HostTerminal | None = None
        self.ptys: dict[int, Pty] = {}

    def open(self, k: Kernel, t: Task, dentry: Dentry, flags: int, rdev: int) -> OpenFile:
        """Open a character device.

        Raises:
            Errno: ENXIO: there is no such device in this machine, or no terminal.
        """
        device = _CLASSES.get(rdev)
        if device is not None:
            return device(dentry, flags)
        if rdev == PTMX:
            from pyprobe.runtime.user.vfs.pty import open_master

            return open_master(k, t, dentry, flags, k.vfs.pts, k.vfs.devfs)
        terminal = self._terminal(t, rdev)
        if terminal is None:
            raise Errno(errno.ENXIO)
        return terminal.open(k, t, dentry, flags)

    def _terminal(self, t: Task, rdev: int) -> Terminal | None:
        if rdev == TTY:
            return t.process.ctty
        if major(rdev) == major(TERMINAL) and minor(rdev) in self.ptys:
            return self.ptys[minor(rdev)]
        return self.terminal if rdev in (CONSOLE, TERMINAL) else None


def populate(dentry: Dentry, fs: TreeFileSystem, now: int) -> None:
    """Fill /dev."""

    def add(parent: Dentry, name: bytes, inode: Directory | Special | Symlink) -> Dentry:
        child = parent.children[name] = Dentry(parent, name, inode)
        if inode.is_directory:
            parent.require().nlink += 1
        return child

    for name, mode, numbers, _ in DEVICES:
        add(dentry, name, Special(fs, fs.number(), S_IFCHR | mode, now, rdev=makedev(*numbers)))
    add(dentry, b"tty", Special(fs, fs.number(), S_IFCHR | 0o666, now, rdev=TTY))
    add(dentry, b"ptmx", Special(fs, fs.number(), S_IFCHR | 0o666, now, rdev=PTMX))
    add(dentry, b"console", Special(fs, fs.number(), S_IFCHR | 0o600, now, rdev=CONSOLE))
    for name, target in LINKS:
        add(dentry, name, Symlink(fs, fs.number(), target, now))
    add(dentry, b"shm", Directory(fs, fs.number(), 0o1777, now))
    pts = add(dentry, b"pts", Directory(fs, fs.number(), 0o755, now))
    add(pts, b"ptmx", Special(fs, fs.number(), S_IFCHR, now, rdev=PTMX))


def terminal_name(pts: Dentry, fs: TreeFileSystem, now: int) -> Dentry:
    """The name in /dev/pts of the terminal that the run stands on."""
    known = pts.children.get(b"0")
    if known is None:
        known = pts.children[b"0"] = Dentry(pts, b"0", Special(fs, fs.number(), S_IFCHR | 0o620, now, rdev=TERMINAL))
    return known
