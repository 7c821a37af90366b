"""One ELF file: header, segments, symbols, notes, and where its separate debug information is.

pyelftools does the structure. Symbol tables are unpacked here in bulk: libc's 3044 dynamic symbols take 82 ms through pyelftools
and 4 ms here. A damaged file is a normal input: everything that can go wrong becomes an `ElfError` with a reason.
The formats: System V ABI, generic part (gabi), chapters "Object Files" and "Program Loading"; Linux Standard Base for `.gnu.version`;
GDB manual, "Debugging Information in Separate Files", for build ids and `.gnu_debuglink`.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator
from typing import Any, BinaryIO, TypeVar

ARCHES = {"EM_X86_64": "x86_64", "EM_AARCH64": "arm64"}

STT_OBJECT, STT_FUNC, STT_TLS, STT_GNU_IFUNC = 1, 2, 6, 10
STB_LOCAL, STB_GLOBAL, STB_WEAK = 0, 1, 2
PF_X = 1
_SYMBOL = struct.Struct("<IBBHQQ")  # Elf64_Sym: name, info, other, section index, value, size
_SHN_UNDEF = 0
_VERSYM_HIDDEN = 0x8000  # not the default version of its name
_LARGEST_FRAME = 1 << 16  # no function's call frame information is, all of which is decoded at once
_LARGEST = 1 << 30  # no section that we read is larger; a damaged header may claim so

_MACHINES = {62: "x86_64", 183: "arm64"}  # e_machine

T = TypeVar("T")


class ElfError(Exception):
    """The file is not an ELF file that we can use; the text says why."""


class Symbol:
    """A defined symbol: `address` is the file's virtual address, `size` in bytes (0: unknown), `kind` one of STT_*, `hidden` a
    version of the name that new programs do not link to."""

    __slots__ = ("address", "binding", "hidden", "kind", "name", "size")

    def __init__(self, name: str, address: int, size: int, kind: int, binding: int, hidden: bool) -> None:
        self.name = name
        self.address = address
        self.size = size
        self.kind = kind
        self.binding = binding
        self.hidden = hidden

    def __repr__(self) -> str:
        return f"Symbol({self.name!r}, {self.address:#x}, {self.size})"


class Segment:
    """A PT_LOAD segment: file bytes [offset, offset + file_size) appear at [address, address + file_size)."""

    __slots__ = ("address", "file_size", "flags", "offset", "size")

    def __init__(self, address: int, offset: int, file_size: int, size: int, flags: int) -> None:
        self.address = address
        self.offset = offset
        self.file_size = file_size
        self.size = size
        self.flags = flags


class Note:
    __slots__ = ("content", "kind", "owner")

    def __init__(self, owner: str, kind: int, content: bytes) -> None:
        self.owner = owner
        self.kind = kind
        self.content = content


class ElfFile:
    """An ELF file read from a seekable binary stream, which stays open as long as this object is used.

    arch: `x86_64` or `arm64`; executable: whether it can be run or mapped as a shared object; entry: virtual address of its entry point.
    Raises ElfError, here and in every method.
    """

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream
        self._frames: Any = None
        self._elf = guarded(lambda: _open(stream))
        header = guarded(lambda: self._elf.header)
        arch = ARCHES.get(header["e_machine"])
        if arch is None or self._elf.elfclass != 64 or not self._elf.little_endian:
            raise ElfError(f"not for x86_64 or arm64 ({self._elf.elfclass}-bit {header['e_machine']})")
        self.arch = arch
        self.executable = header["e_type"] in ("ET_EXEC", "ET_DYN")
        self.entry: int = header["e_entry"]
        self.segments, self.interpreter = guarded(self._segments)

    def _segments(self) -> tuple[list[Segment], str]:
        segments, interpreter = [], ""
        for one in self._elf.iter_segments():
            h = one.header
            if h["p_type"] == "PT_LOAD":
                segments.append(Segment(h["p_vaddr"], h["p_offset"], h["p_filesz"], h["p_memsz"], h["p_flags"]))
            elif h["p_type"] == "PT_INTERP" and h["p_filesz"] < 4096:
                interpreter = self.read(h["p_offset"], h["p_filesz"]).split(b"\0")[0].decode("utf-8", "replace")
        return segments, interpreter

    def read(self, offset: int, length: int) -> bytes:
        """Bytes of the file; fewer where it ends."""
        if length > _LARGEST:
            raise ElfError(f"claims {length} bytes at {offset:#x}")

        def read() -> bytes:
            self._stream.seek(offset)
            return self._stream.read(length)

        return guarded(read)

    def at(self, address: int, length: int) -> bytes:
        """The file's bytes for a virtual address; empty where no segment has any."""
        for s in self.segments:
            if s.address <= address < s.address + s.file_size:
                return self.read(s.offset + address - s.address, min(length, s.address + s.file_size - address))
        return b""

    def offset(self, address: int) -> int | None:
        """The file offset whose byte appears at a virtual address."""
        return next((s.offset + address - s.address for s in self.segments if s.address <= address < s.address + s.file_size), None)

    def address(self, offset: int) -> int | None:
        """The virtual address at which the byte at a file offset appears (in an executable segment where several have it)."""
        found = [s for s in self.segments if s.offset <= offset < s.offset + s.file_size]
        found.sort(key=lambda s: not s.flags & PF_X)
        return found[0].address + offset - found[0].offset if found else None

    def section(self, name: str) -> bytes:
        """The content of a section, empty if there is none."""

        def content() -> bytes:
            section = self._elf.get_section_by_name(name)
            if section is None or section["sh_type"] == "SHT_NOBITS":
                return b""
            return self.read(section["sh_offset"], section["sh_size"])

        return guarded(content)

    def section_address(self, name: str) -> int:
        """The virtual address of a section, 0 if there is none."""

        def address() -> int:
            section = self._elf.get_section_by_name(name)
            return int(section["sh_addr"]) if section is not None else 0

        return guarded(address)

    def symbols(self) -> list[Symbol]:
        """The defined functions, objects and thread-local objects of `.symtab` and then `.dynsym`, in the tables' order."""
        return guarded(lambda: [s for table in (".symtab", ".dynsym") for s in self._table(table)])

    def _table(self, name: str) -> Iterator[Symbol]:
        table = self._elf.get_section_by_name(name)
        if table is None or table["sh_type"] == "SHT_NOBITS":
            return
        strings = self._elf.get_section(table["sh_link"])
        names = self.read(strings["sh_offset"], strings["sh_size"])
        content = self.read(table["sh_offset"], table["sh_size"])
        content = content[: len(content) - len(content) % _SYMBOL.size]
        versions: tuple[int, ...] = ()
        if name == ".dynsym":
            raw = self.section(".gnu.version")
            versions = struct.unpack(f"<{len(raw) // 2}H", raw[: len(raw) & ~1])
        kinds = (STT_FUNC, STT_OBJECT, STT_TLS, STT_GNU_IFUNC)
        for i, (at, info, _, section, value, size) in enumerate(_SYMBOL.iter_unpack(content)):
            if info & 15 in kinds and section != _SHN_UNDEF and at < len(names):
                text = names[at : names.find(b"\0", at)].decode("utf-8", "surrogateescape")
                hidden = i < len(versions) and bool(versions[i] & _VERSYM_HIDDEN)
                if text:
                    yield Symbol(text, value, size, info & 15, info >> 4, hidden)

    def needed(self) -> tuple[list[str], list[str]]:
        """The libraries that the file asks for (DT_NEEDED), and the directories to look in first (DT_RUNPATH, DT_RPATH), as written."""
        return guarded(self._needed)

    def _needed(self) -> tuple[list[str], list[str]]:
        libraries: list[str] = []
        directories: list[str] = []
        for segment in self._elf.iter_segments():
            if segment.header["p_type"] == "PT_DYNAMIC":
                for tag in segment.iter_tags():
                    if tag.entry.d_tag == "DT_NEEDED":
                        libraries.append(tag.needed)
                    elif tag.entry.d_tag in ("DT_RUNPATH", "DT_RPATH"):
                        directories += (tag.runpath if tag.entry.d_tag == "DT_RUNPATH" else tag.rpath).split(":")
        return libraries, directories

    def notes(self) -> list[Note]:
        """All notes, of the sections or, where the file has none, of the segments."""
        return guarded(lambda: list(self._notes()))

    def _notes(self) -> Iterator[Note]:
        places = [s for s in self._elf.iter_sections() if s["sh_type"] == "SHT_NOTE"]
        for place in places or [s for s in self._elf.iter_segments() if s["p_type"] == "PT_NOTE"]:
            for note in place.iter_notes():
                kind = note["n_type"]
                yield Note(note["n_name"], kind if isinstance(kind, int) else _NOTE_KINDS.get(kind, -1), note["n_descdata"])

    def has_dwarf(self) -> bool:
        """Whether there is debug information, beyond tables for unwinding."""
        return guarded(lambda: self._elf.get_section_by_name(".debug_info") or self._elf.get_section_by_name(".zdebug_info")) is not None

    def dwarf(self) -> Any:
        """pyelftools' reader of the debug information."""
        return guarded(lambda: self._elf.get_dwarf_info(relocate_dwarf_sections=False, follow_links=False))

    def frame_entry(self, address: int) -> Any:
        """pyelftools' reading of the entry (FDE) at a virtual address in `.eh_frame`."""
        from elftools.dwarf.callframe import CallFrameInfo
        from elftools.dwarf.structs import DWARFStructs

        at = self.offset(address)
        size = int.from_bytes(self.read(at, 4), "little") if at is not None else _LARGEST
        if at is None or size > _LARGEST_FRAME:
            raise ElfError(f"claims {size} bytes of call frame information at {address:#x}")
        if self._frames is None:
            structs = DWARFStructs(little_endian=True, dwarf_format=32, address_size=8)
            self._frames = CallFrameInfo(self._stream, 0, address - at, structs, for_eh_frame=True)
        return guarded(lambda: self._frames._parse_entry_at(at))  # the public way reads all of them

    def build_id(self) -> str:
        """The build id in hexadecimal, empty if there is none."""
        try:
            return next((n.content.hex() for n in self.notes() if n.owner == "GNU" and n.kind == _NOTE_KINDS["NT_GNU_BUILD_ID"]), "")
        except ElfError:
            return ""

    def debuglink(self) -> tuple[str, int] | None:
        """Name and CRC of the separate debug file that `.gnu_debuglink` names."""
        content = self.section(".gnu_debuglink")
        name, end, _ = content.partition(b"\0")
        if len(content) < 8 or not name or not end or b"/" in name:
            return None
        return name.decode("utf-8", "surrogateescape"), int.from_bytes(content[-4:], "little")


