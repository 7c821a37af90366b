/* A function that is left by longjmp and called again from the same place with the same stack, directly, through a thunk that jumps,
 * through a pointer and, as LIBRARY with LIBRARY_USER, through a procedure linkage table. */
#include <setjmp.h>
#include <stdio.h>

#define NOINLINE __attribute__((noinline, noclone))
#define KEEP __asm__ volatile("" ::: "memory")

#ifdef LIBRARY
NOINLINE int maybe(jmp_buf place, int n) { KEEP; if (n % 2 == 0) longjmp(place, 1); KEEP; return n; }
#else
static jmp_buf place;
int maybe(jmp_buf where, int n);
int thunk(int n);
NOINLINE int sometimes(int n) { KEEP; if (n % 2 == 0) longjmp(place, 1); KEEP; return n; }
NOINLINE int through_thunk(int n) { KEEP; if (n % 2 == 0) longjmp(place, 1); KEEP; return n; }
NOINLINE int through_pointer(int n) { KEEP; if (n % 2 == 0) longjmp(place, 1); KEEP; return n; }
#ifdef __x86_64__
__asm__(".text\n.globl thunk\n.type thunk,@function\nthunk: jmp through_thunk\n.size thunk, .-thunk\n");
#else
__asm__(".text\n.globl thunk\n.type thunk,%function\nthunk: b through_thunk\n.size thunk, .-thunk\n");
#endif
int (*volatile pointer)(int) = through_pointer;

int main(void)
{
    volatile int total = 0;
#ifdef LIBRARY_USER
    for (volatile int i = 0; i < 6; i++)
        if (setjmp(place) == 0)
            total += maybe(place, i);
#else
    for (volatile int i = 0; i < 6; i++)
        if (setjmp(place) == 0)
            total += sometimes(i);
    for (volatile int i = 0; i < 6; i++)
        if (setjmp(place) == 0)
            total += thunk(i);
    for (volatile int i = 0; i < 6; i++)
        if (setjmp(place) == 0)
            total += pointer(i);
#endif
    printf("%d\n", total);
    return 0;
}
#endif
