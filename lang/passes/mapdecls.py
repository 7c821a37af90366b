"""Map declarations: `let @m = kind(n);` names a kind of map that exists."""

from __future__ import annotations

from pyprobe.lang.nodes import MapDeclaration
from pyprobe.lang.passes.unit import Unit

KINDS = ("percpulruhash", "percpuhash", "lruhash", "hash")


def run(unit: Unit) -> None:
    for item in unit.script.items:
        if isinstance(item, MapDeclaration) and item.kind not in KINDS:
            unit.diagnostics.error(f"Invalid bpf map type: {item.kind}", item.span).hint(f"Valid map types: {', '.join(KINDS)}")
