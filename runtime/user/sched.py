"""What Linux keeps of how a task is to be scheduled (include/uapi/linux/sched.h, include/linux/sched/prio.h, sched(7))."""

from __future__ import annotations

SCHED_OTHER, SCHED_FIFO, SCHED_RR, SCHED_BATCH, SCHED_IDLE, SCHED_DEADLINE = 0, 1, 2, 3, 5, 6
SCHED_FAIR = frozenset({SCHED_OTHER, SCHED_BATCH, SCHED_IDLE})
SCHED_REAL_TIME = frozenset({SCHED_FIFO, SCHED_RR})
SCHED_POLICIES = SCHED_FAIR | SCHED_REAL_TIME | {SCHED_DEADLINE}
MIN_NICE, MAX_NICE = -20, 19
NORMAL_PRIORITY = 120  # of task_struct.prio for nice 0 (DEFAULT_PRIO)
MAX_RT_PRIO = 100


class Scheduling:
    """One task's policy and priorities.

    deadline: runtime, deadline and period of SCHED_DEADLINE, ns; flags: its SCHED_FLAG_*; ioprio: as ioprio_set(2) takes it.
    """

    __slots__ = ("deadline", "flags", "ioprio", "nice", "policy", "reset_on_fork", "rt_priority")

    def __init__(self) -> None:
        self.policy = SCHED_OTHER
        self.nice = 0
        self.rt_priority = 0
        self.reset_on_fork = False
        self.deadline = (0, 0, 0)
        self.flags = 0
        self.ioprio = 0

    @property
    def static_prio(self) -> int:
        """task_struct.static_prio: of the nice value alone."""
        return NORMAL_PRIORITY + self.nice

    @property
    def prio(self) -> int:
        """task_struct.prio: the lower the more urgent."""
        if self.policy in SCHED_FAIR:
            return self.static_prio
        return MAX_RT_PRIO - 1 - self.rt_priority if self.policy in SCHED_REAL_TIME else -1

    def inherited(self) -> Scheduling:
        """What a new task begins with (sched_fork)."""
        child = Scheduling()
        child.nice, child.ioprio = self.nice, self.ioprio
        if not self.reset_on_fork:
            child.policy, child.rt_priority = self.policy, self.rt_priority
        elif self.policy in SCHED_FAIR:
            child.policy, child.nice = self.policy, max(0, self.nice)
        else:
            child.nice = 0
        return child
