"""Sockets of the machine's own network, and waiting for several files."""

from __future__ import annotations

import errno
import os
import select
import socket
import struct
from collections.abc import Callable
from pathlib import Path

import pytest

from pyprobe.runtime.user.errors import Block
from tests.runtime.user.vfs.conftest import SCRATCH, Guest

GuestIn = Callable[..., Guest]


@pytest.fixture
def guest(tmp_path: Path, guest_in: GuestIn) -> Guest:
    return guest_in(tmp_path)


def inet(port: int, host: str = "127.0.0.1") -> bytes:
    return struct.pack("<H", socket.AF_INET) + struct.pack(">H", port) + socket.inet_aton(host) + bytes(8)


def new(guest: Guest, family: int = socket.AF_INET, kind: int = socket.SOCK_STREAM) -> int:
    return guest.call("socket", family, kind, 0)


def on(guest: Guest, name: str, fd: int, address: bytes) -> int:
    """bind or connect."""
    return guest.call(name, fd, guest.put(address), len(address))


def port_of(guest: Guest, fd: int) -> int:
    guest.t.space.put_u32(SCRATCH + 128, 128)
    assert guest.call("getsockname", fd, SCRATCH, SCRATCH + 128) == 0
    return int(struct.unpack(">H", guest.t.space.read(SCRATCH + 2, 2))[0])


def listening(guest: Guest) -> tuple[int, int]:
    fd = new(guest)
    assert on(guest, "bind", fd, inet(0)) == 0
    assert guest.call("listen", fd, 1) == 0
    return fd, port_of(guest, fd)


def test_tcp(guest: Guest) -> None:
    server, port = listening(guest)
    assert port == 32768  # the first of the local range: ports come in order
    with pytest.raises(Block):
        guest.call("accept4", server, 0, 0, 0)
    client = new(guest)
    assert on(guest, "connect", client, inet(port)) == 0
    accepted = guest.call("accept4", server, 0, 0, 0)
    assert port_of(guest, accepted) == port
    assert guest.write(client, b"request") == 7
    assert guest.read(accepted, 3) == b"req" and guest.read(accepted) == b"uest"
    assert guest.call("shutdown", client, socket.SHUT_WR) == 0
    assert guest.read(accepted) == b""
    assert guest.write(accepted, b"answer") == 6
    assert guest.call("close", accepted) == 0
    assert guest.read(client) == b"answer" and guest.read(client) == b""


def test_nobody_listens(guest: Guest) -> None:
    assert on(guest, "connect", new(guest), inet(1)) == -errno.ECONNREFUSED
    assert on(guest, "connect", new(guest), inet(80, "8.8.8.8")) == -errno.ENETUNREACH
    assert on(guest, "bind", new(guest), inet(80, "8.8.8.8")) == -errno.EADDRNOTAVAIL
    waiting = guest.call("socket", socket.AF_INET, socket.SOCK_STREAM | socket.SOCK_NONBLOCK, 0)
    assert on(guest, "connect", waiting, inet(1)) == -errno.EINPROGRESS
    guest.t.space.put_u32(SCRATCH + 8, 4)
    assert guest.call("getsockopt", waiting, socket.SOL_SOCKET, socket.SO_ERROR, SCRATCH, SCRATCH + 8) == 0
    assert guest.t.space.u32(SCRATCH) == errno.ECONNREFUSED
    assert guest.call("socket", socket.AF_PACKET, socket.SOCK_RAW, 0) == -errno.EAFNOSUPPORT


def test_cookie(guest: Guest) -> None:
    """SO_COOKIE: the number of a socket of any family, given when it is first asked for (sock_gen_cookie)."""

    def cookie(fd: int, room: int = 8) -> int:
        guest.t.space.put_u32(SCRATCH + 8, room)
        result = guest.call("getsockopt", fd, socket.SOL_SOCKET, 57, SCRATCH, SCRATCH + 8)
        return result or guest.t.space.u64(SCRATCH)

    first, second, third = new(guest), new(guest, socket.AF_UNIX), new(guest, kind=socket.SOCK_DGRAM)
    assert cookie(first, 4) == -errno.EINVAL
    asked = [cookie(fd) for fd in (third, first, second, first, third)]
    assert asked == [*sorted(asked[:3]), asked[1], asked[0]] and len(set(asked)) == 3 and asked[0] > 0
    assert guest.call("setsockopt", first, socket.SOL_SOCKET, 57, SCRATCH, 8) == -errno.ENOPROTOOPT


