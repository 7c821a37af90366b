"""The C section: preprocessor lines and struct, union and enum definitions before everything else, cut out without being understood."""

from __future__ import annotations

import re

from pyprobe.lang.lexer import LAYOUT, after_layout

_TAG = re.compile(r"(?:struct|union|enum)(?![A-Za-z0-9_])")
_LINE = re.compile(r"#(?!!)[^\n]*")  # the parser knows no continued lines
_PIECE = re.compile(r"\"(?>[^\"\\\n]+|\\.)*+\"?|'(?>[^'\\\n]+|\\.)*+'?|//[^\n]*|/\*(?>.*?\*/|.*\Z)|[^\"'/]|/", re.S)
_ATTRIBUTE = re.compile(rf"{LAYOUT}__attribute__{LAYOUT}(?=\()", re.S)
_SEMICOLON = re.compile(rf"{LAYOUT};", re.S)
_WORD = re.compile(r"[A-Za-z0-9_]+")
_CLOSING = {"(": ")", "[": "]", "{": "}"}


def script_start(text: str) -> int:
    """The offset after a `#!` line, when one is the first thing besides layout."""
    start = after_layout(text, 0)
    if not text.startswith("#!", start):
        return 0
    end = text.find("\n", start)
    return len(text) if end < 0 else end


def section_end(text: str, start: int) -> int:
    """The end of the C section that begins at or after `start`; `start` itself when there is none."""
    end = start
    while True:
        begin = after_layout(text, end)
        following = definition_end(text, begin)
        if not following:
            return end
        end = following


def definitions(section: str) -> str:
    """The preprocessor lines and definitions of a C section for a C compiler: each begins a line, without what stands between them, and
    definitions end with the semicolon that may be left out."""
    parts = []
    begin = after_layout(section, script_start(section))
    while end := definition_end(section, begin):
        piece = section[begin:end]
        parts.append(piece if piece.startswith("#") else f"{piece.removesuffix(';').rstrip()};")
        begin = after_layout(section, end)
    return "".join(f"{piece}\n" for piece in parts)


def definition_end(text: str, start: int) -> int:
    """The end of the preprocessor line or C definition that begins at `start`, or 0 when none does."""
    if line := _LINE.match(text, start):
        return line.end()
    opening = _body_start(text, start)
    if not opening:
        return 0
    end = _balanced(text, opening)
    while attribute := _ATTRIBUTE.match(text, end):
        end = _balanced(text, attribute.end())
    if semicolon := _SEMICOLON.match(text, end):
        end = semicolon.end()
    return end


def _body_start(text: str, start: int) -> int:
    """The offset of the `{` of a definition: only words and balanced groups may stand between it and the tag. 0 when this is none."""
    tag = _TAG.match(text, start)
    if tag is None:
        return 0
    position = after_layout(text, tag.end())
    while position < len(text):
        character = text[position]
        if character == "{":
            return position
        if character in "([":
            position = _balanced(text, position)
        elif word := _WORD.match(text, position):
            position = word.end()
        else:
            return 0
        position = after_layout(text, position)
    return 0


def _balanced(text: str, opening: int) -> int:
    """The offset after the bracket that closes the one at `opening`; the end of the text when it stays open."""
    expected: list[str] = []
    for piece in _PIECE.finditer(text, opening):
        token = piece[0]
        if token in _CLOSING:
            expected.append(_CLOSING[token])
        elif expected and token == expected[-1]:
            expected.pop()
            if not expected:
                return piece.end()
    return len(text)
