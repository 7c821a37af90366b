"""Everything that is known about one kernel, each part made when it is first asked for and kept beside the kernel's image.

A part is a file of checked sections; one that is damaged, cut off or of another version is made again. Several processes may do that at
once: each writes a file of its own and renames it into place.
"""

from __future__ import annotations

import json
import os
import struct
import tempfile
import zlib
from array import array
from collections.abc import Callable
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from pyprobe.runtime.system.metadata import attachable, btf, events, kallsyms, memory, reserved, tracepoints
from pyprobe.runtime.system.metadata.events import Event, EventField
from pyprobe.runtime.system.metadata.symbols import Symbols
from pyprobe.runtime.system.metadata.tracepoints import Branch, Place
from pyprobe.runtime.system.metadata.types import KernelTypes

if TYPE_CHECKING:
    from pyprobe.runtime.system.kernels.store import Kernel
    from pyprobe.runtime.system.metadata.memory import KernelMemory
    from pyprobe.runtime.system.metadata.symbols import Symbol

VERSION = 4  # raise it when what a part holds, or how it is found, changes
FOLDER = "facts"
_MAGIC = b"pyprobe facts\n"
_HEAD = struct.Struct("<III")  # version, checksum of all that follows, number of sections; then the size of each in 8 bytes


class Facts:
    """What a kernel tells about itself.

    read: gives its memory; called when something is not kept yet. folder: where parts are kept; None keeps nothing, for the RAM of a
    kernel that runs somewhere else than it was linked for.
    """

    def __init__(self, read: Callable[[], KernelMemory], folder: Path | None = None) -> None:
        self._read = read
        self._folder = folder

    @classmethod
    def of(cls, kernel: Kernel) -> Facts:
        """Those of a kernel in the cache."""
        return cls(lambda: memory.of_image(kernel.image, kernel.arch), kernel.folder / FOLDER)

    @cached_property
    def memory(self) -> KernelMemory:
        """The kernel's memory as it was linked, or as it is in RAM."""
        return self._read()

    @cached_property
    def base(self) -> int:
        """The address of the kernel's first byte."""
        (word,) = self._part("base", lambda: [self.memory.base.to_bytes(8, "little")])
        return int.from_bytes(word, "little")

    @cached_property
    def symbols(self) -> Symbols:
        """All symbols. Raises KernelError when the kernel has no table of them."""
        addresses, kinds, names, functions, places = self._part("symbols", self._find_symbols)
        found = Symbols(_words(addresses), kinds.decode(), names.decode().split("\n"), ordered=True)
        found.functions = dict(zip(functions.decode().split("\n"), _words(places), strict=True))
        return found

    def _find_symbols(self) -> list[bytes]:
        found = kallsyms.read(self.memory)
        symbols = Symbols(found.addresses, found.kinds, found.names)
        functions = symbols.functions
        lists = ("\n".join(symbols.names), "\n".join(functions))
        places = array("Q", functions.values()).tobytes()
        return [symbols.addresses.tobytes(), symbols.kinds.encode(), lists[0].encode(), lists[1].encode(), places]

    @cached_property
    def btf(self) -> btf.Btf:
        """The types as the kernel has them. Raises KernelError when it has none."""
        blob, starts = self._part("types", self._find_types)
        return btf.Btf(blob, starts=_words(starts, "I"))

    def _find_types(self) -> list[bytes]:
        blob = btf.locate(self.memory)
        return [blob, btf.Btf(blob).starts.tobytes()]

    @cached_property
    def types(self) -> KernelTypes:
        """The types as the language's."""
        return KernelTypes(self.btf)

    @cached_property
    def events(self) -> dict[tuple[str, str], Event]:
        """The trace events by category and name, sorted."""
        (text,) = self._part("events", self._find_events)
        rows = [Event(c, n, tuple(EventField(*f) for f in fields), *places) for c, n, fields, *places in json.loads(text)]
        if any(event.category == "syscalls" for event in rows) and self._copies_user_data():
            rows = list(map(events.with_user_data, rows))
        return {(event.category, event.name): event for event in rows}

    def _copies_user_data(self) -> bool:
        """Whether the records of system calls hold what their arguments point to."""
        try:
            return self.types.offset("syscall_metadata", "user_mask") > 0
        except KeyError:
            return False

    def _find_events(self) -> list[bytes]:
        return [json.dumps(events.read(self.memory, self.symbols, self.types), separators=(",", ":")).encode()]

    @cached_property
    def tracepoints(self) -> dict[str, Place]:
        """Where the tracepoints are, by name, sorted."""
        (text,) = self._part("tracepoints", self._find_tracepoints)
        found = {}
        for name, at, iterator, register, branches in json.loads(text):
            found[name] = Place(name, at, iterator, register, tuple(Branch(*one) for one in branches))
        return found

    def _find_tracepoints(self) -> list[bytes]:
        return [json.dumps(tracepoints.read(self.memory, self.symbols, self.types), separators=(",", ":")).encode()]

    @cached_property
    def software(self) -> dict[int, tuple[int, tuple[Branch, ...]]]:
        """The software events that page faults are, by number: keys and static branches."""
        (text,) = self._part("software", self._find_software)
        return {number: (key, tuple(Branch(*one) for one in found)) for number, key, found in json.loads(text)}

    def _find_software(self) -> list[bytes]:
        keys = tracepoints.software_keys(self.memory, self.symbols)
        found = tracepoints.branches(self.memory, self.symbols, set(keys.values()))
        return [json.dumps([(number, key, found.get(key, ())) for number, key in keys.items()]).encode()]

    @cached_property
    def patched(self) -> frozenset[int]:
        """The addresses of all static branches, which the kernel patches as it runs."""
        return frozenset(_words(self._part("patched", self._find_patched)[0]))

    def _find_patched(self) -> list[bytes]:
        some = {branch.code for place in self.tracepoints.values() for branch in place.branches}
        return [array("Q", tracepoints.patched(self.memory, self.symbols, some)).tobytes()]

    @cached_property
    def static_calls(self) -> frozenset[int]:
        """The addresses of all static calls, which the kernel patches as it runs."""
        return frozenset(_words(self._reserved[0]))

    @cached_property
    def bugs(self) -> frozenset[int]:
        """The addresses of the instructions of BUG() and WARN()."""
        return frozenset(_words(self._reserved[1]))

    @cached_property
    def bug_size(self) -> int:
        """The size of a struct bug_entry in bytes, 0 where the kernel has none."""
        entry = self.types.named("struct bug_entry")
        return entry.size if entry is not None else 0

    @cached_property
    def _reserved(self) -> list[bytes]:
        return self._part("reserved", self._find_reserved)

    def _find_reserved(self) -> list[bytes]:
        found = reserved.static_calls(self.memory, self.symbols), reserved.bugs(self.memory, self.symbols, self.bug_size)
        return [array("Q", addresses).tobytes() for addresses in found]

    @cached_property
    def raw_tracepoints(self) -> dict[str, int]:
        """The raw tracepoints by name, sorted, with the numbers of their function types."""
        return events.raw_tracepoints(self.btf)

    @cached_property
    def traceable(self) -> frozenset[str]:
        """The functions that the kernel itself can trace."""
        return frozenset(self._attachable[0].decode().split("\n"))

    @cached_property
    def forbidden(self) -> dict[str, Symbol]:
        """The functions that the kernel refuses kprobes for, by name, in the order of their addresses."""
        found = [self.symbols.at(address) for address in sorted(self.forbidden_addresses)]
        return {symbol.name: symbol for symbol in found if symbol is not None}

    @cached_property
    def forbidden_addresses(self) -> frozenset[int]:
        """Where these functions begin."""
        return frozenset(_words(self._attachable[1]))

    @cached_property
    def _attachable(self) -> list[bytes]:
        return self._part("attachable", self._find_attachable)

    def _find_attachable(self) -> list[bytes]:
        allowed = "\n".join(sorted(attachable.traceable(self.memory, self.symbols)))
        refused = array("Q", [s.address for s in attachable.forbidden(self.memory, self.symbols)])
        return [allowed.encode(), refused.tobytes()]

    def prepare(self) -> None:
        """Make every part that is not kept yet. Raises KernelError when the kernel lacks what one needs."""
        for part in ("base", "symbols", "btf", "events", "tracepoints", "_attachable"):
            getattr(self, part)

    def _part(self, name: str, make: Callable[[], list[bytes]]) -> list[bytes]:
        path = self._folder / name if self._folder is not None else None
        kept = load(path) if path is not None else None
        if kept is None:
            kept = make()
            if path is not None:
                save(path, kept)
        return kept


