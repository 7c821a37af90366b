"""/proc: what programs and C libraries read of it. See proc(5) and fs/proc/.

Nothing here comes from the host. Files are made from the machine's state when they are opened; inode numbers depend on
the path alone.
"""

from __future__ import annotations

import errno
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from pyprobe.runtime.machine import covered
from pyprobe.runtime.machine.memory import MemoryFault
from pyprobe.runtime.user.access import may_access
from pyprobe.runtime.user.capabilities import CAP_SYS_RESOURCE
from pyprobe.runtime.user.errors import Errno
from pyprobe.runtime.user.vfs import proctext
from pyprobe.runtime.user.vfs.abi import (
    DT_DIR,
    DT_LNK,
    DT_REG,
    O_ACCMODE,
    O_PATH,
    O_RDONLY,
    O_WRONLY,
    PROC_SUPER_MAGIC,
    S_IFREG,
    SEEK_END,
    SEEK_SET,
)
from pyprobe.runtime.user.vfs.inode import Dentry, Entry, FileSystem, Inode
from pyprobe.runtime.user.vfs.namespaces import namespaces
from pyprobe.runtime.user.vfs.openfile import OpenFile, Position
from pyprobe.runtime.user.vfs.smaps import smaps, smaps_rollup
from pyprobe.runtime.user.vfs.synthetic import SyntheticDirectory, SyntheticLink, Table, TextFile, proc_number
from pyprobe.runtime.user.vfs.views import Views

if TYPE_CHECKING:
    from pyprobe.runtime.machine.memory import AddressSpace
    from pyprobe.runtime.user.kernel import Kernel
    from pyprobe.runtime.user.task import Process, Task


ProcessText = Callable[["Kernel", "Process"], bytes]

PROCESS: Final[dict[bytes, ProcessText]] = {**proctext.PROCESS, b"smaps": smaps, b"smaps_rollup": smaps_rollup}


def root(dev: int, now: int) -> Inode:
    """The root directory of a new procfs."""
    fs = FileSystem("proc", dev, PROC_SUPER_MAGIC, refusal=errno.ENOENT)
    return Root(fs, now)


class Root(Table):
    """/proc itself: fixed entries and the processes."""

    __slots__ = ()

    volatile = True

    def __init__(self, fs: FileSystem, now: int) -> None:
        super().__init__(fs, 0o555, now)
        for name, make in proctext.MACHINE.items():
            at: Table = self
            *folders, last = name.split(b"/")
            for folder in folders:
                below = at.children.get(folder)
                if not isinstance(below, Table):
                    below = at.children[folder] = Table(fs, 0o555, now)
                at = below
            at.children[last] = TextFile(fs, 0o444, now, lambda k, t, make=make: make(k))  # type: ignore[misc]  # bound early on purpose
        self.children[b"self"] = SyntheticLink(fs, now, lambda k, t: b"%d" % t.process.pid)
        self.children[b"thread-self"] = SyntheticLink(fs, now, lambda k, t: b"%d/task/%d" % (t.process.pid, t.tid))
        self.children[b"mounts"] = SyntheticLink(fs, now, lambda k, t: b"self/mounts")
        self.children[b"net"] = SyntheticLink(fs, now, lambda k, t: b"self/net")

    def lookup(self, k: Kernel, t: Task, name: bytes) -> Inode | None:
        process = _process(k, name)
        if process is not None:
            return ProcessDirectory(self.fs, process, k.clock.wall())
        return super().lookup(k, t, name)

    def entries(self, k: Kernel, t: Task) -> list[Entry]:
        return super().entries(k, t) + [(b"%d" % pid, DT_DIR, proc_number(pid)) for pid in k.processes]


def _process(k: Kernel, name: bytes) -> Process | None:
    if not name.isdigit() or name.startswith(b"0"):
        return None
    pid = int(name)
    found = k.processes.get(pid)
    if found is None:
        task = k.tasks.get(pid)  # a thread's id works too, though it is not listed
        found = task.process if task is not None else None
    return found


