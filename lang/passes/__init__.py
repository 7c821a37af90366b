"""The passes that turn a script into a Program, in order.

A pass is one function `run(unit)` in a file of its own. It reads and changes the unit and records what it finds in `unit.diagnostics`;
if any error was recorded, the pipeline stops before the next pass, so that a pass may rely on everything the ones before it check.
The order decides which error a bad program reports first, and is bpftrace's.
"""

from __future__ import annotations

from collections.abc import Callable

from pyprobe.lang.passes.unit import Unit

Pass = tuple[str, Callable[[Unit], None]]

PASSES: tuple[Pass, ...] = ()
