"""From a program text to a finished run: compile against the machine's world, show diagnostics, run a session."""

from __future__ import annotations

import os
import re
import sys
from typing import TYPE_CHECKING

from pyprobe.messages import colours, say_error, show
from pyprobe.options import FOREIGN_STAGES, Options, UsageError
from pyprobe.runtime.settings import FAILED, OK, RUN_FAILED, RunError, Settings

if TYPE_CHECKING:
    from pyprobe.lang.attachpoint import AttachPoint
    from pyprobe.lang.program import Program
    from pyprobe.runtime.limits import MachineOptions
    from pyprobe.runtime.probes.world import MachineWorld


_PART = re.compile(r"""'([^']*)'|"((?:[^"\\]|\\.)*)"|\\(.)|([^\s'"\\]+)""", re.DOTALL)  # of a word
_ESCAPED = re.compile(r"""\\(?:([$`"\\])|\n)""")  # between double quotes; a backslash before anything else is itself


def split_command(text: str) -> list[bytes]:
    """The words of `-c`, by the quoting rules of a shell (POSIX.1-2017, Shell Command Language, 2.2); nothing else is special.

    Raises UsageError when quotes do not match or there is no word.
    """
    words: list[str] = []
    at, between = 0, True
    while at < len(text):
        if text[at].isspace():
            at, between = at + 1, True
            continue
        found = _PART.match(text, at)
        if found is None:
            why = "No escaped character" if text[at] == "\\" else "No closing quotation"
            raise UsageError(f"-c: {why}: {text}", prefix="ERROR: ")
        single, double, escaped, plain = found.groups()
        piece = _ESCAPED.sub(r"\1", double) if double is not None else single or (escaped or "").strip("\n") or plain or ""
        if between:
            words.append("")
        words[-1] += piece
        at, between = found.end(), False
    if not words:
        raise UsageError("-c: no command", prefix="ERROR: ")
    return [os.fsencode(w) for w in words]


def settings_of(options: Options) -> Settings:
    """What the command line says about a run."""

    if options.kernel is None and options.root is not None and not os.path.isdir(options.root):
        raise UsageError(f"--root {options.root}: no such directory", prefix="ERROR: ")
    environ = {os.fsencode(k): os.fsencode(v) for k, v in os.environ.items()} if options.cmd is not None else {}
    for setting in options.env:
        name, _, value = setting.partition("=")
        environ[os.fsencode(name)] = os.fsencode(value)
    return Settings(
        command=split_command(options.cmd) if options.cmd is not None else None,
        environ=environ,
        cwd=os.fsencode(os.getcwd()) if options.root is None else b"/",
        machine=machine_options(options),
        kernel=options.kernel,
        boot=options.boot,
        append=" ".join(options.append),
        memory=int(options.memory) if options.memory is not None else None,
        root=options.root,
        faithful=options.faithful,
        real_clock=options.clock == "real",
        epoch_ns=int(options.clock) * 10**9 if options.clock not in (None, "real") else None,
        seed=int(options.seed),
        attach=options.attach,
        unsafe=options.unsafe,
        verbose=options.verbose,
        quiet=options.quiet,
        warn_reads=bool(options.warnings),
        warnings=not options.no_warnings,
        stats=options.stats,
        dry_run=options.dry_run,
        format=options.format,
        buffering=options.buffering,
        output=options.output,
        probe_filter=options.probe_filter,
        colour=colours(),
        native=False if os.environ.get("PYPROBE_NATIVE") == "0" else None,
        mode=options.mode,
        show_source=not {"python", "all"}.isdisjoint(options.debug),
    )


def machine_options(options: Options) -> MachineOptions:
    """What the command line says about the machine itself. Raises UsageError."""
    from pyprobe.runtime.limits import LimitError, Limits, MachineOptions

    uid, _, gid = ("0" if options.uid is None else options.uid).partition(":")
    if not uid.isdecimal() or not (gid or "0").isdecimal() or int(uid) > 0xFFFFFFFE or int(gid or 0) > 0xFFFFFFFE:
        raise UsageError(f"--uid must be UID or UID:GID, got {options.uid}")
    try:
        limits = Limits.parse(options.limit)
    except LimitError as error:
        raise UsageError(f"--limit {error}") from None
    if len(options.view) > 1 and not {"none", "ro"}.isdisjoint(options.view):
        raise UsageError("--view is one of none and ro, or paths")
    if options.keep is not None:
        check_keep(options.keep)
    for path in set(options.view) - {"none", "ro"}:
        if options.root is None and not os.path.lexists(path):
            raise UsageError(f"--view {path}: no such file or directory", prefix="ERROR: ")
    view = None if options.view in ([], ["ro"]) else [os.fsencode(path) for path in options.view if path != "none"]
    return MachineOptions(
        root=os.fsencode(options.root) if options.root is not None else b"/",
        view=view,
        uid=int(uid),
        gid=int(gid or uid),
        keep=options.keep,
        diff=options.diff,
        limits=limits,
    )


def check_keep(folder: str) -> None:
    """Raises UsageError when the end of a run could not make this directory and fill it."""
    if os.path.lexists(folder) and (not os.path.isdir(folder) or os.listdir(folder)):
        raise UsageError(f"--keep {folder}: exists and is no empty directory", prefix="ERROR: ")
    place = os.path.abspath(folder)
    while not os.path.lexists(place):
        place = os.path.dirname(place)
    if not os.access(place, os.W_OK | os.X_OK) or not os.path.isdir(place):
        raise UsageError(f"--keep {folder}: cannot be made in {place}", prefix="ERROR: ")


