"""A session owns a run: a checked program, the machine it observes, and the output."""

from __future__ import annotations

import gc
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


<<<<<<< HEAD
=======
class Run:
    """The steps of one run, in their order, and what may cut them short."""

    def __init__(
        self,
        settings: Settings,
        program: Program,
        probes: list[ProbeBody],
        machine: Machine,
        context: RuntimeContext,
        attachments: Attachments,
        output: Output,
    ) -> None:
        self.settings = settings
        self.program = program
        self.probes = probes
        self.machine = machine
        self.context = context
        self.attachments = attachments
        self.output = output
        self.interrupts = 0
        self.make_context: Callable[[Output], RuntimeContext] = lambda output: context
        self.hits: list[list[Any]] = []  # [probe name, count], where --stats wants them
        self.failure: BaseException | None = None

    def run(self) -> int:
        self.context.iterates = any(probe.point.provider == "iter" for probe in self.probes)
        attached = self._attach()
        if self.settings.dry_run:
            return OK
        self._step(self._begin)
        if not self.settings.quiet:
            self.output.muted = False
            self.output.attached(attached)
            self.output.muted = self.context.exit_code is not None
        if NOTIFY in os.environ:
            self.output.write(NOTIFY.encode() + b"\n")
            self.output.out.flush()
        if not self.context.iterates:  # whose text is read before any event
            self.context.release()
        if self.failure is None and self.context.exit_code is None and not self.interrupts and self._lasting():
            self._step(self._events)
        self.machine.stop()
        self.output.muted = False
        self.context.halt.clear()
        self._step(self._end)
        self._finish()
        if self.failure is not None:
            raise self.failure
        return self.context.exit_code or OK

    def interrupted(self, number: int, frame: FrameType | None) -> None:
        """SIGINT and SIGTERM: the first ends the run in good order, the second at once."""
        self.interrupts += 1
        if self.interrupts > 1:
            raise KeyboardInterrupt
        self.context.interrupt()
        self.machine.stop()

    def signalled(self, number: int, frame: FrameType | None) -> None:
        """SIGUSR1: the self probes run as soon as the machine is at a place where probes may fire."""
        for _, handler in self.attachments.own.get("self", ()):
            self.machine.machine.clock.soon(handler)

    # ---- the steps

    def _step(self, action: Callable[[], None]) -> None:
        """Do one part of the run; what goes wrong in it is kept, so that the results so far are still printed."""
        try:
            action()
        except (KeyboardInterrupt, BrokenPipeError):
            raise
        except Exception as error:
            self.failure = self.failure or error

    def _attach(self) -> int:
        """Attach every probe, in source order; how many there are. begin and end probes are only compiled."""
        count = 0
        wanted = [probe for probe in self.probes if self.wanted(probe)]
        limit = self.program.config.max_probes
        if len(wanted) > limit:
            raise RunError(TOO_MANY.format(count=len(wanted), limit=limit), FAILED)
        for probe in wanted:
            try:
                self.attachments.attach(probe.point, lambda binding, probe=probe: self._handler(probe, binding))  # type: ignore[misc]  # binds the loop's value
                count += 1
                if self.settings.verbose:
                    self._tell_how(probe)
            except AttachError as error:
                self._not_attached(probe, error)
        if self.probes and not count:
            trials = {p.point.provider for p in self.probes}
            unused = next((hint for name, hint in TRIALS.items() if name in trials), None)
            raise RunError(f"No probes attached; use {unused}" if trials <= TRIALS.keys() else "Attachment failed for all probes.")
        return count

    def _tell_how(self, probe: ProbeBody) -> None:
        attached = self.attachments.attached.get(probe.name)
        if attached is not None:
            instruction = attached.instruction()
            self.output.write_error(f"  {attached.how}{f': {instruction}' if instruction else ''}\n".encode())

    def wanted(self, probe: ProbeBody) -> bool:
        """Whether this kind of run attaches a probe."""
        return probe.point.provider not in TRIALS

    def _not_attached(self, probe: ProbeBody, error: AttachError) -> None:
        reason = "\n".join(error.reasons)
        wish = self.program.config.missing_probes
        if wish == "error":
            raise RunError(
                f"{reason}\nERROR: Unable to attach probe: {probe.name}. "
                "If this is expected, set the 'missing_probes' config variable to 'warn'."
            )
        if wish == "warn" and self.settings.warnings:
            self.output.write_error(f"WARNING: {reason}\nWARNING: Unable to attach probe: {probe.name}. Skipping.\n".encode())

    def _handler(self, probe: ProbeBody, binding: Binding) -> Handler:
        handler = compile_probe(probe, self.program, binding, self.context)
        if self.settings.show_source:
            print(f"# {probe.name}\n{handler.source}")
        if self.settings.verbose:
            self._tell_of(probe)
        return counted(handler, self.hits, probe.name) if self.settings.stats else handler

    def _tell_of(self, probe: ProbeBody) -> None:
        """-v: what is about to be attached. Probes of pyprobe itself are told of when their time comes, if at all."""
        provider = probe.point.provider
        if provider == "begin":
            self.output.write_error(b"Attaching 'begin' probe\n")
        elif provider not in ("end", "self", *TRIALS):
            self.output.write_error(f"Trying to attach probe: {probe.name}\n".encode())

    def _begin(self) -> None:
        self.context.hold()
        for handler in self.attachments.begin:
            handler()

    def _lasting(self) -> bool:
        """Whether anything is attached that may still fire, or a command is to run."""
        return self.settings.command is not None or any(p.point.provider not in ALONE for p in self.probes)

    def _events(self) -> None:
        self.machine.start()
        iterators = self.attachments.iterators
        for kept, iterate in iterators:
            if kept is None:
                self.machine.settle()
                iterate()
            elif kept:
                self.output.write(f"Program pinned to {kept}\n".encode())
            else:
                self.output.error(b"Failed to pin iter probe link")
        if not iterators:
            gc.freeze()  # what the run stands on is no garbage: searches for some need not go through it again and again
            try:
                self.machine.run()
            finally:
                gc.unfreeze()

    def _end(self) -> None:
        """The end probes; an exit() in one of them has the last word."""
        status, self.context.exit_code = self.context.exit_code, None
        if not self.context.iterates:
            self.context.hold()
        for handler in self.attachments.end:
            if self.settings.verbose:
                self.output.write_error(b"Attaching 'end' probe\n")
            handler()
        self.context.release()
        self.output.muted = False
        if self.context.exit_code is None:
            self.context.exit_code = status

    def _finish(self) -> None:
        """What stands after the last event: the empty lines, the maps, then what there is to say about the run."""
        if self.settings.format == "text":
            self.output.write(b"\n\n")
        if self.program.config.print_maps_on_exit:
            self.output.maps_at_exit(self.context.maps)
        self.output.finish()
        if self.settings.warnings:
            for warning in self.attachments.warnings():
                self.output.write_error(f"WARNING: {warning}\n".encode())
        for line in self.machine.report(self.context.names, verbose=self.settings.verbose > 0):
            self.output.write_error(line.encode("utf-8", "surrogateescape") + b"\n")
        if self.settings.stats:
            from pyprobe.runtime.statistics import table

            self.output.write_error(table(self.hits, self.machine, self.attachments.attached).encode())


def counted(handler: Handler, hits: list[list[Any]], name: str) -> Handler:
    """`handler`, counting its calls for --stats."""
    row: list[Any] = [name, 0]
    hits.append(row)

    def call() -> Any:
        row[1] += 1
        return handler()

    call.source = handler.source  # type: ignore[attr-defined]  # makes the function a Handler
    return call  # type: ignore[return-value]  # the same


>>>>>>> U1
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