class ProcessDirectory(SyntheticDirectory):
    """/proc/PID, and /proc/PID/task/TID with the same entries."""

    __slots__ = ("process", "tid")

    def __init__(self, fs: FileSystem, process: Process, now: int, tid: int = 0) -> None:
        super().__init__(fs, 0o555, now, proc_number(process.pid, tid))
        self.process = process
        self.tid = tid
        leader = process.leader
        if leader is not None:
            self.uid, self.gid = leader.cred.euid, leader.cred.egid

    def lookup(self, k: Kernel, t: Task, name: bytes) -> Inode | None:
        process, tid, fs, now = self.process, self.tid, self.fs, k.clock.wall()
        ino = proc_number(process.pid, tid, name)
        if tid and name in proctext.THREAD:
            of_thread = proctext.THREAD[name]
            return TextFile(fs, 0o644 if name in _WRITERS else 0o444, now, lambda k, t: of_thread(k, process, tid), _WRITERS.get(name), ino)
        text = PROCESS.get(name)
        if text is not None:
            make = text
            return TextFile(fs, 0o644 if name in _WRITERS else 0o444, now, lambda k, t: make(k, process), _WRITERS.get(name), ino)
        if name in _LINKS:
            to = _LINKS[name]
            return SyntheticLink(fs, now, lambda k, t: to(k, process).path(t.process.fs.root), lambda k, t: to(k, process), ino)
        if name == b"mem":
            return MemoryInode(fs, process, now, ino)
        if name == b"ns":
            return namespaces(fs, process, now, ino)
        if name in (b"fd", b"fdinfo"):
            return Descriptors(fs, process, now, info=name == b"fdinfo")
        if name == b"task" and not self.tid:
            return Threads(fs, process, now)
        if name == b"net":
            net = Table(fs, 0o555, now, ino)
            for entry, table in proctext.NET.items():
                net.children[entry] = TextFile(fs, 0o444, now, lambda k, t, table=table: table(k), None, proc_number("net", entry))  # type: ignore[misc]  # bound early on purpose
            return net
        return None

    def entries(self, k: Kernel, t: Task) -> list[Entry]:
        process = self.process
        found = [(name, DT_REG, proc_number(process.pid, self.tid, name)) for name in PROCESS]
        found += [(name, DT_LNK, proc_number(process.pid, self.tid, name)) for name in _LINKS]
        found.append((b"mem", DT_REG, proc_number(process.pid, self.tid, b"mem")))
        folders = (b"fd", b"fdinfo", b"net", b"ns") if self.tid else (b"fd", b"fdinfo", b"net", b"ns", b"task")
        return found + [(name, DT_DIR, proc_number(process.pid, self.tid, name)) for name in folders]


class MemoryInode(Inode):
    """/proc/PID/mem."""

    __slots__ = ("process",)

    def __init__(self, fs: FileSystem, process: Process, now: int, ino: int) -> None:
        super().__init__(fs, ino, S_IFREG | 0o600, now)
        self.process = process

    def open(self, k: Kernel, t: Task, dentry: Dentry, flags: int) -> OpenFile:
        try:
            may_access(t, _of_living(self.process), attach=True)
        except Errno:
            raise Errno(errno.EACCES) from None
        return MemoryFile(dentry, flags)


class MemoryFile(OpenFile):
    """The memory a process had when it was opened: file positions are addresses. Protections do not count, as for a debugger.

    What is gone, by an exec or the process's end, reads as nothing.
    """

    seekable = True
    inode: MemoryInode

    def __init__(self, dentry: Dentry, flags: int) -> None:
        super().__init__(dentry, flags)
        self._space = self.inode.process.space

    def _moved(self, views: Views, position: Position, move: Callable[[AddressSpace, int, memoryview], int]) -> int:
        """Move until less than asked for is there. Raises Errno(EIO) when that is nothing."""
        done = 0
        if not self._space.users:
            return 0
        for view in views:
            moved = move(self._space, position.value + done, view)
            done += moved
            if moved < len(view):
                break
        if not done and any(views):
            raise Errno(errno.EIO)
        position.value += done
        return done

    def read(self, k: Kernel, t: Task, views: Views, position: Position) -> int:
        engine = self.inode.process.engine

        def move(space: AddressSpace, address: int, view: memoryview) -> int:
            found = covered.read(engine, space, address, len(view))
            view[: len(found)] = found
            return len(found)

        return self._moved(views, position, move)

    def write(self, k: Kernel, t: Task, views: Views, position: Position) -> int:
        engine = self.inode.process.engine

        def move(space: AddressSpace, address: int, view: memoryview) -> int:
            try:
                covered.write(engine, space, address, bytes(view))
            except MemoryFault:
                return 0
            return len(view)

        return self._moved(views, position, move)

    def seek(self, k: Kernel, t: Task, offset: int, whence: int) -> int:
        if whence == SEEK_END:
            raise Errno(errno.EINVAL)
        self.position.value = (offset if whence == SEEK_SET else self.position.value + offset) & 0xFFFF_FFFF_FFFF_FFFF
        return self.position.value


