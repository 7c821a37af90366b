"""System calls about the machine itself: its name, limits, CPU, random numbers (kernel/sys.c, kernel/sched/, drivers/char/random.c)."""

from __future__ import annotations

import struct
from errno import E2BIG, EACCES, EFAULT, EINVAL, EPERM, ESRCH
from typing import TYPE_CHECKING

from pyprobe.runtime.machine.memory import PAGE, MemoryFault
from pyprobe.runtime.user.abi import ABIS
from pyprobe.runtime.user.capabilities import CAP_SYS_NICE, CAP_SYS_RESOURCE
from pyprobe.runtime.user.errors import Errno
from pyprobe.runtime.user.rseq import register as register_rseq
from pyprobe.runtime.user.syscalls.time import process_cpu_time, task_cpu_time
from pyprobe.runtime.user.task import DEFAULT_LIMITS, RLIMIT_NOFILE
from pyprobe.runtime.user.vfs.sysctl import HOSTNAME, RELEASE, VERSION
from pyprobe.runtime.user.words import NANOSECONDS, U32, s32, timespec, timeval

if TYPE_CHECKING:
    from pyprobe.runtime.user.kernel import Kernel
    from pyprobe.runtime.user.task import Process, Task

SYSNAME, DOMAINNAME = b"Linux", b"(none)"
CPUS = 1
GRND_KNOWN = 7
GRND_EXCLUSIVE = 6  # GRND_RANDOM and GRND_INSECURE do not go together
RUSAGE_SELF, RUSAGE_CHILDREN, RUSAGE_THREAD = 0, -1, 1
PRIO_PROCESS, PRIO_PGRP, PRIO_USER = range(3)
NR_OPEN = 1 << 20  # fs.nr_open


def sys_newuname(k: Kernel, t: Task, name: int) -> int:
    """uname(2)."""
    parts = (SYSNAME, HOSTNAME, RELEASE, VERSION, ABIS[t.process.arch].machine, DOMAINNAME)
    t.space.write(name, b"".join(part.ljust(65, b"\0") for part in parts))
    return 0


def sys_sethostname(k: Kernel, t: Task, name: int, length: int) -> int:
    """sethostname(2): the name is fixed."""
    raise Errno(EPERM)


sys_setdomainname = sys_sethostname


def sys_sysinfo(k: Kernel, t: Task, info: int) -> int:
    """sysinfo(2)."""
    memory = k.memory
    uptime = k.clock.now() // NANOSECONDS
    free = memory.limit - memory.used
    t.space.write(info, struct.pack("<10QHHIQQI4x", uptime, 0, 0, 0, memory.limit, free, 0, 0, 0, 0, len(k.tasks), 0, 0, 0, 0, 1))
    return 0


def sys_getrandom(k: Kernel, t: Task, buf: int, count: int, flags: int) -> int:
    """getrandom(2): the next bytes of the machine's seeded generator."""
    if flags & U32 & ~GRND_KNOWN or flags & GRND_EXCLUSIVE == GRND_EXCLUSIVE:
        raise Errno(EINVAL)
    done = 0
    count = min(count, 0x7FFFF000)
    while done < count:
        size = min(count - done, 1 << 16)
        try:
            t.space.write(buf + done, k.rng.randbytes(size))
        except MemoryFault:
            if not done:
                raise Errno(EFAULT) from None
            break
        done += size
    return done


# limits and use


def _limit_target(k: Kernel, t: Task, pid: int) -> Process:
    target = k.tasks.get(s32(pid)) if s32(pid) else t
    if target is None:
        raise Errno(ESRCH)
    if target.uid != t.uid and not t.cred.capable(CAP_SYS_RESOURCE):
        raise Errno(EPERM)
    return target.process


def sys_prlimit64(k: Kernel, t: Task, pid: int, resource: int, new: int, old: int) -> int:
    """prlimit(2)."""
    resource &= U32
    if resource not in DEFAULT_LIMITS:
        raise Errno(EINVAL)
    process = _limit_target(k, t, pid)
    before = process.limits[resource]
    if new:
        soft, hard = struct.unpack("<QQ", t.space.read(new, 16))
        if soft > hard or (resource == RLIMIT_NOFILE and hard > NR_OPEN and soft > NR_OPEN and t.cred.capable(CAP_SYS_RESOURCE)):
            raise Errno(EINVAL if soft > hard else EPERM)
        if hard > before[1] and not t.cred.capable(CAP_SYS_RESOURCE):
            raise Errno(EPERM)
        process.limits[resource] = (soft, hard)
    if old:
        t.space.write(old, struct.pack("<QQ", *before))
    return 0


def sys_getrlimit(k: Kernel, t: Task, resource: int, rlim: int) -> int:
    """getrlimit(2)."""
    return sys_prlimit64(k, t, 0, resource, 0, rlim)


def sys_setrlimit(k: Kernel, t: Task, resource: int, rlim: int) -> int:
    """setrlimit(2)."""
    return sys_prlimit64(k, t, 0, resource, rlim, 0)


