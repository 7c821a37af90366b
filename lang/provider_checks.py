"""What is wrong with the parts of an attach point, provider by provider, as far as that needs no machine.

One function each, which yields the messages in the order in which they are told.
"""

from __future__ import annotations

from collections.abc import Iterator

from pyprobe.lang.attachpoint import AttachPoint, PointError, has_wildcard
from pyprobe.lang.perf_events import EVENT_ALIASES, HARDWARE, SOFTWARE

TIME_UNITS = ("s", "ms", "us", "hz")
WATCHPOINT_LENGTHS = (1, 2, 4, 8)

Errors = Iterator[str | PointError]


def nothing(point: AttachPoint) -> Errors:
    return iter(())


def kprobe(point: AttachPoint) -> Errors:
    if not point.function and not point.address:
        yield "kprobes should be attached to a function or an address"


def fentry(point: AttachPoint) -> Errors:
    if not point.function:
        yield "fentry/fexit should specify a function"


def uprobe(point: AttachPoint) -> Errors:
    if not point.target:
        yield f"{point.provider} should have a target"
    if not point.function and not point.address:
        yield f"{point.provider} should be attached to a function and/or address"
    if point.language not in ("", "cpp"):
        yield f"unsupported language type: {point.language}"


def usdt(point: AttachPoint) -> Errors:
    if not point.function:
        yield "usdt probe must have a target function or wildcard"
    if not point.target:
        yield "usdt probe must specify at least path or pid to probe. To target all paths/pids set the path to '*'."


def tracepoint(point: AttachPoint) -> Errors:
    if not point.target or not point.function:
        yield "tracepoint probe must have a target"


def rawtracepoint(point: AttachPoint) -> Errors:
    if not point.function:
        yield "rawtracepoint should be attached to a function"


def timer(point: AttachPoint) -> Errors:
    if not point.unit:
        yield f"{point.provider} probe must have unit of time"
        return
    if point.unit not in TIME_UNITS:
        yield f"{point.unit} is not an accepted unit of time"
    if point.rate <= 0:
        yield f"{point.provider} frequency should be a positive integer"


def event(point: AttachPoint) -> Errors:
    event = point.function
    if not event:
        yield f"{point.provider} probe must have a {point.provider} event name"
    elif has_wildcard(event):
        yield f"wildcards are not allowed for {point.provider} probe type"
    elif EVENT_ALIASES.get(event, event) not in (SOFTWARE if point.provider == "software" else HARDWARE):
        yield f"{event} is not a {point.provider} probe"
    if point.rate < 0:
        yield f"{point.provider} {'count' if point.provider == 'software' else 'frequency'} should be a positive integer"


def watchpoint(point: AttachPoint) -> Errors:
    if not point.address:
        yield "watchpoint must be attached to a non-zero address"
    if point.length not in WATCHPOINT_LENGTHS:
        yield "watchpoint length must be one of (1,2,4,8)"
    letters = set(point.mode)
    known, repeated = bool(letters) and letters <= set("rwx"), len(letters) != len(point.mode)
    if not known:
        yield "watchpoint mode must be combination of (r,w,x)"
    if repeated:
        yield "watchpoint modes may not be duplicated"
    if repeated or not known:
        yield PointError("invalid watchpoint mode: " + point.mode, "supported modes: x,w,rw")


def iterator(point: AttachPoint) -> Errors:
    if not point.function:
        yield f"iter {point.function} not available for your kernel version."
        yield "iter should specify a iterator's name"


def self(point: AttachPoint) -> Errors:
    if point.target != "signal":
        yield f"{point.target} is not a supported trigger"
    elif point.function != "SIGUSR1":
        yield f"{point.function} is not a supported signal"


def named(point: AttachPoint) -> Errors:
    if not point.function:
        yield f"{point.provider} probes must have a name"
