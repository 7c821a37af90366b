"""Sockets of the machine's own network: what those of all families share. See socket(7), net/socket.c.

All of it is Python objects: no socket of the host is ever made. Data moves at once from the sender to the receiver's
queue, so there is no time on the wire and nothing is lost.
"""

from __future__ import annotations

import errno
import struct
from collections import deque
from typing import TYPE_CHECKING, Final

from pyprobe.runtime.user.errors import Block, Errno
from pyprobe.runtime.user.vfs.abi import FIONREAD, O_RDWR, S_IFSOCK
from pyprobe.runtime.user.vfs.inode import Dentry, Inode
from pyprobe.runtime.user.vfs.openfile import OpenFile, Position
from pyprobe.runtime.user.vfs.sockaddr import Address, InetAddress
from pyprobe.runtime.user.vfs.views import Views, scatter
from pyprobe.runtime.user.words import NANOSECONDS

if TYPE_CHECKING:
    from collections.abc import Callable

    from pyprobe.runtime.user.kernel import Kernel
    from pyprobe.runtime.user.task import Task

SOCK_STREAM: Final = 1
SOCK_DGRAM: Final = 2
SOCK_RAW: Final = 3
SOCK_SEQPACKET: Final = 5

MSG_OOB: Final = 0x1
MSG_PEEK: Final = 0x2
MSG_CTRUNC: Final = 0x8
MSG_TRUNC: Final = 0x20
MSG_DONTWAIT: Final = 0x40
MSG_WAITALL: Final = 0x100
MOST_QUEUED: Final = 4 << 20  # more bytes than any queue of a socket ever holds
MSG_NOSIGNAL: Final = 0x4000
MSG_CMSG_CLOEXEC: Final = 0x40000000

SHUT_RD: Final = 0
SHUT_WR: Final = 1
SHUT_RDWR: Final = 2

SOL_SOCKET: Final = 1
SO_REUSEADDR, SO_TYPE, SO_ERROR, SO_SNDBUF, SO_RCVBUF, SO_REUSEPORT, SO_PASSCRED, SO_PEERCRED = 2, 3, 4, 7, 8, 15, 16, 17
SO_RCVTIMEO, SO_SNDTIMEO, SO_ACCEPTCONN, SO_PROTOCOL, SO_DOMAIN, SO_COOKIE = 20, 21, 30, 38, 39, 57

QUEUE_LIMIT: Final = 212992  # net.core.wmem_default: bytes that wait for a receiver
SIOCOUTQ: Final = 0x5411

# by family and type; net/ipv4/{tcp_ipv4,udp}.c, net/ipv6/{tcp_ipv6,udp}.c, net/unix/af_unix.c
PROTOCOLS: Final = {
    (1, SOCK_STREAM): b"UNIX-STREAM", (1, SOCK_DGRAM): b"UNIX", (1, SOCK_SEQPACKET): b"UNIX",
    (2, SOCK_STREAM): b"TCP", (2, SOCK_DGRAM): b"UDP", (10, SOCK_STREAM): b"TCPv6", (10, SOCK_DGRAM): b"UDPv6",
}  # fmt: skip

Credentials = tuple[int, int, int]  # pid, uid, gid


class Message:
    """One sendmsg or recvmsg (struct msghdr): the memory, and what goes with it.

    address: where to (or, received, where from). files: open files that are passed along; each is a reference.
    flags: MSG_* of the call; out: MSG_* for the caller of recvmsg. goal, arrived: of a packet received, see `Chunk`.
    """

    __slots__ = ("address", "arrived", "credentials", "files", "flags", "goal", "out", "views", "want_files")

    def __init__(self, views: Views, flags: int = 0, address: Address | None = None) -> None:
        self.views = views
        self.flags = flags
        self.address = address
        self.files: list[OpenFile] = []
        self.credentials: Credentials | None = None
        self.out = 0
        self.want_files = False
        self.goal: InetAddress | None = None
        self.arrived = 0

    @property
    def size(self) -> int:
        """Bytes of memory."""
        return sum(map(len, self.views))

    def take(self, packet: Chunk) -> int:
        """Receive a packet: what there is no room for is lost. How many bytes recvmsg tells of (MSG_TRUNC: all that there were)."""
        self.address, self.credentials = packet.source, packet.credentials
        self.goal, self.arrived = packet.goal, packet.arrived
        done = scatter(self.views, packet.data)
        if done == len(packet.data):
            return done
        self.out |= MSG_TRUNC
        return len(packet.data) if self.flags & MSG_TRUNC else done


