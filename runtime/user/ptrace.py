"""Tracing of one task by another: who traces whom, and where the traced stop (kernel/ptrace.c, ptrace_stop of kernel/signal.c).

A traced task stops by saying so (`stop`): its tracer is told, and it is not scheduled until the tracer lets it go on. Nothing waits inside
a system call for that: the call ends as it would, and what is left of it - the report of its end, signals - is done in steps (`proceed`,
`next_signal`) each time the task runs again, its registers in the engine.
"""

from __future__ import annotations

import struct
from enum import Enum
from typing import TYPE_CHECKING

from pyprobe.runtime.user.signals import (
    CLD_EXITED,
    CLD_KILLED,
    CLD_STOPPED,
    CLD_TRAPPED,
    SA_NOCLDSTOP,
    SA_NOCLDWAIT,
    SI_USER,
    SIG_IGN,
    Sig,
    SigInfo,
    action_of,
    send_signal,
)
from pyprobe.runtime.user.watches import DebugRegisters
from pyprobe.runtime.user.words import TICK

if TYPE_CHECKING:
    from pyprobe.runtime.user.fork import CloneArgs
    from pyprobe.runtime.user.kernel import Kernel
    from pyprobe.runtime.user.task import Process, Task

# include/uapi/linux/ptrace.h
EVENT_FORK, EVENT_VFORK, EVENT_CLONE, EVENT_EXEC, EVENT_VFORK_DONE, EVENT_EXIT, EVENT_SECCOMP, EVENT_STOP = 1, 2, 3, 4, 5, 6, 7, 128
O_TRACESYSGOOD, O_EXITKILL = 1, 1 << 20
O_MASK = 0xFF | O_EXITKILL  # without PTRACE_O_SUSPEND_SECCOMP, which belongs to CONFIG_CHECKPOINT_RESTORE
EVENTMSG_SYSCALL_ENTRY, EVENTMSG_SYSCALL_EXIT = 1, 2
SYSGOOD = 0x80

# include/linux/errno.h: results that programs never see, but tracers do
ERESTARTSYS, ERESTARTNOINTR, ERESTARTNOHAND, ERESTART_RESTARTBLOCK = 512, 513, 514, 516
RESTARTED = frozenset({ERESTARTSYS, ERESTARTNOINTR, ERESTARTNOHAND, ERESTART_RESTARTBLOCK})
RESTARTED_BY_BLOCK = frozenset({"nanosleep", "clock_nanosleep", "poll", "futex", "restart_syscall"})


class Mode(Enum):
    """How far the tracer lets it run: to the next signal or event, the next end of a system call's path, the next instruction."""

    RUN = "cont"
    SYSCALL = "syscall"
    STEP = "step"
    SYSEMU = "sysemu"
    SYSEMU_STEP = "sysemu step"


EMULATED = (Mode.SYSEMU, Mode.SYSEMU_STEP)
STEPPED = (Mode.STEP, Mode.SYSEMU_STEP)


class Phase(Enum):
    """Where it is on its way through a system call."""

    USER = "outside"
    ENTERING = "the entry is to be reported"
    ENTERED = "it is reported, the call is to be made"
    FILTERED = "a filter has asked the tracer, the call is to be made"
    INSIDE = "in the call"
    LEAVING = "the call is over, its end to be reported"
    LEFT = "that is reported"


