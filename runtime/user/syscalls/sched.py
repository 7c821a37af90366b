"""System calls on how a task is scheduled (kernel/sched/core.c of Linux 6.1, sched(7)).

All is checked, kept, inherited and shown as in Linux; only the order in which tasks run does not depend on it (see scheduler.py).
"""

from __future__ import annotations

import struct
from errno import E2BIG, EACCES, EINVAL, EOPNOTSUPP, EPERM, ESRCH
from typing import TYPE_CHECKING, Any, NamedTuple

from pyprobe.runtime.machine.memory import PAGE
from pyprobe.runtime.user.capabilities import CAP_SYS_ADMIN, CAP_SYS_NICE
from pyprobe.runtime.user.errors import Errno
from pyprobe.runtime.user.sched import (
    MAX_NICE,
    MAX_RT_PRIO,
    MIN_NICE,
    SCHED_DEADLINE,
    SCHED_FAIR,
    SCHED_IDLE,
    SCHED_POLICIES,
    SCHED_REAL_TIME,
    SCHED_RR,
    Scheduling,
)
from pyprobe.runtime.user.task import RLIMIT_NICE, RLIMIT_RTPRIO
from pyprobe.runtime.user.words import U32, s32, timespec

if TYPE_CHECKING:
    from pyprobe.runtime.user.kernel import Kernel
    from pyprobe.runtime.user.task import Task

CPUS = 1
SCHED_RESET_ON_FORK = 0x40000000
FLAG_RESET_ON_FORK, FLAG_RECLAIM, FLAG_DL_OVERRUN, FLAG_KEEP_POLICY, FLAG_KEEP_PARAMS = 1, 2, 4, 8, 0x10
FLAG_UTIL_CLAMP, FLAG_ALL = 0x60, 0x7F
FLAGS_DEADLINE = FLAG_RECLAIM | FLAG_DL_OVERRUN
RR_TIMESLICE, FAIR_SLICE = 100_000_000, 4_000_000  # ns
DL_RUNTIME_MIN = 1 << 10  # ns: what the arithmetic of deadlines can tell from nothing
DL_PERIOD_MIN, DL_PERIOD_MAX = 100_000, (1 << 22) * 1000  # ns: sched_deadline_period_{min,max}_us
ATTR_SIZE_VER0, ATTR_SIZE = 48, 56  # struct sched_attr
_ATTR = struct.Struct("<IIQiIQQQII")
_KEEP = -1  # SETPARAM_POLICY

PRIO_PROCESS, PRIO_PGRP, PRIO_USER = range(3)
IOPRIO_CLASS_SHIFT, IOPRIO_LEVELS = 13, 8
IOPRIO_NONE, IOPRIO_RT, IOPRIO_BE, IOPRIO_IDLE = range(4)


class Attributes(NamedTuple):
    """What a call wants of a task: struct sched_attr without what this kernel has no use for."""

    policy: int
    flags: int
    nice: int
    priority: int
    deadline: tuple[int, int, int] = (0, 0, 0)


def _task(k: Kernel, t: Task, pid: int) -> Task:
    """The task of that id, 0: this one. Raises Errno(ESRCH)."""
    target = k.tasks.get(s32(pid)) if s32(pid) else t
    if target is None:
        raise Errno(ESRCH)
    return target


def _named(k: Kernel, t: Task, pid: int, structure: int = 1) -> Task:
    """As `_task`, for the calls that take no negative id and need a structure."""
    if s32(pid) < 0 or not structure:
        raise Errno(EINVAL)
    return _task(k, t, pid)


def _same_owner(t: Task, target: Task) -> bool:
    return t.cred.euid in (target.cred.euid, target.cred.uid)


def _may_have_nice(target: Task, nice: int) -> bool:
    """Does RLIMIT_NICE allow it?"""
    return MAX_NICE + 1 - nice <= target.process.limits[RLIMIT_NICE][0]


