"""The command: reads the command line, finds the script, and hands over to the compiler, the lister, the session or the REPL.

Everything that only some runs need is imported where it is needed, because start-up time counts.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from importlib import import_module
from typing import NoReturn

from pyprobe import options as command_line
from pyprobe.options import Options, UsageError

OK, FAILED, INTERNAL, RUN_FAILED = 0, 1, 2, 255
SUBCOMMANDS = {"kernel": "pyprobe.kernel_command"}  # a script of such a name is ./kernel; each has run(words) -> exit status


def entry() -> NoReturn:
    """The console script: run, flush, leave. A reader of stdout that went away ends the run quietly, as SIGPIPE would."""
    try:
        status = main(sys.argv[1:])
        sys.stdout.flush()
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        status = 128 + 13
    except KeyboardInterrupt:
        status = 128 + 2
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)  # the machine's gigabytes of mappings need no tidying


def main(arguments: Sequence[str]) -> int:
    """Run the command with these words and return the exit status."""
    try:
        options = command_line.parse(arguments)
    except UsageError as error:
        return usage_error(error)
    try:
        return dispatch(options, bool(arguments))
    except UsageError as error:
        return usage_error(error)
    except (KeyboardInterrupt, BrokenPipeError):
        raise
    except Exception as fault:  # the last line of defence: a fault of ours is one line and a request, never a traceback
        if options.verbose > 1:
            raise
        say_error(f"pyprobe itself failed: {type(fault).__name__}: {fault}\nHINT: please report this; -vv shows where it happened")
        return RUN_FAILED


def say_error(text: str) -> None:
    print(paint(f"ERROR: {text}", "31"), file=sys.stderr)


def usage_error(error: UsageError) -> int:
    print(error.line, file=sys.stderr)
    if error.show_usage:
        from pyprobe.usage import text

        print(text(), file=sys.stderr)
    return FAILED


def colours() -> bool:
    """Whether messages are coloured: both streams are terminals, or BPFTRACE_COLOR says so."""
    wish = os.environ.get("BPFTRACE_COLOR", "auto")
    return wish == "always" or (wish != "never" and sys.stdout.isatty() and sys.stderr.isatty())


def paint(text: str, colour: str) -> str:
    """The first line of a message in its colour (an SGR number), where colours are wanted."""
    if not colours():
        return text
    first, newline, rest = text.partition("\n")
    return f"\033[{colour}m{first}\033[0m{newline}{rest}"


def dispatch(options: Options, any_words: bool) -> int:
    if options.help:
        from pyprobe.usage import text as usage_text

        print(usage_text(), end="")
        return OK
    if options.version:
        from pyprobe.version import VERSION

        print(f"pyprobe v{VERSION}")
        return OK
    if options.info:
        from pyprobe.info import text as info_text

        print(info_text(), end="")
        return OK
    if options.list_probes:
        from pyprobe.listing import run as run_listing

        return run_listing(options)
    if not any_words:
        from pyprobe.repl import run as run_repl

        return run_repl(options)
    if options.program is None and not options.words:
        raise UsageError("filename or -e 'program' required.", show_usage=True)
    if options.program is None and options.words[0] in SUBCOMMANDS:
        status: int = import_module(SUBCOMMANDS[options.words[0]]).run(options.words[1:])
        return status
    if options.pid is not None:
        return refuse_pid(options.pid)
    name, text, parameters = read_program(options)
    if options.mode == "format":
        return format_program(name, text)
    if options.mode is not None:
        say_error(f"--mode {options.mode} is not part of this version")
        return FAILED
    from pyprobe.running import run_program

    return run_program(options, name, text, parameters)


def refuse_pid(text: str) -> int:
    """`-p` names a process of this host, which the emulated machine does not hold."""
    if not text.isdecimal():
        digits = len(text) - len(text.lstrip("0123456789"))
        say_error(f"Failed to parse pid: {'invalid trailing bytes' if digits else 'invalid integer'}: {text}")
    elif not 0 < int(text) <= 0x400000:
        say_error(f"Pid out of range: {text}")
    else:
        say_error(
            f"Failed to attach to pid: process {text} runs on this host, and probes fire in an emulated machine\n"
            "HINT: run the program inside with -c COMMAND; in the script, /pid == N/ selects one process"
        )
    return FAILED


def read_program(options: Options) -> tuple[str, str, list[str]]:
    """The source name for messages, the program text, and the positional parameters."""
    words = options.words[:]
    if options.program is not None:
        return "stdin", options.program, words
    name = words.pop(0)
    if name == "-":
        return "stdin", decode(sys.stdin.buffer.read()), words
    path = name if os.path.exists(name) or "/" in name else packaged_script(name) or name
    try:
        with open(path, "rb") as file:
            return name, decode(file.read()), words
    except OSError as error:
        raise UsageError(f"failed to open file '{name}': {error.strerror}", prefix="ERROR: ") from None


def decode(data: bytes) -> str:
    """Program text from bytes; what is not UTF-8 survives as it is."""
    return data.decode("utf-8", "surrogateescape")


def packaged_script(name: str) -> str | None:
    """The path of a script that comes with pyprobe, by bare name with or without `.pt`."""
    folder = os.path.join(os.path.dirname(os.path.realpath(__file__)), "scripts")
    if not os.path.isdir(folder):
        folder = os.path.join(os.path.dirname(os.path.dirname(os.path.realpath(__file__))), "scripts")
    for candidate in (name, name + ".pt"):
        path = os.path.join(folder, candidate)
        if candidate.endswith(".pt") and os.path.isfile(path):
            return path
    return None


def format_program(name: str, text: str) -> int:
    """`--fmt`: parse only, print the canonical layout."""
    from pyprobe.lang.diagnostics import Diagnostics
    from pyprobe.lang.parser import parse
    from pyprobe.lang.printer import print_script
    from pyprobe.lang.source import Source

    diagnostics = Diagnostics()
    script = parse(Source(name, text), diagnostics)
    show(diagnostics)
    if script is None or diagnostics.failed:
        return FAILED
    print(print_script(script), end="")
    return OK


def show(diagnostics: object, *, warnings: bool = True) -> None:
    """Print diagnostics on stderr: errors first, then warnings."""
    from pyprobe.lang.diagnostics import Diagnostics, render

    assert isinstance(diagnostics, Diagnostics)
    for item in diagnostics.ordered():
        if item.severity == "error" or warnings:
            print(paint(render(item), "31" if item.severity == "error" else "33"), file=sys.stderr)
