"""The script cases: every block of a `*.txt` file here is a script with the output that bpftrace 0.27.1 gave for it.

A block is lines of `NAME`, `PROG`, optional `ARGS` (options of the command), `WORDS` (what follows the program on the command line) and
`ENV` (`NAME=VALUE` words), and one `EXPECT` per line of standard output; with `STDERR` lines the messages are compared too, with `EXIT` the
exit status. Blocks are separated by blank lines. Empty lines at the end of the output are not compared. Adding a case is adding a block.
"""

from __future__ import annotations

import os
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
        self.environment: dict[str, str] = {}
        self.expected: list[str] = []
        self.messages: list[str] = []
        self.status: int | None = None
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
            elif word == "ENV":
                self.environment = dict(setting.split("=", 1) for setting in shlex.split(rest))
            elif word == "EXPECT":
                self.expected.append(rest)
            elif word == "STDERR":
                self.messages.append(rest)
            elif word == "EXIT":
                self.status = int(rest)
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


def differences(case: Case, status: int, out: bytes, err: bytes) -> list[str]:
    """What is not as it was kept."""
    found = []
    if lines(out) != case.expected:
        found.append(f"stdout: {lines(out)}")
    if case.messages and lines(err) != case.messages:
        found.append(f"stderr: {lines(err)}")
    if case.status is not None and status != case.status:
        found.append(f"status: {status}")
    return found


@pytest.mark.parametrize("case", [pytest.param(c, id=f"{c.file}: {c.name}") for c in CASES])
def test_case(case: Case, capfdbinary: pytest.CaptureFixture[bytes], monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in case.environment.items():
        monkeypatch.setenv(name, value)
    status = main([*case.arguments, "-e", case.program, *case.words])
    out, err = capfdbinary.readouterr()
    assert differences(case, status, out, err) == [], err.decode("utf-8", "replace")


@pytest.mark.parametrize("case", [pytest.param(c, id=c.file) for c in FIRST])
def test_case_as_a_command(case: Case) -> None:
    """The first case of each file as a process of its own."""
    command = [sys.executable, "-m", "pyprobe", *case.arguments, "-e", case.program, *case.words]
    done = subprocess.run(command, capture_output=True, timeout=60, check=False, env={**os.environ, **case.environment})
    assert differences(case, done.returncode, done.stdout, done.stderr) == [], done.stderr
