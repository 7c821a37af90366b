"""Numbers of the Linux file interface (include/uapi/linux/{fcntl,stat,poll,fs}.h, asm-generic), as data.

Values are those of x86-64; where arm64 differs (arch/arm64/include/uapi/asm/fcntl.h), `open_flags` translates at
the door, so that the rest of the package knows one set of numbers.
"""

from __future__ import annotations

from typing import Final

PATH_MAX: Final = 4096
NAME_MAX: Final = 255
MAX_SYMLINKS: Final = 40  # MAXSYMLINKS, include/linux/namei.h
MAX_RW_COUNT: Final = 0x7FFFF000  # INT_MAX & PAGE_MASK: the most one read or write moves
IOV_MAX: Final = 1024
BLOCK_SIZE: Final = 4096

O_RDONLY: Final = 0
O_WRONLY: Final = 1
O_RDWR: Final = 2
O_ACCMODE: Final = 3
O_CREAT: Final = 0o100
O_EXCL: Final = 0o200
O_NOCTTY: Final = 0o400
O_TRUNC: Final = 0o1000
O_APPEND: Final = 0o2000
O_NONBLOCK: Final = 0o4000
O_DSYNC: Final = 0o10000
O_ASYNC: Final = 0o20000
O_DIRECT: Final = 0o40000
O_LARGEFILE: Final = 0o100000
O_DIRECTORY: Final = 0o200000
O_NOFOLLOW: Final = 0o400000
O_NOATIME: Final = 0o1000000
O_CLOEXEC: Final = 0o2000000
O_SYNC: Final = 0o4010000
O_PATH: Final = 0o10000000
O_TMPFILE: Final = 0o20200000

#: Status flags that fcntl(F_SETFL) may change (SETFL_MASK, fs/fcntl.c).
SETFL_MASK: Final = O_APPEND | O_NONBLOCK | O_ASYNC | O_DIRECT | O_NOATIME
#: Flags that open(2) uses up: F_GETFL does not show them.
CREATION_FLAGS: Final = O_CREAT | O_EXCL | O_NOCTTY | O_TRUNC | O_CLOEXEC

FIONREAD: Final = 0x541B  # include/uapi/asm-generic/ioctls.h: how many bytes there are to read
DT_DIR, DT_REG, DT_LNK = 4, 8, 10  # d_type of readdir(3): the type bits of a mode (IFTODT, include/linux/fs_types.h)

_ARM64_OPEN_FLAGS: Final = ((0x4000, O_DIRECTORY), (0x8000, O_NOFOLLOW), (0x10000, O_DIRECT), (0x20000, O_LARGEFILE))
_ARM64_OPEN_MASK: Final = 0x3C000


def open_flags(arch: str, flags: int) -> int:
    """Open flags as an `arch` program passes them, in this module's numbers."""
    if arch != "arm64":
        return flags
    moved = sum(ours for theirs, ours in _ARM64_OPEN_FLAGS if flags & theirs)
    return (flags & ~_ARM64_OPEN_MASK) | moved


def guest_open_flags(arch: str, flags: int) -> int:
    """The inverse of `open_flags`: what F_GETFL and fdinfo show to an `arch` program."""
    if arch != "arm64":
        return flags
    moved = sum(theirs for theirs, ours in _ARM64_OPEN_FLAGS if flags & ours)
    return (flags & ~_ARM64_OPEN_MASK) | moved


AT_FDCWD: Final = -100
AT_SYMLINK_NOFOLLOW: Final = 0x100
AT_REMOVEDIR: Final = 0x200
AT_EACCESS: Final = 0x200
AT_SYMLINK_FOLLOW: Final = 0x400
AT_NO_AUTOMOUNT: Final = 0x800
AT_EMPTY_PATH: Final = 0x1000
AT_STATX_SYNC_TYPE: Final = 0x6000

RESOLVE_NO_XDEV: Final = 0x01
RESOLVE_NO_MAGICLINKS: Final = 0x02
RESOLVE_NO_SYMLINKS: Final = 0x04
RESOLVE_BENEATH: Final = 0x08
RESOLVE_IN_ROOT: Final = 0x10
RESOLVE_CACHED: Final = 0x20

S_IFMT: Final = 0o170000
S_IFSOCK: Final = 0o140000
S_IFLNK: Final = 0o120000
S_IFREG: Final = 0o100000
S_IFBLK: Final = 0o060000
S_IFDIR: Final = 0o040000
S_IFCHR: Final = 0o020000
S_IFIFO: Final = 0o010000
S_ISUID: Final = 0o4000
S_ISGID: Final = 0o2000
S_IXGRP: Final = 0o010
S_ISVTX: Final = 0o1000

R_OK: Final = 4
W_OK: Final = 2
X_OK: Final = 1

SEEK_SET: Final = 0
SEEK_CUR: Final = 1
SEEK_END: Final = 2
SEEK_DATA: Final = 3
SEEK_HOLE: Final = 4

POLLIN: Final = 0x001
POLLPRI: Final = 0x002
POLLOUT: Final = 0x004
POLLERR: Final = 0x008
POLLHUP: Final = 0x010
POLLNVAL: Final = 0x020
POLLRDNORM: Final = 0x040
POLLRDBAND: Final = 0x080
POLLWRNORM: Final = 0x100
POLLWRBAND: Final = 0x200
POLLRDHUP: Final = 0x2000
READABLE: Final = POLLIN | POLLRDNORM
WRITABLE: Final = POLLOUT | POLLWRNORM

RENAME_NOREPLACE: Final = 1
RENAME_EXCHANGE: Final = 2
RENAME_WHITEOUT: Final = 4

FALLOC_FL_KEEP_SIZE: Final = 0x01
FALLOC_FL_PUNCH_HOLE: Final = 0x02
FALLOC_FL_ZERO_RANGE: Final = 0x10

LOCK_SH: Final = 1
LOCK_EX: Final = 2
LOCK_NB: Final = 4
LOCK_UN: Final = 8

OVERLAYFS_SUPER_MAGIC: Final = 0x794C7630
TMPFS_MAGIC: Final = 0x01021994
PROC_SUPER_MAGIC: Final = 0x9FA0
SYSFS_MAGIC: Final = 0x62656572
MQUEUE_MAGIC: Final = 0x19800202
PIPEFS_MAGIC: Final = 0x50495045
SOCKFS_MAGIC: Final = 0x534F434B
ANON_INODE_FS_MAGIC: Final = 0x09041934
NSFS_MAGIC: Final = 0x6E736673


def makedev(major: int, minor: int) -> int:
    """Device number in user space's encoding (gnu_dev_makedev)."""
    return (minor & 0xFF) | ((major & 0xFFF) << 8) | ((minor & ~0xFF) << 12) | ((major & ~0xFFF) << 32)


def major(dev: int) -> int:
    return ((dev >> 8) & 0xFFF) | ((dev >> 32) & ~0xFFF)


def minor(dev: int) -> int:
    return (dev & 0xFF) | ((dev >> 12) & 0xFFFFFF00)
