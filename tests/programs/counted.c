/* A program without a C library, whose instructions can be counted by hand: 2013 on x86-64, of which 1000 are branches.
   It writes 0 to 4 to `watched`, one after the other. */
volatile int watched;

void _start(void) {
    __asm__ volatile("mov $1000, %%ecx\n 1: dec %%ecx\n jnz 1b\n"                            /* 1 + 2 * 1000 */
                     "mov $100, %%ecx\n lea -200(%%rsp), %%rdi\n cld\n rep stosb\n" ::: "rcx", "rdi", "memory"); /* 4 */
    __asm__ volatile("movl $0, %0\n movl $1, %0\n movl $2, %0\n movl $3, %0\n movl $4, %0" : "=m"(watched));     /* 5 */
    __asm__ volatile("mov $231, %eax\n xor %edi, %edi\n syscall");                           /* 3: exit_group(0) */
}
