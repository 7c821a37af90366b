"""BTF: the kernel's own description of its types (Documentation/bpf/btf.rst).

Types are records of varying length, numbered from 1 in their order; references are numbers, names are offsets into a block of strings.
Indexing finds where each record begins; everything else is read when it is asked for.
"""

from __future__ import annotations

import struct
from array import array
from bisect import bisect_left
from collections.abc import Iterator
from functools import cached_property
from typing import NamedTuple

from pyprobe.runtime.system.kernels.errors import KernelError
from pyprobe.runtime.system.metadata.memory import KernelMemory

MAGIC = 0xEB9F
(INT, PTR, ARRAY, STRUCT, UNION, ENUM, FWD, TYPEDEF, VOLATILE, CONST, RESTRICT, FUNC, FUNC_PROTO, VAR, DATASEC, FLOAT, DECL_TAG, TYPE_TAG,
 ENUM64) = range(1, 20)  # fmt: skip
MODIFIERS = frozenset((VOLATILE, CONST, RESTRICT, TYPE_TAG))

_HEADER = struct.Struct("<HBBIIIII")  # magic, version, flags, size of the header, offset and size of types, of strings
_RECORD = struct.Struct("<III")  # name, info (count 16 bits, kind from bit 24, flag bit 31), size or type
_THREE = struct.Struct("<III")
_TWO = struct.Struct("<II")
_ENUM_VALUE = struct.Struct("<Ii")
_FIXED = {INT: 4, ARRAY: 12, VAR: 4, DECL_TAG: 4}  # bytes after the record
_EACH = {STRUCT: 12, UNION: 12, ENUM: 8, FUNC_PROTO: 8, DATASEC: 12, ENUM64: 12}  # bytes for each of its `count` parts
_FEW = 30  # names that are searched for before an index is made
_LEAST = 100_000  # bytes of strings: a kernel has more, test data that a kernel holds has less


class Record(NamedTuple):
    """One type. `name` is an offset into the strings; `length` is the number of
    its parts, `size` is bytes or the number of another type, as the kind has it."""

    name: int
    kind: int
    length: int
    flag: bool
    size: int


class Member(NamedTuple):
    """A member of a struct or union: offset in bits; `width` in bits, 0 when it is no bit-field."""

    name: str
    type: int
    offset: int
    width: int


