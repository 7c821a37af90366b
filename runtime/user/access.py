"""Who may look into another process, and who may change it: ptrace(2)'s rules.

kernel/ptrace.c (__ptrace_may_access), with Yama's scope 1 as /proc/sys/kernel/yama/ptrace_scope says (security/yama/yama_lsm.c).
"""

from __future__ import annotations

from errno import EPERM
from typing import TYPE_CHECKING

from pyprobe.runtime.user.capabilities import CAP_SYS_PTRACE
from pyprobe.runtime.user.errors import Errno

if TYPE_CHECKING:
    from pyprobe.runtime.user.task import Process, Task


def may_access(t: Task, process: Process, *, attach: bool) -> None:
    """Raise Errno(EPERM) where ptrace(2)'s rules for reading (attach: for changing) a process do."""
    if process is t.process or t.cred.capable(CAP_SYS_PTRACE):
        return
    target = process.leader or next(iter(process.threads.values()), None)
    if target is None or {target.cred.uid, target.cred.euid, target.cred.suid} != {t.uid} or not process.dumpable:
        raise Errno(EPERM)
    if attach and not _descends(process, t.process.pid) and process.ptracer != -1 and not _descends(t.process, process.ptracer):
        raise Errno(EPERM)


def _descends(process: Process | None, pid: int) -> bool:
    """Is the process of that id, or one of its descendants?"""
    while process is not None and process.pid != pid:
        process = process.parent
    return process is not None
