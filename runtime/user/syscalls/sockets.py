"""System calls on sockets; the work is in vfs/{socket,unix,inet}.py."""

from __future__ import annotations

import errno
import struct
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from pyprobe.runtime.machine.memory import R, W
from pyprobe.runtime.user.errors import Block, Errno
from pyprobe.runtime.user.vfs import sockaddr
from pyprobe.runtime.user.vfs.abi import MAX_RW_COUNT, O_CLOEXEC, O_NONBLOCK
from pyprobe.runtime.user.vfs.ancillary import of_packet
from pyprobe.runtime.user.vfs.datagram import DatagramSocket
from pyprobe.runtime.user.vfs.inet import UdpSocket
from pyprobe.runtime.user.vfs.netlink import NETLINK_ROUTE, NetlinkSocket
from pyprobe.runtime.user.vfs.open import install, limit
from pyprobe.runtime.user.vfs.openfile import OpenFile
from pyprobe.runtime.user.vfs.readwrite import io_vectors, views
from pyprobe.runtime.user.vfs.sockaddr import AF_INET, AF_INET6, AF_NETLINK, AF_UNIX, Address
from pyprobe.runtime.user.vfs.socket import (
    MOST_QUEUED,
    MSG_CMSG_CLOEXEC,
    MSG_CTRUNC,
    MSG_DONTWAIT,
    MSG_WAITALL,
    SO_ACCEPTCONN,
    SO_COOKIE,
    SO_DOMAIN,
    SO_ERROR,
    SO_PASSCRED,
    SO_PEERCRED,
    SO_PROTOCOL,
    SO_RCVBUF,
    SO_SNDBUF,
    SO_TYPE,
    SOCK_DGRAM,
    SOCK_RAW,
    SOCK_SEQPACKET,
    SOCK_STREAM,
    SOL_SOCKET,
    Message,
    Socket,
)
from pyprobe.runtime.user.vfs.stream import StreamSocket
from pyprobe.runtime.user.vfs.tcp import TcpSocket
from pyprobe.runtime.user.vfs.unix import UnixDatagram, UnixStream, unix_pair
from pyprobe.runtime.user.words import s32

if TYPE_CHECKING:
    from pyprobe.runtime.user.kernel import Kernel
    from pyprobe.runtime.user.task import Task

IPPROTO_TCP: Final = 6
IPPROTO_UDP: Final = 17
SCM_RIGHTS: Final = 1
SCM_CREDENTIALS: Final = 2
SCM_MAX_FD: Final = 253
MSG_WAITFORONE: Final = 0x10000
_BUFFER_SIZE: Final = 212992
_MSGHDR: Final = struct.Struct("<QI4xQQQQi4x")
_MMSGHDR_SIZE: Final = _MSGHDR.size + 8
_CMSGHDR: Final = struct.Struct("<Qii")
_SOCKADDR_MAX: Final = 128

#: (family, type) -> (protocols that may be named, the one it is)
_INET_PROTOCOLS: Final = {SOCK_STREAM: ((0, IPPROTO_TCP), IPPROTO_TCP), SOCK_DGRAM: ((0, IPPROTO_UDP), IPPROTO_UDP)}
_TCP_INFO: Final = 11
_LAST_OPTION: Final = 83  # SO_* numbers of asm-generic/socket.h end here
_READ_ONLY: Final = (SO_TYPE, SO_PROTOCOL, SO_DOMAIN, SO_ERROR, SO_ACCEPTCONN, SO_COOKIE)


def _new(k: Kernel, family: int, type: int, protocol: int, flags: int) -> Socket:
    if family == AF_UNIX:
        if protocol not in (0, AF_UNIX):
            raise Errno(errno.EPROTONOSUPPORT)
        if type in (SOCK_STREAM, SOCK_SEQPACKET):
            return UnixStream(k, type, 0, flags)
        if type == SOCK_DGRAM:
            return UnixDatagram(k, type, 0, flags)
        raise Errno(errno.ESOCKTNOSUPPORT)
    if family in (AF_INET, AF_INET6):
        known = _INET_PROTOCOLS.get(type)
        if known is None:
            raise Errno(errno.EPERM if type == SOCK_RAW else errno.ESOCKTNOSUPPORT)  # raw sockets: nothing to look at
        if protocol not in known[0]:
            raise Errno(errno.EPROTONOSUPPORT)
        kind = TcpSocket if type == SOCK_STREAM else UdpSocket
        return kind(k, type, known[1], flags, family)
    if family == AF_NETLINK:
        if type not in (SOCK_RAW, SOCK_DGRAM):
            raise Errno(errno.ESOCKTNOSUPPORT)
        if protocol != NETLINK_ROUTE:
            raise Errno(errno.EPROTONOSUPPORT)
        return NetlinkSocket(k, type, protocol, flags)
    raise Errno(errno.EAFNOSUPPORT)


