"""Open files: positions, descriptors, pipes, locks, mappings, devices and standard streams."""

from __future__ import annotations

import errno
import fcntl
import os
import struct
from collections.abc import Callable
from pathlib import Path

import pytest

from pyprobe.runtime.user.errors import Block
from pyprobe.runtime.user.vfs.stat import Stat
from tests.runtime.user.vfs.conftest import SCRATCH, Guest

GuestIn = Callable[..., Guest]
PROT_READ, PROT_WRITE, MAP_SHARED, MAP_PRIVATE = 1, 2, 1, 2


@pytest.fixture
def guest(tmp_path: Path, guest_in: GuestIn) -> Guest:
    """A guest whose root has one host file of three pages."""
    (tmp_path / "host").write_bytes(b"0123456789abcdef" * 768)
    return guest_in(tmp_path)


def pipe(guest: Guest, flags: int = 0) -> tuple[int, int]:
    assert guest.call("pipe2", SCRATCH, flags) == 0
    first, second = struct.unpack("<ii", guest.t.space.read(SCRATCH, 8))
    return first, second


def test_positions(guest: Guest) -> None:
    fd = guest.open(b"/host")
    assert guest.read(fd, 4) == b"0123"
    assert guest.call("lseek", fd, -2, os.SEEK_END) == 12286
    assert guest.read(fd, 10) == b"ef"
    assert guest.read(fd, 10) == b""
    assert guest.call("pread64", fd, SCRATCH, 3, 5) == 3
    assert guest.t.space.read(SCRATCH, 3) == b"567"
    assert guest.call("lseek", fd, -1, os.SEEK_SET) == -errno.EINVAL
    assert guest.call("lseek", fd, 5, os.SEEK_HOLE) == 12288
    assert guest.call("lseek", fd, 12288, os.SEEK_DATA) == -errno.ENXIO
    assert guest.write(fd, b"x") == -errno.EBADF


def test_a_bad_address_in_the_middle(guest: Guest) -> None:
    fd = guest.open(b"/host")
    end = SCRATCH + (1 << 22)
    assert guest.call("read", fd, end - 8, 100) == 8
    assert guest.call("read", fd, end, 100) == -errno.EFAULT


def test_duplicates_share_the_position(guest: Guest) -> None:
    fd = guest.open(b"/host")
    other = guest.call("dup", fd)
    assert guest.read(fd, 4) == b"0123" and guest.read(other, 4) == b"4567"
    assert guest.call("dup2", fd, 50) == 50
    assert guest.call("close", fd) == guest.call("close", other) == 0
    assert guest.read(50, 2) == b"89"
    assert guest.call("fcntl", 50, fcntl.F_DUPFD, 60) == 60
    assert guest.call("dup3", 50, 50, 0) == -errno.EINVAL
    assert guest.call("fcntl", 50, fcntl.F_GETFL) == os.O_RDONLY | 0o100000
    assert guest.call("close", 99) == -errno.EBADF


def test_append_and_sparse_growth(guest: Guest) -> None:
    fd = guest.open(b"/new", os.O_RDWR | os.O_CREAT | os.O_APPEND)
    assert guest.write(fd, b"one") == 3
    assert guest.call("lseek", fd, 0, 0) == 0
    assert guest.write(fd, b"two") == 3
    assert guest.content(b"/new") == b"onetwo"
    plain = guest.open(b"/new", os.O_WRONLY)
    assert guest.call("pwrite64", plain, guest.put(b"end"), 3, 10) == 3
    assert guest.content(b"/new") == b"onetwo\0\0\0\0end"
    assert guest.call("ftruncate", plain, 2) == 0
    assert guest.call("ftruncate", plain, 4) == 0
    assert guest.content(b"/new") == b"on\0\0"


def test_removed_files_live_while_open(guest: Guest) -> None:
    fd = guest.open(b"/host", os.O_RDWR)
    assert guest.call("unlink", b"/host") == 0
    assert guest.content(b"/host") == -errno.ENOENT
    assert guest.read(fd, 4) == b"0123"
    assert guest.write(fd, b"XX") == 2
    assert guest.call("lseek", fd, 0, 0) == 0
    assert guest.read(fd, 8) == b"0123XX67"
    size = guest.call("readlink", b"/proc/self/fd/%d" % fd, SCRATCH, 100)
    assert guest.t.space.read(SCRATCH, size) == b"/host (deleted)"
    assert guest.call("close", fd) == 0
    assert guest.k.vfs.disk.used == 0