# processors


def sys_sched_yield(k: Kernel, t: Task) -> int:
    """sched_yield(2)."""
    k.yield_cpu()
    return 0


def sys_sched_getaffinity(k: Kernel, t: Task, pid: int, length: int, mask: int) -> int:
    """sched_getaffinity(2)."""
    _task(k, t, pid)
    if length & 7 or length * 8 < CPUS:
        raise Errno(EINVAL)
    t.space.write(mask, (1).to_bytes(8, "little"))
    return 8


def sys_sched_setaffinity(k: Kernel, t: Task, pid: int, length: int, mask: int) -> int:
    """sched_setaffinity(2)."""
    _task(k, t, pid)
    if not int.from_bytes(t.space.read(mask, min(length, 128)), "little") & 1:
        raise Errno(EINVAL)
    return 0


def sys_getcpu(k: Kernel, t: Task, cpu: int, node: int) -> int:
    """getcpu(2)."""
    for address in (cpu, node):
        if address:
            t.space.put_u32(address, 0)
    return 0


# policies


def _schedulable(deadline: tuple[int, int, int]) -> bool:
    """__checkparam_dl: is it a sensible triple of runtime, deadline and period?"""
    runtime, relative, period = deadline
    if not relative or runtime < DL_RUNTIME_MIN or relative >> 63 or period >> 63:
        return False
    period = period or relative
    return DL_PERIOD_MIN <= period <= DL_PERIOD_MAX and runtime <= relative <= period


def _allowed(t: Task, target: Task, wanted: Attributes, policy: int, reset: bool) -> bool:
    """user_check_sched_setscheduler: what a task without CAP_SYS_NICE may do."""
    now = target.sched
    if policy in SCHED_FAIR and wanted.nice < now.nice and not _may_have_nice(target, wanted.nice):
        return False
    if policy in SCHED_REAL_TIME:
        limit = target.process.limits[RLIMIT_RTPRIO][0]
        if (policy != now.policy and not limit) or (wanted.priority > now.rt_priority and wanted.priority > limit):
            return False
    if policy == SCHED_DEADLINE or (now.policy == SCHED_IDLE and policy != SCHED_IDLE and not _may_have_nice(target, now.nice)):
        return False
    return _same_owner(t, target) and (reset or not now.reset_on_fork)


def _set(t: Task, target: Task, wanted: Attributes) -> int:
    """__sched_setscheduler. Raises Errno."""
    now = target.sched
    policy = now.policy if wanted.policy == _KEEP else wanted.policy
    reset = now.reset_on_fork if wanted.policy == _KEEP else bool(wanted.flags & FLAG_RESET_ON_FORK)
    if policy not in SCHED_POLICIES or wanted.flags & ~FLAG_ALL or wanted.priority >= MAX_RT_PRIO:
        raise Errno(EINVAL)
    if (policy == SCHED_DEADLINE and not _schedulable(wanted.deadline)) or (policy in SCHED_REAL_TIME) != (wanted.priority != 0):
        raise Errno(EINVAL)
    if not _allowed(t, target, wanted, policy, reset) and not t.cred.capable(CAP_SYS_NICE):
        raise Errno(EPERM)
    if wanted.flags & FLAG_UTIL_CLAMP:
        raise Errno(EOPNOTSUPP)
    now.reset_on_fork = reset
    if wanted.flags & FLAG_KEEP_PARAMS:
        return 0
    now.policy, now.rt_priority = policy, wanted.priority
    if policy == SCHED_DEADLINE:
        runtime, relative, period = wanted.deadline
        now.deadline = runtime, relative, period or relative
        now.flags = wanted.flags & FLAGS_DEADLINE
    elif policy in SCHED_FAIR:
        now.nice = wanted.nice
    return 0


def sys_sched_getscheduler(k: Kernel, t: Task, pid: int) -> int:
    """sched_getscheduler(2)."""
    sched = _named(k, t, pid).sched
    return sched.policy | (SCHED_RESET_ON_FORK if sched.reset_on_fork else 0)


