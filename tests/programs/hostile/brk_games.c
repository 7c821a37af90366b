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

int main(void) { for (long i = 0; i < 100; i++) { syscall(SYS_brk, 0x7ffffffff000 - i * 4096); syscall(SYS_brk, i << 40); syscall(SYS_brk, 1); } return 0; }
