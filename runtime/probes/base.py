"""What providers have in common: their interface, failures to attach, and how builtins about the current task are expressed."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from pyprobe.lang.attachpoint import AttachPoint
from pyprobe.lang.typesys import Record
from pyprobe.runtime.binding import Binding
from pyprobe.runtime.machine.bound import Bound

if TYPE_CHECKING:
    from pyprobe.runtime.probes.description import Description
    from pyprobe.runtime.probes.user_points import UserPoints
    from pyprobe.runtime.user.kernel import Kernel

Handler = Callable[[], object]
MakeHandler = Callable[[Binding], Handler]
"""Compiles the body of one probe for one attachment."""


class AttachError(Exception):
    """A probe that cannot be attached. `reasons` are the lines to show, without severity; the session adds which probe it was."""

    def __init__(self, *reasons: str) -> None:
        super().__init__("\n".join(reasons))
        self.reasons = reasons


class Listed:
    """One line of a listing: the probe's name, and (C declaration) lines for its arguments. `note`: why these cannot be shown."""

    __slots__ = ("_arguments", "_note", "name")

    def __init__(self, name: str, arguments: Callable[[], Iterable[str]] = tuple, note: Callable[[], str] = str) -> None:
        self.name = name
        self._arguments = arguments
        self._note = note

    @property
    def note(self) -> str:
        return self._note()

    @property
    def arguments(self) -> list[str]:
        return list(self._arguments())


class Provider(Protocol):
    """One kind of probe: what its module has."""

    def listing(self, machine: Description, name: str, parts: list[str]) -> Iterable[Listed]:
        """What `-l name:parts...` shows, sorted; parts may hold `*`, missing ones count as `*`."""

    def matches(self, machine: Description, point: AttachPoint) -> list[AttachPoint]:
        """The places that `point` means, sorted. Raises lang.attachpoint.PointError for what can never be."""

    def args(self, machine: Description, point: AttachPoint) -> Record | None:
        """The typed `args` of an expanded point."""

    def attach(self, machine: Kernel, points: PointTable, point: AttachPoint, make: MakeHandler) -> None:
        """Have the handler called whenever the event happens. Raises AttachError."""


NO_SYSCALL = (1 << 64) - 1  # orig_ax where no system call is being made


class Attached(NamedTuple):
    """How a probe is attached, for people. instruction: the one under it; misses: hits that its handler was not called for."""

    how: str
    instruction: Callable[[], str] = str
    misses: Callable[[], int] = int


class PointTable(Protocol):
    """What the attachments of one run share (runtime.probes.Attachments).

    begin, end: the handlers of these probes; own: the (name, handler) of those of pyprobe's other events by provider: `self`, `test`,
    `bench`. iterators: what goes through the objects of each, and where it is kept instead: None when it is to run, "" where it cannot be.
    breakpoints: code is probed as Linux does it; attached: how each probe is, by its name.
    """

    description: Description
    unsafe: bool
    begin: list[Handler]
    end: list[Handler]
    own: dict[str, list[tuple[str, Handler]]]
    iterators: list[tuple[str | None, Handler]]
    breakpoints: bool
    attached: dict[str, Attached]

    def user_points(self, machine: Kernel) -> UserPoints: ...


class Idle:
    """Stands for the current task while no task runs: pid 0, as the kernel's idle task."""

    tid = pid = uid = gid = 0
    ppid = 0
    comm = b"swapper/0"


class TaskBinding:
    """Builtins about the current task and the machine; kinds of attachment add theirs in `special`.

    machine: the machine; name: what `probe` shows; idle: whether the event may happen while no task runs.
    """

    def __init__(self, machine: Kernel, name: str, kind: str, *, idle: bool = False) -> None:
        self.machine = machine
        self.name = name
        self.kind = kind
        self.task = "(_kernel.current or _idle)" if idle else "_kernel.current"

    def builtin(self, name: str, *literals: Any) -> Bound:
        found = self.special(name, literals)
        if found is not None:
            return found
        make = _COMMON.get(name)
        if make is None:
            raise KeyError(name)
        return make(self, literals)

    def special(self, name: str, literals: tuple[Any, ...]) -> Bound | None:
        """The builtin where this kind of attachment has its own."""
        return None

    def about_task(self, attribute: str) -> Bound:
        """An attribute of the current task."""
        return Bound(f"{self.task}.{attribute}", {"_kernel": self.machine, "_idle": Idle})

    def call(self, name: str, function: Callable[[], object]) -> Bound:
        """What a function without arguments gives."""
        return Bound(f"{name}()", {name: function})

    def stack(self, kind: str, literals: tuple[Any, ...], function: Callable[[int], object]) -> Bound:
        """A stack: `function` takes the limit of frames."""
        limit = next((n for n in literals if isinstance(n, int)), 127)
        return Bound(f"_{kind}({limit})", {f"_{kind}": function})