class Chunk:
    """What one send put into a queue. goal, arrived: of a packet, the Internet address it was sent to, and the time of day, ns."""

    __slots__ = ("arrived", "credentials", "data", "files", "goal", "source")

    def __init__(self, data: bytes, source: Address | None, files: list[OpenFile], credentials: Credentials | None) -> None:
        self.data = data
        self.source = source
        self.files = files
        self.credentials = credentials
        self.goal: InetAddress | None = None
        self.arrived = 0


class Queue:
    """Data that waits for a receiver. The two counts only grow, see `OpenFile.edges`; `total`: bytes that have ever come."""

    __slots__ = ("arrived", "chunks", "drained", "size", "total")

    CHUNK_COST = 256  # what a chunk takes of the limit besides its bytes, so that empty packets do too

    def __init__(self) -> None:
        self.chunks: deque[Chunk] = deque()
        self.size = self.total = 0
        self.arrived = 0
        self.drained = 0

    @property
    def room(self) -> int:
        """Bytes that may still be put."""
        return max(0, QUEUE_LIMIT - self.size - self.CHUNK_COST * len(self.chunks))

    def put(self, chunk: Chunk) -> None:
        """Append."""
        self.chunks.append(chunk)
        self.size += len(chunk.data)
        self.total += len(chunk.data)
        self.arrived += 1

    def take_stream(self, count: int, *, peek: bool) -> tuple[bytes, Chunk | None]:
        """Up to `count` bytes, and the chunk they begin in; what goes with a later send is not mixed in."""
        parts: list[bytes] = []
        first: Chunk | None = None
        got = 0
        for chunk in list(self.chunks):
            if got >= count or (first is not None and (chunk.files or chunk.credentials != first.credentials)):
                break
            if first is None:
                first = Chunk(b"", chunk.source, chunk.files, chunk.credentials)
            piece = chunk.data[: count - got]
            parts.append(piece)
            got += len(piece)
            if not peek:
                chunk.files = []
                chunk.data = chunk.data[len(piece) :]
                if not chunk.data:
                    self.chunks.popleft()
        if not peek:
            self.size -= got
            self.drained += 1
        return b"".join(parts), first

    def take_packet(self, *, peek: bool) -> Chunk:
        """The first chunk, whole."""
        chunk = self.chunks[0]
        if not peek:
            self.chunks.popleft()
            self.size -= len(chunk.data)
            self.drained += 1
        return chunk

    def clear(self, k: Kernel) -> None:
        """Drop everything, passed files too."""
        for chunk in self.chunks:
            k.vfs.in_flight -= len(chunk.files)
            for file in chunk.files:
                file.release(k)
        self.chunks.clear()
        self.size = 0


class SocketInode(Inode):
    """The inode of a socket. `protocol`: the name of its protocol (struct proto), which is its dentry's as well."""

    __slots__ = ("protocol",)

    protocol: bytes


