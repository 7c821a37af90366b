"""The packaged scripts: each runs, and the example in its header is what it really prints."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.conftest import ROOT, Result

SCRIPTS = sorted((ROOT / "scripts").glob("*.pt"))
HOSTS_OWN = {"mallocstacks"}  # its example traces a program of the host, whose C library differs from place to place


def example(script: Path) -> tuple[list[str], list[str]]:
    """The words of the command in the header's EXAMPLE, and the lines it shows."""
    header = script.read_text().partition("*/")[0]
    command, _, shown = header.partition(" * EXAMPLE: pyprobe ")[2].partition("\n *\n")
    return command.split(), [line.removeprefix(" *").removeprefix("   ") for line in shown.splitlines() if line.strip()]


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.stem)
def test_the_header_tells_the_truth(pyprobe: Callable[..., Result], script: Path) -> None:
    words, lines = example(script)
    assert words and lines
    done = pyprobe("-q", *words)
    assert done.status == 0, done
    if script.stem in HOSTS_OWN:
        shapes = [re.sub(r"\d+|0x[0-9a-f]+", "N", line) for line in done.out.splitlines()]
        assert "@bytes[date, " in shapes and any(shape.startswith("@sizes:") for shape in shapes)
    else:
        printed = [line.rstrip() for line in done.out.splitlines()]
        assert [line for line in lines if line.strip() not in ("", " ") and line not in printed] == []


def test_system_calls_that_arm64_lacks_are_no_trouble(pyprobe: Callable[..., Result], build: Callable[..., Path]) -> None:
    program = build("calls.c", "-static", compiler="aarch64-linux-gnu-gcc")
    for script in SCRIPTS:
        if "tracepoint:syscalls:" in script.read_text():
            done = pyprobe("--dry-run", str(script), "-c", str(program))
            assert done.status == 0 and "ERROR" not in done.err, (script, done)


def test_formatting_does_not_change_them(pyprobe: Callable[..., Result], tmp_path: Path) -> None:
    for script in SCRIPTS:
        once = pyprobe("--fmt", str(script)).out
        again = tmp_path / script.name
        again.write_text(once)
        assert pyprobe("--fmt", str(again)).out == once
