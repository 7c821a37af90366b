"""What a traced task does on its way through the kernel, between its stops: signals, system calls, steps.

References: get_signal and ptrace_signal of kernel/signal.c, kernel/entry/common.c, arch/{x86,arm64}/kernel/signal.c and ptrace.c.
"""

from __future__ import annotations

from errno import EINTR, ENOSYS
from typing import TYPE_CHECKING

from pyprobe.runtime.user import watches
from pyprobe.runtime.user.abi import ABIS
from pyprobe.runtime.user.errors import Block
from pyprobe.runtime.user.ptrace import (
    EMULATED,
    ERESTART_RESTARTBLOCK,
    ERESTARTNOHAND,
    ERESTARTNOINTR,
    ERESTARTSYS,
    EVENT_STOP,
    EVENTMSG_SYSCALL_ENTRY,
    EVENTMSG_SYSCALL_EXIT,
    O_EXITKILL,
    O_TRACESYSGOOD,
    RESTARTED,
    STEPPED,
    SYSGOOD,
    Mode,
    Phase,
    Tracing,
    notify,
    own,
    send,
    stop,
    unlink,
)
from pyprobe.runtime.user.seccomp import decide
from pyprobe.runtime.user.signals import (
    CLD_STOPPED,
    NSIG,
    SA_RESTART,
    SI_USER,
    TRAP_BRKPT,
    TRAP_TRACE,
    Sig,
    SigAction,
    SigInfo,
    bit,
    dequeue,
    force,
    send_signal,
)
from pyprobe.runtime.user.task import Parked
from pyprobe.runtime.user.words import U32, U64, s32, s64

if TYPE_CHECKING:
    from pyprobe.runtime.machine.engine import Engine, Stop
    from pyprobe.runtime.user.exceptions import Raised
    from pyprobe.runtime.user.kernel import Kernel
    from pyprobe.runtime.user.task import Task


def let_go(k: Kernel, tracing: Tracing) -> None:
    """End the tracing of a task; it goes on, into the stop that its group is in perhaps."""
    task = tracing.task
    unlink(tracing)
    if not task.dead:
        _settle(k, tracing)
        if task.parked is None:
            k.scheduler.unpark(task)


def _settle(k: Kernel, tracing: Tracing) -> None:
    """What it had before it is done without its tracer: a signal, a system call that is not made yet or is to be made again."""
    task, signo = tracing.task, tracing.code
    info, tracing.delivering = tracing.delivering, None
    engine, context = task.process.engine, task.context
    if info is not None and signo:
        task.pending.appendleft(_injected(tracing, tracing.info or info, signo))
    elif 0 < signo <= NSIG and tracing.phase in (Phase.ENTERED, Phase.LEFT) and not tracing.stopped:
        send(k, task, signo)
    if task.parked is not None:
        return
    if tracing.saved is not None:
        engine.context_set(context, "r7", tracing.saved)
    if tracing.number == -1:
        return
    error = -s64(engine.context_get(context, engine.arch.result))
    if tracing.rewound is not None and engine.context_get(context, engine.arch.pc) == tracing.rewound[1]:
        error = tracing.rewound[0]
        engine.context_set(context, engine.arch.pc, tracing.rewound[1] + ABIS[task.process.arch].syscall_length)
    if tracing.phase in (Phase.ENTERED, Phase.FILTERED):
        engine.context_set(context, engine.arch.pc, engine.context_get(context, engine.arch.pc) - ABIS[task.process.arch].syscall_length)
        engine.context_set(context, engine.arch.number, tracing.number)
    elif error in RESTARTED:
        number = _restart_syscall_number(k, task) if error == ERESTART_RESTARTBLOCK else tracing.number & U32
        call = k.syscalls.table(task.process.arch)[number]
        task.interrupted = Parked(call, (tracing.first, *[0] * 5), Block(restart=error in (ERESTARTSYS, ERESTARTNOINTR)))


def _restart_syscall_number(k: Kernel, task: Task) -> int:
    """The number of restart_syscall(2)."""
    return next(number for number, call in k.syscalls.table(task.process.arch).items() if call.name == "restart_syscall")


def tracer_ends(k: Kernel, tracer: Task) -> None:
    """Its tracees are let go, or killed (exit_ptrace)."""
    for tracing in [one for one in tracer.process.tracees.values() if one.tracer is tracer]:
        kill = tracing.options & O_EXITKILL
        task, ended = tracing.task, tracing.exit_status is not None
        let_go(k, tracing)
        if task.process.exit_status is not None and tracing.leads:
            k.exit_notify(task.process)
        elif kill and not ended:
            send_signal(k, Sig.KILL, SigInfo(Sig.KILL), task, 0)


# signals


