"""Filters of events: what `events/GROUP/EVENT/filter` takes (Documentation/trace/events.rst, kernel/trace/trace_events_filter.c).

    FIELD OPERATOR VALUE, joined by &&, || and !, with parentheses. Operators for numbers: == != < <= > >= &; for strings,
    which are quoted: == != and ~, whose VALUE is a pattern with * and ?.
"""

from __future__ import annotations

import errno
import operator
import re
from collections.abc import Callable, Mapping
from fnmatch import fnmatchcase

from pyprobe.runtime.kprobes.api import KprobeError

Value = int | str
Fields = Callable[[str], Value]
"""The value of a field of the event that is being filtered."""
Filter = Callable[[Fields], bool]

_TOKEN = re.compile(r"""\s*(&&|\|\||[()]|[=!<>]=|[<>&~!]|"[^"]*"|'[^']*'|[^\s()&|=!<>~"']+)""")
_NUMBERS: dict[str, Callable[[int, int], object]] = {
    "==": operator.eq,
    "!=": operator.ne,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
    "&": operator.and_,
}
_STRINGS: dict[str, Callable[[str, str], object]] = {"==": operator.eq, "!=": operator.ne, "~": fnmatchcase}


def parse(text: str, fields: Mapping[str, type]) -> Filter:
    """A filter on fields, each of which is an int or a str. Raises KprobeError(EINVAL)."""
    tokens: list[str] = []
    at, text = 0, text.rstrip()
    while at < len(text):
        found = _TOKEN.match(text, at)
        if found is None:
            raise KprobeError(errno.EINVAL, f"not a filter: {text}")
        tokens.append(found[1])
        at = found.end()
    parser = _Parser(tokens, fields, text)
    made = parser.either()
    if tokens:
        raise parser.wrong()
    return made


class _Parser:
    """Recursive descent over `tokens`, which it uses up."""

    def __init__(self, tokens: list[str], fields: Mapping[str, type], text: str) -> None:
        self.tokens = tokens
        self.fields = fields
        self.text = text

    def wrong(self) -> KprobeError:
        return KprobeError(errno.EINVAL, f"not a filter: {self.text}")

    def taken(self, token: str) -> bool:
        if self.tokens and self.tokens[0] == token:
            del self.tokens[0]
            return True
        return False

    def next(self) -> str:
        if not self.tokens:
            raise self.wrong()
        return self.tokens.pop(0)

    def either(self) -> Filter:
        parts = [self.both()]
        while self.taken("||"):
            parts.append(self.both())
        return parts[0] if len(parts) == 1 else lambda fields: any(part(fields) for part in parts)

    def both(self) -> Filter:
        parts = [self.one()]
        while self.taken("&&"):
            parts.append(self.one())
        return parts[0] if len(parts) == 1 else lambda fields: all(part(fields) for part in parts)

    def one(self) -> Filter:
        if self.taken("!"):
            inner = self.one()
            return lambda fields: not inner(fields)
        if self.taken("("):
            made = self.either()
            if not self.taken(")"):
                raise self.wrong()
            return made
        return self.predicate()

    def predicate(self) -> Filter:
        name, sign, value = self.next(), self.next(), self.next()
        kind = self.fields.get(name)
        if kind is str and sign in _STRINGS:
            compare, text = _STRINGS[sign], value[1:-1]
            if value[0] not in "\"'":
                raise self.wrong()
            return lambda fields: bool(compare(str(fields(name)), text))
        if kind is int and sign in _NUMBERS:
            test = _NUMBERS[sign]
            try:
                number = int(value, 0)
            except ValueError:
                raise self.wrong() from None
            return lambda fields: bool(test(int(fields(name)), number))
        raise KprobeError(errno.EINVAL, f"no field {name}" if kind is None else f"{sign} is not for {name}")
