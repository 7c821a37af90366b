"""System calls about the machine itself: its name, limits, use, random numbers (kernel/sys.c, drivers/char/random.c)."""

from __future__ import annotations

import struct
from errno import EFAULT, EINVAL, EPERM, ESRCH
from typing import TYPE_CHECKING

from pyprobe.runtime.machine.memory import PAGE, MemoryFault
from pyprobe.runtime.user.abi import ABIS
from pyprobe.runtime.user.capabilities import CAP_SYS_RESOURCE
from pyprobe.runtime.user.errors import Errno
from pyprobe.runtime.user.rseq import register as register_rseq
from pyprobe.runtime.user.syscalls.time import process_cpu_time, task_cpu_time
from pyprobe.runtime.user.task import DEFAULT_LIMITS, RLIMIT_NOFILE
from pyprobe.runtime.user.vfs.sysctl import HOSTNAME, RELEASE, VERSION
from pyprobe.runtime.user.words import NANOSECONDS, U32, s32, timeval

if TYPE_CHECKING:
    from pyprobe.runtime.user.kernel import Kernel
    from pyprobe.runtime.user.task import Process, Task

SYSNAME, DOMAINNAME = b"Linux", b"(none)"
GRND_KNOWN = 7
GRND_EXCLUSIVE = 6  # GRND_RANDOM and GRND_INSECURE do not go together
RUSAGE_SELF, RUSAGE_CHILDREN, RUSAGE_THREAD = 0, -1, 1
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


