"""Pipes and FIFOs: pipe(7), fs/pipe.c.

64 KiB of room; writes of up to 4096 bytes are atomic. Only the bytes are kept, not Linux's pages, so a pipe holds
its full capacity whatever the sizes of the writes.
"""

from __future__ import annotations

import errno
import struct
from collections import deque
from typing import TYPE_CHECKING, Final

from pyprobe.runtime.user.errors import Block, Errno
from pyprobe.runtime.user.vfs.abi import (
    FIONREAD,
    O_DIRECT,
    O_RDONLY,
    O_WRONLY,
    POLLERR,
    POLLHUP,
    READABLE,
    S_IFIFO,
    WRITABLE,
)
from pyprobe.runtime.user.vfs.inode import Dentry
from pyprobe.runtime.user.vfs.openfile import OpenFile, Position
from pyprobe.runtime.user.vfs.tree import Special
from pyprobe.runtime.user.vfs.views import Views

if TYPE_CHECKING:
    from pyprobe.runtime.user.kernel import Kernel
    from pyprobe.runtime.user.task import Task

PIPE_BUF: Final = 4096
CAPACITY: Final = 65536


class Pipe:
    """The buffer between the ends; the counters are open files, not descriptors."""

    __slots__ = ("arrived", "capacity", "data", "drained", "opened_readers", "opened_writers", "packets", "readers", "writers")

    def __init__(self) -> None:
        self.data = bytearray()
        self.packets: deque[int] = deque()  # lengths of what was written with O_DIRECT: read one by one
        self.capacity = CAPACITY
        self.arrived = 0  # events on either side, for edge-triggered waits
        self.drained = 0
        self.readers = 0
        self.writers = 0
        self.opened_readers = 0  # opens so far: who waits for the other end of a FIFO must not miss one that closed again
        self.opened_writers = 0

    @property
    def room(self) -> int:
        """Bytes that fit."""
        return self.capacity - len(self.data)

    def take(self, views: Views) -> int:
        """Move bytes from the front into `views`; of a packet, what finds no room is lost."""
        done = 0
        packet = self.packets.popleft() if self.packets else 0
        for view in views:
            piece = self.data[done : min(done + len(view), packet) if packet else done + len(view)]
            view[: len(piece)] = piece
            done += len(piece)
            if len(piece) < len(view):
                break
        del self.data[: packet or done]
        self.drained += 1
        return done

    def put(self, views: Views, skip: int = 0) -> int:
        """Append what fits of `views`, after the first `skip` bytes of them."""
        done = 0
        for view in views:
            if skip >= len(view):
                skip -= len(view)
                continue
            piece = view[skip : skip + self.room]
            self.data += piece
            done += len(piece)
            if len(piece) < len(view) - skip:
                break
            skip = 0
        self.arrived += 1
        return done


