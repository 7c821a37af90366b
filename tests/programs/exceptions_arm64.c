/* Exceptions of an arm64 processor, and what their signals say. */
#define _GNU_SOURCE
#include <setjmp.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <ucontext.h>
#include <unistd.h>

#include "exceptions.h"

static void place(const char *name, uint64_t value)
{
    if (value - where < 32)
        printf(" %s=pc+%d", name, (int)(value - where));
    else if (area && value - (area << 8 >> 8) < 3 * 4096)
        printf(" %s=area+%#x", name, (int)(value - (area << 8 >> 8)));
    else
        printf(" %s=%#lx", name, value);
}

static void caught(int number, siginfo_t *info, void *context)
{
    mcontext_t *m = &((ucontext_t *)context)->uc_mcontext;
    struct { uint32_t magic, size; uint64_t esr; } *record = (void *)m->__reserved;

    printf("signal %d code %d", number, info->si_code);
    place("addr", (uint64_t)info->si_addr);
    place("pc", m->pc);
    place("fault", m->fault_address);
#ifdef ESR
    for (; record->magic; record = (void *)((char *)record + record->size))
        if (record->magic == 0x45535201)
            printf(" esr %#lx", (unsigned long)record->esr);
#endif
    printf("\n");
    siglongjmp(back, 1);
}

#define CASE(title, code, ...)                                                                                                             \
    printf("%s: ", title);                                                                                                                 \
    if (!sigsetjmp(back, 1)) {                                                                                                             \
        asm volatile("adr x0, 1f; str x0, [%0]; mov x0, %1; 1: " code : : "r"(&where), "r"(area) : "x0", "x1", "x2", "x3", "x30", "memory");     \
        printf("nothing\n");                                                                                                               \
    }