def make_world(settings: Settings) -> MachineWorld:
    """The world that a script is compiled against: what the machine of these settings will have. Raises UsageError."""
    from pyprobe.runtime.probes.world import MachineWorld

    if settings.kernel is not None:
        from pyprobe.runtime.system.run import make_description

        try:
            description = make_description(settings)
        except RunError as error:
            raise UsageError(str(error), prefix="ERROR: ") from None
        return MachineWorld(environ=settings.environ, cwd=settings.cwd, machine=description)
    root = os.fsdecode(settings.machine.root)
    return MachineWorld(command=settings.command, environ=settings.environ, cwd=settings.cwd, root="" if root == "/" else root)


def check_command(name: bytes, world: MachineWorld) -> None:
    """Raises UsageError when there is no such program to start."""
    targets = world.machine.targets
    path = targets.host_path(targets.command) if targets.command else ""
    if not path or not os.access(path, os.X_OK) or os.path.isdir(path):
        shown = name.decode("utf-8", "backslashreplace")
        why = "Permission denied" if path else "No such file or directory"
        raise UsageError(f"Failed to fork child: Path '{shown}' does not exist or is not executable ({why})", prefix="ERROR: ")


def compile_text(
    options: Options, world: MachineWorld, name: str, text: str, parameters: list[str], told: set[tuple[str, str]] | None = None
) -> tuple[Program | None, int]:
    """Compile and show every diagnostic on stderr, but for warnings that were `told`; (program, 0) or (None, exit status)."""
    from pyprobe.lang.compiler import compile_program
    from pyprobe.lang.diagnostics import CompileError, Diagnostics
    from pyprobe.lang.source import Source

    diagnostics = Diagnostics()
    named = [w for w in options.script_words if w.startswith("--")]
    positional = parameters + [w for w in options.script_words if not w.startswith("--")]
    try:
        program = compile_program(
            Source(name, text),
            world=world,
            params=positional,
            named=named,
            unsafe=options.unsafe,
            environ=dict(os.environ),
            include_dirs=options.include_dirs,
            include_files=options.include_files,
            dump=set(options.debug) - set(FOREIGN_STAGES),
            diagnostics=diagnostics,
        )
    except CompileError as error:
        show(error.diagnostics, warnings=not options.no_warnings, told=told)
        return None, error.exit_code
    show(diagnostics, warnings=not options.no_warnings, told=told)
    return program, OK


def points_of(options: Options, world: MachineWorld, name: str, text: str, parameters: list[str]) -> tuple[list[AttachPoint], int]:
    """The attach points of a script, expanded, and 0; or none and the exit status, with every diagnostic on stderr."""
    from pyprobe.lang.compiler import prepare, run_passes
    from pyprobe.lang.diagnostics import CompileError
    from pyprobe.lang.passes.unit import Options as Given
    from pyprobe.lang.source import Source

    given = Given(params=parameters, unsafe=options.unsafe, environ=dict(os.environ), include_dirs=options.include_dirs)
    try:
        unit = prepare(Source(name, text), world, given)
        run_passes(unit, "expand")
    except CompileError as error:
        show(error.diagnostics, warnings=not options.no_warnings)
        return [], error.exit_code
    show(unit.diagnostics, warnings=not options.no_warnings)
    return [point for body in unit.bodies for point in body.points], OK


def run_program(options: Options, name: str, text: str, parameters: list[str], told: set[tuple[str, str]] | None = None) -> int:
    """Compile and run; the exit status of the command. `told`: as for compile_text()."""
    settings = settings_of(options)
    world = make_world(settings)
    if settings.command is not None and settings.kernel is None:  # a guest's kernel finds its programs itself
        check_command(settings.command[0], world)
    program, status = compile_text(options, world, name, text, parameters, told)
    if program is None:
        return status
    if options.mode == "codegen":
        return OK  # all that stands before a run has been done
    if not program.probes:
        print("No probes to attach")
        return FAILED
    return run_compiled(settings, world, program)


def run_compiled(settings: Settings, world: MachineWorld, program: Program) -> int:
    """Run a checked program; failures of the run are told with their place in the script where they have one."""
    from pyprobe.lang.diagnostics import Diagnostics
    from pyprobe.runtime.handlers import HandlerFault, HandlerRefused
    from pyprobe.runtime.output.base import OutputError
    from pyprobe.runtime.session import Session

    found = Diagnostics()
    try:
        return Session(settings, world).run(program)
    except RunError as error:
        sys.stdout.flush()
        say_error(str(error))
        return error.status
    except OutputError as error:
        say_error(str(error))
        return RUN_FAILED
    except HandlerRefused as error:
        found.error(error.message, error.span)
        status = FAILED
    except HandlerFault as error:
        if settings.verbose > 1:
            raise
        original = f"{type(error.original).__name__}: {error.original}"
        found.error(f"pyprobe itself failed here: {original}", error.span).hint("please report this; -vv shows where it happened")
        status = RUN_FAILED
    sys.stdout.flush()
    show(found)
    return status
