"""Sockets without a connection: each send is one packet, which may be addressed. See unix(7), udp(7)."""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING

from pyprobe.runtime.user.errors import Errno
from pyprobe.runtime.user.vfs.abi import POLLERR, READABLE, WRITABLE
from pyprobe.runtime.user.vfs.sockaddr import Address
from pyprobe.runtime.user.vfs.socket import (
    MSG_PEEK,
    SHUT_RD,
    SHUT_RDWR,
    SHUT_WR,
    SO_RCVTIMEO,
    SO_SNDTIMEO,
    Chunk,
    Message,
    Socket,
)

if TYPE_CHECKING:

    from pyprobe.runtime.user.kernel import Kernel
    from pyprobe.runtime.user.task import Task


class DatagramSocket(Socket):
    """A connectionless socket: each send is one packet, which may be addressed."""

    def target(self, k: Kernel, t: Task, address: Address) -> DatagramSocket:
        """Who receives at an address.

        Raises:
            Errno: as sendto(2).
        """
        raise NotImplementedError

    def disconnect(self, k: Kernel) -> None:
        """connect(2) with AF_UNSPEC: packets go to and come from anybody again."""
        self.peer = self.remote = None
        self.connected = False

    def before_send(self, k: Kernel, t: Task) -> None:
        """Get an own address if the family gives one to every sender."""

    def sendmsg(self, k: Kernel, t: Task, message: Message) -> int:
        self.check_error()
        if self.write_shut:
            k.broken_pipe(t)
            raise Errno(errno.EPIPE)
        data = b"".join(message.views)
        if message.address is not None:
            peer: Socket | None = self.target(k, t, message.address)
        elif not self.connected:
            raise Errno(errno.ENOTCONN if self.family == 1 else errno.EDESTADDRREQ)
        else:
            peer = self.peer
            if self.remote is not None and (peer is None or peer.closed):
                peer = self.target(k, t, self.remote)
        if peer is None or peer.closed:
            raise Errno(errno.ECONNREFUSED)
        self.before_send(k, t)
        if len(data) > 65507:
            raise Errno(errno.EMSGSIZE)
        queue = peer.incoming
        if queue.room < len(data) or not queue.room:
            if self.family != 1:
                return len(data)  # UDP drops what does not fit
            receiver = peer
            needed = max(1, len(data))
            self.wait(k, t, message.flags, lambda: queue.room >= needed or receiver.closed, "room in a socket", option=SO_SNDTIMEO)
        queue.put(Chunk(data, self.local, message.files, self.credentials))
        k.vfs.in_flight += len(message.files)
        message.files = []
        return len(data)

    def recvmsg(self, k: Kernel, t: Task, message: Message) -> int:
        self.check_error()
        queue = self.incoming
        if not queue.chunks:
            if self.read_shut:
                return 0
            self.wait(k, t, message.flags, lambda: queue.chunks or self.error or self.read_shut, "a packet", option=SO_RCVTIMEO)
        peek = bool(message.flags & MSG_PEEK)
        chunk = queue.take_packet(peek=peek)
        if not peek:
            message.files += chunk.files
            k.vfs.in_flight -= len(chunk.files)
        return message.take(chunk)

    def shutdown(self, k: Kernel, how: int) -> None:
        """shutdown(2)."""
        if not self.connected:
            raise Errno(errno.ENOTCONN)
        self.read_shut |= how in (SHUT_RD, SHUT_RDWR)
        self.write_shut |= how in (SHUT_WR, SHUT_RDWR)

    def close(self, k: Kernel) -> None:
        self.closed = True
        self.incoming.clear(k)

    def poll(self, k: Kernel, t: Task) -> int:
        mask = WRITABLE | (POLLERR if self.error else 0)
        if self.incoming.chunks or self.read_shut or self.error:
            mask |= READABLE
        return mask
