"""A process of the emulated Linux that makes system calls at a test's word, with no program in it."""

from __future__ import annotations

import os
import struct
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from pyprobe.runtime.machine.memory import AddressSpace, MemoryFault, R, W
from pyprobe.runtime.user.errors import Block, Errno
from pyprobe.runtime.user.kernel import Kernel
from pyprobe.runtime.user.task import Credentials, Process, Task

SCRATCH = 0x10000000
SCRATCH_SIZE = 1 << 22


class Guest:
    """Calls system calls by name. Bytes arguments are put into guest memory; a negative result is an error number."""

    def __init__(self, root: Path | str = "/", cwd: bytes = b"/", stdin: bytes = b"") -> None:
        self.k = Kernel(root=os.fsencode(root))
        self.output = bytearray()
        self.t = self.process(cwd, stdin)
        self.k.current = self.t

    def process(self, cwd: bytes, stdin: bytes = b"") -> Task:
        """Another process."""
        k = self.k
        pid = k.new_pid()
        engine = k.engine_for("x86_64")
        process = Process(pid, None, AddressSpace(k.memory), engine)
        process.files = k.vfs.stdio(k, (stdin, self.output.extend, self.output.extend))
        process.fs = k.vfs.context(cwd)
        task = Task(pid, process, engine.new_context(), Credentials())
        process.threads[pid] = task
        k.processes[pid] = process
        k.tasks[pid] = task
        process.space.map(SCRATCH, SCRATCH_SIZE, R | W)
        self._free = SCRATCH + (1 << 20)
        return task

    def put(self, data: bytes) -> int:
        """Guest memory that holds `data`."""
        address = self._free
        self._free += (len(data) + 15) & ~15
        if self._free > SCRATCH + SCRATCH_SIZE:
            self._free = SCRATCH + (1 << 20)
            return self.put(data)
        self.t.space.write(address, data)
        return address

    def call(self, name: str, *arguments: int | bytes) -> int:
        """Make a system call. Raises Block when it waits; the next call of any kind starts afresh."""
        words = [self.put(a + b"\0") if isinstance(a, bytes) else a & (1 << 64) - 1 for a in arguments]
        syscall = next(s for s in self.k.syscalls.all("x86_64") if s.name == name)
        assert syscall.call is not None, name
        words += [0] * (syscall.arity - len(words))
        try:
            result = syscall.call(self.k, self.t, *words)
        except Errno as error:
            result = -error.errno
        except MemoryFault:
            result = -14
        except Block:
            raise
        self.t.restart.clear()
        return result

    def read(self, fd: int, count: int = 1 << 16) -> bytes | int:
        """read(2): the bytes, or the negative error."""
        result = self.call("read", fd, SCRATCH, count)
        return self.t.space.read(SCRATCH, result) if result >= 0 else result

    def write(self, fd: int, data: bytes) -> int:
        """write(2)."""
        return self.call("write", fd, self.put(data), len(data))

    def open(self, path: bytes, flags: int = os.O_RDONLY, mode: int = 0o666, dfd: int = -100) -> int:
        """openat(2)."""
        return self.call("openat", dfd, path, flags, mode)

    def content(self, path: bytes) -> bytes | int:
        """A whole file, or the negative error."""
        fd = self.open(path)
        if fd < 0:
            return fd
        parts = []
        while isinstance(part := self.read(fd), bytes) and part:
            parts.append(part)
        self.call("close", fd)
        return b"".join(parts) if isinstance(part, bytes) else part

    def make(self, path: bytes, data: bytes = b"") -> int:
        """Create or replace a file; the negative error of the open, or 0."""
        fd = self.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        if fd < 0:
            return fd
        assert self.write(fd, data) == len(data)
        return self.call("close", fd)

    def stat(self, path: bytes, follow: bool = True) -> dict[str, int] | int:
        """newfstatat(2): fields by name, or the negative error."""
        result = self.call("newfstatat", -100, path, SCRATCH, 0 if follow else 0x100)
        if result < 0:
            return result
        fields = struct.unpack("<QQQIIIIQqqq6Q24x", self.t.space.read(SCRATCH, 144))
        names = ("dev", "ino", "nlink", "mode", "uid", "gid", "pad", "rdev", "size", "blksize", "blocks", "atime", "atime_ns", "mtime")
        return dict(zip(names, fields, strict=False))

    def names(self, path: bytes) -> list[bytes] | int:
        """A directory's entries in the order they come, or the negative error."""
        fd = self.open(path, os.O_RDONLY | os.O_DIRECTORY)
        if fd < 0:
            return fd
        found: list[bytes] = []
        while (count := self.call("getdents64", fd, SCRATCH, 200)) > 0:
            data, at = self.t.space.read(SCRATCH, count), 0
            while at < count:
                length = struct.unpack_from("<H", data, at + 16)[0]
                found.append(data[at + 19 : at + length].split(b"\0")[0])
                at += length
        self.call("close", fd)
        return found if count == 0 else count


@pytest.fixture
def guest_in() -> Iterator[Callable[..., Guest]]:
    """Make guests that see a directory as their root."""
    made: list[Guest] = []

    def make(root: Path | str = "/", cwd: bytes = b"/", stdin: bytes = b"") -> Guest:
        made.append(Guest(root, cwd, stdin))
        return made[-1]

    yield make
    for guest in made:
        guest.k.vfs.close()