@pytest.mark.parametrize("path", [b"/host", b"/new"])
def test_shared_mappings_and_writes_see_each_other(guest: Guest, path: bytes) -> None:
    if path == b"/new":
        guest.make(path, b"0123456789abcdef" * 768)
    fd = guest.open(path, os.O_RDWR)
    reader = guest.call("mmap", 0, 12288, PROT_READ, MAP_PRIVATE, fd, 0)
    shared = guest.call("mmap", 0, 12288, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0)
    private = guest.call("mmap", 0, 12288, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd, 0)
    space = guest.t.space
    assert space.read(shared, 4) == space.read(reader, 4) == b"0123"
    space.write(private, b"mine")
    space.write(shared + 5000, b"shared")
    assert guest.call("pread64", fd, SCRATCH, 6, 5000) == 6
    assert space.read(SCRATCH, 6) == space.read(reader + 5000, 6) == b"shared"
    assert guest.write(fd, b"WRITE") == 5
    assert space.read(shared, 5) == b"WRITE" and space.read(private, 5) == b"mine4"
    assert guest.call("close", fd) == 0
    content = guest.content(path)
    assert isinstance(content, bytes) and content[:5] == b"WRITE" and content[5000:5006] == b"shared" and len(content) == 12288


def test_pipe(guest: Guest) -> None:
    reader, writer = pipe(guest)
    with pytest.raises(Block):
        guest.read(reader)
    assert guest.write(writer, b"hello") == 5
    assert guest.read(reader, 3) == b"hel"
    assert guest.read(reader) == b"lo"
    assert guest.write(reader, b"x") == -errno.EBADF
    assert guest.call("lseek", reader, 0, 0) == -errno.ESPIPE
    assert guest.call("close", writer) == 0
    assert guest.read(reader) == b""


def test_a_full_pipe(guest: Guest) -> None:
    reader, writer = pipe(guest)
    assert guest.write(writer, bytes(65000)) == 65000
    with pytest.raises(Block):
        guest.write(writer, bytes(4096))  # atomic: nothing of it is there
    guest.t.restart.clear()
    assert guest.call("fcntl", writer, fcntl.F_SETFL, os.O_NONBLOCK) == 0
    assert guest.write(writer, bytes(4096)) == -errno.EAGAIN
    assert guest.write(writer, bytes(5000)) == 536
    assert guest.write(writer, b"x") == -errno.EAGAIN
    assert len(guest.read(reader, 1 << 17) or b"") == 65536  # type: ignore[arg-type]  # a failure shows as such


def test_a_long_write_goes_on_where_it_stopped(guest: Guest) -> None:
    reader, writer = pipe(guest)
    data = bytes(range(256)) * 400
    address = guest.put(data)
    with pytest.raises(Block) as wait:
        guest.call("write", writer, address, len(data))
    assert wait.value.ready is not None and not wait.value.ready()
    first = guest.t.restart.copy()
    got = b""
    guest.t.restart.clear()
    part = guest.read(reader, 50000)
    assert isinstance(part, bytes)
    assert wait.value.ready()
    guest.t.restart.update(first)
    assert guest.call("write", writer, address, len(data)) == len(data)
    got = part
    while len(got) < len(data):
        part = guest.read(reader)
        assert isinstance(part, bytes)
        got += part
    assert got == data


def test_nobody_reads(guest: Guest) -> None:
    reader, writer = pipe(guest)
    assert guest.call("close", reader) == 0
    assert guest.write(writer, b"x") == -errno.EPIPE
    assert [info.signo for info in guest.t.pending] == [13]


def test_streams(tmp_path: Path, guest_in: GuestIn) -> None:
    guest = guest_in(tmp_path, stdin=b"input")
    assert guest.read(0) == b"input" and guest.read(0) == b""
    assert guest.write(1, b"out") == 3 and guest.write(2, b"err") == 3
    assert bytes(guest.output) == b"outerr"
    assert guest.call("ioctl", 1, 0x5401, SCRATCH) == -errno.ENOTTY


def test_devices(guest: Guest) -> None:
    null, zero, full, random = (guest.open(b"/dev/" + name, os.O_RDWR) for name in (b"null", b"zero", b"full", b"urandom"))
    assert guest.write(null, b"gone") == 4 and guest.read(null) == b""
    assert guest.read(zero, 5) == bytes(5)
    assert guest.write(full, b"x") == -errno.ENOSPC
    first = guest.read(random, 16)
    assert isinstance(first, bytes) and len(first) == 16 and any(first)
    assert guest.make(b"/dev/shm/x", b"shared") == 0 and guest.content(b"/dev/shm/x") == b"shared"


