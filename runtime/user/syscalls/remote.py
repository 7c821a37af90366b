"""System calls on other processes' memory and files: process_vm_readv(2), kcmp(2), pidfd_getfd(2) and their like.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterable
from errno import EFAULT, EINVAL, ESRCH
from typing import TYPE_CHECKING

from pyprobe.runtime.machine import covered
from pyprobe.runtime.machine.memory import MemoryFault, R, W
from pyprobe.runtime.user.access import may_access
from pyprobe.runtime.user.errors import Errno
from pyprobe.runtime.user.syscalls.memory import advise
from pyprobe.runtime.user.syscalls.pidfd import process_of
from pyprobe.runtime.user.vfs.abi import IOV_MAX, MAX_RW_COUNT
from pyprobe.runtime.user.vfs.epoll import EpollFile
from pyprobe.runtime.user.vfs.open import install
from pyprobe.runtime.user.words import U32, s32

if TYPE_CHECKING:
    from pyprobe.runtime.user.kernel import Kernel
    from pyprobe.runtime.user.task import Process, Task

KCMP_FILE, KCMP_VM, KCMP_FILES, KCMP_FS, KCMP_SIGHAND, KCMP_IO, KCMP_SYSVSEM, KCMP_EPOLL_TFD = range(8)
PROCESS_MADVISE = frozenset({3, 20, 21, 25})  # MADV_WILLNEED, MADV_COLD, MADV_PAGEOUT, MADV_COLLAPSE

SHARED: dict[int, Callable[[Process], object]] = {
    KCMP_VM: lambda process: process.space,
    KCMP_FILES: lambda process: process.files,
    KCMP_FS: lambda process: process.fs,
    KCMP_SIGHAND: lambda process: process.actions,
    KCMP_IO: lambda process: None,  # no task has an I/O context
    KCMP_SYSVSEM: lambda process: None,  # nor a list of semaphores to undo, to share
}


def _living(k: Kernel, pid: int) -> Process:
    task = k.tasks.get(s32(pid))
    if task is None:
        raise Errno(ESRCH)
    return task.process


# memory


def _areas(t: Task, address: int, count: int) -> list[tuple[int, int]]:
    """An array of struct iovec as addresses and lengths."""
    if count > IOV_MAX:
        raise Errno(EINVAL)
    words = struct.unpack(f"<{2 * count}Q", t.space.read(address, 16 * count))
    areas = list(zip(words[::2], words[1::2], strict=True))
    if any(length >> 63 for _, length in areas):
        raise Errno(EINVAL)
    return areas


def _local(t: Task, areas: list[tuple[int, int]], access: int) -> list[memoryview]:
    room, found = MAX_RW_COUNT, []
    for base, length in areas:
        length = min(length, room)
        found += t.space.views(base, length, access) if length else []
        room -= length
    return found


def _transfer(k: Kernel, t: Task, pid: int, local: int, local_count: int, remote: int, remote_count: int, flags: int, write: bool) -> int:
    """Move bytes between this process's areas and another's; it may end in the middle of the other's areas, at a page that is not there."""
    if flags:
        raise Errno(EINVAL)
    own = _areas(t, local, local_count)
    room = min(sum(length for _, length in own), MAX_RW_COUNT)
    if not room:
        return 0
    theirs = _areas(t, remote, remote_count)
    if not any(length for _, length in theirs):
        return 0
    process = _living(k, pid)
    may_access(t, process, attach=True)
    views = iter(_local(t, own, R if write else W))
    view, done = next(views), 0
    for base, length in theirs:
        at, end = base, base + length
        while at < end and done < room:
            while not view:
                view = next(views)
            size = min(len(view), end - at, 4096 - at % 4096)
            try:
                if write:
                    process.space.write(at, view[:size])
                else:
                    view[:size] = covered.uncovered(process.engine, process.space, at, process.space.read(at, size))
            except MemoryFault:
                if not done:
                    raise Errno(EFAULT) from None
                return done
            view = view[size:]
            at += size
            done += size
    return done


