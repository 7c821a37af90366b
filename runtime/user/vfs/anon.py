"""Files without a name that carry events: eventfd(2), timerfd_create(2), signalfd(2)."""

from __future__ import annotations

import errno
import struct
from contextlib import nullcontext
from typing import TYPE_CHECKING, Final

from pyprobe.runtime.user.errors import Block, Errno
from pyprobe.runtime.user.hrtimers import CLOCKS, HRTIMER_MODE_ABS, HRTIMER_MODE_REL, HrTimer
from pyprobe.runtime.user.vfs.abi import O_RDWR, READABLE, WRITABLE
from pyprobe.runtime.user.vfs.inode import Dentry, Inode
from pyprobe.runtime.user.vfs.openfile import OpenFile, Position
from pyprobe.runtime.user.vfs.views import Views, scatter

if TYPE_CHECKING:
    from pyprobe.runtime.machine.clock import Timer
    from pyprobe.runtime.user.kernel import Kernel
    from pyprobe.runtime.user.signals import SigInfo
    from pyprobe.runtime.user.task import Task

_EVENT_MAX: Final = (1 << 64) - 2
_SIGNAL_INFO: Final = struct.Struct("<IiiIIiIIIIii80x")  # struct signalfd_siginfo up to ssi_int


def anonymous_dentry(k: Kernel, name: bytes) -> Dentry:
    """The place of a new file that has none (anon_inode_getfile)."""
    fs = k.vfs.anonfs
    return Dentry(None, b"anon_inode:" + name, Inode(fs, fs.number(), 0o600, k.clock.wall()))


class _Unseekable(OpenFile):
    """Files whose lseek(2) succeeds without effect (noop_llseek)."""

    def seek(self, k: Kernel, t: Task, offset: int, whence: int) -> int:
        return 0


class EventFile(_Unseekable):
    """An eventfd counter; `semaphore`: each read takes one."""

    def __init__(self, dentry: Dentry, flags: int, count: int, *, semaphore: bool) -> None:
        super().__init__(dentry, flags | O_RDWR)
        self.count = count
        self.semaphore = semaphore
        self._added = 0
        self._taken = 0

    def read(self, k: Kernel, t: Task, views: Views, position: Position) -> int:
        if sum(map(len, views)) < 8:
            raise Errno(errno.EINVAL)
        if not self.count:
            self.wait_flags()
            raise Block(lambda: self.count, why="an event")
        value = 1 if self.semaphore else self.count
        self.count -= value
        self._taken += 1
        return scatter(views, struct.pack("<Q", value))

    def write(self, k: Kernel, t: Task, views: Views, position: Position) -> int:
        data = b"".join(views)
        if len(data) < 8:
            raise Errno(errno.EINVAL)
        value = int.from_bytes(data[:8], "little")
        if value > _EVENT_MAX:
            raise Errno(errno.EINVAL)
        if self.count + value > _EVENT_MAX:
            self.wait_flags()
            raise Block(lambda: self.count + value <= _EVENT_MAX, why="room in an event counter")
        self.count += value
        self._added += 1
        return 8

    def poll(self, k: Kernel, t: Task) -> int:
        return (READABLE if self.count else 0) | (WRITABLE if self.count < _EVENT_MAX else 0)

    def edges(self) -> tuple[int, int]:
        return self._added, self._taken