def _split(type: int) -> tuple[int, int, bool]:
    """Type argument of socket(2): type, status flags, close on exec."""
    type &= 0xFFFFFFFF
    if type & ~(0xF | O_CLOEXEC | O_NONBLOCK):
        raise Errno(errno.EINVAL)
    return type & 0xF, type & O_NONBLOCK, bool(type & O_CLOEXEC)


def _install(k: Kernel, t: Task, file: OpenFile, close_on_exec: bool) -> int:
    try:
        return install(t, file, close_on_exec=close_on_exec)
    except Errno:
        file.release(k)
        raise


def sys_socket(k: Kernel, t: Task, family: int, type: int, protocol: int) -> int:
    kind, flags, close_on_exec = _split(type)
    return _install(k, t, _new(k, s32(family), kind, s32(protocol), flags), close_on_exec)


def sys_socketpair(k: Kernel, t: Task, family: int, type: int, protocol: int, usockvec: int) -> int:
    kind, flags, close_on_exec = _split(type)
    if s32(family) != AF_UNIX:
        raise Errno(errno.EOPNOTSUPP if s32(family) in (AF_INET, AF_INET6) else errno.EAFNOSUPPORT)
    if kind not in (SOCK_STREAM, SOCK_DGRAM, SOCK_SEQPACKET):
        raise Errno(errno.ESOCKTNOSUPPORT)
    if len(t.process.files) + 2 > limit(t):
        raise Errno(errno.EMFILE)
    t.space.read(usockvec, 8)
    numbers = [install(t, end, close_on_exec=close_on_exec) for end in unix_pair(k, t, kind, flags)]
    t.space.write(usockvec, struct.pack("<ii", *numbers))
    return 0


def _socket(t: Task, fd: int) -> Socket:
    file = t.process.files.get(fd)
    if not isinstance(file, Socket):
        raise Errno(errno.ENOTSOCK)
    return file


def _address(t: Task, socket: Socket, address: int, length: int, *, either: bool = False) -> Address:
    length = s32(length)
    if not 0 <= length <= _SOCKADDR_MAX:
        raise Errno(errno.EINVAL)
    return sockaddr.parse(socket.family, t.space.read(address, length), either=either)


def _tell_address(t: Task, socket: Socket, value: Address | None, address: int, length: int) -> None:
    """Hand an address back: cut to the room there is, with its full length."""
    if not address:
        return
    room = s32(t.space.u32(length))
    if room < 0:
        raise Errno(errno.EINVAL)
    data = sockaddr.pack(socket.family, value)
    t.space.write(address, data[:room])
    t.space.put_u32(length, len(data))


def sys_bind(k: Kernel, t: Task, fd: int, umyaddr: int, addrlen: int) -> int:
    socket = _socket(t, fd)
    socket.bind(k, t, _address(t, socket, umyaddr, addrlen))
    return 0


def sys_connect(k: Kernel, t: Task, fd: int, uservaddr: int, addrlen: int) -> int:
    socket = _socket(t, fd)
    data = t.space.read(uservaddr, min(addrlen & 0xFFFFFFFF, _SOCKADDR_MAX))
    if data[:2] == bytes(2) and isinstance(socket, DatagramSocket):  # AF_UNSPEC dissolves the association
        socket.disconnect(k)
        return 0
    socket.connect(k, t, sockaddr.parse(socket.family, data, either=isinstance(socket, DatagramSocket)))
    return 0


def sys_listen(k: Kernel, t: Task, fd: int, backlog: int) -> int:
    _socket(t, fd).listen(k, t, s32(backlog))
    return 0


def sys_accept4(k: Kernel, t: Task, fd: int, upeer_sockaddr: int, upeer_addrlen: int, flags: int) -> int:
    if flags & 0xFFFFFFFF & ~(O_CLOEXEC | O_NONBLOCK):
        raise Errno(errno.EINVAL)
    listener = _socket(t, fd)
    if len(t.process.files) >= limit(t):
        raise Errno(errno.EMFILE)
    socket = listener.accept(k, t)
    socket.flags |= flags & O_NONBLOCK
    number = _install(k, t, socket, bool(flags & O_CLOEXEC))
    _tell_address(t, socket, socket.remote, upeer_sockaddr, upeer_addrlen)
    return number


