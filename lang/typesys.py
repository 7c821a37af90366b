"""Types: what a value is, how large, and how its name reads in messages.

Types are small immutable values that compare by content, so they can be keys and be shared. `str(t)` is the name used in messages
(`int8`, `string[16]`, `struct foo *`, `(int8,string[2])`).

The Python value of a typed expression, which the checker guarantees and generated handlers rely on:

===============================  ==========================================================================
type                             value
===============================  ==========================================================================
Integer, Enum                    int, always within the range of the type
Pointer, KSym, Username, Cgroup  int (unsigned)
Bool                             bool
String                           bytes up to the first NUL, at most `size`; exactly `size` bytes means that it was cut off
Buffer, Inet, Mac                bytes
Tuple, Record                    tuple of the element values, in order
Struct, Array                    bytes, the raw little-endian image of `size` bytes
USym                             (address, process id)
Stack                            (process id or 0, address, address, ...), innermost frame first
Timestamp                        (clock mode, format, nanoseconds)
===============================  ==========================================================================
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

DEEPEST = 200  # types inside each other: more than anybody can read


class Type:
    """Base of all types. `key` is what equality compares; `size` is in bytes (0 when the type has none), `align` the alignment inside
    tuples and records. `levels` counts the types inside each other, and `flexible` says whether a literal's type is among them."""

    __slots__ = ("_hash", "align", "flexible", "key", "levels", "size")
    size: int
    key: tuple[Any, ...]

    def __init__(self, size: int, *key: Any, inside: tuple[Type, ...] = ()) -> None:
        self.size = size
        self.key = key
        self.align = max(1, min(8, size))
        self.flexible = False
        self.levels = 1
        for t in inside:
            self.flexible |= t.flexible
            self.levels = max(self.levels, t.levels + 1)
        self._hash = hash((type(self), key))

    def __eq__(self, other: object) -> bool:
        return self is other or (type(self) is type(other) and self.key == other.key)

    def __hash__(self) -> int:
        return self._hash

    def __repr__(self) -> str:
        return f"<{self}>"


class Simple(Type):
    """A type that is only a name."""

    __slots__ = ()

    def __init__(self, name: str, size: int) -> None:
        super().__init__(size, name)

    def __str__(self) -> str:
        return str(self.key[0])


NONE = Simple("none", 0)  # not known, or without a value that can be used
VOID = Simple("void", 0)
BOOL = Simple("bool", 1)
KSYM = Simple("ksym_t", 8)
USYM = Simple("usym_t", 16)
USERNAME = Simple("username_t", 8)
MAC = Simple("mac_address", 6)
CGROUP_PATH = Simple("cgroup_path_t", 16)


class Integer(Type):
    """`int8` to `uint64`."""

    __slots__ = ("signed",)

    def __init__(self, size: int, signed: bool) -> None:
        super().__init__(size, size, signed)
        self.signed = signed

    def __str__(self) -> str:
        return f"{'' if self.signed else 'u'}int{self.size * 8}"

    @property
    def low(self) -> int:
        return -(1 << (self.size * 8 - 1)) if self.signed else 0

    @property
    def high(self) -> int:
        return (1 << (self.size * 8 - self.signed)) - 1

    def wrap(self, value: int) -> int:
        """`value` reduced to this type's range, two's complement."""
        value &= (1 << (self.size * 8)) - 1
        return value - (1 << (self.size * 8)) if self.signed and value >> (self.size * 8 - 1) else value


INT8, INT16, INT32, INT64 = (Integer(n, True) for n in (1, 2, 4, 8))
UINT8, UINT16, UINT32, UINT64 = (Integer(n, False) for n in (1, 2, 4, 8))
INTEGERS = {str(t): t for t in (INT8, INT16, INT32, INT64, UINT8, UINT16, UINT32, UINT64)}


