"""System calls about time (kernel/time/). Every clock is the machine's virtual one."""

from __future__ import annotations

import struct
from errno import EINVAL, EOPNOTSUPP, EPERM
from typing import TYPE_CHECKING

from pyprobe.runtime.user import hrtimers
from pyprobe.runtime.user.errors import Block, Errno
from pyprobe.runtime.user.functions import kernel_function
from pyprobe.runtime.user.signals import NSIG, Sig
from pyprobe.runtime.user.timers import GuestTimer
from pyprobe.runtime.user.words import NANOSECONDS, TICK, U32, read_timespec, s32, timespec, timeval

if TYPE_CHECKING:
    from pyprobe.runtime.user.kernel import Kernel
    from pyprobe.runtime.user.task import Process, Task

CLOCK_REALTIME, CLOCK_MONOTONIC, CLOCK_PROCESS_CPUTIME_ID, CLOCK_THREAD_CPUTIME_ID = range(4)
CLOCK_MONOTONIC_RAW, CLOCK_REALTIME_COARSE, CLOCK_MONOTONIC_COARSE, CLOCK_BOOTTIME = range(4, 8)
CLOCK_REALTIME_ALARM, CLOCK_BOOTTIME_ALARM, CLOCK_TAI = 8, 9, 11
WALL_CLOCKS = frozenset({CLOCK_REALTIME, CLOCK_REALTIME_COARSE, CLOCK_REALTIME_ALARM, CLOCK_TAI})
BOOT_CLOCKS = frozenset({CLOCK_MONOTONIC, CLOCK_MONOTONIC_RAW, CLOCK_MONOTONIC_COARSE, CLOCK_BOOTTIME, CLOCK_BOOTTIME_ALARM})
COARSE_RESOLUTION = 4_000_000
TIMER_ABSTIME = 1
ITIMER_REAL, ITIMER_VIRTUAL, ITIMER_PROF = range(3)
SIGEV_SIGNAL, SIGEV_NONE, SIGEV_THREAD, SIGEV_THREAD_ID = 0, 1, 2, 4


def process_cpu_time(k: Kernel, process: Process) -> int:
    """ns its threads have run."""
    return process.cpu_time + sum(task_cpu_time(k, t) for t in process.threads.values())


def task_cpu_time(k: Kernel, task: Task) -> int:
    """ns the thread has run, this turn included."""
    return task.cpu_time + (k.clock.now() - k.turn_began if task is k.current else 0)


def read_clock(k: Kernel, t: Task, which: int) -> int:
    """A clock's time in ns. Raises Errno(EINVAL) for an unknown clock."""
    which = s32(which)
    if which in WALL_CLOCKS:
        return k.clock.wall()
    if which in BOOT_CLOCKS:
        return k.clock.now()
    if which == CLOCK_PROCESS_CPUTIME_ID:
        return process_cpu_time(k, t.process)
    if which == CLOCK_THREAD_CPUTIME_ID:
        return task_cpu_time(k, t)
    if which < 0:  # CPU clock of a process or thread: ~pid << 3 | kind, 4 for threads
        pid = ~(which >> 3)
        if which & 4:
            other = k.tasks.get(pid) if pid else t
            if other is not None:
                return task_cpu_time(k, other)
        else:
            process = k.processes.get(pid) if pid else t.process
            if process is not None:
                return process_cpu_time(k, process)
    raise Errno(EINVAL)


def checked_timespec(t: Task, address: int) -> int:
    """A struct timespec in ns. Raises Errno(EINVAL) if it is not one."""
    seconds, nanoseconds = read_timespec(t.space, address)
    if seconds < 0 or not 0 <= nanoseconds < NANOSECONDS:
        raise Errno(EINVAL)
    return min(seconds * NANOSECONDS + nanoseconds, 1 << 62)


def sys_clock_gettime(k: Kernel, t: Task, which: int, tp: int) -> int:
    """clock_gettime(2)."""
    t.space.write(tp, timespec(read_clock(k, t, which)))
    return 0


def sys_clock_getres(k: Kernel, t: Task, which: int, tp: int) -> int:
    """clock_getres(2)."""
    read_clock(k, t, which)
    if tp:
        t.space.write(tp, timespec(COARSE_RESOLUTION if which in (CLOCK_REALTIME_COARSE, CLOCK_MONOTONIC_COARSE) else 1))
    return 0


