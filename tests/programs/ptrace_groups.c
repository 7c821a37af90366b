/* Attaching, interrupting, stops of the group, and what becomes of tracees and tracers that end. */
#include "tracer.h"
#include <pthread.h>
#include <time.h>

static long nap(long ms)
{
    struct timespec t = { ms / 1000, ms % 1000 * 1000000 };
    return nanosleep(&t, 0);
}

static pid_t begin(void (*function)(void))
{
    fflush(stdout);
    pid_t pid = fork();
    if (!pid) {
        function();
        _exit(7);
    }
    nap(30);
    return pid;
}

static void sleeps(void) { _exit(nap(300) ? 1 : 8); }
static void spins(void) { for (volatile long i = 0;; i++); }
static void pauses(void) { pause(); }
static volatile int caught;
static void catch(int n) { caught = n; }
static void catches(void)
{
    signal(SIGUSR1, catch);
    pause();
    _exit(caught);
}

static int none(void *unused) { _exit(4); }

/* Whom a wait is for: children that do not end with SIGCHLD need __WCLONE or __WALL. */
static void clones(void)
{
    puts("-- waiting for clones");
    static char stack[65536] __attribute__((aligned(16)));
    int status, options[] = { 0, __WCLONE, __WALL };
    for (int i = 0; i < 3; i++) {
        pid_t pid = clone(none, stack + sizeof stack, CLONE_VM | CLONE_VFORK, 0);
        errno = 0;
        int found = waitpid(pid, &status, options[i]) == pid;
        printf("%#x: %d %s\n", options[i], found, strerror(errno));
        if (!found)
            waitpid(pid, &status, __WALL);
    }
    pid_t pid = fork();
    if (!pid)
        _exit(0);
    pid_t result = waitpid(pid, &status, __WCLONE);
    printf("an ordinary child: %d %s\n", result, strerror(errno));
    waitpid(pid, &status, 0);
}

static void try(const char *what, long result) { printf("%s: %s\n", what, result < 0 ? strerror(errno) : "ok"); }

/* Is a system call to be made again that the stop has interrupted? arm64 has gone back to it already. */
static int is_restarted(pid_t pid)
{
    registers r = get(pid);
#ifdef __x86_64__
    return (long)r.rax == -516; /* ERESTART_RESTARTBLOCK */
#else
    return (unsigned)ptrace(PTRACE_PEEKTEXT, pid, PC(r), 0) == 0xd4000001; /* svc */
#endif
}

static void attaching(void)
{
    puts("-- attach");
    pid_t pid = begin(sleeps);
    try("cont before", ptrace(PTRACE_CONT, pid, 0, 0));
    try("attach", ptrace(PTRACE_ATTACH, pid, 0, 0));
    try("attach again", ptrace(PTRACE_ATTACH, pid, 0, 0));
    try("attach to myself", ptrace(PTRACE_ATTACH, getpid(), 0, 0));
    try("attach to nobody", ptrace(PTRACE_ATTACH, 4000000, 0, 0));
    await(pid, "stop");
    show_status(pid, "State");
    printf("tracer %d\n", ptrace(PTRACE_INTERRUPT, pid, 0, 0) < 0 ? errno == EIO : -1);
    printf("to be made again %d\n", is_restarted(pid));
    try("bad signal", ptrace(PTRACE_CONT, pid, 0, 9999));
    try("bad options", ptrace(PTRACE_SETOPTIONS, pid, 0, 0x40000000));
    try("bad request", ptrace(12345, pid, 0, 0));
    try("listen", ptrace(PTRACE_LISTEN, pid, 0, 0));
    try("detach", ptrace(PTRACE_DETACH, pid, 0, 0));
    try("detach again", ptrace(PTRACE_DETACH, pid, 0, 0));
    await(pid, "end"); /* the sleep goes on to its end */

    pid = begin(catches);
    ptrace(PTRACE_ATTACH, pid, 0, 0);
    await(pid, "stop");
    try("detach with a signal", ptrace(PTRACE_DETACH, pid, 0, SIGUSR1));
    await(pid, "end");

    pid = begin(spins);
    ptrace(PTRACE_ATTACH, pid, 0, 0);
    await(pid, "spinning");
    try("kill", ptrace(PTRACE_KILL, pid, 0, 0));
    await(pid, "end");
}

static void seizing(void)
{
    puts("-- seize");
    pid_t pid = begin(sleeps);
    try("seize with an address", ptrace(PTRACE_SEIZE, pid, 1, 0));
    try("seize", ptrace(PTRACE_SEIZE, pid, 0, PTRACE_O_TRACESYSGOOD));
    try("not stopped", ptrace(PTRACE_CONT, pid, 0, 0));
    try("interrupt", ptrace(PTRACE_INTERRUPT, pid, 0, 0));
    await(pid, "interrupted");
    ptrace(PTRACE_SYSCALL, pid, 0, 0);
    await(pid, "goes on");
    printf("restart_syscall %d\n", call_number(pid) == SYS_restart_syscall);
    ptrace(PTRACE_SYSCALL, pid, 0, 0);
    await(pid, "slept");
    printf("result %lld\n", (long long)RESULT(get(pid)));
    ptrace(PTRACE_CONT, pid, 0, 0);
    await(pid, "end");

    pid = begin(spins);
    ptrace(PTRACE_SEIZE, pid, 0, 0);
    ptrace(PTRACE_INTERRUPT, pid, 0, 0);
    await(pid, "spinning");
    ptrace(PTRACE_CONT, pid, 0, 0);
    kill(pid, SIGSTOP);
    await(pid, "delivery");
    ptrace(PTRACE_CONT, pid, 0, SIGSTOP);
    await(pid, "group");
    show_status(pid, "State");
    try("listen", ptrace(PTRACE_LISTEN, pid, 0, 0));
    int status;
    printf("nothing %d\n", waitpid(pid, &status, WNOHANG));
    try("listening", ptrace(PTRACE_CONT, pid, 0, 0));
    kill(pid, SIGCONT);
    await(pid, "continued");
    ptrace(PTRACE_CONT, pid, 0, 0);
    await(pid, "delivery");
    ptrace(PTRACE_CONT, pid, 0, 0);
    kill(pid, SIGKILL);
    await(pid, "end");
}

