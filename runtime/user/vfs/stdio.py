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
from typing import TYPE_CHECKING, Final

from pyprobe.runtime.user.errors import Block, Errno
from pyprobe.runtime.user.vfs.abi import (
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
from pyprobe.runtime.user.vfs.content import Views
from pyprobe.runtime.user.vfs.inode import Dentry, FileSystem, Inode
from pyprobe.runtime.user.vfs.openfile import OpenFile, Position
from pyprobe.runtime.user.vfs.pipe import PipeFile, broken_pipe, pipe_dentry

if TYPE_CHECKING:
    from pyprobe.runtime.user.kernel import Kernel
    from pyprobe.runtime.user.task import Task
    from pyprobe.runtime.user.vfs.stat import Stat

TCGETS: Final = 0x5401
TCSETS: Final = (0x5402, 0x5403, 0x5404)
TIOCGPGRP: Final = 0x540F
TIOCSPGRP: Final = 0x5410
TIOCGWINSZ: Final = 0x5413
TIOCSWINSZ: Final = 0x5414
FIONREAD: Final = 0x541B
TIOCGSID: Final = 0x5429
_TERMIOS_SIZE: Final = 36  # struct termios of the kernel: four words, c_line, c_cc[19]

NULL_DEVICE: Final = makedev(1, 3)


class HostStream(OpenFile):
    """A host descriptor that the run was started with. It is never closed here."""

    def __init__(self, dentry: Dentry, flags: int, descriptor: int) -> None:
        super().__init__(dentry, flags)
        self.descriptor = descriptor
        self.regular = stat.S_ISREG(os.fstat(descriptor).st_mode)
        self.terminal = os.isatty(descriptor)
        self._termios: bytes | None = None
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
            count = fcntl.ioctl(self.descriptor, FIONREAD, bytes(4))
            t.space.write(argument, count)
            return 0
        if not self.terminal:
            raise Errno(errno.ENOTTY)
        if request == TCGETS:
            if self._termios is None:
                self._termios = fcntl.ioctl(self.descriptor, TCGETS, bytes(_TERMIOS_SIZE))
            t.space.write(argument, self._termios)
        elif request in TCSETS:
            # The guest sees its own settings; the terminal outside keeps those it had.
            self._termios = t.space.read(argument, _TERMIOS_SIZE)
        elif request == TIOCGWINSZ:
            t.space.write(argument, fcntl.ioctl(self.descriptor, TIOCGWINSZ, bytes(8)))
        elif request == TIOCGPGRP:
            t.space.write(argument, struct.pack("<i", t.process.pgid))
        elif request == TIOCGSID:
            t.space.write(argument, struct.pack("<i", t.process.sid))
        elif request not in (TIOCSPGRP, TIOCSWINSZ):
            raise Errno(errno.ENOTTY)
        return 0


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
        return HostStream(k.vfs.terminal(), flags, stream)
    if stat.S_ISCHR(status.st_mode):
        mode, rdev, name = S_IFCHR | 0o666, NULL_DEVICE, b"/dev/null"
    elif stat.S_ISREG(status.st_mode):
        mode, name = S_IFREG | 0o600, b"/dev/stdout" if write else b"/dev/stdin"
    inode = StreamInode(fs, fs.number(), mode, k.clock.wall(), rdev, stream)
    return HostStream(Dentry(None, name or b"pipe:[%d]" % inode.ino, inode), flags, stream)
