"""A FUSE server that shows a tree: one request as bytes in, one answer as bytes out.

It speaks the kernel's protocol itself (include/uapi/linux/fuse.h), so that it serves whatever carries the bytes: a relay behind /dev/fuse
or a virtio queue. Nothing can be changed through it. Answers depend on the tree and the requests alone, and say that they stay true for
the whole run: the guest's kernel asks once and caches.
"""

from __future__ import annotations

import errno
import stat
import struct
from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Final

from pyprobe.runtime.system.root import fuse_abi as abi
from pyprobe.runtime.system.root.fuse_abi import Init, Op
from pyprobe.runtime.system.root.tree import Entry, Node, Status
from pyprobe.runtime.user.errors import Errno

_NS: Final = 1_000_000_000
_FOREVER: Final = 365 * 86400  # seconds
_READ_AHEAD: Final = 1 << 20
_MAX_PAGES: Final = 256  # of one read: a megabyte
_BLOCK: Final = 4096
_HELD_LISTINGS: Final = 64
_WANTED: Final = (
    Init.ASYNC_READ
    | Init.DO_READDIRPLUS
    | Init.READDIRPLUS_AUTO
    | Init.NO_OPEN_SUPPORT
    | Init.NO_OPENDIR_SUPPORT
    | Init.PARALLEL_DIROPS
    | Init.MAX_PAGES
    | Init.CACHE_SYMLINKS
)
_ABSENT: Final = abi.entry_out.pack(0, 0, _FOREVER, 0, 0, 0) + bytes(abi.attr.size)
_NO_ANSWER: Final = frozenset({Op.FORGET, Op.BATCH_FORGET})
_DT_DIR: Final = 4


def pack_status(status: Status) -> bytes:
    """struct fuse_attr. Access and change time are the time of modification: the host's would tell one run from another."""
    seconds, ns = divmod(status.mtime_ns, _NS)
    major, minor = status.rdev >> 8 & 0xFFF, status.rdev & 0xFF | status.rdev >> 12 & 0xFFF00  # makedev(3) of Linux
    rdev = minor & 0xFF | major << 8 | (minor & 0xFFF00) << 12
    return abi.attr.pack(
        status.ino,
        status.size,
        status.blocks,
        *(seconds % (1 << 64),) * 3,
        *(ns,) * 3,
        status.mode,
        status.nlink,
        status.uid,
        status.gid,
        rdev & 0xFFFFFFFF,
        _BLOCK,
        0,
    )


class NoRequest(Exception):
    """Bytes that are no request."""


class Protocol:
    """What every FUSE server of ours does: headers, errors, and the answers that are the same everywhere.

    A subclass has `operations`: what is done for each request it knows, given the node's number and the request's body. Others fail: with
    EROFS if they would change something, else with ENOSYS, after which the kernel does not ask again.
    """

    wanted = Init(0)
    root = Status(abi.ROOT_ID, stat.S_IFDIR | 0o755, 0)

    def __init__(self) -> None:
        self.requests = 0
        self.negotiated = Init(0)
        self.operations: dict[int, Callable[[int, bytes], bytes]] = {
            Op.INIT: self._init,
            Op.STATFS: self._statfs,
            Op.RELEASE: self._nothing,
            Op.RELEASEDIR: self._nothing,
            Op.DESTROY: self._nothing,
        }

    def handle(self, request: bytes) -> bytes | None:
        """The answer to one request, None if it has none.

        Raises:
            NoRequest: these bytes are no request of the protocol.
        """
        if len(request) < abi.in_header.size:
            raise NoRequest("a FUSE request shorter than its header")
        length, opcode, unique, node = abi.in_header.unpack_from(request)[:4]
        if length != len(request):
            raise NoRequest(f"a FUSE request of {len(request)} bytes says that it has {length}")
        self.requests += 1
        operation = self.operations.get(opcode)
        body = b""
        failure = 0
        if operation is None:
            failure = errno.EROFS if opcode in abi.CHANGES else errno.ENOSYS
        else:
            try:
                body = operation(node, request[abi.in_header.size :])
            except Errno as error:
                failure = error.errno
            except KeyError:  # a node that was forgotten
                failure = errno.ESTALE
            except (struct.error, OverflowError):  # a request that is cut short, or with numbers that no kernel sends
                failure = errno.EINVAL
        if opcode in _NO_ANSWER:
            return None
        return abi.out_header.pack(abi.out_header.size + len(body), -failure, unique) + body

    def _init(self, node: int, body: bytes) -> bytes:
        major, minor, _, flags = abi.init_in.unpack_from(body)
        if major < abi.KERNEL_VERSION:
            raise Errno(errno.EPROTO)
        self.negotiated = Init(flags & self.wanted)
        return abi.init_out.pack(
            abi.KERNEL_VERSION,
            min(minor, abi.KERNEL_MINOR_VERSION),
            _READ_AHEAD,
            self.negotiated,
            64,  # max_background
            48,  # congestion_threshold
            _BLOCK,  # max_write: the least that is allowed
            1,  # time_gran
            _MAX_PAGES,
            *(0,) * 9,
        )

    def _statfs(self, node: int, body: bytes) -> bytes:
        # a full file system of a made-up size: the host's own figures change all the time
        return abi.statfs_out.pack(1 << 22, 0, 0, 1 << 20, 0, _BLOCK, 255, _BLOCK, *(0,) * 7)

    def _nothing(self, node: int, body: bytes) -> bytes:
        return b""


