"""Running a command in a machine within this process."""

from __future__ import annotations

import hashlib
import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from pyprobe.runtime.user.machine import UserMachine

PROGRAMS = Path(__file__).parents[2] / "programs"
ENVIRONMENT = {"PATH": "/usr/bin:/bin", "HOME": "/", "LC_ALL": "C", "TZ": "UTC"}


def run_command(
    command: list[str], *, cwd: Path | str = "/", stdin: bytes = b"", prepare: Callable[[UserMachine], object] | None = None, seed: int = 0
) -> tuple[int, bytes, bytes]:
    """(exit status, standard output, standard error); prepare: called with the machine before it runs."""
    machine = UserMachine(seed=seed)
    out, err = bytearray(), bytearray()
    environment = [f"{key}={value}".encode() for key, value in ENVIRONMENT.items()]
    machine.spawn([os.fsencode(word) for word in command], environment, os.fsencode(cwd), (stdin, out.extend, err.extend))
    if prepare is not None:
        prepare(machine)
    status = machine.run()
    assert not machine.entry.failures  # a mistake in a handler, which the guest sees as EINVAL
    return status, bytes(out), bytes(err)


@pytest.fixture(name="emulate", scope="session")
def emulate_fixture() -> Callable[..., tuple[int, bytes, bytes]]:
    """`emulate(command, cwd=, stdin=, prepare=, seed=)`: see `run_command`."""
    return run_command


@pytest.fixture(scope="session")
def environment() -> dict[str, str]:
    """The environment commands run with, natively and emulated."""
    return ENVIRONMENT


@pytest.fixture(scope="session")
def build(tool: Callable[[str], str], tmp_path_factory: pytest.TempPathFactory) -> Callable[..., str]:
    """`build(C source, *options)` is the path of the program the host's compiler makes of it."""
    folder = tmp_path_factory.mktemp("programs")

    def compile_source(source: str, *options: str) -> str:
        name = f"p{hashlib.sha256(repr((source, options)).encode()).hexdigest()[:12]}"
        program = folder / name
        if not program.exists():
            path = program.with_suffix(".c")
            path.write_text(source)
            command = [tool("cc"), "-O1", "-w", "-I", str(PROGRAMS), "-o", str(program), str(path), "-pthread", *options]
            subprocess.run(command, check=True, timeout=60)
        return str(program)

    return compile_source
