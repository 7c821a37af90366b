"""Snapshots: what is written comes back, and what was damaged is not used."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from pyprobe.runtime.system import snapshot
from pyprobe.runtime.system.ram import MB, Ram
from pyprobe.runtime.system.snapshot import Damaged, Snapshot

SIZE = 8 * MB


@pytest.fixture
def path(tmp_path: Path) -> str:
    ram = Ram(0x4000_0000, SIZE)
    ram.write(0x4000_0000 + 5000, b"first")
    ram.write(0x4000_0000 + SIZE - 4, b"last")
    snapshot.write(str(tmp_path / "s"), ram, {"now": 1, "nested": {"registers": "00ff"}})
    return str(tmp_path / "s")


def test_comes_back(path: str) -> None:
    found = Snapshot.open(path)
    ram = found.ram(0x4000_0000)
    found.close()
    assert found.state == {"now": 1, "nested": {"registers": "00ff"}}
    assert (bytes(ram.view[5000:5005]), bytes(ram.view[SIZE - 4 :]), bytes(ram.view[:5000])) == (b"first", b"last", bytes(5000))


def test_is_sparse_and_alone_in_its_folder(path: str) -> None:
    assert os.stat(path).st_blocks * 512 < 1 << 17
    assert os.listdir(os.path.dirname(path)) == ["s"]


def test_writing_to_the_ram_does_not_change_the_file(path: str) -> None:
    before = Path(path).read_bytes()
    found = Snapshot.open(path)
    found.ram(0).write(5000, b"other")
    assert Path(path).read_bytes() == before


@pytest.mark.parametrize("at", [0, 20, 70, 1 << 16, (1 << 16) + 5001], ids=["magic", "header", "state", "zeros of a part in use", "ram"])
def test_a_changed_byte_is_noticed(path: str, at: int) -> None:
    with open(path, "r+b") as file:
        file.seek(at)
        old = file.read(1)
        file.seek(at)
        file.write(bytes([old[0] ^ 1]))
    with pytest.raises(Damaged):
        Snapshot.open(path)


@pytest.mark.parametrize("size", [0, 10, 100, 1 << 16, SIZE])
def test_a_cut_file_is_noticed(path: str, size: int) -> None:
    os.truncate(path, size)
    with pytest.raises(Damaged):
        Snapshot.open(path)


def test_no_file(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        Snapshot.open(str(tmp_path / "none"))
