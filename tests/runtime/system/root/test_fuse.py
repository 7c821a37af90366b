"""The FUSE servers, spoken to as the kernel does: bytes in, bytes out."""

from __future__ import annotations

import errno
import os
import struct
from collections.abc import Callable
from pathlib import Path

import pytest

from pyprobe.runtime.system.root import fuse_abi as abi
from pyprobe.runtime.system.root.fuse import NoRequest, Protocol, Server
from pyprobe.runtime.system.root.fuse_abi import Op
from pyprobe.runtime.system.root.streams import StreamServer, given
from pyprobe.runtime.system.root.tree import Content, HostTree, memory_tree


class Client:
    """The kernel's side."""

    def __init__(self, server: Protocol) -> None:
        self.server = server
        self.unique = 0
        self.ask(Op.INIT, 0, struct.pack("<4I", 7, 38, 1 << 20, 0xFFFFFFFF))

    def ask(self, op: int, node: int, body: bytes = b"") -> bytes:
        """The answer's body; raises OSError with its error."""
        self.unique += 1
        answer = self.server.handle(abi.in_header.pack(abi.in_header.size + len(body), op, self.unique, node, 0, 0, 7, 0) + body)
        assert answer is not None
        length, error, unique = abi.out_header.unpack_from(answer)
        assert length == len(answer) and unique == self.unique
        if error:
            raise OSError(-error, os.strerror(-error))
        return answer[abi.out_header.size :]

    def tell(self, op: int, node: int, body: bytes) -> None:
        assert self.server.handle(abi.in_header.pack(abi.in_header.size + len(body), op, 1, node, 0, 0, 7, 0) + body) is None

    def lookup(self, name: bytes, parent: int = abi.ROOT_ID) -> int:
        answer = self.ask(Op.LOOKUP, parent, name + b"\0")
        assert len(answer) == abi.entry_out.size + abi.attr.size
        return int(abi.entry_out.unpack_from(answer)[0])

    def walk(self, path: bytes) -> int:
        node = abi.ROOT_ID
        for name in path.split(b"/"):
            node = self.lookup(name, node)
            assert node, path
        return node

    def attributes(self, node: int) -> tuple[int, ...]:
        return abi.attr.unpack_from(self.ask(Op.GETATTR, node, bytes(16)), abi.attr_out.size)

    def read(self, node: int, offset: int = 0, size: int = 1 << 20) -> bytes:
        return self.ask(Op.READ, node, struct.pack("<QQIIQII", 0, offset, size, 0, 0, 0, 0))

    def names(self, node: int, room: int = 4096, plus: bool = False) -> list[tuple[bytes, int, int]]:
        found, offset = [], 0
        while data := self.ask(Op.READDIRPLUS if plus else Op.READDIR, node, struct.pack("<QQIIQII", 0, offset, room, 0, 0, 0, 0)):
            assert len(data) <= room
            at = 0
            while at < len(data):
                at += (abi.entry_out.size + abi.attr.size) * plus
                ino, offset, length, kind = abi.dirent.unpack_from(data, at)
                at += abi.dirent.size
                found.append((data[at : at + length], kind, ino))
                at += length + -(abi.dirent.size + length) % 8
        return found


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    (tmp_path / "root/sub/deep").mkdir(parents=True)
    (tmp_path / "secret").write_text("not for the guest")
    root = tmp_path / "root"
    (root / "file").write_bytes(b"hello")
    (root / "sub/big").write_bytes(bytes(range(256)) * 1000)
    (root / "out").symlink_to("../secret")
    (root / "up").symlink_to(tmp_path)
    os.link(root / "file", root / "again")
    os.mkfifo(root / "fifo")
    os.utime(root / "file", ns=(123, 1_600_000_000_123_456_789))
    return root


@pytest.fixture
def client(tree: Path) -> Client:
    return Client(Server(HostTree(os.fsencode(tree)).root))


def test_negotiation(client: Client) -> None:
    answer = client.ask(Op.INIT, 0, struct.pack("<4I", 7, 31, 1 << 20, 1 << 22 | 1 << 13 | 1 << 30))
    major, minor, _, flags = abi.init_in.unpack_from(answer)
    assert (major, minor, flags, len(answer)) == (7, 31, 1 << 22 | 1 << 13, 64)


def test_files_and_what_is_told_of_them(client: Client) -> None:
    node = client.walk(b"file")
    _, size, _, *times = client.attributes(node)
    assert size == 5 and client.read(node) == b"hello" and client.read(node, 3) == b"lo" and client.read(node, 9) == b""
    assert times[:6] == [1_600_000_000] * 3 + [123_456_789] * 3  # all are the time of modification
    big = client.walk(b"sub/big")
    assert b"".join(client.read(big, at, 4096) for at in range(0, 256000, 4096)) == bytes(range(256)) * 1000


def test_what_is_not_there_is_remembered_as_such(client: Client) -> None:
    answer = client.ask(Op.LOOKUP, abi.ROOT_ID, b"nothing\0")
    node, _, valid = abi.entry_out.unpack_from(answer)[:3]
    assert node == 0 and valid > 86400


def test_two_names_of_a_file_are_one_node(client: Client) -> None:
    assert client.walk(b"file") == client.walk(b"again")


