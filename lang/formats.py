"""Formats of printf and its relatives: parsed once into literal stretches and conversions; checked here, executed by the runtime.

A conversion is `%[-][+][ ][#][0][width][.precision][length]letter`, flags in this order. A `%` that begins nothing of the kind is text.
"""

from __future__ import annotations

import re
from functools import lru_cache

from pyprobe.lang.typesys import BOOL, NONE, VOID, Buffer, Enum, Integer, Pointer, Type

_SPEC = re.compile(
    rb"%(?P<flags>-?\+? ?\#?0?)(?P<width>\*|\d+)?(?:\.(?P<precision>\*|\d+)?)?(?P<length>hh|h|ll|l|L|j|z|t)?"
    rb"(?P<letter>gr|rx|rh|[diouxXcpsrfFeEgGaAn%])"
)
_INTEGER_LETTERS = frozenset("diouxXcp")
_FLOAT_LETTERS = frozenset("fFeEgGaAn")
_BUFFER_LETTERS = frozenset({"r", "rx", "rh"})
_BITS = {"hh": 8, "h": 16, "": 32, "L": 32}  # `L` is for floating point; integers stay as without it


class Spec:
    """One conversion. `letter` is `d`, `s`, `rx` ...; `width` is 0 where none was given; `bits` is the width of integer conversions
    (8, 16, 32 or 64) that the length modifier selects, 32 without one."""

    __slots__ = ("alternate", "bits", "left", "letter", "plus", "text", "width", "zero")

    def __init__(self, match: re.Match[bytes]) -> None:
        flags = match["flags"]
        width = match["width"]
        self.text = match[0]
        self.left = b"-" in flags
        self.plus = b"+" in flags
        self.alternate = b"#" in flags
        self.zero = b"0" in flags
        self.width = int(width) if width and width != b"*" else 0
        self.bits = _BITS.get((match["length"] or b"").decode(), 64)
        self.letter = match["letter"].decode()

    def __repr__(self) -> str:
        return f"Spec({self.text!r})"

    def refuses(self, t: Type) -> str:
        """Why a value of this type cannot be printed so: the message, or an empty string."""
        letter = self.letter
        if letter in _FLOAT_LETTERS:
            return f"unsupported format specifier: {letter}"
        if t is NONE or t is VOID:
            return f"unable to print none type for specifier: {letter}"
        if letter in _INTEGER_LETTERS:
            good = isinstance(t, (Integer, Enum, Pointer)) or t is BOOL
        elif letter in _BUFFER_LETTERS:
            good = isinstance(t, Buffer)
        elif letter == "gr":
            good = isinstance(t, (Integer, Enum))
        else:
            good = True
        return "" if good else f"unsupported format specifier for type '{t}': {letter}"


@lru_cache(maxsize=256)
def parse(text: bytes) -> tuple[bytes | Spec, ...]:
    """The parts of a format in order: bytes to print as they are (`%%` is already one `%`), and conversions that take an argument each."""
    parts: list[bytes | Spec] = []
    plain = b""
    at = 0
    for match in _SPEC.finditer(text):
        plain += text[at : match.start()]
        at = match.end()
        if match["letter"] == b"%":
            plain += b"%"
            continue
        if plain:
            parts.append(plain)
            plain = b""
        parts.append(Spec(match))
    plain += text[at:]
    if plain:
        parts.append(plain)
    return tuple(parts)


def specs(text: bytes) -> list[Spec]:
    """The conversions alone."""
    return [part for part in parse(text) if isinstance(part, Spec)]


def count_error(text: bytes, given: int) -> str:
    """The message where the number of arguments does not agree with the format, else an empty string."""
    expected = len(specs(text))
    if given == expected:
        return ""
    word = "not enough" if given < expected else "too many"
    return f"{word} arguments for format string ({given} supplied, {expected} expected)"
