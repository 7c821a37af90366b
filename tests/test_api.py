"""pyprobe from Python: `pyprobe.run`."""

from __future__ import annotations

import pytest

import pyprobe
from pyprobe.lang.diagnostics import CompileError
from pyprobe.runtime.settings import RunError

EXITS = "tracepoint:sched:sched_process_exit { print((comm, pid)); exit(3); }"


def test_run_gives_what_the_command_prints() -> None:
    done = pyprobe.run(EXITS, command=["true"])
    assert (done.output, done.status) == ("(true, 1000)\n\n\n", 3)
    assert "Attached 1 probe" in done.messages and done.diagnostics == []
    lines = pyprobe.run("begin { print($1); print(rand); }", params=["word"], format="json", seed=5).output.splitlines()
    assert lines[1:] == ['{"type": "value", "data": "word"}', '{"type": "value", "data": 2675342405}']
    assert repr(done).startswith(r"Result(output='(true, 1000)\n\n\n', messages=")


def test_run_without_a_command_has_the_workload_and_keeps_warnings() -> None:
    done = pyprobe.run("kprobe:do_fork { @[comm] = count(); }")
    assert "@[session]: 10" in done.output
    assert [d.severity for d in done.diagnostics] == ["warning"]


def test_run_refuses() -> None:
    with pytest.raises(CompileError, match="syntax: expected '}'"):
        pyprobe.run("begin {")
    with pytest.raises(RunError, match="Failed to start nosuch"):
        pyprobe.run("begin { }", command=["nosuch"])
    for wrong in ("ls", []):
        with pytest.raises(ValueError, match="command must be a sequence of words"):
            pyprobe.run("begin { }", command=wrong)
