/* System call stops, signals and events as a tracer sees them. */
#include "tracer.h"
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <pthread.h>

static pid_t traced(void (*function)(void))
{
    fflush(stdout);
    pid_t pid = fork();
    if (!pid) {
        if (ptrace(PTRACE_TRACEME))
            _exit(99);
        raise(SIGSTOP);
        function();
        _exit(7);
    }
    return pid;
}

static void go(pid_t pid, int how, long signal, const char *what)
{
    if (ptrace(how, pid, 0, signal))
        printf("%s: %s\n", what, strerror(errno));
}

static void two_calls(void)
{
    syscall(SYS_getppid);
    syscall(SYS_close, -1);
    if (syscall(SYS_dup, 12345) != 77)
        _exit(1);
}

static void system_calls(void)
{
    puts("-- system calls");
    pid_t pid = traced(two_calls);
    await(pid, "begin");
    printf("options %ld\n", ptrace(PTRACE_SETOPTIONS, pid, 0, PTRACE_O_TRACESYSGOOD));
    for (int n = 0; n < 30; n++) {
        go(pid, PTRACE_SYSCALL, 0, "syscall");
        int status = 0;
        waitpid(pid, &status, 0);
        if (!WIFSTOPPED(status)) {
            tell("end", status);
            break;
        }
        struct ptrace_syscall_info info;
        memset(&info, 0, sizeof info);
        long size = ptrace(PTRACE_GET_SYSCALL_INFO, pid, sizeof info, &info);
        unsigned long message = 0;
        ptrace(PTRACE_GETEVENTMSG, pid, 0, &message);
        registers r = get(pid);
        long number = call_number(pid);
        const char *name = number == SYS_getppid ? "getppid" : number == SYS_close ? "close" : number == SYS_dup ? "dup" :
            number == SYS_exit_group ? "exit_group" : "other";
        if (!strcmp(name, "other"))
            continue;
        printf("%s op %d size %ld message %lu pc %d sp %d", name, info.op, size, message, info.instruction_pointer == PC(r),
            info.stack_pointer == SP(r));
        if (info.op == PTRACE_SYSCALL_INFO_ENTRY)
            printf(" number %d first %lld\n", info.entry.nr == number, name[0] == 'g' ? 0LL : (long long)(int)info.entry.args[0]);
        else
            printf(" value %lld error %d\n", name[0] == 'g' ? 0LL : (long long)info.exit.rval, info.exit.is_error);
        if (number == SYS_dup && info.op == PTRACE_SYSCALL_INFO_EXIT) {
            RESULT(r) = 77; /* what the program is to believe */
            set(pid, r);
        }
    }
}

static void changed(void)
{
    char text[] = "not to be seen\n";
    printf("write gives %ld\n", syscall(SYS_write, 1, text, sizeof text - 1));
    long parent = syscall(SYS_getppid);
    printf("getppid gives %ld %d\n", parent, errno);
    fflush(stdout);
}

static void changing(void)
{
    puts("-- calls that the tracer changes");
    fflush(stdout);
    pid_t pid = traced(changed);
    await(pid, "begin");
    ptrace(PTRACE_SETOPTIONS, pid, 0, PTRACE_O_TRACESYSGOOD);
    int inside = 0, writes = 0;
    for (;;) {
        int status;
        ptrace(PTRACE_SYSCALL, pid, 0, 0);
        waitpid(pid, &status, 0);
        if (!WIFSTOPPED(status)) {
            tell("end", status);
            break;
        }
        inside = !inside;
        registers r = get(pid);
        if (inside && call_number(pid) == SYS_write && !writes++) { /* does not happen, and returns 123 */
            set_call_number(pid, -1);
            r = get(pid);
            RESULT(r) = 123;
            set(pid, r);
        } else if (inside && call_number(pid) == SYS_getppid)
            set_call_number(pid, 9999);
    }
}

static volatile int handled;
static void handler(int n, siginfo_t *info, void *context) { handled = n * 1000 + (info->si_code & 0xff); }

static void signals(void)
{
    struct sigaction act = { .sa_sigaction = handler, .sa_flags = SA_SIGINFO };
    sigaction(SIGUSR1, &act, 0);
    sigaction(SIGUSR2, &act, 0);
    signal(SIGWINCH, SIG_IGN);
    handled = 0; raise(SIGUSR1); printf("suppressed: %d\n", handled);
    handled = 0; raise(SIGUSR1); printf("as it was: %d\n", handled);
    handled = 0; raise(SIGUSR1); printf("another: %d\n", handled);
    handled = 0; raise(SIGUSR1); printf("with another siginfo: %d\n", handled);
    raise(SIGWINCH);
    raise(SIGTERM);
    puts("alive");
    fflush(stdout);
    raise(SIGTERM);
}

static void injection(void)
{
    puts("-- signals");
    pid_t pid = traced(signals);
    await(pid, "begin");
    int with[] = { 0, 0, SIGUSR1, SIGUSR2, SIGUSR1, SIGWINCH, 0, SIGTERM };
    for (int n = 0; n < 8; n++) {
        if (n == 4) {
            siginfo_t info;
            ptrace(PTRACE_GETSIGINFO, pid, 0, &info);
            info.si_code = 42;
            printf("set siginfo %ld\n", ptrace(PTRACE_SETSIGINFO, pid, 0, &info));
        }
        go(pid, PTRACE_CONT, with[n], "cont");
        await(pid, "signal");
    }
}

static int in_clone(void *unused) { syscall(SYS_exit, 5); return 0; }
static void *in_thread(void *unused) { return 0; }

