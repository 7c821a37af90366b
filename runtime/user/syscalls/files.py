"""Opening files and moving their bytes: open, read, write and their families."""

from __future__ import annotations

import errno
import struct
from typing import TYPE_CHECKING

from pyprobe.runtime.user.errors import Block, Errno
from pyprobe.runtime.user.vfs.abi import (
    AT_FDCWD,
    FALLOC_FL_KEEP_SIZE,
    FALLOC_FL_PUNCH_HOLE,
    FALLOC_FL_ZERO_RANGE,
    MAX_RW_COUNT,
    O_APPEND,
    O_CLOEXEC,
    O_CREAT,
    O_DIRECTORY,
    O_LARGEFILE,
    O_NOFOLLOW,
    O_PATH,
    O_TMPFILE,
    O_TRUNC,
    O_WRONLY,
    TMPFS_MAGIC,
    open_flags,
)
from pyprobe.runtime.user.vfs.inotify import IN_ACCESS, IN_MODIFY
from pyprobe.runtime.user.vfs.open import OpenHow
from pyprobe.runtime.user.vfs.openfile import OpenFile, Position, RegularFile, newsize_ok
from pyprobe.runtime.user.vfs.pipe import PipeFile
from pyprobe.runtime.user.words import s64

if TYPE_CHECKING:
    from pyprobe.runtime.user.kernel import Kernel
    from pyprobe.runtime.user.task import Task

_COPY_CHUNK = 1 << 16
_MFD_CLOEXEC, _MFD_ALLOW_SEALING, _MFD_HUGETLB, _MFD_NOEXEC_SEAL, _MFD_EXEC = 1, 2, 4, 8, 16
_OPEN_HOW = struct.Struct("<QQQ")
_KNOWN_OPEN_FLAGS = 0o37777703
_PATH_FLAGS = O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC  # O_PATH_FLAGS of fs/open.c
_RWF_KNOWN = 0x3F
_RWF_NOWAIT = 0x8
_RWF_APPEND = 0x10


def sys_openat(k: Kernel, t: Task, dfd: int, filename: int, flags: int, mode: int) -> int:
    flags = open_flags(t.process.arch, flags & 0xFFFFFFFF) & _KNOWN_OPEN_FLAGS | O_LARGEFILE
    made = flags & O_CREAT or flags & O_TMPFILE == O_TMPFILE
    result: int = k.do_sys_openat2(dfd, filename, OpenHow(flags, mode & 0o7777 if made else 0))
    return result


def sys_open(k: Kernel, t: Task, filename: int, flags: int, mode: int) -> int:
    return sys_openat(k, t, AT_FDCWD, filename, flags, mode)


def sys_creat(k: Kernel, t: Task, filename: int, mode: int) -> int:
    result: int = k.do_sys_openat2(AT_FDCWD, filename, OpenHow(O_CREAT | O_WRONLY | O_TRUNC | O_LARGEFILE, mode & 0o7777))
    return result


def sys_openat2(k: Kernel, t: Task, dfd: int, filename: int, how: int, usize: int) -> int:
    if usize < _OPEN_HOW.size:
        raise Errno(errno.EINVAL)
    if usize > 4096 or any(t.space.read(how + _OPEN_HOW.size, usize - _OPEN_HOW.size)):
        raise Errno(errno.E2BIG)
    flags, mode, resolve = _OPEN_HOW.unpack(t.space.read(how, _OPEN_HOW.size))
    flags = open_flags(t.process.arch, flags)
    made = flags & O_CREAT or flags & O_TMPFILE == O_TMPFILE
    if flags & ~_KNOWN_OPEN_FLAGS or resolve & ~0x3F or mode & ~(0o7777 if made else 0) or resolve & 0x18 == 0x18:
        raise Errno(errno.EINVAL)
    if flags & O_PATH and flags & ~_PATH_FLAGS:
        raise Errno(errno.EINVAL)
    result: int = k.do_sys_openat2(dfd, filename, OpenHow(flags | O_LARGEFILE, mode, resolve))
    return result


def sys_read(k: Kernel, t: Task, fd: int, buf: int, count: int) -> int:
    result: int = k.ksys_read(fd, buf, count)
    return result


