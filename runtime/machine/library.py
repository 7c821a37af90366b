"""libunicorn as it lies in this process: which build it is, what its words are, and whose code an address is."""

from __future__ import annotations

import ctypes
import os
from ctypes import c_uint64, c_void_p

_NOTE = b"\x04\0\0\0\x14\0\0\0\x03\0\0\0GNU\0"  # name of 4 bytes, description of 20, NT_GNU_BUILD_ID
_HEAD = 4096  # the notes lie behind the program headers

WHEEL_X86_64 = "44285d3e80527122e9e361928189385906ec813e"
"""The build id of unicorn 2.1.4 in the wheel for x86-64 Linux."""

HANDLE_CPU = 0x1B8
"""Where uc_struct has its pointer to the CPU, in bytes."""


class _Info(ctypes.Structure):
    """Dl_info of dladdr(3)."""

    _fields_ = [("file", ctypes.c_char_p), ("base", c_void_p), ("name", ctypes.c_char_p), ("address", c_void_p)]


def build_id(path: str) -> str:
    """The build id of a shared library in hexadecimal, "" if it has none."""
    with open(path, "rb") as file:
        head = file.read(_HEAD)
    at = head.find(_NOTE)
    return head[at + len(_NOTE) : at + len(_NOTE) + 20].hex() if at >= 0 else ""


def belongs(address: int, path: str) -> bool | None:
    """Whether an address is of the code of the library at `path` or of an extension of ours. None: of no library at all."""
    info = _Info()
    dladdr = ctypes.CDLL(None).dladdr
    dladdr.argtypes = [c_void_p, c_void_p]
    if not dladdr(address, ctypes.byref(info)) or info.file is None:
        return None
    return info.file == os.fsencode(path) or b"_native" in os.path.basename(info.file)


def pointer(address: int) -> int:
    """The 64-bit word at an address of this process that is known to be mapped."""
    return c_uint64.from_address(address).value
