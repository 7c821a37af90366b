/* Functions whose first instruction faults, or unmasks an exception: for probes at them. */
#include "exceptions.h"

static char memory[64] __attribute__((aligned(16)));

void aligned(void *);
void divides(double, double);
void control(void *);
asm(".globl aligned; .type aligned, @function; aligned: movaps (%rdi), %xmm0; ret; .size aligned, .-aligned;"
    ".globl divides; .type divides, @function; divides: divsd %xmm1, %xmm0; ret; .size divides, .-divides;"
    ".globl control; .type control, @function; control: ldmxcsr (%rdi); ret; .size control, .-control");

static void caught(int number, siginfo_t *info, void *context)
{
    printf("signal %d code %d %d\n", number, info->si_code, info->si_addr == (void *)divides);
    siglongjmp(back, 1);
}

int main(void)
{
    unsigned unmasked = 0x1f80 & ~(4 << 7);

    catch_all(caught);
    for (int i = 0; i < 3; i++) {
        if (!sigsetjmp(back, 1)) {
            aligned(memory);
            aligned(memory + 4);
        }
        if (!sigsetjmp(back, 1)) {
            control(&unmasked);
            divides(1, 2);
            divides(1, 0);
        }
    }
    return 0;
}