def sys_clock_settime(k: Kernel, t: Task, which: int, tp: int) -> int:
    """clock_settime(2): the machine's time is not the guest's to set."""
    raise Errno(EPERM if s32(which) == CLOCK_REALTIME else EINVAL)


def sys_settimeofday(k: Kernel, t: Task, tv: int, tz: int) -> int:
    """settimeofday(2)."""
    raise Errno(EPERM)


def sys_gettimeofday(k: Kernel, t: Task, tv: int, tz: int) -> int:
    """gettimeofday(2)."""
    if tv:
        t.space.write(tv, timeval(k.clock.wall()))
    if tz:
        t.space.write(tz, bytes(8))
    return 0


def sys_time(k: Kernel, t: Task, tloc: int) -> int:
    """time(2)."""
    now = k.clock.wall() // NANOSECONDS
    if tloc:
        t.space.write(tloc, struct.pack("<q", now))
    return now


def sys_times(k: Kernel, t: Task, buf: int) -> int:
    """times(2)."""
    if buf:
        own, children = process_cpu_time(k, t.process) // TICK, t.process.children_cpu_time // TICK
        t.space.write(buf, struct.pack("<qqqq", own, 0, children, 0))
    return k.clock.now() // TICK


@kernel_function("long hrtimer_nanosleep(ktime_t rqtp, const enum hrtimer_mode mode, const clockid_t clockid)")
def hrtimer_nanosleep(k: Kernel, rqtp: int, mode: int, clockid: int, rmtp: int) -> int:
    """Sleep for `rqtp` ns, or (mode 0, HRTIMER_MODE_ABS) until that time of the clock; `rmtp`: where the rest goes. Raises Errno, Block."""
    task = k.current
    assert task is not None
    sleeper = task
    known = sleeper.restart.get("deadline")
    if known is None:
        if mode:
            known = k.clock.now() + rqtp
        else:
            known = rqtp - k.clock.epoch_ns if clockid in WALL_CLOCKS else rqtp
        sleeper.restart["deadline"] = known
    assert isinstance(known, int)
    deadline = known
    if k.clock.now() >= deadline:
        if not sleeper.restart.get("slept"):
            hrtimers.passed(k, deadline, clockid, mode)
        return 0
    sleeper.restart["slept"] = True

    def interrupted() -> None:
        if rmtp and mode:
            sleeper.space.write(rmtp, timespec(max(0, deadline - k.clock.now())))

    timer = hrtimers.sleeper(k, deadline, clockid, mode)
    raise Block(_never, deadline, why="time to pass", restart=False, interrupted=interrupted, timer=timer)


def _never() -> bool:
    return False


def sys_nanosleep(k: Kernel, t: Task, rqtp: int, rmtp: int) -> int:
    """nanosleep(2)."""
    result: int = k.hrtimer_nanosleep(checked_timespec(t, rqtp), 1, CLOCK_MONOTONIC, rmtp)
    return result


def sys_clock_nanosleep(k: Kernel, t: Task, which: int, flags: int, rqtp: int, rmtp: int) -> int:
    """clock_nanosleep(2)."""
    which = s32(which)
    if which == CLOCK_THREAD_CPUTIME_ID:
        raise Errno(EINVAL)
    if which not in WALL_CLOCKS | BOOT_CLOCKS:
        read_clock(k, t, which)
        raise Errno(EOPNOTSUPP)
    result: int = k.hrtimer_nanosleep(checked_timespec(t, rqtp), 0 if flags & TIMER_ABSTIME else 1, which, rmtp)
    return result


# interval timers


def _itimer(t: Task, which: int) -> GuestTimer:
    which = s32(which)
    if not 0 <= which <= ITIMER_PROF:
        raise Errno(EINVAL)
    timers = t.process.itimers
    if which not in timers:
        timers[which] = GuestTimer(t.process, (Sig.ALRM, Sig.VTALRM, Sig.PROF)[which])
    return timers[which]


def _itimerval(k: Kernel, timer: GuestTimer) -> bytes:
    return timeval(timer.interval if timer.deadline else 0) + timeval(timer.remaining(k) + 999)


def sys_getitimer(k: Kernel, t: Task, which: int, value: int) -> int:
    """getitimer(2)."""
    t.space.write(value, _itimerval(k, _itimer(t, which)))
    return 0


