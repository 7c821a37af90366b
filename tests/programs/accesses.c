/*
 * Accesses of every kind to one word of memory, each kind TIMES times and under a name of its own (PR_SET_NAME), for watchpoints.
 * Prints the word's physical address, then for each kind its name, how often it writes the word, and how often it writes or reads it.
 * With an argument the word is the last of a page.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <unistd.h>

enum { TIMES = 10, PAGE = 4096, PLACE = 512 };

static uint8_t aside[PAGE] __attribute__((aligned(PAGE))) = {1};
static int table_only;

static void begin(const char *name, int writes, int accesses)
{
    if (table_only)
        printf("%s %d %d\n", name, writes, accesses);
    prctl(PR_SET_NAME, table_only ? "table" : name);
}

/* name, times it writes and times it accesses the word at w in TIMES rounds, and what it does; o is memory elsewhere */
#define KIND(name, writes, accesses, ...)                       \
    begin(name, writes, accesses);                              \
    for (int i = 0; !table_only && i < TIMES; i++) {            \
        __VA_ARGS__;                                            \
    }
#define ASM(...) __asm__ volatile(__VA_ARGS__)

#ifdef __x86_64__
static void kinds(uint8_t *w, uint8_t *o)
{
    uint64_t a = 0, c;
    void *d, *s;

    KIND("load", 0, 10, ASM("mov (%0), %%rax" : : "r"(w) : "rax", "memory"))
    KIND("load1", 0, 10, ASM("movb 7(%0), %%al" : : "r"(w) : "rax", "memory"))
    KIND("store", 10, 10, ASM("movq $5, (%0)" : : "r"(w) : "memory"))
    KIND("store4", 10, 10, ASM("movl $5, 4(%0)" : : "r"(w) : "memory"))
    KIND("store2", 10, 10, ASM("movw $5, -1(%0)" : : "r"(w) : "memory"))
    KIND("beside", 0, 0, ASM("movb $5, 8(%0); movb $5, -1(%0); movw $5, -2(%0); mov 8(%0), %%rax" : : "r"(w) : "rax", "memory"))
    KIND("inc", 10, 10, ASM("incq (%0)" : : "r"(w) : "memory"))
    KIND("lock inc", 10, 10, ASM("lock incl (%0)" : : "r"(w) : "memory"))
    KIND("add", 10, 10, ASM("addq $1, (%0)" : : "r"(w) : "memory"))
    KIND("add from", 0, 10, ASM("addq (%0), %%rax" : : "r"(w) : "rax", "memory"))
    KIND("cmp", 0, 10, ASM("cmpq $1, (%0)" : : "r"(w) : "memory"))
    KIND("test", 0, 10, ASM("testb $1, (%0)" : : "r"(w) : "memory"))
    KIND("neg", 10, 10, ASM("negq (%0); notq 8(%0)" : : "r"(w) : "memory"))
    KIND("shl", 10, 10, ASM("shlq $1, (%0)" : : "r"(w) : "memory"))
    KIND("rol", 10, 10, ASM("rolq (%0)" : : "r"(w) : "memory"))
    KIND("shld", 10, 10, ASM("shldq $1, %1, (%0)" : : "r"(w), "r"(a) : "memory"))
    KIND("setcc", 10, 10, ASM("sete (%0)" : : "r"(w) : "memory"))
    KIND("bts", 10, 10, ASM("lock btsq $5, (%0)" : : "r"(w) : "memory"))
    KIND("bt", 0, 10, ASM("btq $5, (%0)" : : "r"(w) : "memory"))
    KIND("xchg", 10, 10, ASM("xchgq %1, (%0)" : : "r"(w), "r"(a) : "memory"))
    KIND("xadd", 10, 10, a = 1; ASM("lock xaddq %1, (%0)" : : "r"(w), "r"(a) : "memory"))
    KIND("cmpxchg", 10, 10, ASM("lock cmpxchgq %1, (%0)" : : "r"(w), "r"(a) : "rax", "memory"))
    KIND("cmpxchg alone", 10, 10, ASM("cmpxchgl %k1, (%0)" : : "r"(w), "r"(a) : "rax", "memory"))
    KIND("cmpxchg8b", 10, 10, ASM("lock cmpxchg8b (%0)" : : "r"(w) : "rax", "rdx", "memory"))
    KIND("cmpxchg16b", 10, 10, ASM("lock cmpxchg16b (%0)" : : "r"(w) : "rax", "rdx", "memory"))
    KIND("movsb from", 0, 10, d = o; s = w; ASM("movsb" : "+D"(d), "+S"(s) : : "memory"))
    KIND("movsq to", 10, 10, d = w; s = o; ASM("movsq" : "+D"(d), "+S"(s) : : "memory"))
    KIND("rep movsb", 80, 80, d = w - 8; s = o; c = 24; ASM("rep movsb" : "+D"(d), "+S"(s), "+c"(c) : : "memory"))
    KIND("rep stosl", 20, 20, d = w - 8; c = 6; ASM("rep stosl" : "+D"(d), "+c"(c) : "a"(0) : "memory"))
    KIND("cmpsb", 0, 10, d = o; s = w; ASM("cmpsb" : "+D"(d), "+S"(s) : : "memory"))
    KIND("scasq", 0, 10, d = w; ASM("scasq" : "+D"(d) : : "rax", "memory"))
    KIND("lodsq", 0, 10, s = w; ASM("lodsq" : "+S"(s) : : "rax", "memory"))
    KIND("push", 10, 10, ASM("mov %%rsp, %%rax; lea 8(%0), %%rsp; push %%rax; mov %%rax, %%rsp" : : "r"(w) : "rax", "memory"))
    KIND("push from", 0, 10, ASM("sub $256, %%rsp; push (%0); add $264, %%rsp" : : "r"(w) : "memory"))
    KIND("pop", 0, 10, ASM("mov %%rsp, %%rax; mov %0, %%rsp; pop %%rcx; mov %%rax, %%rsp" : : "r"(w) : "rax", "rcx", "memory"))
    KIND("pop to", 10, 10, ASM("push $1; pop (%0)" : : "r"(w) : "memory"))
    KIND("callee", 10, 10, ASM("lea 1f(%%rip), %%rax; mov %%rax, (%0); jmp 2f; 1: ret; 2:" : : "r"(w) : "rax", "memory"))
    KIND("call", 0, 10, ASM("sub $256, %%rsp; call *(%0); add $256, %%rsp" : : "r"(w) : "memory"))
    KIND("movaps", 0, 10, ASM("movaps (%0), %%xmm0" : : "r"(w) : "xmm0", "memory"))
    KIND("movaps to", 10, 10, ASM("movaps %%xmm0, (%0)" : : "r"(w) : "memory"))
    KIND("movups before", 10, 10, ASM("movups %%xmm0, -15(%0)" : : "r"(w) : "memory"))
    KIND("movnti", 10, 10, ASM("movnti %%rax, (%0)" : : "r"(w) : "memory"))
    KIND("fxsave", 10, 10, ASM("fxsave (%0)" : : "r"(w - 256) : "memory"))
    KIND("fxrstor", 0, 10, ASM("fxrstor (%0)" : : "r"(w - 256) : "memory"))
    KIND("fld", 0, 10, ASM("fldl (%0); fstp %%st(0)" : : "r"(w) : "memory"))
    KIND("fstp", 10, 10, ASM("fldz; fstpt (%0)" : : "r"(w) : "memory"))
    KIND("prefetch", 0, 0, ASM("prefetcht0 (%0)" : : "r"(w) : "memory"))
}
#else
static void kinds(uint8_t *w, uint8_t *o)
{
    KIND("load", 0, 10, ASM("ldr x9, [%0]" : : "r"(w) : "x9", "memory"))
    KIND("load1", 0, 10, ASM("ldrb w9, [%0, 7]" : : "r"(w) : "x9", "memory"))
    KIND("store", 10, 10, ASM("str xzr, [%0]" : : "r"(w) : "memory"))
    KIND("store4", 10, 10, ASM("str wzr, [%0, 4]" : : "r"(w) : "memory"))
    KIND("store2", 10, 10, ASM("sturh wzr, [%0, -1]" : : "r"(w) : "memory"))
    KIND("beside", 0, 0, ASM("strb wzr, [%0, 8]; sturb wzr, [%0, -1]; ldr x9, [%0, 8]" : : "r"(w) : "x9", "memory"))
    KIND("ldp", 0, 10, ASM("ldp x9, x10, [%0, -8]" : : "r"(w) : "x9", "x10", "memory"))
    KIND("ldp apart", 0, 10, ASM("ldp x9, x10, [%0]" : : "r"(w - 4) : "x9", "x10", "memory"))
    KIND("stp", 10, 10, ASM("stp x9, x10, [%0, -8]" : : "r"(w) : "memory"))
    KIND("ldr q", 0, 10, ASM("ldr q0, [%0]" : : "r"(w) : "v0", "memory"))
    KIND("str q", 10, 10, ASM("str q0, [%0]" : : "r"(w) : "memory"))
    KIND("str q before", 10, 10, ASM("stur q0, [%0, -15]" : : "r"(w) : "memory"))
    KIND("st1", 10, 10, ASM("st1 {v0.16b, v1.16b}, [%0]" : : "r"(w - 16) : "memory"))
    KIND("ld1", 0, 10, ASM("ld1 {v0.16b}, [%0]" : : "r"(w) : "v0", "memory"))
    KIND("exclusive", 10, 20, ASM("1: ldxr x9, [%0]; stxr w10, x9, [%0]; cbnz w10, 1b" : : "r"(w) : "x9", "x10", "memory"))
    KIND("exclusive pair", 10, 20, ASM("1: ldxp x9, x11, [%0]; stxp w10, x9, x11, [%0]; cbnz w10, 1b" : : "r"(w) : "x9", "x10", "x11", "memory"))
    KIND("ldar", 0, 10, ASM("ldar x9, [%0]" : : "r"(w) : "x9", "memory"))
    KIND("stlr", 10, 10, ASM("stlr x9, [%0]" : : "r"(w) : "memory"))
    KIND("literal", 0, 0, ASM("ldr x9, 1f; b 2f; 1: .quad 5; 2:" : : : "x9", "memory"))
    KIND("stnp", 10, 10, ASM("stnp x9, x10, [%0]" : : "r"(w) : "memory"))
    KIND("dc zva", 10, 10, ASM("dc zva, %0" : : "r"(w + 40) : "memory"))
    KIND("dc zva beside", 0, 0, ASM("dc zva, %0" : : "r"(w + 64) : "memory"))
    KIND("dc cvau", 0, 0, ASM("dc cvau, %0" : : "r"(w) : "memory"))
    KIND("prfm", 0, 0, ASM("prfm pldl1keep, [%0]" : : "r"(w) : "memory"))
}
#endif

/* The last word of a page, by accesses that go on in the next page. */
static void crossing(uint8_t *w)
{
    KIND("crossing", 0, 10, (void)*(volatile uint64_t *)(w + 4))
    KIND("crossing to", 10, 10, *(volatile uint64_t *)(w + 4) = i)
}

int main(int argc, char **argv)
{
    uint8_t *page = mmap(NULL, 2 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0), *word = page + PLACE;
    uint64_t entry = 0;
    int file = open("/proc/self/pagemap", O_RDONLY), ends = argc > 1;

    if (ends)
        word = page + PAGE - 8;
    page[0] = page[PAGE] = aside[0];
    aside[64] = 1; /* or an instruction that reads the word and writes here would be executed twice */
    if (file < 0 || pread(file, &entry, 8, (uintptr_t)page / PAGE * 8) != 8)
        return 1;
    table_only = 1;
    printf("%#llx\n", (unsigned long long)((entry & ((UINT64_C(1) << 55) - 1)) * PAGE + (word - page)));
    ends ? crossing(word) : kinds(word, aside + 64);
    table_only = 0;
    ends ? crossing(word) : kinds(word, aside + 64);
    prctl(PR_SET_NAME, "done");
    return 0;
}
