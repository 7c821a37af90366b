"""A failure inside a generated handler, traced back to the script."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NoReturn

from pyprobe.lang.source import Span
from pyprobe.runtime.output.base import OutputError


class HandlerFault(Exception):
    """Generated code raised: a fault of ours, never of the script. `span` is the place in the script that was being executed."""

    def __init__(self, span: Span | None, original: BaseException) -> None:
        place = f"{span.source.name}:{span.header}: " if span is not None else ""
        super().__init__(f"{place}{type(original).__name__}: {original}")
        self.span = span
        self.original = original


class HandlerRefused(Exception):
    """A body that cannot be compiled here though it is right: too much for Python's compiler, or a builtin that this kind of event does
    not have. `message` is for the user, `span` the place in the script."""

    def __init__(self, span: Span, message: str) -> None:
        super().__init__(message)
        self.span = span
        self.message = message


def blamer(filename: str, spans: Sequence[Span | None]) -> Callable[[BaseException], NoReturn]:
    """The function that a handler calls with what it caught; `spans[n]` is the place of line n (from 0) of the file `filename`. That the
    output cannot be written is nobody's fault here."""

    def blame(error: BaseException) -> NoReturn:
        if isinstance(error, (BrokenPipeError, OutputError)):
            raise error
        span = None
        trace = error.__traceback__
        while trace is not None:
            if trace.tb_frame.f_code.co_filename == filename and 0 < trace.tb_lineno <= len(spans):
                span = spans[trace.tb_lineno - 1]
            trace = trace.tb_next
        raise HandlerFault(span, error) from error

    return blame
