"""A session's run on a booted kernel: the kernel found, the machine made, how it went."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from pyprobe.runtime.system.booting import MEMORY, Boot, BootError, Options, last_lines, terminal_progress
from pyprobe.runtime.system.description import SystemDescription
from pyprobe.runtime.system.kernels import store
from pyprobe.runtime.system.kernels.errors import KernelError
from pyprobe.runtime.system.machine import Hang, SystemMachine
from pyprobe.runtime.system.root import initramfs

if TYPE_CHECKING:
    from pyprobe.runtime.context import Names
    from pyprobe.runtime.machine.clock import Clock
    from pyprobe.runtime.probes.world import MachineWorld
    from pyprobe.runtime.session import Settings

MODULES = ("fuse", "overlay")


def make_description(settings: Settings) -> SystemDescription:
    """The kernel that the settings name, for scripts to be checked against. Raises RunError."""
    from pyprobe.runtime.machine.targets import TargetResolver
    from pyprobe.runtime.session import FAILED, RunError

    assert settings.kernel is not None
    try:
        kernel = store.find(settings.kernel)
    except KernelError as error:
        raise RunError(str(error) + (f"\nHINT: {error.hint}" if error.hint else ""), FAILED) from None
    return SystemDescription(kernel, TargetResolver(kernel.arch), faithful=settings.faithful)


def make_run(settings: Settings, world: MachineWorld, clock: Clock) -> SystemRun:
    """The machine of these settings: ready for a command, or with --boot at the kernel's first instruction. Raises RunError."""
    from pyprobe.runtime.machine.unicorn import UnicornError
    from pyprobe.runtime.session import RunError

    description = world.machine
    assert isinstance(description, SystemDescription)
    kernel = description.kernel
    warnings: list[str] = []
    try:
        modules = [(path.stem, path.read_bytes()) for path in kernel.load_order(*MODULES)]
        options = Options(settings.memory or MEMORY, settings.append, clock.epoch_ns)
        initrd = initramfs.build(kernel.arch, modules)
        boot = Boot(kernel, options, initrd, description, terminal_progress(), warnings.append, native=settings.native)
        machine = boot.fresh(clock) if settings.boot else boot.ready(clock)
    except (BootError, KernelError, UnicornError, OSError) as error:
        raise RunError(str(error)) from None
    return SystemRun(machine, warnings)


class SystemRun:
    """A booted kernel with its command (runtime.machines.Machine). The id that the guest will give the command is not known before."""

    command_pid = 0

    def __init__(self, machine: SystemMachine, warnings: list[str]) -> None:
        self.machine = machine
        self._warnings = warnings
        self._hang = ""

    def start(self) -> None:
        if not self.machine.ready:
            self.machine.until_ready()

    def run(self) -> int:
        try:
            return self.machine.run()
        except Hang as error:
            self._hang = str(error)
            return 0

    def stop(self) -> None:
        self.machine.stop()

    def report(self, names: Names, *, verbose: bool) -> Iterable[str]:
        yield from (f"WARNING: {warning}" for warning in self._warnings)
        console = self.machine.board.console
        if self._hang:
            yield f"WARNING: the run ended because {self._hang}{last_lines(console)}"
        elif self.machine.power == "reset":
            yield f"WARNING: the kernel panicked, or was told to start anew{last_lines(console)}"
        elif verbose:
            yield console.decode("utf-8", "replace").replace("\r", "")

    def figures(self) -> list[tuple[str, str]]:
        callbacks = "native" if self.machine.processor.native else "plain"
        return [("virtual time, ns", str(self.machine.clock.now())), ("engine", f"{self.machine.arch} system ({callbacks} callbacks)")]
