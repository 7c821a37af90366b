"""Where functions of ours take the place of libunicorn's own: its procedure linkage table, and pointers in its structures.

A slot of the table belongs to the process: whoever is put there is called for every emulator in it, is told which, and passes on those it
does not know.
"""

from __future__ import annotations

import ctypes
from ctypes import c_void_p
from typing import TYPE_CHECKING

from pyprobe.runtime.machine.cpu_state import peek
from pyprobe.runtime.machine.library import belongs, pointer
from pyprobe.runtime.system.internals import mismatch

if TYPE_CHECKING:
    from pyprobe.runtime.system.cpu import Processor

_own: list[object] = []  # functions of Python in slots; they stay, whoever comes and goes


def slot(cpu: Processor, name: str) -> int:
    """The address of the slot through which the library calls a function of its own.

    Raises UnsupportedLibrary where something else is found there than a function of the library or one of ours.
    """
    address = cpu.function(name) + cpu.offsets.slots[name]
    found = pointer(address)
    path = str(cpu.library._name)
    if not _known(found, path):
        raise mismatch(f"the slot of {name}", f"a function of {path}", hex(found))
    return address


def put(address: int, function: ctypes._FuncPointer) -> None:
    """Have a slot lead to a function of Python's from now on."""
    _own.append(function)
    ctypes.c_uint64.from_address(address).value = ctypes.cast(function, c_void_p).value or 0


def places(structure: int, size: int, function: int, times: int, what: str) -> list[int]:
    """The first places in a structure, of `size` bytes at most, that point to a function. Raises UnsupportedLibrary if there are too few.

    Behind a smaller structure there may be what is left of others of its kind.
    """
    words = memoryview(peek(structure, size)).cast("Q").tolist()
    found = [structure + 8 * i for i, word in enumerate(words) if word == function]
    if len(found) < times:
        raise mismatch(what, f"{times} times", f"{len(found)} times")
    return found[:times]


def _known(address: int, library: str) -> bool:
    """Whether an address is of the library's code, as before the first of us came, or of a function that we put in."""
    found = belongs(address, library)
    return found if found is not None else any(ctypes.cast(function, c_void_p).value == address for function in _own)  # type: ignore[arg-type]  # C functions
