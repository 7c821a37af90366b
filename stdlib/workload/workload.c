/*
 * The built-in workload: what runs when a script wants a machine and the command line names no program.
 *
 * One program under several names, started by `session`: each name does one everyday thing, so that every first one-liner shows
 * something. It needs no libc and reads no file of the host, so a trace of it is the same everywhere.
 *
 *   session   forks and execs the others, connects two of them by a pipe, waits for all
 *   reader    opens, reads and stats files, one of which does not exist
 *   writer    creates, writes, renames and removes files
 *   producer  writes lines into a pipe
 *   filter    reads them from the pipe
 *   server    accepts connections on the machine's loopback and forks a child to answer each
 *   client    connects, sends a request, reads the answer
 *   sleeper   sleeps a few times
 *   thinker   forks two workers that compute: recursion and loops
 *
 * Built by scripts/dev/build-workload for x86-64 and arm64.
 */
typedef unsigned long u64;
typedef long s64;
typedef unsigned int u32;
typedef unsigned short u16;

#define NOINLINE __attribute__((noinline, noclone))
#define HOME "/run/pyprobe/"

#if defined(__x86_64__)
enum { SYS_read = 0, SYS_write = 1, SYS_close = 3, SYS_fstat = 5, SYS_nanosleep = 35, SYS_getpid = 39, SYS_socket = 41, SYS_connect = 42,
       SYS_accept4 = 288, SYS_bind = 49, SYS_listen = 50, SYS_setsockopt = 54, SYS_clone = 56, SYS_execve = 59, SYS_exit_group = 231, SYS_wait4 = 61,
       SYS_openat = 257, SYS_unlinkat = 263, SYS_renameat2 = 316, SYS_dup3 = 292, SYS_pipe2 = 293, SYS_newfstatat = 262 };
static inline s64 syscall6(s64 n, s64 a, s64 b, s64 c, s64 d, s64 e, s64 f)
{
	register s64 r10 __asm__("r10") = d;
	register s64 r8 __asm__("r8") = e;
	register s64 r9 __asm__("r9") = f;
	s64 r;
	__asm__ volatile("syscall" : "=a"(r) : "a"(n), "D"(a), "S"(b), "d"(c), "r"(r10), "r"(r8), "r"(r9) : "rcx", "r11", "memory");
	return r;
}
__asm__(".globl _start\n.type _start, @function\n_start:\n\txor %ebp, %ebp\n\tmov %rsp, %rdi\n\tand $-16, %rsp\n\tcall begin\n.size _start, . - _start\n");
#elif defined(__aarch64__)
enum { SYS_read = 63, SYS_write = 64, SYS_close = 57, SYS_fstat = 80, SYS_nanosleep = 101, SYS_getpid = 172, SYS_socket = 198, SYS_connect = 203,
       SYS_accept4 = 242, SYS_bind = 200, SYS_listen = 201, SYS_setsockopt = 208, SYS_clone = 220, SYS_execve = 221, SYS_exit_group = 94, SYS_wait4 = 260,
       SYS_openat = 56, SYS_unlinkat = 35, SYS_renameat2 = 276, SYS_dup3 = 24, SYS_pipe2 = 59, SYS_newfstatat = 79 };
static inline s64 syscall6(s64 n, s64 a, s64 b, s64 c, s64 d, s64 e, s64 f)
{
	register s64 x8 __asm__("x8") = n;
	register s64 x0 __asm__("x0") = a;
	register s64 x1 __asm__("x1") = b;
	register s64 x2 __asm__("x2") = c;
	register s64 x3 __asm__("x3") = d;
	register s64 x4 __asm__("x4") = e;
	register s64 x5 __asm__("x5") = f;
	__asm__ volatile("svc #0" : "+r"(x0) : "r"(x8), "r"(x1), "r"(x2), "r"(x3), "r"(x4), "r"(x5) : "memory");
	return x0;
}
__asm__(".globl _start\n.type _start, %function\n_start:\n\tmov x29, #0\n\tmov x30, #0\n\tmov x0, sp\n\tbl begin\n.size _start, . - _start\n");
#else
#error "the workload knows x86-64 and arm64"
#endif

