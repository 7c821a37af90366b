"""The system machine: a kernel on a board, and the run of it."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from errno import ENOSYS
from typing import TYPE_CHECKING, Any, Protocol

from pyprobe.runtime.machine.clock import NEVER, Clock
from pyprobe.runtime.system.tasks import SystemTask, TaskLayout
from pyprobe.runtime.system.text import KernelReturns, KernelText

if TYPE_CHECKING:
    from pyprobe.runtime.system.cpu import Processor
    from pyprobe.runtime.system.description import SystemDescription
    from pyprobe.runtime.system.ram import Ram

HELLO = 0x5059_0000
WAIT = 0x5059_0001  # init has made everything ready that does not depend on the command
TASKS = 4096  # task views kept; task_structs are reused, so there are hardly ever more


class Board(Protocol):
    """A computer: RAM, clock, processor and devices. command_line: what every kernel needs to be told on it."""

    arch: str
    command_line: str
    ram: Ram
    clock: Clock

    @property
    def processor(self) -> Processor: ...

    @property
    def console(self) -> bytes:
        """What the kernel has written to its console."""

    def boot(self, kernel: bytes, initrd: bytes, command_line: str) -> None:
        """Put a kernel into memory and point the processor at it. Raises ValueError with the reason when it cannot be booted here."""

    def save(self) -> dict[str, Any]:
        """The state of the devices, as JSON can hold it."""

    def load(self, state: dict[str, Any]) -> None: ...


class Guest(Protocol):
    """The other end of the guest's init."""

    def trap(self, number: int, arguments: tuple[int, ...]) -> int:
        """Answer a trap; what the caller gets as its result."""


class Hang(Exception):
    """The guest waits for an interrupt that nothing will raise."""


class SystemMachine:
    """A booted, or booting, kernel (pyprobe.runtime.machine.interface.Machine).

    guest: who answers the traps of the guest's init. ready: init has come to the point where it waits for a command.
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
        self.guest: Guest | None = None
        self.ready = False
        self._wait = False
        self.processor.on_power = self._power
        self.processor.on_trap = self._trap
        self._tasks: dict[int, SystemTask] = {}
        self._layout: TaskLayout | None = None
        self._current: Callable[[], int] = self.processor.current_task(description)
        self.functions = KernelText(self, description)
        self.returns = KernelReturns(self)

    @property
    def current(self) -> SystemTask | None:
        """The task that runs; None before there is one."""
        address = self._current()
        task = self._tasks.get(address)
        if task is None:
            task = self._new_task(address)
        return task

    def _new_task(self, address: int) -> SystemTask | None:
        if not address >> 63:
            return None
        if self._layout is None:
            self._layout = TaskLayout.of(self.description)
        task = SystemTask(self.processor, self._layout, address)
        if len(self._tasks) >= TASKS:
            self._tasks.clear()
        self._tasks[address] = task
        return task

    def engine_for(self, arch: str) -> Processor:
        """The processor, whose registers can be read."""
        return self.processor

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
            if self.processor.run():
                continue
            if self.processor.dead:
                self.power = "off"
                break
            deadline = self.clock.next_deadline()
            if deadline == NEVER:
                raise Hang("the guest waits and nothing can wake it")
            self.clock.advance_to(deadline)
            self.clock.run_due()
        return self.status

    def until_ready(self) -> None:
        """Have the next run end when init waits for a command."""
        self._wait = True

    def save(self) -> dict[str, Any]:
        """Everything but the RAM, as JSON can hold it."""
        return {
            "now": self.clock.words.now,
            "registers": self.processor.save().hex(),
            "halted": self.processor.halted,
            "devices": self.board.save(),
        }

    def load(self, state: dict[str, Any]) -> None:
        """Go on from what `save` gave; the RAM is as it was then."""
        self.clock.words.now = state["now"]
        self.clock.arm()
        self.processor.load(bytes.fromhex(state["registers"]))
        self.processor.halted = state["halted"]
        self.board.load(state["devices"])
        self.ready = True

    def _trap(self) -> None:
        """The guest executed the trap instruction: init, or somebody who tries it."""
        cpu = self.processor
        number, *arguments = (cpu.get(name) for name in (cpu.arch.number, *cpu.arch.arguments))
        if number == HELLO:
            result = 0
        elif number == WAIT:
            result = 0
            self.ready = True
            if self._wait:
                self._wait = False
                self.stop()
        else:
            result = self.guest.trap(number, tuple(arguments)) if self.guest is not None else -ENOSYS
        cpu.set(cpu.arch.result, result)

    def _power(self, what: str) -> None:
        self.power = what
        self.processor.request_stop()
