"""The standard streams of the run as open files of the guest: host descriptors 0, 1, 2, or bytes given and taken.

These are the only files whose bytes go out to the host. They are read when the guest reads, written at once, and keep
the host's file position, so that what runs before and after us on the same descriptor goes on where the guest stopped.
"""

from __future__ import annotations

import errno
import fcntl
import os
import select
import stat
import struct
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING, Final

from pyprobe.runtime.user.errors import Block, Errno
from pyprobe.runtime.user.signals import Sig
from pyprobe.runtime.user.vfs.abi import (
    FIONREAD,
    O_ACCMODE,
    O_APPEND,
    O_RDONLY,
    O_RDWR,
    O_WRONLY,
    POLLIN,
    POLLOUT,
    READABLE,
    S_IFCHR,
    S_IFIFO,
    S_IFREG,
    SEEK_HOLE,
    WRITABLE,
    makedev,
)
from pyprobe.runtime.user.vfs.inode import Dentry, FileSystem, Inode
from pyprobe.runtime.user.vfs.openfile import OpenFile, Position
from pyprobe.runtime.user.vfs.pipe import PipeFile, broken_pipe, pipe_dentry
from pyprobe.runtime.user.vfs.termios import GETTERS, TCGETS, TCGETS2, TCSETSF, TCSETSF2, TCSETSW, TCSETSW2, TIOCGWINSZ
from pyprobe.runtime.user.vfs.tty import Terminal
from pyprobe.runtime.user.vfs.views import Views

if TYPE_CHECKING:
    from pyprobe.runtime.user.kernel import Kernel
    from pyprobe.runtime.user.task import Task
    from pyprobe.runtime.user.vfs.stat import Stat

NULL_DEVICE: Final = makedev(1, 3)


class HostTerminal(Terminal):
    """The terminal that the run was started on. What the guest sets is set there too, until `restore`.

    descriptor: of the host.
    """

    number = makedev(136, 0)

    def __init__(self, descriptor: int) -> None:
        super().__init__()
        self.descriptor = descriptor
        self._before: bytes | None = None

    def open(self, k: Kernel, t: Task, dentry: Dentry, flags: int) -> OpenFile:
        return HostStream(dentry, flags, self.descriptor, self)

    def settings(self, size: int) -> bytes:
        return _ask(self.descriptor, TCGETS if size == GETTERS[TCGETS] else TCGETS2, size)

    def set_settings(self, raw: bytes, *, flush: bool) -> None:
        if self._before is None:
            self._before = self.settings(GETTERS[TCGETS2])
        self._set((TCSETSF if flush else TCSETSW) if len(raw) == GETTERS[TCGETS] else (TCSETSF2 if flush else TCSETSW2), raw)

    def _set(self, request: int, raw: bytes) -> None:
        with suppress(OSError):  # no longer a terminal, or not ours to set: it keeps what it has
            if os.tcgetpgrp(self.descriptor) == os.getpgrp():
                fcntl.ioctl(self.descriptor, request, raw)

    def restore(self) -> None:
        """Give the terminal the settings back that it had before the guest changed them."""
        if self._before is not None:
            self._set(TCSETSW2, self._before)
            self._before = None

    def window(self) -> bytes:
        return _ask(self.descriptor, TIOCGWINSZ, 8)

    def typed(self) -> int:
        return int.from_bytes(_ask(self.descriptor, FIONREAD, 4), "little")


def _ask(descriptor: int, request: int, size: int) -> bytes:
    """A structure that the host tells of a descriptor. Raises Errno: not of this one."""
    try:
        return fcntl.ioctl(descriptor, request, bytes(size))
    except OSError as error:
        raise Errno(error.errno or errno.ENOTTY) from None


