"""What the events of system calls hold of the program's memory: since Linux 7.0 the kernel copies names and the like into the record.

Which calls and arguments that is about, the kernel decides as it boots (kernel/trace/trace_syscalls.c); a table has them as its format
files show them. A field `__NAME_val` stands for the argument NAME.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from functools import cache
from typing import NamedTuple

from pyprobe import stdlib

LIMIT = 63  # bytes of one text (CONFIG_TRACE_SYSCALL_BUF_SIZE_DEFAULT)
MORE = b"..."  # behind what is longer
PATH_MAX = 4096  # bytes that a string is looked for its end in
FIELD = "__data_loc char[]"

Read = Callable[[int, int], bytes | None]


class UserData(NamedTuple):
    """Of one call: the positions of the pointers among the arguments, and that of the size of what the one points to; None for strings."""

    pointers: tuple[int, ...]
    size: int | None


@cache
def table() -> dict[str, UserData]:
    """By the name of the call."""
    found = {}
    for line in stdlib.text("syscall_user_data.tsv").splitlines():
        if not line.startswith("#"):
            name, pointers, size = line.split("\t")
            found[name] = UserData(tuple(map(int, pointers.split(","))), int(size) if size else None)
    return found


def copied(data: UserData, words: list[int], read: Read, read_string: Read) -> list[bytes]:
    """What the kernel would copy of the arguments of a call; nothing of what is not readable."""
    if data.size is not None:
        size = min(words[data.size], LIMIT)
        return [read(words[at], size) or b"" for at in data.pointers]
    return [_text(read_string(words[at], PATH_MAX)) for at in data.pointers]


def _text(found: bytes | None) -> bytes:
    """As it is shown: without what cannot be printed."""
    if found is None:
        return b""
    shown = bytes(byte if 32 <= byte < 127 else 0x2E for byte in found[: LIMIT + 1])
    return (shown[:LIMIT] + MORE if len(shown) > LIMIT else shown) + b"\0"


def packed(start: int, texts: list[bytes]) -> bytes:
    """The end of a record, which begins at an offset of it: where each text lies, and how long it is; then the texts."""
    at, words = start + 4 * len(texts), []
    for text in texts:
        words.append(at | len(text) << 16)
        at += len(text)
    return struct.pack(f"<{len(words)}I", *words) + b"".join(texts)

