"""What a kernel module's program would call, for Python: a machine, and functions that register probes in it.

    with Machine(["ls", "/"], kernel="debian-arm64") as machine:
        register_kprobe(kp)
        machine.run()
        unregister_kprobe(kp)

In a booted kernel kprobes are breakpoints in its code, and uprobes are that kernel's own. The functions of the emulated kernel, which runs
without `kernel`, are written in Python, so kprobes there are hooks; uprobes are breakpoints in the programs' code.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cached_property
from types import TracebackType
from typing import Any

from pyprobe.runtime.kprobes.api import Kprobe, Kprobes, Kretprobe
from pyprobe.runtime.kprobes.blacklist import EMULATED
from pyprobe.runtime.kprobes.events import KprobeEvents, Memory
from pyprobe.runtime.kprobes.text import EmulatedKernel
from pyprobe.runtime.kprobes.uprobes import BootedUprobes, Uprobe, Uprobes
from pyprobe.runtime.limits import MachineOptions
from pyprobe.runtime.machine.clock import Clock
from pyprobe.runtime.machines import Machine as MachineRun
from pyprobe.runtime.machines import MachineMemory, UserRun
from pyprobe.runtime.probes.world import MachineWorld
from pyprobe.runtime.settings import Settings
from pyprobe.runtime.user.machine import UserMachine

_entered: list[Machine] = []


class Machine:
    """A machine for one command (None: the built-in workload), and the current one for the functions below within `with`.

    kernel: the name or file of a kernel to boot (`pyprobe kernel list`); None: the emulated one. root: the directory of this host that the
    command has as `/`. environ: what the command gets, nothing of this process's by default. The command's own output goes to this
    process's streams. Raises pyprobe.runtime.settings.RunError for a kernel, root or command that cannot be had.
    """

    def __init__(
        self,
        command: Sequence[str] | None = None,
        *,
        kernel: str | None = None,
        root: str | None = None,
        environ: Mapping[str, str] | None = None,
        seed: int = 0,
    ) -> None:
        words = [os.fsencode(w) for w in command] if command is not None else None
        variables = {os.fsencode(k): os.fsencode(v) for k, v in (environ or {}).items()}
        cwd = os.fsencode(os.getcwd()) if root is None else b"/"
        self.booted = kernel is not None
        self.trace: list[str] = []
        self.output: Callable[[str], object] = self.trace.append
        self._run: MachineRun
        if kernel is not None:
            from pyprobe.runtime.system.run import make_description, make_run

            settings = Settings(command=words, environ=variables, cwd=cwd, kernel=kernel, root=root, seed=seed)
            self.world = MachineWorld(environ=variables, cwd=cwd, machine=make_description(settings))
            self._run = make_run(settings, self.world, Clock())
        elif words is not None:
            self.world = MachineWorld(words, variables, cwd, root=root or "")
            arch = self.world.arch
            machine = UserMachine(arch=arch, architectures=(arch,), seed=seed, root=os.fsencode(root or "/"))
            self._run = UserRun(machine, words, variables, cwd, MachineOptions())
        else:
            from pyprobe.runtime.user import workload

            self.world = MachineWorld()
            machine = UserMachine(arch=self.world.arch, seed=seed, root=workload.root())
            workload.install(machine)
            self._run = UserRun(machine, list(workload.COMMAND), {**workload.ENVIRONMENT, **variables}, b"/", MachineOptions())

    @property
    def machine(self) -> Any:
        """What runs: a UserMachine or a SystemMachine."""
        return self._run.machine

    @cached_property
    def kprobes(self) -> Kprobes:
        """The kprobes in the machine's kernel."""
        machine = self.machine
        found: Kprobes = machine.kprobes if self.booted else Kprobes(EmulatedKernel(machine, EMULATED))
        return found

    @cached_property
    def uprobes(self) -> Uprobes:
        """The uprobes in the machine's programs."""
        kind = BootedUprobes if self.booted else Uprobes
        return kind(self.machine, self.world.machine.targets)

    @cached_property
    def kprobe_events(self) -> KprobeEvents:
        """Kprobe events by their definitions in text; what they print goes to `output`, line by line, which is the list `trace`."""
        machine = self.machine

        def task() -> tuple[str, int]:
            return self.current_comm, machine.current.tid if machine.current is not None else 0

        return KprobeEvents(self.kprobes, Memory(MachineMemory(machine).read, task, machine.clock.now), lambda line: self.output(line))

    @property
    def current_comm(self) -> str:
        """The name of the running task."""
        task = self.machine.current
        comm: bytes = task.comm if task is not None else b"swapper/0"
        return comm.decode(errors="backslashreplace")

    def ktime_get(self) -> int:
        """The machine's time in ns since its boot."""
        now: int = self.machine.clock.now()
        return now

    def run(self) -> int:
        """Run the command to its end; its exit status. Raises pyprobe.runtime.settings.RunError when it cannot be started."""
        self._run.start()
        return self._run.run()

    def __enter__(self) -> Machine:
        _entered.append(self)
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, traceback: TracebackType | None) -> None:
        _entered.remove(self)


