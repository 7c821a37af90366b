"""`--stats`: how often each probe fired and what the machine did, as tables."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pyprobe.runtime.machines import Machine
    from pyprobe.runtime.probes.base import Attached


def table(hits: list[list[Any]], machine: Machine, attached: dict[str, Attached]) -> str:
    """Probes by hits, most first (equal ones in source order), then figures of the machine; ends in a newline."""
    from tabulate import tabulate

    rows = []
    for name, count in sorted(hits, key=lambda row: -row[1]):
        how = attached.get(name)
        rows.append([name, count, *((how.misses(), how.how, how.instruction()) if how else ("", "", ""))])
    headers = ["probe", "hits", "misses", "attached", "instruction"]
    probes = tabulate(rows, headers=headers, disable_numparse=True, colalign=("left", "right", "right")) if rows else "no probes"
    figures = tabulate(machine.figures(), tablefmt="plain", disable_numparse=True, colalign=("left", "right"))
    return f"{probes}\n\n{figures}\n"
