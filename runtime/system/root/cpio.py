"""Archives in cpio's "newc" format, which Linux unpacks as its initial root.

The format: Documentation/driver-api/early-userspace/buffer-format.rst of the kernel.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final, NamedTuple

S_IFDIR: Final = 0o040000
S_IFREG: Final = 0o100000
S_IFCHR: Final = 0o020000
_TRAILER: Final = b"TRAILER!!!"


class Entry(NamedTuple):
    """One file of an archive. name: without leading slash, its directory before it; mode: type and permissions; device: major, minor."""

    name: bytes
    mode: int
    data: bytes = b""
    device: tuple[int, int] = (0, 0)


def directory(name: bytes, mode: int = 0o755) -> Entry:
    """A directory entry."""
    return Entry(name, S_IFDIR | mode)


def regular(name: bytes, data: bytes, mode: int = 0o644) -> Entry:
    """A regular file's entry."""
    return Entry(name, S_IFREG | mode, data)


def character(name: bytes, major: int, minor: int, mode: int = 0o600) -> Entry:
    """A character device's entry."""
    return Entry(name, S_IFCHR | mode, device=(major, minor))


def pack(entries: Iterable[Entry]) -> bytes:
    """The archive. All files belong to user 0 and have time 0, so that equal entries give equal bytes."""
    out = bytearray()
    for ino, entry in enumerate((*entries, Entry(_TRAILER, 0)), 1):
        name = entry.name + b"\0"
        fields = (ino, entry.mode, 0, 0, 1, 0, len(entry.data), 0, 0, *entry.device, len(name), 0)
        out += b"070701" + b"".join(b"%08x" % field for field in fields) + name
        out += bytes(-len(out) % 4) + entry.data
        out += bytes(-len(out) % 4)
    return bytes(out)
