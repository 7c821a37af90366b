"""A machine without a program: only time passes in it.

Scripts of timers alone run on it. Its clock stops at every timer and is paced by the host's, so that `interval:s:1` comes once a second
to whoever watches, while `nsecs` still reads the same in every run.
"""

from __future__ import annotations

import os
import select
import signal
import time
from collections.abc import Callable, Mapping
from functools import cached_property
from typing import TYPE_CHECKING, Any

from pyprobe.runtime.machine.clock import NEVER, Clock

if TYPE_CHECKING:
    from pyprobe.runtime.user.objects import KernelObjects


class NoFunctions:
    """What remains of a kernel's functions where none runs: their addresses, and the tasks outside of the machine."""

    def __init__(self, machine: IdleMachine, addresses: Mapping[str, int]) -> None:
        self._machine = machine
        self.addresses = addresses

    def trace_stack(self) -> None:
        """Nothing to record."""

    def stack(self) -> tuple[int, ...]:
        return ()

    @cached_property
    def objects(self) -> KernelObjects:
        """The memory of the kernel's objects."""
        from pyprobe.runtime.user.objects import KernelObjects

        machine: Any = self._machine
        return KernelObjects(machine, machine.arch)

    def object_address(self, thing: object, kind: str | None = None) -> int:
        from pyprobe.runtime.user.objects import Outside

        return self.objects.address(thing, kind or "") if isinstance(thing, Outside) else 0

    def object_at(self, address: int) -> object:
        return self.objects.at(address)

    def task_at(self, address: int) -> None:
        return None


class IdleMachine:
    """Time and nothing else. `current` is always None: no task runs. `symbols` are the kernel's, for kaddr() and ksym()."""

    current = None

    def __init__(self, clock: Clock, arch: str, symbols: Callable[[], Mapping[str, int]]) -> None:
        self.clock = clock
        self.arch = arch
        self._symbols = symbols
        self.stop_requested = False

    @cached_property
    def functions(self) -> Any:
        """What remains of a kernel's functions: their addresses."""
        return NoFunctions(self, self._symbols())

    def engine_for(self, arch: str) -> Any:
        """A processor that never runs, whose registers are as after a reset."""
        from pyprobe.runtime.machine.arm64 import ARM64
        from pyprobe.runtime.machine.engine import Engine
        from pyprobe.runtime.machine.physical import PhysicalMemory
        from pyprobe.runtime.machine.x86_64 import X86_64

        return Engine({"x86_64": X86_64, "arm64": ARM64}[arch], PhysicalMemory(), self.clock)

    def stop(self) -> None:
        """End the run as soon as possible; may be called from a signal handler."""
        self.stop_requested = True

    def run(self) -> int:
        """Let timers come due until somebody calls `stop`; 0."""
        started = time.monotonic_ns() - self.clock.now()
        reader, writer = os.pipe()
        os.set_blocking(writer, False)
        signalled = select.poll()  # its descriptors may have any number
        signalled.register(reader, select.POLLIN)
        old = signal.set_wakeup_fd(writer, warn_on_full_buffer=False)  # a signal ends the wait below
        os.write(writer, b"\0")  # one that came before is looked at too
        try:
            while not self.stop_requested:
                deadline = self.clock.next_deadline()
                wait = None if deadline == NEVER else (started + deadline - time.monotonic_ns()) / 1e6
                if (wait is None or wait > 0) and signalled.poll(wait):
                    os.read(reader, 512)
                    self.clock.run_due()  # what the signal asked for
                    continue
                self.clock.advance_to(deadline)
                self.clock.run_due()
        finally:
            signal.set_wakeup_fd(old)
            os.close(reader)
            os.close(writer)
        return 0
