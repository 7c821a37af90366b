"""Signals, threads, processes and memory: C programs that print what they find, natively and in the machine."""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from pyprobe.runtime.user.machine import UserMachine
from pyprobe.runtime.user.syscall_table import SyscallTable
from pyprobe.runtime.user.syscalls.refused import ABSENT

PROGRAMS = Path(__file__).parents[2] / "programs"


NAMES = (
    "signals", "processes", "ipc", "notify", "messages", "families", "newcalls", "dualstack", "smaps", "packetinfo", "openat2",
    "pages", "splice",
)  # fmt: skip
ROOTS = ("capabilities", "scheduling")  # what only root may do


@pytest.mark.parametrize("name", [*NAMES, *(ROOTS if os.geteuid() == 0 else ())])
def test_same_as_native(
    name: str, emulate: Callable[..., tuple[int, bytes, bytes]], build: Callable[..., str], environment: dict[str, str], tmp_path: Path
) -> None:
    program = build((PROGRAMS / f"{name}.c").read_text())
    native = subprocess.run([program], capture_output=True, env=environment, timeout=60, cwd=tmp_path)
    status, output, _ = emulate([program], cwd=tmp_path)

    def without_addresses(text: bytes) -> bytes:
        return re.sub(rb"0x7[0-9a-f]{11}", b"ADDRESS", text)

    assert without_addresses(output) == without_addresses(native.stdout)
    assert status == (native.returncode if native.returncode >= 0 else 128 - native.returncode)


@pytest.mark.parametrize("arch", ["x86_64", "arm64"])
def test_every_call_has_a_handler_or_a_reason(arch: str) -> None:
    assert {call.name for call in SyscallTable().all(arch) if call.handler is None} == {
        name for name in ABSENT if any(call.name == name for call in SyscallTable().all(arch))
    }


LEAK = """
#define _GNU_SOURCE
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>
int main(void)
{
    for (int i = 0; i < 8; i++)
        for (int how = MAP_SHARED; how <= MAP_PRIVATE; how++) {
            int file = memfd_create("gone", 0);
            ftruncate(file, 8 << 20);
            char *memory = mmap(0, 8 << 20, PROT_READ | PROT_WRITE, how, file, 0);
            if (memory == MAP_FAILED)
                return 1;
            memset(memory, 1, 8 << 20);
            close(file);
            munmap(memory, 8 << 20);
        }
    return 7;
}
"""


def test_files_without_a_name_give_their_memory_back(build: Callable[..., str]) -> None:
    machine = UserMachine(memory_limit=48 << 20)
    machine.spawn([build(LEAK).encode()])
    assert machine.run() == 7
    assert not machine.memory_exhausted


@pytest.mark.parametrize("stdin", ["/dev/null", "/etc/passwd"])
def test_terminal_requests_of_system_v(build: Callable[..., str], stdin: str) -> None:
    program = build((PROGRAMS / "termio.c").read_text())
    with open(stdin, "rb") as file:
        native = subprocess.run([program], stdin=file, capture_output=True, timeout=60)
        file.seek(0)
        out = bytearray()
        machine = UserMachine()
        machine.spawn([program.encode()], stdio=(file.fileno(), out.extend, 2))
        assert machine.run() == native.returncode
    assert bytes(out) == native.stdout
