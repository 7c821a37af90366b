"""Hostile programs (tests/programs/hostile): the guest gets what Linux would give, and the machine always ends, whole.

The first line of each program says how it must end: `exit N`, `signal NAME`, or `any` for ends that depend on the bounds of the machine.
"""

from __future__ import annotations

import hashlib
import os
import re
import signal
import subprocess
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from pyprobe.runtime.user.errors import ExecFailure
from pyprobe.runtime.user.machine import UserMachine
from pyprobe.runtime.user.scheduler import Deadlock

PROGRAMS = sorted((Path(__file__).parents[2] / "programs" / "hostile").glob("*.c"))
HOST_FILES = ("/etc/passwd", "/etc/group", "/etc/hostname")
SECONDS, SHORT = 2, 0.1  # of the machine's time: for programs that end by themselves, and for the others


@pytest.fixture(scope="module")
def hostile(tool: Callable[[str], str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the compiled programs, each in one go."""
    folder = tmp_path_factory.mktemp("hostile")
    compiler = tool("gcc")

    def compile_one(source: Path) -> None:
        command = [compiler, "-O1", "-w", "-static", "-pthread", "-fcf-protection=none", "-o", str(folder / source.stem), str(source)]
        subprocess.run(command, check=True, timeout=120)

    with ThreadPoolExecutor(2) as pool:
        list(pool.map(compile_one, PROGRAMS))
    return folder


def run(program: Path, cwd: Path, seconds: float = SHORT) -> tuple[UserMachine, int | None]:
    """The machine after the run, and the exit status, None if the run did not end by itself."""
    machine = UserMachine(task_limit=40, memory_limit=96 << 20, disk_limit=4 << 20)
    written = bytearray()

    def take(data: bytes) -> None:
        written.extend(data)
        if len(written) > 1 << 20:
            machine.stop()

    machine.spawn([os.fsencode(program)], [b"PATH=/usr/bin:/bin"], os.fsencode(cwd), (b"", take, take))
    machine.clock.add(machine.clock.now() + int(seconds * 10**9), machine.stop)
    try:
        status = machine.run()
    except Deadlock as error:
        assert "waits" in str(error)
        return machine, None
    return machine, status if machine.first is not None and machine.first.exit_status is not None else None


def traces() -> list[tuple[int, str]]:
    return [(os.stat(path).st_size, hashlib.sha256(Path(path).read_bytes()).hexdigest()) for path in HOST_FILES if os.path.exists(path)]


def test_there_are_many() -> None:
    assert len(PROGRAMS) >= 40


@pytest.mark.parametrize("name", [source.stem for source in PROGRAMS])
def test_hostile(name: str, hostile: Path, tmp_path: Path) -> None:
    source = next(source for source in PROGRAMS if source.stem == name)
    expected = re.match(r"/\* expect: (\w+) ?(\w*) \*/", source.read_text())
    assert expected is not None
    before = traces()
    _, status = run(hostile / name, tmp_path, SHORT if expected[1] == "any" else SECONDS)
    assert os.listdir(tmp_path) == [] and traces() == before
    kind, value = expected.groups()
    if kind == "exit":
        assert status == int(value)
    elif kind == "signal":
        assert status == 128 + signal.Signals[f"SIG{value}"]


def variants(good: bytes) -> dict[str, bytes]:
    """Damaged and dishonest ELF files."""

    def patched(offset: int, data: bytes) -> bytes:
        return good[:offset] + data + good[offset + len(data) :]

    phdr = 64
    return {
        "no header": good[:40], "header only": good[:64], "half a table": good[:100], "truncated": good[: len(good) // 2],
        "32 bit": patched(4, b"\x01"), "big endian": patched(5, b"\x02"), "unknown machine": patched(18, b"\xf3\x00"),
        "relocatable": patched(16, b"\x01\x00"), "core": patched(16, b"\x04\x00"), "entry 0": patched(24, bytes(8)),
        "entry in the kernel": patched(24, b"\xff" * 8), "table at the end of time": patched(32, b"\xff" * 7 + b"\x7f"),
        "no program headers": patched(56, b"\0\0"), "65535 program headers": patched(56, b"\xff\xff"),
        "headers of 1 byte": patched(54, b"\1\0"),
        "segment in the kernel": patched(phdr + 16, b"\0\0\0\0\0\0\0\x80"), "segment at 0": patched(phdr + 16, bytes(8)),
        "huge segment": patched(phdr + 40, b"\xff" * 7 + b"\x7f"), "huge bss": patched(phdr + 40, b"\0\0\0\0\0\x40\0\0"),
        "more file than memory": patched(phdr + 32, b"\0\0\0\x10\0\0\0\0"), "offset behind the end": patched(phdr + 8, b"\0\0\0\0\1\0\0\0"),
        "misaligned": patched(phdr + 8, b"\1"), "no rights": patched(phdr + 4, bytes(4)),
        "interpreter is a directory": b"#!/etc\n", "interpreter is itself": b"#!./program\n", "long first line": b"#!/" + b"x" * 9999,
        "zeros": bytes(5000), "text": b"hello\n" * 10,
    }  # fmt: skip


def test_damaged_files(hostile: Path, tmp_path: Path) -> None:
    """Each is refused with a sentence, or runs to an end."""
    good = (hostile / "undefined").read_bytes()
    for name, content in variants(good).items():
        program = tmp_path / "program"
        program.write_bytes(content)
        program.chmod(0o755)
        machine = UserMachine(memory_limit=96 << 20)
        try:
            machine.spawn([os.fsencode(program)], [], os.fsencode(tmp_path), (b"", len, len))
        except ExecFailure as refusal:
            assert str(program) in str(refusal) and "\n" not in str(refusal), name
            continue
        machine.clock.add(machine.clock.now() + 10**9, machine.stop)
        assert machine.run() < 256, name
