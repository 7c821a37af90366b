"""The host's files as the lowest layer of the tree: looked at, never changed, and only below one directory.

Every access names one component relative to a directory descriptor that is held (or reopened component by component
from the root of the view) and follows no symbolic link, so that neither a link nor a rename on the host during the
run leads out of the view. Only regular files and directories are ever opened: each is first taken with O_PATH,
checked, and then opened through that descriptor. File systems that show the running host (proc, sysfs, cgroups,
devices) look empty. See path_resolution(7), openat(2), and "overlayfs" in the kernel documentation for the names.
"""

from __future__ import annotations

import ctypes
import errno
import os
import resource
import stat
from collections import OrderedDict
from collections.abc import Callable
from typing import Final

from pyprobe.runtime.user.errors import Errno
from pyprobe.runtime.user.vfs.abi import DT_DIR, DT_LNK, DT_REG

View = dict[bytes, "View"] | None
"""The entries of a directory that appear, each with what appears below it; None: everything."""

_PATH_FLAGS: Final = os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC
_READ_FLAGS: Final = os.O_RDONLY | os.O_NOCTTY | os.O_NONBLOCK | os.O_CLOEXEC
_HELD_DIRECTORIES: Final = 128

#: Inode numbers of host files are hashes in this many bits: exact in a double, far from those of created files.
HASH_BITS: Final = 53

#: A path is hashed as a polynomial over its names, in a field of about 2**53 elements: listing a large directory hashes every name in it.
_PRIME: Final = 0x1E_3779_B97F_4AA9
_FACTOR: Final = 0x12_4F5A_3C61_D7E5

#: f_type of file systems whose content is the running host (include/uapi/linux/magic.h): shown as empty directories.
_LIVE_FILE_SYSTEMS: Final = frozenset(
    {
        0x9FA0,  # proc
        0x62656572,  # sysfs
        0x1CD1,  # devpts
        0x27E0EB,  # cgroup
        0x63677270,  # cgroup2
        0x64626720,  # debugfs
        0x74726163,  # tracefs
        0xCAFE4A11,  # bpf
        0x6165676C,  # pstore
        0x73636673,  # securityfs
        0xF97CFF8C,  # selinux
        0x19800202,  # mqueue
        0x62656570,  # configfs
        0x65735543,  # fusectl
        0x42494E4D,  # binfmt_misc
        0xDE5E81E4,  # efivarfs
        0x0187,  # autofs: a look would mount
        0x6E736673,  # nsfs
    }
)


class HostError(Errno):
    """The host refused an access to a file of the view: the guest sees the same error number."""


def _errno(error: OSError) -> HostError:
    return HostError(error.errno or errno.EIO)


class _StatFs(ctypes.Structure):
    _fields_ = [("f_type", ctypes.c_long), ("rest", ctypes.c_char * 248)]


_fstatfs: Callable[..., int] | None = None


def _shows_the_running_host(descriptor: int) -> bool:
    global _fstatfs
    if _fstatfs is None:
        _fstatfs = ctypes.CDLL(None).fstatfs
    answer = _StatFs()
    return _fstatfs(descriptor, ctypes.byref(answer)) != 0 or answer.f_type & 0xFFFFFFFF in _LIVE_FILE_SYSTEMS


def _use_all_descriptors() -> None:
    """Guests open more host files than one program usually does: take what the hard limit allows."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


class HostDirectory:
    """One host directory of the view, known by its place below the root; its descriptor comes and goes.

    hash: of its path, what the hashes of its entries begin with.
    """

    __slots__ = ("dev", "hash", "hidden", "ino", "name", "parent", "view")

    def __init__(
        self, parent: HostDirectory | None, name: bytes, dev: int, ino: int, *, hidden: bool = False, view: View = None
    ) -> None:
        self.parent = parent
        self.hash: int = _FACTOR if parent is None else inode_number(parent, name) * _FACTOR % _PRIME
        self.name = name
        self.dev = dev
        self.ino = ino
        self.hidden = hidden
        self.view = view


class HostFile:
    """One host file that is not a directory: the directory it was found in, its name and its identity there."""

    __slots__ = ("dev", "directory", "ino", "name")

    def __init__(self, directory: HostDirectory, name: bytes, dev: int, ino: int) -> None:
        self.directory = directory
        self.name = name
        self.dev = dev
        self.ino = ino


def inode_number(directory: HostDirectory, name: bytes) -> int:
    """Inode number that a guest sees of an entry: a hash of its path below the view's root, so that it is the same on every host."""
    return (directory.hash + int.from_bytes(name, "little")) % _PRIME