def test_ports_in_use(guest: Guest) -> None:
    _, port = listening(guest)
    assert on(guest, "bind", new(guest), inet(port)) == -errno.EADDRINUSE
    assert on(guest, "bind", new(guest), inet(port, "0.0.0.0")) == -errno.EADDRINUSE
    assert on(guest, "bind", new(guest), inet(port, "127.0.0.2")) == 0


def test_udp(guest: Guest) -> None:
    one, other = new(guest, kind=socket.SOCK_DGRAM), new(guest, kind=socket.SOCK_DGRAM)
    assert on(guest, "bind", one, inet(5000)) == 0
    target = inet(5000)
    for text in (b"first", b"second, longer"):
        assert guest.call("sendto", other, guest.put(text), len(text), 0, guest.put(target), len(target)) == len(text)
    guest.t.space.put_u32(SCRATCH + 512, 64)
    assert guest.call("recvfrom", one, SCRATCH, 100, 0, SCRATCH + 256, SCRATCH + 512) == 5
    assert guest.t.space.read(SCRATCH + 256, 8) == inet(port_of(guest, other))[:8]
    assert guest.call("recvfrom", one, SCRATCH, 6, 0x20, 0, 0) == 14  # MSG_TRUNC tells the real length
    with pytest.raises(Block):
        guest.call("recvfrom", one, SCRATCH, 6, 0, 0, 0)
    assert guest.call("recvfrom", one, SCRATCH, 6, 0x40, 0, 0) == -errno.EAGAIN


def test_unix_names(guest: Guest, tmp_path: Path) -> None:
    path = struct.pack("<H", socket.AF_UNIX) + b"/sock\0"
    server = new(guest, socket.AF_UNIX)
    assert on(guest, "bind", server, path) == 0
    assert not (tmp_path / "sock").exists()
    assert on(guest, "connect", new(guest, socket.AF_UNIX), path) == -errno.ECONNREFUSED
    assert guest.call("listen", server, 5) == 0
    assert on(guest, "bind", new(guest, socket.AF_UNIX), path) == -errno.EADDRINUSE
    client = new(guest, socket.AF_UNIX)
    assert on(guest, "connect", client, path) == 0
    accepted = guest.call("accept4", server, 0, 0, 0)
    assert guest.write(accepted, b"x") == 1 and guest.read(client) == b"x"
    assert guest.call("close", server) == 0
    assert on(guest, "connect", new(guest, socket.AF_UNIX), path) == -errno.ECONNREFUSED
    assert guest.call("unlink", b"/sock") == 0
    assert on(guest, "connect", new(guest, socket.AF_UNIX), path) == -errno.ENOENT


def pair(guest: Guest, kind: int = socket.SOCK_STREAM) -> tuple[int, int]:
    assert guest.call("socketpair", socket.AF_UNIX, kind, 0, SCRATCH) == 0
    one, other = struct.unpack("<ii", guest.t.space.read(SCRATCH, 8))
    return one, other


def test_passing_files(guest: Guest) -> None:
    one, other = pair(guest)
    guest.make(b"/file", b"content")
    fd = guest.open(b"/file")
    data = guest.put(b"take")
    control = guest.put(struct.pack("<Qiii", 20, socket.SOL_SOCKET, socket.SCM_RIGHTS, fd) + bytes(4))
    vector = guest.put(struct.pack("<QQ", data, 4))
    assert guest.call("sendmsg", one, guest.put(struct.pack("<QI4xQQQQi4x", 0, 0, vector, 1, control, 24, 0)), 0) == 4
    assert guest.call("close", fd) == 0
    room = guest.put(bytes(64))
    vector = guest.put(struct.pack("<QQ", SCRATCH, 100))
    header = guest.put(struct.pack("<QI4xQQQQi4x", 0, 0, vector, 1, room, 64, 0))
    assert guest.call("recvmsg", other, header, 0) == 4
    received = struct.unpack_from("<i", guest.t.space.read(room, 24), 16)[0]
    assert guest.read(received) == b"content"


def test_packets_keep_their_bounds(guest: Guest) -> None:
    for kind in (socket.SOCK_DGRAM, socket.SOCK_SEQPACKET):
        one, other = pair(guest, kind)
        assert guest.write(one, b"first") == 5 and guest.write(one, b"second") == 6
        assert guest.read(other) == b"first" and guest.read(other, 3) == b"sec"
        with pytest.raises(Block):
            guest.read(other)


def test_a_closed_end(guest: Guest) -> None:
    one, other = pair(guest)
    assert guest.write(one, b"unread") == 6
    assert guest.call("close", one) == 0
    assert guest.read(other) == b"unread" and guest.read(other) == b""
    assert guest.write(other, b"x") == -errno.EPIPE
    assert [info.signo for info in guest.t.pending] == [13]


