"""An extension of another checkout is not used."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType
from zlib import crc32

import pytest

from pyprobe.runtime.machine.extension import require_current


def extension(folder: Path, **names: str) -> ModuleType:
    module = ModuleType("package._native")
    module.__file__ = str(folder / "_native.abi3.so")
    vars(module).update(names)
    return module


def test_built_from_this_source(tmp_path: Path) -> None:
    (tmp_path / "_native.c").write_text("int x;")
    require_current(extension(tmp_path, SOURCE=f"{crc32(b'int x;'):08x}"))


def test_every_file_of_the_source_counts(tmp_path: Path) -> None:
    (tmp_path / "_native.c").write_text("int x;")
    (tmp_path / "_native_more.h").write_text("int y;")
    require_current(extension(tmp_path, SOURCE=f"{crc32(b'int x;int y;'):08x}"))
    with pytest.raises(ImportError, match="was built from another source"):
        require_current(extension(tmp_path, SOURCE=f"{crc32(b'int x;'):08x}"))


@pytest.mark.parametrize("names", [{}, {"SOURCE": "00000000"}])
def test_built_from_another_source(tmp_path: Path, names: dict[str, str]) -> None:
    (tmp_path / "_native.c").write_text("int x;")
    with pytest.raises(ImportError, match="was built from another source"):
        require_current(extension(tmp_path, **names))


def test_installed_without_its_source(tmp_path: Path) -> None:
    require_current(extension(tmp_path))
