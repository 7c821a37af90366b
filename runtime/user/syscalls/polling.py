"""Waiting for several files: poll, select, epoll; and the files that carry events: eventfd, timerfd, signalfd."""

from __future__ import annotations

import errno
import struct
from collections.abc import Callable
from typing import TYPE_CHECKING, TypeVar

from pyprobe.runtime.user.errors import Block, Errno
from pyprobe.runtime.user.hrtimers import sleeper
from pyprobe.runtime.user.signals import UNBLOCKABLE, has_deliverable
from pyprobe.runtime.user.vfs.abi import (
    O_CLOEXEC,
    O_NONBLOCK,
    POLLERR,
    POLLHUP,
    POLLIN,
    POLLNVAL,
    POLLOUT,
    POLLPRI,
    POLLRDBAND,
    POLLRDNORM,
    POLLWRBAND,
    POLLWRNORM,
)
from pyprobe.runtime.user.vfs.anon import EventFile, SignalFile, TimerFile, anonymous_dentry
from pyprobe.runtime.user.vfs.epoll import EpollFile
from pyprobe.runtime.user.vfs.open import install, limit
from pyprobe.runtime.user.vfs.openfile import OpenFile
from pyprobe.runtime.user.words import NANOSECONDS, read_timespec, s32, timespec, timeval

if TYPE_CHECKING:
    from pyprobe.runtime.user.kernel import Kernel
    from pyprobe.runtime.user.task import Task

_FD_SETSIZE = 1 << 16
_SELECT_IN = POLLIN | POLLRDNORM | POLLRDBAND | POLLHUP | POLLERR
_SELECT_OUT = POLLOUT | POLLWRNORM | POLLWRBAND | POLLERR
_EPOLL_EVENT = {"x86_64": struct.Struct("<IQ"), "arm64": struct.Struct("<I4xQ")}
_EPOLL_CTL_ADD, _EPOLL_CTL_DEL, _EPOLL_CTL_MOD = 1, 2, 3
_CLOCK_REALTIME = 0
_TIMER_CLOCKS = (0, 1, 7, 8, 9)
_TFD_TIMER_ABSTIME = 1

Answer = TypeVar("Answer")


def _deadline(k: Kernel, t: Task, timeout: int | None) -> int | None:
    """When a wait of `timeout` ns ends, ns since boot, the same each time the call is made again; None: never."""
    if timeout is None:
        return None
    known = t.restart.get("deadline")
    if not isinstance(known, int):
        known = t.restart["deadline"] = k.clock.now() + timeout
    return known


def _timespec_timeout(t: Task, address: int) -> int | None:
    if not address:
        return None
    seconds, nanoseconds = read_timespec(t.space, address)
    if seconds < 0 or not 0 <= nanoseconds < NANOSECONDS:
        raise Errno(errno.EINVAL)
    return seconds * NANOSECONDS + nanoseconds


def _use_mask(t: Task, address: int, size: int) -> None:
    """Block the signals of the mask at `address` while the call waits."""
    if address and t.saved_mask is None:
        if size != 8:
            raise Errno(errno.EINVAL)
        t.saved_mask, t.blocked = t.blocked, t.space.u64(address) & ~UNBLOCKABLE


def _done(t: Task) -> None:
    """The call succeeds: its own signal mask ends with it."""
    if t.saved_mask is not None:
        t.blocked, t.saved_mask = t.saved_mask, None


def _wait(
    k: Kernel,
    t: Task,
    deadline: int | None,
    collect: Callable[[], Answer],
    files: Callable[[], list[tuple[OpenFile, int]]],
    why: str,
) -> Answer:
    """Collect what is ready, waiting for something until `deadline`; an empty answer when the time is over.

    files: what to wait for, with the events that count. Files of the host are asked by the scheduler when nothing else runs.

    Raises:
        Block: nothing is ready. Errno: EINTR: the mask lets a signal through.
    """
    answer = collect()
    if answer or (deadline is not None and k.clock.now() >= deadline):
        _done(t)
        return answer
    if t.saved_mask is not None and has_deliverable(t):
        k.signal_wake(t)
        raise Errno(errno.EINTR)

    def ready() -> bool:
        return any(_poll_inside(k, t, file) & (events | POLLERR | POLLHUP) for file, events in files())

    host = [(descriptor, mask & (events | POLLERR | POLLHUP)) for file, events in files() for descriptor, mask in file.host]
    raise Block(ready, deadline, host=host, why=why, restart=False, timer=sleeper(k, deadline))


