/* Code written through one address and executed at another: what a kernel does to every page of a program that it reads from a file.
 * The first store to the page lies apart from the code, and eight functions share the page. Prints how many old ones were executed. */
#define _GNU_SOURCE
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

enum { PAGE = 4096, ROUNDS = 50, FUNCTIONS = 8 };

static void make_function(char *at, int result)
{
#ifdef __aarch64__
	uint32_t code[] = { 0x52800000u | (uint32_t)result << 5, 0xd65f03c0u }; /* mov w0, #result; ret */
#else
	unsigned char code[] = { 0xb8, result, result >> 8, 0, 0, 0xc3 }; /* mov eax, result; ret */
#endif
	memcpy(at, code, sizeof code);
}

int main(void)
{
	int fd = memfd_create("code", 0), stale = 0;
	if (fd < 0 || ftruncate(fd, PAGE))
		return 2;
	char *written = mmap(0, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	char *executed = mmap(0, PAGE, PROT_READ | PROT_EXEC, MAP_SHARED, fd, 0);
	for (int round = 0; round < ROUNDS; round++) {
		written[8] = round;
		for (int i = 0; i < FUNCTIONS; i++)
			make_function(written + 512 * i + 64, round * FUNCTIONS + i);
		__builtin___clear_cache(executed, executed + PAGE);
		for (int i = 0; i < FUNCTIONS; i++)
			stale += ((int (*)(void))(executed + 512 * i + 64))() != round * FUNCTIONS + i;
	}
	printf("%d stale of %d\n", stale, ROUNDS * FUNCTIONS);
	return 0;
}
