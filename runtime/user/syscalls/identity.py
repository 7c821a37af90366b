"""System calls about who a task is: ids, credentials, sessions and groups (kernel/sys.c, kernel/groups.c, kernel/capability.c)."""

from __future__ import annotations

import struct
from errno import EACCES, EINVAL, EPERM, ESRCH
from typing import TYPE_CHECKING

from pyprobe.runtime.user.capabilities import CAP_SETGID, CAP_SETUID, after_setfsuid, after_setuid
from pyprobe.runtime.user.errors import Errno
from pyprobe.runtime.user.words import U32, s32

if TYPE_CHECKING:
    from pyprobe.runtime.user.kernel import Kernel
    from pyprobe.runtime.user.task import Process, Task

UNCHANGED = U32
NGROUPS_MAX = 65536


def sys_getpid(k: Kernel, t: Task) -> int:
    """getpid(2)."""
    return t.process.pid


def sys_gettid(k: Kernel, t: Task) -> int:
    """gettid(2)."""
    return t.tid


def sys_getppid(k: Kernel, t: Task) -> int:
    """getppid(2)."""
    return t.process.ppid


def sys_getuid(k: Kernel, t: Task) -> int:
    """getuid(2)."""
    return t.cred.uid


def sys_geteuid(k: Kernel, t: Task) -> int:
    """geteuid(2)."""
    return t.cred.euid


def sys_getgid(k: Kernel, t: Task) -> int:
    """getgid(2)."""
    return t.cred.gid


def sys_getegid(k: Kernel, t: Task) -> int:
    """getegid(2)."""
    return t.cred.egid


def _put_ids(t: Task, addresses: tuple[int, int, int], ids: tuple[int, int, int]) -> int:
    for address, value in zip(addresses, ids, strict=True):
        t.space.put_u32(address, value)
    return 0


def sys_getresuid(k: Kernel, t: Task, ruid: int, euid: int, suid: int) -> int:
    """getresuid(2)."""
    return _put_ids(t, (ruid, euid, suid), (t.cred.uid, t.cred.euid, t.cred.suid))


def sys_getresgid(k: Kernel, t: Task, rgid: int, egid: int, sgid: int) -> int:
    """getresgid(2)."""
    return _put_ids(t, (rgid, egid, sgid), (t.cred.gid, t.cred.egid, t.cred.sgid))


def _user_ids(t: Task) -> tuple[int, int, int]:
    return t.cred.uid, t.cred.euid, t.cred.suid


def sys_setuid(k: Kernel, t: Task, uid: int) -> int:
    """setuid(2)."""
    cred, uid, before = t.cred, uid & U32, _user_ids(t)
    if cred.capable(CAP_SETUID):
        cred.uid = cred.suid = uid
    elif uid not in (cred.uid, cred.suid):
        raise Errno(EPERM)
    cred.euid = cred.fsuid = uid
    after_setuid(cred, before, keep=t.process.keep_caps)
    return 0


def sys_setgid(k: Kernel, t: Task, gid: int) -> int:
    """setgid(2)."""
    cred, gid = t.cred, gid & U32
    if cred.capable(CAP_SETGID):
        cred.gid = cred.sgid = gid
    elif gid not in (cred.gid, cred.sgid):
        raise Errno(EPERM)
    cred.egid = cred.fsgid = gid
    return 0


def sys_setresuid(k: Kernel, t: Task, ruid: int, euid: int, suid: int) -> int:
    """setresuid(2)."""
    cred = t.cred
    new = [old if value & U32 == UNCHANGED else value & U32 for value, old in ((ruid, cred.uid), (euid, cred.euid), (suid, cred.suid))]
    if not cred.capable(CAP_SETUID) and any(value not in (cred.uid, cred.euid, cred.suid) for value in new):
        raise Errno(EPERM)
    before = _user_ids(t)
    cred.uid, cred.euid, cred.suid = new
    cred.fsuid = cred.euid
    after_setuid(cred, before, keep=t.process.keep_caps)
    return 0


