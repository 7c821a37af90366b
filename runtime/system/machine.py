"""The system machine: a kernel on a board, and the run of it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from functools import cached_property
from typing import TYPE_CHECKING, Any, Protocol

from pyprobe.runtime.machine.clock import NEVER, Clock
from pyprobe.runtime.system.cpu import LockedUp
from pyprobe.runtime.system.modules import Modules
from pyprobe.runtime.system.programs import Engine, Programs
from pyprobe.runtime.system.root.channel import HIDDEN_PID, Channel, Event
from pyprobe.runtime.system.tasks import SystemTask, TaskLayout
from pyprobe.runtime.system.text import KernelReturns, KernelText
from pyprobe.runtime.user.outcome import shell_status

if TYPE_CHECKING:
    from pyprobe.runtime.kprobes.api import Kprobes
    from pyprobe.runtime.system.cookies import Cookies
    from pyprobe.runtime.system.counting import Instructions
    from pyprobe.runtime.system.cpu import Processor
    from pyprobe.runtime.system.description import SystemDescription
    from pyprobe.runtime.system.paths import Paths
    from pyprobe.runtime.system.pt_regs import EventRegisters
    from pyprobe.runtime.system.ram import Ram
    from pyprobe.runtime.system.tracing.registering import TaskTable
    from pyprobe.runtime.system.tracing.tracepoints import Tracepoints
    from pyprobe.runtime.system.uprobes import KernelUprobes

SOON = 1000  # nanoseconds from one look at who runs to the next
TASKS = 4096  # task views kept; task_structs are reused, so there are hardly ever more


class Board(Protocol):
    """A computer: RAM, clock, processor and devices. command_line: what every kernel needs to be told on it."""

    arch: str
    command_line: str
    ram: Ram
    clock: Clock

    @property
    def kept(self) -> int:
        """Physical address of RAM that the kernel maps and does not use (ram.KEPT bytes)."""

    @property
    def processor(self) -> Processor: ...

    @property
    def console(self) -> bytes:
        """What the kernel has written to its console."""

    def boot(self, kernel: memoryview, initrd: bytes, command_line: str) -> None:
        """Put a kernel into memory and point the processor at it. Raises ValueError with the reason when it cannot be booted here."""

    def save(self) -> dict[str, Any]:
        """The state of the devices, as JSON can hold it."""

    def load(self, state: dict[str, Any]) -> None: ...


class TrapCaller:
    """Who executed a trap instruction (root.channel.Caller)."""

    def __init__(self, processor: Processor) -> None:
        self._cpu = processor
        arch = processor.arch
        self._names = (arch.number, *arch.arguments[:4])
        self.read_virtual = processor.read
        self.write_virtual = processor.write
        self.address_space = processor.address_space

    def arguments(self) -> tuple[int, int, int, int, int]:
        number, a, b, c, d = (self._cpu.get(name) for name in self._names)
        return number, a, b, c, d

    def set_result(self, value: int) -> None:
        self._cpu.set(self._cpu.arch.result, value)


_LAST_WORDS = (b"reboot: Power down", b"reboot: System halted")  # kernel/reboot.c; then a machine just waits, or goes round in circles


class Hang(Exception):
    """The guest waits for an interrupt that nothing will raise, or takes none any more."""


class SystemMachine:
    """A booted, or booting, kernel (pyprobe.runtime.machine.interface.Machine).

    channel: to the guest's init. ready: init has come to the point where it waits for a command; started: the command is about to run.
    hidden: whether a task is one of ours, by the address of its task_struct, as far as it was asked.
    aside: while probes have the kernel's code do something for them that its own run is not to know, what that is.
    power: what the guest asked for last: "", "off" or "reset" (which a panic asks for, too). status: the exit status of the run.
    """

    booted = True

    def __init__(self, board: Board, description: SystemDescription) -> None:
        self.board = board
        self.description = description
        self.processor = board.processor
        self.clock = board.clock
        self.arch = board.arch
        self.power = ""
        self.status = 0
        self.stop_requested = False
        self.channel = Channel()
        self.ready = self.started = False
        self._stop_at = Event.NOTHING
        self.hidden: dict[int, bool] = {}
        self.processor.on_power = self._power
        self.processor.on_trap = self._trap
        self._caller = TrapCaller(self.processor)
        self._tasks: dict[int, SystemTask] = {}
        self._layout: TaskLayout | None = None
        self.current_address: Callable[[], int] = self.processor.current_task(description)
        self.aside: list[Any] = []
        self._up: list[Callable[[], object]] = []
        self.functions = KernelText(self, description)
        self.returns = KernelReturns(self)
        self.programs = Programs(self, description)
        self.lives = self.programs.events
        self.modules = description.modules = Modules(self, description)
        self.processes = self.programs.processes
        self.shown_stack: Callable[[list[int], bool], list[int]] | None = None
        self._on_image: list[Callable[[Any, Any], object]] = []

    @cached_property
    def kprobes(self) -> Kprobes:
        """Kprobes with breakpoints in the kernel's code, as Linux plants them."""
        from pyprobe.runtime.kprobes.api import Kprobes
        from pyprobe.runtime.kprobes.booted import KernelCode

        return Kprobes(KernelCode(self))

    @cached_property
    def uprobes(self) -> KernelUprobes:
        """The kernel's own uprobes, for breakpoints in programs."""
        from pyprobe.runtime.system.uprobes import KernelUprobes

        return KernelUprobes(self)

    @property
    def current(self) -> SystemTask | None:
        """The task that runs; None before there is one."""
        address = self.current_address()
        task = self._tasks.get(address)
        return task if task is not None else self._new_task(address)

    def task_at(self, address: int) -> SystemTask | None:
        """The task whose task_struct lies at an address of the kernel."""
        task = self._tasks.get(address)
        if task is None:
            task = self._new_task(address)
        return task

    def _new_task(self, address: int) -> SystemTask | None:
        if not address >> 63:
            return None
        if self._layout is None:
            self._layout = TaskLayout.of(self.description)
        task = SystemTask(self.processor, self._layout, address, self.programs)
        if len(self._tasks) >= TASKS:
            self._tasks.clear()
        self._tasks[address] = task
        return task

    def engine_for(self, arch: str) -> Engine:
        """The processor, whose registers can be read, and where points in programs can be planted."""
        return self.programs.engine

    @property
    def on_image(self) -> list[Callable[[Any, Any], object]]:
        """Called with the space and the mapping whenever a mapping of a file that may be executed has appeared. Who asks for it wants to
        know, so that programs are followed from then on."""
        self.programs.watch()
        return self._on_image

    def read(self, address: int, size: int) -> bytes | None:
        """Memory as the processor sees it now; None where it is not readable."""
        return self.processor.read(address, size)

    def read_string(self, address: int, limit: int) -> bytes | None:
        """A NUL-terminated string, cut at `limit` bytes; None where its first byte is not readable."""
        return self.processor.read_string(address, limit)

    def spaces(self) -> Iterable[Any]:
        """None that are known from outside."""
        return ()

    def images(self, space: Any) -> list[Any]:
        return []

    def stop(self) -> None:
        """End the run as soon as possible; may be called from a signal handler."""
        self.stop_requested = True
        self.processor.request_stop()

    def run(self) -> int:
        """Run until the guest powers off or somebody calls `stop`. Raises Hang, and what callbacks raise."""
        self.stop_requested = False
        while not self.stop_requested and not self.power:
            try:
                if self.processor.run():
                    continue
            except LockedUp as error:
                if not self._says_goodbye():
                    raise Hang(str(error)) from None
                self.power = "off"
                break
            if self.processor.dead:
                self.power = "off"
                break
            deadline = self.clock.next_deadline()
            if deadline == NEVER and self._says_goodbye():
                self.power = "off"
                break
            if deadline == NEVER:
                raise Hang("the guest waits and nothing can wake it")
            self.clock.advance_to(deadline)
            self.clock.run_due()
        return self.status

    def _says_goodbye(self) -> bool:
        return self.board.console.rstrip().endswith(_LAST_WORDS)

    def until(self, event: Event) -> None:
        """Have the next run end when that has come: READY or START."""
        self._stop_at = event

    def shown(self, callback: Callable[[], object]) -> Callable[[], object]:
        """`callback`, but not for the tasks that are ours: init and what carries files and output for it."""
        hidden, current, aside = self.hidden, self.current_address, self.aside

        def call() -> object:
            ours = hidden.get(current())
            if ours is None:
                ours = self._look_at(current())
            return callback() if not (ours or aside) else None

        return call

    def put_off(self, callback: Callable[[], object]) -> Callable[[], object]:
        """`callback`, a little later where a task of ours runs."""

        def call() -> object:
            if not (self.aside or self.is_hidden()):
                return callback()
            return self.clock.add(self.clock.now() + SOON, call)

        return call

    def is_hidden(self) -> bool:
        """Whether the current task is one of ours."""
        return self.hides(self.current_address())

    def hides(self, task: int) -> bool:
        """Whether the task whose task_struct lies at an address is one of ours."""
        ours = self.hidden.get(task)
        return self._look_at(task) if ours is None else ours

    @contextmanager
    def standing_in(self, task: int) -> Iterator[None]:
        """Meanwhile the task at an address passes for the current one."""
        current = self.current_address()
        own, other = self.current, self.task_at(task)
        if own is None or other is None:
            yield
            return
        self._tasks[current] = other
        try:
            yield
        finally:
            self._tasks[current] = own

    def hide(self, task: int, hidden: bool) -> None:
        """Count the task whose task_struct lies at an address among ours, or no more."""
        self.hidden[task] = hidden

    def when_up(self, callback: Callable[[], object]) -> None:
        """Call `callback` once the kernel's code and data are in their places: now, or when a kernel that boots has mapped them."""
        if self.ready:
            callback()
            return
        if not self._up:
            start = self.description.symbols["start_kernel"]
            self.functions.attach(start, lambda: [up() for up in self._up], exact=True, ours=True)
        self._up.append(callback)

    @cached_property
    def tasks(self) -> TaskTable:
        """The kernel's tasks by thread id."""
        from pyprobe.runtime.system.tracing.registering import TaskTable

        return TaskTable(self)

    @cached_property
    def event_registers(self) -> EventRegisters:
        """The registers at an event, as a struct."""
        from pyprobe.runtime.system.pt_regs import EventRegisters

        return EventRegisters(self)

    @cached_property
    def instructions(self) -> Instructions:
        """Every instruction that is executed."""
        from pyprobe.runtime.system.counting import Instructions

        return Instructions(self)

    @cached_property
    def paths(self) -> Paths:
        """The texts of the kernel's paths."""
        from pyprobe.runtime.system.paths import Paths

        return Paths(self)

    @cached_property
    def cookies(self) -> Cookies:
        """The numbers of the kernel's sockets."""
        from pyprobe.runtime.system.cookies import Cookies

        return Cookies(self)

    @cached_property
    def tracepoints(self) -> Tracepoints:
        """The kernel's tracepoints."""
        from pyprobe.runtime.system.tracing.tracepoints import Tracepoints

        return Tracepoints(self)

    def is_ours(self, task: SystemTask) -> bool:
        """Whether a task works for this machine. Before it becomes our init, the first task is the kernel's own."""
        return self.hidden.get(task.address) or (task.pid == HIDDEN_PID and task.is_program)

    def _look_at(self, address: int) -> bool:
        """Whether a task is one of ours. These never end, so that their addresses are theirs for the whole run."""
        task = self.task_at(address)
        if task is None:
            return False
        ours = task.pid == HIDDEN_PID and task.is_program
        if self.started or ours:
            self.hidden[task.address] = ours
        return ours

    def close(self) -> None:
        """Give back the memory that it takes; nothing can be done with it any more."""
        self.processor.close()
        self.board.ram.discard()

    def save(self) -> dict[str, Any]:
        """Everything but the RAM, as JSON can hold it."""
        return {
            "now": self.clock.words.now,
            "registers": self.processor.save().hex(),
            "halted": self.processor.halted,
            "space": self.channel.space,
            "devices": self.board.save(),
            "modules": self.modules.save(),
        }

    def load(self, state: dict[str, Any]) -> None:
        """Go on from what `save` gave; the RAM is as it was then."""
        self.clock.words.now = state["now"]
        self.clock.arm()
        self.processor.load(bytes.fromhex(state["registers"]))
        self.processor.halted = state["halted"]
        self.channel.space = state["space"]
        self.board.load(state["devices"])
        self.modules.load(state["modules"])
        self.ready = True

    def _trap(self) -> bool:
        """The guest executed the trap instruction; False: it was not our init, let its kernel see to it."""
        event = self.channel.handle(self._caller)
        if event is Event.READY:
            self.ready = True
        elif event is Event.START:
            self.started = True
        elif event is Event.EXIT:
            self.status = shell_status(self.channel.status or 0)
        if event in (self._stop_at, Event.EXIT, Event.FAILED) and event is not Event.NOTHING:
            self._stop_at = Event.NOTHING
            self.stop()
        return event is not Event.REFUSED

    def until_command(self) -> None:
        """Have the next run end when the command has become a program, before its first instruction."""
        address = self.description.symbols.get("finalize_exec")  # the last function that all kinds of programs pass (fs/exec.c)

        def arrived() -> None:
            task = self.current
            if task is not None and task.ppid == HIDDEN_PID and not self.is_hidden():
                self.stop()

        if address is not None:
            self.functions.attach(address, arrived, exact=False, ours=True)

    def _power(self, what: str) -> None:
        self.power = what
        self.processor.request_stop()
