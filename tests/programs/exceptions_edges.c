/* Instructions at the edge of what programs may do on x86-64: segments, flags, far returns, single steps. */
#define _GNU_SOURCE
#include <ucontext.h>
#include <unistd.h>
#include "exceptions.h"
static void place(const char *name, uint64_t value)
{
    if (value - where < 24) printf(" %s=pc+%d", name, (int)(value - where));
    else printf(" %s=%#lx", name, value);
}
static void caught(int number, siginfo_t *info, void *context)
{
    greg_t *r = ((ucontext_t *)context)->uc_mcontext.gregs;
    asm volatile("xor %%eax,%%eax; cld" ::: "eax");
    printf("signal %d code %d", number, info->si_code);
    place("addr", (uint64_t)info->si_addr);
    place("rip", r[REG_RIP]);
    printf(" trapno %d err %#x flags %x\n", (int)r[REG_TRAPNO], (int)r[REG_ERR], (int)r[REG_EFL] & 0x50d00);
    siglongjmp(back, 1);
}
#define CASE(title, code) \
    printf("%s: ", title); \
    if (!sigsetjmp(back, 1)) { \
        asm volatile("lea 1f(%%rip), %%rax; mov %%rax, %0; mov %1, %%rax; 1: " code : "=m"(where) : "m"(area) : "rax", "rbx", "rcx", "rdx", "rsi", "rdi", "r8", "r10", "r11", "memory"); \
        printf("nothing\n"); \
    }
