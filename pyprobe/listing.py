"""`-l`: probes by pattern, or those that a script would attach to."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable
from typing import TYPE_CHECKING

from pyprobe.options import Options, UsageError
from pyprobe.programs import packaged_script, read_program
from pyprobe.runtime.settings import OK

if TYPE_CHECKING:
    from pyprobe.lang.attachpoint import AttachPoint
    from pyprobe.runtime.probes.base import Listed


TYPES = ("struct ", "union ", "enum ")


def run(options: Options) -> int:
    """Print the listing that the command line asks for; the exit status."""
    if len(options.words) > 1 and options.program is None:
        raise UsageError("", show_usage=True, prefix="")
    query = options.words[0] if options.words else "*"
    if query.startswith(TYPES):
        return list_types(query, options)
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
    show(entries(query, options), options)
    return OK


def show(listed: Iterable[Listed], options: Options) -> None:
    """Print names, each followed by its arguments with -v. What keeps arguments from being shown is told once, on stderr."""
    told = set()
    for entry in listed:
        print(entry.name)
        if options.verbose:
            for argument in entry.arguments:
                print(f"    {argument}")
            if entry.note and entry.note not in told and not options.no_warnings:
                told.add(entry.note)
                print(f"WARNING: {entry.note}", file=sys.stderr)


def list_types(query: str, options: Options) -> int:
    """Print the kernel's types whose names match; with -v as they are defined."""
    from pyprobe.running import make_world, settings_of

    world = make_world(settings_of(options))
    for name, definition in world.types(query):
        print(f"{world.machine.module}: {definition()}\n" if options.verbose else name)
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


def list_script(options: Options) -> int:
    """The probes that a program would attach to, in its order, without those of pyprobe itself. Its bodies are not judged."""
    from pyprobe.running import make_world, points_of, settings_of
    from pyprobe.runtime.probes.base import Listed

    name, text, parameters = read_program(options)
    world = make_world(settings_of(options))
    points, status = points_of(options, world, name, text, parameters)
    for listed in dict.fromkeys(shown(point) for point in points if point.provider not in ("begin", "end", "self")):
        found = [entry for entry in world.listing(listed) if entry.name == listed] if options.verbose else []
        show(found or [Listed(listed)], options)
    return status


def shown(point: AttachPoint) -> str:
    """A point as listings show it: `interval:s:1` and `software:cpu:100` without their rates."""
    if point.provider in ("software", "hardware"):
        return f"{point.provider}:{point.function}:"
    return f"{point.provider}:{point.unit}:" if point.unit else point.place
