"""The providers: their names and short names, how many parts each takes, what the parts mean, and what is wrong with them.

Reading and checking are two steps, as in bpftrace: nothing is checked while any attach point of the program cannot be read.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import NamedTuple

from pyprobe.lang import provider_checks
from pyprobe.lang.attachpoint import AttachPoint, PointError, has_wildcard
from pyprobe.lang.literals import LiteralError, probe_number

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

SHORTEST_PERIOD = 1000  # nanoseconds


def find(word: str) -> tuple[str, str]:
    """The long name of the provider that a script calls `word`, and what messages call it: short names in capitals are no names, but are
    understood as far as it takes to say so."""
    if word in SHORT or word in OLD_NAMES:
        name = SHORT.get(word) or OLD_NAMES[word]
        return name, name
    lower = word.lower()
    name = SHORT.get(lower) or OLD_NAMES.get(lower) or lower
    if name not in PROVIDERS:
        raise PointError(f"Invalid probe type: {lower}")
    return name, lower


def matching(pattern: str, user: bool) -> list[str]:
    """The providers of the kernel's or the user's group whose names match a pattern with `*`."""
    expression = ".*".join(re.escape(part) for part in pattern.split("*"))
    return [name for name in sorted(USER_GROUP if user else KERNEL_GROUP) if re.fullmatch(expression, name)]


def takes(provider: str, arguments: list[str]) -> bool:
    """Whether so many parts may follow a provider."""
    return len(arguments) in PROVIDERS[provider].counts or (provider == "tracepoint" and _any_category(arguments))


def fill(point: AttachPoint, word: str, arguments: list[str], user: bool = False, unsafe: bool = False) -> None:
    """Set the provider of `point`, which `word` names, and its parts from what follows; raises PointError.

    `user` says that a process is given, so that its program may be left out; `unsafe` allows addresses in the kernel.
    """
    name, point.provider = find(word)
    found = len(arguments)
    if name in ("uprobe", "uretprobe") and found > 1 and arguments[1] == "@":
        _source_line(point, name, arguments)
        return
    if user and found == 1 and name in ("uprobe", "uretprobe", "usdt"):
        arguments = ["", *arguments]
    elif arguments == ["*"] and name in ("begin", "end"):
        arguments = []
    elif name == "tracepoint" and _any_category(arguments):
        arguments = ["*", *arguments]
    if len(arguments) not in PROVIDERS[name].counts:
        raise PointError(_wrong_count(point.provider, name, found))
    PROVIDERS[name].read(point, name, arguments)
    if name in ("kprobe", "kretprobe") and not point.function and not unsafe and arguments[-1]:
        raise PointError("Probing by address requires --unsafe")


def check(point: AttachPoint) -> list[PointError]:
    """What is wrong with the parts of a point, as far as that needs no machine."""
    if point.provider not in PROVIDERS:
        return [PointError(f"Invalid provider: '{point.provider}'")]
    if point.line is not None:
        return []
    found = PROVIDERS[point.provider].check(point)
    return [error if isinstance(error, PointError) else PointError(error) for error in found]


def _any_category(arguments: list[str]) -> bool:
    """A pattern alone is one for tracepoints of any category."""
    return len(arguments) == 1 and has_wildcard(arguments[0])


def _wrong_count(shown: str, provider: str, found: int) -> str:
    if provider == "iter":
        return f"{shown} probe type takes 2 arguments (1 optional)"
    counts = {"rawtracepoint": "2 or 1", "fentry": "1 or 3", "fexit": "1 or 3"}.get(provider)
    return f"{shown} probe type requires {counts or ' or '.join(map(str, PROVIDERS[provider].counts))} arguments, found {found}"


def _number(text: str, prefix: str) -> int:
    """A number as strtoull() reads it: a negative one wraps around."""
    try:
        return probe_number(text) % (1 << 64)
    except LiteralError as error:
        raise PointError(f"{prefix}: {error.message}") from None


def _signed(word: int) -> int:
    return word - (1 << 64) if word >> 63 else word


def _nothing(point: AttachPoint, provider: str, arguments: list[str]) -> None:
    """`begin`, `end`."""


def _function(point: AttachPoint, provider: str, text: str) -> None:
    """A function with an optional `+offset`, or an address."""
    if "+" not in text:
        try:
            point.address = probe_number(text) % (1 << 64)
        except LiteralError:
            point.function = text
        return
    if provider in ("kretprobe", "uretprobe"):
        raise PointError("Offset not allowed")
    if text.count("+") > 1:
        raise PointError("Cannot take more than one offset")
    point.function, _, offset = text.partition("+")
    if not point.function or not offset:
        raise PointError("Invalid offset")
    point.offset = _number(offset, "Invalid offset")


def _kprobe(point: AttachPoint, provider: str, arguments: list[str]) -> None:
    point.target = arguments[0] if len(arguments) == 2 else ""
    _function(point, provider, arguments[-1])


def _fentry(point: AttachPoint, provider: str, arguments: list[str]) -> None:
    if arguments == ["bpf"]:
        raise PointError("the 'bpf' variant of this probe requires a bpf program name and optional bpf program id")
    if len(arguments) == 3:
        if arguments[0] != "bpf":
            raise PointError("Only the 'bpf' variant of this probe supports 4 arguments")
        try:
            point.program = 0 if arguments[1] == "*" else probe_number(arguments[1]) % (1 << 64)
        except LiteralError:
            raise PointError("bpf program id must be a number or '*'") from None
    point.target = arguments[0] if len(arguments) > 1 else ""
    point.function = arguments[-1]


PLUS_IN_NAME = re.compile(r"operator\+\+?")  # of C++, where it begins no offset
_PLUS = "\0"


def _uprobe(point: AttachPoint, provider: str, arguments: list[str]) -> None:
    point.target = arguments[0]
    point.language = arguments[1] if len(arguments) == 3 else ""
    text = arguments[-1]
    if point.language == "cpp":
        text = PLUS_IN_NAME.sub(lambda found: found[0].replace("+", _PLUS), text)
    _function(point, provider, text)
    point.function = point.function.replace(_PLUS, "+")
    if point.address and has_wildcard(point.target):
        raise PointError("Cannot use wildcards with absolute address")


def _source_line(point: AttachPoint, provider: str, arguments: list[str]) -> None:
    """`BIN@FILE:LINE[:COL]`."""
    if provider == "uretprobe":
        raise PointError("Source code location not allowed")
    if not 4 <= len(arguments) <= 5 or not arguments[2] or not arguments[3]:
        raise PointError("Invalid uprobe arguments, expected format: uprobe:TARGET@FILE:LINE[:COL]")
    point.target = arguments[0]
    if not point.target:
        raise PointError("Unspecified target binary, cannot attach by source code location.")
    if has_wildcard(point.target):
        raise PointError("Cannot use wildcards with source code location")
    line = _number(arguments[3], "Invalid line number")
    column = _number(arguments[4], "Invalid column number") if len(arguments) == 5 else 0
    point.line = (arguments[2], line, column)


def _usdt(point: AttachPoint, provider: str, arguments: list[str]) -> None:
    point.target = arguments[0]
    point.namespace = arguments[1] if len(arguments) == 3 else ""
    point.function = arguments[-1]


def _tracepoint(point: AttachPoint, provider: str, arguments: list[str]) -> None:
    point.target = arguments[0] if len(arguments) == 2 else ""
    point.function = arguments[-1]


def _timer(point: AttachPoint, provider: str, arguments: list[str]) -> None:
    if len(arguments) == 1 and has_wildcard(arguments[0]):
        point.unit = arguments[0]
        return
    rate = _number(arguments[-1], f"Invalid rate of {point.provider} probe")
    if len(arguments) == 2:
        point.unit, point.rate = arguments[0], _signed(rate)
        return
    if rate < SHORTEST_PERIOD:
        raise PointError(f"Invalid rate of {point.provider} probe. Minimum is 1000 or 1us. Found: {rate} nanoseconds")
    point.unit, point.rate = "us", rate // 1000


def _event(point: AttachPoint, provider: str, arguments: list[str]) -> None:
    point.function = arguments[0]
    if len(arguments) == 2 and arguments[1] != "*":
        point.rate = _signed(_number(arguments[1], f"Invalid count for {point.provider} probe"))


def _watchpoint(point: AttachPoint, provider: str, arguments: list[str]) -> None:
    point.address = _number(arguments[0], "Invalid function/address argument")
    point.length = _number(arguments[1], "Invalid length argument")
    point.mode = "".join(sorted(arguments[2]))


def _iterator(point: AttachPoint, provider: str, arguments: list[str]) -> None:
    if any(map(has_wildcard, arguments)):
        raise PointError(f"{point.provider} probe type does not support wildcards")
    point.function = arguments[0]
    point.pin = arguments[1] if len(arguments) == 2 else ""


def _self(point: AttachPoint, provider: str, arguments: list[str]) -> None:
    point.target, point.function = arguments


def _named(point: AttachPoint, provider: str, arguments: list[str]) -> None:
    """`test` and `bench`."""
    point.function = arguments[0]


class Provider(NamedTuple):
    """How many parts may follow a provider, what reads them, and what says what is wrong with them."""

    counts: tuple[int, ...]
    read: Callable[[AttachPoint, str, list[str]], None]
    check: Callable[[AttachPoint], provider_checks.Errors]


PROVIDERS: dict[str, Provider] = {
    "begin": Provider((0,), _nothing, provider_checks.nothing),
    "end": Provider((0,), _nothing, provider_checks.nothing),
    "self": Provider((2,), _self, provider_checks.self),
    "test": Provider((1,), _named, provider_checks.named),
    "bench": Provider((1,), _named, provider_checks.named),
    "kprobe": Provider((1, 2), _kprobe, provider_checks.kprobe),
    "kretprobe": Provider((1, 2), _kprobe, provider_checks.kprobe),
    "fentry": Provider((1, 2, 3), _fentry, provider_checks.fentry),
    "fexit": Provider((1, 2, 3), _fentry, provider_checks.fentry),
    "uprobe": Provider((2, 3), _uprobe, provider_checks.uprobe),
    "uretprobe": Provider((2, 3), _uprobe, provider_checks.uprobe),
    "usdt": Provider((2, 3), _usdt, provider_checks.usdt),
    "tracepoint": Provider((2,), _tracepoint, provider_checks.tracepoint),
    "rawtracepoint": Provider((1, 2), _tracepoint, provider_checks.rawtracepoint),
    "profile": Provider((1, 2), _timer, provider_checks.timer),
    "interval": Provider((1, 2), _timer, provider_checks.timer),
    "software": Provider((1, 2), _event, provider_checks.event),
    "hardware": Provider((1, 2), _event, provider_checks.event),
    "watchpoint": Provider((3,), _watchpoint, provider_checks.watchpoint),
    "iter": Provider((1, 2), _iterator, provider_checks.iterator),
}
