/* What the programs about exceptions of processors share: where they are, and a handler of every signal that one brings. */
#include <setjmp.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>

static sigjmp_buf back;
static volatile uint64_t where, area; /* the instruction of a case, and its memory */
static char stack[65536];

static void catch_all(void (*caught)(int, siginfo_t *, void *))
{
    static const int signals[] = {SIGSEGV, SIGBUS, SIGILL, SIGFPE, SIGTRAP, SIGSYS};
    struct sigaction action = {.sa_sigaction = caught, .sa_flags = SA_SIGINFO | SA_ONSTACK};
    stack_t alternate = {.ss_sp = stack, .ss_size = sizeof stack};

    setvbuf(stdout, 0, _IOLBF, 0);
    sigaltstack(&alternate, 0);
    for (unsigned i = 0; i < sizeof signals / sizeof *signals; i++)
        sigaction(signals[i], &action, 0);
}
