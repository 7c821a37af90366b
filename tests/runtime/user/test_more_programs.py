"""More unmodified programs, run natively and in the machine: same standard output, same exit status.

A bounded set, of what the gate installs; `scripts/dev/programs` runs the long list, of what happens to be there.
"""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

COMMANDS = {
    "job control": "bash -c 'set -m; sleep 0.2 & jobs; fg %1 >/dev/null; echo $?; (exit 5) & wait $!; echo $?; kill -l TERM'",
    "traps": """dash -c 'trap "echo t" TERM; kill -TERM $$; for i in 1 2 3; do (echo $i; exit $i) & wait $! || echo s$?; done'""",
    "int trap": """bash -c 'trap "echo chld" CHLD; /bin/true; wait; trap "echo int; exit 3" INT; kill -INT $$; sleep 1'""",
    "gcc": "printf '#include <stdio.h>\\nint main(void){ puts(\"made\"); return 4; }\\n' > p.c && gcc -O2 -o p p.c && ./p",
    "subprocess": 'python3 -c \'import subprocess as s; print(s.Popen(["cat"],stdin=-1,stdout=-1).communicate(b"x"*100000)[0][:3])\'',
    "multiprocessing": "python3 -c 'import multiprocessing as m; p=m.Pool(2); print(p.map(abs,range(-3,3))); p.close(); p.join()'",
    "asyncio": "python3 -c 'import asyncio as a; print(a.run(a.wait_for(a.gather(*[a.sleep(i/10,i) for i in range(5)]),2)))'",
    "sqlite3": "python3 -c 'import sqlite3; c=sqlite3.connect(\"x\"); c.execute(\"create table t(a)\"); print(c.execute(\"select 1\").fetchone())'",  # noqa: E501 - one command
    "pidfd": "python3 -c 'import os; p=os.fork(); p or os._exit(3); f=os.pidfd_open(p); i=os.waitid(3,f,os.WEXITED); print(i.si_status)'",
    "perl pipe": "perl -e '$|=1; pipe(R,W); if(!fork){close R; print W \"child $_\\n\" for 1..3; exit 3} close W; print while <R>; wait; print $?>>8'",  # noqa: E501 - one command
    "perl alarm": "perl -e 'local $SIG{ALRM}=sub{die \"timeout\\n\"}; eval{alarm 1; select(undef,undef,undef,5)}; print $@'",
    "timeout": "timeout 1 sleep 5; echo $?; timeout -s KILL 0.2 sleep 5; echo $?; nice -n 5 nice",
    "fifo": "flock l echo locked; mkfifo ff; (echo data > ff &) ; cat ff",
    "file size limit": "sh -c 'ulimit -f 1; dd if=/dev/zero of=zz bs=1k count=5 2>/dev/null; echo $?; stat -c %s zz'",
    "tar": "tar cf x.tar -C /etc default && mkdir o && tar xf x.tar -C o && diff -r /etc/default o/default && echo same",
}


@pytest.mark.parametrize("name", COMMANDS)
def test_same_as_native(
    name: str, emulate: Callable[..., tuple[int, bytes, bytes]], environment: dict[str, str], tool: Callable[[str], str], tmp_path: Path
) -> None:
    command = COMMANDS[name]
    tool(command.split()[0])
    here, there = tmp_path / "native", tmp_path / "machine"
    here.mkdir(), there.mkdir()
    native = subprocess.run(["/bin/sh", "-c", command], capture_output=True, env=environment, cwd=here, stdin=subprocess.DEVNULL)
    status, output, _ = emulate(["/bin/sh", "-c", command], cwd=there)
    assert output == native.stdout
    assert status == (native.returncode if native.returncode >= 0 else 128 - native.returncode)
    assert not list(there.iterdir())


SECCOMP = r"""
#include <errno.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>
static void caught(int s, siginfo_t *i, void *u) { printf("%d %d %d\n", s, i->si_code, i->si_syscall); }
int main(void) {
    struct sock_filter code[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_getppid, 0, 1), BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | 42),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_getpgrp, 0, 1), BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_TRAP),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_getsid, 0, 1), BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    struct sock_fprog program = {sizeof code / sizeof *code, code};
    struct sigaction a = {0};
    a.sa_sigaction = caught; a.sa_flags = SA_SIGINFO; sigaction(SIGSYS, &a, 0);
    setbuf(stdout, 0);
    prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
    printf("%d\n", prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program));
    long r = syscall(SYS_getppid); printf("%ld %d\n", r, errno);
    syscall(SYS_getpgrp);
    if (!fork()) { syscall(SYS_getsid, 0); _exit(1); }
    int status; wait(&status); printf("%d\n", WTERMSIG(status));
    program.len = 0; r = prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program); printf("%ld %d\n", r, errno);
    printf("%d\n", prctl(PR_GET_SECCOMP));
}
"""