def sys_write(k: Kernel, t: Task, fd: int, buf: int, count: int) -> int:
    result: int = k.ksys_write(fd, buf, count)
    return result


def sys_readv(k: Kernel, t: Task, fd: int, vec: int, vlen: int) -> int:
    file = t.process.files.get(fd)
    result: int = k.vfs_readv(file, vec, vlen, file.position, 0)
    return result


def sys_writev(k: Kernel, t: Task, fd: int, vec: int, vlen: int) -> int:
    file = t.process.files.get(fd)
    result: int = k.vfs_writev(file, vec, vlen, file.position, 0)
    return result


def _at(t: Task, fd: int, offset: int) -> tuple[OpenFile, Position]:
    if s64(offset) < 0:
        raise Errno(errno.EINVAL)
    file = t.process.files.get(fd)
    if not file.seekable:
        raise Errno(errno.ESPIPE)
    return file, Position(offset)


def sys_pread64(k: Kernel, t: Task, fd: int, buf: int, count: int, pos: int) -> int:
    file, position = _at(t, fd, pos)
    result: int = k.vfs_read(file, buf, count, position)
    return result


def sys_pwrite64(k: Kernel, t: Task, fd: int, buf: int, count: int, pos: int) -> int:
    file, position = _at(t, fd, pos)
    result: int = k.vfs_write(file, buf, count, position)
    return result


def sys_preadv(k: Kernel, t: Task, fd: int, vec: int, vlen: int, pos_l: int, pos_h: int) -> int:
    file, position = _at(t, fd, pos_l)
    result: int = k.vfs_readv(file, vec, vlen, position, 0)
    return result


def sys_pwritev(k: Kernel, t: Task, fd: int, vec: int, vlen: int, pos_l: int, pos_h: int) -> int:
    file, position = _at(t, fd, pos_l)
    result: int = k.vfs_writev(file, vec, vlen, position, 0)
    return result


def _flagged(flags: int) -> None:
    if flags & 0xFFFFFFFF & ~_RWF_KNOWN:
        raise Errno(errno.EOPNOTSUPP)


def _or_again(flags: int, call: object, *arguments: object) -> int:
    """Make a read or write that must not wait when RWF_NOWAIT is given."""
    try:
        result: int = call(*arguments)  # type: ignore[operator]  # one of the kernel's functions
    except Block:
        if flags & _RWF_NOWAIT:
            raise Errno(errno.EAGAIN) from None
        raise
    return result


def sys_preadv2(k: Kernel, t: Task, fd: int, vec: int, vlen: int, pos_l: int, pos_h: int, flags: int) -> int:
    _flagged(flags)
    if s64(pos_l) == -1:
        file = t.process.files.get(fd)
        return _or_again(flags, k.vfs_readv, file, vec, vlen, file.position, flags)
    file, position = _at(t, fd, pos_l)
    return _or_again(flags, k.vfs_readv, file, vec, vlen, position, flags)


def sys_pwritev2(k: Kernel, t: Task, fd: int, vec: int, vlen: int, pos_l: int, pos_h: int, flags: int) -> int:
    _flagged(flags)
    if s64(pos_l) == -1:
        file = t.process.files.get(fd)
        position = file.position
    else:
        file, position = _at(t, fd, pos_l)
    if flags & _RWF_APPEND and isinstance(file, RegularFile):
        position.value = file.inode.size()
    return _or_again(flags, k.vfs_writev, file, vec, vlen, position, flags)


def sys_lseek(k: Kernel, t: Task, fd: int, offset: int, whence: int) -> int:
    return t.process.files.get(fd).seek(k, t, s64(offset), whence & 0xFFFFFFFF)


def sys_truncate(k: Kernel, t: Task, path: int, length: int) -> int:
    if s64(length) < 0:
        raise Errno(errno.EINVAL)
    k.vfs_truncate(k.vfs.find(k, t, t.space.cstring(path)), length)
    return 0