def sys_accept(k: Kernel, t: Task, fd: int, upeer_sockaddr: int, upeer_addrlen: int) -> int:
    return sys_accept4(k, t, fd, upeer_sockaddr, upeer_addrlen, 0)


def sys_getsockname(k: Kernel, t: Task, fd: int, usockaddr: int, usockaddr_len: int) -> int:
    socket = _socket(t, fd)
    _tell_address(t, socket, socket.local, usockaddr, usockaddr_len)
    return 0


def sys_getpeername(k: Kernel, t: Task, fd: int, usockaddr: int, usockaddr_len: int) -> int:
    socket = _socket(t, fd)
    if not socket.connected:
        raise Errno(errno.ENOTCONN)
    _tell_address(t, socket, socket.remote, usockaddr, usockaddr_len)
    return 0


def sys_shutdown(k: Kernel, t: Task, fd: int, how: int) -> int:
    socket = _socket(t, fd)
    if s32(how) not in (0, 1, 2):
        raise Errno(errno.EINVAL)
    assert isinstance(socket, StreamSocket | DatagramSocket)
    socket.shutdown(k, s32(how))
    return 0


# sending


def _send(k: Kernel, t: Task, socket: Socket, message: Message) -> int:
    """Send; passed files that were not taken are given back."""
    try:
        return socket.sendmsg(k, t, message)
    finally:
        for file in message.files:
            file.release(k)


def sys_sendto(k: Kernel, t: Task, fd: int, buff: int, length: int, flags: int, addr: int, addr_len: int) -> int:
    socket = _socket(t, fd)
    target = _address(t, socket, addr, addr_len, either=True) if addr else None
    if isinstance(socket, StreamSocket):
        target = None
    pieces = views(t, buff, length, R) if length else []
    return _send(k, t, socket, Message(pieces, flags & 0xFFFFFFFF, target))


IN_FLIGHT_LIMIT = 4096
"""Open files that may wait in queues of sockets. Linux sets a limit for each user, RLIMIT_NOFILE, and collects those that nobody can reach
any more; here they stay, so there is one for all."""


def _passed_files(t: Task, control: bytes) -> list[OpenFile]:
    """The open files that control messages carry (SCM_RIGHTS), one reference each."""
    found: list[OpenFile] = []
    at = 0
    while at + _CMSGHDR.size <= len(control):
        length, level, type = _CMSGHDR.unpack_from(control, at)
        if length < _CMSGHDR.size or at + length > len(control):
            raise Errno(errno.EINVAL)
        if level == SOL_SOCKET and type == SCM_RIGHTS:
            data = control[at + _CMSGHDR.size : at + length]
            found += [t.process.files.get(fd) for (fd,) in struct.iter_unpack("<I", data[: len(data) & ~3])]
            if len(found) > SCM_MAX_FD:
                raise Errno(errno.EINVAL)
        elif level == SOL_SOCKET and type != SCM_CREDENTIALS:
            raise Errno(errno.EINVAL)
        at += (length + 7) & ~7
    for file in found:
        file.references += 1
    return found


def _sendmsg(k: Kernel, t: Task, socket: Socket, header: int, flags: int) -> int:
    name, name_length, iov, iov_count, control, control_length, _ = _MSGHDR.unpack(t.space.read(header, _MSGHDR.size))
    if iov_count > 1024:
        raise Errno(errno.EMSGSIZE)
    target = _address(t, socket, name, name_length, either=True) if name and name_length and not isinstance(socket, StreamSocket) else None
    message = Message(io_vectors(t, iov, iov_count, R), flags, target)
    if control and control_length:
        if control_length > 1 << 16:
            raise Errno(errno.ENOBUFS)
        if socket.family == AF_UNIX:
            message.files = _passed_files(t, t.space.read(control, control_length))
            if k.vfs.in_flight + len(message.files) > IN_FLIGHT_LIMIT:
                for file in message.files:
                    file.release(k)
                raise Errno(errno.ETOOMANYREFS)
    return _send(k, t, socket, message)


