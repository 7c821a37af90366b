/* expect: any */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

int main(void) { static char b[1]; __asm__ volatile("1: mov $-1, %%rcx; mov %0, %%rdi; rep stosb; jmp 1b" :: "r"(b) : "rcx", "rdi", "memory"); return 0; }
