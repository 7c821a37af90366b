"""The C section becomes types, enum constants and macros of the unit."""

from __future__ import annotations

from pyprobe.lang.csection import terminated
from pyprobe.lang.diagnostics import CompileError
from pyprobe.lang.nodes import Identifier
from pyprobe.lang.passes.unit import Unit
from pyprobe.lang.passes.walk import descend


def run(unit: Unit) -> None:
    """Fill `unit.types`. Raises CompileError with exit code 2 when the section does not compile."""
    if not unit.script.c_section.strip() and not unit.options.include_files and not unit.headers:
        return
    from pyprobe.lang import cdecl

    options = unit.options
    try:
        declared = cdecl.parse(
            terminated(unit.script.c_section),
            unit.world.arch,
            unit.types.named,
            include_paths=options.include_dirs,
            include_files=[*options.include_files, *unit.headers],
        )
    except cdecl.CError as e:
        for line in e.lines:
            unit.diagnostics.plain(line)
        if e.missing_types:
            unit.diagnostics.error(cdecl.MISSING)
        unit.diagnostics.plain("Clang parse error")
        raise CompileError(unit.diagnostics, exit_code=2) from None
    unit.types.tags.update(declared.tags)
    unit.types.constants.update(declared.constants)
    unit.types.macros.update(declared.macros(sorted(_words(unit))))


def _words(unit: Unit) -> set[str]:
    """The bare words of the program, the only ones that may be macros."""
    roots = [*unit.blocks(), *unit.script.items]
    return {node.name for root in roots for node in descend(root) if isinstance(node, Identifier)}
