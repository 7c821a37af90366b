"""`--stats`: how often each probe fired and what the machine did, as tables."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pyprobe.runtime.machines import Machine


def table(hits: list[list[Any]], machine: Machine) -> str:
    """Probes by hits, most first (equal ones in source order), then figures of the machine; ends in a newline."""
    from tabulate import tabulate

    rows = sorted(hits, key=lambda row: -row[1])
    probes = tabulate(rows, headers=["probe", "hits"], disable_numparse=True, colalign=("left", "right")) if rows else "no probes"
    figures = tabulate(machine.figures(), tablefmt="plain", disable_numparse=True, colalign=("left", "right"))
    return f"{probes}\n\n{figures}\n"
