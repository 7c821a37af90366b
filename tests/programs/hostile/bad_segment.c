/* expect: signal SEGV */
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

int main(void) { __asm__ volatile("mov %0, %%ds; mov %0, %%fs; mov %0, %%gs; mov %%fs:0, %%rax" :: "r"(0x1234) : "rax"); return 0; }
