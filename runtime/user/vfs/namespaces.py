"""/proc/PID/ns: every process is in the first namespace of each kind (fs/nsfs.c, namespaces(7))."""

from __future__ import annotations

import errno
from functools import partial
from typing import TYPE_CHECKING, Final

from pyprobe.runtime.user.errors import Errno
from pyprobe.runtime.user.vfs.abi import O_ACCMODE, O_RDONLY, S_IFREG
from pyprobe.runtime.user.vfs.inode import Dentry, FileSystem, Inode
from pyprobe.runtime.user.vfs.openfile import OpenFile
from pyprobe.runtime.user.vfs.synthetic import SyntheticLink, Table, proc_number

if TYPE_CHECKING:
    from pyprobe.runtime.user.kernel import Kernel
    from pyprobe.runtime.user.task import Process, Task

#: Inode number of the first namespace (include/linux/proc_ns.h; the usual one where it is not fixed), and its kind's CLONE_NEW flag.
NAMESPACES: Final = {
    b"cgroup": (0xEFFFFFFB, 0x02000000), b"ipc": (0xEFFFFFFF, 0x08000000), b"mnt": (0xF0000001, 0x00020000),
    b"net": (0xF0000000, 0x40000000), b"pid": (0xEFFFFFFC, 0x20000000), b"pid_for_children": (0xEFFFFFFC, 0x20000000),
    b"time": (0xEFFFFFFA, 0x00000080), b"time_for_children": (0xEFFFFFFA, 0x00000080), b"user": (0xEFFFFFFD, 0x10000000),
    b"uts": (0xEFFFFFFE, 0x04000000),
}  # fmt: skip
_CHILDREN: Final = b"_for_children"
_USER: Final = b"user"

# ioctl_ns(2)
NS_GET_USERNS, NS_GET_PARENT, NS_GET_NSTYPE, NS_GET_OWNER_UID = 0xB701, 0xB702, 0xB703, 0xB704


class Namespace(Inode):
    """One namespace as a file."""

    __slots__ = ("flag",)

    def __init__(self, fs: FileSystem, number: int, flag: int, now: int) -> None:
        super().__init__(fs, number, S_IFREG | 0o444, now)
        self.flag = flag

    def open(self, k: Kernel, t: Task, dentry: Dentry, flags: int) -> OpenFile:
        if flags & O_ACCMODE != O_RDONLY:
            raise Errno(errno.EPERM)
        return NamespaceFile(dentry, flags)


class NamespaceFile(OpenFile):
    """An open namespace: what setns(2) takes."""

    inode: Namespace

    def ioctl(self, k: Kernel, t: Task, request: int, argument: int) -> int:
        if request == NS_GET_NSTYPE:
            return self.inode.flag
        if request == NS_GET_OWNER_UID:
            if self.inode.flag != NAMESPACES[_USER][1]:
                raise Errno(errno.EINVAL)
            t.space.put_u32(argument, 0)
            return 0
        if request in (NS_GET_USERNS, NS_GET_PARENT):
            raise Errno(errno.EPERM)  # the first ones are owned by nobody that could be shown
        return super().ioctl(k, t, request, argument)


def _name(entry: bytes) -> bytes:
    return b"%s:[%d]" % (entry.removesuffix(_CHILDREN), NAMESPACES[entry][0])


def _place(entry: bytes, k: Kernel, t: Task) -> Dentry:
    """Where the link leads: the same inode whoever looks."""
    number, flag = NAMESPACES[entry]
    name = _name(entry)
    known = k.vfs.namespaces.get(name)
    if known is None:
        known = k.vfs.namespaces[name] = Dentry(None, name, Namespace(k.vfs.nsfs, number, flag, k.vfs.boot))
    return known


def namespaces(fs: FileSystem, process: Process, now: int, ino: int) -> Inode:
    """The directory /proc/PID/ns."""
    folder = Table(fs, 0o511, now, ino)
    for entry in NAMESPACES:
        text = _name(entry)
        number = proc_number(process.pid, "ns", entry)
        folder.children[entry] = SyntheticLink(fs, now, lambda k, t, text=text: text, partial(_place, entry), number)  # type: ignore[misc]  # bound early on purpose
    return folder
