/* What a debugger does: memory, registers, breakpoints and steps. */
#include "tracer.h"

static volatile long shared_value = 41;
static char *readable, *nothing;
static double number = 1.5;
static volatile int hits;

__attribute__((noinline)) int counted(int n) { hits++; return n + 1; }
__attribute__((noinline)) int loops(int n)
{
    int sum = 0;
    for (volatile int i = 0; i < n; i++)
        sum += i;
    return sum;
}

static void handler(int n) { hits += 100; }

static void program(void)
{
    signal(SIGUSR1, handler);
    ptrace(PTRACE_TRACEME);
    raise(SIGSTOP);
    printf("value %ld, text %s\n", shared_value, readable);
    int sum = 0;
    for (int i = 0; i < 3; i++)
        sum += counted(i);
    printf("sum %d hits %d\n", sum, hits);
    raise(SIGSTOP);
    printf("loops %d\n", loops(5));
    printf("twice %.2f\n", number * 2);
    syscall(SYS_getppid);
    raise(SIGUSR1);
    printf("hits %d\n", hits);
    fflush(stdout);
    _exit(7);
}

static long peek(pid_t pid, void *at)
{
    long word = 0;
    errno = 0;
#ifdef __GLIBC__
    word = ptrace(PTRACE_PEEKDATA, pid, at, 0);
#endif
    return word;
}

static void memory(pid_t pid)
{
    puts("-- memory");
    printf("peek %ld\n", peek(pid, (void *)&shared_value));
    printf("poke %ld\n", ptrace(PTRACE_POKEDATA, pid, &shared_value, 42L));
    printf("poke read-only %ld\n", ptrace(PTRACE_POKEDATA, pid, readable, 0x0064656b6f70L));
    peek(pid, nothing);
    printf("peek nothing: %s\n", strerror(errno));
    errno = 0;
    ptrace(PTRACE_POKEDATA, pid, nothing, 1L);
    printf("poke nothing: %s\n", strerror(errno));
    long word = 0;
    struct iovec here = { &word, 8 }, there = { (void *)&shared_value, 8 };
    ssize_t moved = process_vm_readv(pid, &here, 1, &there, 1, 0);
    printf("process_vm_readv %zd %ld\n", moved, word);
    char path[64], text[8];
    snprintf(path, sizeof path, "/proc/%d/mem", pid);
    int fd = open(path, O_RDWR);
    printf("mem %zd", pread(fd, text, 8, (long)readable));
    printf(" %.4s\n", text);
    printf("write %zd\n", pwrite(fd, "written", 8, (long)readable));
    ssize_t none = pread(fd, text, 8, (long)nothing);
    printf("nothing %zd %s\n", none, strerror(errno));
    close(fd);
}

static void break_at(pid_t pid, void *at, long *old)
{
    unsigned char code[8];
    *old = peek(pid, at);
    memcpy(code, old, 8);
#ifdef __x86_64__
    code[0] = 0xcc;
#else
    memcpy(code, "\0\0\x20\xd4", 4);
#endif
    long word;
    memcpy(&word, code, 8);
    ptrace(PTRACE_POKETEXT, pid, at, word);
}

static void step(pid_t pid)
{
    int status;
    ptrace(PTRACE_SINGLESTEP, pid, 0, 0);
    waitpid(pid, &status, 0);
    if (!WIFSTOPPED(status) || WSTOPSIG(status) != SIGTRAP)
        tell("step", status);
}

static void breakpoints(pid_t pid)
{
    puts("-- breakpoints");
    long old;
    break_at(pid, counted, &old);
    for (int i = 0; i < 3; i++) {
        ptrace(PTRACE_CONT, pid, 0, 0);
        await(pid, "breakpoint");
        registers r = get(pid);
        printf("  behind it by %d, argument %lld\n", PC(r) == (unsigned long)counted + BEHIND_BREAKPOINT, (long long)ARGUMENT(r));
        PC(r) = (unsigned long)counted;
        if (i == 1)
            ARGUMENT(r) = 100;
        set(pid, r);
        ptrace(PTRACE_POKETEXT, pid, counted, old);
        step(pid);
        printf("  stepped over it: %d\n", PC(get(pid)) > (unsigned long)counted);
        if (i < 2)
            break_at(pid, counted, &old);
    }
    ptrace(PTRACE_CONT, pid, 0, 0);
    await(pid, "after");
}

