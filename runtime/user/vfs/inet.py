"""TCP and UDP on the machine's own loopback: tcp(7), udp(7), net/ipv4/.

There is no other interface: an address that is not the machine's is unreachable. Connections are made at once when
somebody listens; ports for those who ask for none are handed out in order.
"""

from __future__ import annotations

import errno
from collections import deque
from typing import TYPE_CHECKING, Final

from pyprobe.runtime.user.errors import Errno
from pyprobe.runtime.user.functions import kernel_function
from pyprobe.runtime.user.vfs.datagram import DatagramSocket
from pyprobe.runtime.user.vfs.sockaddr import AF_INET, AF_INET6, ANY, ANY4, LOOPBACK4, LOOPBACK6, V4_MAPPED, Address, InetAddress
from pyprobe.runtime.user.vfs.socket import SHUT_RDWR, SHUT_WR, SO_REUSEADDR, SO_REUSEPORT, SO_SNDTIMEO, Message, Socket
from pyprobe.runtime.user.vfs.stream import StreamSocket

if TYPE_CHECKING:
    from pyprobe.runtime.user.kernel import Kernel
    from pyprobe.runtime.user.task import Task

FIRST_PORT: Final = 32768  # net.ipv4.ip_local_port_range
LAST_PORT: Final = 60999
IPPROTO_IPV6: Final = 41
IPV6_V6ONLY: Final = 26
PRIVILEGED_PORTS: Final = 1024
IPPROTO_TCP: Final = 6
# include/net/tcp_states.h
TCP_ESTABLISHED, TCP_SYN_SENT, TCP_SYN_RECV, TCP_FIN_WAIT1, TCP_FIN_WAIT2, TCP_TIME_WAIT, TCP_CLOSE = range(1, 8)
TCP_CLOSE_WAIT, TCP_LAST_ACK, TCP_LISTEN = range(8, 11)


class Network:
    """Who is bound to what on one machine."""

    def __init__(self) -> None:
        self.netlink_ports: set[int] = set()
        self.abstract: dict[bytes, Socket] = {}  # UNIX sockets without a file
        self._bound: dict[tuple[int, int], list[Socket]] = {}  # (type, port)
        self._next_port = FIRST_PORT

    def bind(self, socket: Socket, address: InetAddress) -> InetAddress:
        """Give a socket an address; port 0 means any. The address it has now.

        Raises:
            Errno: EADDRINUSE.
        """
        if address.port == 0:
            address = InetAddress(address.host, self._free_port(socket, address.host))
        elif self._conflicts(socket, address):
            raise Errno(errno.EADDRINUSE)
        self._bound.setdefault((socket.type, address.port), []).append(socket)
        return address

    def free_netlink_port(self) -> int:
        """A port for a netlink socket whose process has one with its own id already (netlink_autobind)."""
        return next(port for port in range(0xFFFFF000, 0, -1) if port not in self.netlink_ports)

    def release(self, socket: Socket) -> None:
        """A socket is closed: its port is free again."""
        if isinstance(socket.local, InetAddress):
            bound = self._bound.get((socket.type, socket.local.port), [])
            if socket in bound:
                bound.remove(socket)

    def _free_port(self, socket: Socket, host: bytes) -> int:
        for _ in range(LAST_PORT - FIRST_PORT + 1):
            port = self._next_port
            self._next_port = port + 1 if port < LAST_PORT else FIRST_PORT
            if not self._conflicts(socket, InetAddress(host, port)):
                return port
        raise Errno(errno.EADDRINUSE)

    def _conflicts(self, socket: Socket, address: InetAddress) -> bool:
        for other in self._bound.get((socket.type, address.port), ()):
            assert isinstance(other.local, InetAddress)
            if ANY not in (address.host, other.local.host) and address.host != other.local.host:
                continue
            if _v6_only(socket) != _v6_only(other) and AF_INET in (socket.family, other.family):
                continue
            shared = socket.flag(SO_REUSEPORT) and other.flag(SO_REUSEPORT)
            again = socket.flag(SO_REUSEADDR) and other.flag(SO_REUSEADDR) and other.backlog is None
            if not shared and not again:
                return True
        return False

    def find(self, type: int, address: InetAddress, *, listening: bool) -> Socket | None:
        """The socket that receives what is sent to an address."""
        bound = self._bound.get((type, address.port), ())
        candidates = [socket for socket in bound if not listening or socket.backlog is not None]
        for socket in candidates:
            if isinstance(socket.local, InetAddress) and socket.local.host == address.host:
                return socket
        for socket in candidates:
            if isinstance(socket.local, InetAddress) and socket.local.host == ANY:
                v4 = address.host.startswith(V4_MAPPED)
                if (v4 and not _v6_only(socket)) or (not v4 and socket.family == AF_INET6):
                    return socket
        return None


