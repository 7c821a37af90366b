"""printf formats: taken apart once, applied with Python's `%` wherever it means the same.

bpftrace formats through C++ streams, which shows: the flag `0` is a plain fill (also before a sign), precision is ignored, and the width
of a value of several parts applies to its first part.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from pyprobe.lang.typesys import Array, Buffer, Integer, Record, Stack, Struct, Tuple, Type
from pyprobe.runtime.values import escaped

if TYPE_CHECKING:
    from pyprobe.runtime.values import Renderer

SPEC = re.compile(
    rb"%(?P<flags>-?\+? ?#?0?)(?P<width>\d+|\*)?(?:\.(?:\d+|\*)?)?(?P<length>hh|h|ll|l|L|j|z|t)?(?P<conv>rx|rh|gr|[diuoxXcpsr])"
    rb"|%\d*%"
)
_SIZES = {"": 4, "hh": 1, "h": 2}


class Spec:
    """One conversion of a format."""

    __slots__ = ("conv", "flags", "length", "width")

    def __init__(self, flags: str, width: int, length: str, conv: str) -> None:
        self.flags = flags
        self.width = width
        self.length = length
        self.conv = conv

    @property
    def size(self) -> int:
        """Bytes that an integer conversion takes of its argument."""
        return _SIZES.get(self.length, 8)


def parse(fmt: bytes) -> list[bytes | Spec]:
    """A format as literal stretches and conversions."""
    parts: list[bytes | Spec] = []
    at = 0
    for match in SPEC.finditer(fmt):
        parts.append(fmt[at : match.start()])
        at = match.end()
        if match["conv"] is None:
            parts.append(b"%")
            continue
        flags, width, length, conv = ((match[name] or b"").decode() for name in ("flags", "width", "length", "conv"))
        parts.append(Spec(flags, int(width) if width.isdigit() else 0, length, conv))
    parts.append(fmt[at:])
    return [part for part in parts if part]


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
    if spec.conv in ("s", "r", "rx", "rh", "gr"):
        return _text(spec, t, renderer)
    if spec.conv == "c":
        return _padded(spec, lambda value: bytes((value & 0xFF,)))
    if spec.conv == "p":
        return _padded(spec, lambda value: b"0x%x" % (value & (1 << 64) - 1) if value else b"0")
    signed = spec.conv in "di"
    size = spec.size
    letter = {"d": "d", "i": "d", "u": "d"}.get(spec.conv, spec.conv)
    if not set(spec.flags) - {"-", " "}:
        side = "-" if "-" in spec.flags else ""
        return Conversion(f"%{side}{spec.width or ''}{letter}".encode(), (size, signed))
    plus = "+" if "+" in spec.flags and signed else ""
    prefix = {"x": b"0x", "X": b"0X", "o": b"0"}.get(spec.conv, b"") if "#" in spec.flags else b""
    digits = f"%{plus}{letter}".encode()
    made = _padded(spec, lambda value: (prefix if value else b"") + digits % value)
    made.integer = (size, signed)
    return made


def _pad(spec: Spec) -> Callable[[bytes], bytes]:
    fill = b"0" if "0" in spec.flags else b" "
    width = spec.width
    return (lambda text: text.ljust(width, fill)) if "-" in spec.flags else (lambda text: text.rjust(width, fill))


def _padded(spec: Spec, text: Callable[[Any], bytes]) -> Conversion:
    if not spec.width:
        return Conversion(b"%s", None, text)
    if "0" in spec.flags:
        pad = _pad(spec)
        return Conversion(b"%s", None, lambda value: pad(text(value)))
    return Conversion(f"%{'-' if '-' in spec.flags else ''}{spec.width}s".encode(), None, text)


def _text(spec: Spec, t: Type, renderer: Renderer) -> Conversion:
    if spec.conv == "rx":
        return _padded(spec, lambda value: b"".join([b"\\x%02x" % b for b in value]))
    if spec.conv == "rh":
        return _padded(spec, lambda value: b" ".join([b"%02x" % b for b in value]))
    if spec.conv == "gr":
        from pyprobe.runtime.gfpflags import gfp_text

        return _padded(spec, gfp_text)
    if spec.conv == "r" and isinstance(t, Buffer):
        return _padded(spec, escaped)
    if isinstance(t, Integer) and not set(spec.flags) - {"-", "+", " "}:
        plus = "+" if "+" in spec.flags and t.signed else ""
        return Conversion(f"%{plus}{'-' if '-' in spec.flags else ''}{spec.width or ''}d".encode())
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
