"""Moving bytes between open files and guest memory: fs/read_write.c."""

from __future__ import annotations

import errno
import struct
from typing import TYPE_CHECKING

from pyprobe.runtime.machine.memory import MemoryFault, R, W
from pyprobe.runtime.user.errors import Errno
from pyprobe.runtime.user.functions import kernel_function
from pyprobe.runtime.user.vfs.abi import IOV_MAX, MAX_RW_COUNT
from pyprobe.runtime.user.vfs.inotify import IN_ACCESS, IN_MODIFY
from pyprobe.runtime.user.vfs.openfile import OpenFile, Position

if TYPE_CHECKING:
    from pyprobe.runtime.user.kernel import Kernel
    from pyprobe.runtime.user.task import Task


def views(t: Task, address: int, count: int, access: int) -> list[memoryview]:
    """Guest memory as views; cut short where it ends, as long as there is a beginning.

    Raises:
        MemoryFault: not even the first byte can be accessed.
    """
    if count > MAX_RW_COUNT:
        count = MAX_RW_COUNT
    try:
        return t.space.views(address, count, access)
    except MemoryFault as fault:
        if fault.address <= address:
            raise
        return t.space.views(address, fault.address - address, access)


def io_vectors(t: Task, address: int, count: int, access: int, room: int = MAX_RW_COUNT) -> list[memoryview]:
    """The memory that an array of struct iovec describes, its first `room` bytes.

    Raises:
        Errno: EINVAL.
        MemoryFault: the array, or the memory, is not there.
    """
    if count > IOV_MAX:
        raise Errno(errno.EINVAL)
    words = struct.unpack(f"<{2 * count}Q", t.space.read(address, 16 * count))
    found: list[memoryview] = []
    for base, length in zip(words[::2], words[1::2], strict=True):
        if length >> 63:
            raise Errno(errno.EINVAL)
        length = min(length, room)
        if length:
            found += t.space.views(base, length, access)
            room -= length
    return found


@kernel_function("ssize_t ksys_read(unsigned int fd, char *buf, size_t count)")
def ksys_read(k: Kernel, fd: int, buf: int, count: int) -> int:
    """read(2)."""
    file = k.current.process.files.get(fd)  # type: ignore[union-attr]  # only tasks call it
    result: int = k.vfs_read(file, buf, count, file.position)
    return result


@kernel_function("ssize_t vfs_read(struct file *file, char *buf, size_t count, loff_t *pos)")
def vfs_read(k: Kernel, file: OpenFile, buf: int, count: int, pos: Position) -> int:
    """Read from an open file into guest memory.

    Raises:
        Errno, Block, MemoryFault.
    """
    t = k.current
    assert t is not None
    if not file.readable:
        raise Errno(errno.EBADF)
    if count >> 63:
        raise Errno(errno.EINVAL)
    count = min(count, file.most(pos))
    done = file.read(k, t, views(t, buf, count, W) if count else (), pos)
    if done and k.vfs.notifier.any:
        k.vfs.notifier.event(k, file.dentry, IN_ACCESS)
    return done


@kernel_function("ssize_t ksys_write(unsigned int fd, const char *buf, size_t count)")
def ksys_write(k: Kernel, fd: int, buf: int, count: int) -> int:
    """write(2)."""
    file = k.current.process.files.get(fd)  # type: ignore[union-attr]  # only tasks call it
    result: int = k.vfs_write(file, buf, count, file.position)
    return result


@kernel_function("ssize_t vfs_write(struct file *file, const char *buf, size_t count, loff_t *pos)")
def vfs_write(k: Kernel, file: OpenFile, buf: int, count: int, pos: Position) -> int:
    """Write guest memory to an open file.

    Raises:
        Errno, Block, MemoryFault.
    """
    t = k.current
    assert t is not None
    if not file.writable:
        raise Errno(errno.EBADF)
    if count >> 63:
        raise Errno(errno.EINVAL)
    done = file.write(k, t, views(t, buf, count, R) if count else (), pos)
    if done and k.vfs.notifier.any:
        k.vfs.notifier.event(k, file.dentry, IN_MODIFY)
    return done


@kernel_function("ssize_t vfs_readv(struct file *file, const struct iovec *vec, unsigned long vlen, loff_t *pos, rwf_t flags)")
def vfs_readv(k: Kernel, file: OpenFile, vec: int, vlen: int, pos: Position, flags: int) -> int:
    """Read from an open file into several pieces of guest memory."""
    t = k.current
    assert t is not None
    if not file.readable:
        raise Errno(errno.EBADF)
    pieces = io_vectors(t, vec, vlen, W, min(MAX_RW_COUNT, file.most(pos)))
    done = file.read(k, t, pieces, pos) if pieces else 0
    if done and k.vfs.notifier.any:
        k.vfs.notifier.event(k, file.dentry, IN_ACCESS)
    return done


@kernel_function("ssize_t vfs_writev(struct file *file, const struct iovec *vec, unsigned long vlen, loff_t *pos, rwf_t flags)")
def vfs_writev(k: Kernel, file: OpenFile, vec: int, vlen: int, pos: Position, flags: int) -> int:
    """Write several pieces of guest memory to an open file."""
    t = k.current
    assert t is not None
    if not file.writable:
        raise Errno(errno.EBADF)
    pieces = io_vectors(t, vec, vlen, R)
    done = file.write(k, t, pieces, pos) if pieces else 0
    if done and k.vfs.notifier.any:
        k.vfs.notifier.event(k, file.dentry, IN_MODIFY)
    return done