class PipeFile(OpenFile):
    """One open end, or both (a FIFO opened for reading and writing)."""

    def __init__(self, dentry: Dentry, flags: int, pipe: Pipe) -> None:
        super().__init__(dentry, flags)
        self.pipe = pipe
        if self.readable:
            pipe.readers += 1
            pipe.opened_readers += 1
        if self.writable:
            pipe.writers += 1
            pipe.opened_writers += 1

    def close(self, k: Kernel) -> None:
        self.pipe.readers -= self.readable
        self.pipe.writers -= self.writable
        self.pipe.arrived += 1
        self.pipe.drained += 1
        if not self.pipe.readers and not self.pipe.writers:
            self.pipe.data.clear()

    def read(self, k: Kernel, t: Task, views: Views, position: Position) -> int:
        pipe = self.pipe
        if not views:
            return 0
        if pipe.data:
            return pipe.take(views)
        if not pipe.writers:
            return 0
        self.wait_flags()
        raise Block(lambda: pipe.data or not pipe.writers, why="data in a pipe")

    def most(self, position: Position) -> int:
        return self.pipe.capacity

    def write(self, k: Kernel, t: Task, views: Views, position: Position) -> int:
        pipe = self.pipe
        if not views:
            return 0
        total = sum(map(len, views))
        done: int = t.restart.get("written", 0)  # type: ignore[assignment]  # what this call has put before it blocked
        if not pipe.readers:
            if done:
                return done
            raise broken_pipe(k, t)
        if total > PIPE_BUF or total <= pipe.room:
            put = pipe.put(views, done)
            done += put
            if self.flags & O_DIRECT:
                while put > 0:
                    pipe.packets.append(min(put, PIPE_BUF))
                    put -= PIPE_BUF
        if done == total:
            return done
        needed = total if total <= PIPE_BUF else 1
        return self.write_later(t, done, lambda: pipe.room >= needed or not pipe.readers, "room in a pipe")

    def poll(self, k: Kernel, t: Task) -> int:
        pipe = self.pipe
        mask = 0
        if self.readable:
            if pipe.data:
                mask |= READABLE
            if not pipe.writers and pipe.opened_writers:
                mask |= POLLHUP
        if self.writable:
            if pipe.room >= PIPE_BUF or not pipe.data:
                mask |= WRITABLE
            if not pipe.readers:
                mask |= POLLERR
        return mask

    def edges(self) -> tuple[int, int]:
        return self.pipe.arrived, self.pipe.drained

    def ioctl(self, k: Kernel, t: Task, request: int, argument: int) -> int:
        if request == FIONREAD:
            t.space.write(argument, struct.pack("<i", len(self.pipe.data)))
            return 0
        return super().ioctl(k, t, request, argument)


def new_pipe(k: Kernel, flags: int) -> tuple[PipeFile, PipeFile]:
    """Both ends of a new pipe: for reading, for writing."""
    dentry, pipe = pipe_dentry(k)
    return PipeFile(dentry, flags | O_RDONLY, pipe), PipeFile(dentry, flags | O_WRONLY, pipe)


def pipe_dentry(k: Kernel) -> tuple[Dentry, Pipe]:
    """A new pipe without a place in the tree."""
    fs = k.vfs.pipefs
    inode = Special(fs, fs.number(), S_IFIFO | 0o600, k.clock.wall())
    inode.pipe = Pipe()
    return Dentry(None, b"pipe:[%d]" % inode.ino, inode), inode.pipe


def fifo_file(t: Task, inode: Special, dentry: Dentry, flags: int) -> PipeFile:
    """The open file for a FIFO: the one that waits for its other end already, if the call is being made again."""
    waiting = t.restart.get("fifo")
    if isinstance(waiting, FifoFile):
        return waiting
    if inode.pipe is None:
        inode.pipe = Pipe()
    return FifoFile(dentry, flags, inode.pipe)


class FifoFile(PipeFile):
    """An end that was opened by a name; without O_NONBLOCK or O_RDWR the open waits for the other end: fifo(7)."""

    def __init__(self, dentry: Dentry, flags: int, pipe: Pipe) -> None:
        super().__init__(dentry, flags, pipe)
        self._seen = pipe.opened_writers if self.readable else pipe.opened_readers

    def on_open(self, k: Kernel, t: Task) -> None:
        pipe = self.pipe
        if (self.readable and self.writable) or self.inode.fs is k.vfs.pipefs:
            return
        if self.nonblocking:
            if self.writable and not pipe.readers:
                raise Errno(errno.ENXIO)
            return

        def ready() -> bool:
            if self.readable:
                return pipe.writers > 0 or pipe.opened_writers != self._seen
            return pipe.readers > 0 or pipe.opened_readers != self._seen

        if ready():
            t.restart.pop("fifo", None)
            return
        t.restart["fifo"] = self
        raise Block(ready, why="the other end of a FIFO", interrupted=lambda: self.release(k))


def broken_pipe(k: Kernel, t: Task) -> Errno:
    """Send SIGPIPE to a task that writes where nobody reads; the error for its call."""
    k.broken_pipe(t)
    return Errno(errno.EPIPE)