def _nsecs(b: TaskBinding, literals: tuple[Any, ...]) -> Bound:
    clock = b.machine.clock
    if literals and literals[0] in ("tai", "sw_tai"):
        return b.call("_nsecs_tai", clock.wall)  # as in begin: nobody told this kernel of leap seconds
    return Bound("_clock_now()", {"_clock_now": clock.now})


def _kstack(b: TaskBinding, literals: tuple[Any, ...]) -> Bound:
    b.machine.functions.trace_stack()
    return b.stack("kstack", literals, lambda limit: kernel_stack(b.machine, limit))


OF_TASK: dict[str, tuple[Callable[[Any], object], object]] = {
    "ppid": (lambda task: task.ppid, 0),
    "pcomm": (lambda task: task.parent_comm, b""),
    "leader_tid": (lambda task: task.pid, 0),
    "leader_comm": (lambda task: task.leader_comm, b""),
}
"""What is told of a task, and what stands for it where there is no such task."""


def _of_current(name: str) -> Callable[[TaskBinding, tuple[Any, ...]], Bound]:
    tell, otherwise = OF_TASK[name]

    def bound(b: TaskBinding, literals: tuple[Any, ...]) -> Bound:
        machine = b.machine
        return b.call(f"_{name}", lambda: tell(machine.current) if machine.current is not None else otherwise)

    return bound


def of_task_function(machine: Kernel, name: str) -> Callable[[int], object]:
    """The function from a task's address to something about it (a name of OF_TASK)."""
    tell, otherwise = OF_TASK[name]

    def of_task(address: int) -> object:
        task = machine.functions.task_at(address)
        return tell(task) if task is not None else otherwise

    return of_task


def _of_task(b: TaskBinding, literals: tuple[Any, ...]) -> Bound:
    name = str(literals[0])
    return Bound(f"_{name}_of", {f"_{name}_of": of_task_function(b.machine, name)})


def _comm_of(b: TaskBinding, literals: tuple[Any, ...]) -> Bound:
    machine = b.machine
    if not hasattr(machine, "tasks"):
        return Bound("_comm_of", {"_comm_of": lambda pid: b"[unknown]"})

    def comm_of(pid: int) -> bytes:
        task = machine.tasks.get(pid & 0xFFFFFFFF)
        return task.comm if task is not None else b"N/A"

    return Bound("_comm_of", {"_comm_of": comm_of})


def _path_of(b: TaskBinding, literals: tuple[Any, ...]) -> Bound:
    """The function from a struct path, by its address or as its bytes, to the path as text."""
    machine = b.machine
    if getattr(machine, "booted", False):
        system: Any = machine
        return Bound("_path_of", {"_path_of": system.paths.of})
    from pyprobe.runtime.user.object_fields import path_of as text

    def path_of(path: int | bytes) -> bytes:
        return text(machine, path)

    return Bound("_path_of", {"_path_of": path_of})


def _cookie_of(b: TaskBinding, literals: tuple[Any, ...]) -> Bound:
    """The function from a socket's address to its number, which it gets when it is first asked for one, as SO_COOKIE does."""
    machine = b.machine
    if getattr(machine, "booted", False):
        system: Any = machine
        return Bound("_cookie_of", {"_cookie_of": system.cookies.of})
    from pyprobe.runtime.user.object_fields import cookie_of as number

    def cookie_of(socket: int) -> int:
        return number(machine, socket)

    return Bound("_cookie_of", {"_cookie_of": cookie_of})


def _effect(name: str) -> Callable[[TaskBinding, tuple[Any, ...]], Bound]:
    def bound(b: TaskBinding, literals: tuple[Any, ...]) -> Bound:
        from pyprobe.runtime.probes import effects

        makers: dict[str, Callable[[], object]] = {
            "signal": lambda: effects.signal_sender(b.machine, True),
            "signal_thread": lambda: effects.signal_sender(b.machine, False),
            "write_user": lambda: effects.memory_writer(b.machine),
        }
        return Bound(f"_{name}", {f"_{name}": makers[name]()})

    return bound


