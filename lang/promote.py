"""How types meet: promotion where two types become one, and which conversions keep the value.

`join` is what makes one type of all assignments to a variable, map key or map value; the operators have rules of their own on top of
it. Unknown types (`NONE`) join with anything, which is what lets inference start before everything is known.
"""

from __future__ import annotations

from collections.abc import Callable

from pyprobe.lang.typesys import (
    BOOL,
    FLEXIBLE,
    INT64,
    INTEGERS,
    NONE,
    SUMMARIES,
    UINT64,
    Aggregate,
    Array,
    Buffer,
    Context,
    Enum,
    Flexible,
    Inet,
    Integer,
    Nanoseconds,
    Pointer,
    Record,
    Simple,
    Stack,
    String,
    Struct,
    Timestamp,
    Tuple,
    Type,
)

_BY_SIZE = {(t.size, t.signed): t for t in INTEGERS.values()}


def integer(size: int, signed: bool) -> Integer:
    """The integer type of so many bytes."""
    return _BY_SIZE[size, signed]


def join(a: Type, b: Type) -> Type | None:
    """The type that holds values of both, or None where there is none. Commutative but for the order of a record's fields (the first's)."""
    if a is b or b is NONE:
        return a
    if a is NONE:
        return b
    rule = _JOIN.get(type(a))
    return rule(a, b) if rule is not None else a if a == b else None


def _join_integers(a: Type, b: Type) -> Type | None:
    if isinstance(a, Enum) and isinstance(b, Enum):
        return a if a == b else integer(max(a.size, b.size), False)
    a = integer(a.size, False) if isinstance(a, Enum) else a
    b = integer(b.size, False) if isinstance(b, Enum) else b
    if not isinstance(a, Integer) or not isinstance(b, Integer):
        return None
    size = max(a.size, b.size)
    if isinstance(a, Flexible) or isinstance(b, Flexible):
        if type(a) is type(b):
            return FLEXIBLE[size]
        return integer(size, (b if isinstance(a, Flexible) else a).signed)
    if a.signed == b.signed:
        if isinstance(a, Nanoseconds) and isinstance(b, Nanoseconds) and a.mode == b.mode:
            return a
        return integer(size, a.signed)
    signed, unsigned = (a, b) if a.signed else (b, a)
    return signed if signed.size > unsigned.size else integer(min(8, 2 * size), True)


def _join_sized(a: Type, b: Type) -> Type | None:
    return (a if a.size >= b.size else b) if type(a) is type(b) else None


def _join_pointers(a: Type, b: Type) -> Type | None:
    if not isinstance(a, Pointer) or not isinstance(b, Pointer):
        return None
    to = join(a.to, b.to)
    if to is None:
        return None
    return a if to is a.to else b if to is b.to else Pointer(to, a.space)


def _join_tuples(a: Type, b: Type) -> Type | None:
    if not isinstance(a, Tuple) or not isinstance(b, Tuple) or len(a.elements) != len(b.elements):
        return None
    joined = tuple(join(x, y) for x, y in zip(a.elements, b.elements, strict=True))
    if all(j is x for j, x in zip(joined, a.elements, strict=True)):
        return a
    known = tuple(j for j in joined if j is not None)
    return Tuple(known) if len(known) == len(joined) else None


def _join_records(a: Type, b: Type) -> Type | None:
    if not isinstance(a, Record) or not isinstance(b, Record) or len(a.fields) != len(b.fields):
        return None
    other = dict(b.fields)
    fields: list[tuple[str, Type]] = []
    for name, mine in a.fields:
        joined = join(mine, other[name]) if name in other else None
        if joined is None:
            return None
        fields.append((name, joined))
    return a if all(j is x for (_, j), (_, x) in zip(fields, a.fields, strict=True)) else Record(tuple(fields))


def _join_aggregates(a: Type, b: Type) -> Type | None:
    if not isinstance(a, Aggregate) or not isinstance(b, Aggregate) or a.function != b.function or a.params != b.params:
        return None
    return a if a.signed or not b.signed else b


_JOIN: dict[type[Type], Callable[[Type, Type], Type | None]] = {
    Integer: _join_integers,
    Flexible: _join_integers,
    Nanoseconds: _join_integers,
    Enum: _join_integers,
    String: _join_sized,
    Buffer: _join_sized,
    Inet: _join_sized,
    Pointer: _join_pointers,
    Context: _join_pointers,
    Tuple: _join_tuples,
    Record: _join_records,
    Aggregate: _join_aggregates,
}


def settle(t: Type) -> Type:
    """The final type of what inference found: without flexible literals inside."""
    if not t.flexible:
        return t
    if isinstance(t, Tuple):
        return Tuple(tuple(map(settle, t.elements)))
    if isinstance(t, Record):
        return Record(tuple((n, settle(f)) for n, f in t.fields))
    if isinstance(t, Pointer):
        return Pointer(settle(t.to), t.space)
    return integer(t.size, True) if isinstance(t, Flexible) else t


# ---- integers


def is_integer(t: Type) -> bool:
    """Whether values are whole numbers in the sense of the operators: integers, enums and aggregations that can be read."""
    return isinstance(t, (Integer, Enum)) or (isinstance(t, Aggregate) and t.castable)


def is_signed(t: Type) -> bool:
    """Whether it makes a result signed."""
    if isinstance(t, Aggregate):
        return t.function in SUMMARIES and t.signed
    return isinstance(t, Integer) and t.signed


def wide(t: Type) -> Integer:
    """The 64-bit integer of the same signedness."""
    return INT64 if is_signed(t) else UINT64


def arithmetic(left: Type, right: Type) -> Integer:
    """The result type of `+ * / % & | ^` on whole numbers (and what counts as such)."""
    if isinstance(left, Flexible) != isinstance(right, Flexible):
        other = right if isinstance(left, Flexible) else left
        return wide(other) if is_integer(other) or other is BOOL else INT64
    return INT64 if is_signed(left) or is_signed(right) else UINT64


def meeting(left: Type, right: Type) -> Type | None:
    """The common type in which two values are compared, or None."""
    if is_integer(left) and is_integer(right):
        if isinstance(left, Enum) and left == right:
            return left
        left = wide(left) if isinstance(left, Aggregate) else left
        right = wide(right) if isinstance(right, Aggregate) else right
    return join(left, right)


def holds(target: Type, source: Type) -> bool:
    """Whether every integer of type `source` has the same value in `target`."""
    if not isinstance(target, (Integer, Enum)) or not isinstance(source, (Integer, Enum)):
        return False
    signed = isinstance(source, Integer) and source.signed
    if isinstance(target, Enum):
        return not signed and target.size >= source.size
    if target.signed == signed:
        return target.size >= source.size
    return target.signed and target.size > source.size


# ---- names of kinds

_KINDS: dict[type[Type], str] = {
    Integer: "int",
    Flexible: "int",
    Nanoseconds: "int",
    Enum: "int",
    String: "string",
    Buffer: "buffer",
    Inet: "inet",
    Pointer: "pointer",
    Context: "pointer",
    Array: "array",
    Tuple: "tuple",
    Record: "record",
    Struct: "c_type",
    Timestamp: "timestamp",
}


def kind(t: Type) -> str:
    """The word for a family of types in messages and in typeinfo: `int`, `string`, `pointer` ..."""
    if isinstance(t, Stack):
        return t.kind
    if isinstance(t, (Simple, Aggregate)):
        return "bool" if t is BOOL else str(t)
    return _KINDS.get(type(t), str(t))
