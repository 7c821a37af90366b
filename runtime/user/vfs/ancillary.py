"""What a receiver of packets may ask to be told with each: ip(7), ipv6(7), socket(7) (ip_cmsg_recv, ip6_datagram_recv_common_ctl)."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Final

from pyprobe.runtime.user.vfs.inet import IPPROTO_IPV6
from pyprobe.runtime.user.vfs.sockaddr import AF_INET, AF_INET6, LOOPBACK4, V4_MAPPED
from pyprobe.runtime.user.vfs.socket import SOL_SOCKET
from pyprobe.runtime.user.words import timespec, timeval

if TYPE_CHECKING:
    from pyprobe.runtime.user.vfs.socket import Message, Socket

IPPROTO_IP = 0
SO_TIMESTAMP, SO_TIMESTAMPNS = 29, 35
IP_TOS, IP_TTL, IP_PKTINFO, IP_RECVTTL, IP_RECVTOS = 1, 2, 8, 12, 13
IPV6_RECVPKTINFO, IPV6_PKTINFO, IPV6_RECVHOPLIMIT, IPV6_HOPLIMIT, IPV6_RECVTCLASS, IPV6_TCLASS = 49, 50, 51, 52, 66, 67
TTL: Final = struct.pack("<i", 64)  # net.ipv4.ip_default_ttl
LOOPBACK_INDEX: Final = 1

ControlMessage = tuple[int, int, bytes]


def _wants(socket: Socket, level: int, option: int) -> bool:
    return any(socket.options.get((level, option), b""))


def of_packet(socket: Socket, message: Message) -> list[ControlMessage]:
    """(level, type, data) of each control message for a packet that has been received."""
    found: list[ControlMessage] = []
    if _wants(socket, SOL_SOCKET, SO_TIMESTAMPNS):
        found.append((SOL_SOCKET, SO_TIMESTAMPNS, timespec(message.arrived)))
    elif _wants(socket, SOL_SOCKET, SO_TIMESTAMP):
        found.append((SOL_SOCKET, SO_TIMESTAMP, timeval(message.arrived)))
    if socket.family not in (AF_INET, AF_INET6):
        return found
    goal = message.goal.host if message.goal is not None else LOOPBACK4
    if socket.family == AF_INET6:
        if _wants(socket, IPPROTO_IPV6, IPV6_RECVPKTINFO):
            found.append((IPPROTO_IPV6, IPV6_PKTINFO, goal + struct.pack("<I", LOOPBACK_INDEX)))
        if not goal.startswith(V4_MAPPED):
            if _wants(socket, IPPROTO_IPV6, IPV6_RECVHOPLIMIT):
                found.append((IPPROTO_IPV6, IPV6_HOPLIMIT, TTL))
            if _wants(socket, IPPROTO_IPV6, IPV6_RECVTCLASS):
                found.append((IPPROTO_IPV6, IPV6_TCLASS, bytes(4)))
            return found
    if _wants(socket, IPPROTO_IP, IP_PKTINFO):
        found.append((IPPROTO_IP, IP_PKTINFO, struct.pack("<I", LOOPBACK_INDEX) + goal[12:] * 2))
    if _wants(socket, IPPROTO_IP, IP_RECVTTL):
        found.append((IPPROTO_IP, IP_TTL, TTL))
    if _wants(socket, IPPROTO_IP, IP_RECVTOS):
        found.append((IPPROTO_IP, IP_TOS, b"\0"))
    return found


