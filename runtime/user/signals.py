"""Signals: numbers, what is pending for whom, and what happens when one is delivered (kernel/signal.c, signal(7))."""

from __future__ import annotations

import struct
from collections import deque
from collections.abc import Iterator
from enum import IntEnum
from errno import EAGAIN, EINTR
from typing import TYPE_CHECKING

from pyprobe.runtime.machine.memory import MemoryFault
from pyprobe.runtime.user.errors import Errno
from pyprobe.runtime.user.functions import kernel_function
from pyprobe.runtime.user.signal_frames import pop_frame, push_frame
from pyprobe.runtime.user.words import TICK

if TYPE_CHECKING:
    from types import ModuleType

    from pyprobe.runtime.user.kernel import Kernel
    from pyprobe.runtime.user.task import Process, Task

NSIG = 64


class Sig(IntEnum):
    """asm-generic/signal.h; x86-64 and arm64 agree."""

    HUP = 1
    INT = 2
    QUIT = 3
    ILL = 4
    TRAP = 5
    ABRT = 6
    BUS = 7
    FPE = 8
    KILL = 9
    USR1 = 10
    SEGV = 11
    USR2 = 12
    PIPE = 13
    ALRM = 14
    TERM = 15
    STKFLT = 16
    CHLD = 17
    CONT = 18
    STOP = 19
    TSTP = 20
    TTIN = 21
    TTOU = 22
    URG = 23
    XCPU = 24
    XFSZ = 25
    VTALRM = 26
    PROF = 27
    WINCH = 28
    IO = 29
    PWR = 30
    SYS = 31


SIG_DFL, SIG_IGN = 0, 1
DELIVERY_NS = 2_000  # what running a handler takes the kernel; without it a program that only handles signals would stop time
SA_NOCLDSTOP, SA_NOCLDWAIT, SA_SIGINFO = 1, 2, 4
SA_ONSTACK, SA_RESTART, SA_NODEFER, SA_RESETHAND = 0x08000000, 0x10000000, 0x40000000, 0x80000000

IGNORED_BY_DEFAULT = frozenset({Sig.CHLD, Sig.CONT, Sig.URG, Sig.WINCH})
STOPS_BY_DEFAULT = frozenset({Sig.STOP, Sig.TSTP, Sig.TTIN, Sig.TTOU})
CORE_BY_DEFAULT = frozenset({Sig.QUIT, Sig.ILL, Sig.TRAP, Sig.ABRT, Sig.BUS, Sig.FPE, Sig.SEGV, Sig.XCPU, Sig.XFSZ, Sig.SYS})
SYNCHRONOUS = frozenset({Sig.SEGV, Sig.BUS, Sig.ILL, Sig.TRAP, Sig.FPE, Sig.SYS})
UNBLOCKABLE = 1 << Sig.KILL - 1 | 1 << Sig.STOP - 1

# si_code
SI_USER, SI_KERNEL, SI_QUEUE, SI_TIMER, SI_TKILL = 0, 0x80, -1, -2, -6
SEGV_MAPERR, SEGV_ACCERR = 1, 2
BUS_ADRALN, BUS_ADRERR = 1, 2
ILL_ILLOPC, ILL_ILLOPN = 1, 2
FPE_INTDIV = 1
TRAP_BRKPT, TRAP_TRACE = 1, 2
CLD_EXITED, CLD_KILLED, CLD_DUMPED, CLD_TRAPPED, CLD_STOPPED, CLD_CONTINUED = range(1, 7)


# include/trace/events/signal.h
TRACE_SIGNAL_DELIVERED, TRACE_SIGNAL_IGNORED, TRACE_SIGNAL_ALREADY_PENDING, TRACE_SIGNAL_OVERFLOW_FAIL = range(4)


