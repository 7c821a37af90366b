"""Comparing syntax trees by what they mean: spans, types and comments do not count."""

from __future__ import annotations

from typing import Any

from pyprobe.lang import nodes as n
from pyprobe.lang.attachpoint import AttachPoint
from pyprobe.lang.source import Span

IGNORED = frozenset(["comments", "c_section_start", "levels", "type"])


def plain(value: Any) -> Any:
    """A tree as nested tuples that compare by content."""
    if isinstance(value, n.Node):
        fields = [(f, getattr(value, f, None)) for f in value.fields if f not in IGNORED]
        return (type(value).__name__, *((f, plain(v)) for f, v in fields if not isinstance(v, Span)))
    if isinstance(value, list | tuple):
        return tuple(plain(v) for v in value)
    if isinstance(value, AttachPoint):
        return ("AttachPoint", value.text)
    return [line.rstrip() for line in value.strip().split("\n")] if isinstance(value, str) else value