_NOTE_KINDS = {"NT_GNU_ABI_TAG": 1, "NT_GNU_BUILD_ID": 3, "NT_GNU_GOLD_VERSION": 4, "NT_GNU_PROPERTY_TYPE_0": 5}


def arch_of(stream: BinaryIO) -> str:
    """The architecture that a file claims to be for, by its first bytes; "" for none that we know."""
    head = stream.read(20)
    if len(head) < 20 or head[:6] != b"\x7fELF\x02\x01":  # 64 bits, little-endian
        return ""
    return _MACHINES.get(int.from_bytes(head[18:], "little"), "")


def _open(stream: BinaryIO) -> Any:
    from elftools.elf.elffile import ELFFile  # 60 ms, so only when an ELF file is really read

    stream.seek(0)
    if stream.read(4) != b"\x7fELF":
        raise ElfError("not an ELF file")
    stream.seek(0)
    return ELFFile(stream)


def guarded(work: Callable[[], T]) -> T:
    """`work()`, with whatever a damaged file makes pyelftools raise turned into ElfError."""
    try:
        return work()
    except ElfError:
        raise
    except OSError as error:
        raise ElfError(error.strerror or str(error)) from error
    except Exception as error:  # its parsers raise anything from AttributeError to OverflowError on damaged input
        raise ElfError(f"damaged ELF file ({type(error).__name__}: {error})") from error
