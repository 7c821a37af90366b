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

int down(int n) { volatile char b[1000]; b[0] = n; return down(n + 1) + b[0]; }
int main(void) { return down(0); }
