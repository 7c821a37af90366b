"""The C section becomes types, enum constants and macros of the unit."""

from __future__ import annotations

from pyprobe.lang.csection import definitions
from pyprobe.lang.diagnostics import CompileError
from pyprobe.lang.nodes import Identifier, NamedType
from pyprobe.lang.passes.types import NAMED, SIZED, TypeTable
from pyprobe.lang.passes.unit import Unit
from pyprobe.lang.passes.walk import descend
from pyprobe.lang.typesys import Type

LANGUAGE_ONLY = {*NAMED, *SIZED} - {"void", "bool"}  # names of types that C code cannot use


def run(unit: Unit) -> None:
    """Fill `unit.types`. Raises CompileError with exit code 2 when the section does not compile."""
    if not unit.script.c_section.strip() and not unit.options.include_files and not unit.headers:
        return
    from pyprobe.lang import cdecl

    options = unit.options
    try:
        declared = cdecl.parse(
            definitions(unit.script.c_section),
            unit.world.arch,
            KernelNames(unit.types),
            include_paths=options.include_dirs,
            include_files=[*options.include_files, *unit.headers],
        )
    except cdecl.CError as e:
        for line in e.lines:
            unit.diagnostics.plain(line)
        if e.missing_types:
            unit.diagnostics.error(cdecl.MISSING)
        elif e.redefined:
            unit.diagnostics.plain(f"WARNING: {cdecl.REDEFINED}")
        unit.diagnostics.plain("Clang parse error")
        raise CompileError(unit.diagnostics, exit_code=2) from None
    unit.types.tags.update(declared.tags)
    unit.types.constants.update(declared.constants)
    unit.types.macros.update(declared.macros(sorted(_words(unit))))


class KernelNames:
    """What is known without the C section: the machine's types, and names that C has not but its kernel's headers would."""

    def __init__(self, types: TypeTable) -> None:
        self._types = types

    def type_named(self, name: str) -> Type | None:
        return None if name in LANGUAGE_ONLY else self._types.named(name)

    def enum_constant(self, name: str) -> int | None:
        found = self._types.constant(name)
        return found[0] if found is not None else None


def _words(unit: Unit) -> set[str]:
    """The bare words of the program, the only ones that may be macros. Operands of sizeof and its like count, types or not."""
    roots = [*unit.blocks(), *unit.script.items]
    return {node.name for root in roots for node in descend(root) if isinstance(node, (Identifier, NamedType))}