class Server(Protocol):
    """Shows the tree below `root`, a directory."""

    wanted = _WANTED

    def __init__(self, root: Node) -> None:
        super().__init__()
        self._nodes: dict[int, Node] = {abi.ROOT_ID: root}
        self._lookups: dict[int, int] = {abi.ROOT_ID: 1}
        self._numbers: dict[Hashable, int] = {root.key: abi.ROOT_ID}
        self._next = abi.ROOT_ID + 1
        self._listings: OrderedDict[int, list[Entry]] = OrderedDict()
        self._changes: dict[Hashable, dict[int, int]] = {}  # of files: bytes by their offsets
        self.operations |= {
            Op.LOOKUP: self._lookup,
            Op.FORGET: self._forget,
            Op.BATCH_FORGET: self._batch_forget,
            Op.GETATTR: self._getattr,
            Op.READLINK: self._readlink,
            Op.READ: self._read,
            Op.READDIR: self._readdir,
            Op.READDIRPLUS: self._readdirplus,
        }

    def _remember(self, node: Node) -> int:
        number = self._numbers.get(node.key)
        if number is None:
            number = self._numbers[node.key] = self._next
            self._next += 1
            self._nodes[number] = node
            self._lookups[number] = 0
        self._lookups[number] += 1
        return number

    def _entry(self, node: Node) -> bytes:
        return abi.entry_out.pack(self._remember(node), 0, _FOREVER, _FOREVER, 0, 0) + pack_status(node.status)

    def _lookup(self, node: int, body: bytes) -> bytes:
        name = body.rstrip(b"\0")
        if not name or b"/" in name or name in (b".", b".."):  # the kernel resolves these itself
            raise Errno(errno.EINVAL)
        found = self._nodes[node].lookup(name)
        return _ABSENT if found is None else self._entry(found)

    def _drop(self, number: int, times: int) -> None:
        if number == abi.ROOT_ID or number not in self._lookups:
            return
        self._lookups[number] -= times
        if self._lookups[number] <= 0:
            del self._lookups[number]
            del self._numbers[self._nodes.pop(number).key]
            self._listings.pop(number, None)

    def _forget(self, node: int, body: bytes) -> bytes:
        self._drop(node, abi.forget_in.unpack_from(body)[0])
        return b""

    def _batch_forget(self, node: int, body: bytes) -> bytes:
        for i in range(abi.batch_forget_in.unpack_from(body)[0]):
            self._drop(*abi.forget_one.unpack_from(body, abi.batch_forget_in.size + i * abi.forget_one.size))
        return b""

    def _getattr(self, node: int, body: bytes) -> bytes:
        return abi.attr_out.pack(_FOREVER, 0, 0) + pack_status(self._nodes[node].status)

    def _readlink(self, node: int, body: bytes) -> bytes:
        return self._nodes[node].readlink()

    def _read(self, node: int, body: bytes) -> bytes:
        _, offset, size = abi.read_in.unpack_from(body)
        file = self._nodes[node]
        data = file.read(offset, size)
        for at, byte in self._changes.get(file.key, {}).items():
            if 0 <= at - offset < len(data):
                data = data[: at - offset] + bytes((byte,)) + data[at - offset + 1 :]
        return data

    def change(self, file: Node, offset: int, data: bytes) -> None:
        """Have the guest find other bytes in a file, which has those already that are kept in the guest's memory."""
        self._changes.setdefault(file.key, {}).update(enumerate(data, offset))

    def _listing(self, number: int, offset: int) -> list[Entry]:
        if offset == 0 or number not in self._listings:
            node = self._nodes[number]
            dots = [Entry(name, _DT_DIR, node.status.ino) for name in (b".", b"..")]
            self._listings[number] = dots + node.entries()
            if len(self._listings) > _HELD_LISTINGS:
                self._listings.popitem(last=False)
        return self._listings[number]

    def _readdir(self, node: int, body: bytes) -> bytes:
        _, offset, room = abi.read_in.unpack_from(body)
        out = bytearray()
        for position, entry in enumerate(self._listing(node, offset)[offset:], offset + 1):
            record = _dirent(entry, position)
            if len(out) + len(record) > room:
                break
            out += record
        return bytes(out)

    def _readdirplus(self, node: int, body: bytes) -> bytes:
        _, offset, room = abi.read_in.unpack_from(body)
        out = bytearray()
        for position, entry in enumerate(self._listing(node, offset)[offset:], offset + 1):
            if len(out) + abi.entry_out.size + abi.attr.size + len(_dirent(entry, position)) > room:
                break
            found = self._found(node, entry)
            if found is None:
                out += bytes(abi.entry_out.size + abi.attr.size) + _dirent(entry, position)
            else:
                out += self._entry(found) + _dirent(entry._replace(ino=found.status.ino), position)
        return bytes(out)

    def _found(self, directory: int, entry: Entry) -> Node | None:
        """What a name in a listing stands for; None for the dots, whose attributes nobody needs, and for what cannot be looked at."""
        if entry.name in (b".", b".."):
            return None
        try:
            return self._nodes[directory].lookup(entry.name)
        except Errno:
            return None


def _dirent(entry: Entry, position: int) -> bytes:
    record = abi.dirent.pack(entry.ino, position, len(entry.name), entry.kind) + entry.name
    return record + bytes(-len(record) % 8)