def _context(b: TaskBinding, literals: tuple[Any, ...]) -> Bound:
    """The registers: of the current task, as the emulated kernel has them on its stack; in a booted one, those at the event."""
    machine = b.machine
    if getattr(machine, "booted", False):
        system: Any = machine
        return b.call("_ctx", system.event_registers.address)
    return b.call("_ctx", lambda: machine.functions.object_address(machine.current.registers if machine.current is not None else machine))


def _curtask(b: TaskBinding, literals: tuple[Any, ...]) -> Bound:
    from pyprobe.runtime.user.objects import IDLE

    machine = b.machine
    return b.call("_curtask", lambda: machine.functions.object_address(machine.current or IDLE, "struct task_struct"))


_COMMON: dict[str, Callable[[TaskBinding, tuple[Any, ...]], Bound]] = {
    "pid": lambda b, _: b.about_task("pid"),
    "tid": lambda b, _: b.about_task("tid"),
    "uid": lambda b, _: b.about_task("uid"),
    "gid": lambda b, _: b.about_task("gid"),
    "username": lambda b, _: b.about_task("uid"),
    "comm": lambda b, _: b.about_task("comm"),
    "ppid": _of_current("ppid"),
    "pcomm": _of_current("pcomm"),
    "leader_tid": _of_current("leader_tid"),
    "leader_comm": _of_current("leader_comm"),
    "of_task": _of_task,
    "comm_of": _comm_of,
    "path_of": _path_of,
    "cookie_of": _cookie_of,
    "signal": _effect("signal"),
    "signal_thread": _effect("signal_thread"),
    "write_user": _effect("write_user"),
    "ctx": _context,
    "nsecs": _nsecs,
    "cpu": lambda b, _: Bound("0", {}),
    "ncpus": lambda b, _: Bound("1", {}),
    "numaid": lambda b, _: Bound("0", {}),
    "cgroup": lambda b, _: Bound("1", {}),  # the root of the one hierarchy
    "jiffies": lambda b, _: Bound("(4294892296 + _clock_now() // 4000000)", {"_clock_now": b.machine.clock.now}),  # HZ=250, INITIAL_JIFFIES
    "curtask": _curtask,
    "probe": lambda b, _: Bound("_probe", {"_probe": b.name.encode("utf-8", "surrogateescape")}),
    "probetype": lambda b, _: Bound("_probetype", {"_probetype": b.kind.encode()}),
    "usermode": lambda b, _: Bound("0", {}),
    "kstack": _kstack,
    "ustack": lambda b, literals: b.stack("ustack", literals, lambda limit: user_stack(b.machine, limit)),
    "kaddr": lambda b, literals: Bound(str(b.machine.functions.addresses[str(literals[0])]), {}),
}


def kernel_stack(machine: Kernel, limit: int) -> tuple[int, ...]:
    """The current task's kernel stack: 0, then its addresses, innermost first."""
    return (0, *machine.functions.stack()[:limit])


def user_stack(machine: Kernel, limit: int, *, entry: bool = False) -> tuple[int, ...]:
    """The current task's user stack: its pid, then the addresses, innermost first; empty while no task runs.

    entry: a function's first instruction is about to execute.
    """
    from pyprobe.runtime.machine.unwind import unwind

    task = machine.current
    if task is None:
        return (0,)
    engine, space = task.process.engine, task.process.space
    addresses = unwind(engine.arch.name, engine.get, space, limit, entry=entry)
    return (task.pid, *(machine.shown_stack(addresses, entry) if machine.shown_stack is not None else addresses))


def combined(handlers: list[Handler]) -> Handler:
    """One callback for several handlers, called in their order; a single one is its own callback."""
    if len(handlers) == 1:
        return handlers[0]
    names = {f"h{i}": handler for i, handler in enumerate(handlers)}
    source = f"def make({', '.join(names)}):\n def call():\n  " + "; ".join(f"{name}()" for name in names) + "\n return call\n"
    scope: dict[str, Any] = {}
    exec(source, scope)
    made: Handler = scope["make"](**names)
    return made
