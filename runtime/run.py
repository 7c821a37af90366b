"""The steps of a run, in bpftrace's order, and what may cut them short.

begin probes, attach, announce, events until something ends it, detach, end probes, maps. What ends a run: exit(), SIGINT or SIGTERM, the
end of the command, or that nothing was attached that could ever fire.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from types import FrameType
from typing import TYPE_CHECKING, Any

from pyprobe.lang.program import ProbeBody, Program
from pyprobe.runtime.context import RuntimeContext
from pyprobe.runtime.handlers import Handler, compile_probe
from pyprobe.runtime.machines import Machine
from pyprobe.runtime.output.base import Output
from pyprobe.runtime.probes import AttachError, Attachments
from pyprobe.runtime.settings import FAILED, OK, RunError, Settings

if TYPE_CHECKING:
    from pyprobe.runtime.binding import Binding

NOTIFY = "__BPFTRACE_NOTIFY_PROBES_ATTACHED"
TRIALS = {"test": "--test to run test probes.", "bench": "--bench to run benchmark probes."}
TOO_MANY = """Can't attach to {count} probes because it exceeds the current limit of {limit} probes.
You can increase the limit through the BPFTRACE_MAX_PROBES environment variable, but BE CAREFUL since a high number of probes attached \
can cause your system to crash."""
ALONE = frozenset({"begin", "end", *TRIALS})  # probes that nothing outside pyprobe can fire


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
        self.announced = False
        self.make_context: Callable[[Output], RuntimeContext] = lambda output: context
        self.hits: list[list[Any]] = []  # [probe name, count], where --stats wants them
        self.failure: BaseException | None = None

    def run(self) -> int:
        self.context.iterates = any(probe.point.provider == "iter" for probe in self.probes)
        attached = self._attach()
        if self.settings.dry_run:
            return OK
        self.context.on_overflow = lambda: self._announce(attached)
        self._step(self._begin)
        self._announce(attached)
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

    def _announce(self, attached: int) -> None:
        """Say, once, that the probes are attached."""
        if self.announced:
            return
        self.announced = True
        if not self.settings.quiet:
            self.output.muted = False
            self.output.attached(attached)
            self.output.muted = self.context.exit_code is not None
        if NOTIFY in os.environ:
            self.output.write(NOTIFY.encode() + b"\n")
            self.output.out.flush()

    def interrupted(self, number: int, frame: FrameType | None) -> None:
        """SIGINT and SIGTERM: the first ends the run in good order, the second at once."""
        self.interrupts += 1
        if self.interrupts > 1:
            raise KeyboardInterrupt
        self.context.interrupt()
        self.machine.stop()

    def from_terminal(self, number: int, frame: FrameType | None) -> None:
        """A key, or a new size of the terminal: the command's if it runs on that; SIGQUIT ends the run even so."""
        passed_on = number != signal.SIGQUIT and self.machine.terminal_signal(number)
        if not passed_on and number in (signal.SIGINT, signal.SIGQUIT):
            self.interrupted(number, frame)
        elif not passed_on and number == signal.SIGTSTP:
            signal.raise_signal(signal.SIGSTOP)

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
            self.machine.run()

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
