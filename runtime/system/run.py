"""A session's run on a booted kernel: the kernel found, the machine made, how it went."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from typing import TYPE_CHECKING

from pyprobe.runtime.settings import FAILED, RunError, Settings
from pyprobe.runtime.system.booting import MEMORY, Boot, BootError, Options, last_lines, terminal_progress
from pyprobe.runtime.system.description import SystemDescription
from pyprobe.runtime.system.kernels import filesystems, store
from pyprobe.runtime.system.kernels.errors import KernelError
from pyprobe.runtime.system.machine import Hang, SystemMachine
from pyprobe.runtime.system.root import initramfs
from pyprobe.runtime.system.root.channel import Event
from pyprobe.runtime.system.root.command import DEFAULT_PATH
from pyprobe.runtime.system.root.surroundings import NoRoot, furnish, root_directory

if TYPE_CHECKING:
    from pyprobe.runtime.context import Names
    from pyprobe.runtime.machine.clock import Clock
    from pyprobe.runtime.probes.world import MachineWorld


_KILLED = re.compile(rb"Out of memory: Killed process \d+ \(([^\r\n]*?)\)")  # mm/oom_kill.c
_PANIC = re.compile(rb"Kernel panic - not syncing: ([^\r\n]*)")  # kernel/panic.c


def make_description(settings: Settings) -> SystemDescription:
    """The kernel that the settings name, for scripts to be checked against. Raises RunError."""
    from pyprobe.runtime.machine.targets import TargetResolver
    from pyprobe.runtime.probes.world import find_command, program_arch

    assert settings.kernel is not None
    try:
        kernel = store.find(settings.kernel)
    except KernelError as error:
        raise RunError(_with_hint(error), FAILED) from None
    targets = TargetResolver(kernel.arch, root=settings.root or "")
    if settings.command is not None:
        try:
            root = root_directory(kernel.arch, settings.root, kernel.root)
        except NoRoot as error:
            raise RunError(str(error), FAILED) from None
        path = settings.environ.get(b"PATH", DEFAULT_PATH)
        targets = TargetResolver(kernel.arch, root=root, cwd=os.fsdecode(settings.cwd) if root == "/" else "/", search=os.fsdecode(path))
        name = os.fsdecode(settings.command[0])
        targets.command = find_command(targets, name)
        arch = program_arch(targets, targets.command) if targets.command else ""
        if not targets.command and "/" in name and settings.root is None and root != "/" and os.path.isfile(name):
            arch = program_arch(TargetResolver(kernel.arch), name)
            if arch in ("", kernel.arch):
                raise RunError(f"{name} is not in the kernel's own small root, {root}; --root DIR has it run in another", FAILED)
        if arch and arch != kernel.arch:
            raise RunError(f"{name} is a program for {arch}, and kernel {kernel.name} runs those for {kernel.arch}", FAILED)
    return SystemDescription(kernel, targets, faithful=settings.faithful)


def _with_hint(error: Exception) -> str:
    hint = getattr(error, "hint", "")
    return f"{error}\nHINT: {hint}" if hint else str(error)


def make_run(settings: Settings, world: MachineWorld, clock: Clock) -> SystemRun:
    """The machine of these settings: ready for a command, or with --boot at the kernel's first instruction. Raises RunError."""
    from pyprobe.runtime.machine.unicorn import UnicornError

    description = world.machine
    assert isinstance(description, SystemDescription)
    kernel = description.kernel
    warnings: list[str] = []
    try:
        lacking = filesystems.missing(kernel, description.facts)
        if lacking:
            refusal = filesystems.cannot_run(kernel, lacking)
            if not settings.boot or settings.command is not None:
                raise refusal
            warnings.append(f"{refusal}; so its boot is all there is")
        modules = [(path.stem, path.read_bytes()) for path in kernel.load_order(*filesystems.MODULES)]
        options = Options(settings.memory or MEMORY, settings.append, clock.epoch_ns)
        initrd = initramfs.build(kernel.arch, modules)
        boot = Boot(kernel, options, initrd, description, terminal_progress(), warnings.append, native=settings.native)
        machine = boot.fresh(clock) if settings.boot else boot.ready(clock)
        furnish(machine.channel, settings, kernel.arch, kernel.root, lambda: machine.stop_requested)
        run = SystemRun(machine, warnings, boots_only=bool(lacking))
        if not settings.boot:
            run.prepare()
    except Hang as error:
        raise RunError(f"the command could not be started: {error}{last_lines(machine.board.console)}") from None
    except (BootError, KernelError, UnicornError, NoRoot, OSError, ValueError) as error:
        raise RunError(_with_hint(error)) from None
    return run


