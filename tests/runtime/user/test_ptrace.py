"""Tracing within the machine: C programs that are tracers and tracees, and the debuggers and tracers that people use."""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from pyprobe.runtime.user.machine import UserMachine
from tests.conftest import Result

PROGRAMS = Path(__file__).parents[2] / "programs"
NAMES = ("ptrace_stops", "ptrace_groups", "ptrace_memory")
Native = Callable[[str], bytes]
OPTIONS = ("-O1", "-w", "-g", "-pthread", "-I", str(PROGRAMS))


@pytest.fixture(scope="module")
def natively(tool: Callable[[str], str], tmp_path_factory: pytest.TempPathFactory, environment: dict[str, str]) -> Native:
    """`natively(NAME)`: what the program prints on this host; the same is expected of arm64."""
    folder = tmp_path_factory.mktemp("native")
    known: dict[str, bytes] = {}

    def run(name: str) -> bytes:
        if name not in known:
            program = folder / name
            subprocess.run([tool("gcc"), *OPTIONS, "-o", str(program), str(PROGRAMS / f"{name}.c")], check=True, timeout=60)
            known[name] = subprocess.run([program], capture_output=True, env=environment, timeout=60, check=True).stdout
        return known[name]

    return run


@pytest.mark.parametrize("arch", ["x86_64", "arm64"])
@pytest.mark.parametrize("name", NAMES)
def test_requests_as_native(name: str, arch: str, natively: Native, tool: Callable[[str], str], tmp_path: Path) -> None:
    program, out = tmp_path / name, bytearray()
    compiler = tool("gcc" if arch == "x86_64" else "aarch64-linux-gnu-gcc")
    subprocess.run([compiler, *OPTIONS, "-static", "-o", str(program), str(PROGRAMS / f"{name}.c")], check=True, timeout=60)
    machine = UserMachine(arch=arch, architectures=("x86_64", "arm64"))
    machine.spawn([os.fsencode(program)], (), b"/", (b"", out.extend, out.extend))
    assert machine.run() == 0
    assert not machine.entry.failures
    assert bytes(out) == natively(name)


@pytest.mark.parametrize("attach", ["hook", "breakpoint"])
def test_probes_and_breakpoints_of_a_debugger_at_one_place(
    attach: str, pyprobe: Callable[..., Result], natively: Native, tool: Callable[[str], str], tmp_path: Path
) -> None:
    program = tmp_path / "debugged"
    subprocess.run([tool("gcc"), *OPTIONS, "-o", str(program), str(PROGRAMS / "ptrace_memory.c")], check=True, timeout=60)
    script = f"""
        uprobe:{program}:counted {{ @entered[arg0] = count(); }}
        uretprobe:{program}:counted {{ @returned[retval] = count(); }}
        uprobe:{program}:loops {{ @loops = count(); }}
    """
    done = pyprobe("-q", "--attach", attach, "-o", str(tmp_path / "maps"), "-e", script, "-c", str(program))
    assert done.out == natively("ptrace_memory").decode()
    counts = re.findall(r"@(\w+)(?:\[(\d+)\])?: (\d+)", (tmp_path / "maps").read_text())
    assert sorted(counts) == [
        *(("entered", n, "1") for n in "012"),
        ("loops", "", "1"),
        *(("returned", n, "1") for n in ("1", "101", "3")),
    ]


def comparable(text: str) -> str:
    """Without what differs from run to run: addresses, process ids and the columns that they move, ticks of the clock."""
    text = re.sub(r"0x[0-9a-f]+", "ADDRESS", text)
    text = re.sub(r"(si_[us]time=)\d+", r"\1TICKS", text)
    text = re.sub(r"((?:fork|clone|wait4).* = |\[pid +|[Pp]rocess |LWP |si_pid=|wait4\()\d+", r"\1N", text)  # 3 digits on a young host
    return re.sub(r"\b\d{4,}\b", "N", re.sub(r" +", " ", text))


EXPRESSIONS = ("execve", "openat", "close", "write", "exit_group", "wait4", "vfork,clone", "kill,rt_sigaction")
STRACE = (
    ["strace", "-e", "trace=" + ",".join(EXPRESSIONS), "sh", "-c", "echo one; true"],
    ["sh", "-c", "strace -ff -o t -e trace=execve,wait4,exit_group,vfork sh -c '/bin/true; exit 3'; cat t.* >&2"],
    ["strace", "-f", "--seccomp-bpf", "-e", "trace=openat", "cat", "/etc/passwd"],
    ["strace", "-e", "trace=kill", "-e", "inject=kill:error=EPERM", "sh", "-c", "kill -9 $$; echo alive"],
)


@pytest.mark.parametrize("command", STRACE, ids=lambda command: " ".join(command)[:40])
def test_strace_as_native(
    command: list[str],
    emulate: Callable[..., tuple[int, bytes, bytes]],
    environment: dict[str, str],
    tool: Callable[[str], str],
    tmp_path: Path,
) -> None:
    tool("strace")
    here, there = tmp_path / "here", tmp_path / "there"
    here.mkdir()
    there.mkdir()
    native = subprocess.run(command, capture_output=True, env=environment, timeout=60, cwd=here)
    status, out, err = emulate(command, cwd=there)
    assert sorted(comparable(err.decode()).splitlines()) == sorted(comparable(native.stderr.decode()).splitlines())
    assert (status, out) == (native.returncode, native.stdout)


