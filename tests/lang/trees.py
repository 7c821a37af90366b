"""Comparing syntax trees by what they mean: spans, types and comments do not count."""

from __future__ import annotations

from typing import Any

from pyprobe.lang import nodes as n
from pyprobe.lang.attachpoint import AttachPoint
from pyprobe.lang.diagnostics import Diagnostics, render
from pyprobe.lang.parser import parse
from pyprobe.lang.source import Source, Span

IGNORED = frozenset(["comments", "c_section_start", "levels", "type"])


def parsed(text: str) -> n.Script:
    """The tree of a program that must be right."""
    diagnostics = Diagnostics()
    script = parse(Source("stdin", text), diagnostics)
    assert script is not None, "\n".join(render(d) for d in diagnostics) + "\n" + text
    return script


def plain(value: Any) -> Any:
    """A tree as nested tuples that compare by content."""
    if isinstance(value, n.Node):
        fields = [(f, getattr(value, f, None)) for f in value.fields if f not in IGNORED]
        return (type(value).__name__, *((f, plain(v)) for f, v in fields if not isinstance(v, Span)))
    if isinstance(value, list | tuple):
        return tuple(plain(v) for v in value)
    if isinstance(value, AttachPoint):
        return ("AttachPoint", value.text)
    return value.strip() if isinstance(value, str) else value


def expression(text: str) -> n.Expr:
    """The tree of an expression."""
    statement = parsed(f"begin {{ $x = {text}; }}").items[0].body.statements[0]  # type: ignore[attr-defined]  # a probe with one assignment
    assert isinstance(statement, n.Assign)
    return statement.value
