"""What handlers share during a run: maps, output, memory, time, chance, names; and the events they cause.

The session makes one `RuntimeContext` and passes it to `runtime.handlers.compile_probe`. Everything a script can reach goes through the
small protocols below, which a machine implements; `NoMachine` stands in where there is none (begin and end probes, tests).
"""

from __future__ import annotations

import random
from collections.abc import Callable
from functools import partial
from typing import Any, Protocol

from pyprobe.lang.config import Config
from pyprobe.lang.source import Span
from pyprobe.runtime.maps import MapStore
from pyprobe.runtime.output.base import Output

MOST_WAITING = 1 << 18  # events; a loop that prints may not fill the memory


class Memory(Protocol):
    """Guest memory of the current task, as handlers read it. Faults are answers, not exceptions."""

    def read(self, address: int, size: int) -> bytes | None:
        """`size` bytes at an address, or None when any of them cannot be read."""

    def read_string(self, address: int, limit: int) -> bytes | None:
        """The bytes up to the first NUL, at most `limit`; None when the first byte cannot be read."""


class Clock(Protocol):
    """Time of the machine in nanoseconds."""

    def now(self) -> int:
        """Since boot."""

    def wall(self) -> int:
        """Since 1970, UTC."""


class Symbol:
    """What an address belongs to. `offset` counts from the symbol's start; `module` is the file's path for user addresses."""

    __slots__ = ("module", "name", "offset")

    def __init__(self, name: str, offset: int, module: str = "") -> None:
        self.name = name
        self.offset = offset
        self.module = module


class Names(Protocol):
    """Names for numbers that only a machine can tell; None where it cannot."""

    def kernel(self, address: int) -> Symbol | None: ...

    def user(self, pid: int, address: int) -> Symbol | None: ...

    def program_stack(self, limit: int) -> tuple[int, ...]:
        """The current task's user stack by call frame information: its pid (0: no task runs), then addresses, innermost first."""

    def source(self, pid: int, address: int, *, returned: bool) -> list[tuple[str, str]]:
        """Where in the source a user address is: names of functions that were inlined there with `file:line`, innermost first, then an
        empty name with that of the function itself; empty where it is not known. returned: it is where a call returns to, and meant is
        the call."""

    def build_id(self, pid: int, address: int) -> tuple[str, int] | None:
        """Build id, in hexadecimal, of the file that is mapped at a user address, and the offset in that file."""

    def username(self, uid: int) -> str | None: ...

    def cgroup(self, identity: int) -> str | None: ...


class NoMachine:
    """Memory, names and time where nothing is emulated: no address is readable, no name known, and time stands still."""

    def read(self, address: int, size: int) -> bytes | None:
        return None

    def read_string(self, address: int, limit: int) -> bytes | None:
        return None

    def now(self) -> int:
        return 0

    def wall(self) -> int:
        return 0

    def kernel(self, address: int) -> Symbol | None:
        return None

    def user(self, pid: int, address: int) -> Symbol | None:
        return None

    def program_stack(self, limit: int) -> tuple[int, ...]:
        return (0,)

    def source(self, pid: int, address: int, *, returned: bool) -> list[tuple[str, str]]:
        return []

    def build_id(self, pid: int, address: int) -> tuple[str, int] | None:
        return None

    def username(self, uid: int) -> str | None:
        return None

    def cgroup(self, identity: int) -> str | None:
        return None


