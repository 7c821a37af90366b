"""The wire format of FUSE: include/uapi/linux/fuse.h, as far as a read-only server speaks it. Names are that file's."""

from __future__ import annotations

import struct
from enum import IntEnum, IntFlag
from typing import Final

KERNEL_VERSION: Final = 7
KERNEL_MINOR_VERSION: Final = 38
ROOT_ID: Final = 1

in_header: Final = struct.Struct("<IIQQIIII")  # len opcode unique nodeid uid gid pid total_extlen+padding
out_header: Final = struct.Struct("<IiQ")  # len error unique
attr: Final = struct.Struct("<6Q10I")  # ino size blocks atime mtime ctime, nanoseconds of these, mode nlink uid gid rdev blksize flags
entry_out: Final = struct.Struct("<4Q2I")  # nodeid generation entry_valid attr_valid and their nanoseconds; an attr follows
attr_out: Final = struct.Struct("<QII")  # attr_valid attr_valid_nsec dummy; an attr follows
init_in: Final = struct.Struct("<4I")  # major minor max_readahead flags
init_out: Final = struct.Struct("<4IHHIIHHI7I")  # major minor max_readahead flags max_background congestion_threshold max_write ...
open_out: Final = struct.Struct("<QII")  # fh open_flags padding
read_in: Final = struct.Struct("<QQI")  # fh offset size
forget_in: Final = struct.Struct("<Q")  # nlookup
forget_one: Final = struct.Struct("<QQ")  # nodeid nlookup
batch_forget_in: Final = struct.Struct("<II")  # count dummy
statfs_out: Final = struct.Struct("<5Q10I")  # blocks bfree bavail files ffree bsize namelen frsize padding
dirent: Final = struct.Struct("<QQII")  # ino off namelen type


class Op(IntEnum):
    """enum fuse_opcode."""

    LOOKUP = 1
    FORGET = 2
    GETATTR = 3
    SETATTR = 4
    READLINK = 5
    SYMLINK = 6
    MKNOD = 8
    MKDIR = 9
    UNLINK = 10
    RMDIR = 11
    RENAME = 12
    LINK = 13
    OPEN = 14
    READ = 15
    WRITE = 16
    STATFS = 17
    RELEASE = 18
    SETXATTR = 21
    INIT = 26
    OPENDIR = 27
    READDIR = 28
    RELEASEDIR = 29
    REMOVEXATTR = 24
    CREATE = 35
    DESTROY = 38
    BATCH_FORGET = 42
    FALLOCATE = 43
    READDIRPLUS = 44
    RENAME2 = 45
    COPY_FILE_RANGE = 47
    TMPFILE = 51


#: Requests that would change something.
CHANGES: Final = frozenset(
    {
        Op.SETATTR,
        Op.SYMLINK,
        Op.MKNOD,
        Op.MKDIR,
        Op.UNLINK,
        Op.RMDIR,
        Op.RENAME,
        Op.LINK,
        Op.WRITE,
        Op.SETXATTR,
        Op.REMOVEXATTR,
        Op.CREATE,
        Op.FALLOCATE,
        Op.RENAME2,
        Op.COPY_FILE_RANGE,
        Op.TMPFILE,
    }
)


class Init(IntFlag):
    """Flags of INIT: what both sides can."""

    ASYNC_READ = 1 << 0
    EXPORT_SUPPORT = 1 << 4
    DO_READDIRPLUS = 1 << 13
    READDIRPLUS_AUTO = 1 << 14
    NO_OPEN_SUPPORT = 1 << 17
    PARALLEL_DIROPS = 1 << 18
    MAX_PAGES = 1 << 22
    CACHE_SYMLINKS = 1 << 23
    NO_OPENDIR_SUPPORT = 1 << 24


class Open(IntFlag):
    """Flags in the answer to OPEN."""

    DIRECT_IO = 1 << 0
    NONSEEKABLE = 1 << 2
    STREAM = 1 << 4
