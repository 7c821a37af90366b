"""Socket addresses: struct sockaddr_un, _in, _in6 and _nl to and from values (unix(7), ip(7), ipv6(7), netlink(7))."""

from __future__ import annotations

import errno
from typing import Final, NamedTuple

from pyprobe.runtime.user.errors import Errno

AF_UNSPEC: Final = 0
AF_UNIX: Final = 1
AF_INET: Final = 2
AF_INET6: Final = 10
AF_NETLINK: Final = 16
UNIX_PATH_MAX: Final = 108

V4_MAPPED: Final = bytes(10) + b"\xff\xff"
ANY: Final = bytes(16)  # :: and 0.0.0.0
LOOPBACK6: Final = bytes(15) + b"\1"
LOOPBACK4: Final = V4_MAPPED + b"\x7f\0\0\1"


class InetAddress(NamedTuple):
    """A host and a port; IPv4 hosts are kept as IPv4-mapped IPv6 ones, but 0.0.0.0 is `ANY` too."""

    host: bytes
    port: int

    @property
    def is_local(self) -> bool:
        """Whether this machine has the address: it has a loopback interface, no other."""
        return self.host in (ANY, ANY4, LOOPBACK6) or self.is_v4_loopback

    @property
    def is_v4_loopback(self) -> bool:
        return self.host.startswith(V4_MAPPED + b"\x7f")


class NetlinkAddress(NamedTuple):
    """A netlink port (0: the kernel) and a mask of multicast groups."""

    port: int
    groups: int


#: unix addresses are bytes: a path, b"\0name" in the abstract name space, or b"" without a name
Address = InetAddress | NetlinkAddress | bytes


ANY4: Final = V4_MAPPED + bytes(4)  # 0.0.0.0, said to a socket of the other family


def parse(family: int, data: bytes, *, either: bool = False) -> Address:
    """The address in guest memory, for a socket of `family`; either: IPv6 sockets take IPv4 addresses too.

    Raises:
        Errno: EINVAL: too short or too long; EAFNOSUPPORT: of another family.
    """
    if len(data) < 2:
        raise Errno(errno.EINVAL)
    given = int.from_bytes(data[:2], "little")
    if family == AF_UNIX:
        if given != AF_UNIX or len(data) > 2 + UNIX_PATH_MAX:
            raise Errno(errno.EINVAL)
        name = data[2:]
        return name if name.startswith(b"\0") else name.split(b"\0", 1)[0]
    if family == AF_NETLINK:
        if len(data) < 12 or given != AF_NETLINK:
            raise Errno(errno.EINVAL)
        return NetlinkAddress(int.from_bytes(data[4:8], "little"), int.from_bytes(data[8:12], "little"))
    if given == AF_INET6 and family == AF_INET6:
        if len(data) < 24:
            raise Errno(errno.EINVAL)
        host = data[8:24]
        return InetAddress(ANY if host == ANY4 else host, int.from_bytes(data[2:4], "big"))
    if family == AF_INET6 and (given != AF_INET or not either):
        raise Errno(errno.EAFNOSUPPORT if len(data) >= 24 else errno.EINVAL)
    if given == AF_INET or (given == AF_UNSPEC and family == AF_INET):
        if len(data) < 8:
            raise Errno(errno.EINVAL)
        host = data[4:8]
        return InetAddress(V4_MAPPED + host if any(host) or family == AF_INET6 else ANY, int.from_bytes(data[2:4], "big"))
    raise Errno(errno.EAFNOSUPPORT)


def pack(family: int, address: Address | None) -> bytes:
    """The address as a socket of `family` reports it."""
    head = family.to_bytes(2, "little")
    if isinstance(address, bytes):
        if not address or address.startswith(b"\0"):
            return head + address
        return head + address + b"\0"
    if family == AF_UNIX:
        return head
    if family == AF_NETLINK:
        peer = address if isinstance(address, NetlinkAddress) else NetlinkAddress(0, 0)
        return head + bytes(2) + peer.port.to_bytes(4, "little") + peer.groups.to_bytes(4, "little")
    assert not isinstance(address, NetlinkAddress)
    if address is None:
        address = InetAddress(ANY, 0)
    port = address.port.to_bytes(2, "big")
    if family == AF_INET:
        return head + port + address.host[12:] + bytes(8)
    return head + port + bytes(4) + address.host + bytes(4)