class Flexible(Integer):
    """The type of a non-negative literal, and of what was made from such by assignment alone: signed, but it becomes unsigned where it
    meets an unsigned type. Equal to the plain type; only promotion looks at the difference."""

    __slots__ = ()

    def __init__(self, size: int) -> None:
        super().__init__(size, True)
        self.flexible = True
        self._hash = hash((Integer, self.key))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Integer) and self.key == other.key

    __hash__ = Integer.__hash__


FLEXIBLE = {n: Flexible(n) for n in (1, 2, 4, 8)}


class Enum(Type):
    """An enum; `names` maps a value to its first constant's name. `shown` is False for anonymous ones in messages."""

    __slots__ = ("name", "names")

    def __init__(self, name: str, names: dict[int, str], size: int = 8) -> None:
        super().__init__(size, name, size)
        self.name = name
        self.names = names

    def __str__(self) -> str:
        return f"enum {self.name}"


class String(Type):
    """`string[size]`, size counting the final NUL."""

    __slots__ = ()

    def __init__(self, size: int) -> None:
        super().__init__(size, size)
        self.align = 1

    def __str__(self) -> str:
        return f"string[{self.size}]" if self.size else "string"


class Buffer(Type):
    """At most `capacity` bytes of content behind a 4 byte length; its name `buffer[n]` counts both."""

    __slots__ = ("capacity",)

    def __init__(self, capacity: int) -> None:
        super().__init__(capacity + 4, capacity)
        self.capacity = capacity
        self.align = 1

    def __str__(self) -> str:
        return f"buffer[{self.size}]"


class Inet(Type):
    """An IP address; the value is its 4 or 16 bytes in network order, `size` counts the family before it too."""

    __slots__ = ()

    def __init__(self, size: int) -> None:
        super().__init__(size, size)

    def __str__(self) -> str:
        return f"inet[{self.size}]"


class Pointer(Type):
    """A pointer; `space` is `kernel`, `user` or None (unknown) and takes no part in equality."""

    __slots__ = ("space", "to")

    def __init__(self, to: Type, space: str | None = None) -> None:
        super().__init__(8, to, inside=(to,))
        self.to = to
        self.space = space

    def __str__(self) -> str:
        return f"{self.to} *"


class Context(Pointer):
    """What `ctx` gives: a pointer that may be followed, but neither printed nor kept in a key; otherwise like any pointer of its type."""

    __slots__ = ()

    def __init__(self, to: Type, space: str | None = None) -> None:
        super().__init__(to, space)
        self._hash = hash((Pointer, self.key))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Pointer) and self.key == other.key

    __hash__ = Pointer.__hash__


class Array(Type):
    __slots__ = ("count", "element")

    def __init__(self, element: Type, count: int) -> None:
        super().__init__(element.size * count, element, count, inside=(element,))
        self.element = element
        self.count = count
        self.align = element.align

    def __str__(self) -> str:
        return f"{self.element}[{self.count}]"


class Tuple(Type):
    __slots__ = ("elements",)

    def __init__(self, elements: tuple[Type, ...]) -> None:
        super().__init__(layout(elements)[1], elements, inside=elements)
        self.elements = elements
        self.align = max((t.align for t in elements), default=1)

    def __str__(self) -> str:
        return f"({','.join(map(str, self.elements))})"


class Record(Type):
    """A tuple with names: `(a=1, b=2)`, and the `args` of a probe (whose fields may be reached without a full layout)."""

    __slots__ = ("fields",)

    def __init__(self, fields: tuple[tuple[str, Type], ...]) -> None:
        types = tuple(t for _, t in fields)
        super().__init__(layout(types)[1], fields, inside=types)
        self.fields = fields
        self.align = max((t.align for t in types), default=1)

    def __str__(self) -> str:
        return "record { " + ", ".join(f".{n} = {t}" for n, t in self.fields) + " }"

    def field(self, name: str) -> Type | None:
        return next((t for n, t in self.fields if n == name), None)


class Field:
    """A member of a C struct or union: `offset` in bytes; `bits` is (offset from `offset`, width) in bits for a bit-field."""

    __slots__ = ("bits", "name", "offset", "type")

    def __init__(self, name: str, type: Type, offset: int, bits: tuple[int, int] | None = None) -> None:
        self.name = name
        self.type = type
        self.offset = offset
        self.bits = bits


