"""New processes and threads (kernel/fork.c)."""

from __future__ import annotations

from errno import EAGAIN, EINVAL, EPERM
from typing import TYPE_CHECKING

from pyprobe.runtime.machine.memory import MemoryFault
from pyprobe.runtime.user import hrtimers, ptrace
from pyprobe.runtime.user.errors import Block, Errno
from pyprobe.runtime.user.functions import kernel_function
from pyprobe.runtime.user.pidfd import pidfd_create
from pyprobe.runtime.user.sched import SCHED_DEADLINE
from pyprobe.runtime.user.task import RLIMIT_NPROC, Process, Task

if TYPE_CHECKING:
    from pyprobe.runtime.user.kernel import Kernel

FORK_NS, THREAD_NS = 60_000, 10_000  # what a new process and a new thread take the kernel
CSIGNAL = 0xFF
CLONE_VM, CLONE_FS, CLONE_FILES, CLONE_SIGHAND, CLONE_PIDFD = 0x100, 0x200, 0x400, 0x800, 0x1000
CLONE_PTRACE, CLONE_VFORK, CLONE_PARENT, CLONE_THREAD, CLONE_NEWNS = 0x2000, 0x4000, 0x8000, 0x10000, 0x20000
CLONE_SYSVSEM, CLONE_SETTLS, CLONE_PARENT_SETTID, CLONE_CHILD_CLEARTID = 0x40000, 0x80000, 0x100000, 0x200000
CLONE_DETACHED, CLONE_UNTRACED, CLONE_CHILD_SETTID = 0x400000, 0x800000, 0x1000000
CLONE_NAMESPACES = 0x7E020080  # every CLONE_NEW*: this kernel has one of each namespace
CLONE_CLEAR_SIGHAND = 0x100000000


class CloneArgs:
    """struct kernel_clone_args."""

    __slots__ = ("__weakref__", "child_tid", "exit_signal", "flags", "parent_tid", "pidfd", "stack", "tls")

    def __init__(
        self, flags: int, *, stack: int = 0, parent_tid: int = 0, child_tid: int = 0, tls: int = 0, exit_signal: int = 0, pidfd: int = 0
    ) -> None:
        self.flags = flags
        self.stack = stack
        self.parent_tid = parent_tid
        self.child_tid = child_tid
        self.tls = tls
        self.exit_signal = exit_signal
        self.pidfd = pidfd


def check_flags(flags: int) -> None:
    """Raise Errno for combinations copy_process refuses, and for what needs namespaces."""
    if flags & CLONE_THREAD and not flags & CLONE_SIGHAND:
        raise Errno(EINVAL)
    if flags & CLONE_SIGHAND and not flags & CLONE_VM:
        raise Errno(EINVAL)
    if flags & CLONE_SIGHAND and flags & CLONE_CLEAR_SIGHAND:
        raise Errno(EINVAL)
    if flags & CLONE_NAMESPACES:
        raise Errno(EPERM)
    if flags & CLONE_PIDFD and flags & (CLONE_THREAD | CLONE_DETACHED):
        raise Errno(EINVAL)


@kernel_function("pid_t kernel_clone(struct kernel_clone_args *args)")
def kernel_clone(k: Kernel, args: CloneArgs) -> int:
    """Make a task that goes on after the current system call with result 0; the new task's id. Raises Errno; Block while vfork waits."""
    parent = k.current
    assert parent is not None
    waiting = parent.restart.get(kernel_clone)
    if waiting is None:
        child = copy_process(k, parent, args)
        tp = k.tracepoints.task_newtask
        if tp.callbacks:
            tp.fire(child.tid, child.comm.ljust(16, b"\0"), args.flags, 0)
        tp = k.tracepoints.sched_process_fork
        if tp.callbacks:
            tp.fire(parent.comm, parent.tid, child.comm, child.tid)
        event = ptrace.clone_event(parent.tracing, args) if parent.tracing is not None else 0
        if parent.tracing is not None and (event or args.flags & CLONE_PTRACE):
            ptrace.inherit(k, parent.tracing, child)
        k.wake_up_new_task(child)
        if parent.tracing is not None and event:
            ptrace.event(k, parent.tracing, event, child.tid)
        if not args.flags & CLONE_VFORK:
            return child.tid
        waiting = parent.restart[kernel_clone] = _Vfork(child)
        child.process.vfork_done = waiting.finish
    assert isinstance(waiting, _Vfork)
    if not waiting.done:
        raise Block(waiting.ready, why=f"process {waiting.tid} to exec or exit (vfork)", interruptible=False)
    if parent.tracing is not None:
        ptrace.event(k, parent.tracing, ptrace.EVENT_VFORK_DONE, waiting.tid)
    return waiting.tid