int main(void)
{
    catch_all(caught);
    CASE("lret", "lea 2f(%%rip), %%rax; push $0x33; push %%rax; lretq; 2:")
    CASE("lret to 0x23 kernel cs", "lea 2f(%%rip), %%rax; push $0x10; push %%rax; lretq; 2:")
    CASE("lret bad", "lea 2f(%%rip), %%rax; push $0x1234; push %%rax; lretq; 2:")
    CASE("lret null", "lea 2f(%%rip), %%rax; push $0; push %%rax; lretq; 2:")
    CASE("iretq", "mov %%rsp, %%rcx; lea 2f(%%rip), %%rax; push $0x2b; push %%rcx; pushf; push $0x33; push %%rax; iretq; 2:")
    CASE("iretq bad", "mov %%rsp, %%rcx; lea 2f(%%rip), %%rax; push $0x2b; push %%rcx; pushf; push $0x10; push %%rax; iretq; 2:")
    CASE("rdfsbase", "rdfsbase %%rax")
    CASE("wrfsbase", "rdfsbase %%rax; wrfsbase %%rax")
    CASE("rdgsbase", "rdgsbase %%rax")
    CASE("rdtsc", "rdtsc")
    CASE("smsw", "smsw %%eax")
    CASE("sidt", "sidt -32(%%rsp)")
    CASE("sgdt", "sgdt -32(%%rsp)")
    CASE("sldt", "sldt %%eax")
    CASE("str", "str %%eax")
    CASE("verr", "mov $0x2b, %%eax; verr %%ax")
    CASE("lar", "mov $0x33, %%eax; lar %%ax, %%ecx")
    CASE("lsl", "mov $0x33, %%eax; lsl %%ax, %%ecx")
    CASE("mov es", "mov %%es, %%eax; mov %%eax, %%es")
    CASE("mov fs null", "mov %%fs, %%eax")
    CASE("mov ss", "mov %%ss, %%eax; mov %%eax, %%ss")
    CASE("mov gs null", "xor %%eax, %%eax; mov %%eax, %%gs")
    CASE("mov cs", ".byte 0x8e, 0xc8")
    CASE("mov seg6", ".byte 0x8e, 0xf0")
    CASE("pop fs", "push %%fs; pop %%gs")
    CASE("pushf vm", "pushf; orl $0x20000, (%%rsp); popf")
    CASE("popf iopl", "pushf; orl $0x3000, (%%rsp); popf; pushf; popq %%rax; and $0x3000, %%eax; jz 2f; ud2; 2:")
    CASE("popf if", "pushf; andl $~0x200, (%%rsp); popf; pushf; popq %%rax; and $0x200, %%eax; jnz 2f; ud2; 2:")
    CASE("popf id", "pushf; xorl $0x200000, (%%rsp); popf; pushf; popq %%rax; and $0x200000, %%eax; jnz 2f; ud2; 2: xor $0x200000, %%eax; push %%rax; popf")
    CASE("8f /1", ".byte 0x8f,0xc8")
    CASE("xabort", ".byte 0xc6,0xf8,0x00")
    CASE("enter", "enter $16, $0; leave")
    CASE("enter 1", "enter $32, $1; leave")
    CASE("int3 in code", "int3; nop")
    CASE("xgetbv", "xor %%ecx, %%ecx; xgetbv; cmp $3, %%eax; jb 2f; nop; 2:")
    CASE("cmpxchg16b lock reg", ".byte 0xf0,0x0f,0xc7,0xc8")
    CASE("lea reg", ".byte 0x8d,0xc0")
    CASE("salc", ".byte 0xd6")
    CASE("aam", ".byte 0xd4,0x0a")
    CASE("les", ".byte 0xc4,0x00")
    CASE("push cs", ".byte 0x0e")
    CASE("pusha", ".byte 0x60")
    CASE("call far", ".byte 0x9a,0,0,0,0,0,0")
    CASE("jmp far", ".byte 0xea,0,0,0,0,0,0")
    CASE("loadall", ".byte 0x0f,0x05+0x01")
    CASE("getsec", ".byte 0x0f,0x37")
    CASE("rsm", ".byte 0x0f,0xaa")
    CASE("0f0a",".byte 0x0f,0x0a")
    CASE("0f04",".byte 0x0f,0x04")
    CASE("0fb9",".byte 0x0f,0xb9,0xc0")
    CASE("fe /2", ".byte 0xfe,0xd0")
    CASE("ff /7", ".byte 0xff,0xf8")
    CASE("c6 /1", ".byte 0xc6,0xc8,0x00")
    CASE("bswap16", ".byte 0x66,0x0f,0xc8")
    CASE("movbe reg", ".byte 0x0f,0x38,0xf0,0xc0")
    CASE("endbr", "endbr64")
    CASE("clflush", "clflush (%%rsp)")
    CASE("prefetchw", "prefetchw (%%rsp)")
    CASE("lfence", "lfence; mfence; sfence")
    CASE("pause", "pause")
    CASE("nopl", "nopl (%%rax)")
    CASE("nop rm null", ".byte 0x0f,0x1f,0x00")
    CASE("rep ret", "call 2f; jmp 3f; 2: rep ret; 3:")
    CASE("ud0 mem", ".byte 0x0f,0xff,0x00")
    CASE("std", "std; cld")
    CASE("xlat", "lea where(%%rip), %%rbx; xlat")
    CASE("syscall rcx r11", "mov $39, %%eax; syscall; 2: lea 2b(%%rip), %%rdx; cmp %%rdx, %%rcx; je 3f; ud2; 3: pushf; pop %%rdx; xor %%r11, %%rdx; and $0x200, %%edx; jz 4f; ud2; 4:")
    CASE("syscall flags", "std; stc; mov $39, %%eax; syscall; pushf; pop %%rdx; cld; test $1, %%dl; jnz 2f; ud2; 2: test $0x400, %%edx; jnz 3f; ud2; 3:")
    CASE("jmp noncanonical", "mov $0x800000000000, %%rax; jmp *%%rax")
    CASE("ret noncanonical", "mov $0x8000000000000000, %%rax; push %%rax; ret")
    CASE("TF syscall", "pushf; orl $0x100, (%%rsp); popf; mov $39, %%eax; syscall; nop")
    CASE("TF rep movs", "mov $4, %%ecx; lea -128(%%rsp), %%rdi; lea -64(%%rsp), %%rsi; pushf; orl $0x100, (%%rsp); popf; rep movsb; nop")
    CASE("TF mov ss", "mov %%ss, %%ecx; pushf; orl $0x100, (%%rsp); popf; mov %%ecx, %%ss; nop; nop")
    CASE("TF int3", "pushf; orl $0x100, (%%rsp); popf; int3")
    CASE("TF cpuid", "pushf; orl $0x100, (%%rsp); popf; cpuid; nop")
    CASE("TF jmp", "pushf; orl $0x100, (%%rsp); popf; jmp 2f; nop; 2: nop")
    CASE("TF ud2", "pushf; orl $0x100, (%%rsp); popf; ud2")
    CASE("TF popf off", "pushf; pushf; orl $0x100, (%%rsp); popf; popf; nop")
    return 0;
}
