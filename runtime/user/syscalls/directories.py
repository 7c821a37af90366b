"""Names and directories: stat, getdents, mkdir, rename, chdir and their families."""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING

from pyprobe.runtime.user.errors import Errno
from pyprobe.runtime.user.vfs.abi import (
    AT_EMPTY_PATH,
    AT_FDCWD,
    AT_REMOVEDIR,
    AT_STATX_SYNC_TYPE,
    AT_SYMLINK_NOFOLLOW,
    X_OK,
)
from pyprobe.runtime.user.vfs.attributes import DirContext, KStat
from pyprobe.runtime.user.vfs.inode import Dentry
from pyprobe.runtime.user.vfs.permission import check
from pyprobe.runtime.user.words import s32

if TYPE_CHECKING:
    from pyprobe.runtime.user.kernel import Kernel
    from pyprobe.runtime.user.task import Task

_GETDENTS_ROOM = 1 << 20


def _fstatat(k: Kernel, t: Task, dfd: int, filename: int, statbuf: int, flags: int) -> int:
    stat = KStat()
    k.vfs_fstatat(dfd, filename, stat, flags)
    t.space.write(statbuf, stat.result().pack(t.process.arch))
    return 0


def sys_newfstatat(k: Kernel, t: Task, dfd: int, filename: int, statbuf: int, flag: int) -> int:
    return _fstatat(k, t, dfd, filename, statbuf, flag & 0xFFFFFFFF)


def sys_stat(k: Kernel, t: Task, filename: int, statbuf: int) -> int:
    return _fstatat(k, t, AT_FDCWD, filename, statbuf, 0)


def sys_lstat(k: Kernel, t: Task, filename: int, statbuf: int) -> int:
    return _fstatat(k, t, AT_FDCWD, filename, statbuf, AT_SYMLINK_NOFOLLOW)


def sys_fstat(k: Kernel, t: Task, fd: int, statbuf: int) -> int:
    stat = KStat()
    k.vfs_fstat(fd, stat)
    t.space.write(statbuf, stat.result().pack(t.process.arch))
    return 0


def sys_statx(k: Kernel, t: Task, dfd: int, filename: int, flags: int, mask: int, buffer: int) -> int:
    flags &= 0xFFFFFFFF
    if mask & 0x80000000 or flags & AT_STATX_SYNC_TYPE == AT_STATX_SYNC_TYPE:
        raise Errno(errno.EINVAL)
    if not filename and flags & AT_EMPTY_PATH:
        path = b""
    else:
        path = t.space.cstring(filename)
    stat = KStat()
    k.vfs_statx(dfd, path, flags, stat, mask)
    t.space.write(buffer, stat.result().pack_statx())
    return 0


def sys_statfs(k: Kernel, t: Task, path: int, buf: int) -> int:
    t.space.write(buf, k.vfs.find(k, t, t.space.cstring(path)).require().fs.statfs().pack())
    return 0


def sys_fstatfs(k: Kernel, t: Task, fd: int, buf: int) -> int:
    t.space.write(buf, t.process.files.get(fd).inode.fs.statfs().pack())
    return 0


def sys_getdents64(k: Kernel, t: Task, fd: int, dirent: int, count: int) -> int:
    context = DirContext(min(count & 0xFFFFFFFF, _GETDENTS_ROOM))
    k.iterate_dir(t.process.files.get(fd), context)
    t.space.write(dirent, context.data)
    return len(context.data)


def sys_getdents(k: Kernel, t: Task, fd: int, dirent: int, count: int) -> int:
    """The old layout: the type stands in the last byte of the record."""
    context = DirContext(min(count & 0xFFFFFFFF, _GETDENTS_ROOM))
    k.iterate_dir(t.process.files.get(fd), context)
    data, at = bytearray(context.data), 0
    while at < len(data):
        length = int.from_bytes(data[at + 16 : at + 18], "little")
        kind, name = data[at + 18], bytes(data[at + 19 : at + length])
        data[at + 18 : at + length] = name + bytes((kind,))
        at += length
    t.space.write(dirent, bytes(data))
    return len(data)


def sys_access(k: Kernel, t: Task, filename: int, mode: int) -> int:
    return sys_faccessat2(k, t, AT_FDCWD, filename, mode, 0)


def sys_faccessat(k: Kernel, t: Task, dfd: int, filename: int, mode: int) -> int:
    return sys_faccessat2(k, t, dfd, filename, mode, 0)


def sys_faccessat2(k: Kernel, t: Task, dfd: int, filename: int, mode: int, flags: int) -> int:
    result: int = k.do_faccessat(dfd, t.space.cstring(filename), mode & 0xFFFFFFFF, flags & 0xFFFFFFFF)
    return result


def sys_readlink(k: Kernel, t: Task, path: int, buf: int, bufsiz: int) -> int:
    return sys_readlinkat(k, t, AT_FDCWD, path, buf, bufsiz)


