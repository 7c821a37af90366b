/* expect: any */
/* Every system call with arguments that make no sense, and with pointers to memory that holds such. The seed may be given. */
#define _GNU_SOURCE
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

static unsigned long state;
static unsigned long next(void)
{
	state ^= state << 13;
	state ^= state >> 7;
	return state ^= state << 17;
}

static char *good, *readable, *gone;

static unsigned long argument(void)
{
	static const unsigned long odd[] = {
		0, 1, 2, 3, 7, 16, 128, 4095, 4096, 65536, 0x7fffffff, 0x80000000, 0xffffffff, 1UL << 32, 1UL << 40, 1UL << 47, 1UL << 62,
		1UL << 63, -1UL, -2UL, -100UL, -4096UL, 0x7fffffffffffffff, 0xffff888000000000
	};
	switch (next() % 8) {
	case 0: case 1: return odd[next() % (sizeof odd / sizeof *odd)];
	case 2: case 3: return (unsigned long)good + next() % 64 * 8;
	case 4: return (unsigned long)(next() % 2 ? readable : gone) + next() % 4096;
	case 5: return next() % 12;
	case 6: return 1UL << next() % 64;
	default: return next() % 4 ? next() % 4096 : next();
	}
}

static void prepare(void)
{
	int ends[2];
	pipe(ends);
	socketpair(AF_UNIX, SOCK_STREAM, 0, ends);
	socket(AF_INET, SOCK_STREAM, 0);
	socket(AF_INET6, SOCK_DGRAM, 0);
	eventfd(0, EFD_NONBLOCK);
	epoll_create1(0);
	open("/tmp", O_RDONLY);
	open("/tmp/file", O_RDWR | O_CREAT, 0600);
	for (int i = 0; i < 512; i++)
		((unsigned long *)good)[i] = argument();
	strcpy(good + 2048, "/tmp/file");
	strcpy(good + 2072, "/proc/self/fd/3");
}

int main(int count, char **arguments)
{
	unsigned long seed = count > 1 ? strtoul(arguments[1], NULL, 0) : 1, only = count > 2 ? strtoul(arguments[2], NULL, 0) : -1UL;
	good = mmap(NULL, 8192, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	readable = mmap(NULL, 4096, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	gone = mmap(NULL, 4096, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	munmap(gone, 4096);
	for (unsigned long round = 0; round < 470; round++) {
		if (only != -1UL && round != only)
			continue;
		if (round == SYS_kill || round == SYS_tkill || round == SYS_rt_sigqueueinfo)
			continue;
		if (round == SYS_fork || round == SYS_vfork || round == SYS_clone || round == SYS_clone3)
			continue; /* they would double with every call */
		if (fork() == 0) {
			state = seed * 0x9e3779b97f4a7c15 + round + 1;
			prepare();
			struct sigaction nothing = { .sa_handler = SIG_DFL };
			sigaction(SIGALRM, &nothing, NULL);
			alarm(2);
			for (int i = 0; i < 40; i++)
				syscall(round, argument(), argument(), argument(), argument(), argument(), argument());
			_exit(0);
		}
		alarm(5);
		waitpid(-1, NULL, 0);
	}
	return 0;
}
