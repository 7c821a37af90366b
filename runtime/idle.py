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
from types import SimpleNamespace
from typing import Any

from pyprobe.runtime.machine.clock import NEVER, Clock


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
        """What remains of a kernel's functions: their addresses. Nothing lies in its memory."""
        objects = SimpleNamespace(read=lambda address, size: None)
        return SimpleNamespace(
            addresses=self._symbols(), stack=tuple, trace_stack=lambda: None, object_address=lambda thing: 0, objects=objects
        )

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
