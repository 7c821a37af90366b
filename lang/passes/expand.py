"""Attach points become the places that the machine has for them, and each clause the bodies to compile.

Points of one clause share one body unless its meaning differs between them, so that a wildcard with a thousand matches is compiled
once: the key of a body says all that its meaning can depend on.
"""

from __future__ import annotations

from collections.abc import Hashable

from pyprobe.lang import providers
from pyprobe.lang.attachpoint import AttachPoint, NoMatch, PointError, has_wildcard
from pyprobe.lang.builtins import BUILTINS
from pyprobe.lang.nodes import Block, Builtin, Call, ExprStatement, If, Probe
from pyprobe.lang.passes.attachpoints import PERF, REMOVED, whole
from pyprobe.lang.passes.unit import Body, Unit
from pyprobe.lang.passes.walk import copy, descend
from pyprobe.lang.source import Span

NO_POINTS = "Probe has no valid attach points. If this is expected, set the 'missing_probes' config variable to 'warn'."
NOT_TRACEABLE = '{} is not traceable (either non-existing, inlined, or marked as "notrace"); attaching to it will likely fail'
ONE_FOR_ALL = frozenset(("uprobe", "uretprobe"))  # providers that attach one program to all places of a pattern
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


def _points(unit: Unit, probe: Probe, expanded: int) -> tuple[list[AttachPoint], int]:
    """All the places of one clause, in the order written, and `expanded`, the number of those that wildcards stand for so far, with
    them; what is missing is reported as `missing_probes` says."""
    found: list[AttachPoint] = []
    failed = False
    silent: list[NoMatch] = []
    shows_name = any(isinstance(node, Builtin) and node.name == "probe" for node in descend(probe))
    for point in probe.points:
        try:
            places = _places(unit, point)
        except PointError as e:
            failed = True
            unit.diagnostics.error(e.message, point.span).hints += e.hints
            continue
        if not isinstance(places, NoMatch):
            found += places
            for match in places:
                if match.written and match.written != match.function:
                    unit.diagnostics.warning(f"'{match.written}' is called '{match.function}' in this kernel; probing that", point.span)
            if _is_pattern(point) and (shows_name or point.provider not in ONE_FOR_ALL):
                before, expanded = expanded, expanded + len(places)
                if before <= unit.config.max_bpf_progs < expanded:
                    _too_many(unit, expanded, point)
            continue
        if unit.options.unsafe and point.provider in ("kprobe", "kretprobe") and not _is_pattern(point):
            found.append(point)
        elif shows_name or _is_pattern(point):
            silent.append(places)
        else:
            failed = True
            _missing(unit, places, point)
        if point.provider in ("kprobe", "kretprobe") and unit.config.missing_probes != "ignore" and not _is_elsewhere(unit, point):
            unit.diagnostics.warning(NOT_TRACEABLE.format(point.function), point.span)
    if found:
        return found, expanded
    missing = unit.config.missing_probes
    if missing == "warn":
        unit.diagnostics.warning(REMOVED, whole(probe.points))
    elif missing == "error" and not failed:
        hints = [hint for miss in silent if shows_name for hint in (miss.message, *miss.hints)]
        unit.diagnostics.error(NO_POINTS, whole(probe.points)).hints += hints
    return found, expanded


def _places(unit: Unit, point: AttachPoint) -> list[AttachPoint] | NoMatch:
    """What a point stands for. Raises PointError."""
    if point.expanded and point.provider in PERF and providers.check(point):
        return NoMatch(point.copy(target=point.function, function=""))
    known = unit.places.get(point)
    if known is not None:
        return known or NoMatch(point)
    try:
        return list(unit.world.matches(point)) or NoMatch(point)
    except NoMatch as miss:
        return miss


def _is_elsewhere(unit: Unit, point: AttachPoint) -> bool:
    """Whether the function of a point that has no match can be probed in another module, or is a pattern, of which that is not said."""
    if has_wildcard(point.function):
        return True
    try:
        return bool(point.target) and not isinstance(_places(unit, point.copy(target="")), NoMatch)
    except PointError:
        return False


def _has_wildcard(point: AttachPoint) -> bool:
    return any(map(has_wildcard, (point.provider, point.target, point.namespace, point.function)))


def _is_pattern(point: AttachPoint) -> bool:
    """Whether several places may be meant, so that it is no mistake when there is none."""
    if _has_wildcard(point) or point.language:
        return True
    unnamed = {"usdt": point.namespace, "rawtracepoint": point.target, "fentry": point.program, "fexit": point.program}
    return not unnamed.get(point.provider, True) and (point.provider in ("usdt", "rawtracepoint") or point.target == "bpf")


def _missing(unit: Unit, miss: NoMatch, point: AttachPoint) -> None:
    if unit.config.missing_probes == "error":
        unit.diagnostics.error(miss.message, point.span).hints += miss.hints
    elif unit.config.missing_probes == "warn":
        unit.diagnostics.warning(f"{miss.message} Skipping.", point.span).hints += miss.hints


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
