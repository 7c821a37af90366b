/* Statically defined probes, as <sys/sdt.h> would make them, so that no header of another package is needed: app:args with one
   argument of each kind, app:guarded behind a semaphore, app:twice at two places, and other:args. */
#include <stdio.h>

#define NOTE(provider, name, semaphore, arguments) \
    "990: nop\n" \
    ".pushsection .note.stapsdt,\"?\",\"note\"\n" \
    ".balign 4\n .4byte 992f-991f, 994f-993f, 3\n" \
    "991: .asciz \"stapsdt\"\n 992: .balign 4\n" \
    "993: .8byte 990b\n .8byte _.stapsdt.base\n .8byte " semaphore "\n" \
    ".asciz \"" provider "\"\n .asciz \"" name "\"\n .asciz \"" arguments "\"\n 994: .balign 4\n" \
    ".popsection\n" \
    ".ifndef _.stapsdt.base\n" \
    ".pushsection .stapsdt.base,\"aG\",\"progbits\",.stapsdt.base,comdat\n" \
    ".weak _.stapsdt.base\n .hidden _.stapsdt.base\n _.stapsdt.base: .space 1\n .size _.stapsdt.base, 1\n" \
    ".popsection\n .endif\n"

unsigned short app_guarded_semaphore __attribute__((section(".probes"), used));
int global = 42;

__attribute__((noinline)) static long probed(long number, const char *text, long *words) {
#if defined(__x86_64__)
    register long a __asm__("r12") = number;
    register const char *b __asm__("r13") = text;
    register long *c __asm__("r14") = words;
    register long d __asm__("rcx") = 0x1122;
    __asm__ volatile(NOTE("app", "args", "0", "-4@%%r12d 8@%%r13 -2@%%r12w 8@8(%%r14) -4@$-5 1@%%cl 1@%%ch 8@(%%r14,%%r12,8) 4@global(%%rip) 16f@%%xmm0")
                     : : "r"(a), "r"(b), "r"(c), "r"(d) : "memory");
#else
    register long a __asm__("x19") = number;
    register const char *b __asm__("x20") = text;
    register long *c __asm__("x21") = words;
    __asm__ volatile(NOTE("app", "args", "0", "-4@w19 8@x20 -2@w19 8@[x21, 8] -4@-5 1@34 1@17 8@[x21, x19, lsl 3]")
                     : : "r"(a), "r"(b), "r"(c) : "memory");
#endif
    if (*(volatile unsigned short *)&app_guarded_semaphore)
        __asm__ volatile(NOTE("app", "guarded", "app_guarded_semaphore", ""));
    __asm__ volatile(NOTE("app", "twice", "0", "4@$1" ));
    __asm__ volatile(NOTE("app", "twice", "0", "4@$2" ));
    __asm__ volatile(NOTE("other", "args", "0", ""));
    return a + global;
}

int main(void) {
    long words[3] = {100, 200, 300}, sum = 0;
    for (long i = 1; i < 3; i++)
        sum += probed(i, "text", words);
    printf("%ld %d\n", sum, app_guarded_semaphore);
    return 0;
}