def test_randomness_is_the_same_each_time(tmp_path: Path, guest_in: GuestIn) -> None:
    one, other = guest_in(tmp_path), guest_in(tmp_path)
    assert one.read(one.open(b"/dev/urandom"), 32) == other.read(other.open(b"/dev/urandom"), 32)


def test_directories_are_sorted_and_can_be_read_in_pieces(guest: Guest) -> None:
    for name in (b"zeta", b"alpha", b"Beta", b"m" * 100):
        assert guest.make(b"/" + name) == 0
    assert guest.call("unlink", b"/host") == 0
    assert guest.names(b"/") == [b".", b"..", b"Beta", b"alpha", b"dev", b"m" * 100, b"proc", b"sys", b"zeta"]
    fd = guest.open(b"/", os.O_RDONLY)
    assert guest.call("getdents64", fd, SCRATCH, 20) == -errno.EINVAL
    assert guest.call("getdents64", fd, SCRATCH, 60) > 0
    offset = struct.unpack_from("<q", guest.t.space.read(SCRATCH, 24), 8)[0]
    rest = guest.call("getdents64", fd, SCRATCH, 4000)
    assert guest.call("lseek", fd, offset, 0) == offset
    assert guest.call("getdents64", fd, SCRATCH, 4000) > rest


def test_locks(guest: Guest) -> None:
    one, other = guest.open(b"/host", os.O_RDWR), guest.open(b"/host", os.O_RDWR)
    assert guest.call("flock", one, fcntl.LOCK_EX) == 0
    assert guest.call("flock", other, fcntl.LOCK_EX | fcntl.LOCK_NB) == -errno.EAGAIN
    assert guest.call("close", one) == 0
    assert guest.call("flock", other, fcntl.LOCK_EX | fcntl.LOCK_NB) == 0
    whole = guest.put(struct.pack("<hh4xqqi4x", fcntl.F_WRLCK, 0, 10, 10, 0))
    assert guest.call("fcntl", other, fcntl.F_SETLK, whole) == 0
    first, second = guest.t, guest.process(b"/")
    second.process.files = first.process.files.copy()
    guest.t = guest.k.current = second
    ask = guest.put(struct.pack("<hh4xqqi4x", fcntl.F_RDLCK, 0, 0, 0, 0))
    assert guest.call("fcntl", other, fcntl.F_SETLK, ask) == -errno.EAGAIN
    assert guest.call("fcntl", other, fcntl.F_GETLK, ask) == 0
    assert struct.unpack("<hh4xqqi4x", second.space.read(ask, 32)) == (fcntl.F_WRLCK, 0, 10, 10, first.process.pid)


def test_times(guest: Guest, tmp_path: Path) -> None:
    os.utime(tmp_path / "host", ns=(1, 1_500_000_000 * 10**9))
    found = guest.stat(b"/host")
    assert isinstance(found, dict) and found["atime"] == found["mtime"] == 1_500_000_000
    fd = guest.open(b"/host", os.O_WRONLY)
    assert guest.write(fd, b"x") == 1
    found = guest.stat(b"/host")
    assert isinstance(found, dict) and found["mtime"] == guest.k.clock.wall() // 10**9


def test_stat_layouts() -> None:
    found = Stat(1, 2, 0o100644, 1, 3, 4, 0, 5000, 16, 10**9 + 1, 2 * 10**9 + 2, 3 * 10**9 + 3, 0)
    assert len(found.pack("x86_64")) == 144 and len(found.pack("arm64")) == 128 and len(found.pack_statx()) == 256
    assert struct.unpack_from("<QQIIII", found.pack("arm64")) == (1, 2, 0o100644, 1, 3, 4)
    assert struct.unpack_from("<QQQ", found.pack("x86_64")) == (1, 2, 1)


def test_kernel_functions_nest_as_in_linux(guest: Guest) -> None:
    seen: list[str] = []
    for name in ("do_sys_openat2", "do_filp_open", "vfs_open", "ksys_read", "vfs_read", "filp_close", "do_unlinkat", "vfs_unlink"):
        guest.k.functions.attach(name, (lambda name=name: seen.append(name)), None)  # type: ignore[misc]  # bound early on purpose
    fd = guest.open(b"/host")
    guest.read(fd, 10)
    guest.call("close", fd)
    guest.call("unlink", b"/host")
    assert seen == ["do_sys_openat2", "do_filp_open", "vfs_open", "ksys_read", "vfs_read", "filp_close", "do_unlinkat", "vfs_unlink"]
    assert guest.k.functions["vfs_read"].args[2] == 10