class Socket(OpenFile):
    """A socket of any family.

    peer: the other end of a connection, also while that end is closed. error: what SO_ERROR and the next call report.
    """

    family = 0

    def __init__(self, k: Kernel, type: int, protocol: int, flags: int) -> None:
        fs = k.vfs.sockfs
        inode = SocketInode(fs, fs.number(), S_IFSOCK | 0o777, k.clock.wall())
        inode.protocol = PROTOCOLS.get((self.family, type), b"")
        super().__init__(Dentry(None, b"socket:[%d]" % inode.ino, inode), flags | O_RDWR)
        self.type = type
        self.protocol = protocol
        self.incoming = Queue()
        self.local: Address | None = None
        self.remote: Address | None = None
        self.peer: Socket | None = None
        self.connected = False
        self.closed = False
        self.read_shut = False
        self.write_shut = False
        self.error = 0
        self.options: dict[tuple[int, int], bytes] = {}
        self.credentials: Credentials = (0, 0, 0)
        self.peer_credentials: Credentials = (0, 0xFFFFFFFF, 0xFFFFFFFF)
        self.backlog: deque[Socket] | None = None  # connections that wait for accept; None: not listening
        self.backlog_limit = 0
        self._cookie = 0

    def cookie(self, k: Kernel) -> int:
        """Its number among the sockets that were asked for one (sock_gen_cookie)."""
        self._cookie = self._cookie or k.vfs.network.next_cookie()
        return self._cookie

    # what families do

    def bind(self, k: Kernel, t: Task, address: Address) -> None:
        """bind(2)."""
        raise Errno(errno.EOPNOTSUPP)

    def connect(self, k: Kernel, t: Task, address: Address) -> None:
        """connect(2)."""
        raise Errno(errno.EOPNOTSUPP)

    def listen(self, k: Kernel, t: Task, backlog: int) -> None:
        """listen(2)."""
        raise Errno(errno.EOPNOTSUPP)

    def accept(self, k: Kernel, t: Task) -> Socket:
        """accept(2); the socket of the connection belongs to the caller."""
        raise Errno(errno.EOPNOTSUPP)

    def sendmsg(self, k: Kernel, t: Task, message: Message) -> int:
        """sendmsg(2)."""
        raise Errno(errno.EOPNOTSUPP)

    def recvmsg(self, k: Kernel, t: Task, message: Message) -> int:
        """recvmsg(2)."""
        raise Errno(errno.EOPNOTSUPP)

    # as files

    def most(self, position: Position) -> int:
        return MOST_QUEUED

    def read(self, k: Kernel, t: Task, views: Views, position: Position) -> int:
        if not views:
            return 0
        message = Message(views)
        count = self.recvmsg(k, t, message)
        for file in message.files:
            file.release(k)
        return count

    def write(self, k: Kernel, t: Task, views: Views, position: Position) -> int:
        return self.sendmsg(k, t, Message(views))

    def ioctl(self, k: Kernel, t: Task, request: int, argument: int) -> int:
        if request == FIONREAD:
            if self.backlog is not None:
                raise Errno(errno.EINVAL)
            chunks = self.incoming.chunks
            size = self.incoming.size if self.type == SOCK_STREAM else len(chunks[0].data) if chunks else 0
            t.space.write(argument, struct.pack("<i", size))
            return 0
        if request == SIOCOUTQ:
            t.space.write(argument, bytes(4))
            return 0
        from pyprobe.runtime.user.vfs.interfaces import interface_ioctl  # here, because netlink's sockets are made of this class

        answer = interface_ioctl(t, request, argument) if request >> 8 == 0x89 else None
        return answer if answer is not None else super().ioctl(k, t, request, argument)

    def edges(self) -> tuple[int, int]:
        arrived = self.incoming.arrived
        peer = self.peer
        return arrived, arrived if peer is None else peer.incoming.drained + peer.closed

    # help for families

    def flag(self, name: int) -> bool:
        """A boolean option of SOL_SOCKET."""
        return any(self.options.get((SOL_SOCKET, name), b""))

    def take_error(self) -> int:
        """The pending error number, which is over once it has been told."""
        error, self.error = self.error, 0
        return error

    def check_error(self) -> None:
        """Raises the pending error."""
        if self.error:
            raise Errno(self.take_error())

    def wait(self, k: Kernel, t: Task, message_flags: int, ready: Callable[[], object], why: str, *, option: int) -> None:
        """Wait until `ready`, not longer than the timeout option says.

        Raises:
            Block; Errno: EAGAIN.
        """
        self.wait_flags(message_flags & MSG_DONTWAIT)
        deadline = None
        timeout = self.options.get((SOL_SOCKET, option))
        if timeout is not None and any(timeout):
            seconds, microseconds = struct.unpack("<qq", timeout)
            known = t.restart.get("timeout")
            if not isinstance(known, int):
                known = t.restart["timeout"] = k.clock.now() + seconds * NANOSECONDS + microseconds * 1000
            if k.clock.now() >= known:
                raise Errno(errno.EAGAIN)
            deadline = known
        raise Block(ready, deadline, why=why)
