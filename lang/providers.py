"""The providers: their names and short names, how many parts each takes, and what the parts mean."""

from __future__ import annotations

import re
from collections.abc import Callable

from pyprobe.lang.attachpoint import AttachPoint, PointError
from pyprobe.lang.literals import LiteralError, probe_number

Fill = Callable[[AttachPoint, list[str]], None]

# Short names; they are case-sensitive, the long names are not.
SHORT = {
    "k": "kprobe",
    "kr": "kretprobe",
    "f": "fentry",
    "fr": "fexit",
    "u": "uprobe",
    "ur": "uretprobe",
    "U": "usdt",
    "t": "tracepoint",
    "rt": "rawtracepoint",
    "p": "profile",
    "i": "interval",
    "s": "software",
    "h": "hardware",
    "w": "watchpoint",
    "it": "iter",
}
OLD_NAMES = {"kfunc": "fentry", "kretfunc": "fexit"}
KERNEL_GROUP = ("kprobe", "tracepoint", "software", "hardware", "fentry", "iter", "rawtracepoint")
USER_GROUP = ("uprobe", "usdt")

# Events of the software and hardware providers with their default sample periods, and the short names of some.
SOFTWARE = {
    "alignment-faults": 1,
    "bpf-output": 1,
    "context-switches": 1000,
    "cpu-clock": 1_000_000,
    "cpu-migrations": 1,
    "dummy": 1,
    "emulation-faults": 1,
    "major-faults": 1,
    "minor-faults": 100,
    "page-faults": 100,
    "task-clock": 1,
}
HARDWARE = {
    "backend-stalls": 1_000_000,
    "branch-instructions": 100_000,
    "branch-misses": 100_000,
    "bus-cycles": 100_000,
    "cache-misses": 1_000_000,
    "cache-references": 1_000_000,
    "cpu-cycles": 1_000_000,
    "frontend-stalls": 1_000_000,
    "instructions": 1_000_000,
    "ref-cycles": 1_000_000,
}
EVENT_ALIASES = {
    "cs": "context-switches",
    "cpu": "cpu-clock",
    "faults": "page-faults",
    "branches": "branch-instructions",
    "cycles": "cpu-cycles",
}

TIME_UNITS = ("s", "ms", "us", "hz")
SHORTEST_PERIOD = 1000  # nanoseconds
WATCHPOINT_LENGTHS = (1, 2, 4, 8)


def find(word: str) -> str:
    """The long name of the provider that a script calls `word`."""
    if word in SHORT:
        return SHORT[word]
    lower = word.lower()
    if lower in PROVIDERS:
        return lower
    if lower in OLD_NAMES:
        return OLD_NAMES[lower]
    if lower in SHORT:
        raise PointError(f"Invalid provider: '{lower}'")
    raise PointError(f"Invalid probe type: {lower}")


def matching(pattern: str, user: bool) -> list[str]:
    """The providers of the kernel's or the user's group whose names match a pattern with `*`."""
    expression = ".*".join(re.escape(part) for part in pattern.lower().split("*"))
    return [name for name in (USER_GROUP if user else KERNEL_GROUP) if re.fullmatch(expression, name)]


def fill(point: AttachPoint, arguments: list[str], user: bool = False) -> None:
    """Set the parts of `point` from what follows its provider; raises PointError.

    `user` says that a process is given, so that its program may be left out.
    """
    counts, act = PROVIDERS[point.provider]
    found = len(arguments)
    if "@" in arguments and point.provider == "uprobe":
        _source_line(point, arguments)
        return
    if user and found == 1 and point.provider in ("uprobe", "uretprobe", "usdt"):
        arguments = ["", *arguments]
    elif found not in counts and not (found == 1 and arguments == ["*"] and counts == (0,)):
        raise PointError(_wrong_count(point.provider, counts, found))
    act(point, arguments)
    if point.provider in ("uprobe", "uretprobe") and not point.target and not user:
        raise PointError("uprobe should have a target")