def _poll_inside(k: Kernel, t: Task, file: OpenFile) -> int:
    """`poll` of a file without asking the host."""
    if isinstance(file, EpollFile):
        return POLLIN if file.ready(k, t, outside=False) else 0
    return 0 if file.host else file.poll(k, t)


# poll


def _poll(k: Kernel, t: Task, ufds: int, nfds: int, timeout: int | None) -> int:
    nfds &= 0xFFFFFFFF
    if nfds > limit(t):
        raise Errno(errno.EINVAL)
    data = t.space.read(ufds, 8 * nfds) if nfds else b""
    wanted = [(descriptor, events & 0xFFFF) for descriptor, events, _ in struct.iter_unpack("<ihh", data)]
    table = t.process.files

    def collect() -> list[int]:
        answers = []
        for descriptor, events in wanted:
            file = table.find(descriptor) if descriptor >= 0 else None
            if file is None:
                answers.append(POLLNVAL if descriptor >= 0 else 0)
            else:
                answers.append(file.poll(k, t) & (events | POLLERR | POLLHUP))
        return answers if any(answers) else []

    def files() -> list[tuple[OpenFile, int]]:
        pairs = ((table.find(descriptor), events) for descriptor, events in wanted if descriptor >= 0)
        return [(file, events) for file, events in pairs if file is not None]

    answers = _wait(k, t, _deadline(k, t, timeout), collect, files, "files")
    for index in range(nfds):
        t.space.write(ufds + 8 * index + 6, struct.pack("<H", answers[index] if answers else 0))
    return sum(map(bool, answers))


def sys_poll(k: Kernel, t: Task, ufds: int, nfds: int, timeout: int) -> int:
    milliseconds = s32(timeout)
    return _poll(k, t, ufds, nfds, None if milliseconds < 0 else milliseconds * 1_000_000)


def sys_ppoll(k: Kernel, t: Task, ufds: int, nfds: int, tsp: int, sigmask: int, sigsetsize: int) -> int:
    timeout = _timespec_timeout(t, tsp)
    _use_mask(t, sigmask, sigsetsize)
    found = _poll(k, t, ufds, nfds, timeout)
    _tell_remaining(k, t, tsp, timespec)
    return found


def _tell_remaining(k: Kernel, t: Task, address: int, pack: Callable[[int], bytes]) -> None:
    """Linux writes the time that is left back over the timeout."""
    deadline = t.restart.get("deadline")
    if address and isinstance(deadline, int):
        t.space.write(address, pack(max(0, deadline - k.clock.now())))


# select


def _select(k: Kernel, t: Task, n: int, sets: tuple[int, int, int], timeout: int | None) -> int:
    n = s32(n)
    if n < 0:
        raise Errno(errno.EINVAL)
    table = t.process.files
    n = min(n, _FD_SETSIZE)
    size = (n + 63) // 64 * 8
    asked = [int.from_bytes(t.space.read(address, size), "little") & (1 << n) - 1 if address else 0 for address in sets]
    watched: list[tuple[int, OpenFile, int]] = []
    every = asked[0] | asked[1] | asked[2]
    for descriptor in range(every.bit_length()):
        bit = 1 << descriptor
        if every & bit:
            file = table.find(descriptor)
            if file is None:
                raise Errno(errno.EBADF)
            events = _SELECT_IN if asked[0] & bit else 0
            events |= (_SELECT_OUT if asked[1] & bit else 0) | (POLLPRI if asked[2] & bit else 0)
            watched.append((descriptor, file, events))

    def collect() -> list[int]:
        found = [0, 0, 0]
        for descriptor, file, _ in watched:
            mask, bit = file.poll(k, t), 1 << descriptor
            for index, events in enumerate((_SELECT_IN, _SELECT_OUT, POLLPRI)):
                if asked[index] & bit and mask & events:
                    found[index] |= bit
        return found if any(found) else []

    found = _wait(k, t, _deadline(k, t, timeout), collect, lambda: [(file, events) for _, file, events in watched], "files")
    for address, bits in zip(sets, found or [0, 0, 0], strict=True):
        if address:
            t.space.write(address, bits.to_bytes(size, "little"))
    return sum(bits.bit_count() for bits in found)