class _Vfork:
    """A parent's wait for its child to leave the memory they share."""

    def __init__(self, child: Task) -> None:
        self.tid = child.tid
        self.done = False

    def finish(self) -> None:
        self.done = True

    def ready(self) -> bool:
        return self.done


def copy_process(k: Kernel, parent: Task, args: CloneArgs) -> Task:
    """The new task, not yet running; its registers are the parent's with result 0. Raises Errno."""
    flags = args.flags
    check_flags(flags)
    process = parent.process
    limit = process.limits[RLIMIT_NPROC][0]
    if max(len(k.tasks), len(k.processes)) >= k.task_limit:
        k.tasks_exhausted = True
        raise Errno(EAGAIN)
    if parent.cred.uid and sum(1 for t in k.tasks.values() if t.cred.uid == parent.cred.uid) >= limit:
        raise Errno(EAGAIN)
    if parent.sched.policy == SCHED_DEADLINE and not parent.sched.reset_on_fork:
        raise Errno(EAGAIN)  # its share of the processor cannot be given twice
    tid = k.new_pid()
    k.clock.charge(THREAD_NS if flags & CLONE_VM else FORK_NS)
    hrtimers.forked(k)
    if flags & CLONE_THREAD:
        home = process
    else:
        home = _copy_group(k, process, tid, args)
        home.real_timer = hrtimers.of_process(k)
    child = Task(tid, home, k.copy_registers(parent, args.stack, args.tls if flags & CLONE_SETTLS else None), parent.cred.copy())
    child.comm = parent.comm
    child.blocked = parent.blocked
    child.seccomp = parent.seccomp
    child.sched = parent.sched.inherited()
    if not flags & CLONE_VM:
        child.rseq = parent.rseq
    if not flags & CLONE_VM or flags & CLONE_VFORK:
        child.altstack = parent.altstack
        child.signal_frames = dict(parent.signal_frames)
    if flags & CLONE_CHILD_CLEARTID:
        child.clear_child_tid = args.child_tid
    try:
        if flags & CLONE_PARENT_SETTID:
            process.space.put_u32(args.parent_tid, tid)
        if flags & CLONE_PIDFD:  # clone(2) has it where the parent's tid would go, clone3(2) in a place of its own
            process.space.put_u32(args.pidfd or args.parent_tid, pidfd_create(k, parent, home, 0))
        if flags & CLONE_CHILD_SETTID:
            home.space.put_u32(args.child_tid, tid)
    except MemoryFault:
        pass  # as put_user's failure is ignored there
    home.threads[tid] = child
    return child


def _copy_group(k: Kernel, process: Process, pid: int, args: CloneArgs) -> Process:
    flags = args.flags
    if flags & CLONE_VM:
        space = process.space
        space.users += 1
    else:
        space = process.space.fork()
        k.images_seen.forked(process.space, space)
    parent = process.parent if flags & CLONE_PARENT else process
    child = Process(pid, parent, space, process.engine)
    child.arch = process.arch
    child.pgid, child.sid, child.ctty = process.pgid, process.sid, process.ctty
    if flags & CLONE_FILES:
        child.files = process.files
        child.files.users += 1
    else:
        child.files = process.files.copy()
    if flags & CLONE_FS:
        child.fs = process.fs
        child.fs.users += 1
    else:
        child.fs = process.fs.copy()
    if flags & CLONE_SIGHAND:
        child.actions = process.actions
    elif flags & CLONE_CLEAR_SIGHAND:
        child.actions = {n: a for n, a in process.actions.items() if a.handler == 1}
    else:
        child.actions = dict(process.actions)
    child.limits = dict(process.limits)
    child.exe, child.exe_inode = process.exe, process.exe_inode
    child.argv, child.environ, child.auxv = process.argv, process.environ, process.auxv
    child.argument_area, child.sigreturn = process.argument_area, process.sigreturn
    child.personality, child.dumpable = process.personality, process.dumpable
    child.timer_slack, child.oom_score_adj = process.timer_slack, process.oom_score_adj
    child.no_new_privs, child.membarrier = process.no_new_privs, process.membarrier
    child.start_time = k.clock.now()
    child.exit_signal = process.exit_signal if flags & CLONE_PARENT else args.exit_signal
    child.forked_by = process.forked_by if flags & CLONE_PARENT else k.current
    if parent is not None:
        parent.children[pid] = child
    k.processes[pid] = child
    return child


@kernel_function("void wake_up_new_task(struct task_struct *p)")
def wake_up_new_task(k: Kernel, task: Task) -> None:
    """Let a new task run."""
    k.tasks[task.tid] = task
    k.scheduler.add(task)
    tp = k.tracepoints.sched_wakeup_new
    if tp.callbacks:
        tp.fire(task.comm.ljust(16, b"\0"), task.tid, task.sched.prio, 0)
