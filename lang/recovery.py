"""What else is said after the first syntax error.

bpftrace's reader goes on after an error, without stepping over anything, to the end of the statement: what is open around the error then
misses its own end at the same place and says so, each in turn, and where one of them can go on there the rest of the statement is read.
Here the terminals that were missed are put on the parser's stack, without values, and its tables are asked again.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pyprobe.lang.action_expressions import ADDRESS_OF
from pyprobe.lang.lexer import Mistake, Token, after_layout, begins_stored
from pyprobe.lang.tables import END_OF_TEXT

if TYPE_CHECKING:
    from pyprobe.lang.parser import Parser

MOST_READ = 1000  # terminals after the first error

# What is taken for read after these messages, so that what is open around it goes on.
FILLED = {
    "expected expression": ["NAME"],
    "expected identifier after '$'": ["NAME"],
    "unterminated string": ["STRING"],
    "expected type name": ["NAME"],
    "expected field name after '.'": ["NAME"],
    "expected field name after '->'": ["NAME"],
    "expected '('": ["LPAR"],
    "expected ')'": ["RPAR"],
    "expected ']'": ["RBRACKET"],
    "expected ':'": ["COLON"],
    "expected '='": ["ASSIGN"],
    "expected ','": ["COMMA", "NAME"],
    "expected '/' to close predicate": ["PREDICATE_END"],
}
NOT_FILLED = [[], ["NAME"]]  # a name may have been missed before it without a word
ENDS = frozenset(("SEMICOLON", "LBRACE", "RBRACE", END_OF_TEXT))

# What is said next after these outside of blocks and predicates, unless one of the characters follows.
OUTSIDE = {
    "expected config key": ("expected '}'", "}"),
    "expected string, int, boolean, or ident": ("expected ';'", ";}"),
    "expected macro argument ($var, @map, or identifier)": ("expected ')'", ",)"),
    "expected variable in function argument": ("expected ')'", ")"),
    "expected type name": ("expected ')'", ")"),
}


def further_mistakes(parser: Parser, first: Mistake) -> list[Mistake]:
    """What is said after the first error, at which the parser stopped; its stack is used up."""
    tokens = [v.terminal if isinstance(v, Token) else "" for v in parser.values]
    opening = max((i for i, t in enumerate(tokens) if t in ("LBRACE", "ANGLE_OPEN")), default=-1)
    inside = opening >= 0 and "CONFIG" not in tokens and first.message != "expected attach point"  # the block before is closed
    if not inside and "SLASH" not in tokens:
        return _outside(parser, first, tokens)
    statement = [] if tokens[-1:] == ["SEMICOLON"] else tokens[opening + 2 :]  # after the list of those before it
    if statement[:1] == ["FOR"] and first.message != "expected expression":
        return []
    filled, position = _filled_after(parser, first.message, statement), first.start
    if first.message.startswith("increment/decrement"):
        position = first.end
    elif not filled and parser.lexer.last in ("NUMBER", "STRING") and not first.message.startswith("expected"):
        filled, position = [parser.lexer.last], parser.lexer.position
    elif not filled:
        return []
    begin = after_layout(parser.source.text, parser.ends[opening + 1]) if statement else first.start
    ends_itself = begins_stored(parser.source.text, begin) and {"ASSIGN", "COMPOUND"}.isdisjoint(statement)
    found = _rest_of_statement(parser, statement, filled, position, ends_itself)
    unread = first.message == "expected identifier after '$'" or any(m.message == "expected ';'" and m.start == first.start for m in found)
    if inside and not statement and unread:
        found.append(Mistake("unexpected input in block", first.start, first.end))
    return found


def _outside(parser: Parser, first: Mistake, tokens: list[str]) -> list[Mistake]:
    """After an error in what stands around blocks."""
    message = first.message
    if message == "expected attach point":
        return [Mistake("expected '{'" if tokens[-1:] == ["COMMA"] else "unexpected input", first.start, first.end)]
    if message == "expected type name" and "VARIABLE" not in tokens:
        return []  # what a function returns
    if message == "expected '='" and "CONFIG" in tokens[:-1]:
        message = "expected config key"
    if message == "expected ':'" and "VARIABLE" in tokens:
        message = "expected variable in function argument"
    following, goes_on = OUTSIDE.get(message, ("", ""))
    if not following or parser.source.text[first.start : first.start + 1] in [*goes_on]:
        return []
    return [Mistake(following, first.start, first.end)]


def _rest_of_statement(parser: Parser, statement: list[str], filled: list[str], position: int, ends_itself: bool) -> list[Mistake]:
    """Read on to the statement's end, from a place at which these terminals are taken for read.

    statement: the terminals on the stack that belong to the statement, empty words for what was built of them.
    ends_itself: whether the statement needs no `;` after an error.
    """
    lexer = parser.lexer
    found: list[Mistake] = []
    goes_on = False  # an `if` needs no `;`, unless more belongs to its expression
    for _ in range(MOST_READ):
        if not any(_fill(parser, [*missed, *filled]) for missed in NOT_FILLED):
            break
        lexer.position = position
        try:
            token = lexer.next(parser.tables.states[parser.states[-1]], parser.viable)
            position = token.start
            if parser.viable(token.terminal) and (token.terminal not in ("ASSIGN", "COMPOUND") or statement[:1] == ["LET"]):
                if token.terminal in ENDS:
                    break
                filled, position, goes_on = [token.terminal], lexer.position, True
                continue
            if parser.viable("END") and parser.viable("SEMICOLON"):
                if not ends_itself and (goes_on or statement[:1] != ["IF"]):
                    found.append(placed(parser, Mistake("expected ';'", position, position)))
                break
            raise parser.unexpected(position, token.terminal)
        except Mistake as mistake:
            found.append(placed(parser, mistake))
            filled, position = _filled_after(parser, mistake.message, statement), mistake.start
            if not filled:
                break
    return found


def _filled_after(parser: Parser, message: str, statement: list[str]) -> list[str]:
    """What to take for read after a message."""
    if message == ADDRESS_OF:
        if isinstance(parser.values[-1], Token) and parser.values[-1].terminal == "AMPERSAND":
            del parser.states[-1], parser.values[-1]
        return ["NOT"]  # some operator before any operand
    if message == "expected '{'" and "IF" in statement:
        return ["LBRACE", "RBRACE"]
    return FILLED.get(message, [])


def _fill(parser: Parser, terminals: list[str]) -> bool:
    """Go on as if these had come, without values; False where they cannot."""
    if not parser.viable(*terminals):
        return False
    states, values = parser.states, parser.values
    for terminal in terminals:
        while (action := parser.tables.states[states[-1]][terminal]) < 0:
            name, length, _ = parser.tables.rules[-action - 1]
            if length:
                del states[-length:], values[-length:]
            states.append(parser.tables.states[states[-1]][name])
            values.append(None)
        states.append(action)
        values.append(Token(terminal, "", parser.lexer.position))
    return True


def placed(parser: Parser, mistake: Mistake) -> Mistake:
    """The mistake with the word it is about, where it names only an offset."""
    size = len(parser.source.text)
    start, end = min(mistake.start, size), min(mistake.end, size)
    return Mistake(mistake.message, *((start, end) if start < end else parser.lexer.place(start)))
