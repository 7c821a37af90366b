"""Which machine a run gets, and how the runtime reads its memory.

A script with probes that need a program gets the user machine, with the command or the built-in workload; one of timers alone gets a
machine in which only time passes.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Iterable, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any, Protocol

from pyprobe.lang.program import ProbeBody
from pyprobe.runtime.machine.clock import Clock
from pyprobe.runtime.machine.strings import string_at
from pyprobe.runtime.settings import RunError, Settings

if TYPE_CHECKING:
    from pyprobe.runtime.context import Names
    from pyprobe.runtime.limits import MachineOptions
    from pyprobe.runtime.probes.world import MachineWorld
    from pyprobe.runtime.user.kernel import Kernel

KERNEL_HALF = 1 << 63  # where the kernel's half of the address space begins, on both architectures
WITHOUT_PROGRAM = frozenset({"begin", "end", "interval", "profile", "self", "test", "bench"})


class Machine(Protocol):
    """A machine as a session handles it; probes and builtins see more (the machine itself)."""

    machine: Any
    command_pid: int  # process id that the command will have, 0 without one

    def start(self) -> None:
        """Make the first process. Raises RunError when the command cannot be started."""

    def settle(self) -> None:
        """Have the first process come to its first instruction. Raises RunError as `start` does."""

    def run(self) -> int:
        """Run until it is done or stopped; the exit status of the first process."""

    def stop(self) -> None:
        """End the run as soon as possible; may be called from a signal handler."""

    def terminal_signal(self, number: int) -> bool:
        """Pass on a signal of the host's terminal if it is the machine's; called from a signal handler."""

    def report(self, names: Names, *, verbose: bool) -> Iterable[str]:
        """Lines about how the run went: crashes, what was missing."""

    def figures(self) -> list[tuple[str, str]]:
        """What --stats shows of the machine: names and values."""


class UserRun:
    """The user machine with its program. command_pid: see `Machine`."""

    def __init__(
        self,
        kernel: Kernel,
        argv: list[bytes],
        environ: Mapping[bytes, bytes],
        cwd: bytes,
        options: MachineOptions,
        command_pid: int = 0,
    ) -> None:
        self.machine = kernel
        self.command_pid = command_pid
        self.argv = argv
        self.environ = environ
        self.cwd = cwd
        self.options = options
        self.deadlock = ""
        self.out_of_time = False

    def start(self) -> None:
        from pyprobe.runtime.user.errors import Errno, ExecFailure

        shown = self.argv[0].decode("utf-8", "backslashreplace")
        try:
            self.machine.spawn(self.argv, [name + b"=" + value for name, value in self.environ.items()], self.cwd)
        except ExecFailure as error:
            raise RunError(f"Failed to start {shown}: {error}", 1) from None
        except Errno as error:
            raise RunError(f"Failed to start {shown}: {error}", 1) from None

    def settle(self) -> None:
        """It is there."""

    def run(self) -> int:
        from pyprobe.runtime.user.scheduler import Deadlock

        limit = self.options.limits.time
        if limit is not None:
            self.machine.clock.add(self.machine.clock.now() + limit, self._time_is_up)
        try:
            return self.machine.run()
        except Deadlock as error:
            self.deadlock = str(error)
            return 0

    def stop(self) -> None:
        self.machine.stop()

    def terminal_signal(self, number: int) -> bool:
        """What the terminal says is the command's if that runs on it: the new size, and with the host's clock the keys too."""
        from pyprobe.runtime.user.jobcontrol import from_terminal

        if number != signal.SIGWINCH and not self.machine.attended:
            return False
        self.machine.clock.soon(partial(from_terminal, self.machine, number))
        return True

    def read_file(self, path: bytes, limit: int) -> bytes:
        """cat(): a file as the machine has it. Raises OSError."""
        from pyprobe.runtime.user.errors import Errno

        try:
            return self.machine.vfs.content(self.machine, os.path.join(self.cwd, path), limit)
        except Errno as error:
            raise OSError(error.errno, os.strerror(error.errno)) from None

    def _time_is_up(self) -> None:
        self.out_of_time = True
        self.machine.stop()

    def report(self, names: Names, *, verbose: bool) -> Iterable[str]:
        from pyprobe.runtime.user.crash import describe
        from pyprobe.runtime.user.outcome import ending, limits_met

        if self.out_of_time:
            yield "WARNING: the run ended because its time (--limit time) was up"
        yield from limits_met(self.machine)

        if self.deadlock:
            yield f"WARNING: the run ended because every task waits and nothing can wake one: {self.deadlock}"
        for reason in {engine.why_not for engine in self.machine.engines.values()} - {""}:
            yield f"WARNING: this ran many times slower than it could: {reason} (reinstall pyprobe with a C compiler at hand)"
        for crash in self.machine.crashes:
            yield from describe(crash, names, verbose=verbose)
        for name, why in self.machine.entry.failures.items():
            yield f"WARNING: pyprobe itself failed in the system call {name}, which returned EINVAL: {why} (please report this)"
        if verbose:
            for name, count in self.machine.unknown_syscalls.items():
                yield f"system call {name} is unknown to the emulated kernel: ENOSYS, {count} times"
            yield from ending(self.machine)
        yield from self._files()

    def _files(self) -> Iterable[str]:
        """What --diff and --keep ask for."""
        if not (self.options.diff or self.options.keep):
            return
        from pyprobe.runtime.user.vfs.changes import changes, keep
        from pyprobe.runtime.user.words import printable

        if self.options.diff:
            for change in changes(self.machine):
                yield f"{change.kind} {printable(change.path)}"
        if self.options.keep:
            yield from keep(self.machine, self.options.keep)

    def figures(self) -> list[tuple[str, str]]:
        k = self.machine
        engines = ", ".join(f"{name} ({'native' if e.native else 'plain'} callbacks)" for name, e in k.engines.items())
        return [
            ("virtual time, ns", str(k.clock.now() - k.clock.began)),
            ("engine", engines),
        ]


class IdleRun:
    """A machine in which only time passes."""

    command_pid = 0

    def __init__(self, clock: Clock, world: MachineWorld) -> None:
        from pyprobe.runtime.idle import IdleMachine

        self.machine = IdleMachine(clock, world.arch, lambda: world.machine.symbols)

    def start(self) -> None:
        pass

    def settle(self) -> None:
        pass

    def run(self) -> int:
        return self.machine.run()

    def stop(self) -> None:
        self.machine.stop()

    def terminal_signal(self, number: int) -> bool:
        return False

    def report(self, names: Names, *, verbose: bool) -> Iterable[str]:
        return ()

    def figures(self) -> list[tuple[str, str]]:
        return [("virtual time, ns", str(self.machine.clock.now() - self.machine.clock.began))]


def make_machine(settings: Settings, world: MachineWorld, clock: Clock, probes: list[ProbeBody]) -> Machine:
    """The machine that these probes and settings ask for; nothing runs in it yet."""
    if settings.kernel is not None:
        from pyprobe.runtime.system.run import make_run

        return make_run(settings, world, clock)
    if settings.command is None and all(p.point.provider in WITHOUT_PROGRAM for p in probes):
        return IdleRun(clock, world)
    from pyprobe.runtime.user.kernel import FIRST_PID, Kernel

    if settings.command is not None:
        kernel = make_kernel(settings, world, clock)
        return UserRun(kernel, settings.command, settings.environ, settings.cwd, settings.machine, FIRST_PID)
    from pyprobe.runtime.user import workload

    kernel = Kernel(clock=clock, arch=world.arch, seed=settings.seed, root=workload.root(), native=settings.native)
    workload.install(kernel)
    return UserRun(kernel, workload.COMMAND, {**workload.ENVIRONMENT, **settings.environ}, b"/", settings.machine)


def make_kernel(settings: Settings, world: MachineWorld, clock: Clock) -> Kernel:
    """The user machine for a command of this host. Raises RunError for a root that cannot be opened."""
    from pyprobe.runtime.machine.memory import OutOfMemory
    from pyprobe.runtime.user.abi import ABIS
    from pyprobe.runtime.user.kernel import Kernel
    from pyprobe.runtime.user.vfs.view import visible

    options, limits = settings.machine, settings.machine.limits
    targets = world.machine.targets
    view = None
    if options.view is not None:
        paths = [*options.view, os.fsencode(targets.command)]
        view = visible(options.root, [os.path.join(settings.cwd, path) for path in paths if path], settings.cwd)
    try:
        return Kernel(
            clock=clock,
            arch=world.arch,
            architectures=tuple(ABIS),
            seed=settings.seed,
            native=settings.native,
            uid=options.uid,
            gid=options.gid,
            root=options.root,
            view=view,
            task_limit=limits.tasks,
            memory_limit=limits.memory,
            disk_limit=limits.disk,
        )
    except OSError as error:
        raise RunError(f"--root {os.fsdecode(options.root)}: {error.strerror}", 1) from None
    except OutOfMemory as error:
        raise RunError(f"this host has no room for the machine: {error} (see ulimit -v)", 1) from None


class MachineMemory:
    """Guest memory of the current task, as handlers read it: faults are answers."""

    def __init__(self, machine: Any) -> None:
        self.machine = machine
        if hasattr(machine, "read"):
            self.read, self.read_string = machine.read, machine.read_string  # type: ignore[method-assign]  # the machine's own
            return
        if machine.current is None and not hasattr(machine, "processes"):
            return
        from pyprobe.runtime.machine.memory import MemoryFault

        self.fault: type[Exception] = MemoryFault

    def read(self, address: int, size: int) -> bytes | None:
        if address >= KERNEL_HALF:
            kernel: bytes | None = self.machine.functions.objects.read(address, size)
            return kernel
        task = self.machine.current
        if task is None:
            return None
        try:
            data: bytes = task.process.space.read(address, size)
        except self.fault:
            return None
        return data

    def read_string(self, address: int, limit: int) -> bytes | None:
        """Up to the first NUL or `limit` bytes; what precedes a page that cannot be read counts."""
        return string_at(self.read, address, limit)
