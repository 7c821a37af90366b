/* Exceptions of floating point, and of operands that are not aligned, on x86-64. */
#define _GNU_SOURCE
#include <fenv.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <ucontext.h>
#include <unistd.h>
#include "exceptions.h"
static void place(const char *name, uint64_t value)
{
    if (value - where < 16) printf(" %s=pc+%d", name, (int)(value - where));
    else printf(" %s=%#lx", name, value);
}
static unsigned control;
static void caught(int number, siginfo_t *info, void *context)
{
    ucontext_t *u = context;
    greg_t *r = u->uc_mcontext.gregs;
    unsigned now; unsigned short cw;
    asm volatile("pushf; andl $~0x40000, (%%rsp); popf" ::: "cc");
    asm volatile("stmxcsr %0; fnstcw %1" : "=m"(now), "=m"(cw));
    printf("signal %d code %d", number, info->si_code);
    place("addr", (uint64_t)info->si_addr);
    place("rip", r[REG_RIP]);
    printf(" trapno %d err %#x mxcsr %x sw %x now %x %x %#x\n", (int)r[REG_TRAPNO], (int)r[REG_ERR], u->uc_mcontext.fpregs->mxcsr&~2, u->uc_mcontext.fpregs->swd & 0x80ff, now, cw, r[REG_TRAPNO] == 19 ? u->uc_mcontext.fpregs->_xmm[0].element[0] : 0);
    r[REG_EFL] &= ~0x40000;
    siglongjmp(back, 1);
}
static char memory[256] __attribute__((aligned(64)));
#define MEM(text) control = 0x1f80; asm volatile("ldmxcsr %0" : : "m"(control)); \
    where = 0; printf("%s: ", text); \
    if (!sigsetjmp(back, 1)) { asm volatile("lea 1f(%%rip), %%rdx; mov %%rdx, %0; mov %1, %%rax; pcmpeqd %%xmm0, %%xmm0; 1: " text : "=m"(where) : "r"(memory + 8) : "rax", "rdx", "xmm0", "memory"); printf("fine\n"); }
#define AC(text, off) \
    where = 0; printf("AC %s+%d: ", text, off); \
    if (!sigsetjmp(back, 1)) { asm volatile("lea 1f(%%rip), %%rdx; mov %%rdx, %0; mov %1, %%rax; pushf; orl $0x40000, (%%rsp); popf; 1: " text "; pushf; andl $~0x40000, (%%rsp); popf;" : "=m"(where) : "r"(memory + off) : "rax", "rdx", "rbx", "xmm0", "memory"); printf("fine\n"); }

#define XM(mask, text) \
    where = 0; printf("unmasked %x %s: ", mask, text); control = 0x1f80 & ~((mask) << 7); \
    if (!sigsetjmp(back, 1)) { asm volatile("lea 1f(%%rip), %%rdx; mov %%rdx, %0; ldmxcsr %1; movsd %2, %%xmm0; movsd %3, %%xmm1; xorps %%xmm2, %%xmm2; xor %%eax,%%eax; 1: " text "; " : "=m"(where) : "m"(control), "m"(one), "m"(three) : "rax", "rdx", "xmm0", "xmm1", "xmm2", "memory"); printf("fine\n"); } \
    control = 0x1f80; asm volatile("ldmxcsr %0" : : "m"(control));
static unsigned short cw;
#define X87(mask, text) \
    where = 0; printf("x87 %x %s: ", mask, text); cw = 0x37f & ~(mask); \
    if (!sigsetjmp(back, 1)) { asm volatile("fninit; lea 1f(%%rip), %%rdx; mov %%rdx, %0; fldcw %1; fldl %2; fldl %3; 1: " text "; " : "=m"(where) : "m"(cw), "m"(one), "m"(three) : "rax", "rdx", "xmm0", "xmm1", "xmm2", "memory"); printf("fine\n"); } \
    asm volatile("fninit");