class Tracing:
    """What the kernel keeps of a tracee (the ptrace, jobctl and exit_code of struct task_struct).

    tracer: the thread. seized: by PTRACE_SEIZE.
    stopped: in a stop. code: what wait(2) is to report of it, 0 when that is done; then the signal the tracer lets it go on with.
    info: the siginfo of the stop, None in a group stop. message: for PTRACE_GETEVENTMSG. listening: PTRACE_LISTEN.
    trap, notify: it has to stop for its group or for PTRACE_INTERRUPT; because the group's state has changed.
    number, first: the system call it is in (-1: none) and its first argument. delivering: the signal whose delivery it has stopped for.
    exit_status: the status word it has ended with.
    """

    __slots__ = (
        "code", "debug", "delivering", "exit_status", "first", "info", "listening", "message", "mode", "notify", "number",
        "options", "phase", "rewound", "saved", "seized", "stopped", "task", "tracer", "trap",
    )  # fmt: skip

    def __init__(self, task: Task, tracer: Task, *, seized: bool = False, options: int = 0) -> None:
        self.task = task
        self.tracer = tracer
        self.seized = seized
        self.options = options
        self.stopped = self.listening = self.trap = self.notify = False
        self.code = self.message = 0
        self.info: SigInfo | None = None
        self.mode = Mode.RUN
        self.phase = Phase.USER
        self.number, self.first = -1, 0
        self.debug = DebugRegisters()
        self.saved: int | None = None  # x7 of arm64, which tells entry from exit meanwhile
        self.delivering: SigInfo | None = None
        self.rewound: tuple[int, int] | None = None  # arm64: a call that is to be made again: its error number, and from where
        self.exit_status: int | None = None

    @property
    def reparented(self) -> bool:
        """Is the tracer in another process than the tracee's parent?"""
        return self.tracer.process is not self.task.process.parent

    @property
    def leads(self) -> bool:
        """Is the tracee its process's first thread?"""
        return self.task.tid == self.task.process.pid

    @property
    def wants_signals(self) -> bool:
        """Has it something to do where signals are delivered, besides them?"""
        return self.delivering is not None or self.trap or self.notify

    def enabled(self, event: int) -> bool:
        """Has the tracer asked for the event?"""
        return bool(self.options >> event & 1)


# who traces whom


def link(k: Kernel, task: Task, tracer: Task, *, seized: bool = False, options: int = 0) -> Tracing:
    """Make a task a tracee."""
    tracing = task.tracing = Tracing(task, tracer, seized=seized, options=options)
    tracer.process.tracees[task.tid] = tracing
    if tracing.leads:
        task.process.tracing = tracing
    k.entry.watched = True
    parked = task.parked or task.interrupted
    if parked is not None:
        tracing.number, tracing.first = parked.syscall.number, parked.arguments[0]
    return tracing


def unlink(tracing: Tracing) -> None:
    """End the tracing."""
    task = tracing.task
    tracing.tracer.process.tracees.pop(task.tid, None)
    if task.process.tracing is tracing:
        task.process.tracing = None
    task.tracing = None


def inherit(k: Kernel, parent: Tracing, child: Task) -> None:
    """A tracee's new task is traced too, and begins with a stop (ptrace_init_task)."""
    tracing = link(k, child, parent.tracer, seized=parent.seized, options=parent.options)
    tracing.number = parent.number
    if parent.seized:
        tracing.trap = True
    else:
        child.pending.append(SigInfo(Sig.STOP, SI_USER, bytes(8)))


def clone_event(parent: Tracing, args: CloneArgs) -> int:
    """The event that a new task is, for who has asked for it; else 0."""
    from pyprobe.runtime.user.fork import CLONE_UNTRACED, CLONE_VFORK  # here, because that module needs this one

    if args.flags & CLONE_UNTRACED:
        return 0
    event = EVENT_VFORK if args.flags & CLONE_VFORK else EVENT_FORK if args.exit_signal == Sig.CHLD else EVENT_CLONE
    return event if parent.enabled(event) else 0


def leads_now(process: Process, task: Task) -> None:
    """exec gives a thread the id of its process's first one, of whose end nobody hears (de_thread)."""
    if process.tracing is not None:
        process.tracing.tracer.process.tracees.pop(process.pid, None)
    process.tracing = tracing = task.tracing
    if tracing is not None:
        tracees = tracing.tracer.process.tracees
        del tracees[task.tid]
        tracees[process.pid] = tracing


# stops


def stop(k: Kernel, tracing: Tracing, code: int, info: SigInfo | None, why: int = CLD_TRAPPED, message: int = 0) -> None:
    """The current task stops, which its tracer sees as `code` (ptrace_stop). why: the si_code of SIGCHLD."""
    tracing.trap = False
    if info is not None and info.code >> 8 == EVENT_STOP:
        tracing.notify = False
    tracing.code, tracing.info, tracing.message = code, info, message
    tracing.stopped, tracing.listening = True, False
    k.entry.attention = True
    parent = tracing.tracer.process
    action = action_of(parent, Sig.CHLD)
    if action.handler != SIG_IGN and not action.flags & SA_NOCLDSTOP:
        _signal_tracer(k, tracing, why, (tracing.task.process.stopped if why == CLD_STOPPED else code) & 0x7F)


