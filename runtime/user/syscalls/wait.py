"""Waiting for children and tracees: wait4(2), waitid(2) (kernel/exit.c)."""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator
from errno import ECHILD, EINVAL, ESRCH
from typing import TYPE_CHECKING, NamedTuple

from pyprobe.runtime.user import ptrace
from pyprobe.runtime.user.errors import Block, Errno
from pyprobe.runtime.user.signals import CLD_CONTINUED, CLD_EXITED, CLD_KILLED, CLD_STOPPED, CLD_TRAPPED, Sig
from pyprobe.runtime.user.syscalls.pidfd import process_of
from pyprobe.runtime.user.words import U32, s32, timeval

if TYPE_CHECKING:
    from pyprobe.runtime.user.kernel import Kernel
    from pyprobe.runtime.user.ptrace import Tracing
    from pyprobe.runtime.user.task import Process, Task

WNOHANG, WUNTRACED, WEXITED, WCONTINUED, WNOWAIT = 1, 2, 4, 8, 0x01000000
WNOTHREAD, WALL, WCLONE = 0x20000000, 0x40000000, 0x80000000
WALL_FLAGS = WNOTHREAD | WALL | WCLONE
P_ALL, P_PID, P_PGID, P_PIDFD = range(4)


class Report(NamedTuple):
    """What there is to tell of a child or tracee: si_code, si_status and the wait status word; take: it has been told."""

    process: Process
    tid: int
    code: int
    status: int
    word: int
    take: Callable[[Kernel, Task], None]


def _matches(process: Process, tid: int, which: int, identity: int, t: Task) -> bool:
    if which in (P_PID, P_PIDFD):
        return tid == identity
    return which != P_PGID or process.pgid == (identity or t.process.pgid)


def _candidates(t: Task, which: int, identity: int, options: int) -> Iterator[Process | Tracing]:
    """Children, the oldest first, then tracees, the newest first. A child that its own parent traces counts as a tracee."""
    for child in t.process.children.values():
        if _matches(child, child.pid, which, identity, t):
            traced = child.tracing
            if traced is not None and not traced.reparented:
                yield traced
            elif options & WALL or (child.exit_signal != Sig.CHLD) == bool(options & WCLONE):  # eligible_child
                yield child
    for tracing in reversed(t.process.tracees.values()):
        if _matches(tracing.task.process, tracing.task.tid, which, identity, t):
            yield tracing


def _ended(process: Process, tid: int, status: int, take: Callable[[Kernel, Task], None]) -> Report:
    signo = status & 0x7F
    return Report(process, tid, CLD_KILLED, signo, status, take) if signo else Report(process, tid, CLD_EXITED, status >> 8, status, take)


def _of_child(child: Process, options: int) -> Report | None:
    """Of a child that its parent does not trace."""
    if child.exit_status is not None:
        if not options & WEXITED or child.tracing is not None:  # its tracer first
            return None

        def reap(k: Kernel, t: Task) -> None:
            t.process.children_cpu_time += child.cpu_time + child.children_cpu_time
            k.reap(child)

        return _ended(child, child.pid, child.exit_status, reap)
    if child.stopped and options & WUNTRACED and not child.stop_reported:

        def reported(k: Kernel, t: Task) -> None:
            child.stop_reported = True

        return Report(child, child.pid, CLD_STOPPED, child.stopped, child.stopped << 8 | 0x7F, reported)
    if child.continued and options & WCONTINUED:

        def known(k: Kernel, t: Task) -> None:
            child.continued = False

        return Report(child, child.pid, CLD_CONTINUED, Sig.CONT, 0xFFFF, known)
    return None


