"""inotify(7): who watches which files, and what is told (fs/notify/, include/linux/fsnotify.h)."""

from __future__ import annotations

import errno
import struct
from collections import deque
from typing import TYPE_CHECKING, Final

from pyprobe.runtime.user.errors import Block, Errno
from pyprobe.runtime.user.vfs.abi import FIONREAD, O_RDONLY, READABLE
from pyprobe.runtime.user.vfs.anon import anonymous_dentry
from pyprobe.runtime.user.vfs.openfile import OpenFile, Position
from pyprobe.runtime.user.vfs.views import Views, scatter

if TYPE_CHECKING:
    from pyprobe.runtime.user.kernel import Kernel
    from pyprobe.runtime.user.task import Task
    from pyprobe.runtime.user.vfs.inode import Dentry, Inode

IN_ACCESS, IN_MODIFY, IN_ATTRIB, IN_CLOSE_WRITE, IN_CLOSE_NOWRITE, IN_OPEN = 0x1, 0x2, 0x4, 0x8, 0x10, 0x20
IN_MOVED_FROM, IN_MOVED_TO, IN_CREATE, IN_DELETE, IN_DELETE_SELF, IN_MOVE_SELF = 0x40, 0x80, 0x100, 0x200, 0x400, 0x800
IN_ALL_EVENTS: Final = 0xFFF
IN_Q_OVERFLOW, IN_IGNORED = 0x4000, 0x8000
IN_ONLYDIR, IN_DONT_FOLLOW, IN_EXCL_UNLINK, IN_MASK_CREATE = 0x01000000, 0x02000000, 0x04000000, 0x10000000
IN_MASK_ADD, IN_ISDIR, IN_ONESHOT = 0x20000000, 0x40000000, 0x80000000

MAX_QUEUED_EVENTS: Final = 16384
MAX_USER_WATCHES: Final = 65536
_EVENT: Final = struct.Struct("<iIII")
_NAME_UNIT: Final = 16  # names are padded to the size of the structure


class Watch:
    """One inode in one inotify instance."""

    __slots__ = ("file", "inode", "mask", "number")

    def __init__(self, file: InotifyFile, inode: Inode, number: int, mask: int) -> None:
        self.file = file
        self.inode = inode
        self.number = number
        self.mask = mask


class InotifyFile(OpenFile):
    """An inotify instance: watches by number, events that wait to be read as (number, mask, cookie, name)."""

    def __init__(self, k: Kernel, flags: int) -> None:
        super().__init__(anonymous_dentry(k, b"inotify"), flags | O_RDONLY)
        self.watches: dict[int, Watch] = {}
        self._events: deque[tuple[int, int, int, bytes]] = deque()
        self._added = 0
        self._last = 0

    def add(self, k: Kernel, inode: Inode, mask: int) -> int:
        """Watch an inode, or change what it is watched for; the watch's number. Raises Errno(EEXIST, ENOSPC)."""
        kept = mask & (IN_ALL_EVENTS | IN_EXCL_UNLINK | IN_ONESHOT)
        known = next((w for w in k.vfs.notifier.watches.get(inode, ()) if w.file is self), None)
        if known is not None:
            if mask & IN_MASK_CREATE:
                raise Errno(errno.EEXIST)
            known.mask = known.mask | kept if mask & IN_MASK_ADD else kept
            return known.number
        if len(self.watches) >= MAX_USER_WATCHES:
            raise Errno(errno.ENOSPC)
        self._last += 1
        watch = self.watches[self._last] = Watch(self, inode, self._last, kept)
        k.vfs.notifier.add(watch)
        return watch.number

    def remove(self, k: Kernel, number: int) -> None:
        """End a watch, which is an event too. Raises Errno(EINVAL)."""
        watch = self.watches.pop(number, None)
        if watch is None:
            raise Errno(errno.EINVAL)
        k.vfs.notifier.remove(watch)
        self.put(number, IN_IGNORED, 0, b"")

    def put(self, number: int, mask: int, cookie: int, name: bytes) -> None:
        """Queue an event, unless it is the same as the last one."""
        event = (number, mask, cookie, name)
        if self._events and self._events[-1] == event:
            return
        if len(self._events) >= MAX_QUEUED_EVENTS:
            event = (-1, IN_Q_OVERFLOW, 0, b"")
            if self._events[-1] == event:
                return
        self._events.append(event)
        self._added += 1

    def read(self, k: Kernel, t: Task, views: Views, position: Position) -> int:
        room = sum(map(len, views))
        if not self._events:
            self.wait_flags()
            raise Block(lambda: self._events, why="a change of a file")
        records = b""
        while self._events:
            record = _pack(self._events[0])
            if len(records) + len(record) > room:
                break
            records += record
            self._events.popleft()
        if not records:
            raise Errno(errno.EINVAL)
        return scatter(views, records)

    def poll(self, k: Kernel, t: Task) -> int:
        return READABLE if self._events else 0

    def edges(self) -> tuple[int, int]:
        return self._added, 0

    def ioctl(self, k: Kernel, t: Task, request: int, argument: int) -> int:
        if request == FIONREAD:
            t.space.write(argument, struct.pack("<i", sum(len(_pack(event)) for event in self._events)))
            return 0
        return super().ioctl(k, t, request, argument)

    def close(self, k: Kernel) -> None:
        for watch in self.watches.values():
            k.vfs.notifier.remove(watch)


