"""arm64 programs: static and dynamic ones, under a root of their own and with the cross compiler's libraries; like qemu-aarch64."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from pyprobe.runtime.user.machine import UserMachine

PROGRAMS = Path(__file__).parents[2] / "programs"
CROSS = Path("/usr/aarch64-linux-gnu")
Run = Callable[..., tuple[int, bytes, bytes]]
Cross = Callable[..., Path]


@pytest.fixture(scope="module")
def cross(tool: Callable[[str], str], tmp_path_factory: pytest.TempPathFactory) -> Cross:
    """`cross(SOURCE, *FLAGS)`: the path of an arm64 program, from C text or a file's name in tests/programs."""
    folder = tmp_path_factory.mktemp("arm64")
    compiler = tool("aarch64-linux-gnu-gcc")

    def build(source: str, *flags: str) -> Path:
        number = len(list(folder.iterdir()))
        program, text = folder / f"p{number}", folder / f"p{number}.c"
        text.write_text((PROGRAMS / source).read_text() if source.endswith(".c") else source)
        options = ("-O1", "-w", "-pthread", "-I", str(PROGRAMS), *flags)
        subprocess.run([compiler, *options, "-o", str(program), str(text)], check=True, timeout=120)
        return program

    return build


def emulate(*command: str, arch: str = "arm64", root: str = "/", seconds: int = 30) -> tuple[int, bytes]:
    """Exit status and standard output."""
    out = bytearray()
    machine = UserMachine(arch=arch, architectures=("x86_64", "arm64"), root=root.encode())
    machine.spawn([word.encode() for word in command], [b"PATH=/usr/bin:/bin", b"LC_ALL=C"], b"/", (b"", out.extend, out.extend))
    machine.clock.add(machine.clock.now() + seconds * 10**9, machine.stop)
    status = machine.run()
    assert not machine.entry.failures
    return status, bytes(out)


def without_addresses(text: bytes) -> bytes:
    """Without errno as an argument of the call that sets it, too: the order of arguments is the compiler's."""
    return re.sub(rb"(einval|nochild) -1 [01]", rb"\1 -1", re.sub(rb"0x[0-9a-f]{7,}", b"ADDRESS", text))


SIGNALS = r"""
#define _GNU_SOURCE
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <ucontext.h>
#include <unistd.h>
static char stack[65536];
static void ill(int s, siginfo_t *i, void *u) {
    ucontext_t *c = u;
    int local;
    printf("%d %d %d %d\n", s, i->si_signo,
           (char *)&local > stack && (char *)&local < stack + sizeof stack, *(unsigned *)c->uc_mcontext.pc);
    struct fpsimd_context *f = (void *)c->uc_mcontext.__reserved;
    printf("%x %u %lx\n", f->head.magic, f->head.size, (unsigned long)f->vregs[9]);
    f->vregs[9] = 0x1234;
    c->uc_mcontext.regs[20] = 77;
    c->uc_mcontext.pc += 4;
    __asm__ volatile("movi v9.2d, #0" ::: "v9");
}
int main(void) {
    stack_t ss = {stack, 0, sizeof stack};
    struct sigaction a = {0};
    unsigned long x = 1, v = 0xabcdef;
    sigaltstack(&ss, 0);
    a.sa_sigaction = ill; a.sa_flags = SA_SIGINFO | SA_ONSTACK;
    sigaction(SIGILL, &a, 0);
    __asm__ volatile("fmov d9, %1; mov x20, #5; .inst 0; mov %0, x20; fmov %1, d9" : "=r"(x), "+r"(v) :: "x20", "v9");
    printf("%lu %lx\n", x, v);
    sigset_t set; sigemptyset(&set); sigaddset(&set, SIGUSR1); sigprocmask(SIG_BLOCK, &set, 0);
    union sigval value = {42}; siginfo_t info;
    sigqueue(getpid(), SIGUSR1, value);
    printf("%d", sigwaitinfo(&set, &info)); printf(" %d %d\n", info.si_code, info.si_value.sival_int);
    return 5;
}
"""


@pytest.mark.parametrize("linking", ["-static", "-static-pie", "-pie"])
def test_signals_like_qemu(linking: str, cross: Cross, tool: Callable[[str], str]) -> None:
    program = cross(SIGNALS, linking)
    command = [tool("qemu-aarch64"), "-cpu", "cortex-a72", "-L", str(CROSS), str(program)]  # without SVE, as the machine
    expected = subprocess.run(command, capture_output=True, timeout=60)
    assert emulate(str(program)) == (expected.returncode, expected.stdout)


