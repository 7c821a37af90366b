"""Path resolution, component by component, over our own dentries: path_resolution(7), fs/namei.c.

`..` never leads above the root of the walk, links are followed by us alone, and at most 40 of them.
"""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING, NamedTuple

from pyprobe.runtime.user.capabilities import CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH
from pyprobe.runtime.user.errors import Errno
from pyprobe.runtime.user.vfs.abi import (
    MAX_SYMLINKS,
    PATH_MAX,
    RESOLVE_BENEATH,
    RESOLVE_IN_ROOT,
    RESOLVE_NO_MAGICLINKS,
    RESOLVE_NO_SYMLINKS,
    RESOLVE_NO_XDEV,
    S_IFDIR,
    S_IFLNK,
    S_IFMT,
    X_OK,
)
from pyprobe.runtime.user.vfs.inode import Dentry
from pyprobe.runtime.user.vfs.permission import check

if TYPE_CHECKING:
    from pyprobe.runtime.user.kernel import Kernel
    from pyprobe.runtime.user.task import Task


_NO_ENTRY = (b"", b".", b"..")


class Place(NamedTuple):
    """Where the last component of a path stands.

    parent: the directory; name: the last component, or b"." / b".." / b"" (the path was only slashes) when there is no
    entry to make or remove; slash: it was followed by a slash, so it has to be a directory.
    """

    parent: Dentry
    name: bytes
    slash: bool

    @property
    def is_entry(self) -> bool:
        """Whether the last component is an ordinary name."""
        return self.name not in _NO_ENTRY


SEARCHES = 1 << CAP_DAC_OVERRIDE | 1 << CAP_DAC_READ_SEARCH


class Walk:
    """One path resolution of a task.

    Args:
        start: where a relative path begins.
        resolve: RESOLVE_* restrictions of openat2(2).
    """

    __slots__ = ("_beneath", "_k", "_links", "_no_xdev", "_privileged", "_resolve", "_root", "_start", "_t")

    def __init__(self, k: Kernel, t: Task, start: Dentry, resolve: int = 0) -> None:
        self._k = k
        self._t = t
        self._start = start
        self._links = 0
        self._resolve = resolve
        self._beneath = bool(resolve & RESOLVE_BENEATH)
        self._no_xdev = bool(resolve & RESOLVE_NO_XDEV)
        self._privileged = bool(t.cred.cap_effective & SEARCHES)  # may search every directory
        self._root = start if resolve & (RESOLVE_IN_ROOT | RESOLVE_BENEATH) else t.process.fs.root

    def find(self, path: bytes, *, follow: bool = True) -> Dentry:
        """The dentry of an existing file; `follow`: through a link in the last component too.

        Raises:
            Errno: ENOENT, ENOTDIR, ELOOP, EACCES, ENAMETOOLONG, EXDEV.
        """
        found = self.look(path, follow=follow)
        if found.inode is None:
            raise Errno(errno.ENOENT)
        return found

    def look(self, path: bytes, *, follow: bool = True) -> Dentry:
        """Like `find`, but the last name may lead nowhere: then its negative dentry."""
        if path not in _NO_ENTRY and b"/" not in path:  # what programs that walk a tree ask all the time
            return self._step(self._start, path, follow)
        return self.finish(self.place(path), follow=follow)

    def finish(self, place: Place, *, follow: bool = True) -> Dentry:
        """Take the last step of a walk that `place` began."""
        at, name, slash = place
        if name in (b"", b"."):
            found = at
        elif name == b"..":
            found = self._up(at)
        else:
            found = self._step(at, name, follow or slash)
        if slash and found.inode is not None and not found.inode.is_directory:
            raise Errno(errno.ENOTDIR)
        return found

    def place(self, path: bytes) -> Place:
        """Everything but the last component.

        Raises:
            Errno: as `find`; ENOENT for an empty path.
        """
        if not path:
            raise Errno(errno.ENOENT)
        if len(path) >= PATH_MAX:
            raise Errno(errno.ENAMETOOLONG)
        return self._place(self._start, path)

    def through(self, at: Dentry, link: Dentry) -> Place:
        """Where a link found in `at` leads, without taking the last step; a magic link's target is the place itself."""
        target, text = self._read(link)
        if target is not None:
            return Place(target, b"", False)
        return self._place(at, text)

    def _place(self, at: Dentry, path: bytes) -> Place:
        if path[0] == 0x2F:
            if self._beneath:
                raise Errno(errno.EXDEV)
            at = self._root
        names = [name for name in path.split(b"/") if name]
        if not names:
            return Place(at, b"", True)
        last = names.pop()
        for name in names:
            if name == b".":
                continue
            at = self._up(at) if name == b".." else self._step(at, name, True)
            if at.inode is None:
                raise Errno(errno.ENOENT)
        self._enter(at)
        return Place(at, last, path[-1] == 0x2F)

    def _enter(self, at: Dentry) -> None:
        inode = at.require()
        if inode.mode & S_IFMT != S_IFDIR:
            raise Errno(errno.ENOTDIR)
        if not self._privileged:
            check(self._t, inode, X_OK)

    def _up(self, at: Dentry) -> Dentry:
        self._enter(at)
        if at is self._root:
            if self._beneath:
                raise Errno(errno.EXDEV)
            return at
        return self._cross(at, at.parent)

    def _cross(self, at: Dentry, found: Dentry) -> Dentry:
        if self._no_xdev and found.inode is not None and found.inode.fs is not at.require().fs:
            raise Errno(errno.EXDEV)
        return found

    def _step(self, at: Dentry, name: bytes, follow: bool) -> Dentry:
        inode = at.inode
        if inode is None:
            raise Errno(errno.ENOENT)
        if inode.mode & S_IFMT != S_IFDIR:
            raise Errno(errno.ENOTDIR)
        if not self._privileged:
            check(self._t, inode, X_OK)
        found = at.children.get(name)
        if found is None:
            found = at.child(self._k, self._t, name)
        if follow and found.inode is not None and found.inode.mode & S_IFMT == S_IFLNK:
            return self._follow(at, found)
        return self._cross(at, found) if self._no_xdev else found

    def _read(self, link: Dentry) -> tuple[Dentry | None, bytes]:
        """A link's target if it is a magic one, else its text."""
        self._links += 1
        if self._links > MAX_SYMLINKS or self._resolve & RESOLVE_NO_SYMLINKS:
            raise Errno(errno.ELOOP)
        inode = link.require()
        target = inode.jump(self._k, self._t)
        if target is not None:
            if self._resolve & (RESOLVE_NO_MAGICLINKS | RESOLVE_BENEATH | RESOLVE_IN_ROOT):
                raise Errno(errno.EXDEV if self._beneath else errno.ELOOP)
            return target, b""
        text = inode.readlink(self._k, self._t)
        if not text:
            raise Errno(errno.ENOENT)
        return None, text

    def _follow(self, at: Dentry, link: Dentry) -> Dentry:
        target, text = self._read(link)
        return target if target is not None else self.finish(self._place(at, text))