class RuntimeContext:
    """The shared state of a run.

    maps, output: see their classes. memory, clock, names: the machine (see the protocols).
    rng: the only source of chance, from `seed`. arch: the machine's architecture, for the names of system calls.
    command_pid: process id of the command, 0 without one. unsafe: whether system() may run.
    verbose_helpers: `-k`, warn about reads that fail.
    read_file: how cat() gets a file: `(path, limit) -> bytes`, raises OSError. run_command: how system() runs a shell command:
    `(command) -> (stdout, status)`.
    """

    def __init__(
        self,
        maps: MapStore,
        output: Output,
        config: Config,
        *,
        memory: Memory | None = None,
        clock: Clock | None = None,
        names: Names | None = None,
        seed: int = 0,
        arch: str = "x86_64",
        unsafe: bool = False,
        verbose_helpers: bool = False,
        command_pid: int = 0,
        read_file: Callable[[bytes, int], bytes] | None = None,
        run_command: Callable[[bytes], tuple[bytes, int]] | None = None,
    ) -> None:
        nothing = NoMachine()
        self.maps = maps
        self.output = output
        self.config = config
        self.memory: Memory = memory or nothing
        self.clock: Clock = clock or nothing
        self.names: Names = names or nothing
        self.rng = random.Random(seed)
        self.arch = arch
        self.unsafe = unsafe
        self.verbose_helpers = verbose_helpers
        self.command_pid = command_pid
        self.read_file = read_file
        self.run_command = run_command
        self.started = self.clock.now()
        self.failures = 0  # calls of errorf(), and errors at run time
        self.exit_code: int | None = None
        self.on_exit: Callable[[], None] = lambda: None
        self.halt: list[bool] = []
        self.held = False
        self.on_overflow: Callable[[], None] = lambda: None  # called before held events are carried out early
        self.iterates = False  # the script has an iterator: every event of the run is held back, and carried out after the end probes
        self.pending: list[tuple[Callable[..., None], tuple[Any, ...]]] | None = None
        self.codes: dict[str, Any] = {}  # generated source -> compiled factory, shared by equal handlers
        self.shared: dict[tuple[object, str], tuple[list[Any], object]] = {}  # body and provider -> what it asks of its event, handler

    def elapsed(self) -> int:
        """Nanoseconds since the run started."""
        return self.clock.now() - self.started

    def request_exit(self, code: int) -> None:
        """exit(): the machine is to stop; the output of what still runs until then is dropped. The first code counts.

        The session sets `output.muted` back to False before it runs the end probes.
        """
        if self.exit_code is None:
            self.exit_code = code & 0xFF
        self.output.muted = True
        self.on_exit()

    def interrupt(self) -> None:
        """Ask running handlers to leave their loops (called from a signal handler; `halt` is cleared by the session)."""
        self.halt.append(True)

    # ---- order of events: an activation that prints or clears maps queues everything it causes until it ends

    def begin_queue(self) -> None:
        if not self.held:
            self.pending = []

    def end_queue(self) -> None:
        if not self.held:
            self._carry_out()

    def hold(self) -> None:
        """Keep back all events of the handlers that queue (begin and end probes always do) until `release`: what begin probes print comes
        after the line that says how many probes are attached, and clear() or print(@m) in one of them sees what all of them did."""
        self.held = True
        self.pending = []

    def release(self) -> None:
        """Carry out what was held back, in order."""
        self.held = False
        self._carry_out()

    def _carry_out(self) -> None:
        queue, self.pending = self.pending, None
        for act, arguments in queue or ():
            act(*arguments)

    def _wait(self, event: tuple[Callable[..., None], tuple[Any, ...]]) -> None:
        """Queue an event. When too many wait, they are carried out early."""
        assert self.pending is not None  # that is when callers queue
        self.pending.append(event)
        if len(self.pending) >= MOST_WAITING:
            if self.held:
                self.on_overflow()
            self._carry_out()
            self.pending = []

    def soon(self, act: Callable[..., None], *arguments: Any) -> None:
        """Do something now, or when the current activation ends if it queues its events."""
        if self.pending is None:
            act(*arguments)
        else:
            self._wait((act, arguments))

    # ---- warnings at run time

    def helper_error(self, span: Span, text: str, helper: str, code: int) -> None:
        self.failures += 1
        self.soon(self.output.helper_error, span, text, helper, code)

    def warner(self, act: Callable[..., None], *arguments: Any) -> Callable[[], None]:
        """A function that tells of one failure `soon`, each time that it is called; millions of times cost little."""
        event = (partial(act, *arguments), ())

        def warn() -> None:
            self.failures += 1
            if self.pending is None:
                event[0]()
            else:
                self._wait(event)

        return warn
