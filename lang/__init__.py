"""The language: from a script's text to a checked program. `check` judges a text without starting anything."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from pyprobe.lang.diagnostics import Diagnostic
    from pyprobe.lang.world import World


def check(
    text: str,
    *,
    stage: Literal["parse", "check"] = "check",
    world: World | None = None,
    unsafe: bool = False,
    name: str = "stdin",
    params: Sequence[str] = (),
) -> list[Diagnostic]:
    """The diagnostics of a script: errors first, then warnings; none when it is good. Nothing is started or changed.

    `stage` "parse" judges the syntax alone, "check" everything. `world` answers for the machine (its probes, types and symbols); without
    one every probe is taken to exist, once and without typed arguments, and no type or symbol of a kernel is known. `name` stands in
    messages, and imports are looked up next to the file of that name. `params` are the positional parameters. Every diagnostic has
    `severity` ("error" or "warning"), `message`, `span` (None, or a stretch with `start` and `end` as character offsets, `header` as line
    and columns) and `hints`. Raises ValueError for another `stage`.
    """
    if stage not in ("parse", "check"):
        raise ValueError(f"stage must be 'parse' or 'check', got {stage!r}")
    from pyprobe.lang.compiler import compile_program
    from pyprobe.lang.diagnostics import CompileError, Diagnostics
    from pyprobe.lang.parser import parse
    from pyprobe.lang.source import Source

    found = Diagnostics()
    source = Source(name, text)
    if stage == "parse":
        parse(source, found)
        return found.ordered()
    try:
        compile_program(source, world=world, params=params, unsafe=unsafe, diagnostics=found)
    except CompileError as error:
        return error.diagnostics.ordered()
    return found.ordered()
