"""The emulated Linux kernel: it owns the memory, the tasks and the files of one machine, and runs them.

The work itself lies in the modules beside this one, named as in Linux: fork.py, exec.py, exit.py, signals.py, scheduler.py, vfs/ and
the system calls in syscalls/.
"""

from __future__ import annotations

import os
import random
from collections.abc import Callable, Sequence
from errno import EAGAIN, EINVAL, ENOMEM
from functools import partial
from typing import TYPE_CHECKING

from pyprobe.runtime.machine.arm64 import ARM64
from pyprobe.runtime.machine.clock import UPTIME_NS, Clock, Timer
from pyprobe.runtime.machine.engine import Engine, StopKind
from pyprobe.runtime.machine.memory import AddressSpace, OutOfMemory, PhysicalMemory
from pyprobe.runtime.machine.x86_64 import X86_64
from pyprobe.runtime.user import exceptions, faults, functions, ptrace, rseq, signals, tracee
from pyprobe.runtime.user import exec as exec_module
from pyprobe.runtime.user import exit as exit_module
from pyprobe.runtime.user.abi import ABIS, SIGCONTEXT_ARM64, SIGCONTEXT_X86_64
from pyprobe.runtime.user.calls import KernelCalls
from pyprobe.runtime.user.entry import Entry
from pyprobe.runtime.user.errors import Errno, ExecFailure, TaskGone
from pyprobe.runtime.user.exceptions import Raised
from pyprobe.runtime.user.images import Images
from pyprobe.runtime.user.ipc import IpcIds
from pyprobe.runtime.user.loader import FileZone
from pyprobe.runtime.user.outcome import Crash as Crash
from pyprobe.runtime.user.outcome import exec_message, shell_status
from pyprobe.runtime.user.sched import NORMAL_PRIORITY
from pyprobe.runtime.user.scheduler import QUANTUM_NS, Scheduler, StopRun
from pyprobe.runtime.user.signals import Sig, SigInfo
from pyprobe.runtime.user.syscall_table import Syscall, SyscallTable
from pyprobe.runtime.user.task import Credentials, Process, Task
from pyprobe.runtime.user.tracepoints import Tracepoints
from pyprobe.runtime.user.vdso import Vdso
from pyprobe.runtime.user.vfs.host import View
from pyprobe.runtime.user.vfs.vfs import DISK_LIMIT, Vfs
from pyprobe.runtime.user.words import U64

if TYPE_CHECKING:
    from pyprobe.runtime.machine.engine import Context
    from pyprobe.runtime.machine.physical import Backing
    from pyprobe.runtime.user.syscalls.futex import Waiter
    from pyprobe.runtime.user.syscalls.msg import MessageQueue
    from pyprobe.runtime.user.syscalls.sem import SemaphoreSet
    from pyprobe.runtime.user.syscalls.shm import Segment
    from pyprobe.runtime.user.vfs.stdio import Stream

MACHINES = {"x86_64": X86_64, "arm64": ARM64}
REPORTED_REGISTERS = {"x86_64": SIGCONTEXT_X86_64, "arm64": SIGCONTEXT_ARM64}

FIRST_PID = 1000
"""The first program's process id; each new task gets the next one."""

PID_MAX = 32768  # kernel.pid_max's usual value: ids are used again from FIRST_PID after it
TASK_LIMIT = 4096
MEMORY_LIMIT = 2 << 30  # bytes that all processes and files in memory may use together


