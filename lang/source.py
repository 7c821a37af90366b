"""Where text came from: a `Source` is one named text, a `Span` a stretch of it.

Offsets are character offsets into the text; lines and columns (counted from 1, a column is a byte of UTF-8, a tab is one too) are worked
out only when a diagnostic is shown, so that a parse pays nothing for them.
"""

from __future__ import annotations

from bisect import bisect_right
from functools import cached_property


class Source:
    """One text with the name that messages show (`stdin`, a file name as given, `definitions.h`)."""

    def __init__(self, name: str, text: str) -> None:
        self.name = name
        self.text = text

    @cached_property
    def _line_starts(self) -> list[int]:
        return [0, *(i + 1 for i, c in enumerate(self.text) if c == "\n")]

    def place(self, offset: int) -> tuple[int, int]:
        """Line and column, both from 1, of a character offset."""
        line = bisect_right(self._line_starts, offset)
        before = self.text[self._line_starts[line - 1] : offset]
        return line, (len(before) if before.isascii() else len(before.encode("utf-8", "surrogateescape"))) + 1

    def in_line(self, offset: int) -> int:
        """How many characters of its line stand before a character offset."""
        return offset - self._line_starts[bisect_right(self._line_starts, offset) - 1]

    def line(self, number: int) -> str:
        """The text of a line (from 1) without its newline; empty beyond the end."""
        starts = self._line_starts
        if not 1 <= number <= len(starts):
            return ""
        end = starts[number] - 1 if number < len(starts) else len(self.text)
        return self.text[starts[number - 1] : end]


class Span:
    """A stretch of a source; `end` is exclusive. `outer` is the call that a macro's code was expanded from."""

    __slots__ = ("end", "outer", "source", "start")

    def __init__(self, source: Source, start: int, end: int, outer: Span | None = None) -> None:
        self.source = source
        self.start = start
        self.end = end
        self.outer = outer

    def __repr__(self) -> str:
        return f"Span({self.source.name}:{self.header})"

    def to(self, other: Span) -> Span:
        """The stretch from the start of this span to the end of another one of the same source."""
        return Span(self.source, self.start, max(self.end, other.end), self.outer)

    @property
    def outermost(self) -> Span:
        """The call in the script that led here; itself outside of macros."""
        span = self
        while span.outer is not None:
            span = span.outer
        return span

    @property
    def text(self) -> str:
        return self.source.text[self.start : self.end]

    @property
    def header(self) -> str:
        """`L:C1-C2` (C2 exclusive), or `L1-L2` when the stretch runs over several lines."""
        line, column = self.source.place(self.start)
        last, last_column = self.source.place(self.end)
        if self.end - self.start == 1:
            last_column = min(last_column, column + 1)  # one character that cannot be read is its first byte
        return f"{line}:{column}-{last_column}" if line == last else f"{line}-{last}"


NOWHERE = Span(Source("", ""), 0, 0)
