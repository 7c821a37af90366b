"""A session owns a run: a checked program, the machine it observes, and the output."""

from __future__ import annotations

import os
import signal
import sys
from typing import TYPE_CHECKING, BinaryIO

from pyprobe.lang.program import ProbeBody, Program
from pyprobe.lang.typesys import Integer
from pyprobe.runtime.context import RuntimeContext
from pyprobe.runtime.machine.clock import EPOCH_NS, UPTIME_NS, Clock
from pyprobe.runtime.machines import MachineMemory, make_machine
from pyprobe.runtime.maps import MapStore
from pyprobe.runtime.output.base import Output
from pyprobe.runtime.output.json import JsonOutput
from pyprobe.runtime.output.text import TextOutput
from pyprobe.runtime.probes import Attachments
from pyprobe.runtime.run import Run
from pyprobe.runtime.settings import FAILED, RunError, Settings
from pyprobe.runtime.symbolizer import Symbolizer, tells_of_programs
from pyprobe.runtime.times import MapClock
from pyprobe.runtime.values import Renderer

if TYPE_CHECKING:
    from pyprobe.runtime.probes.world import MachineWorld

DUMMY_CLOCK = "BPFTRACE_DUMMY_TS_MAP"
NOT_LOADED = 'Unknown BPF object load failure. Try using the "-d libbpf" option to see the full loading log.'


class Session:
    """One run. `out` and `err` are where events and messages go; by default the process's own streams, or the `-o` file."""

    def __init__(self, settings: Settings, world: MachineWorld, out: BinaryIO | None = None, err: BinaryIO | None = None) -> None:
        self.settings = settings
        self.world = world
        self.err = err or sys.stderr.buffer
        self.out = out or self._open_output()

    def run(self, program: Program) -> int:
        """Run a checked program to its end; the exit status. Raises RunError for what a user can mend, HandlerFault for faults of ours."""
        probes = self._chosen(program.probes)
        if not probes:
            print("No probes to attach")
            return FAILED
        epoch_ns = self.settings.epoch_ns if self.settings.epoch_ns is not None else EPOCH_NS
        uptime_ns = UPTIME_NS if self.settings.kernel is None else 0  # a kernel of its own says itself how long it has been up
        clock = Clock(epoch_ns, real=self.settings.real_clock, uptime_ns=uptime_ns)
        machine = make_machine(self.settings, self.world, clock, probes)
        follow = not self.world.machine.booted or self.settings.mode is not None or tells_of_programs(program)
        names = Symbolizer(machine.machine, self.world.machine, programs=follow, demangle=program.config.cpp_demangle)
        renderer = Renderer(program.config, names, clock)
        writer = JsonOutput if self.settings.format == "json" else TextOutput
        output: Output = writer(
            self.out,
            self.err,
            renderer,
            buffering=self.settings.buffering,
            warnings=self.settings.warnings,
            colour=self.settings.colour,
        )
        for info in program.maps.values():
            if not info.capacity:
                raise RunError(f"{NOT_LOADED}\nHINT: {info.name} has room for no key at all")
        maps = MapStore(program)
        seen_clock = script_clock(maps, clock)

        def make_context(output: Output) -> RuntimeContext:
            context = RuntimeContext(
                maps,
                output,
                program.config,
                memory=MachineMemory(machine.machine),
                clock=seen_clock,
                names=names,
                seed=self.settings.seed,
                arch=self.world.arch,
                unsafe=self.settings.unsafe,
                verbose_helpers=self.settings.warn_reads,
                command_pid=machine.command_pid,
                read_file=getattr(machine, "read_file", read_file),  # where no process runs, files are the host's
                run_command=run_command,
            )
            context.on_exit = machine.stop
            return context

        breakpoints = self.settings.attach == "breakpoint"
        attachments = Attachments(machine.machine, self.world.machine, unsafe=self.settings.unsafe, breakpoints=breakpoints)
        if self.settings.mode is None:
            run = Run(self.settings, program, probes, machine, make_context(output), attachments, output)
        else:
            from pyprobe.runtime.trials import MODES

            run = MODES[self.settings.mode](self.settings, program, probes, machine, make_context(output), attachments, output)
            run.make_context = make_context
        handlers = {signal.SIGINT: run.interrupted, signal.SIGTERM: run.interrupted, signal.SIGUSR1: run.signalled}
        keys = (signal.SIGINT, signal.SIGQUIT, signal.SIGTSTP) if self.settings.real_clock else ()
        handlers.update(dict.fromkeys((*keys, signal.SIGWINCH), run.from_terminal))
        previous = {number: signal.signal(number, handler) for number, handler in handlers.items()}
        try:
            return run.run()
        finally:
            for number, old in previous.items():
                signal.signal(number, old)
            output.muted = False
            output.finish()

    def _chosen(self, probes: list[ProbeBody]) -> list[ProbeBody]:
        """The probes that --probe-filter leaves; begin and end always stay."""
        text = self.settings.probe_filter
        if text is None:
            return probes
        import re

        try:
            wanted = re.compile(text).search
        except re.error as error:
            raise RunError(f"Invalid --probe-filter regex '{text}': {error}") from None
        return [p for p in probes if p.point.provider in ("begin", "end") or wanted(p.name)]

    def _open_output(self) -> BinaryIO:
        if self.settings.output is None:
            return sys.stdout.buffer
        try:
            return open(self.settings.output, "wb")  # the run's own file, closed by the end of the process
        except OSError as error:
            raise RunError(f'Failed to open output file: "{self.settings.output}": {error.strerror}', FAILED) from None


def script_clock(maps: MapStore, clock: Clock) -> Clock | MapClock:
    """The clock that the script's time sources read: the machine's, or the map that the environment names. Raises RunError."""
    name = os.environ.get(DUMMY_CLOCK)
    if not name:
        return clock
    storage = next((s for s in maps if s.name == name), None)
    if storage is None:
        raise RunError(f'{DUMMY_CLOCK}: "{name}" not found', FAILED)
    if storage.keyed or not (type(storage.value) is Integer and not storage.value.signed):
        raise RunError(f'{DUMMY_CLOCK}: "{name}" must be a scalar map of unsigned integers', FAILED)
    return MapClock(storage.data)


def read_file(path: bytes, limit: int) -> bytes:
    """cat(): a file of this host, read by pyprobe itself. Raises OSError."""
    with open(path, "rb") as file:
        return file.read(limit)


def run_command(command: bytes) -> tuple[bytes, int]:
    """system(): a shell command on this host, only with --unsafe; what it printed on both of its streams, and its wait status."""
    import subprocess

    shell = [b"/bin/sh", b"-c", command]
    done = subprocess.run(shell, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False)
    return done.stdout, done.returncode