class SigAction:
    """What a process has asked for with sigaction(2)."""

    __slots__ = ("flags", "handler", "mask", "restorer")

    def __init__(self, handler: int = SIG_DFL, flags: int = 0, restorer: int = 0, mask: int = 0) -> None:
        self.handler = handler
        self.flags = flags
        self.restorer = restorer
        self.mask = mask & ~UNBLOCKABLE

    def pack(self) -> bytes:
        """struct kernel_sigaction."""
        return struct.pack("<QQQQ", self.handler, self.flags, self.restorer, self.mask)


DEFAULT = SigAction()


class SigInfo:
    """One signal on its way. `rest` is the siginfo's union, from offset 16."""

    __slots__ = ("code", "rest", "signo", "timer")

    def __init__(self, signo: int, code: int = SI_KERNEL, rest: bytes = b"") -> None:
        self.signo = signo
        self.code = code
        self.rest = rest
        self.timer: object = None

    @classmethod
    def from_user(cls, signo: int, sender: Task, code: int = SI_USER, value: int | None = None) -> SigInfo:
        """As kill(2), tgkill(2) and sigqueue(3) send it."""
        rest = struct.pack("<iI", sender.pid, sender.uid)
        return cls(signo, code, rest if value is None else rest + struct.pack("<Q", value))

    @classmethod
    def fault(cls, signo: int, code: int, address: int) -> SigInfo:
        """As an exception of the processor makes it."""
        return cls(signo, code, struct.pack("<Q", address))

    @classmethod
    def child(cls, signo: int, code: int, child: Process, uid: int, status: int) -> SigInfo:
        """SIGCHLD: `status` is the exit code or the signal's number."""
        ticks = child.cpu_time // TICK
        return cls(signo, code, struct.pack("<iIixxxxqq", child.pid, uid, status, ticks, 0))

    def pack(self) -> bytes:
        """siginfo_t, 128 bytes."""
        return (struct.pack("<iii4x", self.signo, 0, self.code) + self.rest).ljust(128, b"\0")


def bit(signo: int) -> int:
    """The signal's bit in a signal set."""
    return 1 << (signo - 1)


def action_of(process: Process, signo: int) -> SigAction:
    """What the process has set for the signal."""
    return process.actions.get(signo, DEFAULT)


def is_ignored(process: Process, signo: int) -> bool:
    """Would delivering it do nothing?"""
    handler = action_of(process, signo).handler
    return handler == SIG_IGN or (handler == SIG_DFL and signo in IGNORED_BY_DEFAULT)


def pending_set(*queues: deque[SigInfo]) -> int:
    """The signals in the queues, as a signal set."""
    found = 0
    for queue in queues:
        for info in queue:
            found |= bit(info.signo)
    return found


def has_deliverable(task: Task) -> bool:
    """Must the task look at signals before it goes on in user mode?"""
    process = task.process
    if process.group_exit is not None or process.stopped or (task.tracing is not None and task.tracing.wants_signals):
        return True
    return bool(pending_set(task.pending, process.pending) & ~task.blocked) if task.pending or process.pending else False


def dequeue(task: Task, wanted: int) -> SigInfo | None:
    """Take the next pending signal that is in the set: those of faults first, then by number; its own before the process's."""
    best: tuple[tuple[bool, int, int], deque[SigInfo], SigInfo] | None = None
    for order, queue in enumerate((task.pending, task.process.pending)):
        for info in queue:
            if wanted & bit(info.signo):
                key = (info.signo not in SYNCHRONOUS, info.signo, order)
                if best is None or key < best[0]:
                    best = (key, queue, info)
    if best is None:
        return None
    best[1].remove(best[2])
    _collected(task.process, best[2])
    return best[2]


def _collected(process: Process, info: SigInfo) -> None:
    """Tell the timer that has sent a signal that it is taken."""
    if info.code == SI_TIMER:
        timer = process.posix_timers.get(int.from_bytes(info.rest[:4], "little", signed=True))
    else:
        timer = process.itimers.get(0) if info.signo == Sig.ALRM else None  # ITIMER_REAL
    if timer is not None:
        timer.collected()


def _discard(process: Process, signals: frozenset[Sig]) -> None:
    for queue in _queues(process):
        kept = [info for info in queue if info.signo not in signals]
        queue.clear()
        queue.extend(kept)


