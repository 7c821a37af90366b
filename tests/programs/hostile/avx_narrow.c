/* expect: signal ILL */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

int main(void)
{
    volatile double one = 1, two = 2, sum;
    __asm__ volatile("movsd %1, %%xmm1; movsd %2, %%xmm2; vaddsd %%xmm1, %%xmm2, %%xmm0; movsd %%xmm0, %0" : "=m"(sum) : "m"(one), "m"(two) : "xmm0", "xmm1", "xmm2");
    return sum == 3;
}
