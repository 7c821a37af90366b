"""UNIX domain sockets: unix(7), net/unix/af_unix.c."""

from __future__ import annotations

import errno
from collections import deque
from typing import TYPE_CHECKING

from pyprobe.runtime.user.errors import Errno
from pyprobe.runtime.user.vfs import names
from pyprobe.runtime.user.vfs.abi import AT_FDCWD, S_IFMT, S_IFSOCK, W_OK
from pyprobe.runtime.user.vfs.datagram import DatagramSocket
from pyprobe.runtime.user.vfs.permission import check
from pyprobe.runtime.user.vfs.sockaddr import AF_UNIX, Address
from pyprobe.runtime.user.vfs.socket import SO_SNDTIMEO, Socket
from pyprobe.runtime.user.vfs.stream import StreamSocket
from pyprobe.runtime.user.vfs.tree import Special

if TYPE_CHECKING:
    from pyprobe.runtime.user.kernel import Kernel
    from pyprobe.runtime.user.task import Task


def credentials(t: Task) -> tuple[int, int, int]:
    """struct ucred of a task."""
    return t.process.pid, t.cred.euid, t.cred.egid


class _Unix(Socket):
    """What the types have in common: names, in the tree or in the abstract name space."""

    family = AF_UNIX
    _inode: Special | None = None

    def bind(self, k: Kernel, t: Task, address: Address) -> None:
        assert isinstance(address, bytes)
        if self.local:
            raise Errno(errno.EINVAL)
        names_ = k.vfs.network.abstract
        if not address:  # autobind
            number = next(n for n in range(1 << 20) if b"\0%05x" % n not in names_)
            address = b"\0%05x" % number
        if address.startswith(b"\0"):
            if address in names_:
                raise Errno(errno.EADDRINUSE)
            names_[address] = self
        else:
            place = k.vfs.walk(k, t, AT_FDCWD, address).place(address)
            try:
                dentry = names.new_name(k, t, place)
            except Errno as error:
                raise Errno(errno.EADDRINUSE if error.errno == errno.EEXIST else error.errno) from None
            inode = names.mknod(k, t, dentry, S_IFSOCK | 0o777 & ~t.process.fs.umask)
            assert isinstance(inode, Special)
            inode.socket = self
            self._inode = inode
        self.local = address
        self.credentials = credentials(t)

    def lookup(self, k: Kernel, t: Task, address: Address) -> Socket:
        """The socket bound to a name.

        Raises:
            Errno: ECONNREFUSED: nobody there; ENOENT, EACCES ...: as path_resolution(7).
        """
        assert isinstance(address, bytes)
        if address.startswith(b"\0"):
            found = k.vfs.network.abstract.get(address)
        elif not address:
            raise Errno(errno.EINVAL)
        else:
            inode = k.vfs.find(k, t, address).require()
            check(t, inode, W_OK)
            if inode.mode & S_IFMT != S_IFSOCK or not isinstance(inode, Special):
                raise Errno(errno.ECONNREFUSED)
            found = inode.socket if isinstance(inode.socket, Socket) else None
        if found is None:
            raise Errno(errno.ECONNREFUSED)
        if found.type != self.type:
            raise Errno(errno.EPROTOTYPE)
        return found

    def forget_name(self, k: Kernel) -> None:
        """The socket is closed: its name leads nowhere any more (a file stays)."""
        if self._inode is not None and self._inode.socket is self:
            self._inode.socket = None
        if isinstance(self.local, bytes) and k.vfs.network.abstract.get(self.local) is self:
            del k.vfs.network.abstract[self.local]


class UnixStream(_Unix, StreamSocket):
    """SOCK_STREAM and SOCK_SEQPACKET."""

    def listen(self, k: Kernel, t: Task, backlog: int) -> None:
        if not self.local or self.connected:
            raise Errno(errno.EINVAL)
        if self.backlog is None:
            self.backlog = deque()
        self.backlog_limit = max(0, min(backlog, 4096)) + 1
        self.credentials = credentials(t)

    def connect(self, k: Kernel, t: Task, address: Address) -> None:
        if self.connected:
            raise Errno(errno.EISCONN)
        if self.backlog is not None:
            raise Errno(errno.EINVAL)
        listener = self.lookup(k, t, address)
        if not isinstance(listener, UnixStream) or listener.backlog is None:
            raise Errno(errno.ECONNREFUSED)
        backlog, limit = listener.backlog, listener.backlog_limit
        if len(backlog) >= limit:
            self.wait(k, t, 0, lambda: len(backlog) < limit or listener.closed, "a listening socket", option=SO_SNDTIMEO)
        server = listener.new_connection(k)
        assert isinstance(server, UnixStream)
        server.local, server.remote = listener.local, self.local
        self.remote = listener.local
        self.credentials = server.peer_credentials = credentials(t)
        server.credentials = self.peer_credentials = listener.credentials
        self.join(server)
        backlog.append(server)
        listener.incoming.arrived += 1

    def close(self, k: Kernel) -> None:
        self.forget_name(k)
        super().close(k)


class UnixDatagram(_Unix, DatagramSocket):
    """SOCK_DGRAM."""

    def target(self, k: Kernel, t: Task, address: Address) -> DatagramSocket:
        found = self.lookup(k, t, address)
        assert isinstance(found, DatagramSocket)
        return found

    def connect(self, k: Kernel, t: Task, address: Address) -> None:
        self.peer = self.target(k, t, address)
        self.remote = address
        self.connected = True

    def close(self, k: Kernel) -> None:
        self.forget_name(k)
        super().close(k)


def unix_pair(k: Kernel, t: Task, type: int, flags: int) -> tuple[Socket, Socket]:
    """socketpair(2)."""
    kind = UnixDatagram if type == 2 else UnixStream
    one, other = kind(k, type, 0, flags), kind(k, type, 0, flags)
    one.peer, other.peer = other, one
    one.connected = other.connected = True
    one.credentials = other.credentials = one.peer_credentials = other.peer_credentials = credentials(t)
    return one, other
