"""Programs and the diagnostics they must give, as text: tests/lang/check/*.txt.

A case is `== program` on one line (`␤` stands for a newline, a preceding `-- words` line gives positional parameters and `-- NAME=value`
lines the environment), followed by the header lines of its diagnostics. All errors that are listed must be the first ones that are
reported, in this order; warnings and hints that are listed must be among those reported. A program without errors lists none.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from pyprobe.lang.compiler import compile_program
from pyprobe.lang.diagnostics import CompileError, Diagnostics, render
from pyprobe.lang.source import Source
from tests.lang.worlds import TableWorld

WORDS = ("ERROR: ", "WARNING: ", "HINT: ")


class Case:
    def __init__(self, file: Path, line: int, program: str, words: list[str]) -> None:
        self.name = f"{file.stem}:{line}"
        self.program = program.replace("␤", "\n")
        self.environ = dict(word.split("=", 1) for word in words if word.startswith("BPFTRACE_"))
        self.params = [word for word in words if not word.startswith("BPFTRACE_")]
        self.lines: list[str] = []


def _cases() -> list[Case]:
    cases: list[Case] = []
    for file in sorted((Path(__file__).parent / "check").glob("*.txt")):
        words: list[str] = []
        for number, line in enumerate(file.read_text().splitlines(), 1):
            if line.startswith("-- "):
                words += line[3:].split()
            elif line.startswith("== "):
                cases.append(Case(file, number, line[3:], words))
                words = []
            elif line and not line.startswith("#"):
                cases[-1].lines.append(line)
    return cases


def _reported(case: Case) -> list[str]:
    found = Diagnostics()
    try:
        compile_program(Source("stdin", case.program), world=TableWorld(), params=case.params, environ=case.environ, diagnostics=found)
    except CompileError as e:
        assert e.diagnostics is found
    lines = "\n".join(map(render, found.ordered())).splitlines()
    plain = {d.message for d in found if d.plain}
    return [line for line in lines if line in plain or any(word in line for word in WORDS)]


@pytest.mark.parametrize("case", _cases(), ids=lambda case: case.name)
def test_check(case: Case) -> None:
    reported = _reported(case)
    extra = [line for line in case.lines if "WARNING: " in line or line.startswith("HINT: ")]
    errors = [line for line in case.lines if line not in extra]
    reported_errors = [line for line in reported if "WARNING: " not in line and not line.startswith("HINT: ")]
    assert reported_errors[: len(errors)] == errors
    assert errors or not reported_errors
    assert [line for line in extra if line not in reported] == []
