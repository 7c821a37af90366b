"""Programs in C, C++ and assembler under tests/programs, compiled once a session for the tests that run or read them."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

PROGRAMS = Path(__file__).parent.parent / "programs"
COMPILERS = {"x86_64": ("gcc", "g++"), "arm64": ("aarch64-linux-gnu-gcc", "aarch64-linux-gnu-g++")}

Compile = Callable[..., Path]


@pytest.fixture(scope="session")
def compiled(tmp_path_factory: pytest.TempPathFactory, tool: Callable[[str], str]) -> Compile:
    """`compiled(SOURCE, *FLAGS, arch=..., output=...)`: the path of tests/programs/SOURCE compiled; the same call gives the same file."""
    folder = tmp_path_factory.mktemp("programs")
    made: dict[tuple[str, ...], Path] = {}

    def compile_program(source: str, *flags: str, arch: str = "x86_64", output: str = "") -> Path:
        key = (source, arch, output, *flags)
        if key not in made:
            compiler = tool(COMPILERS[arch][source.endswith(".cc")])
            place = folder / str(len(made))
            place.mkdir()
            made[key] = place / (output or source.partition(".")[0])
            subprocess.run([compiler, "-O1", "-g0", "-o", str(made[key]), str(PROGRAMS / source), *flags], check=True, timeout=120)
        return made[key]

    return compile_program
