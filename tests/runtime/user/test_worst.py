"""Guests at their worst: damaged programs, exhausted limits, faults. The tool answers, and never breaks."""

from __future__ import annotations

import random
import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from pyprobe.runtime.user.errors import ExecFailure
from pyprobe.runtime.user.machine import UserMachine
from pyprobe.runtime.user.scheduler import Deadlock

Emulate = Callable[..., tuple[int, bytes, bytes]]
Build = Callable[..., str]


@pytest.mark.parametrize("command", ["/no/such/program", "nosuchcommand", "/etc", "/etc/passwd"])
def test_what_cannot_be_started_says_why(command: str, emulate: Emulate) -> None:
    with pytest.raises(ExecFailure, match=command):
        emulate([command])


def test_damaged_programs(emulate: Emulate, tmp_path: Path) -> None:
    """Every outcome is a refusal or an ordinary end; random damage to the headers, and truncation."""
    good = Path("/bin/true").read_bytes()
    rng = random.Random(1)
    outcomes = set()
    for number in range(60):
        data = bytearray(good)
        for _ in range(rng.choice((1, 1, 3, 20))):
            data[rng.randrange(0x400)] = rng.choice((0, 1, 0x7F, 0x80, 0xFF, rng.randrange(256)))
        data[:4] = b"\x7fELF"
        if number % 7 == 0:
            del data[rng.randrange(len(data)) :]
        program = tmp_path / f"p{number}"
        program.write_bytes(data)
        program.chmod(0o755)
        try:
            emulate([str(program)], prepare=lambda machine: machine.clock.add(machine.clock.now() + 10**9, machine.stop))
            outcomes.add("ran")
        except ExecFailure:
            outcomes.add("refused")
        except Deadlock:
            outcomes.add("waits")
    assert {"ran", "refused"} <= outcomes


@pytest.mark.parametrize(
    "content, expected",
    [
        (b"#!/bin/sh\necho script $0 $1\n", 0),
        (b"#! /bin/echo  one two \n", 0),
        (b"#!\n", None),
        (b"#!/no/such/interpreter\n", None),
        (b"", None),
        (b"\x7fELF", None),
    ],
)
def test_scripts(content: bytes, expected: int | None, emulate: Emulate, tmp_path: Path) -> None:
    script = tmp_path / "script"
    script.write_bytes(content)
    script.chmod(0o755)
    if expected is None:
        with pytest.raises(ExecFailure):
            emulate([str(script), "arg"])
        return
    status, output, _ = emulate([str(script), "arg"])
    assert status == expected
    assert output in (f"script {script} arg\n".encode(), f"one two {script} arg\n".encode())


def test_a_script_that_is_its_own_interpreter(emulate: Emulate, tmp_path: Path) -> None:
    script = tmp_path / "loop"
    script.write_text(f"#!{script}\n")
    script.chmod(0o755)
    with pytest.raises(ExecFailure, match=r"symbolic links|levels"):
        emulate([str(script)])


DEATHS = {
    "recursion": ("int f(int n){ volatile char b[1000]; b[0]=n; return f(n+1)+b[0]; } int main(){ return f(0); }", signal.SIGSEGV),
    "null": ("int main(){ return *(volatile int*)0; }", signal.SIGSEGV),
    "no code": ("int main(){ ((void(*)(void))0x123456)(); }", signal.SIGSEGV),
    "code on the stack": ("int main(){ char b[64]; b[0]=0xc3; ((void(*)(void))b)(); }", signal.SIGSEGV),
    "division": ("int main(int c,char**v){ return 5/(c-1); }", signal.SIGFPE),
    "illegal": ('int main(){ __asm__("ud2"); }', signal.SIGILL),
    "breakpoint": ('int main(){ __asm__("int3"); }', signal.SIGTRAP),
    "privileged": ('int main(){ __asm__("hlt"); }', signal.SIGSEGV),
    "abort": ("#include <stdlib.h>\nint main(){ abort(); }", signal.SIGABRT),
    "own code unmapped": (
        "#include <sys/mman.h>\nint main(){ munmap((void*)((long)main & ~4095L), 4096); return 0; }",
        signal.SIGSEGV,
    ),
    "bus": (
        "#include <sys/mman.h>\n#include <fcntl.h>\n"
        'int main(){ int f=open("/etc/hostname",0); volatile char*p=mmap(0,8192,1,2,f,0); return p[4096]; }',
        signal.SIGBUS,
    ),
}


@pytest.mark.parametrize("name", DEATHS)
def test_deaths(name: str, emulate: Emulate, build: Build) -> None:
    source, signo = DEATHS[name]
    machines: list[UserMachine] = []
    status, _, _ = emulate([build(source)], prepare=machines.append)
    assert status == 128 + signo
    assert machines[0].crashes[0].signal == signo
    assert "ip" in machines[0].crashes[0].registers


def test_memory_eater(build: Build) -> None:
    from pyprobe.runtime.machine.memory import PhysicalMemory

    program = build("#include <stdlib.h>\n#include <string.h>\nint main(){ for(;;) memset(malloc(1<<20),1,1<<20); }")
    machine = UserMachine(memory=PhysicalMemory(64 << 20))
    machine.spawn([program.encode()])
    assert machine.run() == 128 + signal.SIGKILL
    assert machine.memory_exhausted


def test_fork_bomb(build: Build) -> None:
    program = build("#include <unistd.h>\n#include <errno.h>\nint main(){ while(fork()>=0); return errno; }")
    machine = UserMachine(task_limit=50)
    machine.spawn([program.encode()])
    assert machine.run() == 11
    assert max(machine.processes) < 1000 + 5000


def test_nothing_can_wake_them(emulate: Emulate, build: Build) -> None:
    program = build("#include <unistd.h>\nint main(){ int p[2]; char c; pipe(p); fork(); read(p[0],&c,1); }")
    with pytest.raises(Deadlock) as caught:
        emulate([program])
    assert str(caught.value).count("read") == 2
    assert "1001/1001" in str(caught.value)