def sys_sched_setscheduler(k: Kernel, t: Task, pid: int, policy: int, param: int) -> int:
    """sched_setscheduler(2)."""
    policy = s32(policy)
    if policy < 0 or s32(pid) < 0 or not param:
        raise Errno(EINVAL)
    priority = t.space.u32(param)
    target = _task(k, t, pid)
    flags = FLAG_RESET_ON_FORK if policy & SCHED_RESET_ON_FORK else 0
    return _set(t, target, Attributes(policy & ~SCHED_RESET_ON_FORK, flags, target.sched.nice, priority))


def sys_sched_getparam(k: Kernel, t: Task, pid: int, param: int) -> int:
    """sched_getparam(2)."""
    sched = _named(k, t, pid, param).sched
    t.space.put_u32(param, sched.rt_priority if sched.policy in SCHED_REAL_TIME else 0)
    return 0


def sys_sched_setparam(k: Kernel, t: Task, pid: int, param: int) -> int:
    """sched_setparam(2)."""
    if s32(pid) < 0 or not param:
        raise Errno(EINVAL)
    priority = t.space.u32(param)
    target = _task(k, t, pid)
    return _set(t, target, Attributes(_KEEP, 0, target.sched.nice, priority))


def sys_sched_getattr(k: Kernel, t: Task, pid: int, attr: int, size: int, flags: int) -> int:
    """sched_getattr(2)."""
    size &= U32
    if not ATTR_SIZE_VER0 <= size <= PAGE or flags & U32:
        raise Errno(EINVAL)
    sched = _named(k, t, pid, attr).sched
    flags = (FLAG_RESET_ON_FORK if sched.reset_on_fork else 0) | sched.flags
    nice = sched.nice if sched.policy in SCHED_FAIR else 0
    size = min(size, ATTR_SIZE)
    t.space.write(attr, _ATTR.pack(size, sched.policy, flags, nice, sched.rt_priority, *sched.deadline, 0, 0)[:size])
    return 0


def _copied_attributes(t: Task, attr: int) -> Attributes:
    """sched_copy_attr. Raises Errno."""
    size = t.space.u32(attr) or ATTR_SIZE_VER0
    if not ATTR_SIZE_VER0 <= size <= PAGE or any(t.space.read(attr + ATTR_SIZE, max(0, size - ATTR_SIZE))):
        t.space.put_u32(attr, ATTR_SIZE)
        raise Errno(E2BIG)
    raw = t.space.read(attr, min(size, ATTR_SIZE)).ljust(ATTR_SIZE, b"\0")
    _, policy, flags, nice, priority, runtime, deadline, period, _, _ = _ATTR.unpack(raw)
    if flags & FLAG_UTIL_CLAMP and size < ATTR_SIZE:
        raise Errno(EINVAL)
    return Attributes(policy, flags, max(MIN_NICE, min(MAX_NICE, nice)), priority, (runtime, deadline, period))


def _parameters(now: Scheduling) -> dict[str, Any]:
    """get_params: those of the policy it has."""
    if now.policy == SCHED_DEADLINE:
        return {"deadline": now.deadline}
    return {"priority": now.rt_priority} if now.policy in SCHED_REAL_TIME else {"nice": now.nice}


def sys_sched_setattr(k: Kernel, t: Task, pid: int, attr: int, flags: int) -> int:
    """sched_setattr(2)."""
    if not attr or s32(pid) < 0 or flags & U32:
        raise Errno(EINVAL)
    wanted = _copied_attributes(t, attr)
    if wanted.policy >> 31:
        raise Errno(EINVAL)
    target = _task(k, t, pid)
    now = target.sched
    if wanted.flags & FLAG_KEEP_POLICY:
        wanted = wanted._replace(policy=_KEEP)
    if wanted.flags & FLAG_KEEP_PARAMS:
        wanted = wanted._replace(**_parameters(now))
    return _set(t, target, wanted)


