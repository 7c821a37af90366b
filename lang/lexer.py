"""Text to terminals, one at a time and only those that the parser's state accepts.

Nearly everything is one regular expression made from the grammar. What is left needs a look around: whether a `(` opens a cast,
a record or a condition, whether a `/` ends a predicate, whether a word is a keyword here, where an attach point ends. Each of
these questions is one small function.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

from pyprobe.lang.tables import END_OF_TEXT, Tables

BUILTINS = frozenset(
    ["args", "ctx", "kstack", "nsecs", "pid", "tid", "ustack"]
    + [f"__builtin_{n}" for n in ("comm", "cpid", "cpu", "dw_ustack", "elapsed", "func", "ncpus", "probe", "retval", "usermode")]
)
_NUMBERED = re.compile(r"s?arg[0-9]+")

LAYOUT = r"(?>[ \t\r\n]+|//[^\n]*|/\*(?>.*?\*/|.*\Z))*+"  # a block comment that is never closed runs to the end
_LAYOUT = re.compile(LAYOUT, re.S)
_COMMENT = re.compile(r"//[^\n]*|/\*(?:.*?\*/|.*\Z)", re.S)
_PLACE = re.compile(r"[$@][A-Za-z0-9_]*|[A-Za-z_][A-Za-z0-9_]*|[0-9][A-Za-z0-9.]*|.", re.S)
_STORED = re.compile(r"[$@](?![0-9#])")
_TYPE_NAME = re.compile(rf"(?:(?:struct|union|enum)(?![A-Za-z0-9_]){LAYOUT})?([A-Za-z_][A-Za-z0-9_]*)", re.S)
_POINTER = re.compile(LAYOUT + r"\*", re.S)
_BRACKET = re.compile(LAYOUT + r"\[" + LAYOUT, re.S)
_SIZE = re.compile(r"[0-9][A-Za-z0-9_]*|([A-Za-z_][A-Za-z0-9_]*)")
_OPENING = re.compile(LAYOUT + r"\(", re.S)
_CAST_END = re.compile(rf"{LAYOUT}\){LAYOUT}[0-9$@\"(\-!~*&A-Za-z_]", re.S)
_OPERAND_END = re.compile(LAYOUT + r"[),]", re.S)
_NAMED = re.compile(rf"\({LAYOUT}([A-Za-z_][A-Za-z0-9_]*){LAYOUT}=(?!=)", re.S)
_ASSIGNED = re.compile(LAYOUT + r"=(?!=)", re.S)
_BODY_FOLLOWS = re.compile(rf"/{LAYOUT}(?:\{{|(?<=[ \t\r\n])<)", re.S)
_TOKENS_WITH_PARENS = re.compile(r"\"(?>[^\"\\\n]+|\\.)*+\"?|//[^\n]*|/\*(?:.*?\*/|.*\Z)|[()]", re.S)
ENTRIES = frozenset(("CONFIG", "IMPORT", "MACRO", "FN", "LET"))  # the keywords that begin one


class Mistake(Exception):
    """A syntax error: its message and the offsets of the text it is about; an empty stretch stands for the word there."""

    def __init__(self, message: str, start: int, end: int) -> None:
        super().__init__(message)
        self.message = message
        self.start = start
        self.end = end


MAX_PARENS = 1000  # looked through for the end of a `typeof(`; the parser gives up earlier


class Token:
    """One terminal: its name, its text and the offset where it begins; literals get their `value` when the parser takes them."""

    __slots__ = ("end", "start", "terminal", "text", "value")

    def __init__(self, terminal: str, text: str, start: int) -> None:
        self.terminal = terminal
        self.text = text
        self.start = start
        self.end = start + len(text)
        self.value: Any = text

    def __repr__(self) -> str:
        return f"{self.terminal}({self.text!r})"


def is_builtin(name: str) -> bool:
    """Whether the parser itself knows the word as a value, so that it can be neither a type nor a parameter."""
    return name in BUILTINS or _NUMBERED.fullmatch(name) is not None


class Lexer:
    """Cuts `text` into terminals from `position` on. `comments` collects (offset, text) of the comments passed."""

    def __init__(self, tables: Tables, text: str, position: int = 0) -> None:
        self.text = text
        self.position = position
        self.comments: list[tuple[int, str]] = []
        self.last = ""  # the terminal before
        self._keywords = tables.keywords
        self._match = re.compile(tables.pattern, re.A).match

    def next(self, accepted: Mapping[str, int], viable: Callable[..., bool]) -> Token:
        """The next terminal for a state that accepts these.

        States are shared between places in the text, so a state may accept more than can really come; `viable(*terminals)` knows
        whether these can come here, one after the other.
        """
        start = self._skip()
        text = self.text
        if start == len(text):
            return Token(END_OF_TEXT, "", start)
        if "POINT" in accepted and viable("POINT"):
            return self._at_top_level(accepted, start)
        match = self._match(text, start)
        if match is None:
            return Token("", text[start], start)
        terminal = match.lastgroup or ""
        word = match[0]
        if terminal == "NAME":
            terminal = self._word(word, start, accepted)
        elif terminal == "LPAR":
            terminal = self._opening(start, accepted)
        elif terminal == "SLASH":
            if "PREDICATE_END" in accepted and _BODY_FOLLOWS.match(text, start):
                terminal = "PREDICATE_END"
        elif word == "<" and "ANGLE_OPEN" in accepted and text[start - 1] in " \t\r\n":
            terminal = "ANGLE_OPEN"
        elif word[0] == ">" and ("ANGLE_CLOSE" in accepted or "END" in accepted) and self._closes(accepted, viable):
            terminal, word = "ANGLE_CLOSE", ">"
        elif word == "==" and "ASSIGN" in accepted and "EQUALITY" not in accepted:
            terminal, word = "ASSIGN", "="
        elif word == "*=" and "STAR" in accepted and "COMPOUND" not in accepted:  # after a type
            terminal, word = "STAR", "*"
        if "TYPE_NEXT" in accepted and terminal in ("NAME", "TYPEOF"):
            end = type_end(text, start)
            if end and _OPERAND_END.match(text, end):
                return Token("TYPE_NEXT", "", start)
        self.position = start + len(word)
        self.last = terminal
        return Token(terminal, word, start)

    def place(self, offset: int) -> tuple[int, int]:
        """The stretch that messages about the text at `offset` mark: a whole word, or one character; nothing at the end."""
        match = _PLACE.match(self.text, offset)
        return (offset, match.end()) if match else (offset, offset)

    def _skip(self) -> int:
        """Step over white space and comments."""
        match = _LAYOUT.match(self.text, self.position)
        assert match is not None  # the pattern may match nothing, but it matches
        if match.end() > self.position:
            if "/" in match[0]:
                known = self.comments[-1][0] if self.comments else -1
                found = _COMMENT.finditer(self.text, self.position, match.end())
                self.comments += [(c.start(), c[0]) for c in found if c.start() > known]
            self.position = match.end()
        return self.position

    def _word(self, word: str, start: int, accepted: Mapping[str, int]) -> str:
        """A word is a keyword where the state accepts that one."""
        keyword = self._keywords.get(word)
        if keyword in accepted:
            return keyword or ""
        if word == "_" and "DISCARD" in accepted and _ASSIGNED.match(self.text, start + 1):
            return "DISCARD"
        return "NAME"

    def _opening(self, start: int, accepted: Mapping[str, int]) -> str:
        """Which of the four `(` this is."""
        if "CONDITION_OPEN" in accepted:
            return "CONDITION_OPEN"
        if "CAST_OPEN" in accepted:
            named = _NAMED.match(self.text, start)
            if named and not is_builtin(named[1]):
                return "RECORD_OPEN"
            end = type_end(self.text, after_layout(self.text, start + 1))
            if end and _CAST_END.match(self.text, end):
                return "CAST_OPEN"
        return "LPAR"

    def _closes(self, accepted: Mapping[str, int], viable: Callable[..., bool]) -> bool:
        """Whether a `>` closes an outer body: where a statement could start, or after the block that ends one."""
        if "RELATION" not in accepted:
            return "ANGLE_CLOSE" in accepted
        return self.last == "RBRACE" and (viable("ANGLE_CLOSE") or viable("END", "ANGLE_CLOSE"))

    def _at_top_level(self, accepted: Mapping[str, int], start: int) -> Token:
        """A keyword that begins an entry, what may follow a point's comma, or an attach point."""
        text = self.text
        match = self._match(text, start)
        terminal = match.lastgroup if match else None
        if match and terminal == "NAME":
            keyword = self._keywords.get(match[0])
            if keyword in accepted and keyword in ENTRIES:
                self.position = match.end()
                return Token(keyword or "", match[0], start)
        elif match and terminal in ("SLASH", "LBRACE") and terminal in accepted:
            self.position = match.end()
            return Token(terminal, match[0], start)
        elif text[start] == "<" and "ANGLE_OPEN" in accepted:
            self.position = start + 1
            return Token("ANGLE_OPEN", "<", start)
        end = point_end(text, start)
        self.position = end
        return Token("POINT" if end > start else "", text[start:end], start)