def _queues(process: Process) -> Iterator[deque[SigInfo]]:
    yield process.pending
    for thread in process.threads.values():
        yield thread.pending


@kernel_function("int do_send_sig_info(int sig, struct kernel_siginfo *info, struct task_struct *p, enum pid_type type)")
def do_send_sig_info(k: Kernel, sig: int, info: SigInfo, task: Task, group: int) -> int:
    """Make a signal pending for a task, or (group not 0) for its process, and wake who will take it."""
    send_signal(k, sig, info, task, group)
    return 0


def send_signal(k: Kernel, sig: int, info: SigInfo, task: Task, group: int) -> None:
    """What all ways of sending a signal lead to (__send_signal_locked). Raises Errno(EAGAIN)."""
    try:
        result = _send_signal(k, sig, info, task, group)
    except Errno:
        result = TRACE_SIGNAL_OVERFLOW_FAIL
        raise
    finally:
        tp = k.tracepoints.signal_generate
        if tp.callbacks:
            tp.fire(sig, 0, info.code, task.comm.ljust(16, b"\0"), task.tid, int(bool(group)), result)


def _send_signal(k: Kernel, sig: int, info: SigInfo, task: Task, group: int) -> int:
    process = task.process
    if process.exit_status is not None or process.group_exit is not None:
        if sig == Sig.KILL:
            for thread in process.threads.values():
                if thread.tracing is not None:
                    thread.tracing.stopped = False  # of a stop on its way out
            for thread in process.threads.values():
                k.scheduler.unpark(thread)
        return TRACE_SIGNAL_IGNORED
    if sig == Sig.CONT:
        _discard(process, STOPS_BY_DEFAULT)
        k.continue_process(process)
    elif sig in STOPS_BY_DEFAULT:
        _discard(process, frozenset({Sig.CONT}))
    targets = [task, *(t for t in process.threads.values() if t is not task)] if group else [task]
    if is_ignored(process, sig) and not any(t.blocked & bit(sig) or t.tracing is not None for t in targets):
        return TRACE_SIGNAL_IGNORED
    if sig == Sig.KILL:
        k.begin_group_exit(process, Sig.KILL)
        return TRACE_SIGNAL_DELIVERED
    queue = process.pending if group else task.pending
    if sig < 32 and any(i.signo == sig for i in queue):
        return TRACE_SIGNAL_ALREADY_PENDING
    if sig >= 32 and len(queue) >= process.limits[11][0]:
        raise Errno(EAGAIN)
    queue.append(info)
    for target in targets:
        if not target.dead and (not target.blocked & bit(sig) or target.wake_signal):
            if not target.blocked & bit(sig) and ends_at_once(process, sig) and target.tracing is None:
                k.begin_group_exit(process, sig)  # complete_signal: nothing can save it any more
            k.signal_wake(target)
            break
    return TRACE_SIGNAL_DELIVERED


def ends_at_once(process: Process, sig: int) -> bool:
    """Is it a signal that ends the process without a handler, and without a report of what it was doing?"""
    return action_of(process, sig).handler == SIG_DFL and sig not in (*CORE_BY_DEFAULT, *STOPS_BY_DEFAULT, *IGNORED_BY_DEFAULT)


def send_to_process(k: Kernel, process: Process, info: SigInfo) -> None:
    """Make a signal pending for a process."""
    task = process.leader or next(iter(process.threads.values()), None)
    if task is not None:
        k.do_send_sig_info(info.signo, info, task, 1)


def force(k: Kernel, task: Task, info: SigInfo) -> None:
    """Send a signal that cannot be blocked or ignored because the task cannot go on (force_sig_info)."""
    process, sig = task.process, info.signo
    action = action_of(process, sig)
    if task.blocked & bit(sig) or action.handler == SIG_IGN:
        task.blocked &= ~bit(sig)
        process.actions[sig] = DEFAULT
    task.pending.append(info)
    tp = k.tracepoints.signal_generate
    if tp.callbacks:
        tp.fire(sig, 0, info.code, task.comm.ljust(16, b"\0"), task.tid, 0, TRACE_SIGNAL_DELIVERED)


