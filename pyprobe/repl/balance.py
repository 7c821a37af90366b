"""When a typed text is complete: strings closed and brackets balanced."""

from __future__ import annotations

import re

_PIECES = re.compile(r'"(?:\\.|[^"\\\n])*"?|//[^\n]*|/\*.*?(?:\*/|\Z)|[{}()]', re.S)
_CLOSES = {"}": "{", ")": "("}


def complete(text: str) -> bool:
    """Whether `text` needs no further line. More closing than opening brackets count as complete: the parser says what is wrong."""
    depth = 0
    for match in _PIECES.finditer(text):
        piece = match.group()
        if piece in "{(":
            depth += 1
        elif piece in _CLOSES:
            depth -= 1
        elif piece.startswith("/*") and not piece.endswith("*/"):
            return False
    return depth <= 0 and not _header_only(text)


def _header_only(text: str) -> bool:
    """A probe's attach points without their body yet: `kprobe:f` or `kprobe:f /pred/` at the end of a line."""
    return "{" not in text and "<" not in text and re.match(r"\s*\w+:[^\s;()]+(\s*,\s*\S+)*(\s*/.*/)?\s*,?\s*$", text) is not None
