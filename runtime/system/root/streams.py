"""The command's standard input: a file system with one file, whose every read asks the host.

Reads go past the guest's page cache (FOPEN_DIRECT_IO) and the file has no position (FOPEN_STREAM, as a pipe), so that the host is asked
for input exactly when, and for as much as, the command reads.
"""

from __future__ import annotations

import os
import select
import stat
from collections.abc import Callable
from typing import Final

from pyprobe.runtime.system.root import fuse_abi as abi
from pyprobe.runtime.system.root.fuse import Protocol, pack_status
from pyprobe.runtime.system.root.fuse_abi import Op, Open
from pyprobe.runtime.system.root.tree import Status

#: Gives up to that many bytes of input; none at its end.
Source = Callable[[int], bytes]

_NAME: Final = b"stdin"
_INPUT: Final = 2
_NODES: Final = {
    abi.ROOT_ID: Status(abi.ROOT_ID, stat.S_IFDIR | 0o555, 0, nlink=2),
    _INPUT: Status(_INPUT, stat.S_IFREG | 0o444, 0),
}
_POLL_MS: Final = 100


class StreamServer(Protocol):
    """Serves `stdin`."""

    def __init__(self, source: Source) -> None:
        super().__init__()
        self._source = source
        self.operations |= {Op.LOOKUP: self._lookup, Op.GETATTR: self._getattr, Op.OPEN: self._open, Op.READ: self._read}

    def _lookup(self, node: int, body: bytes) -> bytes:
        if node == abi.ROOT_ID and body.rstrip(b"\0") == _NAME:
            return abi.entry_out.pack(_INPUT, 0, 0, 0, 0, 0) + pack_status(_NODES[_INPUT])
        return bytes(abi.entry_out.size + abi.attr.size)

    def _getattr(self, node: int, body: bytes) -> bytes:
        return abi.attr_out.pack(0, 0, 0) + pack_status(_NODES[node])

    def _open(self, node: int, body: bytes) -> bytes:
        return abi.open_out.pack(0, Open.DIRECT_IO | Open.NONSEEKABLE | Open.STREAM, 0)

    def _read(self, node: int, body: bytes) -> bytes:
        return self._source(abi.read_in.unpack_from(body)[2])


def given(data: bytes) -> Source:
    """Input that is known beforehand."""
    left = memoryview(data)

    def read(size: int) -> bytes:
        nonlocal left
        piece, left = left[:size], left[size:]
        return bytes(piece)

    return read


def descriptor(fd: int, stopped: Callable[[], bool] = lambda: False) -> Source:
    """Input from a descriptor of the host. The machine stands still while it waits; it ends early when `stopped()` says so."""
    poll = select.poll()
    poll.register(fd, select.POLLIN)

    def read(size: int) -> bytes:
        while not poll.poll(_POLL_MS):
            if stopped():
                return b""
        try:
            return os.read(fd, size)
        except OSError:
            return b""

    return read
