"""JSON as the output needs it: bytes that need not be UTF-8, and integers that a double cannot hold as strings."""

from __future__ import annotations

_NAMED = {0x22: '\\"', 0x5C: "\\\\", 0x0A: "\\n", 0x0D: "\\r", 0x09: "\\t"}
_ESCAPES = {i: _NAMED.get(i, f"\\u{i:04x}") for i in [*range(32), 0x22, 0x5C]}
# What is not UTF-8 arrives as a lone surrogate (PEP 383) and is shown by its byte.
_ESCAPES |= {0xDC00 + i: f"\\u00{i:02x}" for i in range(128, 256)}


def json_string(data: bytes) -> str:
    """A JSON string. Valid UTF-8 is passed through, other bytes are escaped as \\u00XX."""
    return '"' + data.decode("utf-8", "surrogateescape").translate(_ESCAPES) + '"'


def json_integer(value: int) -> str:
    """A number, or a string where a double would not be exact."""
    if -(1 << 53) <= value <= 1 << 53 or int(float(value)) == value:
        return f"{value:d}"
    return f'"{value:d}"'
