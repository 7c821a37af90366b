"""Timers of the guest that send signals: setitimer(2), alarm(2), timer_create(2)."""

from __future__ import annotations

import struct
from contextlib import nullcontext
from typing import TYPE_CHECKING

from pyprobe.runtime.user import signals
from pyprobe.runtime.user.hrtimers import CLOCKS, HRTIMER_MODE_ABS, HRTIMER_MODE_REL, HrTimer
from pyprobe.runtime.user.signals import SI_TIMER, SigInfo
from pyprobe.runtime.user.words import NANOSECONDS

if TYPE_CHECKING:
    from pyprobe.runtime.machine.clock import Timer
    from pyprobe.runtime.user.kernel import Kernel
    from pyprobe.runtime.user.task import Process, Task

DELAYTIMER_MAX = 0x7FFFFFFF


class GuestTimer:
    """One timer that sends a signal when it runs out, once or again and again.

    signo: 0 for none. task: who gets it; None: the process. identity, value: si_timerid and sigev_value of POSIX timers.
    deadline: ns since boot, 0 while it does not run; interval: ns, 0 for a single shot.
    """

    def __init__(self, process: Process, signo: int, *, identity: int | None = None, value: int = 0, task: Task | None = None) -> None:
        self.process = process
        self.signo = signo
        self.identity = identity
        self.value = value
        self.task = task
        self.deadline = 0
        self.interval = 0
        self.overrun = 0
        self.clock = 1  # CLOCK_MONOTONIC
        self._timer: Timer | None = None
        self._hrtimer: HrTimer | None = None

    def create(self, k: Kernel) -> None:
        """Tell of a POSIX timer that timer_create(2) makes; the process's own came with it."""
        if self.clock in CLOCKS:
            self._hrtimer = HrTimer(k, "posix_timer_fn")
            self._hrtimer.setup(self.clock, HRTIMER_MODE_ABS)

    def _started(self, k: Kernel, deadline: int, mode: int) -> None:
        if self.identity is None and self._hrtimer is None and self.signo == signals.Sig.ALRM:
            self._hrtimer = self.process.real_timer or HrTimer(k, "it_real_fn", mode=HRTIMER_MODE_REL)
        if self._hrtimer is None:
            return
        if self.identity is None:
            self._hrtimer.start(deadline, HRTIMER_MODE_REL)
            return
        self._hrtimer.setup(self.clock, mode)
        if self.signo:
            self._hrtimer.start(deadline, HRTIMER_MODE_ABS)

    def collected(self) -> None:
        """Its signal is taken from those pending: only now Linux starts it again."""
        if self.deadline and self.interval and self._hrtimer is not None and not self._hrtimer.armed:
            self._hrtimer.start(self.deadline, HRTIMER_MODE_ABS)

    def set(self, k: Kernel, deadline: int, interval: int, *, absolute: bool = False) -> None:
        """Start anew; deadline 0 stops it. absolute: that is how it was asked for."""
        self.cancel(k)
        self.deadline, self.interval, self.overrun = deadline, interval, 0
        if deadline:
            self._started(k, deadline, HRTIMER_MODE_ABS if absolute else HRTIMER_MODE_REL)
        tp = k.tracepoints.itimer_state
        if tp.callbacks and self.identity is None:
            value = max(0, deadline - k.clock.now()) if deadline else 0
            which = self._which()
            tp.fire(which, value if which else 0, *divmod(value, NANOSECONDS), *divmod(interval, NANOSECONDS))
        if deadline:
            self._arm(k)

    def cancel(self, k: Kernel) -> None:
        """Stop."""
        if self._timer is not None:
            k.clock.cancel(self._timer)
            k.guest_timers -= 1
            self._timer = None
        if self._hrtimer is not None:
            self._hrtimer.cancel()
        self.deadline = 0

    def remaining(self, k: Kernel) -> int:
        """ns until it runs out; 0: it does not run."""
        return max(1, self.deadline - k.clock.now()) if self.deadline else 0

    def _arm(self, k: Kernel) -> None:
        k.guest_timers += 1
        self._timer = k.clock.add(self.deadline, lambda: self._expire(k))

    def _which(self) -> int:
        """The ITIMER_* number of one of the process's interval timers."""
        return next((which for which, timer in self.process.itimers.items() if timer is self), 0)

    def _expire(self, k: Kernel) -> None:
        with self._hrtimer.expiring() if self._hrtimer is not None else nullcontext():
            self._ring(k)

    def _ring(self, k: Kernel) -> None:
        tp = k.tracepoints.itimer_expire
        if tp.callbacks and self.identity is None:
            which = self._which()
            tp.fire(which, self.process.pid, k.clock.now() if which else 0)
        k.guest_timers -= 1
        self._timer = None
        now = k.clock.now()
        missed = 0
        if self.interval:
            missed = max(0, now - self.deadline) // self.interval
            self.deadline += (missed + 1) * self.interval
            self._arm(k)
        else:
            self.deadline = 0
        if self.signo:
            self._send(k, min(missed, DELAYTIMER_MAX))

    def _send(self, k: Kernel, missed: int) -> None:
        if self.identity is None:
            signals.send_to_process(k, self.process, SigInfo(self.signo))
            return
        info = SigInfo(self.signo, SI_TIMER, struct.pack("<iiQ", self.identity, missed, self.value))
        self.overrun = missed
        if self.task is None:
            signals.send_to_process(k, self.process, info)
        elif not self.task.dead:
            k.do_send_sig_info(self.signo, info, self.task, 0)
