"""What integer and string literals mean, and what is wrong with those that mean nothing.

`LiteralError` says where inside the literal the fault lies, so that the message can point at it.
"""

from __future__ import annotations

import re

UNITS = {
    "ns": 1,
    "us": 1_000,
    "ms": 1_000_000,
    "s": 1_000_000_000,
    "m": 60 * 1_000_000_000,
    "h": 3_600 * 1_000_000_000,
    "d": 86_400 * 1_000_000_000,
}
# The largest value that each C suffix allows. Capital letters pass the scanner but not the conversion.
SUFFIXES = {"u": 2**32 - 1, "l": 2**63 - 1, "ll": 2**63 - 1, "ul": 2**64 - 1, "ull": 2**64 - 1}
LARGEST = 2**64 - 1

_DIGITS = re.compile(r"0[xX][0-9A-Fa-f_]*|[0-9][0-9_]*(?:[eE][0-9_]*)?")
_EXPONENT = re.compile(r"([0-9]+)[eE]([1-9][0-9]*)")
_UNIT = re.compile(r"ns|us|ms|[smhd]")
_C_SUFFIX = re.compile(r"(?i:ull|ul|u|ll|l)")
_SIMPLE_ESCAPES = {"n": b"\n", "t": b"\t", "r": b"\r", '"': b'"', "\\": b"\\"}
_ESCAPE = re.compile(r"\\(?:[0-7]{1,3}|[xX][0-9A-Fa-f]{1,2}|.)?", re.S)


class LiteralError(ValueError):
    """A literal that cannot be: the message and the offsets in the literal's text that it is about."""

    def __init__(self, message: str, start: int, end: int) -> None:
        super().__init__(message)
        self.message = message
        self.start = start
        self.end = end


def integer(text: str) -> int:
    """The value of an integer or duration literal (nanoseconds); raises LiteralError."""
    digits = _DIGITS.match(text)
    if digits is None:
        raise LiteralError(f"invalid integer: {text}", 0, len(text))
    end = digits.end()
    suffix = text[end:]
    if not suffix:
        return plain(text, LARGEST)
    if digits[0][-1] == "_":
        raise LiteralError("trailing underscore in integer literal", end - 1, end)
    if unit := _UNIT.match(suffix):
        rest = suffix[unit.end() :]
        if rest:
            raise LiteralError(f"invalid integer suffix '{rest}'", end + unit.end(), len(text))
        value = plain(digits[0], LARGEST, text) * UNITS[unit[0]]
        if value > LARGEST:
            raise LiteralError(f"overflow error, maximum value is {LARGEST}: {text}", 0, len(text))
        return value
    known = _C_SUFFIX.match(suffix)
    rest = suffix[known.end() :] if known else suffix
    if rest:
        raise LiteralError(f"invalid integer suffix '{rest}'", len(text) - len(rest), len(text))
    if suffix not in SUFFIXES:
        raise LiteralError(f"invalid trailing bytes: {text}", 0, len(text))
    return plain(digits[0], SUFFIXES[suffix], text)


def plain(digits: str, largest: int, text: str = "") -> int:
    """The value of digits without a suffix; `text` is what messages show (the digits unless given)."""
    text = text or digits
    whole = (0, len(text))
    if digits[-1:] == "_":
        raise LiteralError("trailing underscore in integer literal", len(digits) - 1, len(digits))
    if before_exponent := re.search("_[eE]", digits) if digits[:2] not in ("0x", "0X") else None:
        raise LiteralError("trailing underscore in integer literal", before_exponent.start(), before_exponent.start() + 1)
    number = digits.replace("_", "")
    shown = text
    if number[:2] in ("0x", "0X"):
        if len(number) == 2:
            raise LiteralError("invalid integer: ", *whole)
        value = int(number[2:], 16)
        shown = text[2:]
    elif "e" in number or "E" in number:
        scientific = _EXPONENT.fullmatch(number)
        if not scientific:
            raise LiteralError(f"invalid trailing bytes: {text}", *whole)
        if len(scientific[1]) != 1 or scientific[1] == "0":
            raise LiteralError(f"coefficient part of scientific literal must be 1-9: {text}", *whole)
        exponent = min(int(scientific[2][:9]), 100)  # far beyond what fits, and cheap to compute
        value = int(scientific[1]) * 10**exponent
    elif number[0] == "0" and len(number) > 1:
        if not re.fullmatch("[0-7]+", number):
            left = number[1:] + text[len(digits) :] if number[1] in "01234567" else text
            raise LiteralError(f"invalid trailing bytes: {left}", *whole)
        value = int(number, 8)
        shown = text[1:]
    else:
        value = int(number) if len(number) < 40 else LARGEST + 1
    if value > largest:
        raise LiteralError(f"overflow error, maximum value is {largest}: {shown}", *whole)
    return value


def probe_number(text: str) -> int:
    """A number in an attach point or on the command line, where binary digits and a sign are allowed too; raises LiteralError."""
    body = text[text[:1] in ("-", "+") :].rstrip("_")
    shown = text
    if body[:2] in ("0x", "0X"):
        shown = body[2:]
        if not re.match("[0-9A-Fa-f]", shown):
            raise LiteralError(f"invalid integer: {shown}", 0, len(text))
    if not re.match("[0-9]", body):
        raise LiteralError(f"invalid integer: {shown}", 0, len(text))
    if re.fullmatch("0[bB][01_]+", body):
        value = int(body[2:].replace("_", ""), 2)
    else:
        try:
            value = integer(body)
        except LiteralError as error:
            early = error.message.startswith(("overflow", "invalid trailing"))
            message = error.message if early else f"invalid trailing bytes: {shown}"
            raise LiteralError(message, 0, len(text)) from None
    return -value if text[0] == "-" else value


def string(text: str) -> bytes:
    """The bytes of a string literal, given with its quotes; raises LiteralError."""
    closed = len(text) > 1 and text[-1] == '"' and not _open_at_end(text)
    end = len(text) - closed
    parts: list[bytes] = []
    position = 1
    while (start := text.find("\\", position, end)) >= 0:
        parts.append(text[position:start].encode("utf-8", "surrogateescape"))
        match = _ESCAPE.match(text, start)
        assert match is not None  # the pattern begins with the backslash that was found
        position = match.end()
        if len(match[0]) == 1:
            break  # the backslash is the last thing on the line
        parts.append(_escaped(match[0][1:], start, position, text))
    if not closed:
        raise LiteralError("unterminated string", len(text) + 1, len(text) + 1)  # what follows the end of the line
    parts.append(text[position:end].encode("utf-8", "surrogateescape"))
    return b"".join(parts)


def _escaped(code: str, start: int, end: int, text: str) -> bytes:
    """The byte that an escape (without its backslash) stands for, which is `text[start:end]`."""
    if code in _SIMPLE_ESCAPES:
        return _SIMPLE_ESCAPES[code]
    if code[0] in "01234567":
        value = int(code, 8)
        if value > 255:
            raise LiteralError(f"octal escape sequence out of range '\\{code}'", start, end)
        return bytes([value])
    if code[0] in "xX":
        if len(code) == 1:
            raise LiteralError("invalid hex escape sequence", start + 2, start + 3)
        return bytes([int(code[1:], 16)])
    word = len(text) - len(text[start + 1 :].lstrip())  # the next thing that is no blank, all of it
    raise LiteralError(f"invalid escape character '\\{code}'", word, word)


def _open_at_end(text: str) -> bool:
    """Whether the last quote is escaped."""
    backslashes = len(text) - 1 - len(text[:-1].rstrip("\\"))
    return backslashes % 2 == 1
