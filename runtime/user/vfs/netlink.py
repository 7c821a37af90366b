"""Routing netlink sockets as far as getifaddrs(3), if_nameindex(3) and ip(8) ask: one loopback interface (rtnetlink(7))."""

from __future__ import annotations

import errno
import struct
from typing import TYPE_CHECKING, Final

from pyprobe.runtime.user.errors import Errno
from pyprobe.runtime.user.vfs.abi import READABLE, WRITABLE
from pyprobe.runtime.user.vfs.sockaddr import AF_INET, AF_INET6, AF_NETLINK, Address, NetlinkAddress
from pyprobe.runtime.user.vfs.socket import MSG_PEEK, SO_RCVTIMEO, Chunk, Message, Socket

if TYPE_CHECKING:
    from pyprobe.runtime.user.kernel import Kernel
    from pyprobe.runtime.user.task import Task

NETLINK_ROUTE: Final = 0
NLMSG_ERROR, NLMSG_DONE = 2, 3
NLM_F_MULTI, NLM_F_ACK, NLM_F_ROOT, NLM_F_MATCH = 0x2, 0x4, 0x100, 0x200
RTM_GETLINK, RTM_GETADDR, RTM_GETROUTE, RTM_GETNEIGH = 18, 22, 26, 30  # the answers' types are two less
_KIND, _GET = 3, 2  # of a request's type, the bits that say what is to be done, and for asking

LOOPBACK_INDEX, LOOPBACK_NAME, LOOPBACK_MTU = 1, b"lo", 65536
LOOPBACK_FLAGS: Final = 0x10049  # IFF_UP | IFF_LOOPBACK | IFF_RUNNING | IFF_LOWER_UP
ARPHRD_LOOPBACK: Final = 772
IFLA_ADDRESS, IFLA_BROADCAST, IFLA_IFNAME, IFLA_MTU, IFLA_QDISC, IFLA_TXQLEN, IFLA_OPERSTATE = 1, 2, 3, 4, 6, 13, 16
IFA_ADDRESS, IFA_LOCAL, IFA_LABEL, IFA_FLAGS = 1, 2, 3, 8
IFA_F_PERMANENT, RT_SCOPE_HOST = 0x80, 254
_HEADER: Final = struct.Struct("<IHHII")  # struct nlmsghdr
_IFINFO: Final = struct.Struct("<BxHiII")
_IFADDR: Final = struct.Struct("<4BI")


def _attribute(kind: int, value: bytes) -> bytes:
    record = struct.pack("<HH", 4 + len(value), kind) + value
    return record.ljust((len(record) + 3) & ~3, b"\0")


def _link() -> bytes:
    return _IFINFO.pack(0, ARPHRD_LOOPBACK, LOOPBACK_INDEX, LOOPBACK_FLAGS, 0) + b"".join(
        (
            _attribute(IFLA_IFNAME, LOOPBACK_NAME + b"\0"),
            _attribute(IFLA_TXQLEN, struct.pack("<I", 1000)),
            _attribute(IFLA_OPERSTATE, b"\0"),
            _attribute(IFLA_MTU, struct.pack("<I", LOOPBACK_MTU)),
            _attribute(IFLA_QDISC, b"noqueue\0"),
            _attribute(IFLA_ADDRESS, bytes(6)),
            _attribute(IFLA_BROADCAST, bytes(6)),
        )
    )


def _addresses(family: int) -> list[bytes]:
    found = []
    flags = _attribute(IFA_FLAGS, struct.pack("<I", IFA_F_PERMANENT))
    if family in (0, AF_INET):
        host = bytes((127, 0, 0, 1))
        found.append(
            _IFADDR.pack(AF_INET, 8, IFA_F_PERMANENT, RT_SCOPE_HOST, LOOPBACK_INDEX)
            + _attribute(IFA_ADDRESS, host) + _attribute(IFA_LOCAL, host) + _attribute(IFA_LABEL, LOOPBACK_NAME + b"\0") + flags
        )  # fmt: skip
    if family in (0, AF_INET6):
        host = bytes(15) + b"\1"
        found.append(_IFADDR.pack(AF_INET6, 128, IFA_F_PERMANENT, RT_SCOPE_HOST, LOOPBACK_INDEX) + _attribute(IFA_ADDRESS, host) + flags)
    return found