def next_signal(k: Kernel, tracing: Tracing) -> SigInfo | None:
    """The current task's next signal to act on; None: there is none, or it has stopped (the part of get_signal that knows of tracers)."""
    task = tracing.task
    if task.process.arch == "arm64":
        _rewind(tracing)
    while not tracing.stopped:
        if tracing.delivering is not None:
            info, tracing.delivering = tracing.delivering, None
            signo, tracing.code = tracing.code, 0
            if signo:
                info = _injected(tracing, tracing.info or info, signo)
                if not task.blocked & bit(info.signo):
                    return info
                send_signal(k, info.signo, info, task, 0)
            continue
        if tracing.trap or tracing.notify:
            _stop_for_group(k, tracing)
            continue
        found = dequeue(task, ~task.blocked)
        if found is None or found.signo == Sig.KILL:
            return found
        tracing.delivering = found
        stop(k, tracing, found.signo, found)
    return None


def _injected(tracing: Tracing, info: SigInfo, signo: int) -> SigInfo:
    """The signal the tracer wants delivered: the one it stopped for, or another as if the tracer had sent it."""
    if info.signo == signo:
        return info
    return SigInfo.from_user(signo, tracing.tracer)


def _stop_for_group(k: Kernel, tracing: Tracing) -> None:
    """do_jobctl_trap."""
    signo = tracing.task.process.stopped
    if tracing.seized:
        signo = signo or Sig.TRAP
        code = EVENT_STOP << 8 | signo
        stop(k, tracing, code, own(tracing, signo, code), CLD_STOPPED)
    else:
        tracing.trap = tracing.notify = False
        if signo:
            stop(k, tracing, signo, None, CLD_STOPPED)


# system calls


def enters(tracing: Tracing, number: int, arguments: tuple[int, ...]) -> None:
    """The current task, which is traced, has executed a system call instruction."""
    tracing.phase, tracing.number, tracing.first = Phase.ENTERING, s32(number), arguments[0]


def proceed(k: Kernel, tracing: Tracing) -> bool:
    """Bring the current task, whose registers are in the engine, as far as it gets; whether that is where signals are delivered."""
    task = tracing.task
    while not (tracing.stopped or task.parked is not None):
        if task.interrupted is not None:
            k.entry.leave_interrupted(task)
            tracing.phase = Phase.LEAVING
        elif tracing.phase is Phase.ENTERING:
            _report_entry(k, tracing)
        elif tracing.phase in (Phase.ENTERED, Phase.FILTERED):
            _make_call(k, tracing)
        elif tracing.phase is Phase.LEAVING:
            _report_exit(k, tracing)
        elif tracing.phase is Phase.LEFT:
            _after_report(k, tracing)
            tracing.phase = Phase.USER
        else:
            return True
    return False


def _report_entry(k: Kernel, tracing: Tracing) -> None:
    engine = tracing.task.process.engine
    tracing.code = 0
    tracing.phase = Phase.LEFT if tracing.mode in EMULATED else Phase.ENTERED
    if engine.arch.result == engine.arch.number:
        engine.set_result(-ENOSYS & U64)
    if tracing.mode in (Mode.SYSCALL, *EMULATED):
        _report_call(k, tracing, EVENTMSG_SYSCALL_ENTRY)


def _report_call(k: Kernel, tracing: Tracing, message: int) -> None:
    """ptrace_report_syscall, with the register that tells its two kinds apart on arm64 (report_syscall_enter)."""
    engine = tracing.task.process.engine
    if engine.arch.name == "arm64":
        tracing.saved = engine.get("r7")
        engine.set("r7", message - EVENTMSG_SYSCALL_ENTRY)
    notify(k, tracing, Sig.TRAP | (SYSGOOD if tracing.options & O_TRACESYSGOOD else 0), message)


def _after_report(k: Kernel, tracing: Tracing) -> None:
    """The tracer lets it go on from a system call's stop, perhaps with a signal."""
    if tracing.saved is not None:
        tracing.task.process.engine.set("r7", tracing.saved)
        tracing.saved = None
    signo, tracing.code = tracing.code, 0
    if 0 < signo <= NSIG:
        send(k, tracing.task, signo)


def _make_call(k: Kernel, tracing: Tracing) -> None:
    """What an entry does for who is not traced, with what the tracer has left of number and arguments."""
    task = tracing.task
    engine = task.process.engine
    if tracing.phase is Phase.ENTERED:
        _after_report(k, tracing)
    arguments = engine.syscall_arguments()[1:]
    number, tracing.first = tracing.number, arguments[0]
    if number >= 0 and task.seccomp is not None:
        decision = decide(k, task, number, arguments)
        if tracing.stopped:
            return
        if decision is not None:
            engine.set_result(decision & U64)
            number = -1
    tracing.phase = Phase.LEAVING
    if number >= 0:
        tracing.phase = Phase.INSIDE
        result = k.entry.perform(task, number, arguments)
        if result is not None:
            tracing.phase = Phase.LEAVING
            engine.set_result(result & U64)
    k.settle(task)