class HostStream(OpenFile):
    """A host descriptor that the run was started with. It is never closed here."""

    def __init__(self, dentry: Dentry, flags: int, descriptor: int, terminal: HostTerminal | None = None) -> None:
        super().__init__(dentry, flags)
        self.descriptor = descriptor
        self.regular = stat.S_ISREG(os.fstat(descriptor).st_mode)
        self.terminal = terminal
        self.host = ((descriptor, POLLIN if self.readable else POLLOUT),)
        self.pollable = not self.regular

    def _ready(self, event: int) -> int:
        if self.regular:
            return event
        poll = select.poll()
        poll.register(self.descriptor, event)
        found = poll.poll(0)
        return found[0][1] if found else 0

    def read(self, k: Kernel, t: Task, views: Views, position: Position) -> int:
        if not views:
            return 0
        if self.terminal is not None:
            self.terminal.check(k, t, Sig.TTIN)
        if not self._ready(POLLIN):
            self.wait_flags()
            raise Block(lambda: False, host=((self.descriptor, POLLIN),), why="input from outside")
        try:
            return os.readv(self.descriptor, views[: os.sysconf("SC_IOV_MAX")])
        except BlockingIOError:
            self.wait_flags()
            raise Block(lambda: False, host=((self.descriptor, POLLIN),), why="input from outside") from None
        except OSError as error:
            raise Errno(error.errno or errno.EIO) from None

    def write(self, k: Kernel, t: Task, views: Views, position: Position) -> int:
        if not views:
            return 0
        try:
            return os.writev(self.descriptor, views[: os.sysconf("SC_IOV_MAX")])
        except BlockingIOError:
            self.wait_flags()
            raise Block(lambda: False, host=((self.descriptor, POLLOUT),), why="room outside") from None
        except BrokenPipeError:
            raise broken_pipe(k, t) from None
        except OSError as error:
            raise Errno(error.errno or errno.EIO) from None

    def poll(self, k: Kernel, t: Task) -> int:
        if self.regular:
            return READABLE | WRITABLE
        found = self._ready((POLLIN if self.readable else 0) | (POLLOUT if self.writable else 0))
        return found | (READABLE if found & POLLIN else 0) | (WRITABLE if found & POLLOUT else 0)

    def seek(self, k: Kernel, t: Task, offset: int, whence: int) -> int:
        if not self.regular:
            raise Errno(errno.ESPIPE)
        try:
            return os.lseek(self.descriptor, offset, min(whence, SEEK_HOLE + 1))
        except OSError as error:
            raise Errno(error.errno or errno.EINVAL) from None

    def stat(self) -> Stat:
        found = super().stat()
        if self.regular:
            size = os.fstat(self.descriptor).st_size
            return found._replace(size=size, blocks=(size + 4095) // 4096 * 8)
        return found

    def ioctl(self, k: Kernel, t: Task, request: int, argument: int) -> int:
        if request == FIONREAD and not self.regular:
            t.space.write(argument, _ask(self.descriptor, FIONREAD, 4))
            return 0
        if request == FIONREAD:
            left = self.stat().size - os.lseek(self.descriptor, 0, os.SEEK_CUR)
            t.space.write(argument, struct.pack("<i", max(0, min(left, 0x7FFFFFFF))))
            return 0
        if self.terminal is None:
            raise Errno(errno.ENOTTY)
        return self.terminal.ioctl(k, t, request, argument)


class StreamInode(Inode):
    """The file behind a host descriptor; opened again (/dev/stdout) it is the same stream."""

    __slots__ = ("descriptor",)

    def __init__(self, fs: FileSystem, ino: int, mode: int, now: int, rdev: int, descriptor: int) -> None:
        super().__init__(fs, ino, mode, now, rdev=rdev)
        self.descriptor = descriptor

    def blocks(self) -> int:
        return 0

    def open(self, k: Kernel, t: Task, dentry: Dentry, flags: int) -> OpenFile:
        allowed = fcntl.fcntl(self.descriptor, fcntl.F_GETFL) & O_ACCMODE
        if allowed not in (O_RDWR, flags & O_ACCMODE):
            raise Errno(errno.EACCES)
        return HostStream(dentry, flags, self.descriptor)

    def truncate(self, k: Kernel, size: int) -> None:
        """`> /dev/stdout` does not cut what the host keeps."""


class Sink(OpenFile):
    """An output stream whose bytes go to a function."""

    def __init__(self, dentry: Dentry, flags: int, write: Callable[[bytes], object]) -> None:
        super().__init__(dentry, flags)
        self._write = write

    def write(self, k: Kernel, t: Task, views: Views, position: Position) -> int:
        data = b"".join(views)
        self._write(data)
        return len(data)


Stream = int | bytes | Callable[[bytes], object]


def open_stream(k: Kernel, stream: Stream, *, write: bool) -> OpenFile:
    """An open file of the guest for one stream of the run.

    stream: a host descriptor; bytes to be read, then the end; a function that takes what is written.
    """
    if isinstance(stream, bytes):
        dentry, pipe = pipe_dentry(k)
        pipe.data += stream
        pipe.opened_writers = 1
        return PipeFile(dentry, O_RDONLY, pipe)
    fs = k.vfs.pipefs
    if not isinstance(stream, int):
        inode = Inode(fs, fs.number(), S_IFIFO | 0o600, k.clock.wall())
        return Sink(Dentry(None, b"pipe:[%d]" % inode.ino, inode), O_WRONLY, stream)
    status = os.fstat(stream)
    mode, rdev, name = S_IFIFO | 0o600, 0, b""
    flags = fcntl.fcntl(stream, fcntl.F_GETFL) & (O_ACCMODE | O_APPEND)
    if os.isatty(stream):
        if k.vfs.devices.terminal is None:
            k.vfs.devices.terminal = HostTerminal(stream)
        return HostStream(k.vfs.terminal(), flags, stream, k.vfs.devices.terminal)
    if stat.S_ISCHR(status.st_mode):
        mode, rdev, name = S_IFCHR | 0o666, NULL_DEVICE, b"/dev/null"
    elif stat.S_ISREG(status.st_mode):
        mode, name = S_IFREG | 0o600, b"/dev/stdout" if write else b"/dev/stdin"
    inode = StreamInode(fs, fs.number(), mode, k.clock.wall(), rdev, stream)
    return HostStream(Dentry(None, name or b"pipe:[%d]" % inode.ino, inode), flags, stream)
