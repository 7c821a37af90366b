"""Signals, threads, processes and memory: C programs that print what they find, natively and in the machine."""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from pyprobe.runtime.user.syscall_table import SyscallTable
from pyprobe.runtime.user.syscalls.refused import ABSENT

PROGRAMS = Path(__file__).parents[2] / "programs"


NAMES = ("signals", "processes", "ipc", "notify", "messages", "families", "newcalls", "dualstack", "smaps", "packetinfo", "openat2")
ROOTS = ("capabilities",)  # what only root may do


@pytest.mark.parametrize("name", [*NAMES, *(ROOTS if os.geteuid() == 0 else ())])
def test_same_as_native(
    name: str, emulate: Callable[..., tuple[int, bytes, bytes]], build: Callable[..., str], environment: dict[str, str]
) -> None:
    program = build((PROGRAMS / f"{name}.c").read_text())
    native = subprocess.run([program], capture_output=True, env=environment, timeout=60)
    status, output, _ = emulate([program])

    def without_addresses(text: bytes) -> bytes:
        return re.sub(rb"0x7[0-9a-f]{11}", b"ADDRESS", text)

    assert without_addresses(output) == without_addresses(native.stdout)
    assert status == (native.returncode if native.returncode >= 0 else 128 - native.returncode)


@pytest.mark.parametrize("arch", ["x86_64", "arm64"])
def test_every_call_has_a_handler_or_a_reason(arch: str) -> None:
    assert {call.name for call in SyscallTable().all(arch) if call.handler is None} == {
        name for name in ABSENT if any(call.name == name for call in SyscallTable().all(arch))
    }
