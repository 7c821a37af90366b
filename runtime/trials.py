"""Runs of `--test` and `--bench`: the probes of these names are called by themselves; of the others, only begin and end run.

What begin probes and the trials print is held back; a test that fails shows it.
"""

from __future__ import annotations

import io
import json
import time
from collections.abc import Callable

from pyprobe.lang.program import ProbeBody
from pyprobe.runtime.binding import Binding
from pyprobe.runtime.context import RuntimeContext
from pyprobe.runtime.handlers import Handler, compile_probe
from pyprobe.runtime.output.text import TextOutput
from pyprobe.runtime.run import Run
from pyprobe.runtime.settings import FAILED

ENOUGH_NS = 1_000_000  # of host time that a benchmark's body is repeated for
NAME_WIDTH, TIME_WIDTH = 41, 15
GREEN, RED = "32", "31"


class Trials(Run):
    """What both kinds have in common: a context of their own, whose output goes to memory, and the order of the steps."""

    provider: str

    def wanted(self, probe: ProbeBody) -> bool:
        return probe.point.provider in ("begin", "end", self.provider)

    def run(self) -> int:
        self.held = io.BytesIO()
        output = TextOutput(self.held, self.held, self.output.renderer, warnings=self.settings.warnings)
        self.inner = self.make_context(output)
        self.inner.on_exit = lambda: None  # exit() ends the trial, not the run
        self.inner.halt = self.context.halt  # a signal ends the loops of both
        self._attach()
        self._step(self._begin_held)
        trials = self.attachments.own.get(self.provider, [])
        passed = True
        if self.failure is None:
            passed = self.trials(trials)
        self.context.halt.clear()
        self._step(self._end)
        self._finish()
        if self.failure is not None:
            raise self.failure
        return (self.context.exit_code or 0) if passed else FAILED

    def _handler(self, probe: ProbeBody, binding: Binding) -> Handler:
        if probe.point.provider == "end":
            return super()._handler(probe, binding)
        return compile_probe(probe, self.program, binding, self.inner)

    def _begin_held(self) -> None:
        self.inner.hold()
        for handler in self.attachments.begin:
            handler()
        self.inner.release()

    def _finish(self) -> None:
        if self.settings.format == "text":
            self.output.write(b"\n\n")
        self.output.finish()

    def trials(self, trials: list[tuple[str, Callable[[], object]]]) -> bool:
        """Run them; False if any failed."""
        raise NotImplementedError

    def say(self, text: str) -> None:
        """Write a line of the report."""
        self.output.write(text.encode("utf-8", "surrogateescape") + b"\n")

    def record(self, kind: str, name: str, data: dict[str, object]) -> None:
        """Write a line of the JSON report."""
        self.say(json.dumps({"type": kind, "data": {name: data}}, ensure_ascii=False))

    @property
    def as_json(self) -> bool:
        return self.settings.format == "json"


class Tests(Trials):
    """A test passes when its probe returns 0 or nothing, calls neither exit() with another status nor errorf(),
    and nothing goes wrong in it (a division by zero, for example)."""

    provider = "test"

    def trials(self, trials: list[tuple[str, Callable[[], object]]]) -> bool:
        if not trials:
            self.output.write(self.held.getvalue())
            return True
        if not self.as_json:
            self.say(f"{bracket('==========', GREEN)} Running {len(trials)} tests.")
        failed = []
        ran = 0
        for name, handler in trials:
            if self.interrupts:
                break
            ran += 1
            if not self.trial(name, handler):
                failed.append(name)
        if not self.as_json:
            self.summary(ran, failed)
        return not failed

    def trial(self, name: str, handler: Callable[[], object]) -> bool:
        """Run one test and report it; whether it passed."""
        if not self.as_json:
            self.say(f"{bracket(' RUN      ', GREEN)} {name}")
        context = self.inner
        began = time.perf_counter_ns()
        result = handler()
        duration = time.perf_counter_ns() - began
        passed = not result and not context.exit_code and not context.failures and not self.interrupts
        printed = self.held.getvalue()
        self.held.truncate(0)
        self.held.seek(0)
        renew(context)
        if self.as_json:
            text = printed.decode("utf-8", "surrogateescape")
            self.record("test_result", name, {"duration": duration, "passed": passed, "output": text})
            return passed
        if not passed:
            self.output.write(printed)
        verdict = bracket("       OK ", GREEN) if passed else bracket("  FAILED  ", RED)
        self.say(f"{verdict} {name} ({shown(duration)})")
        return passed

    def summary(self, count: int, failed: list[str]) -> None:
        self.say(f"{bracket('==========', GREEN)} {tests(count)} ran.")
        self.say(f"{bracket('  PASSED  ', GREEN)} {tests(count - len(failed))}.")
        if failed:
            self.say(f"{bracket('  FAILED  ', RED)} {tests(len(failed))}, listed below:")
            for name in failed:
                self.say(f"{bracket('  FAILED  ', RED)} {name}")


class Benchmarks(Trials):
    """A benchmark's body is repeated for a millisecond at least; one that returns anything but 0 is left out."""

    provider = "bench"

    def trials(self, trials: list[tuple[str, Callable[[], object]]]) -> bool:
        if not trials:
            self.output.write(self.held.getvalue())
        width = max([NAME_WIDTH, *(len(name) + 1 for name, _ in trials)])
        header = f"{'Benchmark':<{width}}{'Time(ns)':<{TIME_WIDTH}}Iterations"
        headed = self.as_json
        passed = True
        for name, handler in trials:
            skip = handler()
            if self.interrupts:
                break
            if self.inner.exit_code:
                renew(self.inner)
                self.output.error(f"Benchmark '{name}' failed.".encode("utf-8", "surrogateescape"))
                passed = False
                continue
            if skip:
                continue
            if not headed:
                self.say(header)
                self.say("-" * len(header))
                headed = True
            average, iterations = self.measure(handler)
            if self.interrupts:  # in the midst of it
                break
            if self.as_json:
                self.record("benchmark_result", name, {"average": average, "iters": iterations})
            else:
                self.say(f"{name:<{width}}{average:<{TIME_WIDTH}}{iterations}")
        return passed

    def measure(self, handler: Callable[[], object]) -> tuple[int, int]:
        """Nanoseconds of host time for one call, and how many were made."""
        iterations = 1
        while True:
            began = time.perf_counter_ns()
            for _ in range(iterations):
                handler()
            spent = time.perf_counter_ns() - began
            self.held.truncate(0)
            self.held.seek(0)
            renew(self.inner)
            if spent >= ENOUGH_NS:
                return spent // iterations, iterations
            iterations *= 2


def renew(context: RuntimeContext) -> None:
    """Forget what one trial asked for."""
    context.exit_code = None
    context.failures = 0
    context.output.muted = False


def bracket(word: str, colour: str) -> str:
    """A coloured label; it is coloured whatever the output is."""
    return f"\033[{colour}m[{word}]\033[0m"


def tests(count: int) -> str:
    return f"{count} test{'' if count == 1 else 's'}"


def shown(ns: int) -> str:
    """A duration."""
    return f"{ns} ns" if ns < 1000 else f"{ns // 1000} μs"


MODES: dict[str, type[Trials]] = {"test": Tests, "bench": Benchmarks}
