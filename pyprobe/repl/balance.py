"""When a typed text is complete: comments closed, brackets balanced, and a header followed by its body."""

from __future__ import annotations

import re

# Nothing here tries a second time what it has taken once: a text that does not fit would cost exponential time.
_PIECES = re.compile(r'"(?>\\.|[^"\\\n]+)*+"?|//[^\n]*|/\*.*?(?:\*/|\Z)|[][{}()]', re.S)
_DEPTH = {"{": 1, "(": 1, "[": 1, "}": -1, ")": -1, "]": -1}
_POINT = r'(?:begin|end|BEGIN|END|\w+:(?>"[^"]*"|[^\s;(){},"])++)'
_PROBE = rf"\s*+{_POINT}(?>\s*,\s*{_POINT})*+\s*+,?\s*+(?:/[^{{]*/\s*+)?"
_OTHER = r"\s*(?:macro\s+\w+\s*\(.*\)|fn\s.*|(?:struct|union|enum)\s+\w+|config(?:\s*=)?)\s*"
_HEADER = re.compile(rf"{_PROBE}|{_OTHER}", re.S)
_ANGLED = re.compile(rf"{_PROBE}(?<=\s)<(?=\s|\Z)(?P<body>.*)", re.S)


def complete(text: str) -> bool:
    """Whether `text` needs no further line. More closing than opening brackets count as complete: the parser says what is wrong."""
    depth = 0
    for match in _PIECES.finditer(text):
        piece = match.group()
        depth += _DEPTH.get(piece, 0)
        if piece.startswith("/*") and not (piece.endswith("*/") and len(piece) > 3):
            return False
    bare = without_comments(text)
    angled = _ANGLED.fullmatch(bare)
    if angled is not None and not re.search(r"(?:^|[;}])\s*>\s*$", angled["body"]):
        return False
    return depth <= 0 and _HEADER.fullmatch(bare) is None


def without_comments(text: str) -> str:
    """The text with a blank in place of each comment."""
    return _PIECES.sub(lambda piece: " " if piece[0].startswith("/") else piece[0], text)