class Kernel(KernelCalls):
    """One emulated Linux.

    root: the host's directory that is its `/`. arch: the architecture whose functions and tracepoints are offered; programs of
    the others run too when `architectures` names them. seed: of every random number the guest gets.
    view: which of the host's files appear, None for all. clock, memory: made with their defaults if not given.
    task_limit: of tasks at a time; memory_limit, disk_limit: bytes for memory, and for files made or changed.
    """

    def __init__(
        self,
        *,
        memory: PhysicalMemory | None = None,
        clock: Clock | None = None,
        arch: str = "x86_64",
        architectures: tuple[str, ...] = ("x86_64",),
        seed: int = 0,
        uid: int = 0,
        gid: int = 0,
        task_limit: int = TASK_LIMIT,
        memory_limit: int = MEMORY_LIMIT,
        disk_limit: int = DISK_LIMIT,
        root: bytes = b"/",
        view: View = None,
        native: bool | None = None,
    ) -> None:
        self.memory = memory if memory is not None else PhysicalMemory(memory_limit)
        self.clock: Clock = clock if clock is not None else Clock(uptime_ns=UPTIME_NS)
        self.vfs = Vfs(self.memory, self.clock.wall(), root=root, view=view, limit=disk_limit)
        self.arch = arch
        self.architectures = architectures
        self.rng = random.Random(seed)
        self.task_limit = task_limit
        self.engines: dict[str, Engine] = {}
        self.processes: dict[int, Process] = {}
        self.tasks: dict[int, Task] = {}
        self.current: Task | None = None
        self.first: Process | None = None
        self.crashes: list[Crash] = []
        self.last_words: dict[int, tuple[bytes, int]] = {}  # of processes whose last thread has ended: its name and priority
        self.futexes: dict[tuple[object, int], list[Waiter]] = {}
        self.shm: IpcIds[Segment] = IpcIds(4096)
        self.sem: IpcIds[SemaphoreSet] = IpcIds(32000)
        self.msg: IpcIds[MessageQueue] = IpcIds(32000)
        self.shown_stack: Callable[[list[int], bool], list[int]] | None = None  # puts back the return addresses that probes have replaced
        self.guest_timers = 0  # timers of the guest that are pending in the clock
        self.stop_requested = False
        self.images_seen = Images()
        self.on_image = self.images_seen.callbacks
        self._cred = Credentials(uid, gid)
        self._native = native
        self._next_pid = FIRST_PID
        self._resched = False
        self._watching_faults = False
        self.looking = False  # a probe is being told of a page fault
        self._reload = False
        self._after: Callable[[], None] | None = None
        self._quantum: Timer | None = None
        self._loaded: Task | None = None  # whose registers the engine holds
        self._tables: dict[str, dict[int, Syscall]] = {}
        self.turn_began = 0  # when the current task's turn began, ns since boot
        self.memory_exhausted = self.tasks_exhausted = False
        self.entry = Entry(self)
        self.unknown_syscalls = self.entry.unknown
        self.scheduler = Scheduler(self)
        self.syscalls = SyscallTable()
        self.functions: functions.KernelFunctions = functions.KernelFunctions(self, arch)
        self.tracepoints = Tracepoints(self, arch)
        self.lives = self.tracepoints
        self.zone = FileZone(*ABIS[arch].file_zone)
        self.vdso = Vdso(self.zone)

    # engines and registers

    def engine_for(self, arch: str) -> Engine:
        """The one engine of an architecture, made when its first program is loaded."""
        engine = self.engines.get(arch)
        if engine is None:
            engine = self.engines[arch] = Engine(MACHINES[arch], self.memory, self.clock, native=self._native)
            engine.on_syscall = self.entry.syscall
            self._tables[arch] = self.syscalls.table(arch)
        return engine

    def start_program(self, task: Task, pc: int, sp: int) -> None:
        """Give a task the registers a new program starts with."""
        engine = task.process.engine
        context = engine.new_context()
        engine.context_set(context, engine.arch.pc, pc)
        engine.context_set(context, engine.arch.sp, sp)
        task.context = context
        task.result = None
        if task is self.current:
            self._reload = self.entry.attention = True

    def copy_registers(self, task: Task, sp: int, tls: int | None) -> Context:
        """The current task's registers for a child that returns 0 from the same system call; sp 0: the same stack."""
        engine = task.process.engine
        context = engine.new_context()
        engine.save(context)
        engine.context_set(context, engine.arch.result, 0)
        if sp:
            engine.context_set(context, engine.arch.sp, sp)
        if tls is not None:
            engine.context_set(context, "tls", tls)
        return context

    # starting

    def spawn(
        self,
        argv: Sequence[bytes],
        env: Sequence[bytes] = (),
        cwd: bytes = b"/",
        stdio: tuple[Stream, Stream, Stream] = (0, 1, 2),
    ) -> Process:
        """Make the first process. argv[0] is searched in the PATH of `env` (KEY=VALUE strings) if it has no slash.

        stdio: for descriptors 0, 1 and 2 a host descriptor, bytes to read, or a function that takes what is written.
        Raises ExecFailure with a message for the user.
        """
        if not argv:
            raise ExecFailure("no command", EINVAL)
        pid = self.new_pid()
        engine = self.engine_for(self.arch)
        process = Process(pid, None, AddressSpace(self.memory), engine)
        process.arch = self.arch
        process.files = self.vfs.stdio(self, stdio)
        process.start_time = self.clock.now()
        task = Task(pid, process, engine.new_context(), self._cred.copy())
        task.comm = b"pyprobe"
        process.threads[pid] = task
        self.processes[pid] = process
        self.tasks[pid] = task
        if self.first is None and self.vfs.devices.terminal is not None:
            self.vfs.devices.terminal.opened(self, task)
        self.first = self.first or process
        self.current = task
        try:
            process.fs = self.vfs.context(cwd)
            path = exec_module.search(self, task, argv[0], env)
            self.do_execveat_common(-100, path, tuple(argv), tuple(env), 0)
        except Errno as error:
            raise ExecFailure(exec_message(argv[0], error.errno), error.errno) from None
        except OutOfMemory as error:
            raise ExecFailure(f"{os.fsdecode(argv[0])}: {error}", ENOMEM) from None
        finally:
            self.current = None
            self._reload = self.entry.attention = False
        self.scheduler.add(task)
        return process

    def new_pid(self) -> int:
        """A process id nobody has. Raises Errno(EAGAIN)."""
        for _ in range(PID_MAX):
            pid = self._next_pid
            self._next_pid = pid + 1 if pid + 1 < PID_MAX else FIRST_PID
            if pid not in self.tasks and pid not in self.processes:
                return pid
        raise Errno(EAGAIN)

    # running

    def run(self) -> int:
        """Run until the first process has ended; its exit status as a shell shows it (128 + n for signal n).

        Raises Deadlock when every task waits for nothing, and what callbacks of probes raise.
        """
        first = self.first
        assert first is not None
        try:
            while first.exit_status is None and not self.stop_requested:
                self._turn(self.scheduler.next())
        except StopRun:
            pass
        finally:
            if self.vfs.devices.terminal is not None:
                self.vfs.devices.terminal.restore()
        return shell_status(first.exit_status) if first.exit_status is not None else 0

    @property
    def attended(self) -> bool:
        """Does somebody sit at the terminal, in whose time it runs? Keys are signals then, for which the guest may wait for ever."""
        terminal = self.vfs.devices.terminal
        return self.clock.real and terminal is not None and terminal.foreground != 0

    def stop(self) -> None:
        """End the run as soon as possible."""
        self.stop_requested = self.entry.attention = True
        for engine in self.engines.values():
            engine.request_stop()

    def _turn(self, task: Task) -> None:
        """Let one task run until it waits, ends or has had its quantum."""
        self.current = task
        began = self.turn_began = self.clock.now()
        try:
            preempted = self.scheduler.last is not task
            self.scheduler.switched(task)
            if task.exit_code is not None:
                exit_module.end_task(self, task, task.exit_code)
                raise TaskGone
            if task.process.group_exit is not None:
                self.get_signal([])  # does not return
            if task.parked is not None and not self.entry.retry(task):
                return
            self._enter(task)
            if task.rseq is not None and preempted:
                rseq.interrupted(self, task)
            self._resched = False
            self._quantum = self.clock.add(min(began + QUANTUM_NS, self.scheduler.next_deadline()), self._preempt)
            self._run_guest(task)
        except TaskGone:
            pass
        finally:
            if self._quantum is not None:
                self.clock.cancel(self._quantum)
                self._quantum = None
            task.cpu_time += self.clock.now() - began
            self.scheduler.switching_from(task)
            if not task.dead:
                if self.entry.engine is not None and self._loaded is task:
                    self.entry.engine.save(task.context)
                if task.parked is None:
                    self.scheduler.add(task)
                else:
                    self.scheduler.park(task)
            self._loaded = None
            self.current = None

    def _enter(self, task: Task) -> None:
        """Load the task into the engine."""
        process = task.process
        engine = self.entry.engine = process.engine
        self.entry.table = self._tables[process.arch]
        engine.activate(process.space)
        engine.restore(task.context)
        self._loaded = task
        self._reload = False
        if task.result is not None:
            engine.set_result(task.result & U64)
            task.result = None

    def _run_guest(self, task: Task) -> None:
        while True:
            if task.tracing is not None and not tracee.proceed(self, task.tracing):
                return
            if signals.has_deliverable(task) or task.interrupted is not None or task.saved_mask is not None:
                signals.deliver(self, task)
            if task.held or self.stop_requested or (self._resched and self.scheduler.contended):
                return
            self.entry.attention = False
            try:
                stop = task.process.engine.run() if task.tracing is None else tracee.run(self, task.tracing)
            except OutOfMemory:
                self.out_of_memory(task)
                continue
            self.settle(task)
            if stop.kind is StopKind.FAULT or stop.kind is StopKind.TRAP:
                self._fault(task, exceptions.raised(task, stop))
            elif task.parked is not None:
                return

    def settle(self, task: Task) -> None:
        """What a system call has left to be done, or a probe, now that the engine does not run. Raises TaskGone."""
        if task.dead:
            raise TaskGone
        if self._reload:
            self._enter(task)
        elif self._after is not None:
            after, self._after = self._after, None
            after()

    def _fault(self, task: Task, raised: Raised | None) -> None:
        if raised is None:
            return
        if task.tracing is not None:
            tracee.trapped(task.tracing, raised)
        task.trap_number, task.trap_error = raised.number, raised.error
        if raised.fault_address is not None:
            task.fault_address = raised.fault_address
        signals.force(self, task, SigInfo.fault(raised.signo, raised.code, raised.address))

    def _preempt(self) -> None:
        """The quantum is over, or a waiting task's time has come: let others run if there are any."""
        self.scheduler.poll_host()
        self.scheduler.wake()
        if not self.scheduler.contended:
            self._quantum = self.clock.add(min(self.clock.now() + QUANTUM_NS, self.scheduler.next_deadline()), self._preempt)
            return
        self._resched = self.entry.attention = True
        if self.entry.engine is not None:
            self.entry.engine.request_stop()

    def yield_cpu(self) -> None:
        """The current task lets others run."""
        self._resched = self.entry.attention = True

    def after_syscall(self, action: Callable[[], None]) -> None:
        """Have `action` done when the current system call has left the engine, its result set: it may change any register."""
        self._after = action
        self.entry.attention = True

    def after_run(self, action: Callable[[], None]) -> None:
        """For a probe in user code: have `action` done before the probed instruction would execute; it may change any register."""
        self._after = action
        if self.entry.engine is not None:
            self.entry.engine.request_stop()

    def watch_faults(self) -> None:
        """Tell of page faults from now on, as handle_mm_fault and page_fault_user."""
        if not self._watching_faults:
            self._watching_faults = True
            self.memory.resolve_fault = partial(faults.happened, self)

    # signals and ends, for the modules that do their work

    def signal_wake(self, task: Task) -> None:
        """A signal has become pending for the task: make it notice."""
        if task is self.current:
            self.entry.attention = True
            if task.syscall is None and self.entry.engine is not None:  # a timer's, in the middle of guest code
                self.entry.engine.request_stop()
            return
        parked = task.parked
        if parked is None or not parked.block.interruptible:
            return
        over = task.tracing is not None and parked.block.ready is not None and parked.block.ready()  # the call may show what it returns
        if not task.wake_signal and not over:
            task.interrupted, task.parked = parked, None
        self.scheduler.unpark(task)

    def broken_pipe(self, task: Task) -> None:
        """SIGPIPE for a task that writes where nobody reads."""
        self.do_send_sig_info(Sig.PIPE, SigInfo.from_user(Sig.PIPE, task), task, 0)

    def set_comm(self, task: Task, comm: bytes) -> None:
        """Give a task its name (__set_task_comm)."""
        tp = self.tracepoints.task_rename
        if tp.callbacks:
            tp.fire(task.tid, task.comm.ljust(16, b"\0"), comm.ljust(16, b"\0"), 0)
        task.comm = comm

    def stop_process(self, process: Process, signo: int) -> None:
        """Job control: no thread runs until SIGCONT."""
        process.stopped = signo
        process.stop_reported = False
        process.continued = False
        self.entry.attention = True
        ptrace.group_stops(self, process)
        exit_module.notify_stop(self, process, continued=False)

    def continue_process(self, process: Process) -> None:
        """SIGCONT's effect, which comes whatever the signal's action."""
        if process.stopped:
            process.stopped = 0
            process.continued = True
            for task in process.threads.values():
                if task.tracing is not None:
                    ptrace.group_continues(self, task.tracing)
                elif task.parked is None:
                    self.scheduler.unpark(task)
            exit_module.notify_stop(self, process, continued=True)

    def begin_group_exit(self, process: Process, code: int) -> None:
        """Every thread of the process ends as soon as it would run, with this wait(2) status word."""
        if process.group_exit is None:
            process.group_exit = code
            process.stopped = 0
            ptrace.killed(process)
        self.entry.attention = True
        for task in process.threads.values():
            self.scheduler.unpark(task)

    def exit_notify(self, process: Process) -> None:
        """A dead process's parent hears of its end; nothing is left of one for which nobody waits."""
        autoreap = self.do_notify_parent(process.last, process.exit_signal) if process.exit_signal else 0
        parent = process.parent
        if (autoreap or parent is None or not parent.alive) and process is not self.first:
            self.reap(process)

    def reap(self, process: Process) -> None:
        """Forget a dead process."""
        tp = self.tracepoints.sched_process_free
        if tp.callbacks and process.pid in self.processes:
            comm, priority = self.last_words.get(process.pid, (b"", NORMAL_PRIORITY))
            tp.fire(comm.ljust(16, b"\0"), process.pid, priority)
        self.processes.pop(process.pid, None)
        self.last_words.pop(process.pid, None)
        if process.parent is not None:
            process.parent.children.pop(process.pid, None)

    def out_of_memory(self, task: Task) -> None:
        """The machine's memory is used up: the task that asked for more is killed."""
        self.memory_exhausted = True
        self.begin_group_exit(task.process, Sig.KILL)

    def note_death(self, task: Task, info: SigInfo) -> None:
        """Remember how a signal ended the current task's process."""
        if info.signo not in signals.CORE_BY_DEFAULT:
            return
        engine = task.process.engine
        registers = {name: engine.get(name) for name in REPORTED_REGISTERS[task.process.arch]}
        address = int.from_bytes(info.rest[:8], "little") if info.code in (1, 2) else None
        self.crashes.append(Crash(task, info.signo, info.code, address, registers, engine.get(engine.arch.pc)))

    def unmap_mapping_range(self, backing: Backing, first: int, last: int, *, even_cows: bool = False) -> None:
        """Take the pages of a file from `first` up to `last` out of every page table; private copies stay unless even_cows is set."""
        for space in {id(process.space): process.space for process in self.processes.values() if process.alive}.values():
            space.forget_pages(backing, first, last, copies=even_cows)

    def announce_images(self, space: AddressSpace) -> None:
        """Tell who asked (`on_image`) of the executable file mappings that have appeared in a space."""
        self.images_seen.announce(space)