def current() -> Machine:
    """The machine whose `with` block this is in. Raises RuntimeError outside of one."""
    if not _entered:
        raise RuntimeError("probes are registered in a machine: use `with pyprobe.Machine(...)`")
    return _entered[-1]


def register_kprobe(p: Kprobe) -> None:
    """See Kprobes.register_kprobe. Raises KprobeError."""
    current().kprobes.register_kprobe(p)


def unregister_kprobe(p: Kprobe) -> None:
    """See Kprobes.unregister_kprobe."""
    current().kprobes.unregister_kprobe(p)


def register_kprobes(ps: Sequence[Kprobe]) -> None:
    """See Kprobes.register_kprobes. Raises KprobeError."""
    current().kprobes.register_kprobes(ps)


def unregister_kprobes(ps: Iterable[Kprobe]) -> None:
    """See Kprobes.unregister_kprobes."""
    current().kprobes.unregister_kprobes(ps)


def enable_kprobe(p: Kprobe) -> None:
    """See Kprobes.enable_kprobe. Raises KprobeError."""
    current().kprobes.enable_kprobe(p)


def disable_kprobe(p: Kprobe) -> None:
    """See Kprobes.disable_kprobe. Raises KprobeError."""
    current().kprobes.disable_kprobe(p)


def register_kretprobe(rp: Kretprobe) -> None:
    """See Kprobes.register_kretprobe. Raises KprobeError."""
    current().kprobes.register_kretprobe(rp)


def unregister_kretprobe(rp: Kretprobe) -> None:
    """See Kprobes.unregister_kretprobe."""
    current().kprobes.unregister_kretprobe(rp)


def register_kretprobes(rps: Sequence[Kretprobe]) -> None:
    """See Kprobes.register_kretprobes. Raises KprobeError."""
    current().kprobes.register_kretprobes(rps)


def unregister_kretprobes(rps: Iterable[Kretprobe]) -> None:
    """See Kprobes.unregister_kretprobes."""
    current().kprobes.unregister_kretprobes(rps)


def enable_kretprobe(rp: Kretprobe) -> None:
    """See Kprobes.enable_kretprobe. Raises KprobeError."""
    current().kprobes.enable_kretprobe(rp)


def disable_kretprobe(rp: Kretprobe) -> None:
    """See Kprobes.disable_kretprobe. Raises KprobeError."""
    current().kprobes.disable_kretprobe(rp)


def register_uprobe(u: Uprobe) -> None:
    """See Uprobes.register_uprobe. Raises KprobeError."""
    current().uprobes.register_uprobe(u)


def unregister_uprobe(u: Uprobe) -> None:
    """See Uprobes.unregister_uprobe."""
    current().uprobes.unregister_uprobe(u)


def register_uprobes(us: Sequence[Uprobe]) -> None:
    """See Uprobes.register_uprobes. Raises KprobeError."""
    current().uprobes.register_uprobes(us)


def unregister_uprobes(us: Iterable[Uprobe]) -> None:
    """See Uprobes.unregister_uprobes."""
    current().uprobes.unregister_uprobes(us)
