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

static void h(int s) { }
int main(void) { for (int i = 1; i < 65; i++) signal(i, h); kill(getpid(), 11); kill(getpid(), 4); *(volatile int *)0 = 1; return 0; }
