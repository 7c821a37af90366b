/*
 * What the guest's first process calls: the kernel by its numbers on both architectures, the host by traps, and what a libc would have been
 * asked for. The numbers of traps are those of runtime/system/root/channel.py.
 */
typedef unsigned long u64;
typedef long s64;
typedef unsigned int u32;
typedef unsigned short u16;
typedef unsigned char u8;

enum { TRAP_HELLO = 0x50590000, TRAP_WAIT, TRAP_COMMAND, TRAP_FUSE, TRAP_START, TRAP_FAILED, TRAP_OUT, TRAP_EXIT };
enum { PROTOCOL = 1, VIEW = 0, STREAMS = 1, THE_GUEST = 0, THE_COMMAND = 1 };

#if defined(__x86_64__)
enum { O_DIRECT = 040000 };
enum { SYS_read = 0, SYS_write = 1, SYS_close = 3, SYS_mmap = 9, SYS_rt_sigprocmask = 14, SYS_ioctl = 16, SYS_socket = 41, SYS_clone = 56, SYS_execve = 59,
       SYS_exit = 60, SYS_wait4 = 61, SYS_fcntl = 72, SYS_chdir = 80, SYS_setuid = 105, SYS_setgid = 106, SYS_setsid = 112, SYS_setgroups = 116,
       SYS_sched_setscheduler = 144, SYS_mlock = 149, SYS_chroot = 161, SYS_mount = 165, SYS_reboot = 169, SYS_openat = 257, SYS_mkdirat = 258,
       SYS_symlinkat = 266, SYS_ppoll = 271, SYS_signalfd4 = 289, SYS_dup3 = 292, SYS_pipe2 = 293, SYS_finit_module = 313, SYS_statx = 332,
       SYS_umask = 95, SYS_faccessat = 269, SYS_fchmodat = 268, SYS_sethostname = 170, SYS_prctl = 157 };
static inline s64 syscall6(s64 n, s64 a, s64 b, s64 c, s64 d, s64 e, s64 f)
{
	register s64 r10 __asm__("r10") = d;
	register s64 r8 __asm__("r8") = e;
	register s64 r9 __asm__("r9") = f;
	s64 r;
	__asm__ volatile("syscall" : "=a"(r) : "a"(n), "D"(a), "S"(b), "d"(c), "r"(r10), "r"(r8), "r"(r9) : "rcx", "r11", "memory");
	return r;
}
/* A system call number that Linux will never have: the machine looks at it before the kernel is entered. */
static inline s64 trap(s64 n, s64 a, s64 b, s64 c, s64 d) { return syscall6(n, a, b, c, d, 0, 0); }
__asm__(".globl _start\n.type _start, @function\n_start:\n\txor %ebp, %ebp\n\tand $-16, %rsp\n\tcall begin\n.size _start, . - _start\n"
	".type spawn, @function\nspawn:\n\tmov %rdx, %r9\n\txor %edx, %edx\n\txor %r10d, %r10d\n\txor %r8d, %r8d\n\tmov $56, %eax\n\tsyscall\n"
	"\ttest %rax, %rax\n\tjnz 1f\n\txor %ebp, %ebp\n\tcall *%r9\n1:\tret\n.size spawn, . - spawn\n");
#elif defined(__aarch64__)
enum { O_DIRECT = 0200000 };
enum { SYS_read = 63, SYS_write = 64, SYS_close = 57, SYS_mmap = 222, SYS_rt_sigprocmask = 135, SYS_ioctl = 29, SYS_socket = 198, SYS_clone = 220, SYS_execve = 221,
       SYS_exit = 93, SYS_wait4 = 260, SYS_fcntl = 25, SYS_chdir = 49, SYS_setuid = 146, SYS_setgid = 144, SYS_setsid = 157, SYS_setgroups = 159,
       SYS_sched_setscheduler = 119, SYS_mlock = 228, SYS_chroot = 51, SYS_mount = 40, SYS_reboot = 142, SYS_openat = 56, SYS_mkdirat = 34,
       SYS_symlinkat = 36, SYS_ppoll = 73, SYS_signalfd4 = 74, SYS_dup3 = 24, SYS_pipe2 = 59, SYS_finit_module = 273, SYS_statx = 291,
       SYS_umask = 166, SYS_faccessat = 48, SYS_fchmodat = 53, SYS_sethostname = 161, SYS_prctl = 167 };
#define CALL(instruction)                                                                                                     \
	register s64 x8 __asm__("x8") = n;                                                                                    \
	register s64 x0 __asm__("x0") = a;                                                                                    \
	register s64 x1 __asm__("x1") = b;                                                                                    \
	register s64 x2 __asm__("x2") = c;                                                                                    \
	register s64 x3 __asm__("x3") = d;                                                                                    \
	register s64 x4 __asm__("x4") = e;                                                                                    \
	register s64 x5 __asm__("x5") = f;                                                                                    \
	__asm__ volatile(instruction : "+r"(x0) : "r"(x8), "r"(x1), "r"(x2), "r"(x3), "r"(x4), "r"(x5) : "memory"); \
	return x0
