/* Requests without sense, to tracees in every state: whatever they do, the kernel stands. */
#define _GNU_SOURCE
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

static unsigned long seed;
static long buffer[256];

static unsigned long any(unsigned long n)
{
    seed = seed * 6364136223846793005UL + 1442695040888963407UL;
    return (seed >> 20) % n;
}

static unsigned long value(void)
{
    static const unsigned long special[] = {
        0, 1, 2, 5, 7, 8, 9, 19, 64, 65, 0x80, 0x201, 0x202, 0x401, 0x404, 848, 856, 896, 904, 912, ~0UL, 1UL << 63, 1UL << 47,
        0x7ffffffff000, 0xffff800000000000,
    };
    switch (any(4)) {
    case 0: return (unsigned long)&buffer[any(64)];
    case 1: return any(1000);
    case 2: return (unsigned long)value;
    default: return special[any(sizeof special / sizeof *special)];
    }
}

static void tracee(void)
{
    if (any(2))
        ptrace(PTRACE_TRACEME, 0, 0, 0);
    raise(SIGSTOP);
    for (int i = 0; i < 20; i++) {
        getppid();
        if (i % 5 == 0) {
            pid_t pid = fork();
            if (!pid)
                _exit(1);
            waitpid(pid, 0, 0);
        }
    }
    execl("/proc/self/exe", "self", "1", "0", NULL);
    _exit(0);
}

int main(int argc, char **argv)
{
    seed = atoi(argv[1]);
    for (int n = 0; n < atoi(argv[2]); n++) {
        int status;
        pid_t pid = fork();
        if (!pid)
            tracee();
        waitpid(pid, &status, WUNTRACED);
        if (any(2)) {
            syscall(SYS_ptrace, any(2) ? PTRACE_ATTACH : PTRACE_SEIZE, pid, 0, any(256));
            waitpid(pid, &status, __WALL | WNOHANG);
        }
        for (int i = 0; i < 60; i++) {
            unsigned long request = any(3) ? 0x4200 + any(16) : any(40);
            for (int j = 0; j < 256; j++)
                buffer[j] = any(3) ? value() : 0;
            syscall(SYS_ptrace, request == PTRACE_DETACH && any(4) ? PTRACE_SINGLESTEP : request, pid, value(), value());
            if (!any(4)) {
                pid_t found = waitpid(-1, &status, __WALL | WNOHANG);
                if (found == pid && !WIFSTOPPED(status))
                    break;
                if (found > 0 && found != pid)
                    syscall(SYS_ptrace, PTRACE_CONT, found, 0, 0);
                sched_yield();
            }
            if (!any(20))
                kill(pid, (int[]){ SIGCONT, SIGSTOP, SIGUSR1, SIGTSTP }[any(4)]);
            if (!any(8))
                usleep(100);
        }
        kill(pid, SIGKILL);
        for (int i = 0; i < 100 && waitpid(-1, &status, __WALL | WNOHANG) >= 0; i++)
            usleep(100);
    }
    return 0;
}