class Struct(Type):
    """A C struct or union, equal by name. Members are asked for once and only when needed, because kernel types refer to each other
    in cycles; anonymous members' fields appear among the members (`fields` holds them flattened, in order)."""

    __slots__ = ("_fields", "_load", "name")

    def __init__(self, name: str, size: int, load: Callable[[], list[Field]]) -> None:
        super().__init__(size, name)
        self.name = name  # with its keyword: `struct foo`
        self._load = load
        self._fields: dict[str, Field] | None = None

    def __str__(self) -> str:
        return self.name

    @property
    def fields(self) -> dict[str, Field]:
        if self._fields is None:
            self._fields = {f.name: f for f in self._load()}
        return self._fields


ADDRESS = 8  # bytes of a frame
BUILD_ID_FRAME = 32  # struct bpf_stack_build_id of linux/bpf.h
HEADS = {"kstack": 8, "ustack": 16}  # before the frames: how many there are, for a process also which one it is


class Stack(Type):
    """`kstack_bpftrace_127` and the like: kind `kstack` or `ustack`, printing mode, limit of frames."""

    __slots__ = ("kind", "limit", "mode")

    def __init__(self, kind: str, mode: str, limit: int) -> None:
        frame = BUILD_ID_FRAME if mode == "build_id" else ADDRESS
        super().__init__(HEADS[kind] + frame * limit, kind, mode, limit)
        self.kind = kind
        self.mode = mode
        self.limit = limit

    def __str__(self) -> str:
        return f"{self.kind}_{self.mode}_{self.limit}"


class Timestamp(Type):
    """The result of strftime(); `mode` is the clock whose nanoseconds it formats (boot, tai, sw_tai)."""

    __slots__ = ("mode",)

    def __init__(self, mode: str = "boot") -> None:
        super().__init__(16)
        self.mode = mode

    def __str__(self) -> str:
        return "timestamp"


class Nanoseconds(Integer):
    """What nsecs(mode) gives: a uint64 that remembers its clock for strftime()."""

    __slots__ = ("mode",)

    def __init__(self, mode: str) -> None:
        super().__init__(8, False)
        self._hash = hash((Integer, self.key))
        self.mode = mode

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Integer) and self.key == other.key

    __hash__ = Integer.__hash__


SUMMARIES = ("sum", "min", "max", "avg", "stats")
"""Aggregations of numbers, which are signed or not as these are."""
HISTOGRAMS = ("hist", "lhist", "tseries")
"""Aggregations that are shown over several lines."""


class Aggregate(Type):
    """A map value that accumulates: function `count sum min max avg stats hist lhist tseries`; `signed` gives `sum_t` or `usum_t`;
    `params` are the bits of hist, the bounds of lhist, interval, number and function of tseries."""

    __slots__ = ("function", "params", "signed")

    def __init__(self, function: str, signed: bool = True, params: tuple[Any, ...] = ()) -> None:
        super().__init__(8, function, signed, params)
        self.function = function
        self.signed = signed
        self.params = params

    def __str__(self) -> str:
        plain = self.signed or self.function not in SUMMARIES
        return f"{'' if plain else 'u'}{self.function}_t"

    @property
    def castable(self) -> bool:
        """Whether the current value can be read as an integer."""
        return self.function in ("count", "sum", "min", "max", "avg")


def layout(types: tuple[Type, ...]) -> tuple[list[int], int]:
    """C-like offsets of members and the total size, both in bytes."""
    offsets, at, widest = [], 0, 1
    for t in types:
        at = -(-at // t.align) * t.align
        offsets.append(at)
        at += t.size
        widest = max(widest, t.align)
    return offsets, -(-at // widest) * widest


def smallest_integer(value: int) -> Integer:
    """The type of an integer literal: the smallest signed type that holds it, above that uint64."""
    for t in (INT8, INT16, INT32, INT64):
        if t.low <= value <= t.high:
            return t
    return UINT64