int main(void)
{
    catch_all(caught);
    CASE("udf", "udf #0");
    CASE("udf 5", "udf #5");
    CASE("not allocated", ".inst 0x00ffffff");
    CASE("brk 0", "brk #0");
    CASE("brk 1000", "brk #1000");
    CASE("hlt", "hlt #1");
    CASE("hvc", "hvc #0");
    CASE("smc", "smc #0");
    CASE("eret", "eret");
    CASE("wfi", "wfi");
    CASE("dcps1", "dcps1");
    CASE("msr daifset", "msr daifset, #2");
    CASE("mrs ttbr0", "mrs x1, ttbr0_el1");
    CASE("mrs sctlr", "mrs x1, sctlr_el1");
    CASE("msr sctlr", "msr sctlr_el1, x1");
    CASE("msr spsel", "msr spsel, #1");
    CASE("mrs currentel", "mrs x1, currentel");
    CASE("mrs cntfrq", "mrs x1, cntfrq_el0");
    CASE("msr cntfrq", "msr cntfrq_el0, x1");
    CASE("mrs midr", "mrs x1, midr_el1");
    CASE("mrs mpidr", "mrs x1, mpidr_el1");
    CASE("mrs revidr", "mrs x1, revidr_el1");
    CASE("mrs isar0", "mrs x1, id_aa64isar0_el1");
    CASE("mrs pfr0", "mrs x1, id_aa64pfr0_el1");
    CASE("mrs mmfr0", "mrs x1, id_aa64mmfr0_el1");
    CASE("mrs 7 of midr's", "mrs x1, s3_0_c0_c0_7");
    CASE("mrs 1 of midr's", "mrs x1, s3_0_c0_c0_1");
    CASE("mrs c1", "mrs x1, s3_0_c0_c1_0");
    CASE("mrs mmfr0's value", "mrs x1, id_aa64mmfr0_el1; mov x2, #0xff000000; movk x2, #0x111, lsl #32; sub x1, x1, x2; cbz x1, 2f; udf #1; 2:");
    CASE("mrs pfr1's value", "mrs x1, id_aa64pfr1_el1; cbz x1, 2f; udf #1; 2:");
    CASE("mrs aidr", "mrs x1, aidr_el1");
    CASE("mrs ctr", "mrs x1, ctr_el0");
    CASE("mrs dczid", "mrs x1, dczid_el0");
    CASE("mrs tpidrro", "mrs x1, tpidrro_el0");
    CASE("mrs pmccntr", "mrs x1, pmccntr_el0");
    CASE("mrs cntpct", "mrs x1, cntpct_el0");
    CASE("ic iallu", "ic iallu");
    CASE("dc ivac", "dc ivac, x0");
    CASE("dc isw", "dc isw, x0");
    CASE("tlbi", "tlbi vmalle1");
    CASE("at", "at s1e1r, x0");
#ifndef BOOTED /* in an emulator that does not check */
    CASE("unaligned pc", "adr x1, 1b; add x1, x1, #2; br x1");
    CASE("unaligned sp", "mov x2, sp; sub x1, x2, #8; mov sp, x1; add x3, x3, #1; ldr x3, [sp]; mov sp, x2");
    CASE("unaligned sp, stored by", "mov x2, sp; sub sp, sp, #4; stp x3, x4, [sp, #-64]!; mov sp, x2");
    CASE("unaligned sp by writing back", "mov x2, sp; str x3, [sp, #-8]!; ldr x3, [x2]; ldrb w3, [sp, #9]; mov sp, x2");
    CASE("unaligned sp, not used", "mov x2, sp; and sp, x2, #-16; sub sp, sp, #24; ldr x3, [x2]; prfm pldl1keep, [sp]; add sp, sp, #24; ldr x3, [sp]; mov sp, x2");
    CASE("unaligned acquire", "adr x1, 1b; add x1, x1, #1; ldar x2, [x1]");
    CASE("unaligned release", "adr x1, 1b; add x1, x1, #2; stlr w2, [x1]");
    CASE("unaligned acquire of a byte", "adr x1, 1b; add x1, x1, #1; ldarb w2, [x1]");
    CASE("unaligned swap", "adr x1, 1b; add x1, x1, #1; swpal x2, x3, [x1]");
    CASE("unaligned load", "adr x1, 1b; ldr x2, [x1, #1]; ldp x2, x3, [x1]; ldur x2, [x1, #3]");
#endif
    CASE("division by zero", "mov x1, #0; udiv x1, x0, x1");
    CASE("unaligned exclusive", "adr x1, 1b; add x1, x1, #1; ldxr x2, [x1]");

    area = 0;
    CASE("read of 0", "ldr x1, [x0]");
    CASE("write to 0", "str x1, [x0]");
    area = 0x123450;
    CASE("read of nothing", "ldr x1, [x0, #8]");
    CASE("write to nothing", "strb w1, [x0, #3]");
    CASE("jump to nothing", "br x0");
    CASE("call of nothing", "blr x0");
    CASE("dc cvau of nothing", "dc cvau, x0");
    CASE("ic ivau of nothing", "ic ivau, x0");
    CASE("dc zva of nothing", "dc zva, x0");
    CASE("prefetch of nothing", "prfm pldl1keep, [x0]");
    area = 0xffff800008000000;
    CASE("read of the kernel", "ldr x1, [x0]");
    CASE("jump to the kernel", "br x0");
    area = 0x0100800000000000;
    CASE("read of no address", "ldr x1, [x0]");
    area = (uint64_t)mmap(0, 3 * 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    memset((char *)area, 0x1f, 3 * 4096);
    CASE("dc civac of memory", "dc civac, x0");
    CASE("dc zva of memory", "dc zva, x0; ldr x1, [x0]; cbz x1, 2f; udf #1; 2:");
    area |= 1UL << 56;
    CASE("a tagged read", "ldr x1, [x0]");
    area &= ~(1UL << 56);
    mprotect((char *)area, 4096, PROT_READ);
    CASE("write to what is read only", "str x1, [x0, #16]");
    CASE("execution of data", "br x0");
    area |= 1UL << 56;
    CASE("a tagged write", "str x1, [x0]");
    area &= ~(1UL << 56);
    mprotect((char *)area, 4096, PROT_NONE);
    CASE("read of what is protected", "ldr x1, [x0, #8]");
    CASE("write to what is protected", "str x1, [x0, #8]");
    munmap((char *)area + 8192, 4096);
    CASE("a read across the end", "add x0, x0, #4092; add x0, x0, #4096; ldr x1, [x0]");
    FILE *file = tmpfile();
    fputs("short", file);
    fflush(file);
    area = (uint64_t)mmap(0, 3 * 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fileno(file), 0);
    CASE("read behind the end of a file", "ldr x1, [x0, #4096]");
    return 0;
}
