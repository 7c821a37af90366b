"""The memory of a guest that a system call reads from or writes to, piece by piece (struct iovec)."""

from __future__ import annotations

from collections.abc import Sequence

Views = Sequence[memoryview]


def gather(views: Views, start: int, count: int) -> bytes:
    """`count` bytes of `views`, or as many as there are, from the byte `start` on."""
    parts: list[memoryview] = []
    for view in views:
        if count <= 0:
            break
        part = view[start : start + count]
        start = max(0, start - len(view))
        count -= len(part)
        parts.append(part)
    return b"".join(parts)


def scatter(views: Views, data: bytes | bytearray, skip: int = 0) -> int:
    """Put `data` into views, after their first `skip` bytes; how much fitted."""
    done = 0
    for view in views:
        if skip >= len(view):
            skip -= len(view)
            continue
        piece = data[done : done + len(view) - skip]
        view[skip : skip + len(piece)] = piece
        done += len(piece)
        skip = 0
    return done
