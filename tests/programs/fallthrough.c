/* Functions that run into each other: `second` is entered by a call and by falling through from `first`. */
#include <stdio.h>
long first(long), second(long);
#ifdef __x86_64__
__asm__(".text\n.globl first, second\n.type first,@function\n.type second,@function\n"
        "first: lea 1(%rdi), %rdi\n.size first, .-first\n"
        "second: lea 10(%rdi), %rax\nret\n.size second, .-second\n");
#else
__asm__(".text\n.globl first, second\n.type first,%function\n.type second,%function\n"
        "first: add x0, x0, #1\n.size first, .-first\n"
        "second: add x0, x0, #10\nret\n.size second, .-second\n");
#endif
int main(void) { printf("%ld %ld\n", first(1), second(1)); return 0; }
