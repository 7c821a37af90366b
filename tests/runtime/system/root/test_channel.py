"""The traps of the guest's init, from a memory that a test can look at."""

from __future__ import annotations

import errno
import struct

import pytest

from pyprobe.runtime.system.root.channel import Channel, Event, Trap, is_trap
from pyprobe.runtime.system.root.command import Command

BUFFER = 0x10000


class Guest:
    """A caller with one piece of memory."""

    def __init__(self, space: int = 0x1000, size: int = 1 << 16) -> None:
        self.space = space
        self.memory = bytearray(size)
        self.present = True
        self.registers = (0, 0, 0, 0, 0)
        self.result = 0

    def arguments(self) -> tuple[int, int, int, int, int]:
        return self.registers

    def set_result(self, value: int) -> None:
        self.result = value

    def address_space(self) -> int:
        return self.space

    def read_virtual(self, address: int, size: int) -> bytes | None:
        at = address - BUFFER
        return bytes(self.memory[at : at + size]) if self.present and 0 <= at <= at + size <= len(self.memory) else None

    def write_virtual(self, address: int, data: bytes) -> bool:
        at = address - BUFFER
        if not self.present or not 0 <= at <= at + len(data) <= len(self.memory):
            return False
        self.memory[at : at + len(data)] = data
        return True

    def trap(self, channel: Channel, number: int, *arguments: int) -> Event:
        a, b, c, d = (*arguments, 0, 0, 0, 0)[:4]
        self.registers = number, a, b, c, d
        return channel.handle(self)


class Echo:
    def __init__(self) -> None:
        self.requests: list[bytes] = []

    def handle(self, request: bytes) -> bytes | None:
        self.requests.append(request)
        return None if request == b"quiet" else request[::-1]


@pytest.fixture
def guest() -> Guest:
    return Guest()


@pytest.fixture
def channel(guest: Guest) -> Channel:
    channel = Channel()
    assert guest.trap(channel, Trap.HELLO, 1) is Event.NOTHING and guest.result == 0
    return channel


def test_only_the_first_address_space_is_heard(channel: Channel, guest: Guest) -> None:
    other = Guest(space=0x2000)
    for trap in Trap:
        assert other.trap(channel, trap, 1) is Event.REFUSED
    assert guest.trap(channel, Trap.WAIT) is Event.READY
    assert guest.trap(channel, Trap.HELLO + 0x77) is Event.REFUSED


def test_a_restored_channel_knows_its_guest(guest: Guest) -> None:
    assert guest.trap(Channel(guest.space), Trap.START) is Event.START
    assert guest.trap(Channel(guest.space + 0x1000), Trap.START) is Event.REFUSED


def test_another_protocol_is_refused() -> None:
    guest = Guest()
    guest.trap(Channel(), Trap.HELLO, 2)
    assert guest.result == -errno.EPROTO


def test_the_command_as_init_reads_it(channel: Channel, guest: Guest) -> None:
    environ = {b"PATH": b"/bin", b"X": b""}
    channel.command = Command([b"ls", b"-l", b"a b"], environ, b"/tmp", stdin=True, uid=3, gid=4, seed=bytes(range(64)))
    guest.trap(channel, Trap.COMMAND)
    size = guest.result
    guest.present = False
    guest.trap(channel, Trap.COMMAND, BUFFER, size, size)
    assert guest.result == -errno.EFAULT
    guest.present = True
    guest.trap(channel, Trap.COMMAND, BUFFER, size, size)
    data = bytes(guest.memory[: guest.result])
    assert struct.unpack_from("<5I", data) == (1, 3, 4, 3, 2) and data[20:84] == bytes(range(64))
    assert data[84:].split(b"\0") == [b"/tmp", b"/bin", b"ls", b"-l", b"a b", b"PATH=/bin", b"X=", b""]
    guest.trap(channel, Trap.COMMAND, BUFFER, size - 1, size - 1)
    assert guest.result == -errno.E2BIG


@pytest.mark.parametrize("command", [Command([]), Command([b"a\0b"]), Command([b"a"], {b"b": b"\0"})])
def test_commands_that_cannot_be_passed_on(command: Command) -> None:
    with pytest.raises(ValueError):
        command.pack()


def test_a_request_is_answered_once_though_its_page_was_away(channel: Channel, guest: Guest) -> None:
    server = Echo()
    channel.servers = (server,)
    guest.memory[:5] = b"abcde"
    write, guest.write_virtual = guest.write_virtual, lambda address, data: False  # type: ignore[method-assign]  # a page that is away
    guest.trap(channel, Trap.FUSE, BUFFER, 5, 4096, 0)
    assert guest.result == -errno.EFAULT
    guest.write_virtual = write  # type: ignore[method-assign]  # it is back
    guest.trap(channel, Trap.FUSE, BUFFER, 5, 4096, 0)
    assert guest.result == 5 and guest.memory[:5] == b"edcba" and server.requests == [b"abcde"]
    guest.memory[:5] = b"quiet"
    guest.trap(channel, Trap.FUSE, BUFFER, 5, 4096, 0)
    assert guest.result == 0
    guest.trap(channel, Trap.FUSE, BUFFER, 5, 4096, 1)
    assert guest.result == -errno.ENODEV


def test_output_and_its_end(channel: Channel, guest: Guest) -> None:
    got: list[tuple[int, bytes]] = []
    channel.output = lambda stream, data: got.append((stream, data))
    guest.memory[:3] = b"out"
    guest.trap(channel, Trap.OUT, BUFFER, 3, 4096, 2)
    assert guest.result == 3 and got == [(2, b"out")]

    def closed(stream: int, data: bytes) -> None:
        raise BrokenPipeError(errno.EPIPE, "closed")

    channel.output = closed
    guest.trap(channel, Trap.OUT, BUFFER, 3, 4096, 1)
    assert guest.result == -errno.EPIPE


def test_ends(channel: Channel, guest: Guest) -> None:
    assert guest.trap(channel, Trap.EXIT, 7 << 8) is Event.EXIT and channel.status == 7 << 8
    guest.memory[:4] = b"/x/y"
    assert guest.trap(channel, Trap.FAILED, BUFFER, 4, 4, 1 << 32 | errno.ENOENT) is Event.FAILED
    assert channel.failure == (errno.ENOENT, b"/x/y", True)


def test_numbers_that_are_traps() -> None:
    assert all(is_trap(trap) for trap in Trap)
    assert not is_trap(0) and not is_trap(0x50590100) and not is_trap(Trap.HELLO | 1 << 63)