def sys_ftruncate(k: Kernel, t: Task, fd: int, length: int) -> int:
    file = t.process.files.get(fd)
    if s64(length) < 0 or not file.writable:
        raise Errno(errno.EINVAL)
    newsize_ok(k, t, file.inode.size(), length)
    file.truncate(k, t, length)
    if k.vfs.notifier.any:
        k.vfs.notifier.event(k, file.dentry, IN_MODIFY)
    return 0


def sys_fallocate(k: Kernel, t: Task, fd: int, mode: int, offset: int, length: int) -> int:
    file = t.process.files.get(fd)
    offset, length = s64(offset), s64(length)
    if offset < 0 or length <= 0:
        raise Errno(errno.EINVAL)
    if not file.writable:
        raise Errno(errno.EBADF)
    if isinstance(file, PipeFile):
        raise Errno(errno.ESPIPE)
    if not isinstance(file, RegularFile):
        raise Errno(errno.ENODEV)
    size, end = file.inode.size(), offset + length
    mode &= 0xFFFFFFFF
    if mode & ~(FALLOC_FL_KEEP_SIZE | FALLOC_FL_PUNCH_HOLE | FALLOC_FL_ZERO_RANGE):
        raise Errno(errno.EOPNOTSUPP)
    if mode & FALLOC_FL_PUNCH_HOLE and not mode & FALLOC_FL_KEEP_SIZE:
        raise Errno(errno.EOPNOTSUPP)
    if mode & FALLOC_FL_PUNCH_HOLE and mode & FALLOC_FL_ZERO_RANGE:
        raise Errno(errno.EOPNOTSUPP)
    if mode & FALLOC_FL_ZERO_RANGE and file.inode.fs.magic == TMPFS_MAGIC:
        raise Errno(errno.EOPNOTSUPP)
    if not mode & FALLOC_FL_KEEP_SIZE:
        newsize_ok(k, t, size, end)
    if mode & (FALLOC_FL_PUNCH_HOLE | FALLOC_FL_ZERO_RANGE) and offset < size:
        file.inode.punch(k, offset, min(end, size))
    if not mode & FALLOC_FL_PUNCH_HOLE and end - size > k.vfs.disk.limit - k.vfs.disk.used:
        k.vfs.disk.full = True
        raise Errno(errno.ENOSPC)
    if end > size and not mode & FALLOC_FL_KEEP_SIZE:
        file.truncate(k, t, end)
    if not mode & FALLOC_FL_PUNCH_HOLE:
        _allocate(file, offset, min(end, file.inode.size()))
    return 0


def _allocate(file: RegularFile, at: int, end: int) -> None:
    """Fill the holes of a part of a file with zeros that take room."""
    while at < end:
        at = file.inode.content.next_hole(at)
        data = file.inode.content.next_data(at) if at < end else end
        while at < min(data, end):
            at += file.inode.write((memoryview(bytes(min(_COPY_CHUNK, data - at, end - at))),), at)


def sys_fsync(k: Kernel, t: Task, fd: int) -> int:
    file = t.process.files.get(fd)
    if not (file.inode.is_regular or file.inode.is_directory):
        raise Errno(errno.EINVAL)
    return 0


def sys_fdatasync(k: Kernel, t: Task, fd: int) -> int:
    return sys_fsync(k, t, fd)


def sys_sync(k: Kernel, t: Task) -> int:
    return 0


def sys_syncfs(k: Kernel, t: Task, fd: int) -> int:
    t.process.files.get(fd)
    return 0


def sys_sync_file_range(k: Kernel, t: Task, fd: int, offset: int, length: int, flags: int) -> int:
    return sys_fsync(k, t, fd)


def sys_fadvise64(k: Kernel, t: Task, fd: int, offset: int, length: int, advice: int) -> int:
    file = t.process.files.get(fd)
    if isinstance(file, PipeFile):
        raise Errno(errno.ESPIPE)
    return 0


def sys_readahead(k: Kernel, t: Task, fd: int, offset: int, count: int) -> int:
    if not t.process.files.get(fd).readable:
        raise Errno(errno.EBADF)
    return 0


