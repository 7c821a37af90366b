"""Pseudoterminals: /dev/ptmx and what appears in /dev/pts (pty(7), pts(4), drivers/tty/pty.c, fs/devpts/)."""

from __future__ import annotations

import errno
import struct
from typing import TYPE_CHECKING, Final

from pyprobe.runtime.user.errors import Block, Errno
from pyprobe.runtime.user.jobcontrol import signal_group
from pyprobe.runtime.user.signals import NSIG, Sig
from pyprobe.runtime.user.vfs import termios as tio
from pyprobe.runtime.user.vfs.abi import (
    FIONREAD,
    O_CLOEXEC,
    O_NOCTTY,
    O_RDWR,
    POLLERR,
    POLLHUP,
    READABLE,
    S_IFCHR,
    WRITABLE,
    makedev,
)
from pyprobe.runtime.user.vfs.inode import Dentry
from pyprobe.runtime.user.vfs.line import OUTPUT_MAX, Line
from pyprobe.runtime.user.vfs.openfile import OpenFile, Position
from pyprobe.runtime.user.vfs.tree import Special
from pyprobe.runtime.user.vfs.views import Views, scatter

if TYPE_CHECKING:
    from pyprobe.runtime.user.kernel import Kernel
    from pyprobe.runtime.user.task import Task
    from pyprobe.runtime.user.vfs.tree import TreeFileSystem

SLAVE_MAJOR: Final = 136  # UNIX98_PTY_SLAVE_MAJOR
TTY_GROUP: Final = 5  # devpts is mounted with gid=5,mode=620
MAX: Final = 1024  # kernel.pty.max without what is reserved
_HUNG_UP: Final = READABLE | WRITABLE | POLLERR | POLLHUP
_DECISECOND: Final = 100_000_000  # ns


class Pty(Line):
    """One pseudoterminal: the line between its master and its slave.

    slaves: open files of the slave; master: the other end is open.
    """

    def __init__(self, index: int, dentry: Dentry) -> None:
        super().__init__()
        self.index = index
        self.number = makedev(SLAVE_MAJOR, index)
        self.dentry = dentry
        self.locked = True
        self.packets = False
        self.master = True
        self.slaves = 0
        self.seen = False  # the slave has been open

    def open(self, k: Kernel, t: Task, dentry: Dentry, flags: int) -> OpenFile:
        if not self.master or (self.locked and dentry is self.dentry):
            raise Errno(errno.EIO)
        return SlaveFile(dentry, flags, self)


class SlaveFile(OpenFile):
    """The end that programs take for a terminal."""

    inode: Special

    def __init__(self, dentry: Dentry, flags: int, pty: Pty) -> None:
        super().__init__(dentry, flags)
        self.pty = pty
        self._controls = not flags & O_NOCTTY
        pty.slaves += 1
        pty.seen = True
        pty.shown_events += 1

    def on_open(self, k: Kernel, t: Task) -> None:
        if self._controls:
            self.pty.opened(k, t)

    def close(self, k: Kernel) -> None:
        self.pty.slaves -= 1
        self.pty.shown_events += 1

    def read(self, k: Kernel, t: Task, views: Views, position: Position) -> int:
        pty = self.pty
        if not pty.master:
            return 0
        pty.check(k, t, Sig.TTIN)
        if not views:
            return 0
        if pty.readable():
            return pty.take(views)
        deadline = None
        if not pty.canonical and not pty.termios.cc[tio.VMIN]:
            known = t.restart.get("vtime")
            if not isinstance(known, int):
                known = t.restart["vtime"] = k.clock.now() + pty.termios.cc[tio.VTIME] * _DECISECOND
            if k.clock.now() >= known:
                return pty.take(views)
            deadline = known
        self.wait_flags()
        raise Block(lambda: pty.readable() or not pty.master, deadline, why="input on a terminal")

    def write(self, k: Kernel, t: Task, views: Views, position: Position) -> int:
        pty = self.pty
        if not pty.master:
            raise Errno(errno.EIO)
        if pty.termios.lflag & tio.TOSTOP:
            pty.check(k, t, Sig.TTOU)
        data = b"".join(views)
        done = t.restart.get("written", 0)
        assert isinstance(done, int)
        room = 0 if pty.held else OUTPUT_MAX - len(pty.shown)
        if room > 0 and data:
            piece = data[done : done + room]
            pty.show(piece)
            done += len(piece)
        if done == len(data):
            return done
        return self.write_later(t, done, lambda: not pty.master or (not pty.held and len(pty.shown) < OUTPUT_MAX), "room on a terminal")

    def poll(self, k: Kernel, t: Task) -> int:
        pty = self.pty
        if not pty.master:
            return _HUNG_UP
        return (READABLE if pty.readable() else 0) | (WRITABLE if not pty.held and len(pty.shown) < OUTPUT_MAX else 0)

    def edges(self) -> tuple[int, int]:
        return self.pty.typed_events, self.pty.shown_events

    def ioctl(self, k: Kernel, t: Task, request: int, argument: int) -> int:
        if not self.pty.master:
            raise Errno(errno.EIO)
        return self.pty.ioctl(k, t, request, argument)


