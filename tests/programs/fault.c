/* Calls work() three times, then reads near address 0; or recurses for ever. */
#include <stdio.h>
#include <string.h>

__attribute__((noinline)) int work(int n) { __asm__ volatile("" ::: "memory"); return n + 1; }
__attribute__((noinline)) int recurse(volatile int *p) { volatile int here = *p; return recurse(&here) + 1; }

int main(int argc, char **argv)
{
	volatile int one = 1;
	if (argc > 1 && !strcmp(argv[1], "recurse"))
		return recurse(&one);
	for (int i = 0; i < 3; i++)
		work(i);
	return *(volatile int *)0x10;
}