static void families(void)
{
    int status;
    static char stack[65536] __attribute__((aligned(16)));
    pid_t pid = fork();
    if (!pid)
        _exit(3);
    waitpid(pid, &status, 0);
    pid = vfork();
    if (!pid)
        _exit(4);
    waitpid(pid, &status, 0);
    pid = clone(in_clone, stack + sizeof stack, CLONE_VM, 0);
    waitpid(pid, &status, __WALL);
    pthread_t t;
    pthread_create(&t, 0, in_thread, 0);
    pthread_join(t, 0);
    execl("/proc/self/exe", "self", "child", NULL);
}

#define ALL (PTRACE_O_TRACEFORK | PTRACE_O_TRACEVFORK | PTRACE_O_TRACECLONE | PTRACE_O_TRACEEXEC | PTRACE_O_TRACEVFORKDONE | \
             PTRACE_O_TRACEEXIT | PTRACE_O_EXITKILL)

/* Events of the process in the order in which they come, each new task's own stops below it. */
static void events(void)
{
    puts("-- events");
    pid_t first = traced(families), child = 0;
    await(first, "begin");
    printf("options %ld\n", ptrace(PTRACE_SETOPTIONS, first, 0, ALL));
    ptrace(PTRACE_CONT, first, 0, 0);
    for (;;) {
        unsigned long message = 0;
        int status = await(first, "process");
        if (!WIFSTOPPED(status))
            break;
        int event = status >> 16;
        if (event) {
            ptrace(PTRACE_GETEVENTMSG, first, 0, &message);
            if (event == PTRACE_EVENT_EXIT)
                printf("  with %#lx\n", message);
            else if (event == PTRACE_EVENT_EXEC)
                printf("  it was %d\n", message == (unsigned long)first);
            else if (event == PTRACE_EVENT_VFORK_DONE)
                printf("  of the child %d\n", message == (unsigned long)child);
            else {
                child = message;
                do {
                    status = await(child, "    child");
                    if (WIFSTOPPED(status))
                        ptrace(PTRACE_CONT, child, 0, 0);
                } while (WIFSTOPPED(status));
            }
            ptrace(PTRACE_CONT, first, 0, 0);
        } else
            ptrace(PTRACE_CONT, first, 0, WSTOPSIG(status) == SIGCHLD ? SIGCHLD : 0);
    }
}

static void execs(void) { execl("/proc/self/exe", "self", "child", NULL); }

static void exec_trap(void)
{
    puts("-- exec without options");
    pid_t pid = traced(execs);
    await(pid, "begin");
    ptrace(PTRACE_CONT, pid, 0, 0);
    await(pid, "exec");
    ptrace(PTRACE_CONT, pid, 0, 0);
    await(pid, "end");
}

static void *exec_in_thread(void *unused) { execs(); return 0; }
static void thread_execs(void)
{
    pthread_t t;
    pthread_create(&t, 0, exec_in_thread, 0);
    pause();
}

static void exec_by_thread(void)
{
    puts("-- exec by a thread that is not the first");
    pid_t pid = traced(thread_execs), thread;
    int status;
    unsigned long message = 0;
    await(pid, "begin");
    ptrace(PTRACE_SETOPTIONS, pid, 0, PTRACE_O_TRACECLONE | PTRACE_O_TRACEEXEC);
    ptrace(PTRACE_CONT, pid, 0, 0);
    await(pid, "clone");
    ptrace(PTRACE_GETEVENTMSG, pid, 0, &message);
    thread = message;
    await(thread, "thread");
    ptrace(PTRACE_CONT, pid, 0, 0);
    ptrace(PTRACE_CONT, thread, 0, 0);
    await(pid, "exec");
    ptrace(PTRACE_GETEVENTMSG, pid, 0, &message);
    printf("by the thread %d, which is %s\n", message == (unsigned long)thread, waitpid(thread, &status, __WALL) < 0 ? strerror(errno) : "there");
    ptrace(PTRACE_CONT, pid, 0, 0);
    await(pid, "end");
}

static void filtered(void)
{
    struct sock_filter code[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, 0),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_getppid, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_TRACE | 321),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    struct sock_fprog program = { 4, code };
    prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
    prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program);
    long one = syscall(SYS_getppid);
    printf("getppid %d\n", one == getppid());
    printf("getppid %ld\n", syscall(SYS_getppid));
    errno = 0;
    fflush(stdout);
}

static void seccomp(void)
{
    puts("-- seccomp");
    pid_t pid = traced(filtered);
    unsigned long message;
    await(pid, "begin");
    ptrace(PTRACE_SETOPTIONS, pid, 0, PTRACE_O_TRACESECCOMP);
    for (int n = 0;; n++) {
        ptrace(PTRACE_CONT, pid, 0, 0);
        int status = await(pid, "filter");
        if (!WIFSTOPPED(status))
            break;
        struct ptrace_syscall_info info;
        long size = ptrace(PTRACE_GET_SYSCALL_INFO, pid, sizeof info, &info);
        ptrace(PTRACE_GETEVENTMSG, pid, 0, &message);
        printf("  message %lu size %ld op %d data %u\n", message, size, info.op, info.seccomp.ret_data);
        if (n == 2) {
            set_call_number(pid, -1);
            registers r = get(pid);
            RESULT(r) = 55;
            set(pid, r);
        }
    }
}

int main(int argc, char **argv)
{
    setvbuf(stdout, 0, _IOLBF, 0);
    if (argc > 1)
        return 21;
    system_calls();
    changing();
    injection();
    events();
    exec_trap();
    exec_by_thread();
    seccomp();
    return 0;
}