def sys_sendmsg(k: Kernel, t: Task, fd: int, msg: int, flags: int) -> int:
    return _sendmsg(k, t, _socket(t, fd), msg, flags & 0xFFFFFFFF)


def _several(t: Task, vlen: int, one: Callable[[int], int]) -> int:
    """Do a call for several messages; what happens after the first one only ends it early."""
    done = 0
    while done < min(vlen & 0xFFFFFFFF, 1024):
        try:
            one(done)
        except (Errno, Block):
            if done:
                return done
            raise
        done += 1
        t.restart.clear()
    return done


def sys_sendmmsg(k: Kernel, t: Task, fd: int, mmsg: int, vlen: int, flags: int) -> int:
    socket = _socket(t, fd)

    def one(index: int) -> int:
        header = mmsg + index * _MMSGHDR_SIZE
        sent = _sendmsg(k, t, socket, header, flags & 0xFFFFFFFF | (MSG_DONTWAIT if index else 0))
        t.space.put_u32(header + _MSGHDR.size, sent)
        return sent

    return _several(t, vlen, one)


# receiving


def _most(flags: int) -> int:
    """At least as many bytes as one call can receive: more than any queue holds, unless it waits for all of them."""
    return MAX_RW_COUNT if flags & MSG_WAITALL else MOST_QUEUED


def sys_recvfrom(k: Kernel, t: Task, fd: int, ubuf: int, size: int, flags: int, addr: int, addr_len: int) -> int:
    socket = _socket(t, fd)
    size = min(size, _most(flags))
    message = Message(views(t, ubuf, size, W) if size else [], flags & 0xFFFFFFFF)
    count = socket.recvmsg(k, t, message)
    for file in message.files:
        file.release(k)
    if addr and _tells_sender(socket):
        if socket.family == AF_UNIX and not message.address:
            if addr_len:
                t.space.put_u32(addr_len, 0)  # the sender has no name
        else:
            _tell_address(t, socket, message.address, addr, addr_len)
    return count


def _tells_sender(socket: Socket) -> bool:
    """Whether a receiver is told where a message comes from: not of a connection of the Internet."""
    return isinstance(socket, (DatagramSocket, NetlinkSocket)) or socket.family == AF_UNIX