def _wrong_count(provider: str, counts: tuple[int, ...], found: int) -> str:
    if provider == "iter":
        return "iter probe type takes 2 arguments (1 optional)"
    shown = {"rawtracepoint": "2 or 1", "fentry": "1 or 3", "fexit": "1 or 3"}.get(provider, " or ".join(str(c) for c in counts))
    return f"{provider} probe type requires {shown} arguments, found {found}"


def _number(text: str, prefix: str) -> int:
    try:
        return probe_number(text)
    except LiteralError as error:
        raise PointError(f"{prefix}: {error.message}") from None


def _nothing(point: AttachPoint, arguments: list[str]) -> None:
    """`begin`, `end`."""


def _function(point: AttachPoint, text: str) -> None:
    """A function with an optional `+offset`, or an address."""
    name, plus, offset = text.partition("+")
    if plus:
        if not offset:
            raise PointError("Invalid offset")
        if not name:
            raise PointError("Invalid offset")
        if "+" in offset:
            raise PointError("Cannot take more than one offset")
        point.offset = _number(offset, "Invalid offset")
        point.function = name
        return
    try:
        point.address = probe_number(text)
    except LiteralError:
        point.function = text


def _no_offset(point: AttachPoint) -> None:
    if point.provider in ("kretprobe", "uretprobe") and point.offset:
        raise PointError("Offset not allowed")


def _kprobe(point: AttachPoint, arguments: list[str]) -> None:
    if not arguments[-1]:
        raise PointError("kprobes should be attached to a function or an address")
    point.target = arguments[0] if len(arguments) == 2 else ""
    _function(point, arguments[-1])
    _no_offset(point)


def _fentry(point: AttachPoint, arguments: list[str]) -> None:
    if len(arguments) == 3:
        if arguments[0] != "bpf":
            raise PointError("Only the 'bpf' variant of this probe supports 4 arguments")
        try:
            point.program = 0 if "*" in arguments[1] else probe_number(arguments[1])
        except LiteralError:
            raise PointError("bpf program id must be a number or '*'") from None
    point.target = arguments[0] if len(arguments) > 1 else ""
    point.function = arguments[-1]
    if not point.function:
        raise PointError("fentry/fexit should specify a function")


def _uprobe(point: AttachPoint, arguments: list[str]) -> None:
    point.target = arguments[0]
    if len(arguments) == 3:
        if arguments[1] != "cpp":
            raise PointError(f"unsupported language type: {arguments[1]}")
        point.language = "cpp"
    if not arguments[-1]:
        raise PointError("uprobe should be attached to a function and/or address")
    if point.language:
        point.function = arguments[-1]  # `+` may be part of an operator's name
    else:
        _function(point, arguments[-1])
    if "*" in point.target and point.address:
        raise PointError("Cannot use wildcards with absolute address")
    _no_offset(point)


def _source_line(point: AttachPoint, arguments: list[str]) -> None:
    """`BIN@FILE:LINE[:COL]`."""
    if arguments[1] != "@" or not 4 <= len(arguments) <= 5 or not arguments[2]:
        raise PointError("Invalid uprobe arguments, expected format: uprobe:TARGET@FILE:LINE[:COL]")
    point.target = arguments[0]
    line = _number(arguments[3], "Invalid line number")
    column = _number(arguments[4], "Invalid column number") if len(arguments) == 5 else 0
    point.line = (arguments[2], line, column)


def _usdt(point: AttachPoint, arguments: list[str]) -> None:
    point.target = arguments[0]
    point.namespace = arguments[1] if len(arguments) == 3 else ""
    point.function = arguments[-1]
    if not point.function:
        raise PointError("usdt probe must have a target function or wildcard")


def _tracepoint(point: AttachPoint, arguments: list[str]) -> None:
    if point.provider == "rawtracepoint" and not all(arguments):
        raise PointError("rawtracepoint should be attached to a function")
    if not all(arguments):
        raise PointError(f"{point.provider} probe must have a target")
    point.target = arguments[0] if len(arguments) == 2 else ""
    point.function = arguments[-1]


