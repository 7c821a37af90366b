"""Files as a program in the guest sees them, read from outside while the guest stands still: for cat().

The guest's root is an overlay: what was changed lies in a tmpfs, all of which is in the guest's memory (its directory entries, and the
pages of its files), the rest is the host's view. Other tmpfs are read alike. What the guest's kernel makes only when somebody reads it, as
in /proc and /sys, cannot be had without running it.

Documentation/filesystems/{overlayfs,tmpfs}.rst, include/linux/{dcache,xarray,mount}.h of the kernel.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator
from functools import cached_property
from typing import TYPE_CHECKING, NamedTuple

from pyprobe.runtime.system.pagecache import PageCache, PageLayout
from pyprobe.runtime.system.ram import PAGE
from pyprobe.runtime.system.root.channel import HIDDEN_PID, UPPER, UPPER_FILES
from pyprobe.runtime.user.errors import Errno

if TYPE_CHECKING:
    from pyprobe.runtime.system.machine import SystemMachine
    from pyprobe.runtime.system.root.tree import Node

IN_MEMORY = frozenset({b"tmpfs", b"devtmpfs", b"ramfs", b"rootfs"})
MADE = "its content is made by the guest's kernel, when a program there reads it"
_OPAQUE = b"trusted.overlay.opaque"
_MOST_LINKS = 40  # in one path (MAXSYMLINKS)
_MOST = 1 << 16  # entries of a list


class Mount(NamedTuple):
    """A mount by its `struct vfsmount`. path: the names on the way there from the root."""

    path: tuple[bytes, ...]
    vfsmount: int


class Entry(NamedTuple):
    """A file: the inode in the guest's memory, or what the host shows of it. mode: as of stat(2)."""

    mode: int
    inode: int = 0
    node: Node | None = None


