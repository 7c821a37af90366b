"""Pipes, and moving bytes through them."""

from __future__ import annotations

import errno
import struct
from typing import TYPE_CHECKING

from pyprobe.runtime.machine.memory import R
from pyprobe.runtime.user.errors import Block, Errno
from pyprobe.runtime.user.functions import kernel_function
from pyprobe.runtime.user.syscalls.files import _move
from pyprobe.runtime.user.vfs.abi import MAX_RW_COUNT, O_CLOEXEC, O_DIRECT, O_NONBLOCK, open_flags
from pyprobe.runtime.user.vfs.open import limit
from pyprobe.runtime.user.vfs.openfile import OpenFile, Position
from pyprobe.runtime.user.vfs.pipe import PipeFile, new_pipe
from pyprobe.runtime.user.vfs.readwrite import io_vectors

if TYPE_CHECKING:
    from pyprobe.runtime.user.kernel import Kernel
    from pyprobe.runtime.user.task import Task


SPLICE_F_NONBLOCK = 2
SPLICE_F_ALL = 15


@kernel_function("int do_pipe2(int *fildes, int flags)")
def do_pipe2(k: Kernel, fildes: int, flags: int) -> int:
    """Make a pipe and put its two descriptors into guest memory.

    Raises:
        Errno: EINVAL, EMFILE.
    """
    t = k.current
    assert t is not None
    if flags & ~(O_CLOEXEC | O_NONBLOCK | O_DIRECT):
        raise Errno(errno.EINVAL)
    files = t.process.files
    if len(files) + 2 > limit(t):
        raise Errno(errno.EMFILE)
    t.space.read(fildes, 8)
    close_on_exec = bool(flags & O_CLOEXEC)
    reader, writer = new_pipe(k, flags & ~O_CLOEXEC)
    first = files.add(reader, limit=limit(t), close_on_exec=close_on_exec)
    second = files.add(writer, limit=limit(t), close_on_exec=close_on_exec)
    t.space.write(fildes, struct.pack("<ii", first, second))
    return 0


def sys_pipe(k: Kernel, t: Task, fildes: int) -> int:
    result: int = k.do_pipe2(fildes, 0)
    return result


def sys_pipe2(k: Kernel, t: Task, fildes: int, flags: int) -> int:
    result: int = k.do_pipe2(fildes, open_flags(t.process.arch, flags & 0xFFFFFFFF))
    return result


def _position(t: Task, file: OpenFile, address: int) -> Position:
    if not address:
        return file.position
    if isinstance(file, PipeFile):
        raise Errno(errno.ESPIPE)
    return Position(t.space.u64(address))


def sys_splice(k: Kernel, t: Task, fd_in: int, off_in: int, fd_out: int, off_out: int, length: int, flags: int) -> int:
    if not length:
        return 0
    if flags & ~SPLICE_F_ALL:
        raise Errno(errno.EINVAL)
    source, target = t.process.files.get(fd_in), t.process.files.get(fd_out)
    if not isinstance(source, PipeFile) and not isinstance(target, PipeFile):
        raise Errno(errno.EINVAL)
    if isinstance(source, PipeFile) and isinstance(target, PipeFile) and source.pipe is target.pipe:
        raise Errno(errno.EINVAL)
    if not source.readable or not target.writable:
        raise Errno(errno.EBADF)
    source_at, target_at = _position(t, source, off_in), _position(t, target, off_out)
    count = min(length, MAX_RW_COUNT)
    if isinstance(target, PipeFile):
        count = min(count, target.pipe.room)
        if not count and target.pipe.readers:
            target.wait_flags(flags & 2)
            pipe = target.pipe
            raise Block(lambda: pipe.room > 0 or not pipe.readers, why="room in a pipe")
    if isinstance(source, PipeFile):
        if not source.pipe.data and source.pipe.writers and flags & SPLICE_F_NONBLOCK:
            raise Errno(errno.EAGAIN)
        count = min(count, len(source.pipe.data) or 1)
    moved = _move(k, t, source, source_at, target, target_at, count)
    for address, position in ((off_in, source_at), (off_out, target_at)):
        if address:
            t.space.put_u64(address, position.value)
    return moved


def sys_tee(k: Kernel, t: Task, fdin: int, fdout: int, length: int, flags: int) -> int:
    if flags & ~SPLICE_F_ALL:
        raise Errno(errno.EINVAL)
    if not length:
        return 0
    source, target = t.process.files.get(fdin), t.process.files.get(fdout)
    if not isinstance(source, PipeFile) or not isinstance(target, PipeFile) or source.pipe is target.pipe:
        raise Errno(errno.EINVAL)
    pipe, out = source.pipe, target.pipe
    if not pipe.data:
        if not pipe.writers:
            return 0
        source.wait_flags(flags & 2)
        raise Block(lambda: pipe.data or not pipe.writers, why="data in a pipe")
    if not out.room:
        target.wait_flags(flags & 2)
        raise Block(lambda: out.room > 0 or not out.readers, why="room in a pipe")
    return out.put((memoryview(bytes(pipe.data[:length])),))


def sys_vmsplice(k: Kernel, t: Task, fd: int, iov: int, nr_segs: int, flags: int) -> int:
    if flags & ~SPLICE_F_ALL:
        raise Errno(errno.EINVAL)
    file = t.process.files.get(fd)
    if not isinstance(file, PipeFile):
        raise Errno(errno.EBADF)
    if not file.writable:
        result: int = k.vfs_readv(file, iov, nr_segs, file.position, 0)
        return result
    return file.write(k, t, io_vectors(t, iov, nr_segs, R), file.position)