static inline s64 syscall6(s64 n, s64 a, s64 b, s64 c, s64 d, s64 e, s64 f) { CALL("svc #0"); }
/* Linux looks at no immediate of SVC: this one is told from a system call by the machine alone. */
static inline s64 trap6(s64 n, s64 a, s64 b, s64 c, s64 d, s64 e, s64 f) { CALL("svc #0x7070"); }
static inline s64 trap(s64 n, s64 a, s64 b, s64 c, s64 d) { return trap6(n, a, b, c, d, 0, 0); }
__asm__(".globl _start\n.type _start, %function\n_start:\n\tmov x29, #0\n\tmov x30, #0\n\tbl begin\n.size _start, . - _start\n"
	".type spawn, %function\nspawn:\n\tmov x9, x2\n\tmov x2, #0\n\tmov x3, #0\n\tmov x4, #0\n\tmov x8, #220\n\tsvc #0\n\tcbnz x0, 1f\n"
	"\tmov x29, #0\n\tmov x30, #0\n\tblr x9\n1:\tret\n.size spawn, . - spawn\n");
#else
#error "the guest's init knows x86-64 and arm64"
#endif

/* A task with that stack which begins in `function` and never returns from it. */
s64 spawn(s64 flags, void *stack, void (*function)(void));

#define sys(n, a, b, c, d, e) syscall6(n, (s64)(a), (s64)(b), (s64)(c), (s64)(d), (s64)(e), 0)
enum { AT_FDCWD = -100, O_RDONLY = 0, O_WRONLY = 1, O_RDWR = 2, O_NONBLOCK = 04000, O_CLOEXEC = 02000000, F_SETFL = 4 };
enum { ENOENT = 2, EINTR = 4, EAGAIN = 11, EACCES = 13, EFAULT = 14, EEXIST = 17, ENODEV = 19 };
enum { SIGCHLD = 17, SIG_BLOCK = 0, SIG_SETMASK = 2, CLONE_VM = 0x100, CLONE_FS = 0x200, CLONE_FILES = 0x400, CLONE_SIGHAND = 0x800,
       CLONE_VFORK = 0x4000, CLONE_THREAD = 0x10000 };
enum { MS_RDONLY = 1, MS_NOSUID = 2, MS_NODEV = 4, MS_NOEXEC = 8, MS_MOVE = 8192 };
enum { POLLIN = 1, POLLOUT = 4, WNOHANG = 1, SCHED_FIFO = 1, SCHED_RESET_ON_FORK = 0x40000000, AF_INET = 2, SOCK_DGRAM = 2, SIOCSIFFLAGS = 0x8914, IFF_UP = 1 };
enum { PROT_READ = 1, PROT_WRITE = 2, MAP_PRIVATE = 2, MAP_ANONYMOUS = 0x20, MAP_POPULATE = 0x8000, RNDADDENTROPY = 0x40085203, RNDRESEEDCRNG = 0x5207 };
enum { PAGE = 4096, S_IFMT = 0170000, S_IFREG = 0100000, X_OK = 1, PR_SET_NAME = 15 };
enum { LINUX_REBOOT_MAGIC1 = 0xfee1dead, LINUX_REBOOT_MAGIC2 = 672274793, LINUX_REBOOT_CMD_POWER_OFF = 0x4321fedc };

void *memset(void *to, int c, u64 n)
{
	char *p = to;
	while (n--)
		*p++ = c;
	return to;
}

void *memcpy(void *to, const void *from, u64 n)
{
	char *p = to;
	const char *q = from;
	while (n--)
		*p++ = *q++;
	return to;
}

static u64 length(const char *s)
{
	u64 n = 0;
	while (s[n])
		n++;
	return n;
}

static char *append(char *to, const char *text)
{
	while ((*to = *text++))
		to++;
	return to;
}

static char *append_number(char *to, u64 number)
{
	char digits[24];
	u32 n = sizeof digits - 1;
	digits[n] = 0;
	do
		digits[--n] = '0' + number % 10;
	while (number /= 10);
	return append(to, digits + n);
}

static void power_off(void)
{
	for (;;)
		sys(SYS_reboot, LINUX_REBOOT_MAGIC1, LINUX_REBOOT_MAGIC2, LINUX_REBOOT_CMD_POWER_OFF, 0, 0);
}

/* A trap that hands over memory, `n` bytes in and at most `room` out; it fails where a page is away: look at each, then try again. */
static s64 exchange(s64 number, const char *data, u64 n, u64 room, s64 last)
{
	s64 r;
	while ((r = trap(number, (s64)data, n, room, last)) == -EFAULT)
		for (u64 i = 0; i < room; i += PAGE)
			(void)*(volatile const char *)(data + i);
	return r;
}

static void say_failed(const char *what, s64 result, s64 whose) { exchange(TRAP_FAILED, what, length(what), length(what), whose << 32 | -result); }

/* Without that step no command can run: the host says which it was and ends the run. */
static void require(const char *step, s64 result)
{
	if (result >= 0)
		return;
	say_failed(step, result, THE_GUEST);
	power_off();
}
