"""The syntax tree as text, one node a line, for `-d`."""

from __future__ import annotations

from pyprobe.lang.nodes import Expr, Node
from pyprobe.lang.passes.unit import Unit
from pyprobe.lang.passes.walk import children, slots
from pyprobe.lang.typesys import NONE

STAGES = ("ast", "types", "program")


def stage_after(name: str) -> str:
    """The stage of `-d` that is complete after the pass called `name` (the empty name stands for the parser)."""
    return {"": "ast", "infer": "types", "lower": "program"}.get(name, "")


def unit_text(unit: Unit, stage: str) -> str:
    """What `-d STAGE` shows."""
    if stage == "ast":
        return "\n".join(tree(item) for item in unit.script.items)
    parts = []
    for body in unit.bodies:
        parts.append("\n".join(point.name for point in body.points))
        parts.append(tree(body.block, 1))
    if stage == "program":
        for info in unit.maps.values():
            key = "" if info.key is None else f"[{info.key}]"
            parts.append(f"{info.name}{key}: {info.value} = {info.kind}({info.capacity})")
    return "\n".join(parts)


DEEPEST = 60  # levels that are shown by indentation alone; those below have their number in front


def tree(node: Node, depth: int = 0) -> str:
    """A node and everything below it; types are shown once they are known."""
    lines = []
    waiting = [(node, depth)]
    while waiting:
        node, depth = waiting.pop()
        lines.append(_line(node, depth))
        waiting += [(child, depth + 1) for child in reversed(list(children(node)))]
    return "\n".join(lines)


def _line(node: Node, depth: int) -> str:
    below = slots(type(node))
    values = [f"{name}={getattr(node, name, None)!r}" for name in node.fields if name not in below and name not in ("type", "op_span")]
    values = [value for value in values if "Span(" not in value]
    kind = f" : {node.type}" if isinstance(node, Expr) and node.type != NONE else ""
    indent = "  " * depth if depth <= DEEPEST else f"{'  ' * DEEPEST}{depth}: "
    return f"{indent}{type(node).__name__}({', '.join(values)}){kind}"
