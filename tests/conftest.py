"""Shared fixtures, and the rule about skips: allowed only for a missing external tool, listed at the end, a failure in the gate."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
STRICT = os.environ.get("PYPROBE_TESTS_SKIP_IS_FAILURE") == "1"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        for mark in item.iter_markers("skip"):
            raise pytest.UsageError(
                f"{item.nodeid}: a test may only be skipped for a missing tool, through the `tool` fixture ({mark.args})"
            )


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]):  # type: ignore[no-untyped-def]  # pytest's hook protocol
    report = yield
    if STRICT and report.skipped and not hasattr(report, "wasxfail"):
        report.outcome = "failed"
        report.longrepr = f"skipped in the gate: {call.excinfo.value if call.excinfo else 'no reason given'}"
    return report


@pytest.fixture(scope="session")
def tool():  # type: ignore[no-untyped-def]  # a fixture that returns a function
    """`tool("gcc")` is the path of an external program, or the test is skipped (a failure in the gate)."""

    def find(name: str) -> str:
        path = shutil.which(name)
        if path is None:
            pytest.skip(f"needs the external tool {name}")
        return path

    return find


class Result:
    """What a run of the command printed and returned."""

    def __init__(self, done: subprocess.CompletedProcess[bytes]) -> None:
        self.status = done.returncode
        self.out = done.stdout.decode("utf-8", "surrogateescape")
        self.err = done.stderr.decode("utf-8", "surrogateescape")

    def __repr__(self) -> str:
        return f"status {self.status}\n--- stdout\n{self.out}\n--- stderr\n{self.err}"


def run_pyprobe(
    *arguments: str, stdin: bytes = b"", timeout: float = 120, env: dict[str, str] | None = None, cwd: Path | None = None
) -> Result:
    """Run the command as a user would, in a process of its own, from this checkout."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT), **(env or {})}
    command = [sys.executable, "-m", "pyprobe", *arguments]
    return Result(subprocess.run(command, input=stdin, capture_output=True, timeout=timeout, env=environment, cwd=cwd or ROOT))


@pytest.fixture
def pyprobe():  # type: ignore[no-untyped-def]  # a fixture that returns a function
    """The public door: `pyprobe("-e", "...")` gives a Result with status, out and err."""
    return run_pyprobe


@pytest.fixture(scope="session")
def build(tmp_path_factory: pytest.TempPathFactory, tool):  # type: ignore[no-untyped-def]  # a fixture that returns a function
    """`build("name.c", "-O1")` compiles tests/programs/name.c once and gives the program's path."""
    folder = tmp_path_factory.mktemp("programs")
    done: dict[tuple[str, ...], Path] = {}

    def compile_program(source: str, *flags: str, compiler: str = "") -> Path:
        key = (source, compiler, *flags)
        if key not in done:
            target = folder / f"{len(done)}" / Path(source).stem
            target.parent.mkdir()
            program = tool(compiler or ("g++" if source.endswith(".cc") else "gcc"))
            subprocess.run([program, "-g", "-o", str(target), str(ROOT / "tests" / "programs" / source), *flags], check=True)
            done[key] = target
        return done[key]

    return compile_program
