/* Calls of every kind that a return probe has to follow: recursion, tail calls, longjmp, calls through a pointer and into libc. */
#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define NOINLINE __attribute__((noinline, noclone))
#define KEEP __asm__ volatile("" ::: "memory")

long counter = 41;
static jmp_buf place;

NOINLINE int leaf(int n) { KEEP; return n + 1; }
NOINLINE int rec(int n) { KEEP; if (n <= 0) return 0; int r = rec(n - 1); KEEP; return r + n; }
NOINLINE int even(int n);
NOINLINE int odd(int n) { KEEP; if (n == 0) return 0; return even(n - 1); } /* a tail call with -O2 */
NOINLINE int even(int n) { KEEP; if (n == 0) return 1; return odd(n - 1); }
NOINLINE void jumper(int depth) { KEEP; if (depth == 0) longjmp(place, 7); jumper(depth - 1); KEEP; }
NOINLINE int guarded(int depth) { int v = setjmp(place); if (v) return v; jumper(depth); KEEP; return -1; }
NOINLINE int compare(const void *a, const void *b) { KEEP; return *(const int *)a - *(const int *)b; }
static NOINLINE int hidden(int n) { KEEP; return n * 2; }

int main(int argc, char **argv)
{
    int n = argc > 1 ? atoi(argv[1]) : 3, numbers[] = {3, 1, 2};
    int total = 0;
    for (int i = 0; i < n; i++)
        total += leaf(i);
    total += rec(n) + even(10) + odd(7) + hidden(n);
    for (int i = 0; i < 3; i++)
        total += guarded(i);
    qsort(numbers, 3, sizeof *numbers, compare);
    char *copy = strdup("hello");
    printf("%d %ld %s %d\n", total, counter, copy, numbers[0]);
    free(copy);
    return 0;
}