def _v6_only(socket: Socket) -> bool:
    return socket.family == AF_INET6 and any(socket.options.get((IPPROTO_IPV6, IPV6_V6ONLY), b""))


class _Inet(Socket):
    """What TCP and UDP have in common: addresses."""

    def __init__(self, k: Kernel, type: int, protocol: int, flags: int, family: int = AF_INET) -> None:
        self.family = family
        super().__init__(k, type, protocol, flags)
        self._network = k.vfs.network
        self.asked = InetAddress(ANY, 0)  # what bind(2) was given

    def bind(self, k: Kernel, t: Task, address: Address) -> None:
        assert isinstance(address, InetAddress)
        if self.local is not None:
            raise Errno(errno.EINVAL)
        if not address.is_local:
            raise Errno(errno.EADDRNOTAVAIL)
        if 0 < address.port < PRIVILEGED_PORTS and t.cred.euid != 0:
            raise Errno(errno.EACCES)
        self.local = self._network.bind(self, address)
        self.asked = address

    def autobind(self, host: bytes) -> None:
        """Get a port if there is none yet (inet_autobind)."""
        if self.local is None:
            self.local = self._network.bind(self, InetAddress(host, 0))
        elif isinstance(self.local, InetAddress) and self.local.host == ANY and host != ANY and self.connected:
            self.local = InetAddress(host, self.local.port)

    def destination(self, address: Address) -> InetAddress:
        """Where a packet to `address` really goes.

        Raises:
            Errno: ENETUNREACH: not this machine.
        """
        assert isinstance(address, InetAddress)
        if address.host == ANY4:
            return InetAddress(LOOPBACK4, address.port)
        if address.host == ANY:
            return InetAddress(LOOPBACK6 if self.family == AF_INET6 else LOOPBACK4, address.port)
        if not address.is_local:
            raise Errno(errno.ENETUNREACH)
        return address

    def source_host(self, target: InetAddress) -> bytes:
        """Our own address towards `target`."""
        if isinstance(self.local, InetAddress) and self.local.host != ANY:
            return self.local.host
        return LOOPBACK6 if target.host == LOOPBACK6 else LOOPBACK4