class GuestFiles:
    """Reads the kernel's structs."""

    def __init__(self, machine: SystemMachine) -> None:
        self._machine = machine
        self._of = machine.description.offset
        self._cpu = machine.processor

    def read(self, path: bytes, limit: int) -> bytes:
        """The beginning of a file, from the command's working directory if the path is relative. Raises OSError."""
        command = self._machine.channel.command
        whole = os.path.join(command.directory if command is not None else b"/", path)
        try:
            return self._beginning(whole, limit)
        except KeyError as missing:
            raise OSError(errno.ENOTSUP, f"this kernel's types have no {missing.args[0]}") from None

    def _beginning(self, path: bytes, limit: int) -> bytes:
        root = self._root()
        entry = self._resolve(root, self._mounts(root), path)
        if stat.S_ISDIR(entry.mode):
            raise _failure(errno.EISDIR)
        if not stat.S_ISREG(entry.mode):
            raise OSError(errno.ENOTSUP, MADE)
        if entry.node is None:
            return self._content(entry.inode, limit)
        try:
            return entry.node.read(0, limit)
        except Errno as error:
            raise _failure(error.errno) from None

    # the way there

    def _root(self) -> Mount:
        """The mount that init has for its root."""
        path = self._cpu.number(self._init() + self._of("task_struct", "fs")) + self._of("fs_struct", "root")
        return Mount((), self._cpu.number(path + self._of("path", "mnt")))

    def _init(self) -> int:
        """The struct task_struct of init. Raises OSError before there is one."""
        init = self._machine.tasks.get(HIDDEN_PID)
        if init is None:
            raise _failure(errno.ENOENT)
        return init.address

    def _mounts(self, root: Mount) -> list[Mount]:
        """The mounts at and below one, those that lie on others behind these."""
        found: list[Mount] = []
        pending = [root]
        while pending and len(found) < _MOST:
            mount = pending.pop(0)
            found.append(mount)
            pending += self._children(mount)
        return found

    def _children(self, mount: Mount) -> Iterator[Mount]:
        of, inner = self._of, self._of("mount", "mnt")
        for child in self._list(mount.vfsmount - inner + of("mount", "mnt_mounts"), of("mount", "mnt_child")):
            at = self._cpu.number(child + of("mount", "mnt_mountpoint"))
            names: list[bytes] = []
            top = self._cpu.number(mount.vfsmount + of("vfsmount", "mnt_root"))
            while at != top and len(names) < _MOST_LINKS:
                names.append(self._name(at))
                at = self._cpu.number(at + of("dentry", "d_parent"))
            yield Mount((*mount.path, *reversed(names)), child + inner)

    def _resolve(self, root: Mount, mounts: list[Mount], path: bytes) -> Entry:
        todo, done, links = [*filter(None, path.split(b"/"))], list[bytes](), 0
        entry = self._at(root, mounts, done)
        while todo:
            name = todo.pop(0)
            if name == b"..":
                del done[-1:]
            if name in (b".", b".."):
                continue
            entry = self._at(root, mounts, [*done, name])
            if stat.S_ISLNK(entry.mode):
                links += 1
                if links > _MOST_LINKS:
                    raise _failure(errno.ELOOP)
                target = self._target(entry)
                done = [] if target.startswith(b"/") else done
                todo[:0] = filter(None, target.split(b"/"))
                continue
            if todo and not stat.S_ISDIR(entry.mode):
                raise _failure(errno.ENOTDIR)
            done.append(name)
        return self._at(root, mounts, done)

    def _at(self, root: Mount, mounts: list[Mount], names: list[bytes]) -> Entry:
        """The file at a path without links. Raises OSError."""
        mount = max((m for m in mounts if tuple(names[: len(m.path)]) == m.path), key=lambda m: len(m.path))
        rest = names[len(mount.path) :]
        kind = self._kind(mount)
        top = self._cpu.number(mount.vfsmount + self._of("vfsmount", "mnt_root"))
        if kind == b"overlay" and mount == root:
            return self._merged(root, rest)
        if kind not in IN_MEMORY:
            if rest:
                raise OSError(errno.ENOTSUP, MADE)
            return Entry(stat.S_IFDIR)
        for name in rest:
            top = self._child(top, name)
        return self._entry(top)

    def _merged(self, root: Mount, names: list[bytes]) -> Entry:
        """A file of the root: changed, or as the host has it."""
        upper, lower = self._upper(root), self._machine.channel.root
        for name in names:
            changed = self._child(upper, name) if upper else 0
            try:
                lower = lower.lookup(name) if lower is not None and stat.S_ISDIR(lower.status.mode) else None
            except Errno as error:
                raise _failure(error.errno) from None
            if changed:
                found = self._entry(changed)
                if stat.S_ISCHR(found.mode) and not self._cpu.number(found.inode + self._of("inode", "i_rdev"), 4):
                    raise _failure(errno.ENOENT)  # what says that there is none any more
                if not stat.S_ISDIR(found.mode) or self._opaque(found.inode):
                    lower = None
            upper = changed
        if upper:
            return self._entry(upper)
        if lower is None:
            raise _failure(errno.ENOENT)
        return Entry(lower.status.mode, node=lower)

    def _upper(self, root: Mount) -> int:
        """The directory of what was changed, by its dentry."""
        of, inner = self._of, self._of("mount", "mnt")
        beside = self._cpu.number(root.vfsmount - inner + of("mount", "mnt_parent"))
        for child in self._list(beside + of("mount", "mnt_mounts"), of("mount", "mnt_child")):
            if self._name(self._cpu.number(child + of("mount", "mnt_mountpoint"))) == UPPER:
                return self._child(self._cpu.number(child + inner + of("vfsmount", "mnt_root")), UPPER_FILES)
        return 0

    # file systems in memory

    def _kind(self, mount: Mount) -> bytes:
        block = self._cpu.number(mount.vfsmount + self._of("vfsmount", "mnt_sb"))
        kind = self._cpu.number(block + self._of("super_block", "s_type"))
        return self._text(self._cpu.number(kind + self._of("file_system_type", "name")))

    def _child(self, directory: int, name: bytes) -> int:
        """The dentry of a name in a directory all of whose entries are in memory; 0 without one."""
        of = self._of
        if self._has("dentry", "d_subdirs"):  # until Linux 6.8
            entries = self._list(directory + of("dentry", "d_subdirs"), of("dentry", "d_child"))
        else:
            entries = self._chain(directory + of("dentry", "d_children", "first"), of("dentry", "d_sib", "next"))
        inode = of("dentry", "d_inode")
        return next((entry for entry in entries if self._name(entry) == name and self._cpu.number(entry + inode)), 0)

    def _entry(self, dentry: int) -> Entry:
        inode = self._cpu.number(dentry + self._of("dentry", "d_inode")) if dentry else 0
        if not inode:
            raise _failure(errno.ENOENT)
        return Entry(self._cpu.number(inode + self._of("inode", "i_mode"), 2), inode)

    def _target(self, entry: Entry) -> bytes:
        if entry.node is not None:
            try:
                return entry.node.readlink()
            except Errno as error:
                raise _failure(error.errno) from None
        short = self._cpu.number(entry.inode + self._of("inode", "i_link"))
        return self._text(short) if short else self._content(entry.inode, PAGE).rstrip(b"\0")

    def _content(self, inode: int, limit: int) -> bytes:
        """Of a file, page by page; holes are zeros."""
        cache, start = self._cache, self._frames()
        size, mapping = min(cache.size(inode), limit), cache.mapping(inode)
        pages = (cache.content(cache.page(mapping, index), start) or bytes(PAGE) for index in range(-(-size // PAGE)))
        return b"".join(pages)[:size]

    @cached_property
    def _cache(self) -> PageCache:
        return PageCache(self._cpu, PageLayout.of(self._machine.description))

    def _frames(self) -> int:
        """Where the array of struct page begins: the pages of init's stack tell."""
        of, task = self._of, self._init()
        area = self._cpu.number(task + of("task_struct", "stack_vm_area"))
        page = self._cpu.number(self._cpu.number(area + of("vm_struct", "pages")))
        number = self._cpu.translate(self._cpu.number(area + of("vm_struct", "addr"))) // PAGE
        return page - number * self._machine.description.size("struct page")

    def _opaque(self, inode: int) -> bool:
        """Whether a directory hides the host's: it was made where one had been removed."""
        of = self._of
        attributes = inode - of("shmem_inode_info", "vfs_inode") + of("shmem_inode_info", "xattrs")
        name = of("simple_xattr", "name")
        for member in ("list", "node"):  # a list until Linux 6.2, a tree, and a list again, under its third name
            if self._has("simple_xattr", member):
                found = self._list(attributes, of("simple_xattr", member))
                break
        else:
            found = self._tree(self._cpu.number(attributes), of("simple_xattr", "rb_node"))
        return any(self._text(self._cpu.number(attribute + name)) == _OPAQUE for attribute in found)

    def _has(self, struct: str, member: str) -> bool:
        try:
            return self._of(struct, member) >= 0
        except KeyError:
            return False

    # the kernel's lists

    def _list(self, head: int, member: int) -> Iterator[int]:
        """The structs on a list_head, by where they have theirs."""
        at = self._cpu.number(head)
        for _ in range(_MOST):
            if at in (0, head):
                return
            yield at - member
            at = self._cpu.number(at)

    def _chain(self, first: int, following: int) -> Iterator[int]:
        """The same for an hlist. following: where `next` lies in the struct."""
        at = self._cpu.number(first)
        for _ in range(_MOST):
            if not at:
                return
            yield at - following
            at = self._cpu.number(at)

    def _tree(self, node: int, member: int) -> Iterator[int]:
        """The same for a tree of rb_node."""
        if node:
            yield node - member
            yield from self._tree(self._cpu.number(node + self._of("rb_node", "rb_left")), member)
            yield from self._tree(self._cpu.number(node + self._of("rb_node", "rb_right")), member)

    def _name(self, dentry: int) -> bytes:
        return self._text(self._cpu.number(dentry + self._of("dentry", "d_name", "name")))

    def _text(self, address: int) -> bytes:
        return self._cpu.read_string(address, PAGE) or b""


def _failure(number: int) -> OSError:
    return OSError(number, os.strerror(number))