def _move(k: Kernel, t: Task, source: OpenFile, source_at: Position, target: OpenFile, target_at: Position, count: int) -> int:
    """Copy between two open files through a buffer of ours; what was read and not taken is given back, by position or to the pipe.

    Raises:
        Errno, Block: nothing could be moved.
    """
    done = 0
    while done < count:
        buffer = memoryview(bytearray(min(_COPY_CHUNK, count - done)))
        start = source_at.value
        try:
            got = source.read(k, t, (buffer,), source_at)
        except (Errno, Block):
            if done:
                return done
            raise
        if not got:
            break
        try:
            put = target.write(k, t, (buffer[:got],), target_at)
        except (Errno, Block):
            put = int(t.restart.get("written", 0)) if done else 0  # type: ignore[call-overload]  # write_later's count
            _give_back(source, source_at, start + put, buffer[put:got])
            if done:
                return done + put
            raise
        _give_back(source, source_at, start + put, buffer[put:got])
        done += put
        if k.vfs.notifier.any:
            k.vfs.notifier.event(k, source.dentry, IN_ACCESS)
            k.vfs.notifier.event(k, target.dentry, IN_MODIFY)
        if put < got:
            break
    return done


def _give_back(source: OpenFile, position: Position, value: int, rest: memoryview) -> None:
    position.value = value
    if rest and isinstance(source, PipeFile):
        source.pipe.data[:0] = rest


def sys_sendfile64(k: Kernel, t: Task, out_fd: int, in_fd: int, offset: int, count: int) -> int:
    source, target = t.process.files.get(in_fd), t.process.files.get(out_fd)
    if target.flags & O_APPEND:
        raise Errno(errno.EINVAL)
    if not source.readable or not target.writable:
        raise Errno(errno.EBADF)
    if not isinstance(source, RegularFile) and not source.seekable:
        raise Errno(errno.EINVAL)
    position = source.position
    if offset:
        position = Position(s64(t.space.u64(offset)))
        if position.value < 0:
            raise Errno(errno.EINVAL)
    moved = _move(k, t, source, position, target, target.position, min(count, MAX_RW_COUNT))
    if offset:
        t.space.put_u64(offset, position.value)
    return moved


def sys_sendfile(k: Kernel, t: Task, out_fd: int, in_fd: int, offset: int, count: int) -> int:
    return sys_sendfile64(k, t, out_fd, in_fd, offset, count)


def sys_copy_file_range(k: Kernel, t: Task, fd_in: int, off_in: int, fd_out: int, off_out: int, length: int, flags: int) -> int:
    source, target = t.process.files.get(fd_in), t.process.files.get(fd_out)
    if flags:
        raise Errno(errno.EINVAL)
    for file in (source, target):
        if file.inode.is_directory:
            raise Errno(errno.EISDIR)
        if not isinstance(file, RegularFile):
            raise Errno(errno.EINVAL)
    if not source.readable or not target.writable or target.flags & 0o2000:
        raise Errno(errno.EBADF)
    source_at = Position(s64(t.space.u64(off_in))) if off_in else source.position
    target_at = Position(s64(t.space.u64(off_out))) if off_out else target.position
    if source_at.value < 0 or target_at.value < 0:
        raise Errno(errno.EINVAL)
    if source.inode is target.inode and abs(source_at.value - target_at.value) < length:
        raise Errno(errno.EINVAL)
    moved = _move(k, t, source, source_at, target, target_at, min(length, MAX_RW_COUNT))
    if off_in:
        t.space.put_u64(off_in, source_at.value)
    if off_out:
        t.space.put_u64(off_out, target_at.value)
    return moved


def sys_memfd_create(k: Kernel, t: Task, uname: int, flags: int) -> int:
    if flags & 0xFFFFFFFF & ~(_MFD_CLOEXEC | _MFD_ALLOW_SEALING | _MFD_HUGETLB | _MFD_NOEXEC_SEAL | _MFD_EXEC):
        raise Errno(errno.EINVAL)
    name = t.space.cstring(uname, 250)
    if len(name) > 249:
        raise Errno(errno.EINVAL)
    return k.vfs.memfd(k, t, name, close_on_exec=bool(flags & _MFD_CLOEXEC), sealing=bool(flags & _MFD_ALLOW_SEALING))