def sys_select(k: Kernel, t: Task, n: int, inp: int, outp: int, exp: int, tvp: int) -> int:
    timeout = None
    if tvp:
        seconds, microseconds = struct.unpack("<qq", t.space.read(tvp, 16))
        if seconds < 0 or microseconds < 0:
            raise Errno(errno.EINVAL)
        timeout = seconds * NANOSECONDS + microseconds * 1000
    found = _select(k, t, n, (inp, outp, exp), timeout)
    _tell_remaining(k, t, tvp, timeval)
    return found


def sys_pselect6(k: Kernel, t: Task, n: int, inp: int, outp: int, exp: int, tsp: int, sig: int) -> int:
    timeout = _timespec_timeout(t, tsp)
    if sig:
        address, size = struct.unpack("<QQ", t.space.read(sig, 16))
        _use_mask(t, address, size)
    found = _select(k, t, n, (inp, outp, exp), timeout)
    _tell_remaining(k, t, tsp, timespec)
    return found


# epoll


def sys_epoll_create(k: Kernel, t: Task, size: int) -> int:
    if s32(size) <= 0:
        raise Errno(errno.EINVAL)
    return sys_epoll_create1(k, t, 0)


def sys_epoll_create1(k: Kernel, t: Task, flags: int) -> int:
    if flags & 0xFFFFFFFF & ~O_CLOEXEC:
        raise Errno(errno.EINVAL)
    return install(t, EpollFile(anonymous_dentry(k, b"[eventpoll]"), 0), close_on_exec=bool(flags & O_CLOEXEC))


def _epoll(t: Task, epfd: int) -> EpollFile:
    file = t.process.files.get(epfd)
    if not isinstance(file, EpollFile):
        raise Errno(errno.EINVAL)
    return file


def sys_epoll_ctl(k: Kernel, t: Task, epfd: int, op: int, fd: int, event: int) -> int:
    layout = _EPOLL_EVENT[t.process.arch]
    op = s32(op)
    events, data = layout.unpack(t.space.read(event, layout.size)) if op != _EPOLL_CTL_DEL else (0, 0)
    t.process.files.get(epfd)
    file = t.process.files.get(fd)
    if not file.pollable:
        raise Errno(errno.EPERM)
    epoll = _epoll(t, epfd)
    if file is epoll:
        raise Errno(errno.EINVAL)
    if op == _EPOLL_CTL_ADD:
        epoll.add(s32(fd), file, events, data)
    elif op == _EPOLL_CTL_DEL:
        epoll.remove(s32(fd), file)
    elif op == _EPOLL_CTL_MOD:
        epoll.item(s32(fd), file).set(events, data)
    else:
        raise Errno(errno.EINVAL)
    return 0


def _epoll_wait(k: Kernel, t: Task, epfd: int, events: int, maxevents: int, timeout: int | None) -> int:
    maximum = s32(maxevents)
    layout = _EPOLL_EVENT[t.process.arch]
    if not 0 < maximum <= 0x7FFFFFFF // layout.size:
        raise Errno(errno.EINVAL)
    epoll = _epoll(t, epfd)
    found = _wait(k, t, _deadline(k, t, timeout), lambda: epoll.collect(k, t, maximum), lambda: [(epoll, POLLIN)], "events")
    t.space.write(events, b"".join(layout.pack(*one) for one in found))
    return len(found)


def sys_epoll_wait(k: Kernel, t: Task, epfd: int, events: int, maxevents: int, timeout: int) -> int:
    milliseconds = s32(timeout)
    return _epoll_wait(k, t, epfd, events, maxevents, None if milliseconds < 0 else milliseconds * 1_000_000)


