"""Attach points: `provider:target:function...` cut out of the text by a small scanner, split, and checked provider by provider.

The body's grammar never sees them, because nearly every character means something else there.
"""

from __future__ import annotations

from pyprobe.lang.source import NOWHERE, Span


class PointError(Exception):
    """An attach point that cannot be: the message for the diagnostic, with hints."""

    def __init__(self, message: str, *hints: str) -> None:
        super().__init__(message)
        self.message = message
        self.hints = hints


class AttachPoint:
    """One attach point. `text` is what was written; the parts are filled by the attach-point pass, empty or 0 where absent.

    `provider` is the long lower-case name. `target` is the module, program path, tracepoint category or unit; `function` the
    function, event or signal; `offset` and `address` are in bytes; `rate` is the number of a timer or sample period, `unit` its unit
    (`us`, `ms`, `s`, `hz`); `length` and `mode` belong to watchpoints; `alias` is the `name=` given by the author.
    """

    __slots__ = ("address", "alias", "function", "language", "length", "line", "mode", "namespace", "offset", "provider", "rate", "span", "target", "text", "unit", "written")

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
        self.alias = ""
        self.written = ""  # the function as the script wrote it, where a historic name was resolved to today's

    def __repr__(self) -> str:
        return f"AttachPoint({self.text!r})"

    def copy(self, **changes: object) -> AttachPoint:
        """A copy with some parts replaced."""
        twin = AttachPoint(self.text, self.span)
        for name in self.__slots__:
            setattr(twin, name, changes.get(name, getattr(self, name)))
        return twin

    @property
    def name(self) -> str:
        """The name that the `probe` builtin and messages show."""
        if self.alias:
            return self.alias
        parts = [self.provider, self.unit or self.target, self.language, self.namespace]
        function = self.written or self.function
        if function:
            parts.append(f"{function}+{self.offset}" if self.offset else function)
        parts += [str(n) if n else "" for n in (self.address, self.rate, self.length)]
        parts.append(self.mode)
        return ":".join(p for p in parts if p)