class HostLayer:
    """The host's tree below `root`, read only.

    Args:
        view: which files below it appear.
        root: a directory of the host; it alone is resolved by the host (links included), since the user names it.

    Raises:
        OSError: `root` is no directory that can be opened.
    """

    def __init__(self, root: bytes = b"/", view: View = None) -> None:
        _use_all_descriptors()
        self._root_descriptor = os.open(root, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        self.root_status = os.fstat(self._root_descriptor)
        self.root = HostDirectory(None, b"", self.root_status.st_dev, self.root_status.st_ino, view=view)
        self._held: OrderedDict[HostDirectory, int] = OrderedDict()

    def close(self) -> None:
        """Let go of all directory descriptors."""
        for descriptor in self._held.values():
            os.close(descriptor)
        self._held.clear()
        if self._root_descriptor >= 0:
            os.close(self._root_descriptor)
            self._root_descriptor = -1

    def __del__(self) -> None:
        if hasattr(self, "_held"):  # else the root could not be opened
            self.close()

    def _descriptor(self, directory: HostDirectory) -> int:
        """An O_PATH descriptor of `directory`, reopened from its parent when it was let go.

        Raises:
            Errno: the directory is gone, or another one stands in its place.
        """
        held = self._held
        missing: list[HostDirectory] = []
        at = directory
        while at.parent is not None and at not in held:
            missing.append(at)
            at = at.parent
        if at.parent is None:
            descriptor = self._root_descriptor
        else:
            descriptor = held[at]
            held.move_to_end(at)
        for below in reversed(missing):
            descriptor = self._reopen(below, descriptor)
        return descriptor

    def _reopen(self, directory: HostDirectory, above: int) -> int:
        try:
            descriptor = os.open(directory.name, _PATH_FLAGS | os.O_DIRECTORY, dir_fd=above)
        except OSError as error:
            if error.errno in (errno.ENOTDIR, errno.ELOOP):  # something else stands in its place
                raise HostError(errno.ENOENT) from None
            raise _errno(error) from None
        status = os.fstat(descriptor)
        if (status.st_dev, status.st_ino) != (directory.dev, directory.ino):
            os.close(descriptor)
            raise HostError(errno.ENOENT)
        self._held[directory] = descriptor
        if len(self._held) > _HELD_DIRECTORIES:
            os.close(self._held.popitem(last=False)[1])
        return descriptor

    def status(self, directory: HostDirectory, name: bytes) -> os.stat_result | None:
        """lstat of one entry; None when there is none.

        Raises:
            Errno: the host does not let us look.
        """
        if directory.hidden or (directory.view is not None and name not in directory.view):
            return None
        try:
            return os.stat(name, dir_fd=self._descriptor(directory), follow_symlinks=False)
        except FileNotFoundError:
            return None
        except OSError as error:
            raise _errno(error) from None

    def directory(self, parent: HostDirectory, name: bytes, status: os.stat_result) -> HostDirectory:
        """The directory `name` in `parent`, whose status was just taken."""
        view = parent.view[name] if parent.view is not None else None
        found = HostDirectory(parent, name, status.st_dev, status.st_ino, view=view)
        if status.st_dev != parent.dev:
            found.hidden = _shows_the_running_host(self._descriptor(found))
        return found

    def names(self, directory: HostDirectory) -> list[tuple[bytes, int, tuple[int, int]]]:
        """Entries as (name, d_type, (device, inode number)), in the host's order, without `.` and `..`.

        Raises:
            Errno: the host does not let us read the directory.
        """
        if directory.hidden:
            return []
        try:
            with os.scandir(b"/proc/self/fd/%d" % self._descriptor(directory)) as entries:  # by a path in bytes, for names in bytes
                dev = directory.dev
                found = [(entry.name, _entry_type(entry), (dev, entry.inode())) for entry in entries]
                return found if directory.view is None else [entry for entry in found if entry[0] in directory.view]
        except OSError as error:
            raise _errno(error) from None

    def readlink(self, file: HostFile) -> bytes:
        """Target of a symbolic link.

        Raises:
            Errno: the link is gone.
        """
        try:
            return os.readlink(file.name, dir_fd=self._descriptor(file.directory))
        except OSError as error:
            raise _errno(error) from None

    def open(self, file: HostFile) -> int:
        """A read-only descriptor of a regular file, which the caller closes.

        Raises:
            Errno: the file is gone, is another one or no regular file any more, or must not be read.
        """
        try:
            place = os.open(file.name, _PATH_FLAGS, dir_fd=self._descriptor(file.directory))
            try:
                status = os.fstat(place)
                if not stat.S_ISREG(status.st_mode) or (status.st_dev, status.st_ino) != (file.dev, file.ino):
                    raise HostError(errno.ENOENT)
                return os.open(f"/proc/self/fd/{place}", _READ_FLAGS)
            finally:
                os.close(place)
        except OSError as error:
            raise _errno(error) from None


def _entry_type(entry: os.DirEntry[bytes]) -> int:
    if entry.is_file(follow_symlinks=False):
        return DT_REG
    if entry.is_dir(follow_symlinks=False):
        return DT_DIR
    if entry.is_symlink():
        return DT_LNK
    return stat.S_IFMT(entry.stat(follow_symlinks=False).st_mode) >> 12
