"""Frame-pointer walks over stacks made by hand: in order, bounded, never astray."""

from __future__ import annotations

import struct

import pytest

from pyprobe.runtime.machine.memory import AddressSpace, PhysicalMemory, R, W, X
from pyprobe.runtime.machine.unwind import unwind

STACK, CODE = 0x700000, 0x400000


@pytest.fixture
def space():
    made = AddressSpace(PhysicalMemory(1 << 20))
    made.map(STACK, 4096, R | W)
    made.map(CODE, 4096, R | X)
    return made


def frames(space, *records):
    """Write (address, caller's frame pointer, return address) records."""
    for address, caller, back in records:
        space.write(address, struct.pack("<QQ", caller, back))


def registers(arch, frame, **more):
    name = {"x86_64": "bp", "arm64": "r29"}[arch]
    return {"pc": CODE, name: frame, "sp": STACK, "r30": CODE + 0x99, **more}.__getitem__


@pytest.mark.parametrize("arch", ["x86_64", "arm64"])
def test_a_chain_of_frames(space, arch):
    frames(space, (STACK + 16, STACK + 64, CODE + 1), (STACK + 64, STACK + 128, CODE + 2), (STACK + 128, 0, CODE + 3))
    assert unwind(arch, registers(arch, STACK + 16), space, 127) == [CODE, CODE + 1, CODE + 2, CODE + 3]
    assert unwind(arch, registers(arch, STACK + 16), space, 2) == [CODE, CODE + 1]


def test_the_first_instruction_has_no_frame_yet(space):
    frames(space, (STACK + 16, 0, CODE + 1))
    space.write(STACK, struct.pack("<Q", CODE + 0x77))
    assert unwind("x86_64", registers("x86_64", STACK + 16), space, 9, entry=True) == [CODE, CODE + 0x77, CODE + 1]
    assert unwind("arm64", registers("arm64", STACK + 16), space, 9, entry=True) == [CODE, CODE + 0x99, CODE + 1]


@pytest.mark.parametrize(
    "records",
    [
        [(STACK + 16, STACK + 16, CODE + 1)],  # points at itself
        [(STACK + 16, STACK + 64, CODE + 1), (STACK + 64, STACK + 16, CODE + 2)],  # a cycle
    ],
)
def test_cycles_end(space, records):
    frames(space, *records)
    assert unwind("x86_64", registers("x86_64", STACK + 16), space, 1000) == [CODE, *(r[2] for r in records)]


@pytest.mark.parametrize("frame", [0, 1, 0x10, STACK + 4090, STACK + 4096, (1 << 64) - 8, STACK + 17])
def test_frames_that_cannot_be(space, frame):
    assert unwind("x86_64", registers("x86_64", frame), space, 10) == [CODE]


def test_return_addresses_that_are_no_code(space):
    frames(space, (STACK + 16, STACK + 64, STACK))
    assert unwind("x86_64", registers("x86_64", STACK + 16), space, 10) == [CODE]
