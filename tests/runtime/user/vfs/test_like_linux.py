"""The same calls on the host's Linux and on ours, in two equal trees, must come to the same results."""

from __future__ import annotations

import os
import stat
import tempfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.runtime.user.vfs.conftest import Guest

# Deep enough that no path made of these names leaves the tree on the host.
DEPTH = "w/w/w/w/w/w"
names = st.sampled_from(["a", "b", "c"])
parts = st.sampled_from(["a", "b", "c", "..", "."])
paths = st.builds(
    lambda head, middle, slash: "/".join([*([head] if head else []), *middle]) + slash,
    st.sampled_from(["a", "b", "c", ""]),
    st.lists(parts, min_size=1, max_size=2),
    st.sampled_from(["", "", "", "/"]),
)
targets = st.sampled_from(["a", "b", "c", "..", ".", "a/", "nowhere"])
FLAGS = [0, os.O_WRONLY | os.O_CREAT, os.O_RDWR | os.O_CREAT | os.O_EXCL, os.O_WRONLY | os.O_TRUNC, os.O_DIRECTORY, os.O_NOFOLLOW]
FLAGS += [os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW, os.O_WRONLY | os.O_APPEND, os.O_PATH, os.O_PATH | os.O_NOFOLLOW, os.O_RDWR]

operations = st.one_of(
    st.tuples(st.just("mkdir"), paths),
    st.tuples(st.just("rmdir"), paths),
    st.tuples(st.just("unlink"), paths),
    st.tuples(st.just("rename"), paths, paths),
    st.tuples(st.just("link"), paths, paths),
    st.tuples(st.just("symlink"), targets, paths),
    st.tuples(st.just("open"), paths, st.sampled_from(FLAGS)),
    st.tuples(st.just("open"), names, st.just(os.O_WRONLY | os.O_CREAT)),
    st.tuples(st.just("truncate"), paths, st.integers(0, 20)),
    st.tuples(st.just("readlink"), paths),
    st.tuples(st.just("stat"), paths),
    st.tuples(st.just("lstat"), paths),
    st.tuples(st.just("names"), paths),
    st.tuples(st.just("content"), paths),
    st.tuples(st.just("chmod"), paths, st.sampled_from([0o600, 0o755])),
    st.tuples(st.just("access"), paths, st.sampled_from([0, 4, 7])),
)


def shown(mode: int, size: int, nlink: int) -> tuple[int, ...]:
    """What of a file's attributes has to be equal."""
    return (mode,) if stat.S_ISDIR(mode) else (mode, size, nlink)


class Native:
    """The operations on the host, relative to an open directory."""

    def __init__(self, directory: int) -> None:
        self.fd = directory

    def do(self, name: str, *arguments: Any) -> object:
        try:
            return getattr(self, name)(*arguments)
        except OSError as error:
            return -(error.errno or 0)

    def mkdir(self, path: str) -> int:
        os.mkdir(path, 0o777, dir_fd=self.fd)
        return 0

    def rmdir(self, path: str) -> int:
        os.rmdir(path, dir_fd=self.fd)
        return 0

    def unlink(self, path: str) -> int:
        os.unlink(path, dir_fd=self.fd)
        return 0

    def rename(self, old: str, new: str) -> int:
        os.rename(old, new, src_dir_fd=self.fd, dst_dir_fd=self.fd)
        return 0

    def link(self, old: str, new: str) -> int:
        os.link(old, new, src_dir_fd=self.fd, dst_dir_fd=self.fd, follow_symlinks=False)
        return 0

    def symlink(self, target: str, path: str) -> int:
        os.symlink(target, path, dir_fd=self.fd)
        return 0

    def open(self, path: str, flags: int) -> object:
        fd = os.open(path, flags, 0o666, dir_fd=self.fd)
        try:
            written = os.write(fd, path.encode()) if flags & 3 else 0
            return written, os.lseek(fd, 0, os.SEEK_CUR) if not flags & os.O_PATH else None
        finally:
            os.close(fd)

    def truncate(self, path: str, size: int) -> int:
        os.truncate(f"/proc/self/fd/{self.fd}/{path}", size)
        return 0

    def readlink(self, path: str) -> bytes:
        return os.fsencode(os.readlink(path, dir_fd=self.fd))

    def stat(self, path: str, follow: bool = True) -> object:
        found = os.stat(path, dir_fd=self.fd, follow_symlinks=follow)
        return shown(found.st_mode, found.st_size, found.st_nlink)

    def lstat(self, path: str) -> object:
        return self.stat(path, False)

    def names(self, path: str) -> object:
        fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY, dir_fd=self.fd)
        try:
            return [b".", b"..", *sorted(map(os.fsencode, os.listdir(fd)))]
        finally:
            os.close(fd)

    def content(self, path: str) -> object:
        fd = os.open(path, os.O_RDONLY, dir_fd=self.fd)
        try:
            return os.read(fd, 1 << 16)
        finally:
            os.close(fd)

    def chmod(self, path: str, mode: int) -> int:
        os.chmod(path, mode, dir_fd=self.fd)
        return 0

    def access(self, path: str, mode: int) -> object:
        os.stat(path, dir_fd=self.fd)
        return os.access(path, mode, dir_fd=self.fd)


