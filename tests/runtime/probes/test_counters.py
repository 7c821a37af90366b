"""hardware and watchpoint: instructions and accesses, one by one."""

from __future__ import annotations

import pytest

from pyprobe.lang.attachpoint import PointError
from pyprobe.runtime.machine.symbols import Image
from pyprobe.runtime.probes.base import AttachError
from pyprobe.runtime.probes.world import MachineWorld
from tests.runtime.probes.conftest import point

FREESTANDING = ("-nostdlib", "-static", "-no-pie")


def event(text, rate):
    return point(text, rate=rate)


def watch(address, length, mode):
    return point("watchpoint", address=address, length=length, mode=mode)


@pytest.mark.parametrize(
    ("name", "rate", "count"),
    [("instructions", 1, 2013), ("instructions", 100, 20), ("branches", 1, 1000), ("branch-instructions", 7, 142), ("instructions", 0, 0)],
)
def test_counts(compiled, trace, name, rate, count):
    run = trace([compiled("counted.c", *FREESTANDING)], (event(f"hardware:{name}", rate), "usermode"))
    assert [e[1] for e in run.events] == [1] * count


def test_what_is_not_counted(compiled, trace):
    with pytest.raises(AttachError, match="counts instructions and branch-instructions only"):
        trace([compiled("counted.c", *FREESTANDING)], (event("hardware:cycles", 1),))


@pytest.mark.parametrize(("offset", "length", "mode", "count"), [(0, 4, "w", 5), (0, 8, "rw", 5), (2, 1, "w", 5), (4, 4, "w", 0)])
def test_accesses(compiled, trace, offset, length, mode, count):
    program = compiled("counted.c", *FREESTANDING)
    watched = Image.open(str(program)).object("watched").address
    run = trace([program], (watch(watched + offset, length, mode), "pid", "usermode"))
    assert [e[1:] for e in run.events] == [(1000, 1)] * count


def test_execution(compiled, trace):
    program = compiled("counted.c", *FREESTANDING)
    start = Image.open(str(program)).elf.entry
    run = trace([program], (watch(start, 8, "x"), ("reg", "ip")))
    assert [e[1] for e in run.events] == [start]


def test_modes():
    with pytest.raises(PointError) as raised:
        MachineWorld().matches(watch(4096, 4, "r"))
    assert (raised.value.message, raised.value.hints) == ("invalid watchpoint mode: r", ("supported modes: x,w,rw",))
    assert MachineWorld(arch="arm64").matches(watch(4096, 4, "r"))
    with pytest.raises(PointError):
        MachineWorld().matches(watch(4096, 4, "rx"))
