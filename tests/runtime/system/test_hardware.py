"""hardware: instructions and branches on a booted kernel, where a program has as many as on the user machine."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from pyprobe.runtime.system.kernels.store import Kernel
from tests.conftest import ROOT, Result
from tests.runtime.system.conftest import COMPILERS

Guest = Callable[..., Result]
COUNT = {"x86_64": 2013, "arm64": 2004}


@pytest.fixture
def program(kernel: Kernel, root: Path, tool) -> Path:  # type: ignore[no-untyped-def]  # a fixture that returns a function
    """tests/programs/counted.c in the guest's root."""
    target = root / "counted"
    compiler, source = tool(COMPILERS[kernel.arch]), ROOT / "tests/programs/counted.c"
    subprocess.run([compiler, "-O2", "-nostdlib", "-static", "-no-pie", "-o", target, source], check=True, timeout=60)
    return target


def counts(result: Result) -> dict[tuple[str, str], int]:
    """By comm and usermode."""
    assert result.status == 0, result.err
    return {(comm, mode): int(n) for comm, mode, n in re.findall(r"@\[(\w+), (\d)\]: (\d+)", result.out)}


@pytest.mark.parametrize(("event", "expected"), [("instructions", COUNT), ("branches", dict.fromkeys(COUNT, 1000))])
def test_a_program_has_as_many(kernel: Kernel, program: Path, guest: Guest, event: str, expected: dict[str, int]) -> None:
    """Faults of pages in its middle do not add to them. The kernel's own are there beside them, and none of our init's from then on."""
    found = counts(guest("/counted", script=f"hardware:{event}:1 /comm == \"counted\"/ {{ @[comm, usermode] = count(); }}"))
    assert found["counted", "1"] == expected[kernel.arch]
    assert found["counted", "0"] > 10 * expected[kernel.arch]


def test_samples_are_a_share(kernel: Kernel, program: Path, guest: Guest) -> None:
    """One in so many, of everything that is executed."""
    script = "hardware:instructions:1000 { @thousands = count(); } hardware:instructions:7000 { @more = count(); } h:branches { @ = 1; }"
    result = guest("/counted", script=script)
    found = {name: int(n) for name, n in re.findall(r"@(\w+): (\d+)", result.out)}
    assert found["thousands"] // 7 == found["more"] > 10


def test_counting_changes_nothing(program: Path, guest: Guest) -> None:
    """The clock, which counts what is executed, says so."""
    at_the_end = "kprobe:do_exit /comm == \"counted\"/ { print(nsecs); }"
    plain, counted = (guest("/counted", script=at_the_end + more) for more in ("", " h:instructions { @ = count(); }"))
    assert plain.out.split()[0] == counted.out.split()[0]


def test_what_the_processor_lacks(guest: Guest) -> None:
    result = guest("ls", script="hardware:cache-misses { }")
    assert result.status == 255
    assert result.err.splitlines()[0] == "ERROR: the emulated processor counts instructions and branch-instructions only"