def sys_epoll_pwait(k: Kernel, t: Task, epfd: int, events: int, maxevents: int, timeout: int, sigmask: int, sigsetsize: int) -> int:
    _use_mask(t, sigmask, sigsetsize)
    return sys_epoll_wait(k, t, epfd, events, maxevents, timeout)


def sys_epoll_pwait2(k: Kernel, t: Task, epfd: int, events: int, maxevents: int, timeout: int, sigmask: int, sigsetsize: int) -> int:
    nanoseconds = _timespec_timeout(t, timeout)
    _use_mask(t, sigmask, sigsetsize)
    return _epoll_wait(k, t, epfd, events, maxevents, nanoseconds)


# files that carry events


def sys_eventfd2(k: Kernel, t: Task, count: int, flags: int) -> int:
    if flags & 0xFFFFFFFF & ~(O_CLOEXEC | O_NONBLOCK | 1):
        raise Errno(errno.EINVAL)
    file = EventFile(anonymous_dentry(k, b"[eventfd]"), flags & O_NONBLOCK, count & 0xFFFFFFFF, semaphore=bool(flags & 1))
    return install(t, file, close_on_exec=bool(flags & O_CLOEXEC))


def sys_eventfd(k: Kernel, t: Task, count: int) -> int:
    return sys_eventfd2(k, t, count, 0)


def sys_timerfd_create(k: Kernel, t: Task, clockid: int, flags: int) -> int:
    if clockid & 0xFFFFFFFF not in _TIMER_CLOCKS or flags & 0xFFFFFFFF & ~(O_CLOEXEC | O_NONBLOCK):
        raise Errno(errno.EINVAL)
    file = TimerFile(anonymous_dentry(k, b"[timerfd]"), flags & O_NONBLOCK, clockid & 0xFFFFFFFF)
    file.create(k)
    return install(t, file, close_on_exec=bool(flags & O_CLOEXEC))


def _timer(t: Task, fd: int) -> TimerFile:
    file = t.process.files.get(fd)
    if not isinstance(file, TimerFile):
        raise Errno(errno.EINVAL)
    return file


def sys_timerfd_gettime(k: Kernel, t: Task, ufd: int, otmr: int) -> int:
    file = _timer(t, ufd)
    t.space.write(otmr, timespec(file.interval) + timespec(file.remaining(k)))
    return 0


def sys_timerfd_settime(k: Kernel, t: Task, ufd: int, flags: int, utmr: int, otmr: int) -> int:
    file = _timer(t, ufd)
    if flags & 0xFFFFFFFF & ~3:
        raise Errno(errno.EINVAL)
    interval, value = _timespec_timeout(t, utmr), _timespec_timeout(t, utmr + 16)
    if interval is None or value is None:
        raise Errno(errno.EFAULT)
    old = timespec(file.interval) + timespec(file.remaining(k))
    deadline = 0
    if value:
        deadline = value + k.clock.now()
        if flags & _TFD_TIMER_ABSTIME:
            deadline = value - k.clock.epoch_ns if file.clock in (_CLOCK_REALTIME, 8) else value
        deadline = max(1, deadline)
    file.set(k, deadline, interval, absolute=bool(flags & _TFD_TIMER_ABSTIME))
    if otmr:
        t.space.write(otmr, old)
    return 0


def sys_signalfd4(k: Kernel, t: Task, ufd: int, user_mask: int, sizemask: int, flags: int) -> int:
    if sizemask != 8 or flags & 0xFFFFFFFF & ~(O_CLOEXEC | O_NONBLOCK):
        raise Errno(errno.EINVAL)
    mask = t.space.u64(user_mask) & ~UNBLOCKABLE
    if s32(ufd) == -1:
        file = SignalFile(anonymous_dentry(k, b"[signalfd]"), flags & O_NONBLOCK, mask)
        return install(t, file, close_on_exec=bool(flags & O_CLOEXEC))
    known = t.process.files.get(ufd)
    if not isinstance(known, SignalFile):
        raise Errno(errno.EINVAL)
    known.mask = mask
    return s32(ufd)


def sys_signalfd(k: Kernel, t: Task, ufd: int, user_mask: int, sizemask: int) -> int:
    return sys_signalfd4(k, t, ufd, user_mask, sizemask, 0)
