"""Who runs next: one CPU, round robin, and a clock that jumps when there is nothing to do.

A task runs until it has to wait, or for a quantum of virtual time while others are ready, so the order depends on the guest alone.
Only input from the host can change it: that is asked for when no task can run, and waited for really.
"""

from __future__ import annotations

import select
from collections import deque
from contextlib import nullcontext
from typing import TYPE_CHECKING

from pyprobe.runtime.machine.clock import NEVER
from pyprobe.runtime.user import objects
from pyprobe.runtime.user.functions import kernel_function
from pyprobe.runtime.user.words import printable

if TYPE_CHECKING:
    from pyprobe.runtime.user.kernel import Kernel
    from pyprobe.runtime.user.task import Task

QUANTUM_NS = 4_000_000  # virtual time a task may run while others are ready; CFS gives a few milliseconds too
HOST_SLICE_MS = 200  # between two looks at what else may have happened, while waiting for the host or its clock
HOST_SLICE_NS = HOST_SLICE_MS * 1_000_000

# task states as sched_switch shows them
TASK_RUNNING, TASK_INTERRUPTIBLE, TASK_STOPPED, TASK_TRACED, EXIT_ZOMBIE = 0, 1, 4, 8, 0x20
TASK_NORMAL = 3  # what try_to_wake_up wakes: interruptible and uninterruptible waits
IDLE = (b"swapper/0", 0)
IDLE_PRIORITY = 120


class Deadlock(Exception):
    """Every task waits, and nothing can ever wake one. The message lists them: `PID/TID COMM waits in CALL for THING; ...`."""


def _waits(task: Task) -> str:
    """What a parked task is doing, in words."""
    parked = task.parked
    if task.held:
        return "is stopped" + (f" for its tracer {task.tracing.tracer.pid}" if task.tracing is not None else "")
    if parked is None:
        return "waits"
    return f"waits in {parked.syscall.name}" + (f" for {parked.block.why}" if parked.block.why else "")