static void groups(void)
{
    puts("-- stops of the group");
    int status;
    pid_t pid = begin(pauses);
    ptrace(PTRACE_ATTACH, pid, 0, 0);
    await(pid, "attached");
    ptrace(PTRACE_CONT, pid, 0, SIGTSTP);
    await(pid, "group"); /* no siginfo: so tracers know it */
    ptrace(PTRACE_CONT, pid, 0, 0);
    kill(pid, SIGUSR1);
    await(pid, "delivery");
    try("detach", ptrace(PTRACE_DETACH, pid, 0, 0));
    printf("stopped %d\n", waitpid(pid, &status, WUNTRACED) == pid && WIFSTOPPED(status));
    kill(pid, SIGCONT);
    printf("continued %d\n", waitpid(pid, &status, WCONTINUED) == pid && WIFCONTINUED(status));
    kill(pid, SIGTERM);
    await(pid, "end");

    pid = begin(pauses);
    kill(pid, SIGSTOP);
    waitpid(pid, &status, WUNTRACED);
    tell("untraced", status);
    ptrace(PTRACE_ATTACH, pid, 0, 0);
    await(pid, "attached");
    show_status(pid, "State");
    kill(pid, SIGKILL);
    await(pid, "end");
}

/* A tracer that is not the parent: both hear of the end, the tracer first. */
static void other_tracer(void)
{
    puts("-- a tracer that is not the parent");
    siginfo_t info;
    int status;
    pid_t tracee = begin(pauses);
    prctl(PR_SET_PTRACER, -1, 0, 0, 0);
    pid_t tracer = fork();
    if (!tracer) {
        try("attach", ptrace(PTRACE_ATTACH, tracee, 0, 0));
        await(tracee, "tracer");
        show_status(tracee, "State");
        ptrace(PTRACE_CONT, tracee, 0, 0);
        kill(tracee, SIGTERM);
        await(tracee, "tracer");
        ptrace(PTRACE_CONT, tracee, 0, SIGTERM);
        memset(&info, 0, sizeof info);
        waitid(P_PID, tracee, &info, WEXITED | WNOWAIT);
        printf("tracer: code %d status %d\n", info.si_code, info.si_status);
        printf("parent hears nothing yet: %d\n", getppid() != tracee);
        await(tracee, "tracer");
        pid_t none = waitpid(tracee, &status, 0);
        printf("tracer: %d %s\n", none, strerror(errno));
        fflush(stdout);
        _exit(0);
    }
    int end;
    waitpid(tracee, &end, 0);
    waitpid(tracer, &status, 0);
    tell("parent", end);
}

static void tracer_ends(void)
{
    puts("-- tracers that end");
    int status;
    for (int kill_it = 0; kill_it < 2; kill_it++) {
        pid_t tracee = begin(sleeps);
        fflush(stdout);
        pid_t tracer = fork();
        if (!tracer) {
            ptrace(PTRACE_SEIZE, tracee, 0, kill_it ? PTRACE_O_EXITKILL : 0);
            ptrace(PTRACE_INTERRUPT, tracee, 0, 0);
            waitpid(tracee, &status, 0);
            _exit(0);
        }
        waitpid(tracer, &status, 0);
        show_status(tracee, "TracerPid");
        waitpid(tracee, &status, 0);
        tell(kill_it ? "with EXITKILL" : "without", status);
    }
}

static void *traces(void *unused)
{
    int status;
    pid_t pid = fork();
    if (!pid) {
        ptrace(PTRACE_TRACEME);
        raise(SIGSTOP);
        _exit(6);
    }
    await(pid, "thread");
    return (void *)(long)pid;
}

static void threads(void)
{
    puts("-- a thread that traces");
    pthread_t t;
    void *pid;
    pthread_create(&t, 0, traces, 0);
    pthread_join(t, &pid); /* with its end the tracee goes on */
    try("cont", ptrace(PTRACE_CONT, (pid_t)(long)pid, 0, 0));
    await((long)pid, "process");
}

static void sigchld(int n, siginfo_t *info, void *context)
{
    char text[64];
    write(1, text, snprintf(text, sizeof text, "SIGCHLD code %d status %d\n", info->si_code, info->si_status));
}

static void notices(void)
{
    puts("-- what SIGCHLD says");
    struct sigaction act = { .sa_sigaction = sigchld, .sa_flags = SA_SIGINFO | SA_RESTART };
    sigaction(SIGCHLD, &act, 0);
    pid_t pid = fork();
    if (!pid) {
        ptrace(PTRACE_TRACEME);
        raise(SIGUSR1);
        raise(SIGSTOP);
        _exit(3);
    }
    await(pid, "signal");
    ptrace(PTRACE_CONT, pid, 0, 0);
    await(pid, "signal");
    ptrace(PTRACE_CONT, pid, 0, SIGSTOP);
    await(pid, "group");
    ptrace(PTRACE_CONT, pid, 0, 0);
    await(pid, "end");
    signal(SIGCHLD, SIG_DFL);
}

int main(void)
{
    setvbuf(stdout, 0, _IOLBF, 0);
    clones();
    attaching();
    seizing();
    groups();
    other_tracer();
    tracer_ends();
    threads();
    notices();
    return 0;
}