class TcpSocket(_Inet, StreamSocket):
    """A TCP socket."""

    state = TCP_CLOSE
    _pending = False  # a connect without waiting has been started, its success not yet told
    _reset = False  # the peer is gone and something was sent to it

    def new_connection(self, k: Kernel) -> TcpSocket:
        other = TcpSocket(k, self.type, self.protocol, 0, self.family)
        other.options = dict(self.options)
        return other

    def listen(self, k: Kernel, t: Task, backlog: int) -> None:
        if self.connected:
            raise Errno(errno.EINVAL)
        self.autobind(ANY)
        if self.backlog is None:
            self.backlog = deque()
            self.change_state(k, TCP_LISTEN)
        self.backlog_limit = max(0, min(backlog, 4096)) + 1

    def connect(self, k: Kernel, t: Task, address: Address) -> None:
        if self.connected:
            if self._pending:
                self._pending = False
                return
            raise Errno(errno.EISCONN)
        if self.backlog is not None:
            raise Errno(errno.EISCONN)
        if "connecting" not in t.restart:
            self.check_error()
            target = self.destination(address)
            k.tcp_v4_connect(self, target, 16) if self.family == AF_INET else k.tcp_v6_connect(self, target, 28)
            if self.nonblocking:
                self._pending = not self.error
                raise Errno(errno.EINPROGRESS)
        if not self.connected and not self.error:
            t.restart["connecting"] = True
            listener = self._network.find(self.type, self.destination(address), listening=True)
            if isinstance(listener, TcpSocket) and not self.try_connect(k, listener):
                waiting = listener
                self.wait(k, t, 0, lambda: waiting.closed or waiting.has_room, "a listening socket", option=SO_SNDTIMEO)
            elif listener is None:
                self.error = errno.ECONNREFUSED
        self.check_error()

    @property
    def has_room(self) -> bool:
        """Whether a listening socket takes another connection."""
        return self.backlog is not None and len(self.backlog) < self.backlog_limit

    def try_connect(self, k: Kernel, listener: TcpSocket) -> bool:
        """Make the connection; False when the listener's queue is full."""
        if not listener.has_room or listener.backlog is None:
            return False
        assert isinstance(self.remote, InetAddress)
        server = listener.new_connection(k)
        server.local, server.remote = self.remote, self.local
        self.join(server)
        k.tcp_set_state(self, TCP_ESTABLISHED)
        server.state = TCP_LISTEN  # its parent's, which it is made from
        server.change_state(k, TCP_SYN_RECV)
        k.tcp_set_state(server, TCP_ESTABLISHED)
        listener.backlog.append(server)
        listener.incoming.arrived += 1
        self.incoming.arrived += 1
        return True

    def accept(self, k: Kernel, t: Task) -> Socket:
        found: Socket = k.inet_csk_accept(self, None)
        return found

    def wait_connection(self, k: Kernel, t: Task) -> Socket:
        """The next connection of a listening socket."""
        return super().accept(k, t)

    def sendmsg(self, k: Kernel, t: Task, message: Message) -> int:
        result: int = k.tcp_sendmsg(self, message, message.size)
        return result

    def recvmsg(self, k: Kernel, t: Task, message: Message) -> int:
        result: int = k.tcp_recvmsg(self, message, message.size, message.flags, None)
        return result

    def send_stream(self, k: Kernel, t: Task, message: Message) -> int:
        """What tcp_sendmsg does."""
        return super().sendmsg(k, t, message)

    def receive_stream(self, k: Kernel, t: Task, message: Message) -> int:
        """What tcp_recvmsg does."""
        return super().recvmsg(k, t, message)

    def broken(self, k: Kernel, t: Task, message: Message) -> int:
        if not self.write_shut and not self._reset:
            self._reset = True  # the first segment is sent; the answer says that nobody is there
            k.tcp_set_state(self, TCP_CLOSE)
            return message.size
        return super().broken(k, t, message)

    def close(self, k: Kernel) -> None:
        k.tcp_close(self, 0)

    def end(self, k: Kernel) -> None:
        """What tcp_close does."""
        self._network.release(self)
        peer = self.peer
        if self.state in (TCP_LISTEN, TCP_SYN_SENT):
            k.tcp_set_state(self, TCP_CLOSE)
        elif self.incoming.chunks and self.state != TCP_CLOSE:  # what nobody will read: a reset instead of an orderly end
            k.tcp_set_state(self, TCP_CLOSE)
            if isinstance(peer, TcpSocket) and peer.state != TCP_CLOSE:
                k.tcp_set_state(peer, TCP_CLOSE)
        else:
            self._finish(k)
        super().close(k)

    def shutdown(self, k: Kernel, how: int) -> None:
        super().shutdown(k, how)
        if how in (SHUT_WR, SHUT_RDWR):
            self._finish(k)

    def _finish(self, k: Kernel) -> None:
        """Send the FIN (tcp_close_state): the peer answers at once."""
        peer = self.peer
        if not isinstance(peer, TcpSocket) or self.state not in (TCP_ESTABLISHED, TCP_CLOSE_WAIT):
            return
        if self.state == TCP_ESTABLISHED:
            k.tcp_set_state(self, TCP_FIN_WAIT1)
            k.tcp_set_state(peer, TCP_CLOSE_WAIT)
            return
        k.tcp_set_state(self, TCP_LAST_ACK)
        k.tcp_set_state(peer, TCP_FIN_WAIT2)
        k.tcp_set_state(peer, TCP_CLOSE)
        k.tcp_set_state(self, TCP_CLOSE)

    def change_state(self, k: Kernel, state: int) -> None:
        """inet_sk_state_store: the new state, told."""
        old, self.state = self.state, state
        tp = k.tracepoints.inet_sock_set_state
        if tp.callbacks:
            ends = [address if isinstance(address, InetAddress) else InetAddress(ANY, 0) for address in (self.local, self.remote)]
            ports = [address.port for address in ends]
            four = [tuple(address.host[12:]) if self.family == AF_INET else (0, 0, 0, 0) for address in ends]
            hosts = [V4_MAPPED + address.host[12:] if self.family == AF_INET else address.host for address in ends]
            where = k.functions.object_address(self, "struct sock")
            tp.fire(where, old, state, *ports, self.family, IPPROTO_TCP, *four, *map(tuple, hosts))


