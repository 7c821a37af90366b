/* expect: exit 0 */
/* Every form of input and output: SIGSEGV at the instruction itself, and the system call right behind it is not made. */
#define _GNU_SOURCE
#include <signal.h>
#include <ucontext.h>
#include <unistd.h>

static volatile int caught;
static unsigned long expected, resume;

static void handler(int signo, siginfo_t *info, void *context)
{
	greg_t *registers = ((ucontext_t *)context)->uc_mcontext.gregs;
	if (signo != SIGSEGV || info->si_code != SI_KERNEL || info->si_addr || (unsigned long)registers[REG_RIP] != expected)
		_exit(1);
	caught++;
	registers[REG_RIP] = resume;
}

#define TRY(text)                                                                                     \
	do {                                                                                          \
		__asm__ volatile("lea 1f(%%rip), %%rax\n\tmov %%rax, %0\n\tlea 2f(%%rip), %%rax\n\tmov %%rax, %1\n\t" \
				 "mov $0x3f8, %%edx\n\tmov $1, %%ecx\n\tlea -64(%%rsp), %%rdi\n\tmov %%rdi, %%rsi\n\t"        \
				 "mov $231, %%eax\n1:\t" text "\n\tmov $60, %%eax\n\tmov $3, %%edi\n\tsyscall\n2:"            \
				 : "=m"(expected), "=m"(resume) : : "rax", "rcx", "rdx", "rsi", "rdi", "r11", "memory", "cc");       \
		count++;                                                                              \
	} while (0)

int main(void)
{
	struct sigaction action = {.sa_sigaction = handler, .sa_flags = SA_SIGINFO};
	int count = 0;
	sigaction(SIGSEGV, &action, 0);
	TRY("inb $0x60, %%al");
	TRY("inl $0x60, %%eax");
	TRY("inb %%dx, %%al");
	TRY("inw %%dx, %%ax");
	TRY("inl %%dx, %%eax");
	TRY("outb %%al, $0x60");
	TRY("outb %%al, %%dx");
	TRY("outl %%eax, %%dx");
	TRY("insb");
	TRY("insl");
	TRY("rep insb");
	TRY("outsb");
	TRY("outsl");
	TRY("rep outsb");
	return caught == count ? 0 : 2;
}
