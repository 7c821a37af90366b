"""seccomp(2), and prctl(2)'s way to it."""

from __future__ import annotations

from errno import EACCES, EFAULT, EINVAL, EOPNOTSUPP
from typing import TYPE_CHECKING

from pyprobe.runtime.user import seccomp
from pyprobe.runtime.user.capabilities import CAP_SYS_ADMIN
from pyprobe.runtime.user.errors import Errno
from pyprobe.runtime.user.words import U32

if TYPE_CHECKING:
    from pyprobe.runtime.user.kernel import Kernel
    from pyprobe.runtime.user.task import Task

SET_MODE_STRICT, SET_MODE_FILTER, GET_ACTION_AVAIL = 0, 1, 2
FLAG_TSYNC, FLAG_LOG, FLAG_SPEC_ALLOW = 1, 2, 4


def sys_seccomp(k: Kernel, t: Task, op: int, flags: int, uargs: int) -> int:
    """seccomp(2) without user notification."""
    op, flags = op & U32, flags & U32
    if op == SET_MODE_STRICT:
        if flags or uargs:
            raise Errno(EINVAL)
        seccomp.strict(k, t)
    elif op == SET_MODE_FILTER:
        if flags & ~(FLAG_TSYNC | FLAG_LOG | FLAG_SPEC_ALLOW):
            raise Errno(EINVAL)
        if not t.process.no_new_privs and not t.cred.capable(CAP_SYS_ADMIN):
            raise Errno(EACCES)
        if not uargs:
            raise Errno(EFAULT)
        seccomp.install(k, t, uargs, bool(flags & FLAG_TSYNC))
    elif op == GET_ACTION_AVAIL:
        if t.space.u32(uargs) not in seccomp.ACTIONS:
            raise Errno(EOPNOTSUPP)
    else:
        raise Errno(EINVAL)
    return 0