def poll(guest: Guest, *wanted: tuple[int, int], timeout: int = 0) -> list[int]:
    address = guest.put(b"".join(struct.pack("<ihh", fd, events, 0) for fd, events in wanted))
    guest.call("poll", address, len(wanted), timeout)
    return [struct.unpack_from("<h", guest.t.space.read(address + 8 * i, 8), 6)[0] for i in range(len(wanted))]


def test_poll(guest: Guest) -> None:
    one, other = pair(guest)
    assert poll(guest, (one, select.POLLIN), (other, select.POLLOUT), (99, 1), (-1, 1)) == [0, select.POLLOUT, select.POLLNVAL, 0]
    guest.write(other, b"x")
    assert poll(guest, (one, select.POLLIN)) == [select.POLLIN]
    guest.call("close", other)
    assert poll(guest, (one, select.POLLIN | 0x2000)) == [select.POLLIN | select.POLLHUP | 0x2000]
    file = guest.open(b"/f", os.O_RDWR | os.O_CREAT)
    assert poll(guest, (file, select.POLLIN | select.POLLOUT)) == [select.POLLIN | select.POLLOUT]


def test_a_wait_has_a_deadline_in_virtual_time(guest: Guest) -> None:
    one, _ = pair(guest)
    with pytest.raises(Block) as wait:
        poll(guest, (one, select.POLLIN), timeout=1500)
    assert wait.value.deadline == guest.k.clock.now() + 1_500_000_000
    assert wait.value.ready is not None and not wait.value.ready()


def epoll_wait(guest: Guest, epoll: int, timeout: int = 0) -> list[tuple[int, int]]:
    count = guest.call("epoll_wait", epoll, SCRATCH, 10, timeout)
    return [struct.unpack("<IQ", guest.t.space.read(SCRATCH + 12 * i, 12)) for i in range(count)]  # type: ignore[misc]  # two each


def test_epoll(guest: Guest) -> None:
    epoll = guest.call("epoll_create1", 0)
    one, other = pair(guest)
    watch = guest.put(struct.pack("<IQ", select.EPOLLIN, 7))
    assert guest.call("epoll_ctl", epoll, 1, one, watch) == 0
    assert guest.call("epoll_ctl", epoll, 1, one, watch) == -errno.EEXIST
    assert guest.call("epoll_ctl", epoll, 1, epoll, watch) == -errno.EINVAL
    assert guest.call("epoll_ctl", epoll, 1, guest.open(b"/", os.O_RDONLY), watch) == -errno.EPERM
    assert epoll_wait(guest, epoll) == []
    guest.write(other, b"xy")
    assert epoll_wait(guest, epoll) == epoll_wait(guest, epoll) == [(select.EPOLLIN, 7)]
    assert guest.call("close", one) == 0
    assert epoll_wait(guest, epoll) == []


def test_epoll_edges(guest: Guest) -> None:
    epoll = guest.call("epoll_create1", 0)
    one, other = pair(guest)
    assert guest.call("epoll_ctl", epoll, 1, one, guest.put(struct.pack("<IQ", select.EPOLLIN | select.EPOLLET, 7))) == 0
    guest.write(other, b"x")
    assert epoll_wait(guest, epoll) == [(select.EPOLLIN, 7)]
    assert epoll_wait(guest, epoll) == []
    guest.read(one)
    guest.write(other, b"y")  # empty and filled again between two looks
    assert epoll_wait(guest, epoll) == [(select.EPOLLIN, 7)]
    assert guest.call("epoll_ctl", epoll, 3, one, guest.put(struct.pack("<IQ", select.EPOLLIN | select.EPOLLONESHOT, 8))) == 0
    assert epoll_wait(guest, epoll) == [(select.EPOLLIN, 8)]
    assert epoll_wait(guest, epoll) == []


def test_event_and_timer_files(guest: Guest) -> None:
    event = guest.call("eventfd2", 2, 0)
    assert guest.write(event, struct.pack("<Q", 3)) == 8
    assert guest.read(event, 8) == struct.pack("<Q", 5)
    with pytest.raises(Block):
        guest.read(event, 8)
    timer = guest.call("timerfd_create", 1, os.O_NONBLOCK)
    assert guest.call("timerfd_settime", timer, 0, guest.put(struct.pack("<4q", 1, 0, 2, 0)), 0) == 0
    assert guest.read(timer, 8) == -errno.EAGAIN
    guest.k.clock.advance_to(guest.k.clock.now() + 4_500_000_000)
    guest.k.clock.run_due()
    assert guest.read(timer, 8) == struct.pack("<Q", 3)
    assert guest.call("close", timer) == 0
    assert guest.k.guest_timers == 0
