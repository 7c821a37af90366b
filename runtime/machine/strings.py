"""Strings in a guest's memory, read by what reads bytes of it."""

from __future__ import annotations

from collections.abc import Callable

PAGE = 4096
_NOWHERE = (1 << 64) - 1


def string_at(read: Callable[[int, int], bytes | None], address: int, limit: int) -> bytes | None:
    """Up to the first NUL or `limit` bytes; what precedes a page that cannot be read counts. None if the first byte cannot.

    read: gives so many bytes at an address, or None; it is never asked for more than what lies in one page.
    """
    found = b""
    while len(found) < limit:
        at = address + len(found) & _NOWHERE
        piece = read(at, min(limit - len(found), PAGE - at % PAGE))
        if piece is None:
            return found or None
        end = piece.find(b"\0")
        if end >= 0:
            return found + piece[:end]
        found += piece
    return found