def _control(k: Kernel, t: Task, socket: Socket, message: Message, room: int) -> bytes:
    """The control messages for a receiver with this much room; passed files get descriptors."""
    parts: list[bytes] = []
    if socket.flag(SO_PASSCRED) and message.credentials is not None:
        data = _CMSGHDR.pack(_CMSGHDR.size + 12, SOL_SOCKET, SCM_CREDENTIALS) + struct.pack("<iII", *message.credentials)
        if len(data) <= room:
            parts.append(data.ljust((len(data) + 7) & ~7, b"\0"))
            room -= len(parts[-1])
        else:
            message.out |= MSG_CTRUNC
    for level, kind, content in of_packet(socket, message) if isinstance(socket, DatagramSocket) else ():
        data = _CMSGHDR.pack(_CMSGHDR.size + len(content), level, kind) + content
        if len(data) > room:
            message.out |= MSG_CTRUNC
            break
        parts.append(data.ljust(min((len(data) + 7) & ~7, room), b"\0"))
        room -= len(parts[-1])
    if message.files:
        fits = max(0, (room - _CMSGHDR.size) // 4)
        numbers: list[int] = []
        for index, file in enumerate(message.files):
            try:
                if index >= fits:
                    raise Errno(errno.EMFILE)
                numbers.append(install(t, file, close_on_exec=bool(message.flags & MSG_CMSG_CLOEXEC)))
            except Errno:
                message.out |= MSG_CTRUNC
                file.release(k)
        if numbers:
            data = _CMSGHDR.pack(_CMSGHDR.size + 4 * len(numbers), SOL_SOCKET, SCM_RIGHTS) + struct.pack(f"<{len(numbers)}i", *numbers)
            parts.append(data.ljust(min((len(data) + 7) & ~7, room), b"\0"))
        message.files = []
    return b"".join(parts)


def _recvmsg(k: Kernel, t: Task, socket: Socket, header: int, flags: int) -> int:
    name, name_room, iov, iov_count, control, control_room, _ = _MSGHDR.unpack(t.space.read(header, _MSGHDR.size))
    if iov_count > 1024:
        raise Errno(errno.EMSGSIZE)
    message = Message(io_vectors(t, iov, iov_count, W, _most(flags)), flags)
    count = socket.recvmsg(k, t, message)
    data = _control(k, t, socket, message, control_room if control else 0)
    if data:
        t.space.write(control, data)
    address = b""
    if name and _tells_sender(socket) and message.address is not None:
        address = sockaddr.pack(socket.family, message.address)
        t.space.write(name, address[:name_room])
    t.space.put_u32(header + 8, len(address))
    t.space.put_u64(header + 40, len(data))
    t.space.put_u32(header + 48, message.out | flags & MSG_CMSG_CLOEXEC)
    return count


def sys_recvmsg(k: Kernel, t: Task, fd: int, msg: int, flags: int) -> int:
    return _recvmsg(k, t, _socket(t, fd), msg, flags & 0xFFFFFFFF)


def sys_recvmmsg(k: Kernel, t: Task, fd: int, mmsg: int, vlen: int, flags: int, timeout: int) -> int:
    socket = _socket(t, fd)
    flags &= 0xFFFFFFFF

    def one(index: int) -> int:
        header = mmsg + index * _MMSGHDR_SIZE
        waiting = MSG_DONTWAIT if index else 0  # what has come is handed out at once
        got = _recvmsg(k, t, socket, header, flags & ~MSG_WAITFORONE | waiting)
        t.space.put_u32(header + _MSGHDR.size, got)
        return got

    return _several(t, vlen, one)


# options


def sys_setsockopt(k: Kernel, t: Task, fd: int, level: int, optname: int, optval: int, optlen: int) -> int:
    socket = _socket(t, fd)
    length = s32(optlen)
    if not 0 <= length <= 1 << 16:
        raise Errno(errno.EINVAL)
    value = t.space.read(optval, length) if length else b""
    name = (s32(level), s32(optname))
    if name in ((SOL_SOCKET, SO_SNDBUF), (SOL_SOCKET, SO_RCVBUF)) and length >= 4:
        value = struct.pack("<i", 2 * min(max(int.from_bytes(value[:4], "little", signed=True), 2304), _BUFFER_SIZE))
    if name[0] == SOL_SOCKET and name[1] in _READ_ONLY:
        raise Errno(errno.ENOPROTOOPT)
    if name[0] == SOL_SOCKET and not 0 < name[1] <= _LAST_OPTION:
        raise Errno(errno.ENOPROTOOPT)
    socket.options[name] = value
    return 0


def _option(k: Kernel, socket: Socket, level: int, name: int, room: int) -> bytes:
    if level == SOL_SOCKET:
        if name == SO_ERROR:
            return struct.pack("<i", socket.take_error())
        listening = int(socket.backlog is not None)
        fixed = {SO_TYPE: socket.type, SO_PROTOCOL: socket.protocol, SO_DOMAIN: socket.family, SO_ACCEPTCONN: listening}
        if name in fixed:
            return struct.pack("<i", fixed[name])
        if name == SO_PEERCRED:
            return struct.pack("<iII", *socket.peer_credentials)
        if name == SO_COOKIE:
            if room < 8:
                raise Errno(errno.EINVAL)
            return struct.pack("<Q", socket.cookie(k))
    known = socket.options.get((level, name))
    if known is not None:
        return known
    if level == SOL_SOCKET and name in (SO_SNDBUF, SO_RCVBUF):
        return struct.pack("<i", _BUFFER_SIZE)
    if level == SOL_SOCKET and name in (20, 21):
        return bytes(16)
    if level == SOL_SOCKET and name == 13:  # SO_LINGER
        return bytes(8)
    if level == IPPROTO_TCP and name == _TCP_INFO:
        return bytes((1 if socket.connected else 10 if socket.backlog is not None else 7,)).ljust(104, b"\0")
    if level == IPPROTO_TCP and name == 2:  # TCP_MAXSEG
        return struct.pack("<i", 32741 if socket.connected else 536)
    if socket.family == AF_UNIX and level != SOL_SOCKET:
        raise Errno(errno.EOPNOTSUPP)
    return bytes(4)


def sys_getsockopt(k: Kernel, t: Task, fd: int, level: int, optname: int, optval: int, optlen: int) -> int:
    socket = _socket(t, fd)
    room = s32(t.space.u32(optlen))
    if room < 0:
        raise Errno(errno.EINVAL)
    value = _option(k, socket, s32(level), s32(optname), room)[:room]
    t.space.write(optval, value)
    t.space.put_u32(optlen, len(value))
    return 0

