"""What stat(2) tells about an inode, and its layout in guest memory for each system call and architecture."""

from __future__ import annotations

import struct
from typing import Final, NamedTuple

from pyprobe.runtime.user.vfs.abi import BLOCK_SIZE, major, minor

SECOND: Final = 1_000_000_000

# struct stat: arch/x86/include/uapi/asm/stat.h and include/uapi/asm-generic/stat.h (arm64)
_X86_64: Final = struct.Struct("<QQQIIIIQqqq6q24x")
_GENERIC: Final = struct.Struct("<QQIIIIQQqiiq6qII")
# struct statx, include/uapi/linux/stat.h
_STATX: Final = struct.Struct("<IIQIIIHHQQQQqiIqiIqiIqiIIIII112x")
_STATFS: Final = struct.Struct("<QQQQQQQIIQQQ32x")

STATX_BASIC_STATS: Final = 0x7FF
STATX_BTIME: Final = 0x800


class Stat(NamedTuple):
    """One answer of stat(2); times are nanoseconds since 1970, `blocks` counts 512 bytes."""

    dev: int
    ino: int
    mode: int
    nlink: int
    uid: int
    gid: int
    rdev: int
    size: int
    blocks: int
    atime: int
    mtime: int
    ctime: int
    btime: int

    def pack(self, arch: str) -> bytes:
        """struct stat as programs of `arch` read it."""
        times = (*divmod(self.atime, SECOND), *divmod(self.mtime, SECOND), *divmod(self.ctime, SECOND))
        if arch == "arm64":
            owner = (self.mode, self.nlink, self.uid, self.gid, self.rdev, 0)
            return _GENERIC.pack(self.dev, self.ino, *owner, self.size, BLOCK_SIZE, 0, self.blocks, *times, 0, 0)
        return _X86_64.pack(
            self.dev, self.ino, self.nlink, self.mode, self.uid, self.gid, 0, self.rdev, self.size, BLOCK_SIZE, self.blocks, *times
        )

    def pack_statx(self) -> bytes:
        """struct statx, with all basic fields and the birth time."""
        times = [part for time in (self.atime, self.btime, self.ctime, self.mtime) for part in (*divmod(time, SECOND), 0)]
        return _STATX.pack(
            STATX_BASIC_STATS | STATX_BTIME,
            BLOCK_SIZE,
            0,
            self.nlink,
            self.uid,
            self.gid,
            self.mode,
            0,
            self.ino,
            self.size,
            self.blocks,
            0,
            *times,
            major(self.rdev),
            minor(self.rdev),
            major(self.dev),
            minor(self.dev),
        )


class StatFs(NamedTuple):
    """One answer of statfs(2), counted in blocks of 4096 bytes."""

    magic: int
    blocks: int
    free: int
    files: int
    files_free: int
    fsid: int
    flags: int = 0x20 | 0x1000  # ST_VALID | ST_RELATIME

    def pack(self) -> bytes:
        """struct statfs (the same on both architectures)."""
        return _STATFS.pack(
            self.magic,
            BLOCK_SIZE,
            self.blocks,
            self.free,
            self.free,
            self.files,
            self.files_free,
            self.fsid & 0xFFFFFFFF,
            self.fsid >> 32,
            255,
            BLOCK_SIZE,
            self.flags,
        )