def _report_exit(k: Kernel, tracing: Tracing) -> None:
    tracing.code, tracing.phase = 0, Phase.LEFT
    if tracing.mode in STEPPED:
        x86 = tracing.task.process.arch == "x86_64"
        pc = tracing.task.process.engine.get("pc")
        force(k, tracing.task, SigInfo.fault(Sig.TRAP, TRAP_BRKPT, pc) if x86 else SigInfo(Sig.TRAP, SI_USER, bytes(8)))
    elif tracing.mode is Mode.SYSCALL:
        _report_call(k, tracing, EVENTMSG_SYSCALL_EXIT)


# calls that are made again (arch_do_signal_or_restart of x86, do_signal of arm64)


def _error(engine: Engine) -> int:
    """The error number that the system call ended with; negative or 0: a result."""
    return -s64(engine.get(engine.arch.result))


def _restart(k: Kernel, tracing: Tracing, error: int) -> None:
    """Make the system call again that ended with this error number."""
    task = tracing.task
    engine = task.process.engine
    arch = engine.arch
    block = error == ERESTART_RESTARTBLOCK
    if arch.result == arch.number:
        engine.set(arch.result, _restart_syscall_number(k, task) if block else tracing.number & U64)
    else:
        engine.set(arch.result, tracing.first)
        if block:
            engine.set(arch.number, _restart_syscall_number(k, task))
    engine.set(arch.pc, engine.get(arch.pc) - ABIS[task.process.arch].syscall_length)


def _rewind(tracing: Tracing) -> None:
    """arm64 makes ready to make a call again before it looks at signals: that is what tracers see (do_signal)."""
    engine = tracing.task.process.engine
    error = _error(engine)
    if tracing.number == -1 or error not in RESTARTED or tracing.rewound:
        return
    tracing.rewound = error, engine.get("pc") - ABIS["arm64"].syscall_length
    engine.set(engine.arch.result, tracing.first)
    engine.set("pc", tracing.rewound[1])


def _rewound(k: Kernel, tracing: Tracing, action: SigAction | None) -> None:
    """And decides anew when it knows whether a handler will run, unless the tracer has chosen another place."""
    engine = tracing.task.process.engine
    (error, pc), tracing.rewound = tracing.rewound or (0, -1), None
    if engine.get("pc") != pc:
        return
    if action is None:
        if error == ERESTART_RESTARTBLOCK:
            engine.set(engine.arch.number, _restart_syscall_number(k, tracing.task))
    elif error in (ERESTARTNOHAND, ERESTART_RESTARTBLOCK) or (error == ERESTARTSYS and not action.flags & SA_RESTART):
        engine.set_result(-EINTR & U64)
        engine.set("pc", pc + ABIS["arm64"].syscall_length)


def before_handler(k: Kernel, tracing: Tracing, action: SigAction) -> None:
    """A handler will run: a call that was interrupted is made again after it, or fails."""
    engine = tracing.task.process.engine
    error = _error(engine)
    if tracing.rewound is not None:
        _rewound(k, tracing, action)
        tracing.number = -1
    if tracing.number < 0 or error not in RESTARTED:
        return
    if error == ERESTARTNOINTR or (error == ERESTARTSYS and action.flags & SA_RESTART):
        _restart(k, tracing, error)
    else:
        engine.set_result(-EINTR & U64)
    tracing.number = -1


def to_user(k: Kernel, tracing: Tracing) -> None:
    """The current task goes on in user mode."""
    engine = tracing.task.process.engine
    if tracing.rewound is not None:
        _rewound(k, tracing, None)
    elif tracing.number >= 0:
        error = _error(engine)
        if error in RESTARTED:
            _restart(k, tracing, error)
    tracing.number = -1


def run(k: Kernel, tracing: Tracing) -> Stop:
    """Run the current task in user mode, for one instruction if its tracer wants that."""
    to_user(k, tracing)
    engine = tracing.task.process.engine
    if tracing.mode not in STEPPED:
        return watches.run(k, tracing) if tracing.debug.watches else engine.run()
    stop, done, watched = watches.step(tracing)
    if done:
        tracing.debug.status = watches.SINGLE_STEP | watched
        force(k, tracing.task, SigInfo.fault(Sig.TRAP, TRAP_TRACE, engine.get("pc")))
    return stop


def trapped(tracing: Tracing, raised: Raised) -> None:
    """A breakpoint of the tracer's perhaps: a probe that has been told of that place is not told again when the instruction is back."""
    engine = tracing.task.process.engine
    if raised.signo == Sig.TRAP:
        engine.state.fired = engine.get("pc") - engine.arch.breakpoint.advance


def handler_begins(k: Kernel, tracing: Tracing) -> None:
    """A signal's handler is about to run: the end of a step."""
    if tracing.mode in STEPPED:
        notify(k, tracing, Sig.TRAP)
