"""A session owns a run: a checked program, the machine it observes, and the output.

The order of a run is bpftrace's: begin probes, attach, announce, events until something ends it, detach, end probes, maps. What ends a
run: exit(), SIGINT or SIGTERM, the end of the command, or that nothing was attached that could ever fire.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable
from types import FrameType
from typing import TYPE_CHECKING, Any, BinaryIO

from pyprobe.lang.program import ProbeBody, Program
from pyprobe.runtime.context import RuntimeContext
from pyprobe.runtime.handlers import Handler, HandlerFault, compile_probe
from pyprobe.runtime.maps import MapStore
from pyprobe.runtime.output.base import Output
from pyprobe.runtime.probes import Attachments, AttachError
from pyprobe.runtime.values import Renderer

if TYPE_CHECKING:
    from pyprobe.runtime.machines import Machine

OK, FAILED, RUN_FAILED = 0, 1, 255
NOTIFY = "__BPFTRACE_NOTIFY_PROBES_ATTACHED"
ALONE = frozenset({"begin", "end", "test", "bench"})  # probes that nothing outside pyprobe can fire
TIMERS = frozenset({"interval", "profile"})  # probes that need time, but no program to run


class RunError(Exception):
    """A run that could not go on; the message is for the user, `status` the exit status."""

    def __init__(self, message: str, status: int = RUN_FAILED) -> None:
        super().__init__(message)
        self.status = status


class Settings:
    """What the command line says about a run.

    command: words of the program to run in the machine, None for the built-in workload. environ, cwd: its surroundings.
    epoch_ns: start of the machine's clock since 1970 (None: the documented constant); real_clock: follow the host's instead.
    format, buffering, output: where and how events are written. The others are the options of the same name.
    """

    def __init__(
        self,
        *,
        command: list[bytes] | None = None,
        environ: dict[bytes, bytes] | None = None,
        cwd: bytes = b"/",
        real_clock: bool = False,
        epoch_ns: int | None = None,
        seed: int = 0,
        unsafe: bool = False,
        verbose: int = 0,
        quiet: bool = False,
        warn_reads: bool = False,
        warnings: bool = True,
        stats: bool = False,
        dry_run: bool = False,
        format: str = "text",
        buffering: str = "line",
        output: str | None = None,
        probe_filter: str | None = None,
        colour: bool = False,
    ) -> None:
        self.command = command
        self.environ = environ or {}
        self.cwd = cwd
        self.real_clock = real_clock
        self.epoch_ns = epoch_ns
        self.seed = seed
        self.unsafe = unsafe
        self.verbose = verbose
        self.quiet = quiet
        self.warn_reads = warn_reads
        self.warnings = warnings
        self.stats = stats
        self.dry_run = dry_run
        self.format = format
        self.buffering = buffering
        self.output = output
        self.probe_filter = probe_filter
        self.colour = colour


class Session:
    """One run. `out` and `err` are where events and messages go; by default the process's own streams, or the `-o` file."""

    def __init__(self, settings: Settings, out: BinaryIO | None = None, err: BinaryIO | None = None) -> None:
        self.settings = settings
        self.err = err or sys.stderr.buffer
        self.out = out or self._open_output()
        self.signals = 0
