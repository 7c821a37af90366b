"""What a process has of the file world: its descriptors, and its directories and umask."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from typing import TYPE_CHECKING

from pyprobe.runtime.user.errors import Errno
from pyprobe.runtime.user.words import s32

if TYPE_CHECKING:
    from pyprobe.runtime.user.kernel import Kernel
    from pyprobe.runtime.user.vfs.inode import Dentry
    from pyprobe.runtime.user.vfs.openfile import OpenFile


class FileTable:
    """Descriptors of one process, or of several that share them (CLONE_FILES); `users` counts those."""

    def __init__(self) -> None:
        self._files: dict[int, OpenFile] = {}
        self._close_on_exec: set[int] = set()
        self._lowest = 0  # no free descriptor lies below
        self.users = 1

    def __len__(self) -> int:
        return len(self._files)

    @property
    def lowest(self) -> int:
        """No free descriptor lies below."""
        return self._lowest

    def __iter__(self) -> Iterator[tuple[int, OpenFile]]:
        """(descriptor, file), by descriptor."""
        return iter(sorted(self._files.items()))

    def get(self, descriptor: int) -> OpenFile:
        """The file behind a descriptor, given as a system call's argument.

        Raises:
            Errno: EBADF.
        """
        file = self._files.get(descriptor)
        if file is None:
            file = self._files.get(s32(descriptor))
            if file is None:
                raise Errno(errno.EBADF)
        return file

    def find(self, descriptor: int) -> OpenFile | None:
        """The file behind a descriptor, or None."""
        return self._files.get(descriptor)

    def add(self, file: OpenFile, *, limit: int, close_on_exec: bool = False, lowest: int = 0) -> int:
        """Give `file` the lowest free descriptor from `lowest` on; the caller's reference becomes the table's.

        limit: RLIMIT_NOFILE.

        Raises:
            Errno: EMFILE.
        """
        files = self._files
        descriptor = max(lowest, self._lowest)
        while descriptor in files:
            descriptor += 1
        if descriptor >= limit:
            raise Errno(errno.EMFILE)
        if lowest <= self._lowest:
            self._lowest = descriptor + 1
        files[descriptor] = file
        self._mark(descriptor, close_on_exec)
        return descriptor

    def put(self, k: Kernel, descriptor: int, file: OpenFile, *, close_on_exec: bool = False) -> None:
        """Give `file` this very descriptor, closing what it was before (dup2)."""
        old = self._files.get(descriptor)
        self._files[descriptor] = file
        self._mark(descriptor, close_on_exec)
        if old is not None:
            k.filp_close(old, self)

    def _mark(self, descriptor: int, close_on_exec: bool) -> None:
        if close_on_exec:
            self._close_on_exec.add(descriptor)
        else:
            self._close_on_exec.discard(descriptor)

    def remove(self, descriptor: int) -> OpenFile:
        """Free a descriptor; the caller gets its reference.

        Raises:
            Errno: EBADF.
        """
        file = self._files.pop(descriptor, None)
        if file is None:
            raise Errno(errno.EBADF)
        self._close_on_exec.discard(descriptor)
        self._lowest = min(self._lowest, descriptor)
        return file

    def closes_on_exec(self, descriptor: int) -> bool:
        """FD_CLOEXEC."""
        return descriptor in self._close_on_exec

    def set_close_on_exec(self, descriptor: int, on: bool) -> None:
        """Set or clear FD_CLOEXEC."""
        self._mark(descriptor, on)

    def copy(self) -> FileTable:
        """What fork gives the child: the same open files."""
        other = FileTable()
        other._files = dict(self._files)
        other._close_on_exec = set(self._close_on_exec)
        other._lowest = self._lowest
        for file in self._files.values():
            file.references += 1
        return other

    def exec(self, k: Kernel) -> None:
        """Close what is marked close-on-exec."""
        for descriptor in sorted(self._close_on_exec):
            k.filp_close(self.remove(descriptor), self)

    def release(self, k: Kernel) -> None:
        """One user is gone; the last one closes everything."""
        self.users -= 1
        if self.users == 0:
            for descriptor, _ in list(self):
                k.filp_close(self.remove(descriptor), self)


class FsContext:
    """struct fs_struct: root, working directory and umask; `users` counts the tasks that share it (CLONE_FS)."""

    def __init__(self, root: Dentry, cwd: Dentry, umask: int = 0o022) -> None:
        self.root = root
        self.cwd = cwd
        self.umask = umask
        self.users = 1

    def copy(self) -> FsContext:
        """What fork gives the child."""
        return FsContext(self.root, self.cwd, self.umask)

    def release(self) -> None:
        """One user is gone."""
        self.users -= 1