def _signal_tracer(k: Kernel, tracing: Tracing, why: int, status: int) -> None:
    tracer, task = tracing.tracer, tracing.task
    rest = struct.pack("<iIixxxxqq", task.tid, task.uid, status, task.cpu_time // TICK, 0)
    send_signal(k, Sig.CHLD, SigInfo(Sig.CHLD, why, rest), tracer.process.leader or tracer, 1)


def own(tracing: Tracing, signo: int, code: int) -> SigInfo:
    """The siginfo of a stop that is no signal's: from the task itself."""
    return SigInfo(signo, code, struct.pack("<iI", tracing.task.tid, tracing.task.uid))


def notify(k: Kernel, tracing: Tracing, code: int, message: int = 0) -> None:
    """Stop with SIGTRAP and what `code` says besides (ptrace_notify)."""
    stop(k, tracing, code, own(tracing, Sig.TRAP, code), message=message)


def event(k: Kernel, tracing: Tracing, number: int, message: int = 0) -> bool:
    """Something has happened to the current task: stop if the tracer wants to know. Whether it has stopped."""
    if tracing.enabled(number):
        notify(k, tracing, number << 8 | Sig.TRAP, message)
    elif number == EVENT_EXEC and not tracing.seized:
        send(k, tracing.task, Sig.TRAP)
    return tracing.stopped


def send(k: Kernel, task: Task, signo: int) -> None:
    """Send a task a signal as if by itself."""
    send_signal(k, signo, SigInfo.from_user(signo, task), task, 0)


def resume(k: Kernel, tracing: Tracing, mode: Mode, signo: int) -> None:
    """The tracer lets it go on, with a signal or 0."""
    tracing.mode = mode
    tracing.code = signo
    wake(k, tracing)


def wake(k: Kernel, tracing: Tracing) -> None:
    """It runs again, if it does not wait for something else."""
    tracing.stopped = tracing.listening = False
    if tracing.task.parked is None:
        k.scheduler.unpark(tracing.task)


def group_stops(k: Kernel, process: Process) -> None:
    """A stop of the group is in effect: tracees have to stop one by one."""
    for task in process.threads.values():
        if task.tracing is not None:
            task.tracing.trap = True
            trap(k, task.tracing)


def group_continues(k: Kernel, tracing: Tracing) -> None:
    """And it is over: who was seized is to hear of that (ptrace_trap_notify)."""
    if tracing.seized:
        tracing.notify = True
        trap(k, tracing)


def trap(k: Kernel, tracing: Tracing) -> None:
    """Have the task look at `trap` and `notify`, at once if it listens."""
    if tracing.listening:
        wake(k, tracing)
    elif not tracing.stopped:
        k.signal_wake(tracing.task)


# ends


def killed(process: Process) -> None:
    """The process dies: no stop holds it any more."""
    for task in process.threads.values():
        if task.tracing is not None:
            task.tracing.stopped = task.tracing.listening = False


def exits(k: Kernel, tracing: Tracing, code: int) -> bool:
    """The current task is about to end with the status word; whether its tracer wants to see it before."""
    if tracing.task.exit_code is not None:
        return False
    tracing.task.exit_code = code
    return event(k, tracing, EVENT_EXIT, code)


def ended(k: Kernel, tracing: Tracing, code: int) -> None:
    """A tracee has ended: tell the tracer, of a process's first thread when the process has."""
    tracing.stopped, tracing.code, tracing.exit_status = False, 0, code
    if not tracing.leads:
        report_end(k, tracing)
        action = action_of(tracing.tracer.process, Sig.CHLD)
        if action.handler == SIG_IGN or action.flags & SA_NOCLDWAIT:
            unlink(tracing)


def report_end(k: Kernel, tracing: Tracing) -> None:
    """SIGCHLD for the tracer of what has ended."""
    code = tracing.exit_status or 0
    _signal_tracer(k, tracing, CLD_KILLED if code & 0x7F else CLD_EXITED, code & 0x7F or code >> 8)