static void steps(pid_t pid)
{
    puts("-- steps");
    long old;
    break_at(pid, loops, &old);
    ptrace(PTRACE_CONT, pid, 0, 0);
    await(pid, "loops");
    registers r = get(pid);
    PC(r) = (unsigned long)loops;
    set(pid, r);
    ptrace(PTRACE_POKETEXT, pid, loops, old);
#ifdef __x86_64__
    unsigned long back = peek(pid, (void *)SP(r));
#else
    unsigned long back = r.regs[30];
#endif
    int n = 0;
    siginfo_t info;
    while (PC(get(pid)) != back && n++ < 1000) {
        registers before = get(pid);
        step(pid);
        if (PC(get(pid)) == PC(before))
            printf("no progress at step %d\n", n);
    }
    ptrace(PTRACE_GETSIGINFO, pid, 0, &info);
    printf("enough steps %d, result %lld, siginfo %d %d at %d\n", n > 20, (long long)(int)RESULT(get(pid)), info.si_signo, info.si_code,
        (unsigned long)info.si_addr == PC(get(pid)));
    /* on to the system call, and over it, and to the handler's first instruction */
    long calls = 0;
    while (calls++ < 30) {
        ptrace(PTRACE_SYSCALL, pid, 0, 0);
        await(pid, "syscall");
        if (call_number(pid) == SYS_getppid)
            break;
    }
    ptrace(PTRACE_SYSCALL, pid, 0, 0);
    await(pid, "end of getppid");
    int status;
    for (n = 0; n < 100; n++) {
        ptrace(PTRACE_SINGLESTEP, pid, 0, 0);
        waitpid(pid, &status, 0);
        if (WIFSTOPPED(status) && WSTOPSIG(status) == SIGTRAP)
            continue;
        break;
    }
    tell("stepping ends", status);
    ptrace(PTRACE_SINGLESTEP, pid, 0, SIGUSR1);
    await(pid, "into the handler");
    printf("there %d\n", PC(get(pid)) == (unsigned long)handler);
}

static void floating(pid_t pid)
{
    puts("-- floating point");
#ifdef __x86_64__
    struct user_fpregs_struct f;
    memset(&f, 0, sizeof f);
    struct iovec v = { &f, sizeof f };
    printf("get %ld %zu\n", ptrace(PTRACE_GETREGSET, pid, NT_PRFPREG, &v), v.iov_len == 512);
    printf("control %d\n", f.cwd == 0x37f && f.mxcsr == 0x1f80);
    unsigned char saved[16];
    memcpy(saved, &f.xmm_space[4 * 7], 16);
    memcpy(&f.xmm_space[4 * 7], "0123456789abcdef", 16);
    printf("set %ld\n", ptrace(PTRACE_SETREGSET, pid, NT_PRFPREG, &v));
    memset(&f, 0, sizeof f);
    ptrace(PTRACE_GETREGSET, pid, NT_PRFPREG, &v);
    printf("%.16s\n", (char *)&f.xmm_space[4 * 7]);
#else
    struct user_fpsimd_state f;
    memset(&f, 0, sizeof f);
    struct iovec v = { &f, sizeof f };
    printf("get %ld %zu\n", ptrace(PTRACE_GETREGSET, pid, NT_PRFPREG, &v), (size_t)(v.iov_len == sizeof f));
    printf("control %d\n", f.fpcr == 0);
    memcpy(&f.vregs[7], "0123456789abcdef", 16);
    printf("set %ld\n", ptrace(PTRACE_SETREGSET, pid, NT_PRFPREG, &v));
    memset(&f, 0, sizeof f);
    ptrace(PTRACE_GETREGSET, pid, NT_PRFPREG, &v);
    printf("%.16s\n", (char *)&f.vregs[7]);
#endif
    struct iovec odd = { &f, 7 };
    ptrace(PTRACE_GETREGSET, pid, NT_PRSTATUS, &odd);
    printf("odd length: %s\n", strerror(errno));
    errno = 0;
    ptrace(PTRACE_GETREGSET, pid, 0x7777, &odd);
    printf("unknown set: %s\n", strerror(errno));
}

static void masks(pid_t pid)
{
    puts("-- masks and queues");
    uint64_t mask = 0;
    siginfo_t infos[4];
    struct ptrace_peeksiginfo_args all = { 0, 0, 4 }, shared = { 0, PTRACE_PEEKSIGINFO_SHARED, 4 };
    long result = ptrace(PTRACE_GETSIGMASK, pid, 8, &mask);
    printf("mask %ld %#lx\n", result, (long)mask);
    mask = 1 << (SIGUSR2 - 1) | 1 << (SIGKILL - 1);
    printf("set %ld\n", ptrace(PTRACE_SETSIGMASK, pid, 8, &mask));
    ptrace(PTRACE_GETSIGMASK, pid, 8, &mask);
    printf("mask %#lx\n", (long)mask);
    errno = 0;
    ptrace(PTRACE_GETSIGMASK, pid, 4, &mask);
    printf("other size: %s\n", strerror(errno));
    kill(pid, SIGUSR2);
    union sigval value = { 5 };
    sigqueue(pid, SIGUSR2, value);
    printf("own %ld", ptrace(PTRACE_PEEKSIGINFO, pid, &all, infos));
    printf(" shared %ld", ptrace(PTRACE_PEEKSIGINFO, pid, &shared, infos));
    printf(" signo %d code %d\n", infos[0].si_signo, infos[0].si_code);
    show_status(pid, "ShdPnd");
    show_status(pid, "SigBlk");
    mask = 0;
    ptrace(PTRACE_SETSIGMASK, pid, 8, &mask);
}

int main(void)
{
    setvbuf(stdout, 0, _IOLBF, 0);
    readable = mmap(0, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    strcpy(readable, "text");
    mprotect(readable, 4096, PROT_READ);
    nothing = mmap(0, 4096, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    munmap(nothing, 4096);
    pid_t pid = fork();
    if (!pid)
        program();
    await(pid, "begin");
    show_status(pid, "State");
    memory(pid);
    breakpoints(pid);
    floating(pid);
    steps(pid);
    masks(pid);
    ptrace(PTRACE_CONT, pid, 0, 0);
    await(pid, "queued");
    ptrace(PTRACE_CONT, pid, 0, 0);
    await(pid, "end");
    return 0;
}