class TimerFile(_Unseekable):
    """A timerfd.

    Args:
        clock: 0 (CLOCK_REALTIME) or one that counts from boot.
    """

    def __init__(self, dentry: Dentry, flags: int, clock: int) -> None:
        super().__init__(dentry, flags | O_RDWR)
        self.clock = clock
        self.deadline = 0  # ns since boot; 0: disarmed
        self.interval = 0  # ns
        self.expirations = 0
        self._edges = 0
        self._timer: Timer | None = None
        self._hrtimer: HrTimer | None = None

    def create(self, k: Kernel) -> None:
        """Tell of its timer, as timerfd_create(2) does."""
        if self.clock in CLOCKS:
            self._hrtimer = HrTimer(k, "timerfd_tmrproc")
            self._hrtimer.setup(self.clock, HRTIMER_MODE_ABS)

    def set(self, k: Kernel, deadline: int, interval: int, *, absolute: bool = False) -> None:
        """Arm for `deadline` (ns since boot), then every `interval` ns; deadline 0 disarms. absolute: that is how it was asked for."""
        self._cancel(k)
        self.expirations = 0
        self.deadline, self.interval = deadline, interval
        mode = HRTIMER_MODE_ABS if absolute else HRTIMER_MODE_REL
        if self._hrtimer is not None:
            self._hrtimer.setup(self.clock, mode)
        if deadline:
            self._arm(k)
            if self._hrtimer is not None:
                self._hrtimer.start(deadline, mode)

    def remaining(self, k: Kernel) -> int:
        """ns to the next expiration; 0: disarmed."""
        return max(1, self.deadline - k.clock.now()) if self.deadline else 0

    def _arm(self, k: Kernel) -> None:
        k.guest_timers += 1
        self._timer = k.clock.add(self.deadline, lambda: self._expire(k))

    def _cancel(self, k: Kernel) -> None:
        if self._timer is not None:
            k.clock.cancel(self._timer)
            k.guest_timers -= 1
            self._timer = None
        if self._hrtimer is not None:
            self._hrtimer.cancel()

    def _expire(self, k: Kernel) -> None:
        with self._hrtimer.expiring() if self._hrtimer is not None else nullcontext():
            self._ring(k)

    def _ring(self, k: Kernel) -> None:
        k.guest_timers -= 1
        self._timer = None
        self._edges += 1
        self.expirations += 1
        if not self.interval:
            self.deadline = 0
            return
        missed = max(0, k.clock.now() - self.deadline) // self.interval
        self.expirations += missed
        self.deadline += (missed + 1) * self.interval
        self._arm(k)

    def close(self, k: Kernel) -> None:
        self._cancel(k)

    def read(self, k: Kernel, t: Task, views: Views, position: Position) -> int:
        if sum(map(len, views)) < 8:
            raise Errno(errno.EINVAL)
        if not self.expirations:
            self.wait_flags()
            raise Block(lambda: self.expirations, why="a timer")
        count, self.expirations = self.expirations, 0
        if self.interval and self._hrtimer is not None and not self._hrtimer.armed:  # Linux starts it again only now
            self._hrtimer.start(self.deadline, HRTIMER_MODE_ABS)
        return scatter(views, struct.pack("<Q", count))

    def poll(self, k: Kernel, t: Task) -> int:
        return READABLE if self.expirations else 0

    def edges(self) -> tuple[int, int]:
        return self._edges, 0


class SignalFile(_Unseekable):
    """A signalfd: takes the pending signals of whoever reads it; `mask` has bit n-1 for signal n."""

    def __init__(self, dentry: Dentry, flags: int, mask: int) -> None:
        super().__init__(dentry, flags | O_RDWR)
        self.mask = mask

    def _pending(self, t: Task) -> int:
        from pyprobe.runtime.user.signals import pending_set

        return pending_set(t.pending, t.process.pending) & self.mask

    def read(self, k: Kernel, t: Task, views: Views, position: Position) -> int:
        from pyprobe.runtime.user.signals import dequeue

        room = sum(map(len, views)) // 128
        if not room:
            raise Errno(errno.EINVAL)
        if not self._pending(t):
            self.wait_flags()
            raise Block(lambda: self._pending(t), why="a signal")
        records: list[bytes] = []
        while len(records) < room and self._pending(t):
            info = dequeue(t, self.mask)
            if info is None:
                break
            records.append(_signal_record(info))
        return scatter(views, b"".join(records))

    def poll(self, k: Kernel, t: Task) -> int:
        return READABLE if self._pending(t) else 0


def _signal_record(info: SigInfo) -> bytes:
    pid, uid, status = struct.unpack("<iIi", info.rest[:12].ljust(12, b"\0"))
    return _SIGNAL_INFO.pack(info.signo, 0, info.code, pid & 0xFFFFFFFF, uid, 0, 0, 0, 0, 0, status, status)
