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

static void h(int s) { volatile char *p = 0; *p = 1; }
int main(void) { struct sigaction a = {0}; a.sa_handler = h; a.sa_flags = SA_NODEFER; sigaction(SIGSEGV, &a, 0); raise(SIGSEGV); return 0; }
