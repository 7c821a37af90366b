"""The command: reads the command line, finds the script, and hands over to the compiler, the lister, the session or the REPL.

Everything that only some runs need is imported where it is needed, because start-up time counts.
"""

from __future__ import annotations

import gc
import os
import sys
from collections.abc import Sequence
from contextlib import suppress
from importlib import import_module
from io import TextIOWrapper
from typing import NoReturn

from pyprobe import options as command_line
from pyprobe.messages import LOST, check_colour, open_messages, say_error, say_fault, say_lost, show, usage_error
from pyprobe.options import Options, UsageError
from pyprobe.programs import read_program
from pyprobe.runtime.settings import FAILED, OK, RUN_FAILED

SUBCOMMANDS = {"kernel": "pyprobe.kernel_command", "kprobe_events": "pyprobe.kprobe_events_command"}
"""A script of such a name is ./kernel; each has its USAGE, and run(words, options), which gives the exit status."""

MOST_PROCESSES = 0x400000
"""include/linux/threads.h: PID_MAX_LIMIT"""

COLLECT_EVERY = 50_000
"""New containers between two searches for cycles, of which few are made: the default of 700 costs a twentieth of a run."""


def entry() -> NoReturn:
    """The console script: run, flush, leave. A reader of stdout that went away ends the run quietly, as SIGPIPE would."""
    gc.set_threshold(COLLECT_EVERY)
    open_missing_streams()
    if isinstance(sys.stdout, TextIOWrapper):  # not when somebody replaced it
        sys.stdout.reconfigure(encoding="utf-8", errors="surrogateescape")  # bytes of scripts and guests, whatever the locale
    sys.stderr = open_messages()
    status = OK
    try:
        status = main(sys.argv[1:])
        sys.stdout.flush()
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        status = 128 + 13
    except OSError as error:
        if status != RUN_FAILED:  # else it was told
            say_lost(error)
        status = RUN_FAILED
    except KeyboardInterrupt:
        status = 128 + 2
    with suppress(OSError):  # whoever could still be told knows already
        sys.stdout.flush()
        sys.stderr.flush()
    os._exit(status)  # the machine's gigabytes of mappings need no tidying


def open_missing_streams() -> None:
    """Descriptors 0, 1 and 2 that the caller closed become /dev/null, lest a file that is opened later takes their place."""
    for descriptor, name in enumerate(("stdin", "stdout", "stderr")):
        if getattr(sys, name) is None:
            while os.open(os.devnull, os.O_RDWR) < descriptor:
                pass
            setattr(sys, name, open(descriptor, "w" if descriptor else "r", closefd=False))  # noqa: SIM115 - for the process's life


def main(arguments: Sequence[str]) -> int:
    """Run the command with these words and return the exit status."""
    try:
        options = command_line.parse(arguments)
    except UsageError as error:
        return usage_error(error)
    check_colour()
    try:
        return dispatch(options, bool(arguments))
    except UsageError as error:
        return usage_error(error)
    except (KeyboardInterrupt, BrokenPipeError):
        raise
    except Exception as fault:  # the last line of defence
        if isinstance(fault, OSError) and fault.filename is None and fault.errno in LOST:
            say_lost(fault)
            return RUN_FAILED
        if options.verbose > 1:
            raise
        from pyprobe.runtime.system.kernels.errors import KernelError

        if isinstance(fault, KernelError):  # whoever first asks a kernel for something learns that it lacks that
            say_error(str(fault) + (f"\nHINT: {fault.hint}" if fault.hint else ""))
            return RUN_FAILED
        say_fault(fault)
        return RUN_FAILED


def dispatch(options: Options, any_words: bool) -> int:
    if options.help and options.words:
        return help_on(options.words)
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
    if options.program is None and not options.words and options.script_words:
        options.words = [options.script_words.pop(0)]  # the script may come after the `--` too
    if options.list_probes:
        from pyprobe.listing import run as run_listing

        return run_listing(options)
    if not any_words:
        from pyprobe.repl import run as run_repl

        return run_repl(options)
    if options.program == "" or (options.program is None and not options.words):
        raise UsageError("filename or -e 'program' required.", show_usage=True)
    if options.program is None and options.words[0] in SUBCOMMANDS:
        status: int = import_module(SUBCOMMANDS[options.words[0]]).run(options.words[1:], options)
        return status
    check_accepted(options)
    if options.pid is not None:
        return refuse_pid(options.pid)
    name, text, parameters = read_program(options)
    if options.mode == "format":
        return format_program(name, text)
    if options.mode not in (None, "codegen", "test", "bench"):
        say_error(f"--mode {options.mode} is not part of this version")
        return FAILED
    from pyprobe.running import run_program

    return run_program(options, name, text, parameters)


def help_on(words: list[str]) -> int:
    """`--help TOPIC`: the reference of functions, builtin values, probe types, macros and settings; the usage of a subcommand."""
    from pyprobe.lang import topics

    for word in words:
        if word in SUBCOMMANDS:
            print(import_module(SUBCOMMANDS[word]).USAGE)
            continue
        text = topics.overview() if word == "topics" else topics.reference(word)
        if text is None:
            near = similar(word, [name for group in topics.names().values() for name in group])
            say_error(f"no help on '{word}'\nHINT: {f'similar: {near}' if near else '--help topics lists all names'}")
            return FAILED
        print(text, end="")
    return OK


def similar(word: str, names: list[str]) -> str:
    from difflib import get_close_matches

    return ", ".join(get_close_matches(word, names))


def check_accepted(options: Options) -> None:
    """Options that change nothing here are still wrong where bpftrace says so. Raises UsageError."""
    for text in options.dwarf_pid:
        process_id(text)
    if options.traceable_functions is not None:
        try:
            open(options.traceable_functions, "rb").close()
        except OSError as error:
            why = f"Could not read functions from {options.traceable_functions}. ({error.strerror})"
            raise UsageError(f"Failed to open kernel function info: {why}", prefix="ERROR: ") from None


def process_id(text: str) -> int:
    """The process id that an option names. Raises UsageError."""
    from pyprobe.lang.literals import LiteralError, probe_number

    try:
        number = probe_number(text) % (1 << 64)
    except LiteralError as error:
        raise UsageError(f"Failed to parse pid: {error.message}", prefix="ERROR: ") from None
    if number > MOST_PROCESSES:
        raise UsageError(f"Pid out of range: {number}", prefix="ERROR: ")
    return number


def refuse_pid(text: str) -> int:
    """`-p` names a process of this host, which the emulated machine does not hold."""
    number = process_id(text)
    why = f"process {number} runs on this host, and probes fire in an emulated machine"
    if not os.path.exists(f"/proc/{number}"):
        why = "Unable to open pidfd (No such process)"
    if number == 0:
        why = "Unable to open pidfd (Invalid argument)"
    say_error(
        f"Failed to attach to pid: {why}\nHINT: run the program inside with -c COMMAND; in the script, /pid == N/ selects one process"
    )
    return FAILED


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
