"""Processes and their threads: what Linux keeps in struct task_struct and signal_struct."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING

from pyprobe.runtime.user.capabilities import ALL_CAPABILITIES
from pyprobe.runtime.user.errors import Block
from pyprobe.runtime.user.pt_regs import SavedRegisters
from pyprobe.runtime.user.sched import Scheduling

if TYPE_CHECKING:
    from pyprobe.runtime.machine.engine import Context, Engine
    from pyprobe.runtime.machine.memory import AddressSpace
    from pyprobe.runtime.user.hrtimers import HrTimer
    from pyprobe.runtime.user.ptrace import Tracing
    from pyprobe.runtime.user.seccomp import Filter
    from pyprobe.runtime.user.signals import SigAction, SigInfo
    from pyprobe.runtime.user.syscall_table import Syscall
    from pyprobe.runtime.user.timers import GuestTimer
    from pyprobe.runtime.user.vfs.inode import Inode
    from pyprobe.runtime.user.vfs.table import FileTable, FsContext
    from pyprobe.runtime.user.vfs.tty import Terminal

DEFAULT_TIMER_SLACK = 50_000  # ns
COMM_LENGTH = 15  # TASK_COMM_LEN without the terminator
INFINITY = (1 << 64) - 1  # RLIM_INFINITY

# setrlimit(2) resources by their numbers in asm-generic/resource.h, with the limits a login shell has: (soft, hard)
RLIMIT_CPU, RLIMIT_FSIZE, RLIMIT_DATA, RLIMIT_STACK, RLIMIT_CORE, RLIMIT_RSS, RLIMIT_NPROC, RLIMIT_NOFILE = range(8)
RLIMIT_MEMLOCK, RLIMIT_AS, RLIMIT_LOCKS, RLIMIT_SIGPENDING, RLIMIT_MSGQUEUE, RLIMIT_NICE, RLIMIT_RTPRIO, RLIMIT_RTTIME = range(8, 16)
DEFAULT_LIMITS: dict[int, tuple[int, int]] = {
    RLIMIT_CPU: (INFINITY, INFINITY),
    RLIMIT_FSIZE: (INFINITY, INFINITY),
    RLIMIT_DATA: (INFINITY, INFINITY),
    RLIMIT_STACK: (8 << 20, INFINITY),
    RLIMIT_CORE: (0, INFINITY),
    RLIMIT_RSS: (INFINITY, INFINITY),
    RLIMIT_NPROC: (512, 512),
    RLIMIT_NOFILE: (1024, 4096),
    RLIMIT_MEMLOCK: (8 << 20, 8 << 20),
    RLIMIT_AS: (INFINITY, INFINITY),
    RLIMIT_LOCKS: (INFINITY, INFINITY),
    RLIMIT_SIGPENDING: (15000, 15000),
    RLIMIT_MSGQUEUE: (819200, 819200),
    RLIMIT_NICE: (0, 0),
    RLIMIT_RTPRIO: (0, 0),
    RLIMIT_RTTIME: (INFINITY, INFINITY),
}


class Credentials:
    """User and group ids, and capabilities as sets of bits; struct cred. Shared by nobody: each process has its own copy."""

    __slots__ = (
        "cap_ambient", "cap_bounding", "cap_effective", "cap_inheritable", "cap_permitted",
        "egid", "euid", "fsgid", "fsuid", "gid", "groups", "sgid", "suid", "uid",
    )  # fmt: skip

    def __init__(self, uid: int = 0, gid: int = 0, groups: tuple[int, ...] = ()) -> None:
        self.uid = self.euid = self.suid = self.fsuid = uid
        self.gid = self.egid = self.sgid = self.fsgid = gid
        self.groups = groups
        self.cap_inheritable = self.cap_ambient = 0
        self.cap_permitted = self.cap_effective = 0 if uid else ALL_CAPABILITIES
        self.cap_bounding = ALL_CAPABILITIES

    def capable(self, capability: int) -> bool:
        """Has it the capability, a number of capabilities(7), in force?"""
        return bool(self.cap_effective >> capability & 1)

    def copy(self) -> Credentials:
        """An equal one that can change by itself."""
        other = Credentials()
        for name in self.__slots__:
            setattr(other, name, getattr(self, name))
        return other


class Parked:
    """Why a task waits: the call it is in, and the Block that its handler raised."""

    __slots__ = ("arguments", "block", "syscall")

    def __init__(self, syscall: Syscall, arguments: tuple[int, ...], block: Block) -> None:
        self.syscall = syscall
        self.arguments = arguments
        self.block = block


class Process:
    """A thread group: what its threads share.

    exit_status: the wait(2) status word once it is dead, else None; it stays in the table as a zombie until it is reaped.
    children: living and dead ones, by pid, in the order of their birth.
    """

    def __init__(self, pid: int, parent: Process | None, space: AddressSpace, engine: Engine) -> None:
        self.pid = pid
        self.parent = parent
        self.pgid: int = parent.pgid if parent else pid
        self.sid: int = parent.sid if parent else pid
        self.space = space
        self.engine = engine
        self.arch: str = engine.arch.name
        self.threads: dict[int, Task] = {}
        self.children: dict[int, Process] = {}
        self.files: FileTable
        self.fs: FsContext
        self.actions: dict[int, SigAction] = {}
        self.pending: deque[SigInfo] = deque()
        self.limits = dict(DEFAULT_LIMITS)
        self.exe = b""
        self.exe_inode: Inode | None = None  # nobody may write to it meanwhile
        self.argv: tuple[bytes, ...] = ()
        self.environ: tuple[bytes, ...] = ()
        self.auxv: bytes = b""
        self.argument_area = (0, 0)  # where argv's strings lie: [start, end)
        self.sigreturn = 0  # where signal handlers without a restorer of their own return to
        self.start_time = 0  # ns since boot
        self.cpu_time = 0  # ns, of threads that have ended included
        self.children_cpu_time = 0  # ns, of children waited for
        self.exit_status: int | None = None
        self.last: Task | None = None  # the thread that ended last
        self.forked_by: Task | None = None  # the thread of its parent that made it
        self.tracees: dict[int, Tracing] = {}  # of its threads, by id, in the order of their attachment
        self.tracing: Tracing | None = None  # of the first thread
        self.ptracer = 0  # PR_SET_PTRACER: who else may attach, with its descendants; -1: anybody
        self.exit_signal = 17  # SIGCHLD: what the parent gets when it ends
        self.stopped = 0  # the signal that stopped it, 0: it runs
        self.stop_reported = True  # nothing new for a waiting parent about stops
        self.continued = False  # a waiting parent may be told that it was continued
        self.has_execed = False
        self.vfork_done: Callable[[], None] | None = None  # called when it no longer uses its parent's memory
        self.group_exit: int | None = None  # the status word every thread is dying with
        self.dumpable = 1
        self.membarrier = 0  # commands of membarrier(2) it has registered for
        self.child_subreaper = False
        self.no_new_privs = False
        self.keep_caps = False
        self.parent_death_signal = 0
        self.real_timer: HrTimer | None = None  # behind ITIMER_REAL; made with the process, but for the first
        self.itimers: dict[int, GuestTimer] = {}  # setitimer(2)'s and alarm's
        self.posix_timers: dict[int, GuestTimer] = {}
        self.timer_slack = DEFAULT_TIMER_SLACK
        self.oom_score_adj = 0
        self.personality: int = 0
        self.ctty: Terminal | None = None  # controlling terminal

    @property
    def ppid(self) -> int:
        """The parent's pid; 1, an init that is not shown, for those without one."""
        return self.parent.pid if self.parent else 1

    @property
    def leader(self) -> Task | None:
        """The first thread; None once it has ended."""
        return self.threads.get(self.pid)

    def leave_space(self) -> None:
        """The process no longer uses its memory."""
        self.space.users -= 1
        if self.space.users == 0:
            self.space.destroy()

    def release_vfork(self) -> None:
        """Let a parent that waits in vfork go on."""
        done, self.vfork_done = self.vfork_done, None
        if done is not None:
            done()

    @property
    def alive(self) -> bool:
        """Not a zombie."""
        return self.exit_status is None


