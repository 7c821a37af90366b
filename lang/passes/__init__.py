"""The passes that turn a script into a Program, in order.

A pass is one function `run(unit)` in a file of its own. It reads and changes the unit and records what it finds in `unit.diagnostics`;
if any error was recorded, the pipeline stops before the next pass, so that a pass may rely on everything the ones before it check.
The order decides which error a bad program reports first, and is bpftrace's.

What the tree holds on the way: Identifier nodes that name builtin values are Builtin from `builtins` on; clauses are `unit.bodies`
from `expand` on; Positional and PositionalCount are gone after `fold`; enum constants and C macros after `identifiers`. Identifiers
that are still there then are words given to a builtin, or unknown.
"""

from __future__ import annotations

from collections.abc import Callable

from pyprobe.lang.passes import (
    attachpoints,
    availability,
    builtins,
    calls,
    check,
    config,
    control_flow,
    csection,
    expand,
    fold,
    getopt,
    identifiers,
    imports,
    infer,
    lower,
    macros,
    mapdecls,
    placement,
    scope,
    spaces,
    typenames,
    unroll,
    unstable,
)
from pyprobe.lang.passes.unit import Unit

Pass = tuple[str, Callable[[Unit], None]]

PASSES: tuple[Pass, ...] = (
    ("config", config.run),
    ("imports", imports.run),
    ("unstable", unstable.run),
    ("attachpoints", attachpoints.run),
    ("control_flow", control_flow.run),
    ("library", calls.library),
    ("macros", macros.run),
    ("library_in_macros", calls.library),
    ("builtins", builtins.run),
    ("arguments", availability.before_expansion),
    ("expand", expand.run),
    ("csection", csection.run),
    ("fold", fold.run),
    ("availability", availability.run),
    ("identifiers", identifiers.run),
    ("fold_macros", fold.run),  # what C macros brought
    ("placement", placement.run),
    ("getopt", getopt.run),
    ("scope", scope.run),
    ("unroll", unroll.run),
    ("calls", calls.run),
    ("typenames", typenames.run),
    ("infer", infer.run),
    ("mapdecls", mapdecls.run),
    ("check", check.run),
    ("spaces", spaces.run),
    ("lower", lower.run),
    ("parameters", getopt.validate),
)
