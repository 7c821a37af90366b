"""POSIX message queues: mq_overview(7)."""

from __future__ import annotations

import errno
import struct
from collections.abc import Callable
from typing import TYPE_CHECKING, Final, NoReturn

from pyprobe.runtime.user.capabilities import CAP_SYS_RESOURCE
from pyprobe.runtime.user.errors import Block, Errno
from pyprobe.runtime.user.hrtimers import sleeper
from pyprobe.runtime.user.signals import NSIG
from pyprobe.runtime.user.syscalls.time import CLOCK_REALTIME
from pyprobe.runtime.user.vfs.abi import (
    O_ACCMODE,
    O_CLOEXEC,
    O_CREAT,
    O_EXCL,
    O_NONBLOCK,
    O_RDONLY,
    O_WRONLY,
    R_OK,
    W_OK,
)
from pyprobe.runtime.user.vfs.inode import Dentry
from pyprobe.runtime.user.vfs.mqueue import (
    COUNT_LIMIT,
    COUNT_MAX,
    DEFAULT_COUNT,
    DEFAULT_SIZE,
    SIZE_LIMIT,
    SIZE_MAX,
    Notification,
    QueueFile,
    QueueInode,
)
from pyprobe.runtime.user.vfs.netlink import NetlinkSocket
from pyprobe.runtime.user.vfs.open import install
from pyprobe.runtime.user.vfs.permission import check, check_owner
from pyprobe.runtime.user.vfs.socket import Socket
from pyprobe.runtime.user.words import NANOSECONDS, U32, read_timespec

if TYPE_CHECKING:
    from pyprobe.runtime.user.kernel import Kernel
    from pyprobe.runtime.user.task import Task

MQ_PRIO_MAX: Final = 32768
QUEUES_MAX: Final = 256  # fs.mqueue.queues_max
NAME_MAX: Final = 255
SIGEV_SIGNAL, SIGEV_NONE, SIGEV_THREAD = 0, 1, 2
NOTIFY_COOKIE_LEN: Final = 32  # include/uapi/linux/mqueue.h
_ATTR: Final = struct.Struct("<4q32x")  # struct mq_attr
_ACCESS: Final = {O_RDONLY: R_OK, O_WRONLY: W_OK}


def _name(t: Task, address: int) -> bytes:
    name = t.space.cstring(address)
    if not name:
        raise Errno(errno.ENOENT)
    if len(name) > NAME_MAX:
        raise Errno(errno.ENAMETOOLONG)
    if b"/" in name:
        raise Errno(errno.EACCES)
    return name


def sys_mq_open(k: Kernel, t: Task, name: int, oflag: int, mode: int, attr: int) -> int:
    path, queues = _name(t, name), k.vfs.queues
    known = queues.get(path)
    if known is None:
        if not oflag & O_CREAT:
            raise Errno(errno.ENOENT)
        count, size = DEFAULT_COUNT, DEFAULT_SIZE
        if attr:
            _, count, size, _ = _ATTR.unpack(t.space.read(attr, _ATTR.size))
            most, largest = (COUNT_MAX, SIZE_MAX) if t.cred.capable(CAP_SYS_RESOURCE) else (COUNT_LIMIT, SIZE_LIMIT)
            if not 0 < count <= most or not 0 < size <= largest:
                raise Errno(errno.EINVAL)
        if len(queues) >= QUEUES_MAX:
            raise Errno(errno.ENOSPC)
        inode = QueueInode(k.vfs.mqueuefs, mode & 0o777 & ~t.process.fs.umask, k.clock.wall(), count, size)
        inode.uid, inode.gid = t.cred.fsuid, t.cred.fsgid
        known = queues[path] = Dentry(None, b"/" + path, inode)
    else:
        if oflag & O_CREAT and oflag & O_EXCL:
            raise Errno(errno.EEXIST)
        if oflag & O_ACCMODE == O_ACCMODE:
            raise Errno(errno.EINVAL)
        check(t, known.require(), _ACCESS.get(oflag & O_ACCMODE, R_OK | W_OK))
    return install(t, QueueFile(known, oflag & (O_ACCMODE | O_NONBLOCK)), close_on_exec=bool(oflag & O_CLOEXEC))


def sys_mq_unlink(k: Kernel, t: Task, name: int) -> int:
    path = _name(t, name)
    dentry = k.vfs.queues.get(path)
    if dentry is None:
        raise Errno(errno.ENOENT)
    check_owner(t, dentry.require())
    del k.vfs.queues[path]
    dentry.removed = True
    return 0