def _of_tracee(tracing: Tracing, options: int) -> Report | None:
    """Of a tracee, by its tracer. Its stops are told whatever the options."""
    process, tid = tracing.task.process, tracing.task.tid
    status = process.exit_status if tracing.leads else tracing.exit_status
    if status is not None:

        def reap(k: Kernel, t: Task) -> None:
            ptrace.unlink(tracing)
            if tracing.leads and tracing.reparented:
                k.exit_notify(process)  # now its parent (wait_task_zombie)
            elif tracing.leads:
                t.process.children_cpu_time += process.cpu_time + process.children_cpu_time
                k.reap(process)

        return _ended(process, tid, status, reap) if options & WEXITED else None
    if tracing.stopped and tracing.code and not tracing.listening:

        def told(k: Kernel, t: Task) -> None:
            tracing.code = 0

        return Report(process, tid, CLD_TRAPPED, tracing.code, tracing.code << 8 | 0x7F, told)
    if process.continued and options & WCONTINUED and tracing.leads:

        def known(k: Kernel, t: Task) -> None:
            process.continued = False

        return Report(process, tid, CLD_CONTINUED, Sig.CONT, 0xFFFF, known)
    return None


def _find(t: Task, which: int, identity: int, options: int) -> tuple[bool, Report | None]:
    """Whether there is anybody to wait for, and what there is to tell of the first of them that has something."""
    anybody = False
    for one in _candidates(t, which, identity, options):
        anybody = True
        report = _of_tracee(one, options) if isinstance(one, ptrace.Tracing) else _of_child(one, options)
        if report is not None:
            return True, report
    return anybody, None


def _wait(k: Kernel, t: Task, which: int, identity: int, options: int) -> Report | None:
    """The next report; None with WNOHANG if there is none yet. Raises Errno(ECHILD), Block."""
    tp = k.tracepoints.sched_process_wait
    if tp.callbacks and "waiting" not in t.restart:
        t.restart["waiting"] = True
        tp.fire(t.comm.ljust(16, b"\0"), identity, t.sched.prio)
    anybody, found = _find(t, which, identity, options)
    if not anybody:
        raise Errno(ECHILD)
    if found is None and not options & WNOHANG:

        def ready() -> bool:
            anybody, found = _find(t, which, identity, options)
            return not anybody or found is not None

        raise Block(ready, why="a child" if which != P_PID else f"process {identity}")
    return found


def _rusage(child: Process) -> bytes:
    return (timeval(child.cpu_time + child.children_cpu_time) + timeval(0)).ljust(144, b"\0")


def sys_wait4(k: Kernel, t: Task, upid: int, stat_addr: int, options: int, ru: int) -> int:
    """wait4(2)."""
    options &= U32
    if options & ~(WNOHANG | WUNTRACED | WCONTINUED | WALL_FLAGS):
        raise Errno(EINVAL)
    pid = s32(upid)
    if pid == -(1 << 31):
        raise Errno(ESRCH)
    which, identity = (P_PID, pid) if pid > 0 else (P_ALL, 0) if pid == -1 else (P_PGID, -pid)
    found = _wait(k, t, which, identity, options | WEXITED)
    if found is None:
        return 0
    found.take(k, t)
    if stat_addr:
        t.space.put_u32(stat_addr, found.word)
    if ru:
        t.space.write(ru, _rusage(found.process))
    return found.tid


def sys_waitid(k: Kernel, t: Task, which: int, upid: int, infop: int, options: int, ru: int) -> int:
    """waitid(2)."""
    options &= U32
    known = WNOHANG | WUNTRACED | WEXITED | WCONTINUED | WNOWAIT | WALL_FLAGS
    if options & ~known or not options & (WEXITED | WUNTRACED | WCONTINUED) or which & U32 > P_PIDFD:
        raise Errno(EINVAL)
    identity = process_of(t, upid).pid if which & U32 == P_PIDFD else s32(upid)
    found = _wait(k, t, which & U32, identity, options)
    if infop:
        raw = b"" if found is None else struct.pack("<iii4xiIi", Sig.CHLD, 0, found.code, found.tid, t.cred.uid, found.status)
        t.space.write(infop, raw.ljust(128, b"\0"))
    if found is not None:
        if ru:
            t.space.write(ru, _rusage(found.process))
        if not options & WNOWAIT:
            found.take(k, t)
    return 0
