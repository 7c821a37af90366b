"""Exceptions of processors: what signals say of them, as on the host and as on a booted kernel."""

from __future__ import annotations

import platform
import re
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.runtime.system.conftest import installed
from tests.runtime.user.test_arm64 import Cross, cross
from tests.runtime.user.test_arm64 import emulate as emulate_arm64

__all__ = ["cross"]

PROGRAMS = Path(__file__).parents[2] / "programs"


@pytest.mark.skipif(platform.machine() != "x86_64", reason="the host's processor is the authority")
@pytest.mark.parametrize(
    ("source", "signals"),
    [("exceptions_x86_64.c", 70), ("exceptions_float.c", 45), ("exceptions_edges.c", 35), ("float_flags.c", 0), ("arithmetic.c", 0),
     ("features.c", 0)],
)
def test_x86_64_as_on_the_host(
    emulate: Callable[..., tuple[int, bytes, bytes]], build: Callable[..., str], source: str, signals: int
) -> None:
    program = build((PROGRAMS / source).read_text(), "-no-pie", "-mno-red-zone", "-lm")
    native = subprocess.run([program], capture_output=True, timeout=60)
    status, output, _ = emulate([program])
    assert (status, output) == (native.returncode, native.stdout)
    assert len(output) > 100 and output.count(b"signal") >= signals


def test_arm64_as_on_a_booted_kernel(cross: Cross, pyprobe, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]  # a fixture that returns a function
    program = cross("exceptions_arm64.c", "-static", "-march=armv8.2-a", "-DESR", "-DBOOTED")
    kernel = installed("debian-arm64")
    (tmp_path / "prog").write_bytes(Path(program).read_bytes())
    (tmp_path / "prog").chmod(0o755)
    (tmp_path / "tmp").mkdir()
    booted = pyprobe("-q", "--kernel", kernel.name, "--root", str(tmp_path), "-e", "begin { }", "-c", "/prog")
    status, output = emulate_arm64(str(program))
    assert output.decode().splitlines() == [line for line in booted.out.splitlines() if line]
    assert status == 0 and output.count(b"signal") > 40


ALIGNMENT = rb"""
unaligned pc: signal 7 code 1 addr=pc+2 pc=pc+2 fault=0 esr 0x8a000000
unaligned sp: signal 7 code 1 addr=SP pc=pc+16 fault=0 esr 0x9a000000
unaligned sp, stored by: signal 7 code 1 addr=SP pc=pc+8 fault=0 esr 0x9a000000
unaligned sp by writing back: signal 7 code 1 addr=SP pc=pc+12 fault=0 esr 0x9a000000
unaligned sp, not used: nothing
unaligned acquire: signal 7 code 1 addr=pc+1 pc=pc+8 fault=pc+1 esr 0x92000021
unaligned release: signal 7 code 1 addr=pc+2 pc=pc+8 fault=pc+2 esr 0x92000061
unaligned acquire of a byte: nothing
unaligned swap: signal 7 code 1 addr=pc+1 pc=pc+8 fault=pc+1 esr 0x92000021
unaligned load: nothing
"""
"""What the processors that the kernel is booted on do not check: Arm ARM, D1.3.10 (PC and SP alignment), B2.8 (alignment of data accesses);
do_sp_pc_abort and do_alignment_fault of arch/arm64/mm/fault.c."""


def test_arm64_alignment(cross: Cross) -> None:
    source = (PROGRAMS / "exceptions_arm64.c").read_text()
    status, output = emulate_arm64(str(cross(source, "-static", "-march=armv8.2-a", "-DESR")))
    lines = [line for line in output.splitlines() if line.startswith(b"unaligned") and not line.startswith(b"unaligned exclusive")]
    assert status == 0
    assert [re.sub(rb"addr=0x[0-9a-f]{9,}", b"addr=SP", line) for line in lines] == ALIGNMENT.split(b"\n")[1:-1]


@pytest.mark.skipif(platform.machine() != "x86_64", reason="the host's processor is the authority")
@pytest.mark.parametrize("how", ["hook", "breakpoint"])
def test_under_probes(build: Callable[..., str], pyprobe, how: str) -> None:  # type: ignore[no-untyped-def]  # a fixture that returns a function
    """What faults under a probe faults as it would without, and is told once."""
    program = build((PROGRAMS / "probed_faults.c").read_text(), "-no-pie")
    native = subprocess.run([program], capture_output=True, timeout=60)
    places = ",".join(f"uprobe:{program}:{name}" for name in ("aligned", "control", "divides"))
    run = pyprobe("-q", "--attach", how, "-e", places + ' { @[func] = count(); }', "-c", program)
    assert run.out.split("\n\n")[0].rstrip("\n") == native.stdout.decode().rstrip("\n")
    assert sorted(re.findall(r"@\[\w+\]: \d", run.out)) == ["@[aligned]: 6", "@[control]: 3", "@[divides]: 6"]
