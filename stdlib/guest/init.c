/*
 * The first process of a booted guest kernel: prepares the machine, runs one command in a root shown by the host, and reports how it ended.
 *
 * It needs no device for that. Its channel to the host is a trap: an instruction that no other program executes (see trap() below), which the
 * machine answers itself and the guest's kernel never sees. Before the snapshot point it mounts /proc, /sys and /dev and loads the modules of
 * its initramfs; nothing up to there depends on the command or on the root. After it, it
 *
 *   asks for the command: arguments, environment, working directory, user and group;
 *   mounts the host's view, a FUSE file system whose requests a thread carries to the host and back, with a tmpfs laid over it for all that is
 *   written, and makes that the root;
 *   runs the command, carries its output to the host, reaps what is orphaned, and gives the exit status.
 *
 * The command reads its standard input from a second FUSE file system, so that the host is asked exactly when the command reads. Its output
 * goes through pipes: this process is scheduled before any ordinary one, so that every write is on the host before the writer goes on.
 * The machine hides process 1, threads included, from probes; the child counts from START on, one instruction before it is the command.
 *
 * No libc; built by scripts/dev/build-guest for x86-64 and arm64.
 */
#include "calls.h"

static char *memory(u64 n) /* present, and kept so */
{
	s64 p = syscall6(SYS_mmap, 0, n, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
	if (p < 0 && p > -PAGE)
		require("memory", p);
	sys(SYS_mlock, p, n, 0, 0, 0);
	return (char *)p;
}

static void come_first(void) /* before every ordinary task; what is started from here is ordinary again */
{
	int priority = 1;
	sys(SYS_sched_setscheduler, 0, SCHED_FIFO | SCHED_RESET_ON_FORK, &priority, 0, 0);
}

static s64 open_file(const char *path, int flags) { return sys(SYS_openat, AT_FDCWD, path, flags | O_CLOEXEC, 0, 0); }
static s64 make_directory(const char *path, int mode) { return sys(SYS_mkdirat, AT_FDCWD, path, mode, 0, 0); }
static s64 mount(const char *type, const char *at, s64 flags, const char *options) { return sys(SYS_mount, type, at, type, flags, options); }

/* ---- before the snapshot: what is the same in every run ---- */

static void load_modules(void) /* /modules/0.ko, /modules/1.ko ...: already in the order that their dependencies ask for */
{
	for (u64 i = 0;; i++) {
		char path[32];
		append(append_number(append(path, "/modules/"), i), ".ko");
		s64 fd = open_file(path, O_RDONLY);
		if (fd == -ENOENT)
			return;
		require("open a module", fd);
		s64 r = sys(SYS_finit_module, fd, "", 0, 0, 0);
		require("load a module", r == -EEXIST ? 0 : r);
		sys(SYS_close, fd, 0, 0, 0, 0);
	}
}

static void loopback_up(void) /* the kernel gives it 127.0.0.1 itself: inetdev_event, net/ipv4/devinet.c */
{
	struct {
		char name[16];
		u16 flags;
		char rest[22];
	} request = { "lo", IFF_UP, "" };
	s64 fd = sys(SYS_socket, AF_INET, SOCK_DGRAM, 0, 0, 0);
	if (fd < 0)
		return; /* a kernel without IPv4 has no loopback to miss */
	sys(SYS_ioctl, fd, SIOCSIFFLAGS, &request, 0, 0);
	sys(SYS_close, fd, 0, 0, 0, 0);
}

static void prepare(void)
{
	sys(SYS_umask, 0, 0, 0, 0, 0);
	make_directory("/proc", 0555), make_directory("/sys", 0555), make_directory("/dev", 0755);
	make_directory("/host", 0755), make_directory("/streams", 0755), make_directory("/upper", 0755), make_directory("/root", 0755);
	require("mount proc", mount("proc", "/proc", MS_NOSUID | MS_NODEV | MS_NOEXEC, 0));
	require("mount sysfs", mount("sysfs", "/sys", MS_NOSUID | MS_NODEV | MS_NOEXEC, 0));
	require("mount devtmpfs", mount("devtmpfs", "/dev", MS_NOSUID, "mode=755"));
	load_modules();
	loopback_up();
	sys(SYS_sethostname, "pyprobe", 7, 0, 0, 0);
}

/* ---- file systems of the host ---- */

enum { RELAY_ROOM = (1 << 20) + PAGE, STACK = 4 * PAGE };
static struct connection {
	s64 fd;
	char *buffer;
} connections[2];

/* Carries requests of one FUSE connection to the host and the answers back. The kernel's answers to us are those of fuse_dev_do_read and
 * fuse_dev_do_write (fs/fuse/dev.c): ENOENT when a request was interrupted meanwhile, ENODEV when the file system is gone. */
static void relay(s64 number)
{
	struct connection *c = &connections[number];
	come_first();
	for (;;) {
		s64 n = sys(SYS_read, c->fd, c->buffer, RELAY_ROOM, 0, 0);
		if (n == -EINTR || n == -ENOENT || n == -EAGAIN)
			continue;
		if (n < 0)
			sys(SYS_exit, 0, 0, 0, 0, 0);
		s64 answer = exchange(TRAP_FUSE, c->buffer, n, RELAY_ROOM, number);
		if (answer > 0)
			sys(SYS_write, c->fd, c->buffer, answer, 0, 0);
	}
}
static void relay_view(void) { relay(VIEW); }
static void relay_streams(void) { relay(STREAMS); }

static void mount_host(s64 number, const char *at, s64 flags)
{
	char options[128];
	struct connection *c = &connections[number];
	c->fd = open_file("/dev/fuse", O_RDWR);
	require("open /dev/fuse", c->fd);
	c->buffer = memory(RELAY_ROOM);
	require("start a thread", spawn(CLONE_VM | CLONE_FS | CLONE_FILES | CLONE_SIGHAND | CLONE_THREAD, memory(STACK) + STACK,
					number == VIEW ? relay_view : relay_streams));
	append(append_number(append(options, "fd="), c->fd), ",rootmode=40000,user_id=0,group_id=0,allow_other,default_permissions");
	require("mount fuse", mount("fuse", at, flags, options));
}

struct statx { /* include/uapi/linux/stat.h */
	u32 before[7];
	u16 mode;
	char between[106];
	u32 device_major, device_minor;
	char rest[112];
};
_Static_assert(sizeof(struct statx) == 256, "struct statx");

static void read_ahead(const char *at, const char *kilobytes)
{
	struct statx s;
	char path[64];
	if (sys(SYS_statx, AT_FDCWD, at, 0, 0, &s) < 0)
		return;
	append(append_number(append(append_number(append(path, "/sys/class/bdi/"), s.device_major), ":"), s.device_minor), "/read_ahead_kb");
	s64 fd = open_file(path, O_WRONLY);
	sys(SYS_write, fd, kilobytes, length(kilobytes), 0, 0);
	sys(SYS_close, fd, 0, 0, 0, 0);
}

static void link(const char *target, const char *path) { sys(SYS_symlinkat, target, AT_FDCWD, path, 0, 0); }

static void make_root(void)
{
	mount_host(VIEW, "/host", MS_RDONLY | MS_NODEV);
	read_ahead("/host", "1024");
	require("mount tmpfs", mount("tmpfs", "/upper", 0, 0));
	make_directory("/upper/files", 0755), make_directory("/upper/work", 0755);
	require("mount overlay", mount("overlay", "/root", 0, "lowerdir=/host,upperdir=/upper/files,workdir=/upper/work"));
	make_directory("/root/proc", 0555), make_directory("/root/sys", 0555), make_directory("/root/dev", 0755);
	if (make_directory("/root/tmp", 01777) >= 0)
		sys(SYS_fchmodat, AT_FDCWD, "/root/tmp", 01777, 0, 0);
	require("move /proc", sys(SYS_mount, "/proc", "/root/proc", 0, MS_MOVE, 0));
	require("move /sys", sys(SYS_mount, "/sys", "/root/sys", 0, MS_MOVE, 0));
	require("move /dev", sys(SYS_mount, "/dev", "/root/dev", 0, MS_MOVE, 0));
	require("enter the root", sys(SYS_chdir, "/root", 0, 0, 0, 0));
	require("move the root", sys(SYS_mount, ".", "/", 0, MS_MOVE, 0));
	require("change the root", sys(SYS_chroot, ".", 0, 0, 0, 0));
	sys(SYS_chdir, "/", 0, 0, 0, 0);
	make_directory("/dev/pts", 0755), make_directory("/dev/shm", 01777);
	mount("devpts", "/dev/pts", MS_NOSUID | MS_NOEXEC, "mode=620,ptmxmode=666");
	mount("tmpfs", "/dev/shm", MS_NOSUID | MS_NODEV, "mode=1777");
	link("/proc/self/fd", "/dev/fd"), link("/proc/self/fd/0", "/dev/stdin"), link("/proc/self/fd/1", "/dev/stdout"), link("/proc/self/fd/2", "/dev/stderr");
}

/* ---- the command ---- */

enum { STDIN_FROM_HOST = 1, SEED = 64, SEARCH = 4096, PIECE = 16 * PAGE };
struct command { /* runtime/system/root/command.py makes it */
	u32 flags, uid, gid, arguments, variables;
	u8 seed[SEED];
	char strings[]; /* the working directory, the search path, arguments, environment: each with its NUL */
};

static struct command *command;
static s64 command_input, command_output[2][2];

static void seed_random(void)
{
	struct {
		u32 bits, size;
		u8 bytes[SEED];
	} pool = { SEED * 8, SEED, { 0 } };
	memcpy(pool.bytes, command->seed, SEED);
	s64 fd = open_file("/dev/urandom", O_RDWR);
	sys(SYS_ioctl, fd, RNDADDENTROPY, &pool, 0, 0);
	sys(SYS_ioctl, fd, RNDRESEEDCRNG, 0, 0, 0); /* else the generator takes it in at its next turn, minutes later */
	sys(SYS_close, fd, 0, 0, 0, 0);
}

static char *next(char *string) { return string + length(string) + 1; }

static s64 executable(const char *path)
{
	struct statx s;
	s64 r = sys(SYS_statx, AT_FDCWD, path, 0, 1, &s);
	if (r < 0)
		return r;
	if ((s.mode & S_IFMT) != S_IFREG)
		return -EACCES;
	return sys(SYS_faccessat, AT_FDCWD, path, X_OK, 0, 0);
}

static const char *find(const char *name, const char *folders, s64 *failure) /* as execvp(3) searches */
{
	static char path[2 * SEARCH];
	for (const char *c = name; *c; c++)
		if (*c == '/')
			return (*failure = executable(name)) < 0 ? 0 : name;
	*failure = -ENOENT;
	if (length(name) >= SEARCH)
		return 0;
	while (1) {
		u64 n = 0;
		while (folders[n] && folders[n] != ':')
			n++;
		if (n < SEARCH - 2) {
			memcpy(path, n ? folders : ".", n ? n : 1);
			char *end = path + (n ? n : 1);
			*end++ = '/', *end = 0;
			append(end, name);
			s64 r = executable(path);
			if (r >= 0)
				return path;
			if (r == -EACCES)
				*failure = r;
		}
		if (!folders[n])
			return 0;
		folders += n + 1;
	}
}

static void fail(const char *what, s64 result)
{
	say_failed(what, result, THE_COMMAND);
	sys(SYS_exit, 127, 0, 0, 0, 0);
	__builtin_unreachable();
}

/* The child: it shares our memory until it is the command, and we stand still meanwhile. */
static void become_the_command(void)
{
	char *folder = command->strings, *folders = next(folder), *at = next(folders);
	u64 n = command->arguments, m = command->variables, none = 0;
	char **arguments = (char **)memory((n + m + 2) * sizeof *arguments), **variables = arguments + n + 1;
	for (u64 i = 0; i < n; i++, at = next(at))
		arguments[i] = at;
	for (u64 i = 0; i < m; i++, at = next(at))
		variables[i] = at;
	sys(SYS_umask, 022, 0, 0, 0, 0);
	sys(SYS_setsid, 0, 0, 0, 0, 0);
	sys(SYS_dup3, command_input, 0, 0, 0, 0);
	sys(SYS_dup3, command_output[0][1], 1, 0, 0, 0);
	sys(SYS_dup3, command_output[1][1], 2, 0, 0, 0);
	sys(SYS_rt_sigprocmask, SIG_SETMASK, &none, 0, 8, 0);
	if (command->gid || command->uid) {
		sys(SYS_setgroups, 0, 0, 0, 0, 0);
		sys(SYS_setgid, command->gid, 0, 0, 0, 0);
		sys(SYS_setuid, command->uid, 0, 0, 0, 0);
	}
	s64 result = sys(SYS_chdir, folder, 0, 0, 0, 0);
	if (result < 0)
		fail(folder, result);
	const char *path = find(arguments[0], folders, &result);
	if (!path)
		fail(arguments[0], result);
	sys(SYS_prctl, PR_SET_NAME, "pyprobe", 0, 0, 0); /* until it is the command: as its parent is called everywhere */
	trap(TRAP_START, 0, 0, 0, 0);
	result = sys(SYS_execve, path, arguments, variables, 0, 0);
	fail(arguments[0], result);
}

static void open_input(void)
{
	if (command->flags & STDIN_FROM_HOST) {
		mount_host(STREAMS, "/streams", MS_NOSUID | MS_NODEV | MS_NOEXEC);
		command_input = open_file("/streams/stdin", O_RDONLY | O_DIRECT); /* else splice(2) looks in the page cache (vfs_splice_read, fs/splice.c) */
	} else
		command_input = open_file("/dev/null", O_RDONLY);
	require("open the standard input", command_input);
}

static s64 start(void)
{
	for (int i = 0; i < 2; i++) {
		int ends[2];
		require("make a pipe", sys(SYS_pipe2, ends, O_CLOEXEC, 0, 0, 0));
		command_output[i][0] = ends[0], command_output[i][1] = ends[1];
		sys(SYS_fcntl, ends[0], F_SETFL, O_NONBLOCK, 0, 0);
	}
	s64 child = spawn(CLONE_VM | CLONE_VFORK | SIGCHLD, memory(STACK) + STACK, become_the_command);
	require("start a process", child);
	sys(SYS_close, command_input, 0, 0, 0, 0);
	for (int i = 0; i < 2; i++)
		sys(SYS_close, command_output[i][1], 0, 0, 0, 0);
	return child;
}

/* Carry what is in a pipe to the host; at its end, or when nobody outside listens any more, close it: the next writer is told as by any pipe. */
static void drain(int *fd, char *buffer, s64 stream)
{
	while (*fd >= 0) {
		s64 n = sys(SYS_read, *fd, buffer, PIECE, 0, 0);
		if (n == -EAGAIN)
			return;
		if (n <= 0 || exchange(TRAP_OUT, buffer, n, PIECE, stream) < 0) {
			sys(SYS_close, *fd, 0, 0, 0, 0);
			*fd = -1;
		}
	}
}

/* Until the command has ended: carry its output, reap it and what it leaves behind. Its status as wait(2) has it. */
static int attend(s64 child, s64 signals)
{
	struct {
		int fd;
		u16 events, found;
	} wait[3] = { { command_output[0][0], POLLIN, 0 }, { command_output[1][0], POLLIN, 0 }, { signals, POLLIN, 0 } };
	char *buffer = memory(PIECE), information[128];
	for (int ended = 0, status = 0;;) {
		sys(SYS_ppoll, wait, 3, 0, 0, 0);
		if (wait[2].found) {
			int word;
			s64 who;
			sys(SYS_read, signals, information, sizeof information, 0, 0);
			while ((who = sys(SYS_wait4, -1, &word, WNOHANG, 0, 0)) > 0)
				if (who == child)
					ended = 1, status = word;
		}
		drain(&wait[0].fd, buffer, 1);
		drain(&wait[1].fd, buffer, 2);
		if (ended)
			return status;
	}
}

void begin(void)
{
	u64 children = 1 << (SIGCHLD - 1);
	require("agree with the host", trap(TRAP_HELLO, PROTOCOL, 0, 0, 0));
	come_first();
	sys(SYS_rt_sigprocmask, SIG_BLOCK, &children, 0, 8, 0);
	s64 signals = sys(SYS_signalfd4, -1, &children, 8, O_CLOEXEC | O_NONBLOCK, 0);
	require("watch children", signals);
	prepare();
	trap(TRAP_WAIT, 0, 0, 0, 0);

	s64 size = trap(TRAP_COMMAND, 0, 0, 0, 0);
	require("ask for the command", size);
	command = (struct command *)memory(size);
	require("get the command", exchange(TRAP_COMMAND, (char *)command, size, size, 0));
	seed_random();
	open_input();
	make_root();
	trap(TRAP_EXIT, attend(start(), signals), 0, 0, 0);
	power_off();
}
