"""/proc/net: the sockets there are, as ss(8), netstat(8) and lsof(8) read them.

tcp4_seq_show and tcp6_seq_show, udp4_seq_show and udp6_seq_show, unix_seq_show, sockstat_seq_show. Sockets come in the order in which they
were made, those that listen first; Linux goes by hashes. Addresses of sockets in the kernel are told to nobody.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Final

from pyprobe.runtime.user.vfs.inet import InetSocket
from pyprobe.runtime.user.vfs.sockaddr import AF_INET, AF_INET6, AF_UNIX, ANY, InetAddress
from pyprobe.runtime.user.vfs.socket import Socket
from pyprobe.runtime.user.vfs.tcp import TCP_CLOSE, TCP_CLOSE_WAIT, TCP_ESTABLISHED, TCP_LISTEN, TcpSocket

if TYPE_CHECKING:
    from pyprobe.runtime.user.kernel import Kernel

_POINTER: Final = b"0" * 16
_NOBODY: Final = InetAddress(ANY, 0)
SO_ACCEPTCON: Final = 0x10000
SS_UNCONNECTED, SS_CONNECTING, SS_CONNECTED = 1, 2, 3
_TCP_WIDTH, _UDP_WIDTH = 149, 127
_HEAD = b"st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode"
_HEAD4 = b"local_address rem_address   " + _HEAD
_HEAD6 = b"local_address                         remote_address                        " + _HEAD
_DATAGRAMS = b" ref pointer drops"


def sockets(k: Kernel) -> list[tuple[Socket, bool]]:
    """Every socket, and whether it is a file already: connections that nobody has accepted yet are not."""
    found: dict[Socket, bool] = {}
    for process in k.processes.values():
        for _, file in process.files if process.alive else ():
            if isinstance(file, Socket):
                found[file] = True
                for waiting in file.backlog or ():
                    found[waiting] = False
    return sorted(found.items(), key=lambda item: (item[0].backlog is None, item[0].inode.ino))


def _internet(k: Kernel, family: int, tcp: bool) -> Iterator[tuple[InetSocket, bool]]:
    """Those that can be reached, of a family."""
    for socket, is_file in sockets(k):
        if not isinstance(socket, InetSocket) or socket.family != family or socket.local is None:
            continue
        reachable = not isinstance(socket, TcpSocket) or socket.state != TCP_CLOSE
        if reachable and isinstance(socket, TcpSocket) is tcp:
            yield socket, is_file


def _end(family: int, address: object) -> bytes:
    """An address as its words read in memory, and the port."""
    end = address if isinstance(address, InetAddress) else _NOBODY
    host = end.host[12:] if family == AF_INET else end.host
    words = (int.from_bytes(host[i : i + 4], "little") for i in range(0, len(host), 4))
    return b"".join(b"%08X" % word for word in words) + b":%04X" % end.port


def _row(number: bytes, socket: InetSocket, is_file: bool, state: int, waiting: int) -> bytes:
    """What the rows of TCP and UDP have in common."""
    inode = socket.inode
    ends = number, _end(socket.family, socket.local), _end(socket.family, socket.remote)
    return b"%s: %s %s %02X 00000000:%08X 00:00000000 00000000 %5d        0 %d" % (
        *ends, state, waiting, inode.uid if is_file else 0, inode.ino if is_file else 0
    )  # fmt: skip


def _tcp(k: Kernel, family: int) -> list[bytes]:
    rows = []
    for number, (socket, is_file) in enumerate(_internet(k, family, True)):
        assert isinstance(socket, TcpSocket)
        listening = socket.state == TCP_LISTEN
        waiting = len(socket.backlog or ()) if listening else socket.incoming.size
        timing = b"100 0 0 10 0" if listening else b"20 4 30 10 -1" if socket.incoming.total else b"20 0 0 10 -1"
        rows.append(_row(b"%4d" % number, socket, is_file, socket.state, waiting) + b" 1 %s %s" % (_POINTER, timing))
    return rows


def _udp(k: Kernel, family: int) -> list[bytes]:
    rows = []
    for socket, is_file in _internet(k, family, False):
        number = b"%5d" % (socket.local.port if isinstance(socket.local, InetAddress) else 0)
        state = TCP_ESTABLISHED if socket.connected else TCP_CLOSE
        rows.append(_row(number, socket, is_file, state, socket.incoming.size) + b" 2 %s 0" % _POINTER)
    return rows


def _table(rows: list[bytes], width: int = 0) -> bytes:
    return b"".join(row.ljust(width) + b"\n" for row in rows)


def tcp(k: Kernel) -> bytes:
    return _table([b"  sl  " + _HEAD4, *_tcp(k, AF_INET)], _TCP_WIDTH)


def tcp6(k: Kernel) -> bytes:
    return _table([b"  sl  " + _HEAD6, *_tcp(k, AF_INET6)])


def udp(k: Kernel) -> bytes:
    return _table([b"   sl  " + _HEAD4 + _DATAGRAMS, *_udp(k, AF_INET)], _UDP_WIDTH)


def udp6(k: Kernel) -> bytes:
    return _table([b"  sl  " + _HEAD6 + _DATAGRAMS, *_udp(k, AF_INET6)])


def raw(k: Kernel) -> bytes:
    return _table([b"  sl  " + _HEAD4 + _DATAGRAMS])


def unix(k: Kernel) -> bytes:
    rows = [b"Num       RefCount Protocol Flags    Type St Inode Path"]
    for socket, is_file in sockets(k):
        if socket.family != AF_UNIX:
            continue
        listening = SO_ACCEPTCON if socket.backlog is not None else 0
        state = SS_CONNECTING if not is_file else SS_CONNECTED if socket.connected else SS_UNCONNECTED
        name = b" " + socket.local.replace(b"\0", b"@") if isinstance(socket.local, bytes) and socket.local else b""
        numbers = 3 if socket.connected else 2, 0, listening, socket.type, state, socket.inode.ino if is_file else 0
        rows.append(_POINTER + b": %08X %08X %08X %04X %02X %5d" % numbers + name)
    return _table(rows)


_UDP_COUNTERS: Final = "InDatagrams NoPorts InErrors OutDatagrams RcvbufErrors SndbufErrors InCsumErrors IgnoredMulti MemErrors"
_COUNTERS: Final = {
    "Ip": "Forwarding DefaultTTL InReceives InHdrErrors InAddrErrors ForwDatagrams InUnknownProtos InDiscards InDelivers OutRequests"
    " OutDiscards OutNoRoutes ReasmTimeout ReasmReqds ReasmOKs ReasmFails FragOKs FragFails FragCreates",
    "Tcp": "RtoAlgorithm RtoMin RtoMax MaxConn ActiveOpens PassiveOpens AttemptFails EstabResets CurrEstab InSegs OutSegs RetransSegs"
    " InErrs OutRsts InCsumErrors",
    "Udp": _UDP_COUNTERS,
    "UdpLite": _UDP_COUNTERS,
}
_SETTINGS: Final = {"Forwarding": 2, "DefaultTTL": 64, "RtoAlgorithm": 1, "RtoMin": 200, "RtoMax": 120_000, "MaxConn": -1}


def snmp(k: Kernel) -> bytes:
    """Of what is counted there, what is told here is how many connections there are (snmp_seq_show)."""
    established = sum(isinstance(s, TcpSocket) and s.state in (TCP_ESTABLISHED, TCP_CLOSE_WAIT) for s, _ in sockets(k))
    values = {**_SETTINGS, "CurrEstab": established}
    rows = []
    for protocol, names in _COUNTERS.items():
        numbers = " ".join(str(values.get(name, 0)) for name in names.split())
        rows += [f"{protocol}: {names}", f"{protocol}: {numbers}"]
    return "".join(row + "\n" for row in rows).encode()


def sockstat(k: Kernel) -> bytes:
    all_of_tcp = sum(isinstance(socket, TcpSocket) for socket, _ in sockets(k))
    four = len(_tcp(k, AF_INET)), len(_udp(k, AF_INET))
    rows = [b"sockets: used %d" % len(sockets(k)), b"TCP: inuse %d orphan 0 tw 0 alloc %d mem 0" % (four[0], all_of_tcp)]
    return _table([*rows, b"UDP: inuse %d mem 0" % four[1], b"UDPLITE: inuse 0", b"RAW: inuse 0", b"FRAG: inuse 0 memory 0"])


def sockstat6(k: Kernel) -> bytes:
    rows = [b"TCP6: inuse %d" % len(_tcp(k, AF_INET6)), b"UDP6: inuse %d" % len(_udp(k, AF_INET6))]
    return _table([*rows, b"UDPLITE6: inuse 0", b"RAW6: inuse 0", b"FRAG6: inuse 0 memory 0"])
