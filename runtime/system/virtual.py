"""The guest's virtual memory, as its page tables show it."""

from __future__ import annotations

from collections.abc import Callable

from pyprobe.runtime.machine.state import NOWHERE
from pyprobe.runtime.machine.strings import string_at
from pyprobe.runtime.system.ram import PAGE, Ram


class VirtualMemory:
    """Reads and writes at virtual addresses, past all permissions. A subclass knows the format of the page tables."""

    ram: Ram

    def translate(self, address: int, tables: int | None = None) -> int:
        """The offset in RAM of a virtual address, by the page tables in force or those of another program; -1 where nothing is mapped."""
        raise NotImplementedError

    def address_space(self) -> int:
        """The physical address of the page tables of the program that runs."""
        raise NotImplementedError

    def read(self, address: int, size: int, tables: int | None = None) -> bytes | None:
        """Virtual memory as the processor sees it, or would with a program's page tables; None where a part of it is not there."""
        start = self.translate(address, tables)
        if start < 0:
            return None
        here = PAGE - (address & PAGE - 1)
        if size <= here:
            return bytes(self.ram.view[start : start + size])
        pieces = [bytes(self.ram.view[start : start + here])]
        while here < size:
            start = self.translate(address + here, tables)
            if start < 0:
                return None
            pieces.append(bytes(self.ram.view[start : start + min(PAGE, size - here)]))
            here += PAGE
        return b"".join(pieces)

    def number(self, address: int, size: int = 8) -> int:
        """The unsigned number in `size` bytes of virtual memory; 0 where nothing is."""
        return int.from_bytes(self.read(address, size) or b"", "little")

    def word_reader(self) -> Callable[[int], int]:
        """A function that reads 64-bit words of virtual memory that do not cross pages, 0 where nothing is; for many of them in a row,
        while the processor stands still."""
        pages: dict[int, int] = {}
        translate, view = self.translate, self.ram.view

        def word(address: int) -> int:
            place = address & PAGE - 1
            page = address - place
            start = pages.get(page)
            if start is None:
                start = pages[page] = translate(page & NOWHERE)
            return int.from_bytes(view[start + place : start + place + 8], "little") if start >= 0 and place <= PAGE - 8 else 0

        return word

    def write(self, address: int, data: bytes) -> bool:
        """Write to virtual memory, whatever its permissions; False, and nothing written, where a part of it is not there."""
        places = []
        done = 0
        while done < len(data):
            start = self.translate(address + done)
            if start < 0:
                return False
            n = min(PAGE - (address + done & PAGE - 1), len(data) - done)
            places.append((start, done, n))
            done += n
        for start, at, n in places:
            self.ram.view[start : start + n] = data[at : at + n]
        return True

    def read_string(self, address: int, limit: int) -> bytes | None:
        """Up to the first NUL or `limit` bytes; what precedes a page that cannot be read counts."""
        return string_at(self.read, address, limit)
