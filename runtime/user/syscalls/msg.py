"""System V message queues: msgget(2), msgsnd(2), msgrcv(2), msgctl(2) (ipc/msg.c)."""

from __future__ import annotations

import errno
import struct
from typing import TYPE_CHECKING, Final

from pyprobe.runtime.user.capabilities import CAP_SYS_RESOURCE
from pyprobe.runtime.user.errors import Block, Errno
from pyprobe.runtime.user.ipc import IPC_INFO, IPC_NOWAIT, IPC_RMID, IPC_SET, IPC_STAT, READ, WRITE, IpcObject, seconds
from pyprobe.runtime.user.words import s32, s64

if TYPE_CHECKING:
    from pyprobe.runtime.user.kernel import Kernel
    from pyprobe.runtime.user.task import Task

MSG_STAT, MSG_INFO, MSG_STAT_ANY = 11, 12, 13
MSG_NOERROR, MSG_EXCEPT, MSG_COPY = 0o10000, 0o20000, 0o40000
MSGMNI, MSGMAX, MSGMNB = 32000, 8192, 16384
_REST: Final = struct.Struct("<qqqQQQii16x")  # struct msqid64_ds after its msg_perm
_INFO: Final = struct.Struct("<7iH2x")  # struct msginfo
_QBYTES_AT: Final = 48 + 40


class MessageQueue(IpcObject):
    """A queue of (type, text); room: bytes it takes at most."""

    def __init__(self, k: Kernel, t: Task, key: int, mode: int) -> None:
        super().__init__(k, t, key, mode)
        self.messages: list[tuple[int, bytes]] = []
        self.room = MSGMNB
        self.sent_at = self.received_at = 0
        self.last_sender = self.last_receiver = 0

    @property
    def size(self) -> int:
        """Bytes in the queue."""
        return sum(len(text) for _, text in self.messages)

    def takes(self, length: int) -> bool:
        """Is there room for a message of this length?"""
        return self.size + length <= self.room and len(self.messages) + 1 <= self.room

    def choose(self, wanted: int, flags: int) -> int | None:
        """Index of the message that msgrcv is to get."""
        kinds = [kind for kind, _ in self.messages]
        if flags & MSG_COPY:
            return wanted if wanted < len(kinds) else None
        if wanted == 0:
            return 0 if kinds else None
        if wanted < 0:
            low = min((kind for kind in kinds if kind <= -wanted), default=None)
            return None if low is None else kinds.index(low)
        return next((i for i, kind in enumerate(kinds) if (kind != wanted) == bool(flags & MSG_EXCEPT)), None)


def sys_msgget(k: Kernel, t: Task, key: int, msgflg: int) -> int:
    found = k.msg.existing(t, s32(key), msgflg)
    return found.id if found is not None else k.msg.add(MessageQueue(k, t, s32(key), msgflg))


def _queue(k: Kernel, t: Task, msqid: int) -> MessageQueue:
    known = t.restart.get("queue")
    found = known if isinstance(known, MessageQueue) else k.msg.get(msqid)
    if found.removed:
        raise Errno(errno.EIDRM)
    return found


def sys_msgsnd(k: Kernel, t: Task, msqid: int, msgp: int, msgsz: int, msgflg: int) -> int:
    kind = s64(t.space.u64(msgp))
    if msgsz > MSGMAX or s32(msqid) < 0 or kind < 1:
        raise Errno(errno.EINVAL)
    text = t.space.read(msgp + 8, msgsz)
    queue = _queue(k, t, msqid)
    queue.check(t, WRITE)
    if not queue.takes(msgsz):
        if msgflg & IPC_NOWAIT:
            raise Errno(errno.EAGAIN)
        t.restart["queue"] = queue
        raise Block(lambda: queue.removed or queue.takes(msgsz), why=f"room in message queue {queue.id}", restart=False)
    queue.messages.append((kind, text))
    queue.last_sender, queue.sent_at = t.pid, seconds(k)
    return 0


def sys_msgrcv(k: Kernel, t: Task, msqid: int, msgp: int, msgsz: int, msgtyp: int, msgflg: int) -> int:
    if s32(msqid) < 0 or s64(msgsz) < 0 or (msgflg & MSG_COPY and (msgflg & MSG_EXCEPT or not msgflg & IPC_NOWAIT)):
        raise Errno(errno.EINVAL)
    queue, wanted = _queue(k, t, msqid), s64(msgtyp)
    queue.check(t, READ)
    index = queue.choose(wanted, msgflg)
    if index is None:
        if msgflg & IPC_NOWAIT:
            raise Errno(errno.ENOMSG)
        t.restart["queue"] = queue
        raise Block(
            lambda: queue.removed or queue.choose(wanted, msgflg) is not None, why=f"a message in queue {queue.id}", restart=False
        )
    kind, text = queue.messages[index]
    if len(text) > msgsz and not msgflg & MSG_NOERROR:
        raise Errno(errno.E2BIG)
    text = text[:msgsz]
    t.space.write(msgp, struct.pack("<q", kind) + text)
    if not msgflg & MSG_COPY:
        del queue.messages[index]
        queue.last_receiver, queue.received_at = t.pid, seconds(k)
    return len(text)


def sys_msgctl(k: Kernel, t: Task, msqid: int, cmd: int, buf: int) -> int:
    cmd = s32(cmd) & ~0x100
    if cmd in (IPC_INFO, MSG_INFO):
        queues = k.msg.objects.values()
        now = (len(queues), sum(len(q.messages) for q in queues), sum(q.size for q in queues))
        pool, tables, headers = (MSGMNI * MSGMNB // 1024, MSGMNB, MSGMNB) if cmd == IPC_INFO else (now[0], now[2], now[1])
        t.space.write(buf, _INFO.pack(pool, headers, MSGMAX, MSGMNB, MSGMNI, 16, tables, 0xFFFF))
        return k.msg.highest
    queue = k.msg.at(msqid) if cmd in (MSG_STAT, MSG_STAT_ANY) else k.msg.get(msqid)
    if cmd in (IPC_STAT, MSG_STAT, MSG_STAT_ANY):
        if cmd != MSG_STAT_ANY:
            queue.check(t, READ)
        rest = _REST.pack(
            queue.sent_at, queue.received_at, queue.changed, queue.size, len(queue.messages), queue.room,
            queue.last_sender, queue.last_receiver,
        )  # fmt: skip
        t.space.write(buf, queue.perm() + rest)
        return 0 if cmd == IPC_STAT else queue.id
    if cmd == IPC_SET:
        raw = t.space.read(buf, _QBYTES_AT + 8)
        room = int.from_bytes(raw[_QBYTES_AT:], "little")
        queue.check_owner(t)
        if room > MSGMNB and not t.cred.capable(CAP_SYS_RESOURCE):
            raise Errno(errno.EPERM)
        queue.set(k, t, raw)
        queue.room = room
    elif cmd == IPC_RMID:
        queue.check_owner(t)
        k.msg.remove(queue)
    else:
        raise Errno(errno.EINVAL)
    return 0
