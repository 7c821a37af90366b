"""Attach points become the places that the machine has for them, and each clause the bodies to compile.

Points of one clause share one body unless its meaning differs between them, so that a wildcard with a thousand matches is compiled
once: the key of a body says all that its meaning can depend on.
"""

from __future__ import annotations

from collections.abc import Hashable

from pyprobe.lang.attachpoint import AttachPoint, PointError
from pyprobe.lang.builtins import BUILTINS
from pyprobe.lang.nodes import Block, Builtin, Call, ExprStatement, If, Probe
from pyprobe.lang.passes.unit import Body, Unit
from pyprobe.lang.passes.walk import copy, descend
from pyprobe.lang.source import Span

MISS_IS_NAMED = frozenset(("kprobe", "kretprobe", "fentry", "fexit", "uprobe", "uretprobe", "tracepoint"))
"""Providers for which a name without a match is reported as such; for the others the clause is left without points."""

NO_POINTS = "Probe has no valid attach points. If this is expected, set the 'missing_probes' config variable to 'warn'."
REMOVED = "Probe has no valid attach points. It is being removed which may cause issues with program behavior."
TYPED = BUILTINS["args"].providers or frozenset()  # providers that have `args`
PER_TARGET = frozenset(("uaddr",))  # functions whose result type depends on the target program


def run(unit: Unit) -> None:
    expanded = 0  # places that wildcards stand for
    for index, item in enumerate(item for item in unit.script.items if isinstance(item, Probe)):
        points, expanded = _points(unit, item, expanded)
        if points:
            try:
                unit.bodies += _bodies(unit, item, points, index)
            except PointError as e:
                unit.diagnostics.error(e.message, item.points[0].span).hints += e.hints


def has_wildcard(point: AttachPoint) -> bool:
    return any(c in part for part in (point.provider, point.target, point.namespace, point.function) for c in "*[]")


def _points(unit: Unit, probe: Probe, expanded: int) -> tuple[list[AttachPoint], int]:
    """All the places of one clause, in the order written, and `expanded`, the number of those that wildcards stand for so far, with
    them; what is missing is reported as `missing_probes` says."""
    found: list[AttachPoint] = []
    failed = False
    for point in probe.points:
        try:
            matches = list(unit.world.matches(point))
        except PointError as e:
            failed = True
            unit.diagnostics.error(e.message, point.span).hints += e.hints
            continue
        found += matches
        if has_wildcard(point):
            before, expanded = expanded, expanded + len(matches)
            if before <= unit.config.max_bpf_progs < expanded:
                _too_many(unit, expanded, point)
        if not matches and not has_wildcard(point) and point.provider in MISS_IS_NAMED:
            failed = True
            _missing(unit, f"No matches for {point.provider} {_place(point)}.", point)
        for match in matches:
            if match.written and match.written != match.function:
                unit.diagnostics.warning(f"'{match.written}' is called '{match.function}' in this kernel; probing that", point.span)
    if found:
        return found, expanded
    missing = unit.config.missing_probes
    if missing == "warn":
        unit.diagnostics.warning(REMOVED, probe.points[0].span)
    elif missing == "error" and not failed:
        unit.diagnostics.error(NO_POINTS, probe.points[0].span)
    return found, expanded


def _missing(unit: Unit, message: str, point: AttachPoint) -> None:
    if unit.config.missing_probes == "error":
        unit.diagnostics.error(message, point.span)
    elif unit.config.missing_probes == "warn":
        unit.diagnostics.warning(f"{message} Skipping.", point.span)


def _place(point: AttachPoint) -> str:
    """The point without its provider, as messages name it."""
    _, _, place = point.place.partition(":")
    return place


def _bodies(unit: Unit, probe: Probe, points: list[AttachPoint], index: int) -> list[Body]:
    used = {node.name for node in descend(probe) if isinstance(node, (Builtin, Call))}
    groups: dict[Hashable, list[AttachPoint]] = {}
    for point in points:
        groups.setdefault(_meaning(unit, point, used), []).append(point)
    block = _with_predicate(probe)
    span = probe.points[0].span
    return [Body(members, copy(block) if number else block, index, span) for number, members in enumerate(groups.values())]


def _meaning(unit: Unit, point: AttachPoint, used: set[str]) -> Hashable:
    """What the types and the meaning of a body that uses these builtins and functions can depend on."""
    return (
        point.provider,
        unit.world.args(point) if "args" in used and point.provider in TYPED else None,
        unit.world.retval(point) if "retval" in used and point.provider == "fexit" else None,
        point.target if used & PER_TARGET else None,
    )


def _with_predicate(probe: Probe) -> Block:
    if probe.predicate is None:
        return probe.body
    test = If(condition=probe.predicate, then=probe.body, span=_with_slashes(probe.predicate.span))
    return Block(statements=[ExprStatement(expr=test, span=probe.body.span)], span=probe.body.span)


def _with_slashes(span: Span) -> Span:
    """The predicate as messages mark it."""
    text = span.source.text
    return Span(span.source, max(0, text.rfind("/", 0, span.start)), text.find("/", span.end) + 1 or span.end, span.outer)


def _too_many(unit: Unit, total: int, point: AttachPoint) -> None:
    limit = unit.config.max_bpf_progs
    unit.diagnostics.error(
        f"Your program is trying to generate more than {total} BPF programs, which exceeds the current limit of {limit}", point.span
    ).hint("You can increase the limit through the BPFTRACE_MAX_BPF_PROGS environment variable.")
