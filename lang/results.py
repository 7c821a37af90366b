"""The rules for result types that depend on the arguments or on the configuration, for the table in `lang.functions`."""

from __future__ import annotations

from collections.abc import Sequence

from pyprobe.lang.config import Config
from pyprobe.lang.nodes import Boolean, Builtin, Cast, Expr, Integer, Node, String
from pyprobe.lang.signatures import Rule
from pyprobe.lang.typesys import (
    BOOL,
    INT64,
    NONE,
    UINT8,
    UINT16,
    UINT32,
    UINT64,
    Aggregate,
    Array,
    Buffer,
    Nanoseconds,
    Pointer,
    Timestamp,
    Type,
)
from pyprobe.lang.typesys import Integer as IntegerType
from pyprobe.lang.typesys import String as StringType


def _signed(arg: Node) -> bool:
    """Whether an aggregation over this argument is a signed one; a literal that may be either is taken as signed."""
    kind = arg.type if isinstance(arg, Expr) else NONE
    if isinstance(kind, Aggregate):
        return kind.signed and kind.function != "count"
    return not isinstance(kind, IntegerType) or kind.signed


def aggregate_result(name: str) -> Rule:
    """The rule of an aggregation whose sign is that of its argument."""
    return lambda args, config: Aggregate(name, _signed(args[0]))


def _literals(args: Sequence[Node]) -> tuple[int | str, ...]:
    return tuple(a.value.decode(errors="replace") if isinstance(a, String) else a.value if isinstance(a, Integer) else 0 for a in args)


def hist_result(args: Sequence[Node], config: Config) -> Type:
    """The type of `hist(n, bits)`."""
    return Aggregate("hist", True, _literals(args[1:]) or (0,))


def lhist_result(args: Sequence[Node], config: Config) -> Type:
    """The type of `lhist(n, min, max, step)`."""
    return Aggregate("lhist", True, _literals(args[1:]))


def tseries_result(args: Sequence[Node], config: Config) -> Type:
    """The type of `tseries(n, interval, count, aggregation)`."""
    params = _literals(args[1:])
    return Aggregate("tseries", _signed(args[0]), (*params, "") if len(params) == 2 else params)


def str_result(args: Sequence[Node], config: Config) -> Type:
    """A string as long as the literal argument, the limit, or the configuration says."""
    value = args[0]
    limit = args[1].value if len(args) == 2 and isinstance(args[1], Integer) and args[1].value >= 0 else None
    if isinstance(value, (String, Integer)):
        text = value.value if isinstance(value, String) else str(value.value).encode()
        return StringType(len(text) + 1 if limit is None else min(len(text), limit) + 1)
    return StringType(config.max_strlen if limit is None else min(config.max_strlen, limit + 1))


def buf_result(args: Sequence[Node], config: Config) -> Type:
    """A buffer as long as the argument that is an array, the limit, or the configuration says."""
    most = config.max_strlen - 4
    given = args[0].type if isinstance(args[0], Expr) else NONE
    if len(args) == 2 and isinstance(args[1], Integer):
        return Buffer(max(0, min(most, args[1].value)))
    if len(args) == 1 and isinstance(given, Array):
        return Buffer(min(most, given.size))
    return Buffer(most)


def path_result(args: Sequence[Node], config: Config) -> Type:
    """A string as long as the literal argument or the configuration says."""
    size = args[1].value if len(args) == 2 and isinstance(args[1], Integer) else config.max_strlen
    return StringType(max(0, size))


def bswap_result(args: Sequence[Node], config: Config) -> Type:
    """An unsigned integer as wide as the argument."""
    given = args[0].type if isinstance(args[0], Expr) else NONE
    return {0: NONE, 1: UINT8, 2: UINT16, 4: UINT32}.get(given.size, UINT64)  # not known yet, or no number


def space_result(space: str) -> Rule:
    """The rule of a function that gives a pointer into an address space."""

    def rule(args: Sequence[Node], config: Config) -> Type:
        given = args[0].type if isinstance(args[0], Expr) else NONE
        return type(given)(given.to, space) if isinstance(given, Pointer) else given

    return rule


def pton_result(args: Sequence[Node], config: Config) -> Type:
    """The bytes of an address of the family that the text shows."""
    text = args[0].value if isinstance(args[0], String) else b""
    return Array(UINT8, 16 if b":" in text else 4)


def strftime_result(args: Sequence[Node], config: Config) -> Type:
    """A time of the clock that the argument was read from."""
    given = args[1].type if isinstance(args[1], Expr) else NONE
    if isinstance(args[1], Builtin) and args[1].name == "nsecs" and args[1].args:
        return Timestamp(str(args[1].args[0]))
    if isinstance(args[1], Cast):
        return Timestamp("boot")
    return Timestamp(given.mode if isinstance(given, Nanoseconds) else "boot")


def getopt_result(args: Sequence[Node], config: Config) -> Type:
    """The type of the default value."""
    if len(args) < 2 or isinstance(args[1], Boolean):
        return BOOL
    if isinstance(args[1], String):
        return StringType(config.max_strlen)
    return INT64 if isinstance(args[1], Integer) and args[1].value < 0 else UINT64
