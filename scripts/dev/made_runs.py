"""Running checked programs on a machine of fixed values, to see whether the handlers generated for them hold.

Nothing is emulated: an event's values are constants of the right kind, memory below `READABLE` holds a pattern, and every handler is
called once for each output format. A loop without end is interrupted as Ctrl-C would.
"""

from __future__ import annotations

import io
import signal
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

from pyprobe.lang.program import Program
from pyprobe.runtime.context import NoMachine, RuntimeContext
from pyprobe.runtime.handlers import HandlerRefused, compile_probe
from pyprobe.runtime.machine.bound import Bound
from pyprobe.runtime.maps import MapStore
from pyprobe.runtime.output import FORMATS
from pyprobe.runtime.values import Renderer

READABLE = 1 << 16
PATTERN = bytes(range(1, 256)) + b"\0"
LONGEST_SECONDS = 0.2  # of a handler that does not end
STRINGS = frozenset(("comm", "pcomm", "leader_comm", "probe", "probetype", "func_name"))
CALLABLE = {"comm_of": b"comm", "path_of": b"/a/path", "of_task": 1}
ACTS = frozenset(("signal", "signal_thread", "override", "write_user"))


class FixedMachine(NoMachine):
    """Readable at low addresses."""

    def read(self, address: int, size: int) -> bytes | None:
        if not 0 < address < READABLE or size > READABLE:
            return None
        return (PATTERN * (size // len(PATTERN) + 2))[address % 256 : address % 256 + size]

    def read_string(self, address: int, limit: int) -> bytes | None:
        data = self.read(address, min(limit, READABLE))
        return data.split(b"\0", 1)[0] if data is not None else None


class FixedEvent:
    """A binding that has every builtin."""

    def builtin(self, name: str, *literals: Any) -> Bound:
        value: Any = 7
        if name in STRINGS:
            value = b"name"
        elif name in ("kstack", "ustack", "dw_ustack"):
            value = (0 if name == "kstack" else 7, 0x1000, 0x2000)
        elif name in CALLABLE:
            result = CALLABLE[name]
            value = lambda *_: result  # noqa: E731  # a constant function
        elif name in ACTS:
            value = lambda *_: 0  # noqa: E731  # as above
        return Bound(name, {name: value})


@contextmanager
def _bounded(context: RuntimeContext) -> Iterator[None]:
    """SIGALRM interrupts the handlers of a context after a while."""
    before = signal.signal(signal.SIGALRM, lambda number, frame: context.interrupt())
    signal.setitimer(signal.ITIMER_REAL, LONGEST_SECONDS)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def run(program: Program, format: str = "text", *, warn_reads: bool = False) -> bytes:
    """Call every handler once and print the maps; what was written. Raises HandlerFault where pyprobe itself is wrong."""
    machine = FixedMachine()
    out = io.BytesIO()
    output = FORMATS[format](out, out, Renderer(program.config, machine, machine))
    context = RuntimeContext(
        MapStore(program),
        output,
        program.config,
        memory=machine,
        clock=machine,
        names=machine,
        verbose_helpers=warn_reads,
        unsafe=True,
        read_file=lambda path, limit: path[:limit],
        run_command=lambda command: (command, 0),
    )
    with _bounded(context):
        for probe in program.probes:
            with suppress(HandlerRefused):
                compile_probe(probe, program, FixedEvent(), context)()
            output.muted = False
            context.halt.clear()
    output.maps_at_exit(context.maps)
    return out.getvalue()
