"""epoll(7): sets of files whose readiness is asked together."""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING, Final

from pyprobe.runtime.user.errors import Errno
from pyprobe.runtime.user.vfs.abi import O_RDWR, POLLERR, POLLHUP, READABLE, WRITABLE
from pyprobe.runtime.user.vfs.inode import Dentry
from pyprobe.runtime.user.vfs.openfile import OpenFile

if TYPE_CHECKING:
    from pyprobe.runtime.user.kernel import Kernel
    from pyprobe.runtime.user.task import Task

EPOLLET: Final = 1 << 31
EPOLLONESHOT: Final = 1 << 30
EPOLLEXCLUSIVE: Final = 1 << 28
_PRIVATE: Final = EPOLLET | EPOLLONESHOT | EPOLLEXCLUSIVE | 1 << 29  # EPOLLWAKEUP
_MAX_NESTS: Final = 4


class Item:
    """One watched file; `seen`: what had happened to it when it was last reported, for edge triggering."""

    __slots__ = ("data", "descriptor", "events", "file", "seen", "seen_mask")

    def __init__(self, descriptor: int, file: OpenFile, events: int, data: int) -> None:
        self.descriptor = descriptor
        self.file = file
        self.set(events, data)

    def set(self, events: int, data: int) -> None:
        """Watch for these events from now on, as if nothing had been reported."""
        self.events = events
        self.data = data
        self.seen = (-1, -1)
        self.seen_mask = 0

    def ready(self, k: Kernel, t: Task) -> int:
        """The events to report now."""
        wanted = self.events & ~_PRIVATE
        if not wanted:
            return 0  # a one-shot that has fired, or disabled
        mask = self.file.poll(k, t) & (wanted | POLLERR | POLLHUP)
        if not self.events & EPOLLET:
            return mask
        arrived, drained = self.file.edges()
        new = mask & ~self.seen_mask
        if arrived != self.seen[0]:
            new |= mask & ~WRITABLE
        if drained != self.seen[1]:
            new |= mask & ~READABLE
        if not new:
            self.seen_mask &= mask
            return 0
        return mask

    def reported(self, mask: int) -> None:
        """These events have been given to the program."""
        if self.events & EPOLLONESHOT:
            self.events &= _PRIVATE
        self.seen = self.file.edges()
        self.seen_mask = mask


class EpollFile(OpenFile):
    """An epoll instance. Files are asked in the order they were added; those just reported go to the end."""

    def __init__(self, dentry: Dentry, flags: int) -> None:
        super().__init__(dentry, flags | O_RDWR)
        self._items: dict[tuple[int, int], Item] = {}

    def _live(self) -> list[Item]:
        closed = [key for key, item in self._items.items() if item.file.references <= 0]
        for key in closed:
            del self._items[key]
        return list(self._items.values())

    def files(self) -> list[OpenFile]:
        """The watched files."""
        return [item.file for item in self._live()]

    def add(self, descriptor: int, file: OpenFile, events: int, data: int) -> None:
        """EPOLL_CTL_ADD.

        Raises:
            Errno: EEXIST; ELOOP: epoll instances that watch each other.
        """
        self._live()
        key = (descriptor, id(file))
        if key in self._items:
            raise Errno(errno.EEXIST)
        if isinstance(file, EpollFile):
            file.check_nesting(self, 1)
        self._items[key] = Item(descriptor, file, events, data)

    def check_nesting(self, outer: EpollFile, depth: int) -> None:
        """Raises Errno(ELOOP) when `outer` is among what this watches, or the nesting is too deep."""
        if self is outer or depth > _MAX_NESTS:
            raise Errno(errno.ELOOP)
        for file in self.files():
            if isinstance(file, EpollFile):
                file.check_nesting(outer, depth + 1)

    def item(self, descriptor: int, file: OpenFile) -> Item:
        """The watch on a file (for EPOLL_CTL_MOD).

        Raises:
            Errno: ENOENT.
        """
        found = self._items.get((descriptor, id(file)))
        if found is None:
            raise Errno(errno.ENOENT)
        return found

    def target(self, descriptor: int, offset: int) -> OpenFile:
        """The file watched under a descriptor; `offset`: which of those that were (kcmp(2), KCMP_EPOLL_TFD).

        Raises:
            Errno: ENOENT.
        """
        self._live()
        found = [item.file for item in self._items.values() if item.descriptor == descriptor]
        if offset >= len(found):
            raise Errno(errno.ENOENT)
        return found[offset]

    def remove(self, descriptor: int, file: OpenFile) -> None:
        """EPOLL_CTL_DEL.

        Raises:
            Errno: ENOENT.
        """
        self.item(descriptor, file)
        del self._items[descriptor, id(file)]

    def ready(self, k: Kernel, t: Task, *, outside: bool = True) -> bool:
        """Whether there is something to report; `outside` False: leave out files that wait for the host."""
        return any(item.ready(k, t) for item in self._live() if outside or not item.file.host)

    def collect(self, k: Kernel, t: Task, limit: int) -> list[tuple[int, int]]:
        """Up to `limit` reports: (events, data)."""
        found: list[tuple[int, int]] = []
        for item in self._live():
            mask = item.ready(k, t)
            if mask:
                found.append((mask, item.data))
                item.reported(mask)
                key = (item.descriptor, id(item.file))
                self._items[key] = self._items.pop(key)
                if len(found) == limit:
                    break
        return found

    def poll(self, k: Kernel, t: Task) -> int:
        return READABLE if self.ready(k, t) else 0

    def edges(self) -> tuple[int, int]:
        pairs = [item.file.edges() for item in self._live()]
        return sum(pair[0] for pair in pairs), sum(pair[1] for pair in pairs)

    @property
    def host(self) -> tuple[tuple[int, int], ...]:  # type: ignore[override]  # changes with what is watched
        return tuple(entry for item in self._live() for entry in item.file.host)
