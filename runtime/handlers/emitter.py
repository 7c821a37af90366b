"""Writing a handler's Python source: lines with the script's place for each, names bound to objects, temporaries.

An expression of the script becomes one Python expression wherever possible (a `Code`). What needs statements (an `if` with a value, an
increment inside an expression) is emitted before the line that uses it; `Compiler.operands` keeps the order of evaluation then.
"""

from __future__ import annotations

import keyword
import re
from collections.abc import Iterator
from contextlib import contextmanager
from types import BuiltinMethodType, MethodType
from typing import Any

from pyprobe.lang.source import Span
from pyprobe.runtime.handlers.folding import folded
from pyprobe.runtime.machine.bound import Bound

DEEPEST = 40  # nested parentheses of generated expressions; the Python parser allows 200


class Code:
    """A Python expression. `low` and `high` bound an integer's value (None when it is none); `stable`: evaluating it later or twice makes
    no difference (a constant or a temporary); `depth` is the nesting of parentheses."""

    __slots__ = ("depth", "high", "low", "stable", "text")

    def __init__(self, text: str, low: int | None = None, high: int | None = None, *, stable: bool = False, depth: int = 0) -> None:
        self.text = text
        self.low = low
        self.high = high
        self.stable = stable
        self.depth = depth

    def __repr__(self) -> str:
        return f"Code({self.text!r}, {self.low}, {self.high})"

    @property
    def constant(self) -> int | None:
        """The value of an integer that is known now."""
        return self.low if self.low is not None and self.low == self.high else None


def number(value: int) -> Code:
    """A known integer."""
    text = str(value) if abs(value) < 65536 else hex(value)
    return Code(f"({text})" if value < 0 else text, value, value, stable=True)


def _identity(thing: Any) -> Any:
    """What makes two objects the same free name; a method is made anew each time it is looked up."""
    if isinstance(thing, MethodType | BuiltinMethodType):
        return id(thing.__self__), thing.__name__
    return id(thing)


class Emitter:
    """Collects the body of one handler."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.spans: list[Span | None] = []
        self.objects: dict[str, object] = {}  # free names of the handler, in order of first use
        self._names: dict[Any, str] = {}
        self._taken = {"make", "handler", "blame", "error"}
        self._counts: dict[str, int] = {}  # of the names that have one base
        self._temporaries = 0
        self.indent = 0
        self.span: Span | None = None

    def emit(self, text: str) -> None:
        """Add one line at the present indentation."""
        self.lines.append("    " * self.indent + text)
        self.spans.append(self.span)

    def insert(self, at: int, text: str) -> None:
        """Add one line before line `at`, which was emitted at the present indentation."""
        self.lines.insert(at, "    " * self.indent + text)
        self.spans.insert(at, self.span)

    def indent_from(self, at: int, header: str) -> None:
        """Make the lines from `at` on, and what follows them, the body of a compound statement."""
        self.lines[at:] = ["    " + line for line in self.lines[at:]]
        self.insert(at, header)
        self.indent += 1

    @contextmanager
    def block(self, header: str) -> Iterator[None]:
        """A compound statement; an empty body becomes `pass`."""
        self.emit(header)
        self.indent += 1
        start = len(self.lines)
        yield
        if len(self.lines) == start:
            self.emit("pass")
        self.indent -= 1

    def temporary(self) -> str:
        """A fresh local name."""
        self._temporaries += 1
        return f"t{self._temporaries}"

    def bind(self, thing: object, hint: str) -> str:
        """The free name under which `thing` is reached; the same object gets the same name."""
        identity = _identity(thing)
        known = self._names.get(identity)
        if known is not None:
            return known
        base = re.sub(r"\W", "_", hint)
        if not base or base[0].isdigit() or keyword.iskeyword(base) or re.fullmatch(r"t\d+|v\d*_.*|part\d+|done\d+", base):
            base = f"n_{base}"
        name, count = base, self._counts.get(base, 1)
        while name in self._taken:
            count += 1
            name = f"{base}_{count}"
        self._counts[base] = count
        self._taken.add(name)
        self._names[identity] = name
        self.objects[name] = thing
        return name

    def bound(self, bound: Bound) -> str:
        """A Bound's expression with its names bound; names that are taken by something else are replaced."""
        text = bound.expression
        for name, thing in bound.names.items():
            mine = self.bind(thing, name)
            if mine != name:
                text = re.sub(rf"(?<![\w.]){re.escape(name)}\b", mine, text)
        return text if re.fullmatch(r"[\w.]+(\[\w+\])?", text) else f"({text})"


HEADER = 3  # lines of the frame before the body: def make, def handler, try


def frame(emitter: Emitter) -> tuple[str, list[Span | None]]:
    """The whole source, a factory `make(free names) -> handler`, and the place of each of its lines."""
    body, places = folded(emitter.lines or ["pass"], emitter.spans or [None])
    lines = [f"def make({', '.join([*emitter.objects, 'blame'])}):", "    def handler():", "        try:"]
    lines += [f"            {line}" for line in body]
    lines += ["        except Exception as error:", "            blame(error)", "    return handler", ""]
    spans: list[Span | None] = [None] * HEADER
    return "\n".join(lines), [*spans, *places, *[None] * 4]
