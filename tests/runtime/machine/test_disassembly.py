"""Instruction boundaries and falling through, on compiled code."""

from __future__ import annotations

import pytest

from pyprobe.runtime.machine.disassembly import falls_through, instructions, is_boundary, listing
from pyprobe.runtime.machine.symbols import Image


@pytest.mark.parametrize("arch", ["x86_64", "arm64"])
def test_boundaries(compiled, arch):
    image = Image.open(str(compiled("calls.c", arch=arch)))
    code = image.code(image.function("rec"))
    found = [i.address for i in instructions(arch, code, 0)]
    assert [n for n in range(len(code)) if is_boundary(arch, code, n)] == found
    assert found[0] == 0 and len(found) > 5


@pytest.mark.parametrize("arch", ["x86_64", "arm64"])
def test_falling_through(compiled, arch):
    image = Image.open(str(compiled("fallthrough.c", arch=arch)))
    assert falls_through(arch, image.code(image.function("first")))
    assert not falls_through(arch, image.code(image.function("second")))
    assert not falls_through(arch, b"")


def test_garbage_is_shown_as_bytes():
    assert [str(i) for i in instructions("x86_64", b"\x90\x06\xc3", 0)] == ["nop", ".byte 0x06", "ret"]
    assert [str(i) for i in instructions("arm64", b"\xff\xff\xff\xff\x1f\x20\x03\xd5", 0)] == [".word 0xffffffff", "nop"]


def test_listing_marks_the_place(compiled):
    image = Image.open(str(compiled("calls.c")))
    rec = image.function("rec")
    code = image.code(rec)
    second = [i.address for i in instructions("x86_64", code, rec.address)][1]
    lines = listing("x86_64", code, rec.address, second, after=1, name=lambda a: f"rec+{a - rec.address}")
    assert len(lines) == 3
    assert lines[1].startswith(f" => {second:#x} <rec+{second - rec.address}>: ")
    assert lines[0].startswith("    ")
    assert listing("x86_64", b"", 0, 0) == []
