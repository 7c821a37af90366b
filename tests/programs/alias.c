// Code in one page, written through one mapping and executed through another; counts how often old code was executed.
#define _GNU_SOURCE
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

int main(void)
{
	int fd = memfd_create("code", 0), stale = 0;
	char *writable, *executable;

	if (ftruncate(fd, 4096))
		return 2;
	writable = mmap(0, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	executable = mmap(0, 4096, PROT_READ | PROT_EXEC, MAP_SHARED, fd, 0);
	for (int round = 0; round < 50; round++) {
		writable[8] = round;
		for (int k = 0; k < 8; k++) {
			int value = round * 8 + k;
#ifdef __aarch64__
			uint32_t code[2] = { 0x52800000u | (uint32_t)value << 5, 0xd65f03c0u }; // mov w0, value; ret
#else
			unsigned char code[6] = { 0xb8, 0, 0, 0, 0, 0xc3 }; // mov eax, value; ret
			memcpy(code + 1, &value, 4);
#endif
			memcpy(writable + 512 * k + 64, code, sizeof code);
		}
#ifndef UNTOLD
		__builtin___clear_cache(executable, executable + 4096);
#endif
		for (int k = 0; k < 8; k++)
			stale += ((int (*)(void))(executable + 512 * k + 64))() != round * 8 + k;
	}
	printf("%d of 400 are stale\n", stale);
	return stale != 0;
}
