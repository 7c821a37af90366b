"""The text of a kernel path, as d_path() of fs/d_path.c of the kernel makes it: through the mounts, from the root of the current task.

Some files have no place in a tree: pipes, sockets and their like say themselves what they are called (`d_dname`).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from pyprobe.runtime.system.description import SystemDescription
    from pyprobe.runtime.system.machine import SystemMachine

_LONGEST = 4096  # bytes of a path (PATH_MAX), and steps to its beginning
_DELETED = b" (deleted)"


class Layout(NamedTuple):
    """Offsets of members in bytes."""

    mnt: int
    dentry: int
    d_parent: int
    d_name: int
    d_inode: int
    d_op: int
    d_dname: int
    d_hash: int
    i_ino: int
    i_private: int
    ns_ops: int
    ns_name: int
    mnt_root: int
    mount_mnt: int
    mnt_parent: int
    mnt_mountpoint: int
    fs: int
    root: int

    @classmethod
    def of(cls, kernel: SystemDescription) -> Layout:
        """Raises KeyError when the kernel's types lack a member."""
        places = {
            "mnt": ("path", "mnt"), "dentry": ("path", "dentry"), "d_name": ("dentry", "d_name", "name"),
            "d_dname": ("dentry_operations", "d_dname"), "d_hash": ("dentry", "d_hash", "pprev"), "i_ino": ("inode", "i_ino"),
            "i_private": ("inode", "i_private"), "ns_ops": ("ns_common", "ops"), "ns_name": ("proc_ns_operations", "name"),
            "mnt_root": ("vfsmount", "mnt_root"), "mount_mnt": ("mount", "mnt"), "mnt_parent": ("mount", "mnt_parent"),
            "mnt_mountpoint": ("mount", "mnt_mountpoint"), "fs": ("task_struct", "fs"), "root": ("fs_struct", "root"),
        }  # fmt: skip
        return cls(*(kernel.offset(*places.get(name, ("dentry", name))) for name in cls._fields))


class Paths:
    """Reads the kernel's structs of directory entries and mounts."""

    def __init__(self, machine: SystemMachine) -> None:
        self._machine = machine
        self._cpu = machine.processor
        self.layout = Layout.of(machine.description)

    def of(self, path: int | bytes) -> bytes:
        """The text of the `struct path` at an address, or of one that was copied."""
        o = self.layout
        if isinstance(path, bytes):
            return self.text(*(int.from_bytes(path[at : at + 8], "little") for at in (o.mnt, o.dentry)))
        return self.text(self._cpu.number(path + o.mnt), self._cpu.number(path + o.dentry))

    def text(self, mnt: int, dentry: int) -> bytes:
        """The text of a path whose members are known; b"" for what is none."""
        o = self.layout
        if not mnt or not dentry:
            return b""
        operations = self._cpu.number(dentry + o.d_op)
        own = self._cpu.number(operations + o.d_dname) if operations else 0
        alone = self._cpu.number(dentry + o.d_parent) == dentry
        if own and not (alone and dentry == self._cpu.number(mnt + o.mnt_root)):
            return self._own_name(own, dentry)
        found = self._walked(mnt, dentry) or b"/"
        return found if alone or self._cpu.number(dentry + o.d_hash) else found + _DELETED

    def _walked(self, mnt: int, dentry: int) -> bytes:
        """prepend_path(): names up to the root of the current task, or to the end of the tree for what that root does not have."""
        o = self.layout
        root = self._cpu.number(self._machine.current_address() + o.fs) + o.root
        end = self._cpu.number(root + o.mnt), self._cpu.number(root + o.dentry)
        found = b""
        for _ in range(_LONGEST):
            if (mnt, dentry) == end or len(found) >= _LONGEST:
                return found
            parent = self._cpu.number(dentry + o.d_parent)
            if dentry == self._cpu.number(mnt + o.mnt_root):
                mount = mnt - o.mount_mnt
                above = self._cpu.number(mount + o.mnt_parent)
                if above in (0, mount):
                    return found
                dentry, mnt = self._cpu.number(mount + o.mnt_mountpoint), above + o.mount_mnt
                continue
            if parent in (0, dentry):
                return found
            found = b"/" + self.name(dentry) + found
            dentry = parent
        return found

    def _own_name(self, function: int, dentry: int) -> bytes:
        symbol = self._machine.functions.symbol(function)
        make = _OWN_NAMES.get(symbol[0]) if symbol is not None else None
        return make(self, dentry) if make is not None else self.name(dentry)

    def name(self, dentry: int) -> bytes:
        """The last part."""
        return self._string(self._cpu.number(dentry + self.layout.d_name))

    def _inode(self, dentry: int) -> int:
        return self._cpu.number(dentry + self.layout.d_inode)

    def number(self, dentry: int) -> int:
        """That of the inode."""
        return self._cpu.number(self._inode(dentry) + self.layout.i_ino)

    def namespace(self, dentry: int) -> bytes:
        """The kind of a namespace's file."""
        operations = self._cpu.number(self._cpu.number(self._inode(dentry) + self.layout.i_private) + self.layout.ns_ops)
        return self._string(self._cpu.number(operations + self.layout.ns_name))

    def _string(self, address: int) -> bytes:
        return self._cpu.read_string(address, _LONGEST) or b""


_OWN_NAMES: dict[str, Callable[[Paths, int], bytes]] = {
    "pipefs_dname": lambda paths, dentry: b"pipe:[%d]" % paths.number(dentry),
    "sockfs_dname": lambda paths, dentry: b"socket:[%d]" % paths.number(dentry),
    "ns_dname": lambda paths, dentry: b"%s:[%d]" % (paths.namespace(dentry), paths.number(dentry)),
    "anon_inodefs_dname": lambda paths, dentry: b"anon_inode:" + paths.name(dentry),
    "pidfs_dname": lambda paths, dentry: b"anon_inode:[pidfd]",
    "dmabuffs_dname": lambda paths, dentry: b"/dmabuf:" + paths.name(dentry),
    "simple_dname": lambda paths, dentry: b"/" + paths.name(dentry) + _DELETED,
}
"""By the function that the kernel calls for it."""
