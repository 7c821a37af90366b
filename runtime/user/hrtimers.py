"""Timers of high resolution, as the tracepoints hrtimer_* tell of them (kernel/time/hrtimer.c, include/trace/events/timer.h).

The clock of the machine is what really wakes and fires; here stands what Linux would say of the `struct hrtimer` behind it.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from pyprobe.runtime.user.kernel import Kernel

HRTIMER_MODE_ABS, HRTIMER_MODE_REL, HRTIMER_MODE_HARD = 0, 1, 8
CLOCK_MONOTONIC: Final = 1
CLOCKS: Final = frozenset({0, 1, 7, 11})  # those that have such timers: CLOCK_REALTIME, MONOTONIC, BOOTTIME and TAI
WALL_CLOCKS: Final = frozenset({0, 8, 11})  # CLOCK_REALTIME, CLOCK_REALTIME_ALARM, CLOCK_TAI: they do not count from boot
FUNCTIONS: Final = ("hrtimer_wakeup", "it_real_fn", "posix_timer_fn", "timerfd_tmrproc")
"""What timers call when they run out."""


class HrTimer:
    """One `struct hrtimer`.

    function: a name of FUNCTIONS. clock, mode: a CLOCK_* and a HRTIMER_MODE_*, as hrtimer_init is told them, which is told by `setup`.
    armed: it was started, and has neither run out nor been cancelled.
    """

    def __init__(self, k: Kernel, function: str, clock: int = CLOCK_MONOTONIC, mode: int = HRTIMER_MODE_ABS) -> None:
        self._k = k
        self._function = function
        self._clock, self._mode = clock, mode
        self.armed = False

    def _address(self) -> int:
        return self._k.functions.object_address(self, "struct hrtimer")

    def setup(self, clock: int, mode: int) -> None:
        """hrtimer_init: perhaps not for the first time."""
        self._clock, self._mode = clock, mode
        tp = self._k.tracepoints.hrtimer_init
        if tp.callbacks:
            tp.fire(self._address(), clock, mode)

    def start(self, deadline: int, mode: int) -> None:
        """hrtimer_start for `deadline`, ns since boot. A sleeper is woken in time, whatever slack it has."""
        self.armed = True
        tp = self._k.tracepoints.hrtimer_start
        if tp.callbacks:
            expires = deadline + (self._k.clock.epoch_ns if self._of_wall_clock() else 0)
            tp.fire(self._address(), self._k.functions.addresses[self._function], expires, expires, mode, 0)

    def _of_wall_clock(self) -> bool:
        """A relative time of a wall clock is one of CLOCK_MONOTONIC (__hrtimer_init)."""
        return self._clock in WALL_CLOCKS and self._mode == HRTIMER_MODE_ABS

    def cancel(self) -> None:
        """hrtimer_cancel, which tells of nothing where it does not run."""
        tp = self._k.tracepoints.hrtimer_cancel
        if self.armed and tp.callbacks:
            tp.fire(self._address())
        self.armed = False

    @contextmanager
    def expiring(self) -> Iterator[None]:
        """__run_hrtimer: its function runs inside."""
        told, self.armed = self.armed, False
        tp = self._k.tracepoints.hrtimer_expire_entry
        if told and tp.callbacks:
            clock = self._k.clock
            tp.fire(self._address(), clock.wall() if self._of_wall_clock() else clock.now(), self._k.functions.addresses[self._function])
        yield
        tp = self._k.tracepoints.hrtimer_expire_exit
        if told and tp.callbacks:
            tp.fire(self._address())


def told(k: Kernel) -> bool:
    """Does anybody listen?"""
    tps = k.tracepoints
    return any(
        tp.callbacks
        for tp in (tps.hrtimer_init, tps.hrtimer_start, tps.hrtimer_cancel, tps.hrtimer_expire_entry, tps.hrtimer_expire_exit)
    )


def sleeper(k: Kernel, deadline: int | None, clock: int = CLOCK_MONOTONIC, mode: int = HRTIMER_MODE_ABS) -> HrTimer | None:
    """The timer, just started, that ends a wait at `deadline` (ns since boot); None where there is no end, or nobody listens."""
    if deadline is None or not told(k):
        return None
    timer = HrTimer(k, "hrtimer_wakeup")
    timer.setup(clock, mode)
    timer.start(deadline, mode)
    return timer


def passed(k: Kernel, deadline: int, clock: int, mode: int) -> None:
    """Tell of a sleep that is over when it begins."""
    timer = sleeper(k, deadline, clock, mode)
    if timer is not None:
        with timer.expiring():
            pass


def forked(k: Kernel) -> None:
    """Tell of the two timers that every new task has for the deadline scheduler, which never start here (__sched_fork)."""
    if told(k):
        for _ in range(2):
            HrTimer(k, "hrtimer_wakeup").setup(CLOCK_MONOTONIC, HRTIMER_MODE_REL | HRTIMER_MODE_HARD)


def of_process(k: Kernel) -> HrTimer:
    """The timer of a new process that is behind ITIMER_REAL (copy_signal)."""
    timer = HrTimer(k, "it_real_fn", mode=HRTIMER_MODE_REL)
    timer.setup(CLOCK_MONOTONIC, HRTIMER_MODE_REL)
    return timer