def test_processes_like_the_host(cross: Cross, build: Callable[..., str]) -> None:
    """The same source as a program of this host; qemu's user mode does not get through it."""
    expected = subprocess.run([build((PROGRAMS / "processes.c").read_text())], capture_output=True, timeout=60)
    status, output = emulate(str(cross("processes.c", "-static")))
    assert without_addresses(output) == without_addresses(expected.stdout)
    assert status == expected.returncode


def test_a_root_of_its_own(cross: Cross, tmp_path: Path) -> None:
    """A dynamic program in a directory that is its `/`; nothing else of the host is there."""
    (tmp_path / "lib").mkdir()
    for name in ("ld-linux-aarch64.so.1", "libc.so.6"):
        shutil.copy(CROSS / "lib" / name, tmp_path / "lib" / name)
    source = '#include <stdio.h>\n#include <unistd.h>\nint main(){ printf("%d %d\\n", access("/lib/libc.so.6", 0), access("/etc", 0)); }'
    shutil.copy(cross(source), tmp_path / "prog")
    assert emulate("/prog", root=str(tmp_path)) == (0, b"0 -1\n")


REGISTERS = r"""
#include <setjmp.h>
#include <signal.h>
#include <stdio.h>
#include <time.h>
static sigjmp_buf back;
static void ill(int s) { siglongjmp(back, 1); }
#define TRY(name, code) \
    if (!sigsetjmp(back, 1)) { __asm__ volatile(code ::: "x0", "memory"); printf(name " yes\n"); } else printf(name " no\n");
int main(void) {
    unsigned long a, b, f; struct timespec now;
    signal(SIGILL, ill);
    clock_gettime(CLOCK_MONOTONIC, &now);
    __asm__ volatile("mrs %0, cntvct_el0" : "=r"(a)); __asm__ volatile("mrs %0, cntfrq_el0" : "=r"(f));
    __asm__ volatile("mrs %0, cntvct_el0" : "=r"(b));
    printf("%lu %d %d\n", f, b >= a, a * 16 - (now.tv_sec * 1000000000UL + now.tv_nsec) < 100000);
    TRY("ctr", "mrs x0, ctr_el0") TRY("dczid", "mrs x0, dczid_el0") TRY("tpidr", "mrs x0, tpidr_el0") TRY("fpcr", "mrs x0, fpcr")
    TRY("rndr", "mrs x0, s3_3_c2_c4_0") TRY("rndrrs", "mrs x0, s3_3_c2_c4_1")
    TRY("daif", "msr daifset, #2") TRY("eret", "eret") TRY("hvc", ".inst 0xd4000002") TRY("smc", ".inst 0xd4000003")
    TRY("ttbr", "msr ttbr0_el1, xzr") TRY("vbar", "mrs x0, vbar_el1") TRY("sve", ".inst 0x04bf5000") TRY("udf", ".inst 0")
    TRY("wfi", "wfi") TRY("yield", "yield")
}
"""


def test_what_el0_may_do(cross: Cross) -> None:
    status, output = emulate(str(cross(REGISTERS, "-static")))
    assert output.decode().split("\n")[:-1] == [
        "62500000 1 1", "ctr yes", "dczid yes", "tpidr yes", "fpcr yes", "rndr no", "rndrrs no", "daif no", "eret no", "hvc no", "smc no",
        "ttbr no", "vbar no", "sve no", "udf no", "wfi yes", "yield yes",
    ]  # fmt: skip
    assert status == 0


def test_code_that_is_made_at_run_time(cross: Cross) -> None:
    source = r"""
#include <stdio.h>
#include <sys/mman.h>
int main(void) {
    unsigned *code = mmap(0, 4096, 7, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    for (unsigned i = 0; i < 1000; i++) {
        code[0] = 0x52800000 | i << 5; code[1] = 0xd65f03c0;  /* mov w0, #i; ret */
        __builtin___clear_cache((char *)code, (char *)(code + 2));
        if (((unsigned (*)(void))code)() != i) { printf("old code %u\n", i); return 1; }
    }
    puts("done");
}
"""
    assert emulate(str(cross(source, "-static"))) == (0, b"done\n")


def test_exec_across_architectures(cross: Cross, tmp_path: Path) -> None:
    """A shell of the host runs arm64 programs, and they run the host's."""
    source = '#include <unistd.h>\nint main(int c,char**v){ write(1,"arm\\n",4); if(v[1]) execv(v[1],v+1); return 7; }'
    program = str(cross(source))
    command = f"{program}; echo $?; {program} /bin/echo host; {program} {program} | wc -l"
    assert emulate("/bin/sh", "-c", command, arch="x86_64") == (0, b"arm\n7\narm\nhost\n2\n")


def test_two_runs_are_equal(cross: Cross) -> None:
    program = str(cross("threads.c"))
    assert emulate(program) == emulate(program)
