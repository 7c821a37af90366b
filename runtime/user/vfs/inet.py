"""IP on the machine's own loopback, and UDP: ip(7), udp(7), net/ipv4/. TCP is in tcp.py.

There is no other interface: an address that is not the machine's is unreachable. Connections are made at once when
somebody listens; ports for those who ask for none are handed out in order.
"""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING, Final

from pyprobe.runtime.user.capabilities import CAP_NET_BIND_SERVICE
from pyprobe.runtime.user.errors import Errno
from pyprobe.runtime.user.functions import kernel_function
from pyprobe.runtime.user.vfs.datagram import DatagramSocket
from pyprobe.runtime.user.vfs.sockaddr import AF_INET, AF_INET6, ANY, ANY4, LOOPBACK4, LOOPBACK6, V4_MAPPED, Address, InetAddress
from pyprobe.runtime.user.vfs.socket import SO_REUSEADDR, SO_REUSEPORT, Message, Socket

if TYPE_CHECKING:
    from pyprobe.runtime.user.kernel import Kernel
    from pyprobe.runtime.user.task import Task

FIRST_PORT: Final = 32768  # net.ipv4.ip_local_port_range
LAST_PORT: Final = 60999
IPPROTO_UDP: Final = 17
IPPROTO_IPV6: Final = 41
_LOOPBACK4_IPV6: Final = (127, 0, 0, 6)  # net/ipv6/af_inet6.c
IPV6_V6ONLY: Final = 26
PRIVILEGED_PORTS: Final = 1024


class Network:
    """Who is bound to what on one machine."""

    def __init__(self) -> None:
        self.netlink_ports: set[int] = set()
        self.abstract: dict[bytes, Socket] = {}  # UNIX sockets without a file
        self._bound: dict[tuple[int, int], list[Socket]] = {}  # (type, port)
        self._next_port = FIRST_PORT
        self._cookies = 0

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

    def next_cookie(self) -> int:
        """The number of another socket (sock_gen_cookie): they are counted in the order in which they are asked for one."""
        self._cookies += 1
        return self._cookies

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


class InetSocket(Socket):
    """What TCP and UDP have in common: addresses."""

    ip_protocol: int  # by its number in IP

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
        if 0 < address.port < PRIVILEGED_PORTS and not t.cred.capable(CAP_NET_BIND_SERVICE):
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

    def report_error(self, k: Kernel, error: int) -> None:
        """sk_error_report, told."""
        tp = k.tracepoints.inet_sk_error_report
        if tp.callbacks:
            ports, addresses = self.ends()
            tp.fire(error, *ports, self.family, self.ip_protocol, *addresses)

    def ends(self) -> tuple[tuple[int, int], tuple[tuple[int, ...], ...]]:
        """Its two ports, and addresses as events have them: of IPv4 and of IPv6, its own and the peer's. An IPv6 socket has an address of
        IPv4, too, once it is bound (LOOPBACK4_IPV6)."""
        ends = [address if isinstance(address, InetAddress) else InetAddress(ANY, 0) for address in (self.local, self.remote)]
        hosts = [address.host for address in ends]
        if self.family == AF_INET:
            hosts = [V4_MAPPED + host[12:] for host in hosts]
        four = [tuple(host[12:]) if host.startswith(V4_MAPPED) else (0, 0, 0, 0) for host in hosts]
        if self.asked.port and not hosts[0].startswith(V4_MAPPED):
            four[0] = _LOOPBACK4_IPV6
            if self.connected:
                four[1] = _LOOPBACK4_IPV6
        return (ends[0].port, ends[1].port), (*four, *map(tuple, hosts))


class UdpSocket(InetSocket, DatagramSocket):
    """A UDP socket."""

    ip_protocol = IPPROTO_UDP

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
                self.report_error(k, self.error)
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
                goal = message.goal = self.destination(message.address or self.remote or b"")
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


def running_task(k: Kernel) -> Task:
    task = k.current
    assert task is not None
    return task


@kernel_function("int udp_sendmsg(struct sock *sk, struct msghdr *msg, size_t len)")
def udp_sendmsg(k: Kernel, sk: UdpSocket, msg: Message, len: int) -> int:
    """Send a packet."""
    return sk.send_packet(k, running_task(k), msg)


@kernel_function("int udp_recvmsg(struct sock *sk, struct msghdr *msg, size_t len, int flags, int *addr_len)")
def udp_recvmsg(k: Kernel, sk: UdpSocket, msg: Message, len: int, flags: int, addr_len: None) -> int:
    """Receive a packet."""
    return sk.receive_packet(k, running_task(k), msg)


