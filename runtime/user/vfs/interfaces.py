"""Requests about network interfaces that every socket answers: netdevice(7), for the loopback interface there is."""

from __future__ import annotations

import errno
import struct
from typing import TYPE_CHECKING, Final

from pyprobe.runtime.user.errors import Errno
from pyprobe.runtime.user.vfs.netlink import ARPHRD_LOOPBACK, LOOPBACK_FLAGS, LOOPBACK_INDEX, LOOPBACK_MTU, LOOPBACK_NAME
from pyprobe.runtime.user.vfs.sockaddr import AF_INET

if TYPE_CHECKING:
    from pyprobe.runtime.user.task import Task

SIOCGIFNAME, SIOCGIFCONF, SIOCGIFFLAGS, SIOCSIFFLAGS, SIOCGIFADDR = 0x8910, 0x8912, 0x8913, 0x8914, 0x8915
SIOCGIFBRDADDR, SIOCGIFNETMASK, SIOCGIFMETRIC, SIOCGIFMTU, SIOCGIFHWADDR, SIOCGIFINDEX = 0x8919, 0x891B, 0x891D, 0x8921, 0x8927, 0x8933
SIOCGIFTXQLEN: Final = 0x8942
_NAME: Final = 16
_IFREQ: Final = 40


def _ipv4(*host: int) -> bytes:
    return struct.pack("<HH", AF_INET, 0) + bytes(host)


#: what follows the name in struct ifreq
_ANSWERS: Final = {
    SIOCGIFFLAGS: struct.pack("<H", LOOPBACK_FLAGS & 0xFFFF),
    SIOCGIFADDR: _ipv4(127, 0, 0, 1),
    SIOCGIFBRDADDR: _ipv4(0, 0, 0, 0),
    SIOCGIFNETMASK: _ipv4(255, 0, 0, 0),
    SIOCGIFMETRIC: bytes(4),
    SIOCGIFMTU: struct.pack("<i", LOOPBACK_MTU),
    SIOCGIFHWADDR: struct.pack("<H", ARPHRD_LOOPBACK) + bytes(14),
    SIOCGIFINDEX: struct.pack("<i", LOOPBACK_INDEX),
    SIOCGIFTXQLEN: struct.pack("<i", 1000),
}


def interface_ioctl(t: Task, request: int, argument: int) -> int | None:
    """Answer a request about interfaces; None: it is none. Raises Errno(ENODEV, EPERM)."""
    if request == SIOCGIFCONF:
        room, buffer = struct.unpack("<i4xQ", t.space.read(argument, 16))
        record = LOOPBACK_NAME.ljust(_NAME, b"\0") + _ANSWERS[SIOCGIFADDR].ljust(_IFREQ - _NAME, b"\0")
        size = _IFREQ if not buffer or room >= _IFREQ else 0
        if buffer and size:
            t.space.write(buffer, record)
        t.space.put_u32(argument, size)
        return 0
    if request == SIOCGIFNAME:
        if t.space.u32(argument + _NAME) != LOOPBACK_INDEX:
            raise Errno(errno.ENODEV)
        t.space.write(argument, LOOPBACK_NAME.ljust(_NAME, b"\0"))
        return 0
    if request == SIOCSIFFLAGS:
        raise Errno(errno.EPERM)
    answer = _ANSWERS.get(request)
    if answer is None:
        return None
    if t.space.read(argument, _NAME).split(b"\0", 1)[0] != LOOPBACK_NAME:
        raise Errno(errno.ENODEV)
    t.space.write(argument + _NAME, answer)
    return 0
