"""Which builtin values a probe has. Functions are the business of the check of calls.

The check has two places in the order of passes, as bpftrace's has: `argN` and `retval` before attach points are looked up on the
machine, so that the same script fails alike everywhere, the rest when constants are folded.
"""

from __future__ import annotations

from pyprobe.lang.attachpoint import AttachPoint
from pyprobe.lang.builtins import ARGUMENT_REGISTERS, BUILTINS
from pyprobe.lang.nodes import Block, Builtin, ForMap, ForRange, Function, Node, Probe
from pyprobe.lang.passes.unit import Unit
from pyprobe.lang.passes.walk import children, descend
from pyprobe.lang.signatures import PROBE_TYPES

EARLY = frozenset(("arg", "retval"))
ANY_NUMBER_OF_ARGUMENTS = frozenset(("usdt", "rawtracepoint"))
NEEDS_PROBE = frozenset(("probe", "probetype"))
INTERNAL_NAME = {"retval": "__builtin_retval"}


def before_expansion(unit: Unit) -> None:
    """`argN` and `retval`, by the providers as written."""
    for item in unit.script.items:
        if isinstance(item, Probe):
            for node in descend(item):
                if isinstance(node, Builtin) and node.name in EARLY:
                    _require(unit, node, item.points)
        elif isinstance(item, Function):
            for node in descend(item):
                if isinstance(node, Builtin) and node.name in ("arg", "ctx"):
                    unit.diagnostics.error(f"Builtin {_shown(node)} not supported outside probe", node.span)


def run(unit: Unit) -> None:
    """The other builtins, the number of arguments there are, and what the body of a `for` loop cannot reach."""
    for body in unit.bodies:
        _check(unit, body.block, body.point, in_loop=False)
    for item in unit.script.items:
        if isinstance(item, Function):
            for node in descend(item):
                if isinstance(node, Builtin) and node.name == "func":
                    unit.diagnostics.error("Builtin __builtin_func not supported outside probe", node.span)
                elif isinstance(node, Builtin) and node.name in NEEDS_PROBE:
                    unit.diagnostics.error(f"__builtin_{node.name} can only be used inside of a probe.", node.span)


def _check(unit: Unit, node: Node, point: AttachPoint, in_loop: bool) -> None:
    if isinstance(node, Builtin):
        _builtin(unit, node, point, in_loop)
    for child in children(node):
        inside = isinstance(node, (ForRange, ForMap)) and isinstance(child, Block) and child is node.body
        _check(unit, child, point, in_loop or inside)


def _builtin(unit: Unit, node: Builtin, point: AttachPoint, in_loop: bool) -> None:
    if node.name == "args" and in_loop:
        return  # reported with the types, after what is made of it
    if not _require(unit, node, [point]):
        return
    if node.name == "arg" and point.provider not in ANY_NUMBER_OF_ARGUMENTS and node.args[0] >= ARGUMENT_REGISTERS[unit.world.arch]:
        unit.diagnostics.error(f"{unit.world.arch} doesn't support {_shown(node)}", node.span)
    elif in_loop and node.name in EARLY and BUILTINS[node.name].contextual:  # the others need types, and are reported with them
        name = INTERNAL_NAME.get(node.name, _shown(node))
        unit.diagnostics.error(f"'{name}' builtin is not allowed in a for-loop", node.span)


def _require(unit: Unit, node: Builtin, points: list[AttachPoint]) -> bool:
    """Record an error unless the builtin is available at all the points."""
    for point in points:
        if text := refusal(node, point):
            unit.diagnostics.error(text, node.span)
            return False
    return True


def refusal(node: Builtin, point: AttachPoint) -> str:
    """Why a probe of this kind does not have a builtin, or an empty string."""
    known = BUILTINS[node.name]
    if known.providers is None or point.provider in known.providers:
        return ""
    if point.provider == "tracepoint" and node.name == "ctx":
        return "Use args instead of ctx in tracepoint"
    shown = PROBE_TYPES.get(point.provider, point.provider) if node.name == "args" else point.provider
    text = known.refusal.format(name=_shown(node), probe=shown)
    return f"{text} (try to use args.ret instead)" if point.provider == "tracepoint" and node.name == "retval" else text


def _shown(node: Builtin) -> str:
    return f"arg{node.args[0]}" if node.name == "arg" else node.name
