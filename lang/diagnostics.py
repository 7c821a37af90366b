"""Diagnostics are values: a severity, a message, a place, hints and further places. Rendering happens in one function, at the door.

A stage appends to a `Diagnostics` list and goes on, so that all errors of a stage are reported together; the pipeline stops
between stages when `failed` is set.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Literal

from pyprobe.lang.source import Span

Severity = Literal["error", "warning"]


class Diagnostic:
    """One finding. `span` is None for messages that have no place; `contexts` are further places with a message of their own.
    The text of a `plain` one is shown as it is, without `ERROR:`, as it comes from a program with a layout of its own."""

    __slots__ = ("contexts", "hints", "message", "plain", "severity", "span")

    def __init__(self, severity: Severity, message: str, span: Span | None = None) -> None:
        self.severity: Severity = severity
        self.message = message
        self.span = span
        self.plain = False
        self.hints: list[str] = []
        self.contexts: list[tuple[Span, str]] = []

    def __repr__(self) -> str:
        return f"Diagnostic({self.severity}, {self.message!r}, {self.span!r})"

    def hint(self, text: str) -> Diagnostic:
        """Add a `HINT:` line; returns self so that calls chain."""
        self.hints.append(text)
        return self

    def context(self, span: Span, message: str) -> Diagnostic:
        """Add another place that explains this one; returns self so that calls chain."""
        self.contexts.append((span, message))
        return self


class Diagnostics:
    """The findings of a compilation, in the order they were made."""

    def __init__(self) -> None:
        self.items: list[Diagnostic] = []
        self._warnings: dict[object, Diagnostic] = {}  # by message and place, of the first `_known` items
        self._known = 0

    def __iter__(self) -> Iterator[Diagnostic]:
        return iter(self.items)

    def error(self, message: str, span: Span | None = None) -> Diagnostic:
        return self._add(Diagnostic("error", message, span))

    def warning(self, message: str, span: Span | None = None) -> Diagnostic:
        """Add a warning once: the same text at the same place is not repeated."""
        for item in self.items[self._known :]:
            if item.severity == "warning":
                self._warnings.setdefault(_identity(item.message, item.span), item)
        self._known = len(self.items)
        known = self._warnings.get(_identity(message, span))
        return known if known is not None else self._add(Diagnostic("warning", message, span))

    def plain(self, message: str) -> Diagnostic:
        """Add an error whose text is the whole line (or lines) to show."""
        found = self.error(message)
        found.plain = True
        return found

    def _add(self, diagnostic: Diagnostic) -> Diagnostic:
        self.items.append(diagnostic)
        return diagnostic

    @property
    def failed(self) -> bool:
        return any(d.severity == "error" for d in self.items)

    def ordered(self) -> list[Diagnostic]:
        """Warnings without a place, errors, other warnings; each in the order they were found."""
        return sorted(self.items, key=lambda d: 1 if d.severity == "error" else 0 if d.span is None else 2)


class CompileError(Exception):
    """Raised by the pipeline's driver when a stage failed; carries every diagnostic so far."""

    def __init__(self, diagnostics: Diagnostics, exit_code: int = 1) -> None:
        super().__init__(next((d.message for d in diagnostics if d.severity == "error"), "error"))
        self.diagnostics = diagnostics
        self.exit_code = exit_code


def _identity(message: str, span: Span | None) -> object:
    return message, None if span is None else (id(span.source), span.start, span.end)


def excerpt(span: Span) -> list[str]:
    """The source lines of a span, with markers below when it lies on one line (tabs are shown as four blanks)."""
    first, last = span.source.place(span.start)[0], span.source.place(span.end)[0]
    if first != last:
        return [span.source.line(n) for n in range(first, last + 1)]
    text = span.source.line(first)
    column, end = span.source.in_line(span.start), span.source.in_line(span.end)
    before = text[:column].replace("\t", "    ")
    marked = text[column:end].replace("\t", "    ")
    return [text.replace("\t", "    "), " " * len(before) + "~" * len(marked)]


def render(diagnostic: Diagnostic, paint: Callable[[str, Severity], str] = lambda text, severity: text) -> str:
    """The diagnostic as the lines shown to a person: header, source with markers, contexts, hints; no final newline.

    paint: what gives a header its colour.
    """
    severity = diagnostic.severity
    word = diagnostic.severity.upper()
    message = diagnostic.message.removesuffix("\n")  # a text of the script may end its line itself
    if diagnostic.plain:
        lines = [paint(message, severity)]
    elif diagnostic.span is None:
        lines = [paint(f"{word}: {message}", severity)]
    else:
        lines = _place(diagnostic.span, f"{word}: {message}", severity, paint)
        for span, message in diagnostic.contexts:
            lines += _place(span, f"{word}: {message}", severity, paint)
        outer = diagnostic.span.outer
        while outer is not None:
            lines += _place(outer, f"{word}: expanded from", severity, paint)
            outer = outer.outer
    lines += [f"HINT: {hint}" for hint in diagnostic.hints]
    return "\n".join(lines)


def _place(span: Span, text: str, severity: Severity, paint: Callable[[str, Severity], str]) -> list[str]:
    return [paint(f"{span.source.name}:{span.header}: {text}", severity), *excerpt(span)]


COLOURS: dict[Severity, str] = {"error": "31", "warning": "33"}


def coloured(text: str, severity: Severity) -> str:
    """A message in its colour: errors are red, warnings yellow (SGR numbers)."""
    return f"\033[{COLOURS[severity]}m{text}\033[0m"
