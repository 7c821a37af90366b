"""Snapshots of a booted machine, in one sparse file each: a checked header, the state of processor and devices, and the RAM in use.

A file appears complete, by a rename, so that it may be read while another process replaces it; it is mapped privately, so that any number
of machines can start from it at once. Whatever does not add up makes it unusable, never a machine with a wrong memory.

    offset 0      HEADER: magic, format, length and SHA-256 of the state
    offset 64     the state: JSON (its "extents" are offset and CRC-32 of the parts of RAM that are there)
    offset ...    RAM, from the next multiple of ALIGNMENT on
"""

from __future__ import annotations

import hashlib
import json
import os
import struct
import tempfile
import zlib
from pathlib import Path
from typing import Any

from pyprobe.runtime.system import cache
from pyprobe.runtime.system.ram import PAGE, Ram

MAGIC = b"pyprobe snapshot"
FORMAT = 1
DRAFT = ".draft-"  # how the names of files that are being written begin
HEADER = struct.Struct("<16sIIQ32s")  # magic, format, length of the state, size of RAM, SHA-256 of the state
ALIGNMENT = 1 << 16  # a multiple of every page size
CHUNK = 1 << 20
_DIGITS = 16  # of a kernel's digest, with which the names of its snapshots begin


def directory() -> Path:
    """Where snapshots are kept."""
    return cache.directory("snapshots")


def name(digest: str, key: str) -> str:
    """The file of one, by the digest of the kernel's image and what else makes it what it is."""
    return f"{digest[:_DIGITS]}-{key}.snapshot"


def family(digest: str) -> list[Path]:
    """Those of a kernel, by the digest of its image, the newest first."""
    found = []
    for path in directory().glob(name(digest, "*")):
        try:
            found.append((path.stat().st_mtime_ns, path))
        except FileNotFoundError:
            continue  # deleted meanwhile
    return [path for _, path in sorted(found, reverse=True)]


class Damaged(Exception):
    """A file that is no usable snapshot; the message says what is wrong with it."""


class Snapshot:
    """One snapshot's file, opened. `state` is what was saved with the RAM."""

    def __init__(self, file: int, state: dict[str, Any], size: int, offset: int) -> None:
        self._file = file
        self.state = state
        self.size = size
        self._offset = offset

    def ram(self, base: int) -> Ram:
        """RAM as it was, to go on from."""
        return Ram(base, self.size, self._file, self._offset)

    def close(self) -> None:
        os.close(self._file)

    @classmethod
    def open(cls, path: str) -> Snapshot:
        """Raises FileNotFoundError when there is none, Damaged when it cannot be used."""
        file = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            return cls(file, *_check(file))
        except BaseException as error:
            os.close(file)
            if isinstance(error, OSError):
                raise Damaged(f"it cannot be read: {error.strerror}") from None
            raise


def _check(file: int) -> tuple[dict[str, Any], int, int]:
    head = os.pread(file, HEADER.size, 0)
    if len(head) < HEADER.size:
        raise Damaged("it is too short")
    magic, version, length, size, digest = HEADER.unpack(head)
    if magic != MAGIC or version != FORMAT:
        raise Damaged("it does not begin like a snapshot of this version")
    text = os.pread(file, length, HEADER.size)
    if len(text) < length or hashlib.sha256(text).digest() != digest:
        raise Damaged("the state of its processor has another checksum than it should")
    offset = -(-(HEADER.size + length) // ALIGNMENT) * ALIGNMENT
    if os.fstat(file).st_size != offset + size:
        raise Damaged("it has another length than it should")
    state: dict[str, Any] = json.loads(text)
    for at, expected in state.pop("extents"):
        if zlib.crc32(os.pread(file, min(CHUNK, size - at), offset + at)) != expected:
            raise Damaged(f"its RAM at {at:#x} has another checksum than it should")
    return state, size, offset


def write(path: str, ram: Ram, state: dict[str, Any]) -> None:
    """Write a snapshot, in place of one that is there. state: anything that JSON can hold. Raises OSError."""
    extents = []
    view = ram.view
    zeros = bytes(CHUNK)
    for at in range(0, ram.size, CHUNK):
        if view[at : at + CHUNK] != zeros:
            extents.append((at, zlib.crc32(view[at : at + CHUNK])))
    text = json.dumps({**state, "extents": extents}, sort_keys=True).encode()
    offset = -(-(HEADER.size + len(text)) // ALIGNMENT) * ALIGNMENT
    file, draft = tempfile.mkstemp(prefix=DRAFT, dir=os.path.dirname(path))
    try:
        os.truncate(file, offset + ram.size)
        os.pwrite(file, HEADER.pack(MAGIC, FORMAT, len(text), ram.size, hashlib.sha256(text).digest()) + text, 0)
        for at, _ in extents:
            for page in range(at, min(at + CHUNK, ram.size), PAGE):
                if view[page : page + PAGE] != zeros[:PAGE]:
                    os.pwrite(file, view[page : page + PAGE], offset + page)
        os.rename(draft, path)
    except BaseException:
        os.unlink(draft)
        raise
    finally:
        os.close(file)