#define sys(n, a, b, c, d, e) syscall6(n, (s64)(a), (s64)(b), (s64)(c), (s64)(d), (s64)(e), 0)
enum { AT_FDCWD = -100, O_RDONLY = 0, O_WRONLY = 1, O_CREAT = 0100, O_TRUNC = 01000, O_CLOEXEC = 02000000, SIGCHLD = 17 };

void *memset(void *to, int c, u64 n)
{
	char *p = to;
	while (n--)
		*p++ = c;
	return to;
}

static u64 length(const char *s)
{
	u64 n = 0;
	while (s[n])
		n++;
	return n;
}

static int same(const char *a, const char *b)
{
	while (*a && *a == *b)
		a++, b++;
	return *a == *b;
}

static s64 open_file(const char *path, int flags) { return sys(SYS_openat, AT_FDCWD, path, flags, 0644, 0); }
static s64 read_some(s64 fd, char *to, u64 n) { return sys(SYS_read, fd, to, n, 0, 0); }
static s64 write_text(s64 fd, const char *text) { return sys(SYS_write, fd, text, length(text), 0, 0); }
static void close_file(s64 fd) { sys(SYS_close, fd, 0, 0, 0, 0); }
static void sleep_ms(s64 ms) { s64 t[2] = { ms / 1000, ms % 1000 * 1000000 }; sys(SYS_nanosleep, t, 0, 0, 0, 0); }

static s64 fork_child(void) { return sys(SYS_clone, SIGCHLD, 0, 0, 0, 0); }
static void leave(s64 status) { sys(SYS_exit_group, status, 0, 0, 0, 0); }

static int wait_for_all(void)
{
	int status, failed = 0;
	while (sys(SYS_wait4, -1, &status, 0, 0, 0) > 0)
		failed |= status != 0;
	return failed;
}

static NOINLINE int reader(void)
{
	static const char *files[] = { HOME "passwd", HOME "motd", HOME "missing", HOME "passwd" };
	char text[256], st[256];
	for (u64 i = 0; i < sizeof files / sizeof *files; i++) {
		s64 fd = open_file(files[i], O_RDONLY), n;
		sys(SYS_newfstatat, AT_FDCWD, files[i], st, 0, 0);
		if (fd < 0)
			continue;
		while ((n = read_some(fd, text, i % 2 ? 64 : sizeof text)) > 0)
			;
		close_file(fd);
	}
	return 0;
}

static NOINLINE int writer(void)
{
	for (int i = 0; i < 3; i++) {
		s64 fd = open_file("/tmp/pyprobe.note.new", O_WRONLY | O_CREAT | O_TRUNC);
		for (int j = 0; j <= i; j++)
			write_text(fd, "the quick brown fox jumps over the lazy dog\n");
		close_file(fd);
		sys(SYS_renameat2, AT_FDCWD, "/tmp/pyprobe.note.new", AT_FDCWD, "/tmp/pyprobe.note", 0);
	}
	sys(SYS_unlinkat, AT_FDCWD, "/tmp/pyprobe.note", 0, 0, 0);
	return 0;
}

static NOINLINE int producer(void)
{
	for (int i = 0; i < 5; i++)
		write_text(1, "one line of text through a pipe\n");
	return 0;
}

static NOINLINE int filter(void)
{
	char text[64];
	s64 n, total = 0;
	while ((n = read_some(0, text, sizeof text)) > 0)
		total += n;
	return total == 0;
}

struct address { u16 family, port; u32 ip; char pad[8]; };
static const struct address loopback = { 2 /* AF_INET */, 0x901f /* 8080, network order */, 0x0100007f, { 0 } };

