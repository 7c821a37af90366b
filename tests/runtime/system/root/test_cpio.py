"""The initial root: archives as cpio reads them, and the program and modules in them."""

from __future__ import annotations

from pathlib import Path

import pytest

from pyprobe.runtime.machine.elf import ElfFile
from pyprobe.runtime.system.root import cpio, initramfs


def test_fields_lie_where_the_format_has_them() -> None:
    data = cpio.pack([cpio.character(b"dev/console", 5, 1)])
    fields = [int(data[6 + 8 * i : 14 + 8 * i], 16) for i in range(13)]
    assert data[:6] == b"070701"
    assert fields == [1, 0o20600, 0, 0, 1, 0, 0, 0, 0, 5, 1, 12, 0]
    assert data[110:122] == b"dev/console\0"
    assert len(data) % 4 == 0 and data[124:130] == b"070701" and b"TRAILER!!!\0" in data


@pytest.mark.parametrize("arch", ["x86_64", "arm64"])
def test_the_initial_root_holds_init_and_the_modules_in_order(arch: str, tmp_path: Path) -> None:
    data = initramfs.build(arch, [("fuse", b"first"), ("overlay", b"second")])
    assert data.index(b"modules/0.ko\0") < data.index(b"first") < data.index(b"modules/1.ko\0") < data.index(b"second")
    program = tmp_path / "init"
    at = data.index(b"\x7fELF")
    program.write_bytes(data[at:])
    with program.open("rb") as stream:
        assert ElfFile(stream).arch == arch
    assert data == initramfs.build(arch, [("fuse", b"first"), ("overlay", b"second")])
