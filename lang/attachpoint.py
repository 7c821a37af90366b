"""Attach points: `provider:target:function...`, split into parts and checked as far as that needs no machine.

The body's grammar never sees them, because nearly every character means something else there: the lexer cuts their texts out.
Which parts a provider has is in `lang.providers`.
"""

from __future__ import annotations

from collections.abc import Sequence

from pyprobe.lang.diagnostics import Diagnostics
from pyprobe.lang.literals import LiteralError, probe_number
from pyprobe.lang.source import NOWHERE, Span


class PointError(Exception):
    """An attach point that cannot be: the message for the diagnostic, with hints."""

    def __init__(self, message: str, *hints: str) -> None:
        super().__init__(message)
        self.message = message
        self.hints = hints


class NoMatch(PointError):
    """A point that names nothing that the machine has, which a script may allow (`missing_probes`)."""

    def __init__(self, point: AttachPoint, *hints: str) -> None:
        super().__init__(f"No matches for {point.provider} {point.where}.", *hints)


class AttachPoint:
    """One attach point. `text` is what was written; the parts are filled by the attach-point pass, empty or 0 where absent.

    `provider` is the long lower-case name. `target` is the module, program path, tracepoint category or unit; `function` the
    function, event or signal; `offset` and `address` are in bytes; `rate` is the number of a timer or sample period, `unit` its unit
    (`us`, `ms`, `s`, `hz`); `length` and `mode` belong to watchpoints; `alias` is the `name=` given by the author. `expanded` says that a
    provider with a wildcard made the point, among others.
    """

    __slots__ = (
        "address",
        "alias",
        "expanded",
        "function",
        "language",
        "length",
        "line",
        "mode",
        "namespace",
        "offset",
        "pin",
        "program",
        "provider",
        "rate",
        "span",
        "target",
        "text",
        "unit",
        "written",
    )

    def __init__(self, text: str, span: Span = NOWHERE) -> None:
        self.text = text
        self.span = span
        self.provider = ""
        self.target = ""
        self.function = ""
        self.namespace = ""
        self.language = ""
        self.offset = 0
        self.address = 0
        self.unit = ""
        self.rate = 0
        self.length = 0
        self.mode = ""
        self.line: tuple[str, int, int] | None = None  # (file, line, column) of BIN@FILE:LINE[:COL]
        self.program = 0  # the BPF program id of fentry:bpf:ID:PROG
        self.pin = ""  # where an iterator is pinned
        self.alias = ""
        self.expanded = False
        self.written = ""  # the function as the script wrote it, where a historic name was resolved to today's

    def __repr__(self) -> str:
        return f"AttachPoint({self.text!r})"

    def copy(self, **changes: object) -> AttachPoint:
        """A copy with some parts replaced."""
        twin = AttachPoint.__new__(AttachPoint)  # a wildcard makes thousands
        for name in self.__slots__:
            setattr(twin, name, getattr(self, name))
        for name, value in changes.items():
            setattr(twin, name, value)
        return twin

    @property
    def name(self) -> str:
        """The name that messages show: the author's, else the place."""
        return self.alias or self.place

    @property
    def place(self) -> str:
        """The full text of the place, which the `probe` builtin shows."""
        parts = [self.provider, self.unit or self.target, self.language, self.namespace, str(self.program or "")]
        function = self.written or self.function
        if function:
            parts.append(f"{function}+{self.offset}" if self.offset else function)
        parts += [str(n) if n else "" for n in (self.address, self.rate, self.length)]
        parts.append(self.mode)
        return ":".join(p for p in parts if p)

    @property
    def where(self) -> str:
        """Where the point is, as messages about missing ones name it."""
        return f"{self.target}:{self.function}" if self.target else self.function or f"{self.address:#x}"


def has_wildcard(text: str) -> bool:
    """Whether a text is a pattern: `[]` make one of it too, though they stand for themselves in it."""
    return "*" in text or ("[" in text and "]" in text)