def _words(content: bytes, code: str = "Q") -> array[int]:
    return array(code, content)


def load(path: Path) -> list[bytes] | None:
    """The sections of a part, None when there is none that can be used."""
    try:
        content = memoryview(path.read_bytes())
        version, checksum, count = _HEAD.unpack_from(content, len(_MAGIC))
        body = content[len(_MAGIC) + _HEAD.size :]
        if content[: len(_MAGIC)] != _MAGIC or version != VERSION or zlib.crc32(body) != checksum:
            return None
        sizes = struct.unpack_from(f"<{count}Q", body)
    except (OSError, struct.error):
        return None
    sections, at = [], 8 * count
    for size in sizes:
        sections.append(bytes(body[at : at + size]))
        at += size
    return sections


def save(path: Path, sections: list[bytes]) -> None:
    """Keep a part. Where nothing can be written, nothing is kept."""
    body = struct.pack(f"<{len(sections)}Q", *map(len, sections)) + b"".join(sections)
    draft = ""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, draft = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}-")
        with os.fdopen(handle, "wb") as stream:
            stream.write(_MAGIC + _HEAD.pack(VERSION, zlib.crc32(body), len(sections)) + body)
        os.replace(draft, path)
    except OSError:
        if draft:
            Path(draft).unlink(missing_ok=True)
