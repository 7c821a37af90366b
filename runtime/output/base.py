"""What the runtime tells the world: one method per kind of event, implemented once as text and once as JSON.

Events go to the output (stdout or the `-o` file); errors and warnings of the run go to stderr in text mode and to the output in JSON.
A write to a reader that went away is the caller's to handle (BrokenPipeError passes through); any other failure is an OutputError.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, BinaryIO

from pyprobe.lang.diagnostics import Severity, coloured
from pyprobe.lang.source import Span
from pyprobe.lang.typesys import Type
from pyprobe.runtime.maps import MapStorage, MapStore
from pyprobe.runtime.values import Renderer

Buffering = str  # "line", "full" or "none"


class OutputError(Exception):
    """The output cannot be written: a full disk, for example."""


def as_output_error(error: OSError) -> Exception:
    """What is raised for a failed write: BrokenPipeError stays itself."""
    return error if isinstance(error, BrokenPipeError) else OutputError(f"Failed to write the output: {error.strerror}")


class Output:
    """Common part of the writers.

    out: where events go. err: where messages go in text mode. buffering: `line` (also the default on a terminal), `full`, `none`.
    warnings: False silences warnings at run time (and warnf). colour: messages are coloured. `muted` drops everything: set after exit().
    """

    def __init__(
        self,
        out: BinaryIO,
        err: BinaryIO,
        renderer: Renderer,
        *,
        buffering: Buffering = "line",
        warnings: bool = True,
        colour: bool = False,
    ) -> None:
        self.out = out
        self.err = err
        self.renderer = renderer
        renderer.complain = self.error
        self.buffering = buffering
        self.warnings = warnings
        self.paint: Callable[[str, Severity], str] = coloured if colour else lambda text, severity: text
        self.muted = False

    def write(self, data: bytes) -> None:
        """Write to the output, and through it as the buffering wants."""
        if self.muted:
            return
        try:
            self.out.write(data)
        except OSError as error:
            raise as_output_error(error) from None
        if self.buffering == "none" or (self.buffering == "line" and b"\n" in data):
            self.finish()

    def straight(self, text: bytes) -> None:
        """Write what is no event, after exit() too: the text of an iterator."""
        muted, self.muted = self.muted, False
        self.write(text)
        self.muted = muted

    def write_error(self, data: bytes) -> None:
        """Write a message to stderr, after what the output holds."""
        if self.muted:
            return
        self.finish()
        self.err.write(data)
        self.err.flush()

    def plain_error(self, text: bytes) -> None:
        """Write an error without a place to stderr."""
        line = self.paint(f"ERROR: {text.decode('utf-8', 'surrogateescape')}", "error")
        self.write_error(line.encode("utf-8", "surrogateescape") + b"\n")

    def finish(self) -> None:
        """Write out what is buffered."""
        try:
            self.out.flush()
        except OSError as error:
            raise as_output_error(error) from None

    def maps_at_exit(self, store: MapStore) -> None:
        """All maps that hold something, by name."""
        for storage in store:
            if len(storage):
                self.map(storage, 0, 0, final=True)

    # ---- events; the writers say how

    def printf(self, text: bytes) -> None:
        raise NotImplementedError

    def value(self, t: Type) -> Callable[[Any], None]:
        """The function that prints a value of a type."""
        raise NotImplementedError

    def map(self, storage: MapStorage, top: int, divisor: int, *, final: bool = False) -> None:
        raise NotImplementedError

    def time(self, text: bytes) -> None:
        raise NotImplementedError

    def join(self, text: bytes) -> None:
        raise NotImplementedError

    def cat(self, data: bytes) -> None:
        raise NotImplementedError

    def system(self, data: bytes) -> None:
        raise NotImplementedError

    def message(self, kind: str, span: Span, text: bytes) -> None:
        """errorf (`kind` "errorf") and warnf."""
        raise NotImplementedError

    def error(self, text: bytes) -> None:
        """An error without a place."""
        raise NotImplementedError

    def runtime_error(self, span: Span, text: str) -> None:
        raise NotImplementedError

    def helper_error(self, span: Span, text: str, helper: str, code: int) -> None:
        raise NotImplementedError

    def attached(self, count: int) -> None:
        raise NotImplementedError

    def lost(self, count: int) -> None:
        raise NotImplementedError
