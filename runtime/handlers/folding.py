"""Bodies that nest deeper than Python allows: their innermost blocks become functions of their own, beside the handler's body.

Python takes 100 levels of indentation and 20 loops within each other. A block that goes deeper is cut out and called in its place; the
variables are shared (`nonlocal`), and a jump out of it is told to the caller by what it returns. Ordinary handlers are not touched.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import NamedTuple

from pyprobe.lang.source import Span

MOST_LEVELS = 60  # of blocks in one function
MOST_LOOPS = 15
_INDENT = "    "
_JUMP = re.compile(r"(if .*: )?(break|continue|return)$|(return) (.+)$")
_LOCAL = re.compile(r"\b(?:v\d*_\w+|t\d+)\b")
_CODES = {"break": 1, "continue": 2}


class _Line(NamedTuple):
    """A line of a handler. jump: what has become of a jump out of its function, so that callers pass it on."""

    depth: int
    text: str
    span: Span | None
    jump: str = ""

    @property
    def loop(self) -> bool:
        return self.text.startswith(("for ", "while ")) and self.text.endswith(":")


def folded(lines: Sequence[str], spans: Sequence[Span | None]) -> tuple[list[str], list[Span | None]]:
    """The same body, no deeper than Python allows; the very same where it is not."""
    if not any(line.startswith(_INDENT * MOST_LOOPS) for line in lines):
        return list(lines), list(spans)
    body = [_line(line, span) for line, span in zip(lines, spans, strict=True)]
    names = sorted({name for line in body for name in _LOCAL.findall(line.text)})
    parts: list[list[_Line]] = []
    made = _cut(body, parts)
    functions: list[_Line] = []
    done = 0
    while done < len(parts):  # a part may be cut further, which adds to them
        part = _cut(parts[done], parts)
        done += 1
        functions.append(_Line(0, f"def part{done}():", None))
        if names:
            functions.append(_Line(1, f"nonlocal {', '.join(names)}", None))
        functions += [line._replace(depth=line.depth + 1) for line in part]
    if not parts:
        return list(lines), list(spans)
    first = [_Line(0, f"{' = '.join(names)} = None", None)] if names else []
    whole = [*first, *functions, *made]
    return [_INDENT * line.depth + line.text for line in whole], [line.span for line in whole]


def _line(text: str, span: Span | None) -> _Line:
    bare = text.lstrip(" ")
    return _Line((len(text) - len(bare)) // len(_INDENT), bare, span)


def _cut(lines: Sequence[_Line], parts: list[list[_Line]]) -> list[_Line]:
    """The lines with what is too deep in `parts`, and calls in its place."""
    made: list[_Line] = []
    loops: list[int] = []  # depths of the loops around
    i = 0
    while i < len(lines):
        line = lines[i]
        while loops and loops[-1] >= line.depth:
            loops.pop()
        if line.depth > MOST_LEVELS or len(loops) > MOST_LOOPS:
            end = i
            while end < len(lines) and lines[end].depth >= line.depth:
                end += 1
            part, jumps = _escaping(lines[i:end])
            parts.append([inner._replace(depth=inner.depth - line.depth) for inner in part])
            made += _call(len(parts), line, jumps)
            i = end
            continue
        if line.loop:
            loops.append(line.depth)
        made.append(line)
        i += 1
    return made


def _call(number: int, at: _Line, jumps: set[str]) -> list[_Line]:
    """The call of a part, and what is done about the jumps out of it; those that leave the caller too are passed on."""
    call, result = f"part{number}()", f"done{number}"
    if not jumps:
        return [_Line(at.depth, call, at.span)]
    lines = [_Line(at.depth, f"{result} = {call}", at.span)]
    for jump in sorted(jumps):
        word, _, passed = jump.partition(" ")
        if word == "return":
            test, text = f"{result}.__class__ is tuple", f"return {result}" if passed else f"return {result}[0]"
        else:
            test, text = f"{result} == {_CODES[word]}", f"return {_CODES[word]}" if passed else word
        lines.append(_Line(at.depth, f"if {test}:", at.span))
        lines.append(_Line(at.depth + 1, text, at.span, jump if passed else ""))
    return lines


def _escaping(lines: Sequence[_Line]) -> tuple[list[_Line], set[str]]:
    """The lines of a new part, and the jumps that leave it: by their words, with ` passed` where they leave its caller as well."""
    made: list[_Line] = []
    jumps: set[str] = set()
    loops: list[int] = []
    for line in lines:
        while loops and loops[-1] >= line.depth:
            loops.pop()
        if line.loop:
            loops.append(line.depth)
        found = _JUMP.fullmatch(line.text)
        if line.jump:
            jumps.add(line.jump)
        elif found is not None and not (loops and (found[2] or found[3]) != "return"):
            word = found[2] or found[3]
            text = f"return ({found[4]},)" if found[4] else f"return {_CODES.get(word, '(None,)')}"
            line = line._replace(text=f"{found[1] or ''}{text}", jump=f"{word} passed")
            jumps.add(word)
        made.append(line)
    return made, jumps
