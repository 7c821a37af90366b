"""What the command says on stderr, and the exit statuses."""

from __future__ import annotations

import errno
import io
import os
import sys
from typing import TYPE_CHECKING, Any

from pyprobe.options import UsageError
from pyprobe.runtime.settings import FAILED

if TYPE_CHECKING:
    from pyprobe.lang.diagnostics import Diagnostics, Severity

COLOUR = "BPFTRACE_COLOR"
LOST = frozenset((errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO))  # of a write to stdout


class Messages(io.FileIO):
    """Standard error, where what cannot be told (the disk is full) is dropped and the run goes on, unless the reader went away."""

    def write(self, data: Any) -> int:
        try:
            super().write(data)
        except BrokenPipeError:
            raise
        except OSError:
            pass
        return len(data)


def open_messages() -> io.TextIOWrapper:
    """The stream for messages, by lines."""
    raw = Messages(sys.stderr.fileno(), "w", closefd=False)
    return io.TextIOWrapper(io.BufferedWriter(raw), encoding="utf-8", errors="surrogateescape", line_buffering=True)


def say_lost(error: OSError) -> None:
    """What was to be printed is lost."""
    say_error(f"Failed to write the output: {error.strerror}")


def say_error(text: str) -> None:
    """An error about no place in a script; lines after the first, as hints, have no colour."""
    print(paint(f"ERROR: {text}", "error"), file=sys.stderr)


def say_fault(fault: Exception) -> None:
    """A fault of pyprobe's own: one line and a request, never a traceback."""
    say_error(f"pyprobe itself failed: {type(fault).__name__}: {fault}\nHINT: please report this; -vv shows where it happened")


def usage_error(error: UsageError) -> int:
    if error.line:
        print(error.line, file=sys.stderr)
    if error.show_usage:
        from pyprobe.usage import text

        print(text(), file=sys.stderr)
    return FAILED


def check_colour() -> None:
    """Say so where the environment asks for something that is none of the choices."""
    wish = os.environ.get(COLOUR, "auto")
    if wish not in ("auto", "always", "never"):
        text = f"Invalid env value! The valid values of `{COLOUR}` are [auto|always|never]. The current value is {wish}!"
        print(f"WARNING: {text}", file=sys.stderr)


def colours() -> bool:
    """Whether messages are coloured: both streams are terminals, or BPFTRACE_COLOR says so."""
    wish = os.environ.get(COLOUR, "auto")
    return wish == "always" or (wish != "never" and sys.stdout.isatty() and sys.stderr.isatty())


def paint(text: str, severity: Severity) -> str:
    """The first line of a message in its colour, where colours are wanted."""
    if not colours():
        return text
    from pyprobe.lang.diagnostics import coloured

    first, newline, rest = text.partition("\n")
    return f"{coloured(first, severity)}{newline}{rest}"


def show(diagnostics: Diagnostics, *, warnings: bool = True, told: set[tuple[str, str]] | None = None) -> None:
    """Print diagnostics on stderr, in their order. `told`: warnings and their places in the text that were shown before and are not
    again; it takes up the new ones."""
    from pyprobe.lang.diagnostics import coloured, render

    for item in diagnostics.ordered():
        if item.severity == "warning" and told is not None:
            key = item.message, item.span.text if item.span else ""
            if key in told:
                continue
            told.add(key)
        if item.severity == "error" or warnings:
            print(render(item, coloured) if colours() else render(item), file=sys.stderr)
