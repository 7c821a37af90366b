"""Virtual time: what the guest, `nsecs` and every timer go by.

The machine executes one byte of code per nanosecond. That is close to what the emulator reaches on today's hosts, it is
cheap to count (the length of each block as it is entered), and it does not change when a block is split in two. Nothing
of the host enters it, so the same program takes the same time on every run; sleeping is a jump and costs nothing.

`Clock.words` is read and written by the block callback of the engine: it adds to `now`, and leaves to Python as soon as
`now >= deadline`. Everything that wants attention (a timer, the end of a time slice, a request to stop) works by
lowering that one word.
"""

from __future__ import annotations

import ctypes
import heapq
import time
from collections import deque
from collections.abc import Callable

EPOCH_NS = 1_893_456_000 * 10**9
"""Start of virtual time unless told otherwise: 2030-01-01 00:00:00 UTC, later than ordinary file times."""

UPTIME_NS = 10**9
"""How long the emulated Linux has been up when a run starts. No program ever reads 0 on a running system, and scripts rely on it: what
they keep of `nsecs` is asked for by its truth."""

NEVER = (1 << 64) - 1
WAITING = 1  # a deadline that is past and is no request for attention: somebody waits for the guest to accept an interrupt
SLICE_NS = 32 << 20  # code executed between two looks at the host's signals: 10 to 40 ms of host time
REAL_SLICE_NS = 256 << 10  # with real time, between two looks at the host's clock


class ClockWords(ctypes.Structure):
    """The two words shared with the block callback, in nanoseconds since boot."""

    _fields_ = [("now", ctypes.c_uint64), ("deadline", ctypes.c_uint64)]
    now: int
    deadline: int


class Timer:
    """A pending call; see `Clock.add`."""

    __slots__ = ("callback", "deadline")

    def __init__(self, deadline: int, callback: Callable[[], object]) -> None:
        self.deadline = deadline
        self.callback: Callable[[], object] | None = callback


class Clock:
    """Virtual nanoseconds since boot, and the timers that wait for them.

    epoch_ns: wall time at the start, nanoseconds since 1970; ignored with `real`.
    uptime_ns: how long ago the machine booted; 0 for one that is switched on now.
    real: time is the host's. Sleeping then takes its time and runs are no longer reproducible; for interactive programs.
    """

    def __init__(self, epoch_ns: int = EPOCH_NS, *, real: bool = False, uptime_ns: int = 0) -> None:
        self.words = ClockWords(uptime_ns, 0)
        self.real = real
        self.began = uptime_ns  # what now() was at the start
        self._host_boot = time.monotonic_ns() - uptime_ns if real else 0
        self.epoch_ns = (time.time_ns() if real else epoch_ns) - uptime_ns  # wall time at boot
        self._heap: list[tuple[int, int, Timer]] = []
        self._sequence = 0
        self._soon: deque[Callable[[], object]] = deque()
        self._slice = REAL_SLICE_NS if real else SLICE_NS
        self.arm()

    def now(self) -> int:
        """Nanoseconds since boot."""
        if self.real:
            self.sync()
        return self.words.now

    def charge(self, ns: int) -> None:
        """Work that is not the guest's code took so long."""
        self.words.now += ns

    def wall(self) -> int:
        """Nanoseconds since 1970-01-01 00:00:00 UTC."""
        return self.epoch_ns + self.now()

    def sync(self) -> None:
        """With real time, catch up with the host's clock (never backwards)."""
        if self.real:
            self.words.now = max(self.words.now, time.monotonic_ns() - self._host_boot)

    def advance_to(self, ns: int) -> None:
        """Nothing runs until `ns`: jump there. With real time, sleep as long; a signal handler that raises ends the sleep."""
        if self.real:
            wait = ns - self.now()
            if wait > 0:
                time.sleep(wait / 1e9)
            self.sync()
        self.words.now = max(self.words.now, ns)
        self.arm()

    @property
    def deadline(self) -> int:
        """When the running guest is next interrupted, in nanoseconds since boot; 0 when something asked for attention."""
        return self.words.deadline

    def arm(self) -> None:
        """Set the next interruption: the first timer, or the end of a slice."""
        self.words.deadline = min(self.next_deadline(), self.words.now + self._slice)

    def interrupt(self) -> None:
        """Interrupt the running guest before the next block it enters."""
        self.words.deadline = 0

    def wait(self) -> None:
        """As `interrupt`, but not before the guest accepts interrupts, where the callback can tell (`State.patience`)."""
        self.words.deadline = WAITING

    def add(self, deadline_ns: int, callback: Callable[[], object]) -> Timer:
        """Call `callback` once `now() >= deadline_ns`; timers of one deadline run in the order they were added."""
        timer = Timer(deadline_ns, callback)
        self._sequence += 1
        heapq.heappush(self._heap, (deadline_ns, self._sequence, timer))
        if deadline_ns < self.words.deadline:
            self.words.deadline = deadline_ns
        elif self.words.deadline == WAITING:
            self.interrupt()
        return timer

    def soon(self, callback: Callable[[], object]) -> None:
        """Call `callback` at the next safe place, whatever the time; may be called from a signal handler."""
        self._soon.append(callback)
        self.interrupt()

    def cancel(self, timer: Timer) -> None:
        """Forget a timer; one that ran already is left alone."""
        timer.callback = None

    def next_deadline(self) -> int:
        """The first pending timer in nanoseconds since boot, or `NEVER`."""
        heap = self._heap
        while heap and heap[0][2].callback is None:
            heapq.heappop(heap)
        return heap[0][0] if heap else NEVER

    def run_due(self) -> None:
        """Call what is due, in the order of the deadlines, and arm the next interruption.

        Each callback sees the time it really is, which may be a little past its deadline: a block of code is not interrupted.
        """
        if self.real:
            self.sync()
        try:
            while self._soon:
                self._soon.popleft()()
            while self.next_deadline() <= self.words.now:
                timer = heapq.heappop(self._heap)[2]
                callback, timer.callback = timer.callback, None
                if callback is not None:
                    callback()
        finally:
            self.arm()
