"""futex_waitv(2) and its like: the newer calls on futexes (kernel/futex/syscalls.c)."""

from __future__ import annotations

import struct
from errno import EAGAIN, EINVAL, ETIMEDOUT
from typing import TYPE_CHECKING

from pyprobe.runtime.user.errors import Block, Errno
from pyprobe.runtime.user.hrtimers import HRTIMER_MODE_ABS
from pyprobe.runtime.user.syscalls.futex import Waiter, futex_key, leave, setup_timer
from pyprobe.runtime.user.syscalls.time import CLOCK_MONOTONIC, CLOCK_REALTIME
from pyprobe.runtime.user.words import NANOSECONDS, U32, read_timespec, s32

if TYPE_CHECKING:
    from pyprobe.runtime.user.kernel import Kernel
    from pyprobe.runtime.user.task import Task

FUTEX2_SIZE_U32, FUTEX2_PRIVATE = 2, 128  # the only size there is, and a hint that needs no heed here
FUTEX_WAITV_MAX = 128
_WAITV = struct.Struct("<QQII")  # struct futex_waitv
_ANY = U32


def _check(flags: int) -> None:
    if flags & ~FUTEX2_PRIVATE != FUTEX2_SIZE_U32:
        raise Errno(EINVAL)


def _deadline(k: Kernel, t: Task, timeout: int, clockid: int) -> int | None:
    """The wait's end in ns since boot, from an absolute time on a clock."""
    if not timeout:
        return None
    if s32(clockid) not in (CLOCK_REALTIME, CLOCK_MONOTONIC):
        raise Errno(EINVAL)
    seconds, nanoseconds = read_timespec(t.space, timeout)
    if seconds < 0 or not 0 <= nanoseconds < NANOSECONDS:
        raise Errno(EINVAL)
    return seconds * NANOSECONDS + nanoseconds - (k.clock.epoch_ns if s32(clockid) == CLOCK_REALTIME else 0)


def sys_futex_waitv(k: Kernel, t: Task, waiters: int, nr_futexes: int, flags: int, timeout: int, clockid: int) -> int:
    """futex_waitv(2): wait for any of several words; the index of the one that was woken."""
    count = nr_futexes & U32
    if flags & U32 or not 0 < count <= FUTEX_WAITV_MAX or not waiters:
        raise Errno(EINVAL)
    deadline = _deadline(k, t, timeout, clockid)
    queued = t.restart.get("futexes")
    timer = None
    if queued is None:
        timer = setup_timer(k, deadline, s32(clockid))
        words = []
        for value, address, kind, reserved in _WAITV.iter_unpack(t.space.read(waiters, count * _WAITV.size)):
            _check(kind)
            if reserved or value > U32:
                raise Errno(EINVAL)
            words.append((futex_key(t.space, address), address, value))
        if timer is not None and deadline is not None:
            timer.start(deadline, HRTIMER_MODE_ABS)
        if any(t.space.u32(address) != value for _, address, value in words):
            if timer is not None:
                timer.cancel()
            raise Errno(EAGAIN)
        queued = t.restart["futexes"] = [Waiter(key, _ANY) for key, _, _ in words]
        for waiter in queued:
            k.futexes.setdefault(waiter.key, []).append(waiter)
    assert isinstance(queued, list)
    mine: list[Waiter] = queued

    def give_up() -> None:
        for waiter in mine:
            leave(k, waiter)

    woken = next((index for index in reversed(range(len(mine))) if mine[index].woken), None)
    if woken is not None:
        give_up()
        return woken
    if deadline is not None and k.clock.now() >= deadline and "waited" in t.restart:
        give_up()
        raise Errno(ETIMEDOUT)
    t.restart["waited"] = True
    why = f"{len(mine)} futexes"
    raise Block(lambda: any(waiter.woken for waiter in mine), deadline, why=why, interrupted=give_up, timer=timer)
