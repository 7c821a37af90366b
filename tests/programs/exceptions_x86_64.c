/* Exceptions of an x86-64 processor, and what their signals say: where, why, and the trap's number and error code. */
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
    if (value - where < 16)
        printf(" %s=pc+%d", name, (int)(value - where));
    else if (area && value - area < 3 * 4096)
        printf(" %s=area+%#x", name, (int)(value - area));
    else
        printf(" %s=%#lx", name, value);
}

static void caught(int number, siginfo_t *info, void *context)
{
    greg_t *r = ((ucontext_t *)context)->uc_mcontext.gregs;

    printf("signal %d code %d", number, info->si_code);
    place("addr", (uint64_t)info->si_addr);
    place("rip", r[REG_RIP]);
    printf(" trapno %d err %#x", (int)r[REG_TRAPNO], (int)r[REG_ERR]);
    if (r[REG_TRAPNO] == 14)
        place("cr2", r[REG_CR2]);
    printf("\n");
    siglongjmp(back, 1);
}

#define CASE(title, code, ...)                                                                                                             \
    printf("%s: ", title);                                                                                                                 \
    if (!sigsetjmp(back, 1)) {                                                                                                             \
        asm volatile("lea 1f(%%rip), %%rax; mov %%rax, %0; mov %1, %%rax; 1: " code : "=m"(where) : "m"(area) : "rax", "rbx", "rcx", "rdx", "r10", "memory");       \
        printf("nothing\n");                                                                                                               \
    }

static void sent(int number, siginfo_t *info, void *context)
{
    greg_t *r = ((ucontext_t *)context)->uc_mcontext.gregs;
    printf("sent: trapno %d err %#x\n", (int)r[REG_TRAPNO], (int)r[REG_ERR]);
}

