"""Sockets with a connection: streams of bytes, and of packets (SOCK_SEQPACKET). See unix(7), tcp(7)."""

from __future__ import annotations

import errno
from collections.abc import Callable
from typing import TYPE_CHECKING

from pyprobe.runtime.user.errors import Block, Errno
from pyprobe.runtime.user.vfs.abi import POLLERR, POLLHUP, POLLRDHUP, READABLE, WRITABLE
from pyprobe.runtime.user.vfs.sockaddr import AF_UNIX
from pyprobe.runtime.user.vfs.socket import (
    MSG_NOSIGNAL,
    MSG_OOB,
    MSG_PEEK,
    MSG_TRUNC,
    MSG_WAITALL,
    QUEUE_LIMIT,
    SHUT_RD,
    SHUT_RDWR,
    SHUT_WR,
    SO_RCVTIMEO,
    SO_SNDTIMEO,
    SOCK_SEQPACKET,
    Chunk,
    Message,
    Socket,
)
from pyprobe.runtime.user.vfs.views import gather, scatter

if TYPE_CHECKING:

    from pyprobe.runtime.user.kernel import Kernel
    from pyprobe.runtime.user.task import Task


class StreamSocket(Socket):
    """A connection-oriented byte stream, or (SOCK_SEQPACKET) stream of packets."""

    @property
    def ended(self) -> bool:
        """Nothing more will come."""
        peer = self.peer
        return self.read_shut or (self.connected and (peer is None or peer.closed or peer.write_shut))

    def new_connection(self, k: Kernel) -> StreamSocket:
        """A socket like this one, for an accepted connection."""
        other = type(self)(k, self.type, self.protocol, 0)
        other.options = dict(self.options)
        return other

    def join(self, other: StreamSocket) -> None:
        """Make the two ends of a connection."""
        self.peer, other.peer = other, self
        self.connected = other.connected = True

    def accept(self, k: Kernel, t: Task) -> Socket:
        if self.backlog is None:
            raise Errno(errno.EINVAL)
        if not self.backlog:
            backlog = self.backlog
            self.wait(k, t, 0, lambda: backlog or self.closed, "a connection", option=SO_RCVTIMEO)
        return self.backlog.popleft()

    def sendmsg(self, k: Kernel, t: Task, message: Message) -> int:
        self.check_error()
        if not self.connected:
            if self.family == AF_UNIX:
                raise Errno(errno.ENOTCONN)
            return StreamSocket.broken(self, k, t, message)
        peer = self.peer
        assert peer is not None
        done = t.restart.get("sent", 0)
        assert isinstance(done, int)
        if self.write_shut or peer.closed or peer.read_shut:
            if done:
                return done
            return self.broken(k, t, message)
        total = sum(map(len, message.views))
        room = peer.incoming.room
        if self.type == SOCK_SEQPACKET:
            if total > QUEUE_LIMIT:
                raise Errno(errno.EMSGSIZE)
            room = total if room >= total or not peer.incoming.chunks else -1
        piece = gather(message.views, done, room) if room > 0 else b""
        if piece or (not total and (message.files or self.type == SOCK_SEQPACKET)):
            peer.incoming.put(Chunk(piece, self.local, message.files if not done else [], self.credentials))
            k.vfs.in_flight += len(message.files)
            message.files = []
            done += len(piece)
        if done == total:
            return done
        t.restart["sent"] = done
        queue = peer.incoming
        return self._rest(
            k, t, message, done, lambda: queue.room > 0 or peer.closed or peer.read_shut, "room in a socket", SO_SNDTIMEO
        )

    def broken(self, k: Kernel, t: Task, message: Message) -> int:
        """Send where nobody receives any more: SIGPIPE and EPIPE."""
        if not message.flags & MSG_NOSIGNAL:
            k.broken_pipe(t)
        raise Errno(errno.EPIPE)

    def recvmsg(self, k: Kernel, t: Task, message: Message) -> int:
        if message.flags & MSG_OOB:
            raise Errno(errno.EINVAL)
        if not self.connected and not self.incoming.chunks:
            if self.error:
                self.check_error()
            raise Errno(errno.ENOTCONN if self.backlog is None else errno.EINVAL)
        wanted = message.size
        done = t.restart.get("received", 0)
        assert isinstance(done, int)
        queue = self.incoming
        if queue.chunks:
            done = self._take(k, message, done)
            if done >= wanted or not message.flags & MSG_WAITALL or message.flags & MSG_PEEK or self.ended:
                return done
            t.restart["received"] = done
        elif self.error and not done:
            self.check_error()
        elif self.ended or done == wanted:
            return done
        return self._rest(k, t, message, done, lambda: queue.chunks or self.ended or self.error, "data in a socket", SO_RCVTIMEO)

    def _rest(self, k: Kernel, t: Task, message: Message, done: int, ready: Callable[[], object], why: str, option: int) -> int:
        """Wait for more of a message of which `done` bytes are moved: they are the answer where there is to be no more of it.

        Raises:
            Block; Errno: EAGAIN.
        """
        try:
            self.wait(k, t, message.flags, ready, why, option=option)
        except Errno:
            if not done:
                raise
        except Block as block:
            block.interrupted = lambda: done or None
            raise
        return done

    def _take(self, k: Kernel, message: Message, done: int) -> int:
        """Move what has come into the message's memory, after the first `done` bytes; how much is there now."""
        peek = bool(message.flags & MSG_PEEK)
        wanted = message.size
        if self.type == SOCK_SEQPACKET:
            chunk: Chunk | None = self.incoming.take_packet(peek=peek)
            assert chunk is not None
            data = chunk.data
            if len(data) > wanted:
                message.out |= MSG_TRUNC
        else:
            data, chunk = self.incoming.take_stream(wanted - done, peek=peek)
        if chunk is not None:
            message.address, message.credentials = chunk.source, chunk.credentials
            if not peek:
                message.files += chunk.files
                k.vfs.in_flight -= len(chunk.files)
        return done + scatter(message.views, data, done)

    def shutdown(self, k: Kernel, how: int) -> None:
        """shutdown(2)."""
        if not self.connected:
            raise Errno(errno.ENOTCONN)
        self.read_shut |= how in (SHUT_RD, SHUT_RDWR)
        self.write_shut |= how in (SHUT_WR, SHUT_RDWR)
        self.incoming.arrived += 1
        if self.peer is not None:
            self.peer.incoming.arrived += 1

    def close(self, k: Kernel) -> None:
        self.closed = True
        for waiting in self.backlog or ():
            waiting.release(k)
        peer = self.peer
        if peer is not None:
            if self.incoming.chunks and not peer.closed:
                peer.error = errno.ECONNRESET
            peer.incoming.arrived += 1
        self.incoming.clear(k)

    def poll(self, k: Kernel, t: Task) -> int:
        if self.backlog is not None:
            return READABLE if self.backlog else 0
        mask = POLLERR if self.error else 0
        if not self.connected:
            return mask | WRITABLE | POLLHUP | (READABLE if self.error else 0)
        peer = self.peer
        assert peer is not None
        if self.incoming.chunks or self.ended or self.error:
            mask |= READABLE
        if self.ended:
            mask |= POLLRDHUP
        if self.ended and (self.write_shut or peer.closed):
            mask |= POLLHUP
        if peer.closed or self.write_shut or peer.incoming.room * 3 >= QUEUE_LIMIT:
            mask |= WRITABLE
        return mask
