"""What the actions of the grammar share: the values of its terminals, and the shapes that many rules have."""


from collections.abc import Callable
from typing import Any

from pyprobe.lang.lexer import Mistake, Token
from pyprobe.lang.literals import LiteralError, integer, string
from pyprobe.lang.source import Span

Values = list[Any]
Action = Callable[[Values, Span], Any]


# ---- terminals: how a token's text becomes its value, once the parser takes it


def _literal(convert: Callable[[str], Any]) -> Callable[[Token], Any]:
    def value(token: Token) -> Any:
        try:
            return convert(token.text)
        except LiteralError as error:
            raise Mistake(error.message, token.start + error.start, token.start + error.end) from None

    return value


def _variable_name(token: Token) -> str:
    if len(token.text) == 1:
        raise Mistake("expected identifier after '$'", token.start, token.end)
    return token.text[1:]


def _parameter_number(token: Token) -> int:
    digits = token.text[1:]
    number = int(digits) if len(digits) < 30 else 2**63
    if not 1 <= number < 2**63:
        raise Mistake(f"param ${digits} is out of integer range [1, {2**63 - 1}]", token.start, token.end)
    return number


VALUES: dict[str, Callable[[Token], Any]] = {
    "NUMBER": _literal(integer),
    "STRING": _literal(string),
    "VARIABLE": _variable_name,
    "PARAMETER": _parameter_number,
}


def place(token: Token, span: Span) -> Span:
    """The span of a token inside the rule's span."""
    return Span(span.source, token.start, token.end)


# ---- shapes that many rules share. Those in FLAT add no level to the tree.


def none(v: Values, s: Span) -> list[Any]:
    return []


def nothing(v: Values, s: Span) -> None:
    return None


def first(v: Values, s: Span) -> Any:
    return v[0]


def second(v: Values, s: Span) -> Any:
    return v[1]


def one(v: Values, s: Span) -> list[Any]:
    return [v[0]]


def append(v: Values, s: Span) -> list[Any]:
    v[0].append(v[1])
    return v[0]  # type: ignore[no-any-return]  # the first symbol of such a rule is the list


def append_separated(v: Values, s: Span) -> list[Any]:
    v[0].append(v[2])
    return v[0]  # type: ignore[no-any-return]  # as above


FLAT = frozenset(
    ["none", "nothing", "first", "second", "one", "append", "append_separated", "one_name", "append_name", "point", "append_point", "group"]
)