class SystemRun:
    """A booted kernel with its command (runtime.machines.Machine). The id that the guest will give the command is not known before.

    boots_only: there will be no command, and that is no failure.
    """

    command_pid = 0

    def __init__(self, machine: SystemMachine, warnings: list[str], *, boots_only: bool = False) -> None:
        self.machine = machine
        self._warnings = warnings
        self._boots_only = boots_only
        self._hang = ""

    def prepare(self) -> None:
        """Have everything done that comes before the command. Raises RunError when it cannot be started, Hang."""
        self.machine.until(Event.START)
        self.machine.run()
        self._failed()

    def start(self) -> None:
        pass

    def settle(self) -> None:
        if not self.machine.started:
            self.prepare()
        self.machine.until_command()
        self.machine.run()
        self._failed()

    def run(self) -> int:
        try:
            status = self.machine.run()
        except Hang as error:
            self._hang = str(error)
            return 0
        self._failed()
        return status

    def _failed(self) -> None:
        """Raise RunError if the command could not be started."""
        from pyprobe.runtime.user.outcome import exec_message

        failure, command = self.machine.channel.failure, self.machine.channel.command
        if failure is None or command is None or self._boots_only:
            return
        errno, what, of_command = failure
        shown = command.arguments[0].decode("utf-8", "backslashreplace")
        if of_command:
            raise RunError(f"Failed to start {shown}: {exec_message(what, errno)}", 1)
        raise RunError(f"Failed to start {shown}: the guest could not {what.decode()}: {os.strerror(errno)}", 1)

    def stop(self) -> None:
        self.machine.stop()

    def terminal_signal(self, number: int) -> bool:
        """No program in the guest has the host's terminal."""
        return False

    def read_file(self, path: bytes, limit: int) -> bytes:
        """cat(): a file as a program in the guest sees it. Raises OSError."""
        from pyprobe.runtime.system.files import GuestFiles

        return GuestFiles(self.machine).read(path, limit)

    def report(self, names: Names, *, verbose: bool) -> Iterable[str]:
        yield from (f"WARNING: {warning}" for warning in self._warnings)
        console = self.machine.board.console
        killed = ", ".join(dict.fromkeys(name.decode("utf-8", "replace") for name in _KILLED.findall(console)))
        if killed:
            yield f"WARNING: the guest ran out of memory, so that its kernel killed {killed}; --memory gives it more"
        if self._hang:
            yield f"WARNING: the run ended because {self._hang}{last_lines(console)}"
        elif self.machine.power == "reset":
            panic = _PANIC.findall(console)
            how = f"panicked: {panic[-1].decode('utf-8', 'replace')}" if panic else "was told to start anew"
            yield f"WARNING: the run ended because the kernel {how}{last_lines(console)}"
        elif verbose:
            yield console.decode("utf-8", "replace").replace("\r", "")

    def figures(self) -> list[tuple[str, str]]:
        callbacks = "native" if self.machine.processor.native else "plain"
        return [("virtual time, ns", str(self.machine.clock.now())), ("engine", f"{self.machine.arch} system ({callbacks} callbacks)")]
