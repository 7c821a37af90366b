"""Taking values out of the raw bytes of structs and arrays, and what a value looks like in memory."""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import Any

from pyprobe.lang.typesys import BOOL, MAC, Array, Buffer, Field, Inet, Integer, Record, String, Struct, Tuple, Type, layout

_WORD = (1 << 64) - 1
Decoder = Callable[[bytes, int], Any]
_LETTERS = {
    (1, True): "b",
    (1, False): "B",
    (2, True): "h",
    (2, False): "H",
    (4, True): "i",
    (4, False): "I",
    (8, True): "q",
    (8, False): "Q",
}


def shape(t: Type) -> tuple[int, bool] | None:
    """Size and signedness where a type is read as one integer."""
    if isinstance(t, Integer):
        return t.size, t.signed
    if isinstance(t, (Struct, Array, String, Tuple, Record, Buffer, Inet)) or t is MAC or t.size not in (1, 2, 4, 8):
        return None
    return t.size, False


def decoder(t: Type) -> Decoder:
    """The function that takes a value of type `t` out of bytes at an offset."""
    whole = shape(t)
    if t is BOOL:
        return lambda data, at: data[at] != 0
    if whole is not None:
        unpack = struct.Struct("<" + _LETTERS[whole]).unpack_from
        return lambda data, at: unpack(data, at)[0]
    size = stored_size(t)
    if isinstance(t, String):
        return lambda data, at: data[at : at + size].split(b"\0", 1)[0]
    return lambda data, at: data[at : at + size]


def bits_of(data: bytes, offset: int, width: int, signed: bool) -> int:
    """A bit-field: `width` bits from bit `offset` of little-endian bytes."""
    value = (int.from_bytes(data, "little") >> offset) & ((1 << width) - 1)
    return value - (1 << width) if signed and value >> (width - 1) else value


def field_decoder(field: Field) -> tuple[int, Decoder]:
    """How many bytes a member needs, and the function that takes it out of them."""
    if field.bits is None:
        return stored_size(field.type), decoder(field.type)
    offset, width = field.bits
    size = (offset + width + 7) // 8
    signed = isinstance(field.type, Integer) and field.type.signed
    return size, lambda data, at: bits_of(data[at : at + size], offset, width, signed)


def stored_size(t: Type) -> int:
    """Bytes that a type takes in C: a `char[N]` is a string[N+1] in the language."""
    return t.size - 1 if isinstance(t, String) else t.size


def members(t: Struct) -> list[tuple[str, Callable[[bytes], Any], Type]]:
    """Name, function that takes it out of the struct's bytes, and type of every member."""
    found = []
    for field in t.fields.values():
        _, decode = field_decoder(field)
        found.append((field.name, _at(decode, field.offset), field.type))
    return found


def _at(decode: Decoder, offset: int) -> Callable[[bytes], Any]:
    return lambda data: decode(data, offset)


def encoded(t: Type, value: Any) -> bytes:
    """The bytes of a value of type `t`, as its variable has them on the stack of a program."""
    if isinstance(t, (Tuple, Record)):
        elements = t.elements if isinstance(t, Tuple) else tuple(e for _, e in t.fields)
        data = bytearray(t.size)
        for element, offset, part in zip(elements, layout(elements)[0], value, strict=True):
            data[offset : offset + element.size] = encoded(element, part).ljust(element.size, b"\0")
        return bytes(data)
    if isinstance(t, Buffer):
        return bytes(len(value).to_bytes(4, "little") + value.ljust(t.capacity, b"\0"))
    if isinstance(value, bytes):
        return value.ljust(t.size, b"\0")
    if isinstance(value, tuple):  # a stack or a symbol
        return b"".join((part & _WORD).to_bytes(8, "little") for part in value if isinstance(part, int))
    return (int(value) & ((1 << 8 * t.size) - 1)).to_bytes(t.size, "little")
