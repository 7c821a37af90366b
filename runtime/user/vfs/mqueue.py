"""POSIX message queues as open files: mq_overview(7), ipc/mqueue.c."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Final

from pyprobe.runtime.user.signals import SigInfo, send_to_process
from pyprobe.runtime.user.vfs.abi import READABLE, S_IFREG, WRITABLE
from pyprobe.runtime.user.vfs.inode import FileSystem, Inode
from pyprobe.runtime.user.vfs.openfile import OpenFile, Position
from pyprobe.runtime.user.vfs.views import Views, scatter

if TYPE_CHECKING:
    from pyprobe.runtime.user.kernel import Kernel
    from pyprobe.runtime.user.task import Process, Task
    from pyprobe.runtime.user.vfs.netlink import NetlinkSocket

SI_MESGQ: Final = -3
DEFAULT_COUNT, DEFAULT_SIZE = 10, 8192
COUNT_MAX, SIZE_MAX = 65536, 16 << 20  # hard limits, of root
COUNT_LIMIT, SIZE_LIMIT = 10, 8192  # fs.mqueue.msg_max, msgsize_max: of others


NOTIFY_NONE, NOTIFY_WOKENUP, NOTIFY_REMOVED = range(3)  # the last byte of a cookie


class Notification:
    """Who is told when a message comes into the empty queue, and how (mq_notify(3)).

    signo: the signal, or 0. socket, cookie: where the C library's helper thread waits (SIGEV_THREAD), and what it is to read there.
    """

    def __init__(self, process: Process, signo: int, value: int, socket: NetlinkSocket | None = None, cookie: bytes = b"") -> None:
        self.process = process
        self.signo = signo
        self.value = value
        self.socket = socket
        self.cookie = cookie

    def tell(self, k: Kernel, t: Task) -> None:
        """A message has come."""
        if self.socket is not None:
            self._wake(NOTIFY_WOKENUP)
        elif self.signo and self.process.alive:
            send_to_process(k, self.process, SigInfo(self.signo, SI_MESGQ, struct.pack("<iIQ", t.pid, t.uid, self.value)))

    def removed(self) -> None:
        """Nobody is to be told any more."""
        if self.socket is not None:
            self._wake(NOTIFY_REMOVED)

    def _wake(self, why: int) -> None:
        assert self.socket is not None
        self.socket.deliver(self.cookie[:-1] + bytes([why]))


class QueueInode(Inode):
    """One queue: messages as (priority, bytes), the highest priority first and the oldest first within it.

    notify: who is told when a message comes into the empty queue.
    """

    __slots__ = ("arrived", "count", "drained", "messages", "notify", "readers", "size_limit")

    def __init__(self, fs: FileSystem, mode: int, now: int, count: int, size: int) -> None:
        super().__init__(fs, fs.number(), S_IFREG | mode, now)
        self.count = count
        self.size_limit = size
        self.messages: list[tuple[int, bytes]] = []
        self.notify: Notification | None = None
        self.readers = 0  # tasks that wait for a message: they come before a notification
        self.arrived = self.drained = 0

    def size(self) -> int:
        return 80  # FILENT_SIZE

    def put(self, k: Kernel, t: Task, priority: int, text: bytes) -> None:
        """A message comes."""
        at = next((i for i, (other, _) in enumerate(self.messages) if other < priority), len(self.messages))
        empty = not self.messages
        self.messages.insert(at, (priority, text))
        self.arrived += 1
        if empty and self.notify is not None and not self.readers:
            notified, self.notify = self.notify, None
            notified.tell(k, t)

    def forget(self, process: Process) -> None:
        """The process is told no longer."""
        if self.notify is not None and self.notify.process is process:
            notified, self.notify = self.notify, None
            notified.removed()

    def take(self) -> tuple[int, bytes]:
        """The first message."""
        self.drained += 1
        return self.messages.pop(0)


class QueueFile(OpenFile):
    """An open message queue."""

    inode: QueueInode

    def read(self, k: Kernel, t: Task, views: Views, position: Position) -> int:
        queue = self.inode
        notified = queue.notify
        text = b"QSIZE:%-10d NOTIFY:%-5d SIGNO:%-5d NOTIFY_PID:%-6d\n" % (
            sum(len(m) for _, m in queue.messages), 0, notified.signo if notified else 0, notified.process.pid if notified else 0,
        )  # fmt: skip
        room = sum(map(len, views))
        piece = text[position.value : position.value + room]
        position.value += len(piece)
        return scatter(views, piece)

    def poll(self, k: Kernel, t: Task) -> int:
        queue = self.inode
        return (READABLE if queue.messages else 0) | (WRITABLE if len(queue.messages) < queue.count else 0)

    def edges(self) -> tuple[int, int]:
        return self.inode.arrived, self.inode.drained

    def close(self, k: Kernel) -> None:
        """A process that closes its descriptor is no longer told; see mq_close(3)."""
        t = k.current
        if t is not None:
            self.inode.forget(t.process)