class Emulated:
    """The same operations in the machine."""

    def __init__(self, guest: Guest) -> None:
        self.guest = guest

    def do(self, name: str, *arguments: Any) -> object:
        words = [a.encode() if isinstance(a, str) else a for a in arguments]
        own = getattr(self, name, None)
        return own(*words) if own is not None else self.guest.call(name, *words)

    def mkdir(self, path: bytes) -> int:
        return self.guest.call("mkdir", path, 0o777)

    def open(self, path: bytes, flags: int) -> object:
        guest = self.guest
        fd = guest.open(path, flags, 0o666)
        if fd < 0:
            return fd
        written = guest.write(fd, path) if flags & 3 else 0
        position = guest.call("lseek", fd, 0, 1) if not flags & os.O_PATH else None
        guest.call("close", fd)
        return written if written < 0 else (written, position)

    def readlink(self, path: bytes) -> bytes | int:
        room = self.guest.put(bytes(200))
        result = self.guest.call("readlink", path, room, 200)
        return result if result < 0 else self.guest.t.space.read(room, result)

    def stat(self, path: bytes, follow: bool = True) -> object:
        found = self.guest.stat(path, follow)
        return shown(found["mode"], found["size"], found["nlink"]) if isinstance(found, dict) else found

    def lstat(self, path: bytes) -> object:
        return self.stat(path, False)

    def names(self, path: bytes) -> object:
        return self.guest.names(path)

    def content(self, path: bytes) -> object:
        return self.guest.content(path)

    def access(self, path: bytes, mode: int) -> object:
        result = self.guest.call("access", path, mode)
        return {0: True, -13: False}.get(result, result)


def populate(root: Path) -> Path:
    """The tree both sides start with."""
    work = root / DEPTH
    (work / "a" / "b").mkdir(parents=True)
    (work / "a" / "c").write_text("host file")
    (work / "b").write_text("another")
    (work / "c").symlink_to("a")
    return work


@pytest.mark.skipif(os.geteuid() != 0, reason="the guest is root: the host's answers are the same only for root")
@settings(max_examples=60, deadline=None)
@given(st.lists(operations, min_size=1, max_size=40))
def test_same_results(steps: list[tuple[Any, ...]]) -> None:
    with tempfile.TemporaryDirectory() as one, tempfile.TemporaryDirectory() as other:
        for top in (one, other):
            os.chmod(top, 0o755)
        work = populate(Path(one))
        populate(Path(other))
        old = os.umask(0o022)
        fd = os.open(work, os.O_RDONLY | os.O_DIRECTORY)
        guest = Guest(other, b"/" + DEPTH.encode())
        try:
            native, emulated = Native(fd), Emulated(guest)
            for step in steps:
                assert emulated.do(*step) == native.do(*step), step
        finally:
            os.close(fd)
            os.umask(old)
            guest.k.vfs.close()
