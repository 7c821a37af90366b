"""printf formats: taken apart once, applied with Python's `%` wherever it means the same.

bpftrace formats through C++ streams, which shows: the flag `0` is a plain fill (also before a sign), precision is ignored, and the width
of a value of several parts applies to its first part.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from pyprobe.lang.formats import Spec, parse
from pyprobe.lang.typesys import Array, Buffer, Integer, Record, Stack, Struct, Tuple, Type
from pyprobe.runtime.values import escaped

if TYPE_CHECKING:
    from pyprobe.runtime.values import Renderer


class Conversion:
    """How one argument enters a `bytes % tuple`: the Python conversion, the width and sign of integer it wants first (None: as it is), and
    a function to be applied to the value (None: none)."""

    __slots__ = ("apply", "integer", "python")

    def __init__(self, python: bytes, integer: tuple[int, bool] | None = None, apply: Callable[[Any], bytes] | None = None) -> None:
        self.python = python
        self.integer = integer
        self.apply = apply


def plan(fmt: bytes, types: list[Type], renderer: Renderer) -> tuple[bytes, list[Conversion]]:
    """A Python format and the conversion of each argument."""
    template, conversions = b"", []
    remaining = iter(types)
    for part in parse(fmt):
        if isinstance(part, bytes):
            template += part.replace(b"%", b"%%")
        else:
            conversion = convert(part, next(remaining), renderer)
            conversions.append(conversion)
            template += conversion.python
    return template, conversions


def convert(spec: Spec, t: Type, renderer: Renderer) -> Conversion:
    """The conversion of one argument of type `t`."""
    if spec.letter in ("s", "r", "rx", "rh", "gr"):
        return _text(spec, t, renderer)
    if spec.letter == "c":
        return _padded(spec, lambda value: bytes((value & 0xFF,)))
    if spec.letter == "p":
        return _padded(spec, lambda value: b"0x%x" % (value & (1 << 64) - 1) if value else b"0")
    signed = spec.letter in "di"
    size = spec.bits // 8
    letter = {"d": "d", "i": "d", "u": "d"}.get(spec.letter, spec.letter)
    if not (spec.plus or spec.alternate or spec.zero):
        side = "-" if spec.left else ""
        return Conversion(f"%{side}{spec.width or ''}{letter}".encode(), (size, signed))
    plus = "+" if spec.plus and signed else ""
    prefix = {"x": b"0x", "X": b"0X", "o": b"0"}.get(spec.letter, b"") if spec.alternate else b""
    digits = f"%{plus}{letter}".encode()
    made = _padded(spec, lambda value: (prefix if value else b"") + digits % value)
    made.integer = (size, signed)
    return made


def _pad(spec: Spec) -> Callable[[bytes], bytes]:
    fill = b"0" if spec.zero else b" "
    width = spec.width
    return (lambda text: text.ljust(width, fill)) if spec.left else (lambda text: text.rjust(width, fill))


def _padded(spec: Spec, text: Callable[[Any], bytes]) -> Conversion:
    if not spec.width:
        return Conversion(b"%s", None, text)
    if spec.zero:
        pad = _pad(spec)
        return Conversion(b"%s", None, lambda value: pad(text(value)))
    return Conversion(f"%{'-' if spec.left else ''}{spec.width}s".encode(), None, text)


def _text(spec: Spec, t: Type, renderer: Renderer) -> Conversion:
    if spec.letter == "rx":
        return _padded(spec, lambda value: b"".join([b"\\x%02x" % b for b in value]))
    if spec.letter == "rh":
        return _padded(spec, lambda value: b" ".join([b"%02x" % b for b in value]))
    if spec.letter == "gr":
        from pyprobe.runtime.gfpflags import gfp_text

        return _padded(spec, gfp_text)
    if spec.letter == "r" and isinstance(t, Buffer):
        return _padded(spec, escaped)
    if isinstance(t, Integer) and not (spec.alternate or spec.zero):
        plus = "+" if spec.plus and t.signed else ""
        return Conversion(f"%{plus}{'-' if spec.left else ''}{spec.width or ''}d".encode())
    text = renderer.text(t)
    if isinstance(t, (Tuple, Record, Struct, Array, Stack)) and spec.width:
        return _first_part(spec, t, text)
    return _padded(spec, text)


def _first_part(spec: Spec, t: Type, text: Callable[[Any], bytes]) -> Conversion:
    """Pad only the opening of a value of several parts."""
    pad, opening = _pad(spec), 2 if isinstance(t, (Record, Struct)) else 1

    def padded(value: Any) -> bytes:
        whole = text(value)
        return pad(whole[:opening]) + whole[opening:]

    return Conversion(b"%s", None, padded)
