/* Computes for a few milliseconds of the machine's time. */
#include <stdio.h>

int main(void)
{
    volatile unsigned long sum = 0;
    for (unsigned long i = 0; i < 200000; i++)
        sum += i * i;
    printf("%lu\n", sum);
    return 0;
}
