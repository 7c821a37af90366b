"""Imports of other scripts, headers and directories merge into the script here, before anything is checked.

Files are not read yet: an import is an error at its place.
"""

from __future__ import annotations

from pyprobe.lang.passes.unit import Unit


def run(unit: Unit) -> None:
    for item in unit.script.imports:
        unit.diagnostics.error("Imports are not supported yet", item.span)