def test_links_are_told_and_never_followed(client: Client) -> None:
    assert client.ask(Op.READLINK, client.walk(b"out")) == b"../secret"
    with pytest.raises(OSError) as found:
        client.lookup(b"secret", client.walk(b"up"))
    assert found.value.errno == errno.ENOTDIR
    with pytest.raises(OSError):
        client.read(client.walk(b"out"))


@pytest.mark.parametrize("name", [b"..", b".", b"", b"../secret", b"sub/big", b"/etc/passwd"])
def test_only_single_names_are_looked_up(client: Client, name: bytes) -> None:
    with pytest.raises(OSError) as found:
        client.lookup(name)
    assert found.value.errno == errno.EINVAL


def test_a_directory_replaced_by_a_link_does_not_lead_out(client: Client, tree: Path) -> None:
    sub = client.walk(b"sub")
    big = client.walk(b"sub/big")
    (tree / "sub").rename(tree.parent / "elsewhere")
    (tree / "sub").symlink_to("..")
    (tree.parent / "big").write_text("not for the guest")
    server = client.server
    assert isinstance(server, Server)
    for _ in range(200):  # more directories than descriptors are kept for
        client.names(abi.ROOT_ID)
    for action in (lambda: client.read(big), lambda: client.lookup(b"secret", sub)):
        try:
            assert b"not for the guest" not in bytes(action() or b"")
        except OSError as error:
            assert error.errno in (errno.ENOENT, errno.ESTALE, errno.ELOOP, errno.ENOTDIR)


@pytest.mark.parametrize("plus", [False, True])
@pytest.mark.parametrize("room", [200, 4096])
def test_directories_are_sorted_and_whole(client: Client, plus: bool, room: int) -> None:
    room = max(room, 400) if plus else room
    found = client.names(abi.ROOT_ID, room, plus)
    assert [name for name, _, _ in found] == [b".", b"..", b"again", b"fifo", b"file", b"out", b"sub", b"up"]
    assert {name: kind for name, kind, _ in found[2:]} == {b"again": 8, b"fifo": 1, b"file": 8, b"out": 10, b"sub": 4, b"up": 10}
    assert all(ino == client.attributes(client.walk(name))[0] for name, _, ino in found[2:] if plus or name not in (b"again", b"file"))


def test_inode_numbers_are_the_same_in_every_order(tree: Path) -> None:
    forward, backward = (Client(Server(HostTree(os.fsencode(tree)).root)) for _ in range(2))
    names = [b"fifo", b"out", b"sub", b"sub/big", b"sub/deep"]
    first = {name: forward.attributes(forward.walk(name))[0] for name in names}
    assert {name: backward.attributes(backward.walk(name))[0] for name in reversed(names)} == first


def test_forgotten_nodes_are_gone(client: Client) -> None:
    node = client.lookup(b"file")
    assert client.lookup(b"file") == node
    client.tell(Op.FORGET, node, struct.pack("<Q", 1))
    assert client.read(node) == b"hello"
    client.tell(Op.BATCH_FORGET, 0, struct.pack("<IIQQ", 1, 0, node, 1))
    with pytest.raises(OSError) as found:
        client.read(node)
    assert found.value.errno == errno.ESTALE
    assert client.lookup(b"file") != node


@pytest.mark.parametrize("op", sorted(abi.CHANGES))
def test_nothing_can_be_changed(client: Client, tree: Path, op: int) -> None:
    with pytest.raises(OSError) as found:
        client.ask(op, client.walk(b"file"), bytes(64) + b"name\0")
    assert found.value.errno == errno.EROFS


def test_every_opcode_with_nonsense_is_answered(client: Client) -> None:
    for op in range(60):
        for body in (b"", b"\xff" * 7, b"\xff" * 200):
            request = abi.in_header.pack(abi.in_header.size + len(body), op, 1, 1 << 63, 0, 0, 7, 0) + body
            client.server.handle(request)


@pytest.mark.parametrize("request_", [b"", b"\0" * 39, struct.pack("<I", 99) + bytes(60)])
def test_what_is_no_request_is_refused(client: Client, request_: bytes) -> None:
    with pytest.raises(NoRequest, match="FUSE"):
        client.server.handle(request_)


def test_a_tree_in_memory() -> None:
    client = Client(Server(memory_tree({b"bin": {b"tool": Content(b"\x7fELF", 0o755)}, b"note": Content(b"text")})))
    assert client.read(client.walk(b"bin/tool")) == b"\x7fELF"
    assert [name for name, _, _ in client.names(abi.ROOT_ID)][2:] == [b"bin", b"note"]
    assert client.attributes(client.walk(b"bin/tool"))[9] == 0o100755


def test_input_is_asked_for_when_it_is_read() -> None:
    asked: list[int] = []
    source: Callable[[int], bytes] = given(b"one two")

    def counting(size: int) -> bytes:
        asked.append(size)
        return source(size)

    client = Client(StreamServer(counting))
    node = client.lookup(b"stdin")
    assert struct.unpack_from("<QII", client.ask(Op.OPEN, node, bytes(8)))[1] == 1 | 4 | 16
    assert asked == []
    assert [client.read(node, 0, 4), client.read(node, 4, 100), client.read(node, 7, 100)] == [b"one ", b"two", b""]
    assert asked == [4, 100, 100]
    assert client.lookup(b"stdout") == 0
