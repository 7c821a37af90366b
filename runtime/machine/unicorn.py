"""libunicorn by its C interface: the functions used, their constants, and finding the library.

The Python package of unicorn brings the library; it is located, not imported, because importing costs more than all the
rest of a start. Structure layouts and measured behaviour are tied to the release that pyproject.toml pins.
"""

from __future__ import annotations

import ctypes
import os
from ctypes import POINTER, byref, c_int, c_size_t, c_uint32, c_uint64, c_void_p
from importlib.machinery import PathFinder

VERSION = (2, 1, 4)

HOOK_INTR, HOOK_INSN, HOOK_CODE, HOOK_BLOCK, HOOK_TLB_FILL = 1, 2, 4, 8, 1 << 17
HOOK_MEM_READ, HOOK_MEM_WRITE = 1 << 10, 1 << 11
MEM_READ, MEM_WRITE, MEM_FETCH = 16, 17, 18
ERR_OK, ERR_INSN_INVALID, ERR_EXCEPTION = 0, 10, 21
PROT_ALL = 7
TLB_VIRTUAL = 1

_WRITE = 1 << 30
_CTL_PAGE_SIZE, _CTL_USE_EXITS, _CTL_EXITS, _CTL_CPU_MODEL, _CTL_TB_FLUSH, _CTL_TLB_FLUSH, _CTL_TLB_TYPE = 1, 4, 6, 7, 10, 11, 12


def _ctl(number: int, arguments: int) -> int:
    """The control word of uc_ctl for setting something (UC_CTL_WRITE)."""
    return number | arguments << 26 | _WRITE


CTL_PAGE_SIZE = _ctl(_CTL_PAGE_SIZE, 1)
CTL_USE_EXITS = _ctl(_CTL_USE_EXITS, 1)
_CTL_SET_EXITS = _ctl(_CTL_EXITS, 2)
CTL_CPU_MODEL = _ctl(_CTL_CPU_MODEL, 1)
CTL_TB_FLUSH = _ctl(_CTL_TB_FLUSH, 0)
CTL_TLB_FLUSH = _ctl(_CTL_TLB_FLUSH, 0)
CTL_TLB_TYPE = _ctl(_CTL_TLB_TYPE, 1)

_PROTOTYPES: dict[str, tuple[list[object], object]] = {
    "uc_version": ([c_void_p, c_void_p], c_uint32),
    "uc_open": ([c_int, c_int, c_void_p], c_int),
    "uc_close": ([c_void_p], c_int),
    "uc_strerror": ([c_int], ctypes.c_char_p),
    "uc_reg_read": ([c_void_p, c_int, c_void_p], c_int),
    "uc_reg_write": ([c_void_p, c_int, c_void_p], c_int),
    "uc_reg_read_batch": ([c_void_p, c_void_p, c_void_p, c_int], c_int),
    "uc_reg_write_batch": ([c_void_p, c_void_p, c_void_p, c_int], c_int),
    "uc_emu_start": ([c_void_p, c_uint64, c_uint64, c_uint64, c_size_t], c_int),
    "uc_emu_stop": ([c_void_p], c_int),
    "uc_mem_map_ptr": ([c_void_p, c_uint64, c_uint64, c_uint32, c_void_p], c_int),
    "uc_hook_del": ([c_void_p, c_size_t], c_int),
    "uc_context_alloc": ([c_void_p, POINTER(c_void_p)], c_int),
    "uc_context_save": ([c_void_p, c_void_p], c_int),
    "uc_context_restore": ([c_void_p, c_void_p], c_int),
    "uc_context_free": ([c_void_p], c_int),
    "uc_context_size": ([c_void_p], c_size_t),
    "uc_context_reg_read": ([c_void_p, c_int, c_void_p], c_int),
    "uc_context_reg_write": ([c_void_p, c_int, c_void_p], c_int),
}


class UnicornError(Exception):
    """libunicorn is missing, is another release, or refused a request."""


def locate() -> str:
    """Where the library of the installed unicorn package is. Raises UnicornError."""
    spec = PathFinder.find_spec("unicorn")
    for folder in (spec.submodule_search_locations or []) if spec is not None else []:
        for name in ("libunicorn.so.2", "libunicorn.2.dylib"):
            path = os.path.join(folder, "lib", name)
            if os.path.exists(path):
                return path
    raise UnicornError("the package `unicorn` is not installed (pip install unicorn==2.1.4)")


class Library:
    """The functions as attributes, each with its prototype.

    Loaded so that calls keep the interpreter's lock: callbacks then enter Python without taking it, which is most of what
    a probe would cost otherwise.
    """

    def __init__(self) -> None:
        library = ctypes.PyDLL(locate())
        for name, (arguments, result) in _PROTOTYPES.items():
            function = getattr(library, name)
            function.argtypes = arguments
            function.restype = result
        library.uc_ctl.restype = c_int  # variadic, like uc_hook_add
        library.uc_hook_add.restype = c_int
        self.library = library
        version = library.uc_version(None, None)
        if (version >> 24, version >> 16 & 255, version >> 8 & 255) != VERSION:
            raise UnicornError(f"libunicorn {version >> 24}.{version >> 16 & 255}.{version >> 8 & 255} instead of 2.1.4")

    def address(self, name: str) -> int:
        """The address of an exported function, or 0."""
        try:
            return ctypes.cast(getattr(self.library, name), c_void_p).value or 0
        except AttributeError:
            return 0

    def check(self, error: int, what: str) -> None:
        """Raise UnicornError unless `error` is UC_ERR_OK."""
        if error:
            raise UnicornError(f"{what}: {self.library.uc_strerror(error).decode()}")

    def ctl(self, uc: int, control: int, *arguments: int) -> None:
        """uc_ctl with int arguments. Raises UnicornError."""
        self.check(self.library.uc_ctl(c_void_p(uc), c_int(control), *[c_int(a) for a in arguments]), "uc_ctl")

    def set_exits(self, uc: int, *addresses: int) -> None:
        """Let runs end where these addresses are reached, in code that is translated from now on. Raises UnicornError."""
        exits = (c_uint64 * max(1, len(addresses)))(*addresses)
        self.check(self.library.uc_ctl(c_void_p(uc), c_int(_CTL_SET_EXITS), byref(exits), c_size_t(len(addresses))), "uc_ctl")

    def hook_add(
        self, uc: int, kind: int, function: int, user: int = 0, begin: int = 1, end: int = 0, instruction: int | None = None
    ) -> int:
        """Install the C function at address `function`; begin > end: for all addresses. Returns the handle of the hook."""
        handle = c_size_t()
        extra = [] if instruction is None else [c_int(instruction)]
        error = self.library.uc_hook_add(
            c_void_p(uc), byref(handle), c_int(kind), c_void_p(function), c_void_p(user), c_uint64(begin), c_uint64(end), *extra
        )
        self.check(error, "uc_hook_add")
        return handle.value