def _queue(t: Task, descriptor: int) -> QueueFile:
    file = t.process.files.get(descriptor)
    if not isinstance(file, QueueFile):
        raise Errno(errno.EBADF)
    return file


def _deadline(k: Kernel, t: Task, address: int) -> int | None:
    """The absolute wall time of a call, as ns since boot."""
    if not address:
        return None
    seconds, nanoseconds = read_timespec(t.space, address)
    if seconds < 0 or not 0 <= nanoseconds < NANOSECONDS:
        raise Errno(errno.EINVAL)
    return seconds * NANOSECONDS + nanoseconds - k.clock.epoch_ns


def _wait(
    k: Kernel, t: Task, deadline: int | None, ready: Callable[[], object], why: str, interrupted: Callable[[], None] | None = None
) -> NoReturn:
    """Wait for a queue, or see that the time is over; even one that is over when it begins is waited for (wq_sleep)."""
    if t.restart.get("waited") and deadline is not None and k.clock.now() >= deadline:
        if interrupted is not None:
            interrupted()
        raise Errno(errno.ETIMEDOUT)
    t.restart["waited"] = True
    raise Block(ready, deadline, why=why, interrupted=interrupted, timer=sleeper(k, deadline, CLOCK_REALTIME))


def sys_mq_timedsend(k: Kernel, t: Task, mqdes: int, text: int, length: int, priority: int, timeout: int) -> int:
    if priority & U32 >= MQ_PRIO_MAX:
        raise Errno(errno.EINVAL)
    deadline = _deadline(k, t, timeout)
    file = _queue(t, mqdes)
    queue = file.inode
    if not file.writable:
        raise Errno(errno.EBADF)
    if length > queue.size_limit:
        raise Errno(errno.EMSGSIZE)
    data = t.space.read(text, length)
    if len(queue.messages) >= queue.count:
        file.wait_flags()
        _wait(k, t, deadline, lambda: len(queue.messages) < queue.count, "room in a message queue")
    queue.put(k, t, priority & U32, data)
    return 0


def sys_mq_timedreceive(k: Kernel, t: Task, mqdes: int, text: int, length: int, priority: int, timeout: int) -> int:
    deadline = _deadline(k, t, timeout)
    file = _queue(t, mqdes)
    queue = file.inode
    if not file.readable:
        raise Errno(errno.EBADF)
    if length < queue.size_limit:
        raise Errno(errno.EMSGSIZE)
    if t.restart.pop("reader", None):
        queue.readers -= 1
    if not queue.messages:
        file.wait_flags()
        t.restart["reader"] = True
        queue.readers += 1

        def interrupted() -> None:
            queue.readers -= 1

        _wait(k, t, deadline, lambda: queue.messages, "a message", interrupted)
    order, data = queue.take()
    if priority:
        t.space.put_u32(priority, order)
    t.space.write(text, data)
    return len(data)


def sys_mq_getsetattr(k: Kernel, t: Task, mqdes: int, new: int, old: int) -> int:
    file = _queue(t, mqdes)
    queue = file.inode
    before = _ATTR.pack(file.flags & O_NONBLOCK, queue.count, queue.size_limit, len(queue.messages))
    if new:
        flags = _ATTR.unpack(t.space.read(new, _ATTR.size))[0]
        if flags & ~O_NONBLOCK:
            raise Errno(errno.EINVAL)
        file.flags = file.flags & ~O_NONBLOCK | flags
    if old:
        t.space.write(old, before)
    return 0


def sys_mq_notify(k: Kernel, t: Task, mqdes: int, notification: int) -> int:
    queue = _queue(t, mqdes).inode
    if not notification:
        queue.forget(t.process)
        return 0
    value, signo, kind = struct.unpack("<Qii", t.space.read(notification, 16))
    if kind not in (SIGEV_SIGNAL, SIGEV_NONE, SIGEV_THREAD) or (kind == SIGEV_SIGNAL and not 1 <= signo <= NSIG):
        raise Errno(errno.EINVAL)
    made = Notification(t.process, signo if kind == SIGEV_SIGNAL else 0, value)
    if kind == SIGEV_THREAD:  # a pointer to the cookie, and the socket for it in the signal's place
        file = t.process.files.get(signo)
        if not isinstance(file, NetlinkSocket):
            raise Errno(errno.EINVAL if isinstance(file, Socket) else errno.ENOTSOCK)
        made = Notification(t.process, 0, 0, file, t.space.read(value, NOTIFY_COOKIE_LEN))
    if queue.notify is not None and queue.notify.process.alive:
        raise Errno(errno.EBUSY)
    queue.notify = made
    return 0