def sys_process_vm_readv(k: Kernel, t: Task, pid: int, lvec: int, liovcnt: int, rvec: int, riovcnt: int, flags: int) -> int:
    """process_vm_readv(2)."""
    return _transfer(k, t, pid, lvec, liovcnt, rvec, riovcnt, flags, False)


def sys_process_vm_writev(k: Kernel, t: Task, pid: int, lvec: int, liovcnt: int, rvec: int, riovcnt: int, flags: int) -> int:
    """process_vm_writev(2)."""
    return _transfer(k, t, pid, lvec, liovcnt, rvec, riovcnt, flags, True)


def sys_process_madvise(k: Kernel, t: Task, pidfd: int, vec: int, vlen: int, behavior: int, flags: int) -> int:
    """process_madvise(2): the bytes advised on."""
    if flags & U32:
        raise Errno(EINVAL)
    areas = _areas(t, vec, vlen)
    process = process_of(t, pidfd)
    if s32(behavior) not in PROCESS_MADVISE and process is not t.process:
        raise Errno(EINVAL)
    if not process.alive:
        raise Errno(ESRCH)
    may_access(t, process, attach=False)
    done = 0
    for base, length in areas:
        try:
            advise(process.space, base, length, s32(behavior))
        except Errno:
            if not done:
                raise
            break
        done += length
    return done


def sys_process_mrelease(k: Kernel, t: Task, pidfd: int, flags: int) -> int:
    """process_mrelease(2): the memory of a process that is dying goes with it at once."""
    if flags & U32:
        raise Errno(EINVAL)
    process = process_of(t, pidfd)
    if not process.alive:
        raise Errno(ESRCH)
    if process.group_exit is None:
        raise Errno(EINVAL)
    return 0


# files


def sys_pidfd_getfd(k: Kernel, t: Task, pidfd: int, fd: int, flags: int) -> int:
    """pidfd_getfd(2): a descriptor for what another process's descriptor refers to."""
    if flags & U32:
        raise Errno(EINVAL)
    process = process_of(t, pidfd)
    if not process.alive:
        raise Errno(ESRCH)
    may_access(t, process, attach=True)
    file = process.files.get(fd)
    number = install(t, file, close_on_exec=True)
    file.references += 1
    return number


def _first_user(k: Kernel, thing: object, held: Callable[[Process], Iterable[object]]) -> tuple[int, int]:
    """The process, and the place in what it holds, that has the thing first: orders things without their addresses."""
    return next((pid, at) for pid, process in k.processes.items() if process.alive for at, one in enumerate(held(process)) if one is thing)


def _order(k: Kernel, one: object, other: object, held: Callable[[Process], Iterable[object]]) -> int:
    """kcmp's result: 0 for the same thing, 1 and 2 for the order of two."""
    if one is other:
        return 0
    return 1 if _first_user(k, one, held) < _first_user(k, other, held) else 2


def _files(process: Process) -> list[object]:
    return [file for _, file in process.files]


def sys_kcmp(k: Kernel, t: Task, pid1: int, pid2: int, kind: int, idx1: int, idx2: int) -> int:
    """kcmp(2): do two processes share something?"""
    one, other = _living(k, pid1), _living(k, pid2)
    for process in (one, other):
        may_access(t, process, attach=False)
    kind = s32(kind)
    if kind == KCMP_FILE:
        return _order(k, one.files.get(idx1), other.files.get(idx2), _files)
    if kind == KCMP_EPOLL_TFD:
        epoll_fd, target_fd, offset = struct.unpack("<III", t.space.read(idx2, 12))
        epoll = other.files.get(epoll_fd)
        if not isinstance(epoll, EpollFile):
            raise Errno(EINVAL)
        return _order(k, one.files.get(idx1), epoll.target(target_fd, offset), _files)
    if kind not in SHARED:
        raise Errno(EINVAL)
    shared = SHARED[kind]
    return _order(k, shared(one), shared(other), lambda process: (shared(process),))