DEBUGGED = """
#include <stdio.h>
struct point { int x, y; };
int sum(int n) { int s = 0; for (int i = 0; i < n; i++) s += i; return s; }
int main(int argc, char **argv)
{
    struct point p = { 3, 4 };
    double d = 1.5;
    int r = sum(10);
    d *= 2;
    p.x = r;
    printf("r=%d d=%f\\n", r, d);
    return p.x & 7;
}
"""
# breakpoints, steps, registers, calls in the program, and the processor's watchpoints
COMMANDS = (
    "break main", "run", "bt", "info registers rip", "next", "next", "awatch r", "step", "watch s", "continue", "continue", "delete",
    "finish", "next", "print d", "print p", "set var p.x = 6", "info float", "print sum(4)", "rwatch p.x", "continue", "delete", "continue",
)  # fmt: skip


def test_gdb_as_native(
    emulate: Callable[..., tuple[int, bytes, bytes]], environment: dict[str, str], tool: Callable[[str], str], tmp_path: Path
) -> None:
    (tmp_path / "p.c").write_text(DEBUGGED)
    subprocess.run([tool("gcc"), "-g", "-O0", "-o", "p", "p.c"], cwd=tmp_path, check=True, timeout=60)
    command = [tool("gdb"), "-nx", "-batch", *(word for one in COMMANDS for word in ("-ex", one)), str(tmp_path / "p")]
    native = subprocess.run(command, capture_output=True, env=environment, timeout=60, stdin=subprocess.DEVNULL)
    status, out, err = emulate(command)
    assert comparable(out.decode()) == comparable(native.stdout.decode())
    assert comparable(err.decode()) == comparable(native.stderr.decode())
    assert status == native.returncode


ANTI_DEBUGGING = """
#include <signal.h>
#include <stdio.h>
#include <sys/ptrace.h>
static void trapped(int n) { printf("trap handled\\n"); }
int main(void)
{
    printf("traced already: %d\\n", ptrace(PTRACE_TRACEME, 0, 0, 0) < 0);
    printf("and again: %d\\n", ptrace(PTRACE_TRACEME, 0, 0, 0) < 0);
    signal(SIGTRAP, trapped);
    raise(SIGTRAP);
    return 4;
}
"""


def test_a_program_that_asks_to_be_traced_goes_on(emulate: Callable[..., tuple[int, bytes, bytes]], build: Callable[..., str]) -> None:
    """Its parent is not shown: nobody stops it, and the answers are those of a host without a debugger."""
    assert emulate([build(ANTI_DEBUGGING)]) == (4, b"traced already: 0\nand again: 1\ntrap handled\n", b"")


PERMISSIONS = """
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/wait.h>
#include <unistd.h>
static void attach(const char *what, pid_t pid)
{
    int status;
    int result = ptrace(PTRACE_ATTACH, pid, 0, 0);
    printf("%s: %s\\n", what, result < 0 ? strerror(errno) : "ok");
    if (!result) {
        waitpid(pid, &status, 0);
        ptrace(PTRACE_DETACH, pid, 0, 0);
    }
}
int main(void)
{
    setvbuf(stdout, 0, _IONBF, 0);
    setgid(1000);
    setuid(1000);
    prctl(PR_SET_DUMPABLE, 1, 0, 0, 0);
    int go[2];
    char c;
    pipe(go);
    pid_t child = fork(), other;
    if (!child) {
        read(go[0], &c, 1);
        prctl(PR_SET_PTRACER, getppid(), 0, 0, 0);
        pause();
    }
    attach("a child", child);
    if (!(other = fork())) {
        attach("a sibling", child);
        attach("the parent", getppid());
        write(go[1], "", 1);
        usleep(1000);
        attach("a sibling that allows it", child);
        _exit(0);
    }
    waitpid(other, 0, 0);
    kill(child, SIGKILL);
    return 0;
}
"""


def test_who_may_attach(build: Callable[..., str]) -> None:
    """Descendants, and who allows it with PR_SET_PTRACER: Yama's scope 1 (Documentation/admin-guide/LSM/Yama.rst)."""
    out = bytearray()
    machine = UserMachine()
    machine.spawn([build(PERMISSIONS).encode()], (), b"/", (b"", out.extend, out.extend))
    assert machine.run() == 0
    no = "Operation not permitted"
    assert out.decode().splitlines() == ["a child: ok", f"a sibling: {no}", f"the parent: {no}", "a sibling that allows it: ok"]


@pytest.mark.parametrize("arch", ["x86_64", "arm64"])
def test_requests_without_sense_do_no_harm(arch: str, tool: Callable[[str], str], tmp_path: Path) -> None:
    program = tmp_path / "fuzz"
    compiler = tool("gcc" if arch == "x86_64" else "aarch64-linux-gnu-gcc")
    subprocess.run([compiler, *OPTIONS, "-static", "-o", str(program), str(PROGRAMS / "ptrace_fuzz.c")], check=True, timeout=60)
    machine = UserMachine(arch=arch, architectures=("x86_64", "arm64"))
    machine.spawn([os.fsencode(program), b"3", b"20"], (), b"/", (b"", lambda data: None, lambda data: None))
    assert machine.run() == 0
    assert not machine.entry.failures