def point_end(text: str, start: int) -> int:
    """Where the attach point that begins at `start` ends: before `{`, `,`, white space, or a `/` with no `:` before it.

    Quotes hide all of these.
    """
    colon = False
    position = start
    while position < len(text):
        character = text[position]
        if character == '"':
            position += 1
            while position < len(text) and text[position] != '"':
                position += 2 if text[position] == "\\" else 1
        elif character in "{, \t\r\n" or (character == "/" and not colon):
            break
        elif character == ":":
            colon = True
        position += 1
    return min(position, len(text))


def type_end(text: str, start: int) -> int:
    """Where a type that begins at `start` ends, or 0 when none begins there. A bare word that is a builtin value is none."""
    match = _TYPE_NAME.match(text, start)
    if match is None or match[0] in ("true", "false", "struct", "union", "enum") or is_builtin(match[0]):
        return 0
    end = match.end()
    if match[0] == "typeof":
        opening = _OPENING.match(text, end)
        end = _closing(text, opening.end()) if opening else 0
        if not end:
            return 0
    while True:
        if suffix := _POINTER.match(text, end):
            end = suffix.end()
        elif suffix := _BRACKET.match(text, end):
            end = _size_end(text, suffix.end())
        else:
            return end


def _size_end(text: str, start: int) -> int:
    """Where the brackets of an array type end. A name before a `[` is taken for a type here, so only a number may stand between them."""
    end = start
    if size := _SIZE.match(text, start):
        if size[1]:
            raise Mistake(f"invalid integer suffix '{size[1]}'", *size.span())
        end = after_layout(text, size.end())
    if text[end : end + 1] != "]":
        raise Mistake("expected ']'", end, end)
    return end + 1


def _closing(text: str, start: int) -> int:
    """The offset after the `)` that closes a `(` ending at `start`, or 0 (also when there are more levels than anything may have)."""
    depth = 1
    for token in _TOKENS_WITH_PARENS.finditer(text, start):
        depth += {"(": 1, ")": -1}.get(token[0], 0)
        if depth == 0:
            return token.end()
        if depth > MAX_PARENS:
            break
    return 0


def after_layout(text: str, start: int) -> int:
    """The offset of the first thing at or after `start` that is neither white space nor a comment."""
    match = _LAYOUT.match(text, start)
    return match.end() if match else start


def begins_stored(text: str, start: int) -> bool:
    """Whether a variable or a map stands at `start`, and no parameter of the command line."""
    return _STORED.match(text, start) is not None