LOCKS = r"""
#define _GNU_SOURCE
#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <unistd.h>
static pthread_mutex_t lock;
static int order;
static void *work(void *p) {
    pthread_mutex_lock(&lock); order = order * 10 + (long)p; usleep(1000); pthread_mutex_unlock(&lock); return 0;
}
static void *dies(void *p) { pthread_mutex_lock(&lock); return 0; }
int main(void) {
    pthread_mutexattr_t a; pthread_t t[4];
    pthread_mutexattr_init(&a); pthread_mutexattr_setprotocol(&a, PTHREAD_PRIO_INHERIT);
    pthread_mutexattr_setrobust(&a, PTHREAD_MUTEX_ROBUST);
    printf("%d\n", pthread_mutex_init(&lock, &a));
    pthread_mutex_lock(&lock);
    for (long i = 1; i < 4; i++) { pthread_create(&t[i], 0, work, (void *)i); usleep(50000); }
    pthread_mutex_unlock(&lock);
    for (int i = 1; i < 4; i++) pthread_join(t[i], 0);
    printf("%d\n", order);
    pthread_create(&t[0], 0, dies, 0); pthread_join(t[0], 0);
    int r = pthread_mutex_lock(&lock); printf("%d\n", r == EOWNERDEAD);
    printf("%d %d\n", pthread_mutex_consistent(&lock), pthread_mutex_unlock(&lock));
}
"""

FLOATS = r"""
#include <signal.h>
#include <stdio.h>
#include <ucontext.h>
static void handler(int s, siginfo_t *i, void *u) {
    struct _libc_fpstate *f = ((ucontext_t *)u)->uc_mcontext.fpregs;
    printf("%x %x %x\n", f->mxcsr, f->_xmm[9].element[0], f->_xmm[9].element[1]);
    f->_xmm[9].element[0] = 77;
    __asm__ volatile("pxor %%xmm9, %%xmm9" ::: "xmm9");
}
int main(void) {
    struct sigaction a = {0};
    a.sa_sigaction = handler; a.sa_flags = SA_SIGINFO; sigaction(SIGTRAP, &a, 0);
    unsigned long x = 0x1234567812345678;
    __asm__ volatile("movq %0, %%xmm9; int3; movq %%xmm9, %0" : "+r"(x) :: "xmm9", "memory");
    printf("%lx\n", x);
}
"""


STACK = r"""
#include <signal.h>
#include <stdio.h>
#include <ucontext.h>
static void handler(int s, siginfo_t *i, void *u) {
    struct _libc_fpstate *f = ((ucontext_t *)u)->uc_mcontext.fpregs;
    unsigned short now;
    __asm__ volatile("fnstcw %0" : "=m"(now));
    printf("%x %x %x %x\n", f->cwd, f->swd, f->ftw, now);
    for (int k = 0; k < 8; k++) {
        unsigned short *part = f->_st[k].significand;
        printf("%04x %04x%04x%04x%04x\n", f->_st[k].exponent, part[3], part[2], part[1], part[0]);
    }
    f->_st[0].exponent ^= 0x8000;
}
int main(void) {
    struct sigaction a = {0};
    unsigned short control = 0x27f;
    long double x, y;
    a.sa_sigaction = handler; a.sa_flags = SA_SIGINFO; sigaction(SIGTRAP, &a, 0);
    __asm__ volatile("fninit; fldcw %2; fldpi; fld1; int3; fstpt %0; fstpt %1; fnstcw %2" : "=m"(x), "=m"(y), "+m"(control));
    printf("%Lg %Lg %x\n", x, y, control);
}
"""


@pytest.mark.parametrize(
    "source", [SECCOMP, LOCKS, FLOATS, STACK], ids=["seccomp", "robust locks", "vectors in frames", "the stack of x87 in frames"]
)
def test_kernel_semantics_as_native(
    source: str, emulate: Callable[..., tuple[int, bytes, bytes]], build: Callable[..., str], environment: dict[str, str]
) -> None:
    program = build(source)
    native = subprocess.run([program], capture_output=True, env=environment, timeout=60)
    status, output, _ = emulate([program])
    assert output == native.stdout
    assert status == native.returncode


def test_there_are_no_neighbours(emulate: Callable[..., tuple[int, bytes, bytes]], tool: Callable[[str], str]) -> None:
    """The only interface is the loopback."""
    assert emulate([tool("ip"), "neigh"]) == (0, b"", b"")
    status, _, errors = emulate([tool("ip"), "rule"])
    assert status and errors == b"RTNETLINK answers: Operation not supported\nDump terminated\n"