def _pack(event: tuple[int, int, int, bytes]) -> bytes:
    number, mask, cookie, name = event
    length = (len(name) // _NAME_UNIT + 1) * _NAME_UNIT if name else 0
    return _EVENT.pack(number, mask, cookie, length) + name.ljust(length, b"\0")


class Notifier:
    """All watches of the machine. Whoever changes files asks `any` first: there is nothing to tell as long as nobody watches."""

    def __init__(self) -> None:
        self.watches: dict[Inode, list[Watch]] = {}
        self.any = False
        self._cookie = 0

    def add(self, watch: Watch) -> None:
        """A new watch."""
        self.watches.setdefault(watch.inode, []).append(watch)
        self.any = True

    def remove(self, watch: Watch) -> None:
        """A watch is over."""
        left = [one for one in self.watches.get(watch.inode, ()) if one is not watch]
        if left:
            self.watches[watch.inode] = left
        else:
            self.watches.pop(watch.inode, None)
        self.any = bool(self.watches)

    def _tell(self, k: Kernel, inode: Inode, mask: int, cookie: int, name: bytes, *, unlinked: bool = False) -> None:
        for watch in list(self.watches.get(inode, ())):
            if not watch.mask & mask or (unlinked and watch.mask & IN_EXCL_UNLINK):
                continue
            watch.file.put(watch.number, mask, cookie, name)
            if watch.mask & IN_ONESHOT:
                watch.file.remove(k, watch.number)

    def event(self, k: Kernel, dentry: Dentry, mask: int) -> None:
        """Something happened to a file: tell who watches it or its directory (fsnotify_dentry)."""
        inode = dentry.inode
        if inode is None:
            return
        directory = IN_ISDIR if inode.is_directory else 0
        parent = dentry.parent
        if parent is not dentry and parent.inode is not None:
            self._tell(k, parent.inode, mask | directory, 0, dentry.name, unlinked=dentry.removed)
        self._tell(k, inode, mask | directory, 0, b"")

    def entry(self, k: Kernel, dentry: Dentry, inode: Inode, mask: int) -> None:
        """A name of a directory came or went."""
        if dentry.parent.inode is not None:
            self._tell(k, dentry.parent.inode, mask | (IN_ISDIR if inode.is_directory else 0), 0, dentry.name)

    def links(self, k: Kernel, inode: Inode) -> None:
        """The file has a name more or less (fsnotify_link_count)."""
        self._tell(k, inode, IN_ATTRIB, 0, b"")

    def unlinked(self, k: Kernel, dentry: Dentry, inode: Inode, *, replaced: bool) -> None:
        """A name was removed, or (replaced) another file was moved over it."""
        if not inode.is_directory:
            self.links(k, inode)
        if not replaced:
            self.entry(k, dentry, inode, IN_DELETE)
        self.gone(k, inode)

    def gone(self, k: Kernel, inode: Inode) -> None:
        """If no name and no open file is left, the inode is no more: its watches end."""
        if inode.nlink or inode.users:
            return
        for watch in list(self.watches.get(inode, ())):
            if watch.mask & IN_DELETE_SELF:
                watch.file.put(watch.number, IN_DELETE_SELF, 0, b"")
            watch.file.remove(k, watch.number)

    def moved(self, k: Kernel, dentry: Dentry, before: tuple[Dentry, bytes]) -> None:
        """A file has another name than before (fsnotify_move)."""
        inode = dentry.require()
        directory = IN_ISDIR if inode.is_directory else 0
        self._cookie += 1
        parent, name = before
        self._tell(k, parent.require(), IN_MOVED_FROM | directory, self._cookie, name)
        self._tell(k, dentry.parent.require(), IN_MOVED_TO | directory, self._cookie, dentry.name)
        self._tell(k, inode, IN_MOVE_SELF, 0, b"")
