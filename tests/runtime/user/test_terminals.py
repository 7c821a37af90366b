"""Pseudoterminals and job control: what programs show on a terminal, natively and in the machine."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

PROGRAM = Path(__file__).parents[2] / "programs/terminals.py"


def test_programs_on_a_terminal_show_what_they_show_on_linux(
    emulate: Callable[..., tuple[int, bytes, bytes]], environment: dict[str, str]
) -> None:
    command = [shutil.which("python3", path=environment["PATH"]) or "python3", str(PROGRAM)]
    native = subprocess.run(command, capture_output=True, env=environment, timeout=60, stdin=subprocess.DEVNULL)
    status, output, _ = emulate(command)
    assert output.decode() == native.stdout.decode()
    assert status == native.returncode == 0
