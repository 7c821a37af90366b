"""The script cases: every block of a `*.txt` file here is a script with the output that bpftrace 0.27.1 gave for it.

A block is lines of `NAME`, `PROG`, optional `ARGS` (options of the command) and `WORDS` (what follows the program on the command line),
and one `EXPECT` per line of standard output; blocks are separated by blank lines. Empty lines at the end of the output are not
compared. Adding a case is adding a block.
"""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from pyprobe.cli import main

FOLDER = Path(__file__).parent


class Case:
    def __init__(self, file: str, text: str) -> None:
        self.file = file
        self.name = self.program = ""
        self.arguments: list[str] = []
        self.words: list[str] = []
        self.expected: list[str] = []
        for line in text.split("\n"):
            word, _, rest = line.partition(" ")
            if word == "NAME":
                self.name = rest
            elif word == "PROG":
                self.program = rest
            elif word == "ARGS":
                self.arguments = shlex.split(rest)
            elif word == "WORDS":
                self.words = shlex.split(rest)
            elif word == "EXPECT":
                self.expected.append(rest)
            else:
                raise ValueError(f"{file}: {self.name}: what is {line!r}?")


def cases() -> Iterator[Case]:
    for path in sorted(FOLDER.glob("*.txt")):
        for block in path.read_text(encoding="utf-8").strip().split("\n\n"):
            yield Case(path.stem, block)


CASES = list(cases())
FIRST = [next(c for c in CASES if c.file == file) for file in sorted({c.file for c in CASES})]


VARIES = (
    (re.compile(r'("duration": |"average": (?=[0-9]+, "iters")|"iters": )[0-9]+'), r"\1N"),
    (re.compile(r"(?<=\()[0-9]+ (?:ns|μs)(?=\)$)"), "N"),
    (re.compile("\033\\[[0-9]*m"), ""),
)
"""What takes the host's time, and colours."""


def lines(output: bytes) -> list[str]:
    found = output.decode("utf-8", "replace").rstrip("\n").split("\n")
    for pattern, instead in VARIES:
        found = [pattern.sub(instead, line) for line in found]
    return found


@pytest.mark.parametrize("case", [pytest.param(c, id=f"{c.file}: {c.name}") for c in CASES])
def test_case(case: Case, capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    main([*case.arguments, "-e", case.program, *case.words])
    out, err = capfdbinary.readouterr()
    assert lines(out) == case.expected, err.decode("utf-8", "replace")


@pytest.mark.parametrize("case", [pytest.param(c, id=c.file) for c in FIRST])
def test_case_as_a_command(case: Case) -> None:
    """The first case of each file as a process of its own."""
    command = [sys.executable, "-m", "pyprobe", *case.arguments, "-e", case.program, *case.words]
    done = subprocess.run(command, capture_output=True, timeout=60, check=False)
    assert lines(done.stdout) == case.expected, done.stderr