def _timer(point: AttachPoint, arguments: list[str]) -> None:
    rate = _number(arguments[-1], f"Invalid rate of {point.provider} probe")
    if len(arguments) == 1:
        if rate < SHORTEST_PERIOD:
            raise PointError(f"Invalid rate of {point.provider} probe. Minimum is 1000 or 1us. Found: {rate} nanoseconds")
        point.unit, point.rate = "us", rate // 1000
        return
    point.unit, point.rate = arguments[0], rate
    if not point.unit:
        raise PointError(f"{point.provider} probe must have unit of time")
    if point.unit not in TIME_UNITS:
        raise PointError(f"{point.unit} is not an accepted unit of time")
    if rate <= 0:
        raise PointError(f"{point.provider} frequency should be a positive integer")


def _event(point: AttachPoint, arguments: list[str]) -> None:
    event = arguments[0]
    if not event:
        raise PointError(f"{point.provider} probe must have a {point.provider} event name")
    events = SOFTWARE if point.provider == "software" else HARDWARE
    if len(arguments) == 2:
        point.rate = _number(arguments[1], f"Invalid count for {point.provider} probe")
        if point.rate < 0:
            raise PointError(f"{point.provider} count should be a positive integer")
    if "*" in event:
        raise PointError(f"wildcards are not allowed for {point.provider} probe type")
    if EVENT_ALIASES.get(event, event) not in events:
        raise PointError(f"{event} is not a {point.provider} probe")
    point.function = event


def _watchpoint(point: AttachPoint, arguments: list[str]) -> None:
    point.address = _number(arguments[0], "Invalid function/address argument")
    point.length = _number(arguments[1], "Invalid length argument")
    point.mode = "".join(sorted(arguments[2]))
    if not point.address:
        raise PointError("watchpoint must be attached to a non-zero address")
    if point.length not in WATCHPOINT_LENGTHS:
        raise PointError("watchpoint length must be one of (1,2,4,8)")
    wrong = "invalid watchpoint mode: " + point.mode
    if not point.mode or not set(point.mode) <= set("rwx"):
        raise PointError(f"watchpoint mode must be combination of (r,w,x)\n{wrong}", "supported modes: x,w,rw")
    if len(set(point.mode)) != len(point.mode):
        raise PointError(f"watchpoint modes may not be duplicated\n{wrong}", "supported modes: x,w,rw")


def _iterator(point: AttachPoint, arguments: list[str]) -> None:
    point.function = arguments[0]
    point.pin = arguments[1] if len(arguments) == 2 else ""
    if not point.function:
        raise PointError(f"iter {point.function} not available for your kernel version.")
    if "*" in point.function:
        raise PointError("iter probe type does not support wildcards")


def _self(point: AttachPoint, arguments: list[str]) -> None:
    point.target, point.function = arguments
    if point.target != "signal":
        raise PointError(f"{point.target} is not a supported trigger")
    if point.function != "SIGUSR1":
        raise PointError(f"{point.function} is not a supported signal")


def _named(point: AttachPoint, arguments: list[str]) -> None:
    """`test` and `bench`."""
    if not arguments[0]:
        raise PointError(f"{point.provider} probes must have a name")
    point.function = arguments[0]


# How many parts may follow each provider, and what reads them.
PROVIDERS: dict[str, tuple[tuple[int, ...], Fill]] = {
    "begin": ((0,), _nothing),
    "end": ((0,), _nothing),
    "self": ((2,), _self),
    "test": ((1,), _named),
    "bench": ((1,), _named),
    "kprobe": ((1, 2), _kprobe),
    "kretprobe": ((1, 2), _kprobe),
    "fentry": ((1, 2, 3), _fentry),
    "fexit": ((1, 2, 3), _fentry),
    "uprobe": ((2, 3), _uprobe),
    "uretprobe": ((2, 3), _uprobe),
    "usdt": ((2, 3), _usdt),
    "tracepoint": ((2,), _tracepoint),
    "rawtracepoint": ((1, 2), _tracepoint),
    "profile": ((1, 2), _timer),
    "interval": ((1, 2), _timer),
    "software": ((1, 2), _event),
    "hardware": ((1, 2), _event),
    "watchpoint": ((3,), _watchpoint),
    "iter": ((1, 2), _iterator),
}