class Task:
    """One thread: what the scheduler runs.

    context: the saved registers while it does not run. result: what its system call returned meanwhile, still to be put into its registers.
    restart: state of a system call that must survive being executed again; cleared when the call ends.
    parked: what it waits for; interrupted: what a signal took it out of. fault_address,
        trap_number, trap_error: of the last exception, for the signal's frame.
    tracing: it is traced by a task.
    suspended: traced kernel functions a Block unwound, outermost last. kernel_stack: active traced ones.
    """

    __slots__ = (
        "__weakref__",
        "_registers",
        "altstack",
        "blocked",
        "clear_child_tid",
        "comm",
        "context",
        "cpu_time",
        "cred",
        "dead",
        "exit_code",
        "fault_address",
        "interrupted",
        "kernel_stack",
        "parked",
        "pending",
        "process",
        "restart",
        "restart_block",
        "result",
        "robust_list",
        "rseq",
        "saved_mask",
        "sched",
        "seccomp",
        "signal_frames",
        "suspended",
        "syscall",
        "syscall_arguments",
        "tid",
        "traced_by_init",
        "tracing",
        "trap_error",
        "trap_number",
        "wake_signal",
    )  # fmt: skip

    def __init__(self, tid: int, process: Process, context: Context, cred: Credentials) -> None:
        self.tid = tid
        self.process = process
        self.context = context
        self.cred = cred
        self.sched = Scheduling()
        self.comm = b""
        self.restart: dict[object, object] = {}
        self.result: int | None = None
        self.parked: Parked | None = None
        self.interrupted: Parked | None = None  # the call a signal took it out of
        self.syscall: Syscall | None = None
        self.syscall_arguments: tuple[int, ...] = ()
        self.suspended: list[str] = []
        self.kernel_stack: list[str] = []
        self._registers: SavedRegisters | None = None
        self.blocked = 0  # signal mask, bit n-1 for signal n
        self.saved_mask: int | None = None  # the mask to return to after sigsuspend and its like
        self.pending: deque[SigInfo] = deque()
        self.altstack = (0, 2, 0)  # sigaltstack(2): address, flags (SS_DISABLE), size
        self.signal_frames: dict[int, Context] = {}  # registers that a frame on the guest's stack has no room for, by its address
        self.clear_child_tid = 0
        self.robust_list = 0
        self.rseq: tuple[int, int] | None = None  # rseq(2): address and signature
        self.seccomp: Filter | None = None  # what decides on its system calls
        self.dead = False
        self.exit_code: int | None = None  # the status word it is about to end with
        self.tracing: Tracing | None = None
        self.traced_by_init = False  # PTRACE_TRACEME by a program whose parent is not shown: it lets it go on wherever it stops
        self.restart_block: tuple[Syscall, tuple[int, ...], object] | None = None  # what restart_syscall(2) makes again: call, deadline
        self.cpu_time = 0  # ns
        self.fault_address = 0
        self.trap_number = self.trap_error = 0
        self.wake_signal = False  # waits for signals, blocked ones too (sigtimedwait)

    @property
    def pid(self) -> int:
        """The process's id: what getpid() returns."""
        return self.process.pid

    @property
    def ppid(self) -> int:
        """The parent process's id."""
        return self.process.ppid

    @property
    def parent_comm(self) -> bytes:
        """The name of the parent process; `init`, which is not shown, for those without one."""
        parent = self.process.parent
        leader = parent.leader if parent is not None else None
        return leader.comm if leader is not None else b"init"

    @property
    def leader_comm(self) -> bytes:
        """The name of the process's first thread, or of this one once that has ended."""
        leader = self.process.leader
        return leader.comm if leader is not None else self.comm

    @property
    def registers(self) -> SavedRegisters:
        """The struct pt_regs on its kernel stack."""
        if self._registers is None:
            self._registers = SavedRegisters(self)
        return self._registers

    @property
    def held(self) -> bool:
        """Is it not to run, as one of its group or because its tracer wants so?"""
        return bool(self.process.stopped) if self.tracing is None else self.tracing.stopped

    # ids at hand, for builtins and handlers
    @property
    def uid(self) -> int:
        """Real user id."""
        return self.cred.uid

    @property
    def gid(self) -> int:
        """Real group id."""
        return self.cred.gid

    @property
    def euid(self) -> int:
        """Effective user id."""
        return self.cred.euid

    @property
    def egid(self) -> int:
        """Effective group id."""
        return self.cred.egid

    @property
    def space(self) -> AddressSpace:
        """The memory it runs in."""
        return self.process.space
