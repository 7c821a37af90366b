"""Flattened device trees (Devicetree Specification 0.4, chapter 5): nested dictionaries to the blob that a kernel is given."""

from __future__ import annotations

import struct
from typing import Any

MAGIC, VERSION, COMPATIBLE = 0xD00DFEED, 17, 16
BEGIN_NODE, END_NODE, PROPERTY, END = 1, 2, 3, 9
HEADER, RESERVATIONS = 40, bytes(16)  # no memory reservations: the terminating entry alone

Node = dict[str, Any]
"""Properties and (dictionaries) child nodes by name. A property is None (present), a str or list of them, an int or list of them (cells of
32 bits), or bytes."""


def blob(root: Node, size: int = 0) -> bytes:
    """The tree as the kernel takes it, filled up to `size` bytes."""
    names = bytearray()
    places: dict[str, int] = {}

    def place(name: str) -> int:
        if name not in places:
            places[name] = len(names)
            names.extend(name.encode() + b"\0")
        return places[name]

    def node(name: str, content: Node) -> bytes:
        parts = [struct.pack(">I", BEGIN_NODE), _padded(name.encode() + b"\0")]
        for key, value in content.items():
            if not isinstance(value, dict):
                data = _value(value)
                parts += [struct.pack(">III", PROPERTY, len(data), place(key)), _padded(data)]
        parts += [node(key, value) for key, value in content.items() if isinstance(value, dict)]
        return b"".join([*parts, struct.pack(">I", END_NODE)])

    structure = node("", root) + struct.pack(">I", END)
    at = HEADER + len(RESERVATIONS)
    total = max(at + len(structure) + len(names), size)
    header = struct.pack(
        ">10I", MAGIC, total, at, at + len(structure), HEADER, VERSION, COMPATIBLE, 0, len(names), len(structure)
    )
    return (header + RESERVATIONS + structure + bytes(names)).ljust(total, b"\0")


def _padded(data: bytes) -> bytes:
    return data + bytes(-len(data) % 4)


def _value(value: Any) -> bytes:
    if value is None:
        return b""
    if isinstance(value, bytes):
        return value
    values = value if isinstance(value, list) else [value]
    return b"".join(v.encode() + b"\0" if isinstance(v, str) else struct.pack(">I", v) for v in values)
