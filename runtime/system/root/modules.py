"""Kernel modules that the guest's root needs, with those they depend on, out of a kernel's module folder (lib/modules/VERSION).

A distribution's package holds no modules.dep (depmod makes it at installation), so that dependencies are read from the modules
themselves: the `depends=` entry of their .modinfo section (scripts/mod/modpost.c).
"""

from __future__ import annotations

import io
import lzma
import zlib
from collections.abc import Iterable
from pathlib import Path
from typing import Final

#: File systems of the guest's root: the host's view and what is written over it.
WANTED: Final = ("fuse", "overlay")
_LIMIT: Final = 64 << 20  # bytes of one unpacked module


class ModuleError(Exception):
    """A module is missing or unreadable; the message is for the user."""


def _stem(name: str) -> str:
    """The module's name as Linux has it: no suffixes, `_` for `-`."""
    return name.split(".ko")[0].replace("-", "_")


def _unpacked(path: Path) -> bytes:
    data = path.read_bytes()
    try:
        if path.suffix == ".xz":
            return lzma.LZMADecompressor().decompress(data, _LIMIT)
        if path.suffix == ".gz":
            return zlib.decompressobj(31).decompress(data, _LIMIT)
    except (lzma.LZMAError, zlib.error) as error:
        raise ModuleError(f"module {path.name} is damaged: {error}") from None
    if path.suffix != ".ko":
        raise ModuleError(f"module {path.name} is packed in a way that is not known here")
    return data


def module_information(data: bytes) -> dict[str, str]:
    """The .modinfo section of a module: `name=value` strings.

    Raises:
        ModuleError: `data` is no ELF file with such a section.
    """
    from elftools.common.exceptions import ELFError
    from elftools.elf.elffile import ELFFile

    try:
        section = ELFFile(io.BytesIO(data)).get_section_by_name(".modinfo")
    except ELFError as error:
        raise ModuleError(f"not a kernel module: {error}") from None
    if section is None:
        raise ModuleError("not a kernel module: it has no .modinfo section")
    pairs = (entry.partition("=") for entry in section.data().decode("utf-8", "replace").split("\0") if "=" in entry)
    return {name: value for name, _, value in pairs}


def _built_in(folder: Path) -> set[str]:
    listing = folder / "modules.builtin"
    return {_stem(line.rsplit("/", 1)[-1]) for line in listing.read_text().split()} if listing.exists() else set()


def load_order(folder: Path, wanted: Iterable[str] = WANTED) -> list[tuple[str, bytes]]:
    """Names and unpacked contents of the wanted modules and all they depend on, each after what it needs.

    folder: lib/modules/VERSION of the kernel. What is built into the kernel is left out.

    Raises:
        ModuleError: one is neither there nor built in, or cannot be read.
    """
    files = {_stem(path.name): path for path in sorted(folder.rglob("*.ko*")) if path.is_file()}
    built_in = _built_in(folder)
    order: dict[str, bytes] = {}
    missing: list[str] = []

    def add(name: str) -> None:
        if name in order or name in built_in:
            return
        if name not in files:
            missing.append(name)
            return
        data = _unpacked(files[name])
        for needed in filter(None, module_information(data).get("depends", "").split(",")):
            add(_stem(needed))
        order[name] = data

    for name in wanted:
        add(_stem(name))
    if missing:
        raise ModuleError(f"the kernel has no {' and no '.join(missing)}, neither built in nor as a module in {folder}")
    return list(order.items())