def sys_readlinkat(k: Kernel, t: Task, dfd: int, path: int, buf: int, bufsiz: int) -> int:
    name = t.space.cstring(path)
    if not name and s32(dfd) == AT_FDCWD:
        raise Errno(errno.ENOENT)
    result: int = k.do_readlinkat(dfd, name, buf, bufsiz)
    return result


# names


def sys_mkdir(k: Kernel, t: Task, path: int, mode: int) -> int:
    return sys_mkdirat(k, t, AT_FDCWD, path, mode)


def sys_mkdirat(k: Kernel, t: Task, dfd: int, path: int, mode: int) -> int:
    result: int = k.do_mkdirat(dfd, t.space.cstring(path), mode & 0o7777)
    return result


def sys_rmdir(k: Kernel, t: Task, path: int) -> int:
    result: int = k.do_rmdir(AT_FDCWD, t.space.cstring(path))
    return result


def sys_unlink(k: Kernel, t: Task, path: int) -> int:
    result: int = k.do_unlinkat(AT_FDCWD, t.space.cstring(path))
    return result


def sys_unlinkat(k: Kernel, t: Task, dfd: int, path: int, flag: int) -> int:
    if flag & 0xFFFFFFFF & ~AT_REMOVEDIR:
        raise Errno(errno.EINVAL)
    work = k.do_rmdir if flag & AT_REMOVEDIR else k.do_unlinkat
    result: int = work(dfd, t.space.cstring(path))
    return result


def sys_symlink(k: Kernel, t: Task, old: int, new: int) -> int:
    return sys_symlinkat(k, t, old, AT_FDCWD, new)


def sys_symlinkat(k: Kernel, t: Task, old: int, newdfd: int, new: int) -> int:
    result: int = k.do_symlinkat(t.space.cstring(old), newdfd, t.space.cstring(new))
    return result


def sys_link(k: Kernel, t: Task, old: int, new: int) -> int:
    return sys_linkat(k, t, AT_FDCWD, old, AT_FDCWD, new, 0)


def sys_linkat(k: Kernel, t: Task, olddfd: int, old: int, newdfd: int, new: int, flags: int) -> int:
    result: int = k.do_linkat(olddfd, t.space.cstring(old), newdfd, t.space.cstring(new), flags & 0xFFFFFFFF)
    return result


def sys_mknod(k: Kernel, t: Task, filename: int, mode: int, dev: int) -> int:
    return sys_mknodat(k, t, AT_FDCWD, filename, mode, dev)


def sys_mknodat(k: Kernel, t: Task, dfd: int, filename: int, mode: int, dev: int) -> int:
    result: int = k.do_mknodat(dfd, t.space.cstring(filename), mode & 0xFFFF, dev & 0xFFFFFFFF)
    return result


def sys_rename(k: Kernel, t: Task, old: int, new: int) -> int:
    return sys_renameat2(k, t, AT_FDCWD, old, AT_FDCWD, new, 0)


def sys_renameat(k: Kernel, t: Task, olddfd: int, old: int, newdfd: int, new: int) -> int:
    return sys_renameat2(k, t, olddfd, old, newdfd, new, 0)


def sys_renameat2(k: Kernel, t: Task, olddfd: int, old: int, newdfd: int, new: int, flags: int) -> int:
    result: int = k.do_renameat2(olddfd, t.space.cstring(old), newdfd, t.space.cstring(new), flags & 0xFFFFFFFF)
    return result


# where a process stands


def sys_getcwd(k: Kernel, t: Task, buf: int, size: int) -> int:
    fs = t.process.fs
    if fs.cwd.removed:
        raise Errno(errno.ENOENT)
    path = fs.cwd.path(fs.root)
    if not fs.cwd.is_within(fs.root):
        path = b"(unreachable)" + path
    if len(path) + 1 > size:
        raise Errno(errno.ERANGE)
    t.space.write(buf, path + b"\0")
    return len(path) + 1


def _enter(t: Task, dentry: Dentry) -> Dentry:
    inode = dentry.require()
    if not inode.is_directory:
        raise Errno(errno.ENOTDIR)
    check(t, inode, X_OK)
    return dentry


def sys_chdir(k: Kernel, t: Task, filename: int) -> int:
    t.process.fs.cwd = _enter(t, k.vfs.find(k, t, t.space.cstring(filename)))
    return 0


def sys_fchdir(k: Kernel, t: Task, fd: int) -> int:
    t.process.fs.cwd = _enter(t, t.process.files.get(fd).dentry)
    return 0


def sys_chroot(k: Kernel, t: Task, filename: int) -> int:
    dentry = _enter(t, k.vfs.find(k, t, t.space.cstring(filename)))
    if t.cred.euid != 0:
        raise Errno(errno.EPERM)
    t.process.fs.root = dentry
    return 0


def sys_umask(k: Kernel, t: Task, mask: int) -> int:
    fs = t.process.fs
    old, fs.umask = fs.umask, mask & 0o777
    return old