class Scheduler:
    """The run queue and the parked tasks of one machine."""

    def __init__(self, kernel: Kernel) -> None:
        self._k = kernel
        self._ready: deque[Task] = deque()
        self._parked: dict[Task, None] = {}  # in the order they began to wait
        self._tried: dict[Task, int] = {}  # tasks whose wait has no test of its own: the turn of their last try
        self._turn = 0  # counts the turns tasks had
        self.idle_time = kernel.clock.now()  # ns in which nobody had the CPU, since boot
        self._last: Task | None = None  # who ran last, None: nobody, the CPU was idle
        self._shown: tuple[bytes, int, int, int] = (*IDLE, IDLE_PRIORITY, TASK_RUNNING)  # and as sched_switch shows it

    def add(self, task: Task) -> None:
        """Make a task ready to run, after the others."""
        self._ready.append(task)

    def park(self, task: Task) -> None:
        """Keep a task that waits (`task.parked`), or whose process is stopped."""
        self._parked[task] = None
        self._tried[task] = self._turn

    def unpark(self, task: Task) -> None:
        """Make a waiting task ready, whatever it waits for."""
        if task in self._parked:
            self._k.try_to_wake_up(task, TASK_NORMAL, 0)

    def woken(self, task: Task) -> None:
        """What try_to_wake_up does."""
        del self._parked[task]
        self._tried.pop(task, None)
        self._ready.append(task)
        tracepoints = self._k.tracepoints
        for tp in (tracepoints.sched_waking, tracepoints.sched_wakeup):
            if tp.callbacks:
                tp.fire(task.comm.ljust(16, b"\0"), task.tid, task.sched.prio, 0)

    def forget(self, task: Task) -> None:
        """The task is dead."""
        self._parked.pop(task, None)
        self._tried.pop(task, None)

    @property
    def last(self) -> Task | None:
        """Who had the CPU last; None: it was idle."""
        return self._last

    @property
    def contended(self) -> bool:
        """Does somebody else want the CPU?"""
        return bool(self._ready)

    def next(self) -> Task:
        """The task whose turn it is; waits for it if need be. Raises Deadlock."""
        self._turn += 1
        while True:
            self.wake()
            while self._ready:
                task = self._ready.popleft()
                if task.dead:
                    continue
                if (task.process.stopped or task.tracing is not None) and task.held:
                    self.park(task)
                    continue
                return task
            self._idle()

    def next_deadline(self) -> int:
        """When the first waiting task must be woken, in ns since boot; NEVER if none."""
        deadlines = [t.parked.block.deadline for t in self._parked if t.parked is not None and not t.held]
        return min((d for d in deadlines if d is not None), default=NEVER)

    def poll_host(self) -> None:
        """Wake the tasks that wait for the host and need not any more."""
        waiting = [t for t in self._parked if t.parked is not None and t.parked.block.host]
        if waiting:
            self._poll(waiting, 0)

    def _poll(self, waiting: list[Task], milliseconds: int) -> bool:
        poll = select.poll()
        masks: dict[int, int] = {}
        for task in waiting:
            for fd, mask in task.parked.block.host if task.parked is not None else ():
                masks[fd] = masks.get(fd, 0) | mask
        for fd, mask in masks.items():
            poll.register(fd, mask)
        fds = {fd for fd, _ in poll.poll(milliseconds)}
        for task in waiting:
            if task.parked is not None and any(fd in fds for fd, _ in task.parked.block.host):
                self.unpark(task)
        return bool(fds)

    def wake(self) -> None:
        """Make ready the tasks whose wait is over."""
        now = self._k.clock.now()
        for task in list(self._parked):
            parked = task.parked
            if (task.process.stopped or task.tracing is not None) and task.held:
                continue
            if parked is None:
                self.unpark(task)
                continue
            block = parked.block
            if block.ready is not None:
                awake = bool(block.ready())
            else:
                awake = self._tried[task] != self._turn
            if awake:
                self.unpark(task)
            elif block.deadline is not None and block.deadline <= now:
                with block.timer.expiring() if block.timer is not None else nullcontext():
                    self.unpark(task)

    def _idle(self) -> None:
        """Nothing is ready: let time pass until something may be."""
        self.switched(None)
        k = self._k
        began = k.clock.now()
        waiting = [t for t in self._parked if t.parked is not None and not t.held]
        deadline = min(self.next_deadline(), k.clock.next_deadline() if k.guest_timers else NEVER)
        for_host = [t for t in waiting if t.parked is not None and t.parked.block.host]
        if for_host:
            self._wait_for_host(for_host, deadline)
        elif deadline == NEVER and not k.attended:
            raise Deadlock(self._who_waits())
        else:
            # timers of probes may come first; the guest's own deadline is reached step by step
            goal = min(deadline, k.clock.next_deadline())
            k.clock.advance_to(min(goal, k.clock.now() + HOST_SLICE_NS) if k.clock.real else goal)
            k.clock.run_due()
            self._turn += 1
        self.idle_time += k.clock.now() - began
        if k.stop_requested:
            raise StopRun

    def _wait_for_host(self, waiting: list[Task], deadline: int) -> None:
        """Wait for host input really; a guest deadline that comes first is waited for as long, then taken."""
        clock = self._k.clock
        began = clock.now()
        remaining = HOST_SLICE_MS if deadline == NEVER else max(0, (deadline - began) // 1_000_000)
        if not self._poll(waiting, min(remaining, HOST_SLICE_MS)) and deadline != NEVER:
            clock.advance_to(deadline if remaining <= HOST_SLICE_MS else began + HOST_SLICE_NS)
        clock.run_due()

    def _who_waits(self) -> str:
        return "; ".join(f"{task.pid}/{task.tid} {printable(task.comm)} {_waits(task)}" for task in self._parked)

    def switched(self, task: Task | None) -> None:
        """Another task than the last one begins to run, or (None) none: fire sched_switch, in the name of the one that leaves."""
        tp = self._k.tracepoints.sched_switch
        comm, tid, priority = (task.comm, task.tid, task.sched.prio) if task is not None else (*IDLE, IDLE_PRIORITY)
        before, self._shown = self._shown, (comm, tid, priority, TASK_RUNNING)
        if tp.callbacks and before[1] != tid:
            running, self._k.current = self._k.current, self._last
            try:
                tp.fire(before[0].ljust(16, b"\0"), *before[1:], comm.ljust(16, b"\0"), tid, priority)
            finally:
                self._k.current = running
        last, self._last = self._last, task
        if task is not None and last is not task:
            self._k.finish_task_switch(last or objects.IDLE)

    def switching_from(self, task: Task) -> None:
        """Remember how the task that ran left the CPU, for the next sched_switch."""
        stopped = TASK_STOPPED if task.tracing is None else TASK_TRACED
        state = EXIT_ZOMBIE if task.dead else stopped if task.held else TASK_INTERRUPTIBLE if task.parked else TASK_RUNNING
        self._shown = (task.comm, task.tid, task.sched.prio, state)


@kernel_function("int try_to_wake_up(struct task_struct *p, unsigned int state, int wake_flags)")
def try_to_wake_up(k: Kernel, task: Task, state: int, wake_flags: int) -> int:
    """Make a waiting task ready to run."""
    k.scheduler.woken(task)
    return 1


@kernel_function("struct rq *finish_task_switch(struct task_struct *prev)")
def finish_task_switch(k: Kernel, prev: Task | objects.Outside) -> None:
    """The first that a task does when it gets the CPU; `prev` had it before."""


class StopRun(Exception):
    """The run was asked to end."""

