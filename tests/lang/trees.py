"""Syntax trees of texts that must be right."""

from __future__ import annotations

from pyprobe.lang import nodes as n
from pyprobe.lang.diagnostics import Diagnostics, render
from pyprobe.lang.parser import parse
from pyprobe.lang.source import Source
from pyprobe.scripts.dev.plain_trees import plain

__all__ = ["expression", "parsed", "plain"]


def parsed(text: str) -> n.Script:
    """The tree of a program that must be right."""
    diagnostics = Diagnostics()
    script = parse(Source("stdin", text), diagnostics)
    assert script is not None, "\n".join(render(d) for d in diagnostics) + "\n" + text
    return script


def expression(text: str) -> n.Expr:
    """The tree of an expression."""
    statement = parsed(f"begin {{ $x = {text}; }}").items[0].body.statements[0]  # type: ignore[attr-defined]  # a probe with one assignment
    assert isinstance(statement, n.Assign)
    return statement.value