MAX_SUBSTITUTIONS = 100  # a parameter may name another one, or itself


def parse_point(
    text: str, span: Span, params: Sequence[str], diagnostics: Diagnostics, *, user: bool = False, unsafe: bool = False
) -> list[AttachPoint]:
    """The attach points that one written text stands for: one, several when its provider holds a wildcard, none when it is empty.

    `params` are the positional parameters; `user` says that a process was given, so that wildcards mean user-space providers and a
    program's path may be left out; `unsafe` allows kernel addresses. Errors go to `diagnostics`; the list is empty then. What the parts
    may be is for `providers.check` to say.
    """
    from pyprobe.lang import providers

    try:
        alias, parts = split(text, params)
        if not parts[0]:
            return []
        if has_wildcard(parts[0]):
            return _every_provider(parts, text, span, diagnostics, user, unsafe)
        point = AttachPoint(text, span)
        point.alias = alias
        providers.fill(point, parts[0], parts[1:], user, unsafe)
        return [point]
    except PointError as error:
        diagnostics.error(error.message, span).hints += error.hints
        return []


def split(text: str, params: Sequence[str]) -> tuple[str, list[str]]:
    """The alias and the parts of an attach point's text: cut at `:` and around `@`, quotes taken off, `$N` replaced and scanned again."""
    pieces: list[list[str]] = [[]]  # the characters of each part
    rest = list(reversed(text))
    substitutions = 0
    quoted = False
    while rest:
        character = rest.pop()
        if character == '"':
            quoted = not quoted
        elif quoted:
            pieces[-1].append(rest.pop() if character == "\\" and rest else character)
        elif character == ":":
            pieces.append([])
        elif character == "@":
            pieces += [["@"], []]
        elif character == "$":
            substitutions += 1
            if substitutions > MAX_SUBSTITUTIONS:
                raise PointError("positional parameters refer to each other without end")
            rest += reversed(_parameter(rest, params))
        else:
            pieces[-1].append(character)
    parts = ["".join(piece) for piece in pieces]
    alias, equals, provider = parts[0].partition("=")
    return (alias, [provider, *parts[1:]]) if equals and provider else ("", parts)


def _parameter(rest: list[str], params: Sequence[str]) -> str:
    """The text that replaces a `$`; takes the parameter's number off `rest`, which is in reverse."""
    digits = ""
    while rest and rest[-1] in ("0123456789" if digits else "123456789"):
        digits += rest.pop()
    if not digits and rest:
        raise PointError(
            f"invalid trailing character for positional param: {rest[-1]}. "
            f'Try quoting this entire part if this is intentional e.g. "${rest[-1]}".'
        )
    try:
        number = probe_number(digits)
    except LiteralError as error:
        raise PointError(f"positional parameter is not valid: {error.message}") from None
    return params[number - 1] if number <= len(params) else ""


def _every_provider(
    parts: list[str], text: str, span: Span, diagnostics: Diagnostics, user: bool, unsafe: bool
) -> list[AttachPoint]:
    """The points of all providers that a provider with a wildcard matches and that can take so many parts. A wildcard alone is one for
    names, in all providers."""
    from pyprobe.lang import providers

    pattern, arguments = ("*", parts) if len(parts) == 1 else (parts[0], parts[1:])
    names = providers.matching(pattern, user or (len(parts) > 1 and "/" in parts[1]))
    if not names:
        raise PointError(f"No probe type matched for {parts[0]}")
    points: list[AttachPoint] = []
    for name in names:
        if len(names) > 1 and not providers.takes(name, arguments):
            continue
        point = AttachPoint(text, span)
        point.expanded = len(names) > 1
        try:
            providers.fill(point, name, arguments, user, unsafe)
            points.append(point)
        except PointError as error:
            diagnostics.error(error.message, span).hints += error.hints
    return points