class Btf:
    """The types in one blob. A module's blob goes on from its kernel's, `base`: numbers and strings continue there.

    starts: where each record begins, if it is known already. Raises KernelError when the blob is no BTF or is damaged.
    """

    def __init__(self, blob: bytes, base: Btf | None = None, starts: array[int] | None = None) -> None:
        try:
            magic, version, _, header, types, types_size, strings, strings_size = _HEADER.unpack_from(blob)
        except struct.error:
            magic = version = 0
        if magic != MAGIC or version != 1:
            raise KernelError("the kernel's type information (BTF) is damaged or of an unknown version")
        self.blob = blob
        self.base = base
        self._searches = 0
        self._types = header + types
        self._types_end = self._types + types_size
        self._strings = header + strings
        self._strings_end = self._strings + strings_size
        self.first: int = base.end if base else 1
        self._first_string: int = base.strings_size if base else 0
        self.starts = starts if starts is not None else self._index()
        self.end: int = self.first + len(self.starts)

    @property
    def strings_size(self) -> int:
        size: int = self._strings_end - self._strings + self._first_string
        return size

    def _index(self) -> array[int]:
        blob, end = self.blob, self._types_end
        info = struct.Struct("<I").unpack_from
        widths = [(_FIXED.get(kind, 0), _EACH.get(kind, 0)) for kind in range(32)]
        known = range(INT, ENUM64 + 1)
        starts = array("I")
        append = starts.append
        at = self._types
        try:
            while at < end:
                append(at)
                (value,) = info(blob, at + 4)
                fixed, each = widths[value >> 24 & 31]
                if each:
                    fixed = each * (value & 0xFFFF)
                elif value >> 24 & 31 not in known:
                    raise KernelError(f"the kernel's type information has an unknown kind {value >> 24 & 31}")
                at += 12 + fixed
        except struct.error:
            raise KernelError("the kernel's type information (BTF) is damaged") from None
        return starts

    def record(self, number: int) -> Record:
        name, info, size = _RECORD.unpack_from(self._holder(number).blob, self._start(number))
        return Record(name, info >> 24 & 31, info & 0xFFFF, bool(info >> 31), size)

    def name(self, number: int) -> str:
        return self.text(self.record(number).name)

    def _holder(self, number: int) -> Btf:
        return self if number >= self.first or self.base is None else self.base

    def _start(self, number: int) -> int:
        holder = self._holder(number)
        start: int = holder.starts[number - holder.first]
        return start

    def text(self, offset: int) -> str:
        """The string at an offset, which names hold."""
        if offset < self._first_string:
            assert self.base is not None
            return self.base.text(offset)
        at: int = self._strings + offset - self._first_string
        end = self.blob.find(0, at)
        if end < 0:
            raise KernelError("the kernel's type information (BTF) is damaged")
        return self.blob[at:end].decode("utf-8", "replace")

    def resolve(self, number: int, *, typedefs: bool = True) -> int:
        """The type without `const` and its like, and, unless told otherwise, without typedefs."""
        while number:
            record = self.record(number)
            if record.kind not in MODIFIERS and not (typedefs and record.kind == TYPEDEF):
                break
            number = record.size
        return number

    # what follows a record

    def integer(self, number: int) -> tuple[int, int]:
        """Encoding (1 signed, 2 char, 4 bool) and bits of an INT."""
        (value,) = struct.unpack_from("<I", self._holder(number).blob, self._start(number) + 12)
        return value >> 24 & 15, value & 0xFF

    def array(self, number: int) -> tuple[int, int]:
        """Element type and count of an ARRAY."""
        element, _, count = _THREE.unpack_from(self._holder(number).blob, self._start(number) + 12)
        return element, count

    def members(self, number: int) -> Iterator[Member]:
        """The members of a STRUCT or UNION as they were declared."""
        record, at, blob = self.record(number), self._start(number) + 12, self._holder(number).blob
        for i in range(record.length):
            name, kind, offset = _THREE.unpack_from(blob, at + 12 * i)
            width = offset >> 24 if record.flag else 0
            yield Member(self.text(name), kind, offset & 0xFFFFFF if record.flag else offset, width)

    def parameters(self, number: int) -> list[tuple[str, int]]:
        """Names and types of the parameters of a FUNC_PROTO; the type 0 at the end means `...`."""
        count, at, blob = self.record(number).length, self._start(number) + 12, self._holder(number).blob
        pairs = [_TWO.unpack_from(blob, at + 8 * i) for i in range(count)]
        return [(self.text(name), kind) for name, kind in pairs]

    def constants(self, number: int) -> list[tuple[str, int]]:
        """Names and values of an ENUM or ENUM64."""
        record, at, blob = self.record(number), self._start(number) + 12, self._holder(number).blob
        found = []
        for i in range(record.length):
            if record.kind == ENUM:
                name, value = _ENUM_VALUE.unpack_from(blob, at + 8 * i)
                value = value if record.flag else value & 0xFFFF_FFFF
            else:
                name, low, high = _THREE.unpack_from(blob, at + 12 * i)
                value = low | high << 32
                value -= (value >> 63 & record.flag) << 64
            found.append((self.text(name), value))
        return found

    # by name

    def find(self, name: str, *kinds: int) -> int:
        """The number of the first type of one of these kinds with this name, 0 if there is none."""
        for offset in self._offsets(name):
            named = self._numbers(offset, kinds[0])
            for kind in kinds:
                if named.get(kind, 0):
                    return named[kind]
        return self.base.find(name, *kinds) if self.base else 0

    def _numbers(self, offset: int, best: int) -> dict[int, int]:
        """For each kind, the number of the first type whose name has this offset; of the `best` kind alone will do. The first few names
        are searched for, which is quicker than to index them all."""
        self._searches += 1
        if self._searches > _FEW:
            return {kind: numbers[offset] for kind, numbers in self._named.items() if offset in numbers}
        found: dict[int, int] = {}
        pattern = offset.to_bytes(4, "little")
        at = self.blob.find(pattern, self._types, self._types_end)
        while at >= 0:
            i = bisect_left(self.starts, at)
            if i < len(self.starts) and self.starts[i] == at:
                kind = self.record(self.first + i).kind
                found.setdefault(kind, self.first + i)
                if kind == best:
                    break
            at = self.blob.find(pattern, at + 1, self._types_end)
        return found

    def _offsets(self, name: str) -> Iterator[int]:
        """The offsets of a string; names of a module may lie among those of its base."""
        wanted = b"\0" + name.encode() + b"\0"
        at = self.blob.find(wanted, self._strings, self._strings_end)
        while at >= 0:
            yield at + 1 - self._strings + self._first_string
            at = self.blob.find(wanted, at + 1, self._strings_end)
        if self.base:
            yield from self.base._offsets(name)

    @cached_property
    def _named(self) -> dict[int, dict[int, int]]:
        """For each kind, the numbers of its types by the offsets of their names; the first type of a name counts."""
        found: dict[int, dict[int, int]] = {kind: {} for kind in range(32)}
        unpack, blob = _TWO.unpack_from, self.blob
        for number, start in enumerate(self.starts, self.first):
            name, info = unpack(blob, start)
            if name:
                found[info >> 24 & 31].setdefault(name, number)
        return found

    def constant(self, name: str) -> int:
        """The number of the first enum that has a constant of this name, 0 if none has."""
        for offset in self._offsets(name):
            if offset in self._constants:
                return self._constants[offset]
        return self.base.constant(name) if self.base else 0

    @cached_property
    def _constants(self) -> dict[int, int]:
        """The enums by the offsets of their constants' names."""
        found: dict[int, int] = {}
        unpack, blob = _RECORD.unpack_from, self.blob
        for number, start in enumerate(self.starts, self.first):
            _, info, _ = unpack(blob, start)
            kind = info >> 24 & 31
            if kind in (ENUM, ENUM64):
                each = _EACH[kind]
                names = memoryview(blob[start + 12 : start + 12 + each * (info & 0xFFFF)]).cast("I")[:: each // 4]
                for name in names.tolist():
                    found.setdefault(name, number)
        return found

    @cached_property
    def functions(self) -> dict[str, int]:
        """The numbers of all functions by name, sorted by name."""
        return self.names(FUNC)

    def names(self, kind: int) -> dict[str, int]:
        """The numbers of all types of a kind by name, sorted by name."""
        own = {self.text(offset): number for offset, number in self._named[kind].items()}
        return dict(sorted(own.items()))


def locate(memory: KernelMemory) -> bytes:
    """The kernel's BTF blob. Raises KernelError when it has none (CONFIG_DEBUG_INFO_BTF)."""
    for segment, at in memory.find(struct.pack("<HBBI", MAGIC, 1, 0, _HEADER.size)):
        _, _, _, header, types, types_size, strings, strings_size = _HEADER.unpack_from(segment.buffer, at)
        size = header + strings + strings_size
        if types == 0 and strings == types_size and strings_size > _LEAST and at + size <= segment.offset + segment.size:
            return bytes(segment.buffer[at : at + size])
    raise KernelError("this kernel has no type information (BTF)", "use one that was built with CONFIG_DEBUG_INFO_BTF")
