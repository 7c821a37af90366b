"""Macros of the script expand here, hygienically, before attach points are looked up.

Expansion is not built yet: a call of a macro is an error at the call, an unused macro does no harm.
"""

from __future__ import annotations

from pyprobe.lang.nodes import Call, Identifier, Macro
from pyprobe.lang.passes.unit import Unit
from pyprobe.lang.passes.walk import descend


def run(unit: Unit) -> None:
    macros = {item.name for item in unit.script.items if isinstance(item, Macro)}
    if not macros:
        return
    for item in unit.script.items:
        if isinstance(item, Macro):
            continue
        for node in descend(item):
            if isinstance(node, (Call, Identifier)) and node.name in macros:
                unit.diagnostics.error(f"Macros are not supported yet: {node.name}", node.span)