int main(void)
{
    struct sigaction other = {.sa_sigaction = sent, .sa_flags = SA_SIGINFO};

    catch_all(caught);
    sigaction(SIGUSR1, &other, 0);
    raise(SIGUSR1);

    CASE("in", "inb $0x60, %%al; movl $1, where(%%rip)");
    CASE("in dx", "mov $0x80, %%edx; inl %%dx, %%eax");
    CASE("out", "outb %%al, $0x80; syscall");
    CASE("outs", "push %%rsi; outsb; pop %%rsi");
    CASE("hlt", "hlt");
    CASE("cli", "cli");
    CASE("sti", "sti");
    CASE("rdpmc", "xor %%ecx, %%ecx; rdpmc");
    CASE("rdmsr", "rdmsr");
    CASE("wrmsr", "wrmsr");
    CASE("swapgs", "swapgs");
    CASE("clts", "clts");
    CASE("lgdt", "lgdt where(%%rip)");
    CASE("lidt", "lidt where(%%rip)");
    CASE("ltr", "mov $0x40, %%ax; ltr %%ax");
    CASE("lldt", "mov $0, %%ax; lldt %%ax");
    CASE("lmsw", "lmsw %%ax");
    CASE("mov to cr0", "mov %%rax, %%cr0");
    CASE("mov from cr3", "mov %%cr3, %%rax");
    CASE("mov from cr8", "mov %%cr8, %%rax");
    CASE("mov to dr7", "mov %%rax, %%dr7");
    CASE("invlpg", "invlpg (%%rax)");
    CASE("invd", "invd");
    CASE("wbinvd", "wbinvd");
    CASE("sysretq", "sysretq");
    CASE("vmcall", "vmxoff");
    CASE("xsetbv", "xsetbv");
    CASE("monitor", "monitor");
    CASE("ud2", "ud2");
    CASE("ud1", "ud1 %%eax, %%ebx");
    CASE("ud0", ".byte 0x0f, 0xff, 0xc0");
    CASE("into", ".byte 0xce");
    CASE("push es", ".byte 0x06");
    CASE("daa", ".byte 0x27");
    CASE("bound", ".byte 0x62, 0x00, 0x00, 0x00, 0x00, 0x00");
    CASE("lock nop", ".byte 0xf0, 0x90");
    CASE("lock mov", ".byte 0xf0, 0x89, 0x00");
    CASE("too long", ".byte 0x66,0x66,0x66,0x66,0x66,0x66,0x66,0x66,0x66,0x66,0x66,0x66,0x66,0x66,0x66,0x90");
    CASE("int3", "int3");
    CASE("int $3", ".byte 0xcd, 3");
    CASE("int $4", "int $4");
    CASE("int $0x20", "int $0x20");
    CASE("int $13", "int $13");
    CASE("int $14", "int $14");
    CASE("int $0xff", "int $0xff");
    CASE("divide by zero", "xor %%ecx, %%ecx; xor %%edx, %%edx; div %%ecx");
    CASE("quotient too large", "mov $2, %%edx; mov $1, %%ecx; div %%ecx");
    CASE("idiv of the least", "mov $0x8000000000000000, %%rax; cqo; mov $-1, %%rcx; idiv %%rcx");
    CASE("a bad selector", "mov $0x1234, %%ax; mov %%ax, %%ds");
    CASE("a selector of the kernel", "mov $0x18, %%ax; mov %%ax, %%es");
    CASE("no stack segment", "xor %%eax, %%eax; mov %%ax, %%ss");
    CASE("a bad fs", "mov $0x1237, %%ax; mov %%ax, %%fs");
    CASE("null ds", "xor %%eax, %%eax; mov %%ax, %%ds");

    area = 0;
    CASE("read of 0", "mov (%%rax), %%rbx");
    CASE("write to 0", "mov %%rbx, (%%rax)");
    area = 0x123450;
    CASE("read of nothing", "mov 8(%%rax), %%rbx");
    CASE("write to nothing", "movb $1, 3(%%rax)");
    CASE("jump to nothing", "jmp *%%rax");
    CASE("call of nothing", "call *%%rax");
    area = 0xffffffff81000000;
    CASE("read of the kernel", "mov (%%rax), %%rbx");
    CASE("write to the kernel", "mov %%rbx, (%%rax)");
    CASE("jump to the kernel", "jmp *%%rax");
    area = 0x7ffffffff000;
    CASE("read behind the end", "mov (%%rax), %%rbx");
    area = 0x8000000000000000;
    CASE("read of no address", "mov (%%rax), %%rbx");
    CASE("write to no address", "mov %%rbx, (%%rax)");
    CASE("jump to no address", "jmp *%%rax");
    CASE("no address by the stack pointer", "mov %%rsp, %%r10; mov %%rax, %%rsp; pop %%rbx; mov %%r10, %%rsp");
    CASE("no address by the frame pointer", "mov %%rbp, %%r10; mov %%rax, %%rbp; mov 8(%%rbp), %%rbx; mov %%r10, %%rbp");

    area = (uint64_t)mmap(0, 3 * 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    memset((char *)area, 0xc3, 3 * 4096);
    mprotect((char *)area, 4096, PROT_READ);
    CASE("write to what is read only", "mov %%rbx, 16(%%rax)");
    CASE("execution of data", "call *%%rax");
    CASE("execution in mid-page", "add $5, %%rax; jmp *%%rax");
    mprotect((char *)area, 4096, PROT_NONE);
    CASE("read of what is protected", "mov 5(%%rax), %%bl");
    CASE("write to what is protected", "mov %%bl, 5(%%rax)");
    CASE("execution of what is protected", "jmp *%%rax");
    mprotect((char *)area, 3 * 4096, PROT_READ | PROT_WRITE | PROT_EXEC);
    memset((char *)area, 0x90, 4096);
    mprotect((char *)area + 4096, 4096, PROT_READ);
    CASE("running into data", "add $0xff0, %%rax; jmp *%%rax");
    munmap((char *)area + 8192, 4096);
    CASE("a read across the end", "mov 8188(%%rax), %%rbx");
    CASE("a write across the end", "mov %%rbx, 8192(%%rax)");
    FILE *file = tmpfile();
    fputs("short", file);
    fflush(file);
    area = (uint64_t)mmap(0, 3 * 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fileno(file), 0);
    CASE("read behind the end of a file", "mov 4096(%%rax), %%rbx");
    CASE("write behind the end of a file", "mov %%rbx, 8192(%%rax)");
    area = (uint64_t)mmap(0, 3 * 4096, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    CASE("write to what nobody has touched", "mov %%rbx, 4096(%%rax)");
    raise(SIGUSR1);
    printf("single step: ");
    if (!sigsetjmp(back, 1)) {
        asm volatile("lea 1f(%%rip), %%rax; mov %%rax, %0; pushf; orl $0x100, (%%rsp); popf; nop; 1: nop; nop" : "=m"(where) : : "rax", "memory");
        printf("nothing\n");
    }
    unsigned short control = 0x37f & ~4;
    printf("x87 division: ");
    if (!sigsetjmp(back, 1)) {
        asm volatile("fldcw %1; fld1; fldz; fdivrp; lea 1f(%%rip), %%rax; mov %%rax, %0; 1: fwait" : "=m"(where) : "m"(control) : "rax", "memory");
        printf("nothing\n");
    }
    asm volatile("fninit");
    return 0;
}