class MasterFile(OpenFile):
    """The end of whoever plays the terminal (script, tmux, expect)."""

    def __init__(self, dentry: Dentry, flags: int, pty: Pty) -> None:
        super().__init__(dentry, flags)
        self.pty = pty

    def close(self, k: Kernel) -> None:
        pty = self.pty
        pty.master = False
        pty.typed_events += 1
        pty.dentry.parent.children.pop(pty.dentry.name, None)
        pty.dentry.removed = True
        k.vfs.devices.ptys.pop(pty.index, None)
        pty.hang_up(k)

    def read(self, k: Kernel, t: Task, views: Views, position: Position) -> int:
        pty = self.pty
        if not views:
            return 0
        if not pty.shown:
            if pty.seen and not pty.slaves:
                raise Errno(errno.EIO)
            self.wait_flags()
            raise Block(lambda: pty.shown or (pty.seen and not pty.slaves), why="output on a terminal")
        data = pty.shown[: sum(map(len, views)) - pty.packets]
        del pty.shown[: len(data)]
        pty.typed_events += 1  # there is room again
        if pty.packets:
            data[:0] = b"\0"  # TIOCPKT_DATA
        return scatter(views, data)

    def write(self, k: Kernel, t: Task, views: Views, position: Position) -> int:
        data = b"".join(views)
        self.pty.receive(k, data)
        return len(data)

    def poll(self, k: Kernel, t: Task) -> int:
        pty = self.pty
        return WRITABLE | (READABLE if pty.shown else 0) | (POLLHUP if pty.seen and not pty.slaves else 0)

    def edges(self) -> tuple[int, int]:
        return self.pty.shown_events, 0

    def ioctl(self, k: Kernel, t: Task, request: int, argument: int) -> int:
        pty = self.pty
        if request == tio.TIOCGPTN:
            t.space.put_u32(argument, pty.index)
        elif request == tio.TIOCSPTLCK:
            pty.locked = t.space.u32(argument) != 0
        elif request == tio.TIOCGPTLCK:
            t.space.put_u32(argument, int(pty.locked))
        elif request == tio.TIOCPKT:
            pty.packets = t.space.u32(argument) != 0
        elif request == tio.TIOCGPKT:
            t.space.put_u32(argument, int(pty.packets))
        elif request == tio.TIOCGPTPEER:
            from pyprobe.runtime.user.vfs.open import install

            file = SlaveFile(pty.dentry, argument & 0xFFFFFFFF, pty)
            file.on_open(k, t)
            return install(t, file, close_on_exec=bool(argument & O_CLOEXEC))
        elif request == tio.TIOCSIG:
            if not 1 <= argument <= NSIG:
                raise Errno(errno.EINVAL)
            if pty.foreground:
                signal_group(k, pty.foreground, argument)
        elif request == FIONREAD:
            t.space.write(argument, struct.pack("<i", len(pty.shown)))
        else:
            return pty.ioctl(k, t, request, argument, master=True)
        return 0


def open_master(k: Kernel, t: Task, dentry: Dentry, flags: int, pts: Dentry, fs: TreeFileSystem) -> MasterFile:
    """A new pseudoterminal: its master, with the slave's name in `pts`. Raises Errno(ENOSPC)."""
    ptys = k.vfs.devices.ptys
    index = next((n for n in range(MAX) if n not in ptys and b"%d" % n not in pts.children), None)
    if index is None:
        raise Errno(errno.ENOSPC)
    inode = Special(fs, fs.number(), S_IFCHR | 0o620, k.clock.wall(), rdev=makedev(SLAVE_MAJOR, index))
    inode.uid, inode.gid = t.cred.fsuid, TTY_GROUP
    name = b"%d" % index
    slave = pts.children[name] = Dentry(pts, name, inode)
    pty = ptys[index] = Pty(index, slave)
    return MasterFile(dentry, flags | O_RDWR, pty)
