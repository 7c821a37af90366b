/* What the bench runs: `target hits N` calls hit() N times, `target memory N` runs a loop with loads and stores, `target getppid N` makes N
 * system calls. With MANY it has that many functions hit_0, hit_1 ... more. No libc, so that the
 * plainest of emulator scripts can load it too. */
typedef unsigned long u64;

static u64 buffer[4096];

__attribute__((noinline, noclone)) u64 hit(u64 n)
{
	__asm__ volatile("" ::: "memory");
	return n + 1;
}

static __attribute__((noinline)) u64 hits(u64 n)
{
	u64 sum = 0;
	for (u64 i = 0; i < n; i++)
		sum += hit(i & 63);
	return sum;
}

static __attribute__((noinline)) u64 memory(u64 n)
{
	for (u64 i = 0; i < n; i++) {
		u64 at = i * 7 & 4095;
		buffer[at] = buffer[at ^ 1] + i;
	}
	return buffer[1];
}

static __attribute__((noinline)) u64 getppid(u64 n)
{
	u64 result = 0;
	for (u64 i = 0; i < n; i++)
		__asm__ volatile("syscall" : "=a"(result) : "a"(110L) : "rcx", "r11", "memory");
	return result;
}

#ifdef MANY
__asm__(".set n, 0\n.altmacro\n"
	".macro one n\n.globl hit_\\n\n.type hit_\\n, @function\nhit_\\n: lea 1(%rdi), %rax\nret\n.size hit_\\n, . - hit_\\n\n.endm\n"
	".rept " MANY "\none %n\n.set n, n + 1\n.endr\n");
#endif

static void leave(u64 status)
{
	__asm__ volatile("syscall" ::"a"(231L), "D"(status) : "rcx", "r11", "memory");
}

__attribute__((used)) void begin(u64 *stack)
{
	const char *what = (const char *)stack[2], *digits = (const char *)stack[3];
	u64 n = 0;
	while (*digits)
		n = n * 10 + (u64)(*digits++ - '0');
	u64 sum = what[0] == 'h' ? hits(n) : what[0] == 'g' ? getppid(n) : memory(n);
	leave(sum == 1);
}

__asm__(".globl _start\n_start:\n\txor %ebp, %ebp\n\tmov %rsp, %rdi\n\tand $-16, %rsp\n\tcall begin\n");