def sys_setitimer(k: Kernel, t: Task, which: int, value: int, ovalue: int) -> int:
    """setitimer(2). The CPU-time timers run by the same clock as the real one: the guest has the only CPU."""
    timer = _itimer(t, which)
    words = struct.unpack("<qqqq", t.space.read(value, 32)) if value else (0, 0, 0, 0)
    if words[0] < 0 or words[2] < 0 or not 0 <= words[1] < 1_000_000 or not 0 <= words[3] < 1_000_000:
        raise Errno(EINVAL)
    if ovalue:
        t.space.write(ovalue, _itimerval(k, timer))
    delay = words[2] * NANOSECONDS + words[3] * 1000
    timer.set(k, k.clock.now() + delay if delay else 0, words[0] * NANOSECONDS + words[1] * 1000)
    return 0


def sys_alarm(k: Kernel, t: Task, seconds: int) -> int:
    """alarm(2)."""
    timer = _itimer(t, ITIMER_REAL)
    left = -(-timer.remaining(k) // NANOSECONDS)
    seconds &= U32
    timer.set(k, k.clock.now() + seconds * NANOSECONDS if seconds else 0, 0)
    return left


# POSIX timers


def _posix_timer(t: Task, identity: int) -> GuestTimer:
    timer = t.process.posix_timers.get(s32(identity))
    if timer is None:
        raise Errno(EINVAL)
    return timer


def sys_timer_create(k: Kernel, t: Task, which: int, event: int, created: int) -> int:
    """timer_create(2)."""
    read_clock(k, t, which)
    timers = t.process.posix_timers
    identity = next(i for i in range(len(timers) + 1) if i not in timers)
    value, signo, notify, tid = struct.unpack("<Qiii", t.space.read(event, 20)) if event else (identity, Sig.ALRM, SIGEV_SIGNAL, 0)
    target = None
    if notify & SIGEV_THREAD_ID:
        target = t.process.threads.get(tid)
        if target is None:
            raise Errno(EINVAL)
    if notify & ~SIGEV_THREAD_ID not in (SIGEV_SIGNAL, SIGEV_NONE) or (notify != SIGEV_NONE and not 1 <= signo <= NSIG):
        raise Errno(EINVAL)
    timer = GuestTimer(t.process, 0 if notify == SIGEV_NONE else signo, identity=identity, value=value, task=target)
    timer.clock = s32(which)
    timer.create(k)
    timers[identity] = timer
    t.space.put_u32(created, identity)
    return 0


def _itimerspec(k: Kernel, timer: GuestTimer) -> bytes:
    return timespec(timer.interval) + timespec(timer.remaining(k))


def sys_timer_settime(k: Kernel, t: Task, identity: int, flags: int, new: int, old: int) -> int:
    """timer_settime(2)."""
    timer = _posix_timer(t, identity)
    interval, value = checked_timespec(t, new), checked_timespec(t, new + 16)
    if old:
        t.space.write(old, _itimerspec(k, timer))
    if value and flags & TIMER_ABSTIME:
        deadline = max(1, value - k.clock.epoch_ns if timer.clock in WALL_CLOCKS else value)
    else:
        deadline = k.clock.now() + value if value else 0
    timer.set(k, deadline, interval, absolute=bool(flags & TIMER_ABSTIME))
    return 0


def sys_timer_gettime(k: Kernel, t: Task, identity: int, setting: int) -> int:
    """timer_gettime(2)."""
    t.space.write(setting, _itimerspec(k, _posix_timer(t, identity)))
    return 0


def sys_timer_getoverrun(k: Kernel, t: Task, identity: int) -> int:
    """timer_getoverrun(2)."""
    return _posix_timer(t, identity).overrun


def sys_timer_delete(k: Kernel, t: Task, identity: int) -> int:
    """timer_delete(2)."""
    _posix_timer(t, identity).cancel(k)
    del t.process.posix_timers[s32(identity)]
    return 0


def sys_adjtimex(k: Kernel, t: Task, buf: int) -> int:
    """adjtimex(2): reading only; the clock is always synchronised."""
    if t.space.u32(buf):
        raise Errno(EPERM)
    t.space.write(buf, bytes(208))
    return 0


def sys_clock_adjtime(k: Kernel, t: Task, which: int, buf: int) -> int:
    """clock_adjtime(2): of the wall clock, as adjtimex(2)."""
    t.space.read(buf, 208)
    if s32(which) != CLOCK_REALTIME:
        raise Errno(EOPNOTSUPP if s32(which) in WALL_CLOCKS | BOOT_CLOCKS else EINVAL)
    return sys_adjtimex(k, t, buf)
