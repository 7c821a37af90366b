"""Where in the source an address is, by debug information: the line, and the functions that were inlined around it.

Sections cited are of the DWARF Debugging Information Format, version 5.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple


class Place(NamedTuple):
    """A line of source code. function: the inlined function it is in, empty for the function that the code belongs to."""

    function: str
    file: str
    line: int


class Lines:
    """The line table of one unit (6.2): for every address, the file and the line."""

    def __init__(self, dwarf: Any, unit: Any) -> None:
        program = dwarf.line_program_for_CU(unit)
        self._starts: list[int] = []
        self._rows: list[tuple[int, int]] = []  # file and line; line 0 where no code is
        self._files: dict[int, str] = {}
        if program is None:
            return
        self._files = dict(_files(program.header, _folder(unit)))
        rows = [e.state for e in program.get_entries() if e.state is not None]
        sequences: list[list[Any]] = [[]]
        for row in rows:
            sequences[-1].append(row)
            if row.end_sequence:
                sequences.append([])
        for sequence in sorted((s for s in sequences if s), key=lambda s: s[0].address):
            for row in sequence:
                self._starts.append(row.address)
                self._rows.append((row.file, 0 if row.end_sequence else row.line or 0))

    def at(self, address: int) -> tuple[str, int] | None:
        """File and line of the code at an address, None where that is not known."""
        i = bisect_right(self._starts, address) - 1
        if i < 0 or not self._rows[i][1]:
            return None
        file, line = self._rows[i]
        return self._files.get(file, ""), line

    def file(self, number: int) -> str:
        """The path of a file by its number."""
        return self._files.get(number, "")


def _folder(unit: Any) -> str:
    attribute = unit.get_top_DIE().attributes.get("DW_AT_comp_dir")
    return _text(attribute.value) if attribute is not None else ""


def _text(value: bytes) -> str:
    return value.decode("utf-8", "surrogateescape")


def _files(header: Any, folder: str) -> Iterator[tuple[int, str]]:
    """Numbers and paths of a line table's files. Version 5 counts both from 0, and has the unit's folder among the others (6.2.4)."""
    directories = [_text(d) for d in header["include_directory"]]
    first = 0 if header["version"] >= 5 else 1
    if first:
        directories.insert(0, folder)
    for number, entry in enumerate(header["file_entry"], first):
        name, index = _text(entry.name), entry.dir_index
        directory = directories[index] if index < len(directories) else ""
        yield number, _joined(folder, _joined(directory, name))


def _joined(folder: str, name: str) -> str:
    return name if name.startswith("/") or not folder else f"{folder}/{name}"


def inlined(function: Any, address: int) -> list[Any]:
    """The inlined calls (3.3.8.2) within a function's entry whose code an address is in, outermost first."""
    found: list[Any] = []
    entry = function
    while entry is not None:
        entry = next((child for child in entry.iter_children() if child.tag in _BLOCKS and _covers(child, address)), None)
        if entry is not None and entry.tag == "DW_TAG_inlined_subroutine":
            found.append(entry)
    return found


_BLOCKS = ("DW_TAG_inlined_subroutine", "DW_TAG_lexical_block")


def _covers(entry: Any, address: int) -> bool:
    """Whether an address is in the ranges of an entry (2.17)."""
    low, high = entry.attributes.get("DW_AT_low_pc"), entry.attributes.get("DW_AT_high_pc")
    if low is not None and high is not None:
        end = high.value if high.form == "DW_FORM_addr" else low.value + high.value
        return bool(low.value <= address < end)
    ranges = entry.attributes.get("DW_AT_ranges")
    return ranges is not None and any(start <= address < end for start, end in _ranges(entry.cu, ranges))


def _ranges(unit: Any, attribute: Any) -> Iterator[tuple[int, int]]:
    low = unit.get_top_DIE().attributes.get("DW_AT_low_pc")
    base = low.value if low is not None else 0
    for entry in unit.dwarfinfo.range_lists().get_range_list_at_offset(attribute.value, unit):
        if hasattr(entry, "base_address"):
            base = entry.base_address
        else:
            shift = 0 if entry.is_absolute else base
            yield entry.begin_offset + shift, entry.end_offset + shift


def places(lines: Lines, function: Any, address: int, name_of: Callable[[Any], str]) -> list[Place]:
    """The source places of an address, innermost first.

    function: the entry of the function it is in, None where there is none. name_of: gives the name of an entry.
    """
    found = lines.at(address)
    if found is None:
        return []
    made = []
    for call in reversed(inlined(function, address) if function is not None else []):
        made.append(Place(name_of(call), *found))
        file, line = (call.attributes.get(name) for name in ("DW_AT_call_file", "DW_AT_call_line"))
        found = lines.file(file.value if file is not None else -1), line.value if line is not None else 0
    return [*made, Place("", *found)]