@kernel_function("bool get_signal(struct ksignal *ksig)")
def get_signal(k: Kernel, ksig: list[tuple[SigInfo, SigAction]]) -> int:
    """Find the current task's next signal that has a handler, doing what the others ask for; 0: there is none."""
    task = k.current
    assert task is not None
    process = task.process
    while True:
        if process.group_exit is not None:
            k.do_group_exit(Sig.KILL)
        if process.stopped and task.held:
            return 0
        info = dequeue(task, ~task.blocked) if task.tracing is None else _tracee().next_signal(k, task.tracing)
        if info is None:
            return 0
        sig = info.signo
        action = action_of(process, sig)
        tp = k.tracepoints.signal_deliver
        if tp.callbacks:
            tp.fire(sig, 0, info.code, action.handler, action.flags)
        if action.handler == SIG_IGN or (action.handler == SIG_DFL and sig in IGNORED_BY_DEFAULT):
            continue
        if action.handler != SIG_DFL:
            if action.flags & SA_RESETHAND:
                process.actions[sig] = DEFAULT
            ksig.append((info, action))
            return 1
        if sig in STOPS_BY_DEFAULT:
            from pyprobe.runtime.user.jobcontrol import is_orphaned  # here, because that module needs this one

            if sig != Sig.STOP and is_orphaned(k, process.pgid):
                continue
            k.stop_process(process, sig)
            continue
        k.note_death(task, info)
        k.do_group_exit(sig)


def _tracee() -> ModuleType:
    from pyprobe.runtime.user import tracee  # here, because that module needs this one

    return tracee


def deliver(k: Kernel, task: Task) -> None:
    """Before the task goes on in user mode: run its signals' default actions, or push frames for their handlers.

    The task's registers are in the engine. An interrupted system call is made again or fails with EINTR, as the handler's flags say.
    """
    tracing = task.tracing
    while has_deliverable(task) and not task.held:
        ksig: list[tuple[SigInfo, SigAction]] = []
        if not k.get_signal(ksig):
            break
        (info, action), = ksig
        if task.interrupted is not None:
            restart = task.interrupted.block.restart and action.flags & SA_RESTART
            k.entry.finish_interrupted(task, bool(restart))
        if tracing is not None:
            _tracee().before_handler(k, tracing, action)
        mask = task.blocked if task.saved_mask is None else task.saved_mask
        task.saved_mask = None
        if task.rseq is not None:
            from pyprobe.runtime.user.rseq import interrupted as rseq_interrupted  # here, because that module needs this one

            rseq_interrupted(k, task)
        try:
            push_frame(task, info, action, mask)
            k.clock.charge(DELIVERY_NS)
        except MemoryFault:
            process = task.process
            process.actions[Sig.SEGV] = DEFAULT  # force_sigsegv: a frame that does not fit ends the process
            task.blocked &= ~bit(Sig.SEGV)
            task.pending.appendleft(SigInfo(Sig.SEGV))
            continue
        task.blocked = (task.blocked | action.mask | (0 if action.flags & SA_NODEFER else bit(info.signo))) & ~UNBLOCKABLE
        if tracing is not None:
            _tracee().handler_begins(k, tracing)
    if task.interrupted is not None and not task.held:
        k.entry.finish_interrupted(task, True)
    if task.saved_mask is not None and task.parked is None and not task.held:
        task.blocked, task.saved_mask = task.saved_mask, None


def sigreturn(k: Kernel, task: Task) -> None:
    """rt_sigreturn(2): take back the registers and the mask from the frame on the stack."""
    try:
        task.blocked = pop_frame(task) & ~UNBLOCKABLE
    except MemoryFault:
        force(k, task, SigInfo(Sig.SEGV))


def interrupted() -> Errno:
    """What an interrupted wait fails with."""
    return Errno(EINTR)
