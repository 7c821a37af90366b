"""The zero value of a type: what reading a missing map element or an unassigned variable gives."""

from __future__ import annotations

from typing import Any

from pyprobe.lang.typesys import (
    BOOL,
    MAC,
    USYM,
    Array,
    Buffer,
    Inet,
    Record,
    Stack,
    String,
    Struct,
    Timestamp,
    Tuple,
    Type,
)


def zero_of(t: Type) -> Any:
    """The Python value of all-zero bytes of a type."""
    if isinstance(t, Tuple):
        return tuple(zero_of(e) for e in t.elements)
    if isinstance(t, Record):
        return tuple(zero_of(e) for _, e in t.fields)
    if isinstance(t, (String, Buffer)):
        return b""
    if isinstance(t, Inet):
        return b""  # no family: no address
    if isinstance(t, (Array, Struct)):
        return bytes(t.size)
    if t is BOOL:
        return False
    if t is MAC:
        return bytes(6)
    if t is USYM:
        return (0, 0)
    if isinstance(t, Stack):
        return (0,)
    if isinstance(t, Timestamp):
        return (t.mode, None, 0)
    return 0