class NetlinkSocket(Socket):
    """A socket of the family NETLINK_ROUTE: each request is answered at once."""

    family = AF_NETLINK

    def __init__(self, k: Kernel, type: int, protocol: int, flags: int) -> None:
        super().__init__(k, type, protocol, flags)
        self._port = 0

    def _bind(self, k: Kernel, t: Task) -> None:
        if not self._port:
            self._port = t.pid if t.pid not in k.vfs.network.netlink_ports else k.vfs.network.free_netlink_port()
            k.vfs.network.netlink_ports.add(self._port)
            self.local = NetlinkAddress(self._port, 0)

    def bind(self, k: Kernel, t: Task, address: Address) -> None:
        assert isinstance(address, NetlinkAddress)
        if address.port and not self._port:
            if address.port in k.vfs.network.netlink_ports:
                raise Errno(errno.EADDRINUSE)
            self._port = address.port
            k.vfs.network.netlink_ports.add(self._port)
        self._bind(k, t)
        self.local = NetlinkAddress(self._port, address.groups)

    def connect(self, k: Kernel, t: Task, address: Address) -> None:
        assert isinstance(address, NetlinkAddress)
        self._bind(k, t)
        self.remote, self.connected = address, True

    def sendmsg(self, k: Kernel, t: Task, message: Message) -> int:
        self._bind(k, t)
        data = b"".join(message.views)
        if isinstance(message.address, NetlinkAddress) and message.address.port:
            raise Errno(errno.ECONNREFUSED)
        at = 0
        while at + _HEADER.size <= len(data):
            length, kind, flags, sequence, _ = _HEADER.unpack_from(data, at)
            if length < _HEADER.size or at + length > len(data):
                break
            self._answer(kind, flags, sequence, data[at : at + length])
            at += (length + 3) & ~3
        return len(data)

    def _answer(self, kind: int, flags: int, sequence: int, request: bytes) -> None:
        family = request[_HEADER.size] if len(request) > _HEADER.size else 0
        dump = flags & (NLM_F_ROOT | NLM_F_MATCH)
        known = kind in (RTM_GETLINK, RTM_GETADDR, RTM_GETROUTE, RTM_GETNEIGH)
        if not known or (kind != RTM_GETLINK and not dump):
            self._error(errno.EOPNOTSUPP if kind & _KIND == _GET else errno.EPERM, request, sequence)
            return
        if kind == RTM_GETLINK and not dump and not self._asks_for_loopback(request):
            self._error(errno.ENODEV, request, sequence)
            return
        bodies = [_link()] if kind == RTM_GETLINK else _addresses(family) if kind == RTM_GETADDR else []
        kind -= 2  # RTM_NEW*
        multi = NLM_F_MULTI if dump else 0
        if bodies:
            self._put(b"".join(_HEADER.pack(_HEADER.size + len(b), kind, multi, sequence, self._port) + b for b in bodies))
        if dump:
            self._put(_HEADER.pack(_HEADER.size + 4, NLMSG_DONE, NLM_F_MULTI, sequence, self._port) + bytes(4))
        elif flags & NLM_F_ACK:
            self._error(0, request, sequence)

    def _asks_for_loopback(self, request: bytes) -> bool:
        if len(request) < _HEADER.size + _IFINFO.size:
            return False
        index: int = _IFINFO.unpack_from(request, _HEADER.size)[2]
        return index == LOOPBACK_INDEX or (not index and _attribute(IFLA_IFNAME, LOOPBACK_NAME + b"\0") in request)

    def _error(self, error: int, request: bytes, sequence: int) -> None:
        body = struct.pack("<i", -error) + request[: _HEADER.size]
        self._put(_HEADER.pack(_HEADER.size + len(body), NLMSG_ERROR, 0, sequence, self._port) + body)

    def deliver(self, data: bytes) -> None:
        """The kernel sends something that nobody has asked for."""
        self._put(data)

    def _put(self, data: bytes) -> None:
        self.incoming.put(Chunk(data, NetlinkAddress(0, 0), [], (0, 0, 0)))

    def recvmsg(self, k: Kernel, t: Task, message: Message) -> int:
        queue = self.incoming
        if not queue.chunks:
            self.wait(k, t, message.flags, lambda: queue.chunks, "a netlink message", option=SO_RCVTIMEO)
        return message.take(queue.take_packet(peek=bool(message.flags & MSG_PEEK)))

    def poll(self, k: Kernel, t: Task) -> int:
        return WRITABLE | (READABLE if self.incoming.chunks else 0)

    def close(self, k: Kernel) -> None:
        k.vfs.network.netlink_ports.discard(self._port)
        self.incoming.clear(k)
