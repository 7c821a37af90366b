"""ELF files and their symbols against what nm, readelf and the file itself say."""

from __future__ import annotations

import random
import subprocess
from pathlib import Path

import pytest

from pyprobe.runtime.machine.elf import ElfError
from pyprobe.runtime.machine.symbols import Image


def nm(path: Path) -> dict[str, int]:
    """Name to address of the defined functions, from binutils."""
    lines = subprocess.run(["nm", "--defined-only", str(path)], capture_output=True, text=True, check=True, timeout=30).stdout.splitlines()
    return {name: int(address, 16) for address, kind, name in (line.split() for line in lines) if kind in "tTwWi"}


@pytest.mark.parametrize("arch", ["x86_64", "arm64"])
def test_functions_agree_with_nm(compiled, arch):
    path = compiled("calls.c", arch=arch)
    image = Image.open(str(path))
    assert image.arch == arch
    expected = nm(path)
    assert set(image.names) <= set(expected)
    assert {"leaf", "rec", "hidden", "main"} <= set(image.names)
    assert all(image.function(name).address == expected[name] for name in image.names)


def test_addresses_give_names_with_offsets(compiled):
    image = Image.open(str(compiled("calls.c")))
    rec = image.function("rec")
    assert image.at(rec.address) is rec
    assert image.at(rec.address + rec.size - 1) is rec
    assert image.at(rec.address + rec.size) is not rec
    assert image.at(0) is None
    assert image.at(1 << 60) is None


def test_stripped_program_keeps_dynamic_names_only(compiled):
    image = Image.open(str(compiled("library.c", "-shared", "-fPIC", "-s", output="libx.so")))
    assert "library_add" in image.names
    assert image.executable


def test_objects_have_size(compiled):
    image = Image.open(str(compiled("calls.c")))
    assert image.object("counter").size == 8
    assert image.object("leaf").size > 0
    assert image.object("nothing") is None


def test_file_offsets_and_addresses(compiled):
    path = compiled("calls.c")
    image = Image.open(str(path))
    leaf = image.function("leaf")
    offset = image.elf.offset(leaf.address)
    assert image.elf.address(offset) == leaf.address
    assert path.read_bytes()[offset : offset + leaf.size] == image.code(leaf)
    assert image.elf.offset(1 << 50) is None


def test_build_id(compiled):
    path = compiled("calls.c", "-Wl,--build-id=0x00112233445566778899aabbccddeeff00112233")
    assert Image.open(str(path)).build_id == "00112233445566778899aabbccddeeff00112233"
    assert Image.open(str(compiled("calls.c", "-Wl,--build-id=none"))).build_id == ""


def test_separate_debug_file_by_link(compiled, tmp_path):
    program = tmp_path / "prog"
    program.write_bytes(compiled("calls.c", "-Wl,--build-id=none", output="debugged").read_bytes())
    debug = tmp_path / "prog.debug"
    for command in (["--only-keep-debug", program, debug], ["--strip-all", program], [f"--add-gnu-debuglink={debug}", program]):
        subprocess.run(["objcopy", *map(str, command)], check=True, timeout=30)
    assert "hidden" in Image.open(str(program)).names
    debug.write_bytes(debug.read_bytes() + b"x")  # the checksum no longer fits
    assert "hidden" not in Image.open(str(program)).names


def test_separate_debug_file_by_build_id(compiled, tmp_path):
    program = tmp_path / "prog"
    program.write_bytes(compiled("calls.c", "-Wl,--build-id=0xabcdef", output="identified").read_bytes())
    place = tmp_path / "debug" / ".build-id" / "ab"
    place.mkdir(parents=True)
    subprocess.run(["objcopy", "--only-keep-debug", str(program), str(place / "cdef.debug")], check=True, timeout=30)
    subprocess.run(["strip", str(program)], check=True, timeout=30)
    assert "hidden" not in Image.open(str(program)).names
    with program.open("rb") as stream:
        assert "hidden" in Image(stream, str(program), debug_directory=str(tmp_path / "debug")).names


@pytest.mark.parametrize(
    "content", [b"", b"\x7fELF", b"#!/bin/sh\n", b"\x7fELF\x02\x01\x01" + b"\xff" * 57, b"\x7fELF\x02\x01\x01" + bytes(57)]
)
def test_what_is_no_elf_is_an_error_value(content):
    with pytest.raises(ElfError):
        Image.of(content, "x")


def test_damage_never_raises_anything_else(compiled):
    whole = compiled("calls.c").read_bytes()
    chance = random.Random(1)
    for trial in range(300):
        content = bytearray(whole)
        for _ in range(chance.choice((1, 4, 64))):
            where = chance.randrange(64) if chance.random() < 0.3 else chance.randrange(len(content))
            content[where] = chance.randrange(256)
        if trial % 3 == 0:
            del content[chance.randrange(len(content)) :]
        try:
            image = Image.of(bytes(content), "damaged")
            for f in image.functions:
                image.at(f.address)
                image.code(f)
            image.build_id, image.object("counter"), image.elf.section(".text")
        except ElfError:
            pass


def test_missing_file(tmp_path):
    with pytest.raises(ElfError, match="No such file"):
        Image.open(str(tmp_path / "none"))