class UdpSocket(_Inet, DatagramSocket):
    """A UDP socket."""

    def connect(self, k: Kernel, t: Task, address: Address) -> None:
        target = self.destination(address)
        if _v6_only(self) and target.host.startswith(V4_MAPPED):
            raise Errno(errno.EAFNOSUPPORT)
        self.remote = target
        self.connected = True
        self.autobind(self.source_host(target))

    def disconnect(self, k: Kernel) -> None:
        """Also forget the own address and port that nobody has asked for (__udp_disconnect)."""
        super().disconnect(k)
        if not self.asked.port:
            self._network.release(self)
            self.local = None
        elif isinstance(self.local, InetAddress):
            self.local = InetAddress(self.asked.host, self.local.port)

    def target(self, k: Kernel, t: Task, address: Address) -> DatagramSocket:
        target = self.destination(address)
        if _v6_only(self) and target.host.startswith(V4_MAPPED):
            raise Errno(errno.ENETUNREACH)
        self.autobind(ANY)
        found = self._network.find(self.type, target, listening=False)
        if not isinstance(found, DatagramSocket):
            if self.connected:
                self.error = errno.ECONNREFUSED  # an ICMP message comes back: the next call tells
            raise _NobodyError
        return found

    def sendmsg(self, k: Kernel, t: Task, message: Message) -> int:
        result: int = k.udp_sendmsg(self, message, message.size)
        return result

    def recvmsg(self, k: Kernel, t: Task, message: Message) -> int:
        result: int = k.udp_recvmsg(self, message, message.size, message.flags, None)
        return result

    def send_packet(self, k: Kernel, t: Task, message: Message) -> int:
        """What udp_sendmsg does."""
        bound = self.local
        try:
            if message.address is not None or self.remote is not None:
                goal = self.destination(message.address or self.remote or b"")
                self.autobind(ANY)
                assert isinstance(self.local, InetAddress)
                bound = self.local
                if bound.host == ANY:
                    self.local = InetAddress(self.source_host(goal), bound.port)
            return super().sendmsg(k, t, message)
        except _NobodyError:
            return message.size
        finally:
            self.local = bound

    def receive_packet(self, k: Kernel, t: Task, message: Message) -> int:
        """What udp_recvmsg does."""
        return super().recvmsg(k, t, message)

    def close(self, k: Kernel) -> None:
        self._network.release(self)
        super().close(k)


