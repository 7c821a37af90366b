"""What a kernel module's program would call, for Python: a machine, and functions that register probes in it.

    with Machine(["ls", "/"]) as machine:
        register_kprobe(kp)
        machine.run()
        unregister_kprobe(kp)

The functions of the emulated kernel are written in Python, so kprobes there are hooks; uprobes are breakpoints in the programs' code.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property
from types import TracebackType

from pyprobe.runtime.kprobes.api import Kprobe, Kprobes, Kretprobe
from pyprobe.runtime.kprobes.blacklist import EMULATED
from pyprobe.runtime.kprobes.text import EmulatedKernel
from pyprobe.runtime.kprobes.uprobes import Uprobe, Uprobes
from pyprobe.runtime.probes.world import MachineWorld
from pyprobe.runtime.user.machine import UserMachine

_entered: list[Machine] = []


class Machine:
    """A user machine for one command (None: the built-in workload), and the current one for the functions below within `with`.

    environ: what the command gets, nothing of this process's by default. The command's own output goes to this process's streams.
    """

    def __init__(self, command: Sequence[str] | None = None, *, environ: Mapping[str, str] | None = None, seed: int = 0) -> None:
        from pyprobe.runtime.user import workload

        self.command = [os.fsencode(w) for w in command] if command is not None else list(workload.COMMAND)
        self.environ = {os.fsencode(k): os.fsencode(v) for k, v in (environ or {}).items()}
        self.cwd = os.fsencode(os.getcwd()) if command is not None else b"/"
        if command is None:
            self.environ = {**workload.ENVIRONMENT, **self.environ}
            self.world = MachineWorld()
            self.machine = UserMachine(arch=self.world.arch, seed=seed, root=workload.root())
            workload.install(self.machine)
        else:
            self.world = MachineWorld(self.command, self.environ, self.cwd)
            self.machine = UserMachine(arch=self.world.arch, architectures=(self.world.arch,), seed=seed)

    @cached_property
    def kprobes(self) -> Kprobes:
        """The kprobes in the machine's kernel."""
        return Kprobes(EmulatedKernel(self.machine, EMULATED))

    @cached_property
    def uprobes(self) -> Uprobes:
        """The uprobes in the machine's programs."""
        return Uprobes(self.machine, self.world.machine.targets)

    @property
    def current_comm(self) -> str:
        """The name of the running task."""
        task = self.machine.current
        return task.comm.decode(errors="backslashreplace") if task is not None else "swapper/0"

    def ktime_get(self) -> int:
        """The machine's time in ns since its boot."""
        return self.machine.clock.now()

    def run(self) -> int:
        """Run the command to its end; its exit status. Raises pyprobe.runtime.user.errors.ExecFailure when it cannot be started."""
        self.machine.spawn(self.command, [name + b"=" + value for name, value in self.environ.items()], self.cwd)
        return self.machine.run()

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
