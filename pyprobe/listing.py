"""`-l`: probes by pattern, or those that a script would attach to."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable
from typing import TYPE_CHECKING

from pyprobe.messages import OK
from pyprobe.options import Options
from pyprobe.programs import packaged_script, read_program

if TYPE_CHECKING:
    from pyprobe.runtime.probes.base import Listed


def run(options: Options) -> int:
    """Print the listing that the command line asks for; the exit status."""
    query = options.words[0] if options.words else "*"
    if options.program is not None or os.path.isfile(query) or query == "-" or (query.endswith(".pt") and packaged_script(query)):
        return list_script(options)
    if not options.words or ":" in query or "*" in query:
        pass
    elif "/" in query or query.endswith((".pt", ".bt")):
        print(
            f"WARNING: It appears that '{query}' is a filename but the file does not exist. Treating '{query}' as a search pattern.",
            file=sys.stderr,
        )
    if sys.stdout.isatty() and not options.verbose:
        print_table(query, options)
        return OK
    for line in lines(query, verbose=options.verbose > 0, options=options):
        print(line)
    return OK


def print_table(query: str, options: Options) -> None:
    """For a person at a terminal: each probe with its arguments beside it, cut to the terminal's width."""
    from shutil import get_terminal_size

    from tabulate import tabulate

    rows = [(entry.name, ", ".join(entry.arguments)) for entry in entries(query, options)]
    width = get_terminal_size().columns
    for line in tabulate(rows, tablefmt="plain", disable_numparse=True).splitlines():
        print(line if len(line) <= width else line[: width - 1] + "…")


def entries(query: str, options: Options) -> Iterable[Listed]:
    """The listed probes that match, sorted, of the machine that the options name."""
    from pyprobe.running import make_world, settings_of

    return make_world(settings_of(options)).listing(query or "*")


def lines(query: str, *, verbose: bool, options: Options | None = None) -> Iterable[str]:
    """The lines of a listing: names, sorted, each followed by its arguments when `verbose`."""
    for entry in entries(query, options or Options()):
        yield entry.name
        if verbose:
            yield from (f"    {argument}" for argument in entry.arguments)
            if entry.note:
                yield f"    {entry.note}"


def list_script(options: Options) -> int:
    """The probes that a program would attach to, as they are written, without those of pyprobe itself. Its bodies are not judged."""
    from pyprobe.running import make_world, points_of, settings_of

    name, text, parameters = read_program(options)
    points, status = points_of(options, make_world(settings_of(options)), name, text, parameters)
    for point in points:
        if point.provider not in ("begin", "end", "self"):
            print(shown(point))
    return status


def shown(point: object) -> str:
    """A point as listings show it: `interval:s:1` without its rate."""
    from pyprobe.lang.attachpoint import AttachPoint

    assert isinstance(point, AttachPoint)
    return f"{point.provider}:{point.unit}:" if point.unit else point.name