def sys_getrusage(k: Kernel, t: Task, who: int, ru: int) -> int:
    """getrusage(2)."""
    who = s32(who)
    if who == RUSAGE_SELF:
        used = process_cpu_time(k, t.process)
    elif who == RUSAGE_CHILDREN:
        used = t.process.children_cpu_time
    elif who == RUSAGE_THREAD:
        used = task_cpu_time(k, t)
    else:
        raise Errno(EINVAL)
    resident = 0 if who == RUSAGE_CHILDREN else len(t.space.pages) * PAGE // 1024
    t.space.write(ru, (timeval(used) + timeval(0) + struct.pack("<q24xq", resident, resident // (PAGE // 1024))).ljust(144, b"\0"))
    return 0


# scheduling: one CPU, one policy


def sys_sched_yield(k: Kernel, t: Task) -> int:
    """sched_yield(2)."""
    k.yield_cpu()
    return 0


def _task(k: Kernel, t: Task, pid: int) -> Task:
    target = k.tasks.get(s32(pid)) if s32(pid) else t
    if target is None:
        raise Errno(ESRCH)
    return target


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


def sys_sched_getscheduler(k: Kernel, t: Task, pid: int) -> int:
    """sched_getscheduler(2): SCHED_OTHER."""
    if s32(pid) < 0:
        raise Errno(EINVAL)
    _task(k, t, pid)
    return 0


def sys_sched_setscheduler(k: Kernel, t: Task, pid: int, policy: int, param: int) -> int:
    """sched_setscheduler(2): accepted, without effect."""
    _task(k, t, pid)
    kind, priority = s32(policy) & 0xFFFF, t.space.u32(param)
    if kind > 6 or (1 <= priority <= 99) != (kind in (1, 2)):
        raise Errno(EINVAL)
    return 0


def sys_sched_getparam(k: Kernel, t: Task, pid: int, param: int) -> int:
    """sched_getparam(2)."""
    _task(k, t, pid)
    t.space.put_u32(param, 0)
    return 0


def sys_sched_setparam(k: Kernel, t: Task, pid: int, param: int) -> int:
    """sched_setparam(2)."""
    _task(k, t, pid)
    if t.space.u32(param):
        raise Errno(EINVAL)
    return 0


SCHED_ATTR_SIZE = 48  # SCHED_ATTR_SIZE_VER0


def sys_sched_getattr(k: Kernel, t: Task, pid: int, attr: int, size: int, flags: int) -> int:
    """sched_getattr(2): SCHED_OTHER with the process's nice value."""
    if size & U32 < SCHED_ATTR_SIZE or flags & U32:
        raise Errno(EINVAL)
    nice = _task(k, t, pid).process.nice
    t.space.write(attr, struct.pack("<IIQiI", SCHED_ATTR_SIZE, 0, 0, nice, 0).ljust(SCHED_ATTR_SIZE, b"\0"))
    return 0


def sys_sched_setattr(k: Kernel, t: Task, pid: int, attr: int, flags: int) -> int:
    """sched_setattr(2): the nice value is kept, the policy has no effect."""
    size, policy, _, nice, _ = struct.unpack("<IIQiI", t.space.read(attr, 24))
    if flags & U32 or policy > 6:
        raise Errno(EINVAL)
    if size and size < SCHED_ATTR_SIZE:
        raise Errno(E2BIG)
    _task(k, t, pid).process.nice = max(-20, min(19, nice))
    return 0


def sys_sched_get_priority_max(k: Kernel, t: Task, policy: int) -> int:
    """sched_get_priority_max(2)."""
    return _priority(policy, 99)


def _priority(policy: int, real_time: int) -> int:
    if s32(policy) not in (0, 1, 2, 3, 5, 6):
        raise Errno(EINVAL)
    return real_time if s32(policy) in (1, 2) else 0


def sys_sched_get_priority_min(k: Kernel, t: Task, policy: int) -> int:
    """sched_get_priority_min(2)."""
    return _priority(policy, 1)


def sys_sched_rr_get_interval(k: Kernel, t: Task, pid: int, interval: int) -> int:
    """sched_rr_get_interval(2)."""
    _task(k, t, pid)
    t.space.write(interval, timespec(4_000_000))
    return 0


def sys_getcpu(k: Kernel, t: Task, cpu: int, node: int) -> int:
    """getcpu(2)."""
    for address in (cpu, node):
        if address:
            t.space.put_u32(address, 0)
    return 0


def _prioritised(k: Kernel, t: Task, which: int, who: int) -> list[Process]:
    who = s32(who)
    processes = list(k.processes.values())
    if s32(which) == PRIO_PROCESS:
        found = [_task(k, t, who).process]
    elif s32(which) == PRIO_PGRP:
        found = [p for p in processes if p.pgid == (who or t.process.pgid)]
    elif s32(which) == PRIO_USER:
        found = [x.process for x in k.tasks.values() if x.uid == (who or t.uid)]
    else:
        raise Errno(EINVAL)
    if not found:
        raise Errno(ESRCH)
    return found


def sys_getpriority(k: Kernel, t: Task, which: int, who: int) -> int:
    """getpriority(2): 20 - nice."""
    return 20 - min(p.nice for p in _prioritised(k, t, which, who))


def sys_setpriority(k: Kernel, t: Task, which: int, who: int, niceval: int) -> int:
    """setpriority(2): kept and shown, without effect on scheduling."""
    for process in _prioritised(k, t, which, who):
        nice = max(-20, min(19, s32(niceval)))
        if nice < process.nice and not t.cred.capable(CAP_SYS_NICE):
            raise Errno(EACCES)
        process.nice = nice
    return 0


def sys_ioprio_get(k: Kernel, t: Task, which: int, who: int) -> int:
    """ioprio_get(2)."""
    return 0


def sys_ioprio_set(k: Kernel, t: Task, which: int, who: int, priority: int) -> int:
    """ioprio_set(2)."""
    return 0


def sys_personality(k: Kernel, t: Task, personality: int) -> int:
    """personality(2)."""
    old = t.process.personality
    if personality & U32 != U32:
        t.process.personality = personality & U32
    return old


def sys_rseq(k: Kernel, t: Task, rseq: int, length: int, flags: int, signature: int) -> int:
    """rseq(2)."""
    return register_rseq(t, rseq, length & U32, s32(flags), signature & U32)


def sys_syslog(k: Kernel, t: Task, kind: int, buf: int, length: int) -> int:
    """syslog(2): an empty log."""
    return 0


