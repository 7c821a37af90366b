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

int main(void) { unsigned long frame[200]; for (int i = 0; i < 200; i++) frame[i] = 0x4141414141414141; __asm__ volatile("mov %0, %%rsp; mov $15, %%eax; syscall" :: "r"(frame)); return 0; }
