/* A program without a C library, whose instructions can be counted by hand: 2013 on x86-64, of which 1000 are branches, and 2004 on arm64, of
   which 1000 are, too. On x86-64 it writes 0 to 4 to `watched`, one after the other. */
volatile int watched;

void _start(void) {
#if defined(__aarch64__)
    __asm__ volatile("mov x9, #1000\n 1: subs x9, x9, #1\n b.ne 1b" ::: "x9", "cc");          /* 1 + 2 * 1000 */
    __asm__ volatile("mov x8, #94\n mov x0, #0\n svc #0");                                  /* 3: exit_group(0) */
#else
    __asm__ volatile("mov $1000, %%ecx\n 1: dec %%ecx\n jnz 1b\n"                            /* 1 + 2 * 1000 */
                     "mov $100, %%ecx\n lea -200(%%rsp), %%rdi\n cld\n rep stosb\n" ::: "rcx", "rdi", "memory"); /* 4 */
    __asm__ volatile("movl $0, %0\n movl $1, %0\n movl $2, %0\n movl $3, %0\n movl $4, %0" : "=m"(watched));     /* 5 */
    __asm__ volatile("mov $231, %eax\n xor %edi, %edi\n syscall");                           /* 3: exit_group(0) */
#endif
}
