/* What programs about ptrace share: a stop told in words that are the same for every architecture and process id. */
#define _GNU_SOURCE
#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/ptrace.h>
#include <sched.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

long ptrace(int request, ...);

#ifdef __x86_64__
#include <sys/user.h>
typedef struct user_regs_struct registers;
#define PC(r) (r).rip
#define SP(r) (r).rsp
#define RESULT(r) (r).rax
#define ARGUMENT(r) (r).rdi
#define BREAKPOINT_SIZE 1
#define BEHIND_BREAKPOINT 1
#else
#include <asm/ptrace.h>
typedef struct user_pt_regs registers;
#define PC(r) (r).pc
#define SP(r) (r).sp
#define RESULT(r) (r).regs[0]
#define ARGUMENT(r) (r).regs[0]
#define BREAKPOINT_SIZE 4
#define BEHIND_BREAKPOINT 0
#endif

static inline registers get(pid_t pid)
{
    registers r;
    struct iovec v = { &r, sizeof r };
    if (ptrace(PTRACE_GETREGSET, pid, NT_PRSTATUS, &v) || v.iov_len != sizeof r)
        printf("GETREGSET failed: %s\n", strerror(errno));
    return r;
}

static inline void set(pid_t pid, registers r)
{
    struct iovec v = { &r, sizeof r };
    if (ptrace(PTRACE_SETREGSET, pid, NT_PRSTATUS, &v))
        printf("SETREGSET failed: %s\n", strerror(errno));
}

static inline long call_number(pid_t pid)
{
#ifdef __x86_64__
    return get(pid).orig_rax;
#else
    int n = 0;
    struct iovec v = { &n, sizeof n };
    ptrace(PTRACE_GETREGSET, pid, 0x404, &v);
    return n;
#endif
}

static inline void set_call_number(pid_t pid, int n)
{
#ifdef __x86_64__
    registers r = get(pid);
    r.orig_rax = n;
    set(pid, r);
#else
    struct iovec v = { &n, sizeof n };
    ptrace(PTRACE_SETREGSET, pid, 0x404, &v);
#endif
}

static inline const char *event_name(int event)
{
    static const char *names[] = { "", " FORK", " VFORK", " CLONE", " EXEC", " VFORK_DONE", " EXIT", " SECCOMP" };
    return event == 128 ? " STOP" : event < 8 ? names[event] : " ?";
}

/* The signal's name without SIG; 0x80 as a system call's stop has it. */
static inline const char *signal_name(int n)
{
    static char text[32];
    if (n == (SIGTRAP | 0x80))
        return "syscall";
    snprintf(text, sizeof text, "%s", n ? sigabbrev_np(n) ? sigabbrev_np(n) : "?" : "0");
    return text;
}

static inline void tell(const char *what, int status)
{
    if (WIFEXITED(status))
        printf("%s: exited %d\n", what, WEXITSTATUS(status));
    else if (WIFSIGNALED(status))
        printf("%s: killed by %s\n", what, signal_name(WTERMSIG(status)));
    else if (WIFCONTINUED(status))
        printf("%s: continued\n", what);
    else
        printf("%s: stopped by %s%s\n", what, signal_name(WSTOPSIG(status)), event_name(status >> 16));
}

/* Wait for a stop or end, tell it, and what siginfo there is. */
static inline int await(pid_t pid, const char *what)
{
    int status = 0;
    siginfo_t info;
    if (waitpid(pid, &status, __WALL) != pid) {
        printf("%s: no wait: %s\n", what, strerror(errno));
        return status;
    }
    tell(what, status);
    if (WIFSTOPPED(status)) {
        memset(&info, 0, sizeof info);
        errno = 0;
        if (ptrace(PTRACE_GETSIGINFO, pid, 0, &info))
            printf("    no siginfo: %s\n", strerror(errno));
        else
            printf("    signo %d code %#x\n", info.si_signo, /* of a breakpoint on x86-64 */
                info.si_signo == SIGTRAP && info.si_code == SI_KERNEL ? TRAP_BRKPT : info.si_code);
    }
    return status;
}

/* A word of /proc/PID/status. */
static inline void show_status(pid_t pid, const char *key)
{
    char path[64], line[256];
    snprintf(path, sizeof path, "/proc/%d/status", pid);
    FILE *f = fopen(path, "r");
    while (f && fgets(line, sizeof line, f))
        if (!strncmp(line, key, strlen(key)))
            printf("    %s", line);
    if (f)
        fclose(f);
}