def sys_setresgid(k: Kernel, t: Task, rgid: int, egid: int, sgid: int) -> int:
    """setresgid(2)."""
    cred = t.cred
    new = [old if value & U32 == UNCHANGED else value & U32 for value, old in ((rgid, cred.gid), (egid, cred.egid), (sgid, cred.sgid))]
    if not cred.capable(CAP_SETGID) and any(value not in (cred.gid, cred.egid, cred.sgid) for value in new):
        raise Errno(EPERM)
    cred.gid, cred.egid, cred.sgid = new
    cred.fsgid = cred.egid
    return 0


def sys_setreuid(k: Kernel, t: Task, ruid: int, euid: int) -> int:
    """setreuid(2)."""
    saved = euid if ruid & U32 != UNCHANGED or (euid & U32 not in (UNCHANGED, t.cred.uid)) else UNCHANGED
    return sys_setresuid(k, t, ruid, euid, saved)


def sys_setregid(k: Kernel, t: Task, rgid: int, egid: int) -> int:
    """setregid(2)."""
    saved = egid if rgid & U32 != UNCHANGED or (egid & U32 not in (UNCHANGED, t.cred.gid)) else UNCHANGED
    return sys_setresgid(k, t, rgid, egid, saved)


def sys_setfsuid(k: Kernel, t: Task, uid: int) -> int:
    """setfsuid(2): the old one."""
    old, uid = t.cred.fsuid, uid & U32
    if uid != UNCHANGED and (uid in (*_user_ids(t), old) or t.cred.capable(CAP_SETUID)):
        t.cred.fsuid = uid
        after_setfsuid(t.cred, old)
    return old


def sys_setfsgid(k: Kernel, t: Task, gid: int) -> int:
    """setfsgid(2): the old one."""
    old, gid = t.cred.fsgid, gid & U32
    if gid != UNCHANGED and (t.cred.capable(CAP_SETGID) or gid in (t.cred.gid, t.cred.egid, t.cred.sgid)):
        t.cred.fsgid = gid
    return old


def sys_getgroups(k: Kernel, t: Task, size: int, grouplist: int) -> int:
    """getgroups(2)."""
    groups, size = t.cred.groups, s32(size)
    if size < 0 or 0 < size < len(groups):
        raise Errno(EINVAL)
    if size:
        t.space.write(grouplist, struct.pack(f"<{len(groups)}I", *groups))
    return len(groups)


def sys_setgroups(k: Kernel, t: Task, size: int, grouplist: int) -> int:
    """setgroups(2)."""
    if not t.cred.capable(CAP_SETGID):
        raise Errno(EPERM)
    size &= U32
    if size > NGROUPS_MAX:
        raise Errno(EINVAL)
    t.cred.groups = struct.unpack(f"<{size}I", t.space.read(grouplist, 4 * size))
    return 0


# process groups and sessions


def _process(k: Kernel, t: Task, pid: int) -> Process:
    process = k.processes.get(s32(pid)) if s32(pid) else t.process
    if process is None:
        raise Errno(ESRCH)
    return process


def sys_getpgid(k: Kernel, t: Task, pid: int) -> int:
    """getpgid(2)."""
    return _process(k, t, pid).pgid


def sys_getpgrp(k: Kernel, t: Task) -> int:
    """getpgrp(2)."""
    return t.process.pgid


def sys_getsid(k: Kernel, t: Task, pid: int) -> int:
    """getsid(2)."""
    return _process(k, t, pid).sid


def sys_setpgid(k: Kernel, t: Task, pid: int, pgid: int) -> int:
    """setpgid(2)."""
    process = _process(k, t, pid)
    group = s32(pgid) or process.pid
    if s32(pgid) < 0:
        raise Errno(EINVAL)
    if process is not t.process:
        if process.parent is not t.process:
            raise Errno(ESRCH)
        if process.sid != t.process.sid:
            raise Errno(EPERM)
        if process.has_execed:
            raise Errno(EACCES)
    if process.sid == process.pid:
        raise Errno(EPERM)
    if group != process.pid and not any(p.pgid == group and p.sid == t.process.sid for p in k.processes.values()):
        raise Errno(EPERM)
    process.pgid = group
    return 0


def sys_setsid(k: Kernel, t: Task) -> int:
    """setsid(2)."""
    process = t.process
    if any(p.pgid == process.pid for p in k.processes.values()):
        raise Errno(EPERM)
    process.sid = process.pgid = process.pid
    process.ctty = None
    return process.pid
