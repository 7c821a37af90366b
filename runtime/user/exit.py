"""The end of threads and processes, and what their parents learn (kernel/exit.c)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pyprobe.runtime.machine.memory import MemoryFault
from pyprobe.runtime.user import jobcontrol, ptrace, tracee
from pyprobe.runtime.user.errors import TaskGone
from pyprobe.runtime.user.functions import kernel_function
from pyprobe.runtime.user.signals import (
    CLD_CONTINUED,
    CLD_EXITED,
    CLD_KILLED,
    CLD_STOPPED,
    SA_NOCLDSTOP,
    SA_NOCLDWAIT,
    SIG_IGN,
    Sig,
    SigInfo,
    action_of,
    send_signal,
    send_to_process,
)
from pyprobe.runtime.user.syscalls.futex import exit_robust_list, futex_wake
from pyprobe.runtime.user.syscalls.sem import exit_sem
from pyprobe.runtime.user.syscalls.time import task_cpu_time

if TYPE_CHECKING:
    from typing import NoReturn

    from pyprobe.runtime.user.kernel import Kernel
    from pyprobe.runtime.user.task import Process, Task


@kernel_function("void do_group_exit(int exit_code)")
def do_group_exit(k: Kernel, code: int) -> NoReturn:
    """End the current process with a wait(2) status word."""
    task = k.current
    assert task is not None
    k.begin_group_exit(task.process, code)
    k.do_exit(task.process.group_exit)
    raise AssertionError("do_exit returned")


@kernel_function("void do_exit(long code)")
def do_exit(k: Kernel, code: int) -> NoReturn:
    """End the current thread; with the last one the process ends, with status word `code`, or that of its group's exit."""
    task = k.current
    assert task is not None
    if task.tracing is None or not ptrace.exits(k, task.tracing, code):
        end_task(k, task, code)
    raise TaskGone


def end_task(k: Kernel, task: Task, code: int) -> None:
    """The work of do_exit for any task, running or not."""
    process = task.process
    last = len(process.threads) == 1
    tp = k.tracepoints.sched_process_exit
    if tp.callbacks:
        tp.fire(task.comm.ljust(16, b"\0"), task.tid, task.sched.prio, int(last))
    task.dead = True
    try:
        if task.robust_list:
            exit_robust_list(k, task)
        if task.clear_child_tid and process.space.users + len(process.threads) > 2:
            process.space.put_u32(task.clear_child_tid, 0)
            futex_wake(k, process.space, task.clear_child_tid, 1)
    except MemoryFault:
        pass  # its memory is its own affair
    process.threads.pop(task.tid, None)
    k.tasks.pop(task.tid, None)
    process.cpu_time += task_cpu_time(k, task)
    k.scheduler.forget(task)
    status = process.group_exit if process.group_exit is not None else code
    if process.tracees:
        tracee.tracer_ends(k, task)
    if task.tracing is not None:
        ptrace.ended(k, task.tracing, status)
    if last:
        end_process(k, process, task, status)


def end_process(k: Kernel, process: Process, task: Task, status: int) -> None:
    """The last thread is gone: give everything back, tell the parent."""
    process.exit_status = status
    process.last = task
    k.last_words[process.pid] = (task.comm, task.sched.prio)
    for timer in (*process.itimers.values(), *process.posix_timers.values()):
        timer.cancel(k)
    process.itimers.clear()
    process.posix_timers.clear()
    process.files.release(k)
    process.fs.release()
    process.release_vfork()
    process.leave_space()
    if k.sem.objects:
        exit_sem(k, process)
    jobcontrol.leave(k, process)
    for child in list(process.children.values()):
        reparent(k, child)
    process.children.clear()
    if process.tracing is not None and process.tracing.reparented:
        ptrace.report_end(k, process.tracing)
    else:
        k.exit_notify(process)


@kernel_function("bool do_notify_parent(struct task_struct *tsk, int sig)")
def do_notify_parent(k: Kernel, task: Task, sig: int) -> int:
    """Send the signal that tells of a child's end; whether the parent, if there is one, does not want to wait for it."""
    process = task.process
    status = process.exit_status
    assert status is not None
    if process.parent is None or not process.parent.alive:
        return 0
    signo = status & 0x7F
    info = SigInfo.child(sig, CLD_KILLED if signo else CLD_EXITED, process, task.uid, signo or status >> 8)
    action = action_of(process.parent, Sig.CHLD)
    _tell(k, process.parent, info)
    return int(sig == Sig.CHLD and (action.handler == SIG_IGN or bool(action.flags & SA_NOCLDWAIT)))


def _tell(k: Kernel, process: Process, info: SigInfo) -> None:
    """Send a parent its signal, as the kernel does from within itself."""
    task = process.leader or next(iter(process.threads.values()), None)
    if task is not None:
        send_signal(k, info.signo, info, task, 1)


def notify_stop(k: Kernel, process: Process, *, continued: bool) -> None:
    """Tell the parent that a child was stopped or continued."""
    parent = process.parent
    traced = process.tracing is not None and not process.tracing.reparented  # then the tracer's own report does
    if traced or parent is None or not parent.alive or action_of(parent, Sig.CHLD).flags & SA_NOCLDSTOP:
        return
    code, status = (CLD_CONTINUED, Sig.CONT) if continued else (CLD_STOPPED, process.stopped)
    leader = process.leader or next(iter(process.threads.values()))
    _tell(k, parent, SigInfo.child(Sig.CHLD, code, process, leader.uid, status))


def reparent(k: Kernel, child: Process) -> None:
    """Its parent is gone: the nearest subreaper takes it, or else the init this machine does not show."""
    new = child.parent
    while new is not None and not (new.alive and new.child_subreaper):
        new = new.parent
    child.parent = new
    if new is not None:
        new.children[child.pid] = child
    if child.parent_death_signal and child.alive:
        send_to_process(k, child, SigInfo(child.parent_death_signal))
    if not child.alive and new is None:
        k.reap(child)
