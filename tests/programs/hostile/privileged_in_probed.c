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

int main(void) { __asm__ volatile("inb $0x60, %al; xor %edx, %edx; div %dl; movl $0, 0"); return 0; }