class _NobodyError(Exception):
    """A packet is sent where nobody receives."""


def _task(k: Kernel) -> Task:
    task = k.current
    assert task is not None
    return task


def _connect(k: Kernel, sk: TcpSocket, target: InetAddress) -> int:
    sk.remote = target
    k.tcp_set_state(sk, TCP_SYN_SENT)
    sk.autobind(sk.source_host(target))
    if isinstance(sk.local, InetAddress) and sk.local.host == ANY:
        sk.local = InetAddress(sk.source_host(target), sk.local.port)
    k.tcp_connect(sk)
    return 0


@kernel_function("int tcp_v4_connect(struct sock *sk, struct sockaddr *uaddr, int addr_len)")
def tcp_v4_connect(k: Kernel, sk: TcpSocket, uaddr: InetAddress, addr_len: int) -> int:
    """Begin a connection over IPv4."""
    return _connect(k, sk, uaddr)


@kernel_function("int tcp_v6_connect(struct sock *sk, struct sockaddr *uaddr, int addr_len)")
def tcp_v6_connect(k: Kernel, sk: TcpSocket, uaddr: InetAddress, addr_len: int) -> int:
    """Begin a connection over IPv6."""
    return _connect(k, sk, uaddr)


@kernel_function("int tcp_connect(struct sock *sk)")
def tcp_connect(k: Kernel, sk: TcpSocket) -> int:
    """Send the SYN: the listener answers at once, or the error is set."""
    assert isinstance(sk.remote, InetAddress)
    listener = k.vfs.network.find(sk.type, sk.remote, listening=True)
    if not isinstance(listener, TcpSocket):
        sk.error = errno.ECONNREFUSED
        sk.incoming.arrived += 1
        k.tcp_set_state(sk, TCP_CLOSE)
    else:
        sk.try_connect(k, listener)
    return 0


@kernel_function("void tcp_set_state(struct sock *sk, int state)")
def tcp_set_state(k: Kernel, sk: TcpSocket, state: int) -> None:
    """Go from one state of TCP to another."""
    sk.change_state(k, state)


@kernel_function("struct sock *inet_csk_accept(struct sock *sk, struct proto_accept_arg *arg)")
def inet_csk_accept(k: Kernel, sk: TcpSocket, arg: None) -> Socket:
    """Wait for the next connection of a listening socket."""
    return sk.wait_connection(k, _task(k))


@kernel_function("int tcp_sendmsg(struct sock *sk, struct msghdr *msg, size_t size)")
def tcp_sendmsg(k: Kernel, sk: TcpSocket, msg: Message, size: int) -> int:
    """Send on a connection."""
    return sk.send_stream(k, _task(k), msg)


@kernel_function("int tcp_recvmsg(struct sock *sk, struct msghdr *msg, size_t len, int flags, int *addr_len)")
def tcp_recvmsg(k: Kernel, sk: TcpSocket, msg: Message, len: int, flags: int, addr_len: None) -> int:
    """Receive from a connection."""
    return sk.receive_stream(k, _task(k), msg)


@kernel_function("void tcp_close(struct sock *sk, long timeout)")
def tcp_close(k: Kernel, sk: TcpSocket, timeout: int) -> int:
    """End a TCP socket."""
    sk.end(k)
    return 0


@kernel_function("int udp_sendmsg(struct sock *sk, struct msghdr *msg, size_t len)")
def udp_sendmsg(k: Kernel, sk: UdpSocket, msg: Message, len: int) -> int:
    """Send a packet."""
    return sk.send_packet(k, _task(k), msg)


@kernel_function("int udp_recvmsg(struct sock *sk, struct msghdr *msg, size_t len, int flags, int *addr_len)")
def udp_recvmsg(k: Kernel, sk: UdpSocket, msg: Message, len: int, flags: int, addr_len: None) -> int:
    """Receive a packet."""
    return sk.receive_packet(k, _task(k), msg)


