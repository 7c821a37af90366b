/* Threads that are inside one function at the same time, and a signal handler on its own stack that calls it again. */
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>

#define NOINLINE __attribute__((noinline, noclone))
#define KEEP __asm__ volatile("" ::: "memory")

NOINLINE long work(long depth, long n) { KEEP; if (depth == 0) { volatile long s = 0; for (long i = 0; i < n; i++) s += i; return n; } long r = work(depth - 1, n); KEEP; return r + 1; }
static volatile long seen;
static void handler(int number) { seen = work(2, number); }
static void *thread(void *argument) { long r = 0; for (int i = 0; i < 20; i++) r += work(3, (long)argument * 1000); return (void *)r; }
NOINLINE int interrupted(void) { KEEP; raise(SIGUSR1); KEEP; return (int)seen; }

int main(void)
{
    pthread_t threads[4];
    long total = 0;
    for (long i = 0; i < 4; i++)
        pthread_create(&threads[i], NULL, thread, (void *)(i + 1));
    for (int i = 0; i < 4; i++) {
        void *result;
        pthread_join(threads[i], &result);
        total += (long)result;
    }
    stack_t stack = {.ss_sp = malloc(SIGSTKSZ), .ss_size = SIGSTKSZ};
    sigaltstack(&stack, NULL);
    struct sigaction action = {.sa_handler = handler, .sa_flags = SA_ONSTACK};
    sigaction(SIGUSR1, &action, NULL);
    printf("%ld %d\n", total, interrupted());
    return 0;
}
