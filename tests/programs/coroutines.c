/* Two coroutines on stacks of the heap that take turns inside one function: calls on them end in another order than they began. */
#include <stdio.h>
#include <stdlib.h>
#include <ucontext.h>

#define NOINLINE __attribute__((noinline, noclone))
#define KEEP __asm__ volatile("" ::: "memory")

static ucontext_t home, context[2];
static int total;

NOINLINE int step(int who, int n)
{
    KEEP;
    swapcontext(&context[who], &home);
    KEEP;
    return who * 100 + n;
}
static void body(int who)
{
    for (int n = 0; n < 3; n++)
        total += step(who, n);
}

int main(void)
{
    char *stacks = malloc(2 * 65536);
    for (int i = 0; i < 2; i++) {
        getcontext(&context[i]);
        context[i].uc_stack.ss_sp = stacks + i * 65536;
        context[i].uc_stack.ss_size = 65536;
        context[i].uc_link = &home;
        makecontext(&context[i], (void (*)(void))body, 1, i);
    }
    static const int order[] = {0, 1, 1, 0, 0, 1, 1, 0};
    for (unsigned i = 0; i < sizeof order / sizeof *order; i++)
        swapcontext(&home, &context[order[i]]);
    printf("%d\n", total);
    return 0;
}