def _priority(policy: int, real_time: int) -> int:
    policy = s32(policy)
    if policy not in SCHED_POLICIES:
        raise Errno(EINVAL)
    return real_time if policy in SCHED_REAL_TIME else 0


def sys_sched_get_priority_max(k: Kernel, t: Task, policy: int) -> int:
    """sched_get_priority_max(2)."""
    return _priority(policy, MAX_RT_PRIO - 1)


def sys_sched_get_priority_min(k: Kernel, t: Task, policy: int) -> int:
    """sched_get_priority_min(2)."""
    return _priority(policy, 1)


def sys_sched_rr_get_interval(k: Kernel, t: Task, pid: int, interval: int) -> int:
    """sched_rr_get_interval(2)."""
    policy = _named(k, t, pid).sched.policy
    t.space.write(interval, timespec(RR_TIMESLICE if policy == SCHED_RR else FAIR_SLICE if policy in SCHED_FAIR else 0))
    return 0


# nice and its likes: of one task, a process group, or all of a user


def _several(k: Kernel, t: Task, which: int, who: int) -> list[Task]:
    """Raises Errno."""
    who = s32(who)
    tasks = list(k.tasks.values())
    if which == PRIO_PROCESS:
        found = [_task(k, t, who)]
    elif which == PRIO_PGRP:
        found = [x for x in tasks if x.process.pgid == (who or t.process.pgid)]
    elif which == PRIO_USER:
        found = [x for x in tasks if x.uid == (who or t.uid)]
    else:
        raise Errno(EINVAL)
    if not found:
        raise Errno(ESRCH)
    return found


def sys_getpriority(k: Kernel, t: Task, which: int, who: int) -> int:
    """getpriority(2): 20 - nice."""
    return MAX_NICE + 1 - min(x.sched.nice for x in _several(k, t, s32(which), who))


def sys_setpriority(k: Kernel, t: Task, which: int, who: int, niceval: int) -> int:
    """setpriority(2)."""
    nice = max(MIN_NICE, min(MAX_NICE, s32(niceval)))
    for target in _several(k, t, s32(which), who):
        powerful = t.cred.capable(CAP_SYS_NICE)
        if not _same_owner(t, target) and not powerful:
            raise Errno(EPERM)
        if nice < target.sched.nice and not _may_have_nice(target, nice) and not powerful:
            raise Errno(EACCES)
        target.sched.nice = nice
    return 0


def sys_ioprio_get(k: Kernel, t: Task, which: int, who: int) -> int:
    """ioprio_get(2): the highest; none at all counts as the middle of the best-effort class."""
    found = [x.sched.ioprio for x in _several(k, t, s32(which) - 1, who)]
    return min(found, key=lambda value: value or IOPRIO_BE << IOPRIO_CLASS_SHIFT | 4)


def sys_ioprio_set(k: Kernel, t: Task, which: int, who: int, priority: int) -> int:
    """ioprio_set(2)."""
    kind, level = (priority & 0xFFFF) >> IOPRIO_CLASS_SHIFT, priority & (1 << IOPRIO_CLASS_SHIFT) - 1
    if kind == IOPRIO_RT and not (t.cred.capable(CAP_SYS_ADMIN) or t.cred.capable(CAP_SYS_NICE)):
        raise Errno(EPERM)
    if kind > IOPRIO_IDLE or (kind in (IOPRIO_RT, IOPRIO_BE) and level >= IOPRIO_LEVELS) or (kind == IOPRIO_NONE and level):
        raise Errno(EINVAL)
    for target in _several(k, t, s32(which) - 1, who):
        if not _same_owner(t, target) and not t.cred.capable(CAP_SYS_NICE):
            raise Errno(EPERM)
        target.sched.ioprio = priority & 0xFFFF
    return 0
