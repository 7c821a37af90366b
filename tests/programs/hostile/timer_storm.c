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
#include <sys/time.h>

static void h(int s) { }
int main(void) { signal(SIGALRM, h); struct itimerval v = {{0, 1}, {0, 1}}; setitimer(ITIMER_REAL, &v, 0); for (volatile int i = 0; i < 3000000; i++); return 0; }
