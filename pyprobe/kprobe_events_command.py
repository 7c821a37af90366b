"""`pyprobe kprobe_events ...`: trace by definitions in the syntax of Linux's own kprobe_events."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

from pyprobe.messages import say_error
from pyprobe.options import Options, UsageError
from pyprobe.runtime.settings import FAILED, OK, RunError

USAGE = (
    "USAGE: pyprobe [--kernel NAME] [-c COMMAND] kprobe_events DEFINITION | FILE ..."
    " (p:EVENT FUNCTION ARGUMENT..., r:EVENT FUNCTION $retval)"
)


def run(words: Sequence[str], options: Options) -> int:
    """Run the subcommand; the exit status. Each of `words` is a line of definitions, or a file of them where it has no blank in it."""
    from pyprobe.running import split_command
    from pyprobe.runtime.kprobes.api import KprobeError
    from pyprobe.runtime.kprobes.events import header
    from pyprobe.runtime.kprobes.module import Machine

    if not words:
        raise UsageError(USAGE.removeprefix("USAGE: "), prefix="USAGE: ")
    try:
        lines = [line for word in words for line in definitions(word)]
    except OSError as error:
        say_error(f"{error.filename}: {error.strerror}")
        return FAILED
    command = [os.fsdecode(word) for word in split_command(options.cmd)] if options.cmd is not None else None
    variables = [setting.partition("=") for setting in options.env]
    environ = {**(os.environ if command is not None else {}), **{name: value for name, _, value in variables}}
    try:
        machine = Machine(command, kernel=options.kernel, root=options.root, environ=environ, seed=int(options.seed))
        for line in lines:
            try:
                machine.kprobe_events.write(line)
            except KprobeError as error:
                say_error(f"{line}: {error.strerror}")
                return FAILED
        machine.output = lambda line: print(line, flush=True)  # in its order among what the command writes
        if not options.quiet:
            print("\n".join(header()))
        sys.stdout.flush()
        machine.run()
    except RunError as error:
        say_error(str(error))
        return error.status
    if options.stats:
        sys.stdout.flush()
        print(machine.kprobe_events.profile(), end="", file=sys.stderr)
    return OK


def definitions(word: str) -> list[str]:
    """The lines of a file, or the one line that `word` is. Raises OSError."""
    if " " in word or word.startswith("-:"):
        return [word]
    with open(word, encoding="utf-8", errors="surrogateescape") as file:
        return file.read().splitlines()
