"""From text to a checked Program: the parser and then every pass."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from functools import partial

from pyprobe.lang.deep import with_room
from pyprobe.lang.diagnostics import CompileError, Diagnostics
from pyprobe.lang.parser import parse
from pyprobe.lang.passes import PASSES
from pyprobe.lang.passes.unit import Options, Unit
from pyprobe.lang.program import Program
from pyprobe.lang.source import Source
from pyprobe.lang.world import NoWorld, World


def compile_program(
    source: Source,
    *,
    world: World | None = None,
    params: Sequence[str] = (),
    named: Sequence[str] = (),
    unsafe: bool = False,
    include_dirs: Sequence[str] = (),
    include_files: Sequence[str] = (),
    environ: Mapping[str, str] | None = None,
    diagnostics: Diagnostics | None = None,
    dump: Collection[str] = (),
    show: Callable[[str], None] = print,
) -> Program:
    """Compile a script for the machine that `world` describes.

    `params` are the positional parameters (`$1`), `named` the words of the command line that getopt() reads (`--top=5`), `environ` may
    hold `BPFTRACE_` settings (nothing is read from this process's environment). Warnings of a successful compilation are in
    `diagnostics`, if one is given. `dump` names stages (`lang.dump.STAGES`) whose text is given to `show`. Raises CompileError, with
    all findings and the exit code, when the script has an error.
    """
    unit = prepare(
        source,
        world or NoWorld(),
        Options(params=params, named=named, unsafe=unsafe, include_dirs=include_dirs, include_files=include_files, environ=environ),
        diagnostics,
    )
    run_passes(unit, dump=dump, show=show)
    assert unit.program is not None, "the last pass makes the program"
    return unit.program


def prepare(source: Source, world: World, options: Options, diagnostics: Diagnostics | None = None) -> Unit:
    """Parse a script into a unit that no pass has seen yet. Raises CompileError for a syntax error."""
    diagnostics = diagnostics if diagnostics is not None else Diagnostics()
    script = parse(source, diagnostics)
    if script is None or diagnostics.failed:
        raise CompileError(diagnostics)
    return Unit(script, source, world, options, diagnostics)


def run_passes(unit: Unit, until: str = "", *, dump: Collection[str] = (), show: Callable[[str], None] = print) -> None:
    """Run the passes in order, up to and including the one called `until` (all of them if empty).

    Raises CompileError after the first pass that recorded an error.
    """
    _dump(unit, "", dump, show)
    for name, run in PASSES:
        try:
            with_room(unit.script.levels, partial(run, unit))
        except RecursionError:
            unit.diagnostics.error("program is nested too deeply")
        if unit.diagnostics.failed:
            raise CompileError(unit.diagnostics)
        _dump(unit, name, dump, show)
        if name == until:
            break


def _dump(unit: Unit, name: str, dump: Collection[str], show: Callable[[str], None]) -> None:
    if not dump:
        return
    from pyprobe.lang.dump import stage_after, unit_text

    stage = stage_after(name)
    if stage and (stage in dump or "all" in dump):
        text = with_room(unit.script.levels, lambda: unit_text(unit, stage))
        show(f"\n{stage}\n{'-' * len(stage)}\n{text}\n")
