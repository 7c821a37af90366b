"""The number of rounds of `unroll` is a constant; the copies are made when the tree is typed."""

from __future__ import annotations

from pyprobe.lang.nodes import Integer, Unroll
from pyprobe.lang.passes.unit import Unit
from pyprobe.lang.passes.walk import descend

MOST = 100


def run(unit: Unit) -> None:
    for block in unit.blocks():
        for node in descend(block):
            if not isinstance(node, Unroll):
                continue
            if not isinstance(node.count, Integer) or node.count.value < 0:
                unit.diagnostics.error("invalid unroll value", node.span)
            elif node.count.value < 1:
                unit.diagnostics.error("unroll minimum value is 1", node.span)
            elif node.count.value > MOST:
                unit.diagnostics.error(f"unroll maximum value is {MOST}", node.span)