class Threads(SyntheticDirectory):
    """/proc/PID/task."""

    __slots__ = ("process",)

    def __init__(self, fs: FileSystem, process: Process, now: int) -> None:
        super().__init__(fs, 0o555, now, proc_number(process.pid, "task"))
        self.process = process

    def lookup(self, k: Kernel, t: Task, name: bytes) -> Inode | None:
        if name.isdigit() and int(name) in self.process.threads:
            return ProcessDirectory(self.fs, self.process, k.clock.wall(), int(name))
        return None

    def entries(self, k: Kernel, t: Task) -> list[Entry]:
        return [(b"%d" % tid, DT_DIR, proc_number(self.process.pid, tid)) for tid in self.process.threads]


class Descriptors(SyntheticDirectory):
    """/proc/PID/fd and fdinfo."""

    __slots__ = ("info", "process")

    def __init__(self, fs: FileSystem, process: Process, now: int, *, info: bool) -> None:
        super().__init__(fs, 0o500 if not info else 0o555, now, proc_number(process.pid, "fdinfo" if info else "fd"))
        self.process = process
        self.info = info

    def lookup(self, k: Kernel, t: Task, name: bytes) -> Inode | None:
        if not name.isdigit() or (len(name) > 1 and name.startswith(b"0")):
            return None
        process, number = self.process, int(name)
        file = process.files.find(number) if process.alive else None
        if file is None:
            return None
        now, ino = k.clock.wall(), proc_number(process.pid, "fd", self.info, number)
        opened = file
        if self.info:
            arch = process.arch
            return TextFile(self.fs, 0o444, now, lambda k, t: proctext.fdinfo(opened, arch), None, ino)
        mode = {O_RDONLY: 0o500, O_WRONLY: 0o300}.get(file.flags & O_ACCMODE, 0o700)
        if file.flags & O_PATH:
            mode = 0
        return SyntheticLink(self.fs, now, lambda k, t: opened.path(t.process.fs.root), lambda k, t: opened.dentry, ino, mode)

    def entries(self, k: Kernel, t: Task) -> list[Entry]:
        if not self.process.alive:
            return []
        kind = DT_REG if self.info else DT_LNK
        return [(b"%d" % number, kind, proc_number(self.process.pid, "fd", self.info, number)) for number, _ in self.process.files]


def _executable(k: Kernel, process: Process) -> Dentry:
    if not process.exe:
        raise Errno(errno.ENOENT)
    leader = process.leader or next(iter(process.threads.values()))
    return k.vfs.walk(k, leader, -100, process.exe).find(process.exe)


def _of_living(process: Process) -> Process:
    if not process.alive:
        raise Errno(errno.ENOENT)
    return process


_LINKS: Final[dict[bytes, Callable[[Kernel, Process], Dentry]]] = {
    b"cwd": lambda k, process: _of_living(process).fs.cwd,
    b"exe": lambda k, process: _executable(k, _of_living(process)),
    b"root": lambda k, process: _of_living(process).fs.root,
}


def _set_comm(k: Kernel, t: Task, data: bytes) -> None:
    k.set_comm(t, data.rstrip(b"\n")[:15])


def _set_oom_score_adj(k: Kernel, t: Task, data: bytes) -> None:
    try:
        value = int(data)
    except ValueError:
        raise Errno(errno.EINVAL) from None
    if not -1000 <= value <= 1000:
        raise Errno(errno.EINVAL)
    if value < t.process.oom_score_adj and not t.cred.capable(CAP_SYS_RESOURCE):
        raise Errno(errno.EACCES)
    t.process.oom_score_adj = value


def _accept(k: Kernel, t: Task, data: bytes) -> None:
    """Take a setting that changes nothing here (oom_score_adj, coredump_filter ...)."""


_WRITERS: Final = {b"comm": _set_comm, b"oom_score_adj": _set_oom_score_adj, b"coredump_filter": _accept, b"setgroups": _accept}