static NOINLINE int server(void)
{
	char text[64];
	int one = 1;
	s64 s = sys(SYS_socket, 2, 1, 0, 0, 0);
	sys(SYS_setsockopt, s, 1 /* SOL_SOCKET */, 2 /* SO_REUSEADDR */, &one, sizeof one);
	if (sys(SYS_bind, s, &loopback, sizeof loopback, 0, 0) < 0 || sys(SYS_listen, s, 8, 0, 0, 0) < 0)
		return 1;
	for (int i = 0; i < 2; i++) {
		s64 c = sys(SYS_accept4, s, 0, 0, O_CLOEXEC, 0);
		if (c < 0)
			return 1;
		if (fork_child() == 0) {
			if (read_some(c, text, sizeof text) > 0)
				write_text(c, "HTTP/1.0 200 OK\r\n\r\nhello\n");
			leave(0);
		}
		close_file(c);
	}
	return wait_for_all();
}

static NOINLINE int client(void)
{
	char text[64];
	s64 s = sys(SYS_socket, 2, 1, 0, 0, 0);
	for (int i = 0; sys(SYS_connect, s, &loopback, sizeof loopback, 0, 0) < 0; i++) {
		if (i == 50)
			return 1;
		sleep_ms(1); /* the server may not listen yet */
	}
	write_text(s, "GET / HTTP/1.0\r\n\r\n");
	while (read_some(s, text, sizeof text) > 0)
		;
	close_file(s);
	return 0;
}

static NOINLINE int sleeper(void)
{
	for (int i = 0; i < 5; i++)
		sleep_ms(10 << i);
	return 0;
}

static NOINLINE s64 fibonacci(s64 n) { return n < 2 ? n : fibonacci(n - 1) + fibonacci(n - 2); }

static NOINLINE u64 collatz(u64 n)
{
	u64 steps = 0;
	for (; n != 1; steps++)
		n = n % 2 ? 3 * n + 1 : n / 2;
	return steps;
}

static NOINLINE int think(void)
{
	u64 longest = 0;
	for (u64 n = 1; n < 200; n++) {
		u64 steps = collatz(n);
		if (steps > longest)
			longest = steps;
	}
	return fibonacci(12) != 144 || longest != 124;
}

static NOINLINE int thinker(void)
{
	for (int i = 0; i < 2; i++)
		if (fork_child() == 0)
			leave(think());
	return wait_for_all();
}

/* Start HOME/name with its standard input and output replaced when they are not negative; returns the child's pid. */
static NOINLINE s64 start(const char *name, s64 in, s64 out)
{
	char path[64] = HOME;
	char *argv[] = { (char *)name, 0 };
	char *envp[] = { "PATH=/usr/bin:/bin", 0 };
	u64 at = sizeof HOME - 1;
	for (u64 i = 0; (path[at + i] = name[i]); i++)
		;
	s64 pid = fork_child();
	if (pid)
		return pid;
	if (in >= 0)
		sys(SYS_dup3, in, 0, 0, 0, 0);
	if (out >= 0)
		sys(SYS_dup3, out, 1, 0, 0, 0);
	sys(SYS_execve, path, argv, envp, 0, 0);
	leave(127);
	return -1;
}

static NOINLINE int session(void)
{
	static const char *alone[] = { "reader", "writer", "thinker", "sleeper", "reader" };
	int ends[2];
	sys(SYS_pipe2, ends, O_CLOEXEC, 0, 0, 0);
	start("server", -1, -1);
	start("client", -1, -1);
	start("filter", ends[0], -1);
	start("producer", -1, ends[1]);
	close_file(ends[0]);
	close_file(ends[1]);
	start("client", -1, -1);
	for (u64 i = 0; i < sizeof alone / sizeof *alone; i++)
		start(alone[i], -1, -1);
	return wait_for_all();
}

static const struct { const char *name; int (*run)(void); } programs[] = {
	{ "reader", reader }, { "writer", writer }, { "producer", producer }, { "filter", filter }, { "server", server },
	{ "client", client }, { "sleeper", sleeper }, { "thinker", thinker }, { "session", session },
};

__attribute__((used)) void begin(u64 *stack)
{
	const char *name = (const char *)stack[1];
	int status = 2;
	for (const char *p = name; *p; p++)
		if (*p == '/')
			name = p + 1;
	for (u64 i = 0; i < sizeof programs / sizeof *programs; i++)
		if (same(name, programs[i].name))
			status = programs[i].run();
	leave(status);
	__builtin_unreachable();
}