double one = 1, three = 3, huge = 1e308, tiny = 1e-308;
int main(void)
{
    catch_all(caught);
    MEM("movaps (%%rax), %%xmm0")
    MEM("movaps %%xmm0, (%%rax)")
    MEM("movups (%%rax), %%xmm0")
    MEM("movdqa (%%rax), %%xmm0")
    MEM("movdqu %%xmm0,1(%%rax)")
    MEM("addps (%%rax), %%xmm0")
    MEM("addpd (%%rax), %%xmm0")
    MEM("addss 1(%%rax), %%xmm0")
    MEM("addsd 1(%%rax), %%xmm0")
    MEM("pxor (%%rax), %%xmm0")
    MEM("pshufd $1, (%%rax), %%xmm0")
    MEM("pshufb (%%rax), %%xmm0")
    MEM("movntdq %%xmm0, (%%rax)")
    MEM("movntps %%xmm0, (%%rax)")
    MEM("movntdqa (%%rax), %%xmm0")
    MEM("palignr $3, (%%rax), %%xmm0")
    MEM("lddqu 1(%%rax), %%xmm0")
    MEM("cvtps2pd 1(%%rax), %%xmm0")
    MEM("cvtdq2ps (%%rax), %%xmm0")
    MEM("cvtdq2pd 1(%%rax), %%xmm0")
    MEM("movhps 1(%%rax), %%xmm0")
    MEM("movq 1(%%rax), %%xmm0")
    MEM("movq %%xmm0, 1(%%rax)")
    MEM("movd 1(%%rax), %%xmm0")
    MEM("pcmpistri $0, (%%rax), %%xmm0")
    MEM("haddps (%%rax), %%xmm0")
    MEM("movddup 1(%%rax), %%xmm0")
    MEM("movshdup (%%rax), %%xmm0")
    MEM("pmovzxbw 1(%%rax), %%xmm0")
    MEM("shufps $0, (%%rax), %%xmm0")
    MEM("sqrtpd (%%rax), %%xmm0")
    MEM("sqrtsd 1(%%rax), %%xmm0")
    MEM("cmpps $0, (%%rax), %%xmm0")
    MEM("comisd 1(%%rax), %%xmm0")
    MEM("pinsrw $1, 1(%%rax), %%xmm0")
    MEM("punpcklbw (%%rax), %%xmm0")
    MEM("movdqa 8(%%rax), %%xmm0")
    MEM("aesenc (%%rax), %%xmm0")
    MEM("pclmulqdq $0, (%%rax), %%xmm0")
    MEM("fxsave (%%rax)")
    MEM("blendps $1, (%%rax), %%xmm0")
    MEM("roundsd $1, 1(%%rax), %%xmm0")
    MEM("cvtpd2ps (%%rax), %%xmm0")
    MEM("cvttpd2dq (%%rax), %%xmm0")
    MEM("unpcklps (%%rax), %%xmm0")
    MEM("maxps (%%rax), %%xmm0")
    MEM("pand (%%rax), %%xmm0")
    MEM("ptest (%%rax), %%xmm0")
    MEM("psadbw (%%rax), %%xmm0")
    MEM("cmpxchg16b (%%rax)")
    AC("mov (%%rax), %%rbx", 1)
    AC("mov (%%rax), %%rbx", 8)
    AC("mov %%bl, (%%rax)", 3)
    AC("mov %%bx, (%%rax)", 3)
    AC("mov %%ebx, (%%rax)", 2)
    AC("incl (%%rax)", 2)
    AC("movaps (%%rax), %%xmm0", 8)
    AC("movaps (%%rax), %%xmm0", 16)
    AC("xchg %%ebx, (%%rax)", 8)
    AC("movsd (%%rax), %%xmm0", 4)
    AC("movsd (%%rax), %%xmm0", 1)
    XM(4, "divsd %%xmm2, %%xmm0")
    XM(1, "divsd %%xmm2, %%xmm2")
    XM(32, "divsd %%xmm1, %%xmm0")
    XM(8, "divsd %%xmm1, %%xmm0")
    XM(63, "divsd %%xmm1, %%xmm0")
    XM(1, "sqrtsd %%xmm0, %%xmm0")
    XM(1, "movsd huge(%%rip), %%xmm0; nop; cvttsd2si %%xmm0, %%eax")
    XM(8, "movsd huge(%%rip), %%xmm0; nop; mulsd %%xmm0, %%xmm0")
    XM(16, "movsd tiny(%%rip), %%xmm0; nop; mulsd %%xmm0, %%xmm0")
    XM(4, "addsd %%xmm1, %%xmm0; divsd %%xmm2, %%xmm0")
    XM(1, "divsd %%xmm2, %%xmm0")
    XM(32, "cvtsd2ss %%xmm1, %%xmm0")
    XM(32, "cvtsd2si %%xmm1, %%eax")
    X87(4, "fldz; fdivrp; nop; fwait")
    X87(4, "fldz; fdivrp; fld1")
    X87(32, "fdivp; fld1")
    X87(4, "fdivp; fld1")
    X87(1, "fchs; fsqrt; fstpl memory(%%rip)")
    X87(4, "fldz; fdivrp; fnclex; fld1")
    X87(4, "fldz; fdivrp; fnstsw %%ax; fnstcw memory(%%rip); fld1")
    control = 0x10000; where = 0; printf("ldmxcsr: ");
    if (!sigsetjmp(back, 1)) { asm volatile("ldmxcsr %0" :: "m"(control)); printf("fine\n"); }
    control = 0x9fc0; asm volatile("ldmxcsr %0" :: "m"(control)); printf("%d\n", tiny * 1e-10 == 0); control = 0x1f80; asm volatile("ldmxcsr %0" :: "m"(control));
    volatile double t = tiny; printf("%d\n", t * 1e-10 == 0);
    feenableexcept(FE_DIVBYZERO);
    volatile double zero = 0; where = 0;
    if (!sigsetjmp(back, 1)) { printf("%g\n", one / zero); }
    printf("%x\n", fegetexcept());
    return 0;
}
